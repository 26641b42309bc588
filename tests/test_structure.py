"""The import graph goes one way, docstrings say what they must, and their examples run."""

import ast
import doctest
import importlib
import inspect
import pathlib
import re
import textwrap

import pytest

import ibjax
from ibjax.core.resolver import method_modules

PACKAGE = pathlib.Path(ibjax.__file__).parent
MODULES = list(method_modules())

# What a room may import besides itself. Rooms not named as keys do not exist.
MAY_IMPORT = {
  "core": set(),
  "bottlenecks": {"core"},
  "objectives": {"core", "estimators"},
  "views": {"core"},
  "estimators": {"core"},
  "exact": {"core"},
  "metrics": {"core"},
  "data": {"core"},
  "models": {"core", "bottlenecks", "objectives", "estimators", "exact", "metrics", "data"},
  "evaluators": {"core", "bottlenecks", "objectives", "estimators", "exact", "metrics", "data"},
  "programs": {
    "core",
    "bottlenecks",
    "objectives",
    "estimators",
    "exact",
    "metrics",
    "data",
    "models",
    "evaluators",
    "views",
  },
  "report": {"core"},
  "cluster": {"core"},
}
MAY_IMPORT["train"] = MAY_IMPORT["programs"] | {"programs", "cluster"}
MAY_IMPORT["verbs"] = MAY_IMPORT["train"] | {"train", "report"}


def imports(module):
  path = importlib.util.find_spec(module).origin
  for node in ast.walk(ast.parse(pathlib.Path(path).read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
  room = module.split(".")[1]
  if room == "main":
    return
  assert room in MAY_IMPORT, f"{module} is in no known room"
  for name in imports(module):
    parts = name.split(".")
    if parts[0] == "ibjax" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
      assert parts[1] == room or parts[1] in MAY_IMPORT[room], f"{module} imports {name}"


@pytest.mark.parametrize(
  ("library", "rooms"),
  [
    ("flax", {"models"}),
    ("orbax", {"train"}),
    ("tensorflow", set()),
    ("matplotlib", {"report"}),
    ("chex", set()),
  ],
)
def test_libraries_are_fenced(library, rooms):
  for module in MODULES:
    if any(name.split(".")[0] == library for name in imports(module)):
      assert module.split(".")[1] in rooms, f"{module} imports {library}"


def test_pmap_is_never_used():
  for path in PACKAGE.rglob("*.py"):
    assert "pmap(" not in path.read_text(), path


def public():
  found = []
  for module in MODULES:
    loaded = importlib.import_module(module)
    for name, thing in vars(loaded).items():
      if name.startswith("_") or getattr(thing, "__module__", None) != module:
        continue
      # Unwrapped, so that a cached or compiled function is one too.
      if inspect.isfunction(inspect.unwrap(thing)) or inspect.isclass(thing):
        found.append(pytest.param(thing, id=f"{module.removeprefix('ibjax.')}:{name}"))
  return found


def raises(function):
  """Whether a function's source has a `raise`; a nested function passing an error on has not."""
  tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
  _, *nested = (n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
  inner = {node for function in nested for node in ast.walk(function)}
  found = (node for node in ast.walk(tree) if isinstance(node, ast.Raise))
  return any(node.exc is not None or node not in inner for node in found)


@pytest.mark.parametrize("thing", public())
def test_public_names_have_docstrings(thing):
  text = inspect.getdoc(thing)
  assert text and text.partition("\n")[0].rstrip().endswith((".", ":", ";")), thing
  function = inspect.unwrap(thing)
  if not inspect.isfunction(function):
    return
  signature = inspect.signature(function)
  takes = [name for name in signature.parameters if name != "self"]
  if takes:
    assert "Args:" in text, f"{function.__name__} lacks Args:"
    missing = [name for name in takes if not re.search(rf"^ +\*{{0,2}}{name}:", text, re.MULTILINE)]
    assert not missing, f"{function.__name__} does not describe {missing}"
  if signature.return_annotation not in (None, "None"):
    assert "Returns:" in text or "Yields" in text, f"{function.__name__} lacks Returns:"
  if raises(function):
    assert "Raises:" in text, f"{function.__name__} lacks Raises:"


def factories():
  found = []
  for module in MODULES:
    loaded = importlib.import_module(module)
    if hasattr(loaded, "CASES"):
      found.append(pytest.param(getattr(loaded, module.rpartition(".")[2]), id=module))
  return found


@pytest.mark.parametrize("factory", factories())
def test_methods_have_every_section(factory):
  text = inspect.getdoc(factory)
  takes = ("Args:", "Raises:") if inspect.signature(factory).parameters else ()
  for section in ("Formula:", *takes, "Returns:", "Example:", "Source:"):
    assert section in text, f"{factory.__name__} lacks {section}"


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module):
  result = doctest.testmod(importlib.import_module(module))
  assert result.failed == 0


def test_main_stays_small():
  assert len((PACKAGE / "main.py").read_text().splitlines()) < 60
