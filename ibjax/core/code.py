"""Which version of a method's code made a result: a hash that only a change of meaning changes."""

from __future__ import annotations

import ast
import functools
import hashlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import ibjax
from ibjax.core.config import flatten

# Where what a run computes is written. Messages, documents, reports and the trainer's records are
# edited far more often than they change a number, so they are not part of a result's identity.
ROOMS = (
  "objectives",
  "bottlenecks",
  "models",
  "views",
  "programs",
  "evaluators",
  "exact",
  "estimators",
  "metrics",
)
CORE = ("numerics", "schedules", "rng")
# What surrounds an estimator's value without changing it: claims, checks of samples, warnings.
AROUND = tuple(f"ibjax.estimators.base.{name}" for name in ("contract", "samples", "warn"))
# What stands beside a method and changes no number of it: the known answers it is held to, or why
# there are none, what its beta multiplies, and what an assessor needs of a program.
KNOWN = ("CASES", "TRUTHS", "NO_TRUTHS", "COVERAGE", "LAGRANGIAN", "NEEDS")

_DIGITS = 12
_FACTORY = re.compile(r"(ibjax(?:\.\w+)+):\w+")


def code_version(config: Mapping[str, Any]) -> str:
  """Returns a hash of the code behind a config: the method's modules and what they import.

  The modules are those that the config names ("ibjax.module:factory", as `fn`, as the program
  or anywhere else), and what they import of ours, transitively, within `ROOMS` and the modules
  `CORE` of the core. Comments, docstrings, blank lines and the known
  answers kept beside a method (`KNOWN`) do not count.

  Args:
    config: the resolved config (plain nested dictionaries).

  Returns:
    12 hex digits (the first of a sha256).

  Example:
    >>> from ibjax.core.code import code_version
    >>> vib = {"objective": {"fn": "ibjax.objectives.variational.vib:vib", "beta": 1e-3}}
    >>> code_version(vib) == code_version({"objective": {**vib["objective"], "beta": 1.0}})
    True
  """
  root = pathlib.Path(ibjax.__file__).parent
  digest = hashlib.sha256()
  for name in modules(config, root):
    digest.update(f"{name}\n{normalised(_file(root, name).read_text(encoding='utf-8'))}\n".encode())
  return digest.hexdigest()[:_DIGITS]


def modules(config: Mapping[str, Any], root: pathlib.Path) -> list[str]:
  """Returns the modules whose code decides what a config's run computes.

  Args:
    config: the resolved config (plain nested dictionaries).
    root: the folder of the package `ibjax`.

  Returns:
    Dotted names in alphabetical order, e.g. "ibjax.objectives.variational.vib".
  """
  open_ends = [name for name in _named(config) if _counts(root, name)]
  found: set[str] = set()
  while open_ends:
    name = open_ends.pop()
    if name in found:
      continue
    found.add(name)
    source = _file(root, name).read_text(encoding="utf-8")
    open_ends += [imported for imported in _imports(source, name) if _counts(root, imported)]
  return sorted(found)


@functools.lru_cache(maxsize=512)
def normalised(source: str) -> str:
  """Writes Python source as its syntax alone, the same on every version of Python.

  Args:
    source: the text of a module.

  Returns:
    Text that is equal for two sources that differ in comments, docstrings, layout or the
    assignments of `KNOWN` only.

  Example:
    >>> from ibjax.core.code import normalised
    >>> normalised("x = 1  # one") == normalised("x = (1)")
    True
    >>> normalised("x = 1") == normalised("x = 2")
    False
  """
  tree = ast.parse(source)
  tree.body = [node for node in tree.body if not _is_cases(node)]
  for node in ast.walk(tree):
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
      if ast.get_docstring(node, clean=False) is not None:
        node.body = node.body[1:]
  return _write(tree)


def _write(node: Any) -> str:
  # ast.dump differs between versions of Python in how it shows what is empty.
  if isinstance(node, ast.Constant):
    return f"{type(node.value).__name__}:{node.value!r}"
  if isinstance(node, ast.AST):
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    inside = ",".join(f"{name}={_write(value)}" for name, value in fields)
    return f"{type(node).__name__}({inside})"
  if isinstance(node, list):
    return f"[{','.join(_write(item) for item in node)}]"
  return repr(node)


def _is_cases(node: ast.stmt) -> bool:
  targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
  return any(isinstance(target, ast.Name) and target.id in KNOWN for target in targets)


def _named(config: Mapping[str, Any]) -> Iterator[str]:
  if config.get("batch_scope") == "device":
    yield "ibjax.programs.scope"  # what evaluates the objective on each device's part
  for _, value in flatten(config):
    for text in value if isinstance(value, (list, tuple)) else [value]:
      if isinstance(text, str) and (match := _FACTORY.fullmatch(text)):
        yield match[1]


@functools.lru_cache(maxsize=512)  # a table asks for the same modules for every run
def _imports(source: str, module: str) -> tuple[str, ...]:
  found: list[str] = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      found += (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      package = module.split(".")[: -node.level] if node.level else []
      base = ".".join([*package, *([node.module] if node.module else [])])
      # What is imported from a package may be a module or a name in it; `_counts` tells.
      found += (base, *(f"{base}.{alias.name}" for alias in node.names))
  return tuple(found)


def _counts(root: pathlib.Path, name: str) -> bool:
  parts = name.split(".")
  if parts[0] != "ibjax" or len(parts) < 3:
    return False
  if name in AROUND:
    return False
  inside = parts[1] in ROOMS or (parts[1] == "core" and parts[2] in CORE)
  return inside and _file(root, name).is_file()


def _file(root: pathlib.Path, name: str) -> pathlib.Path:
  return root.joinpath(*name.split(".")[1:]).with_suffix(".py")
