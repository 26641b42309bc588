"""`ibjax list`: what there is to name in a config."""

from __future__ import annotations

import ast
import importlib
import inspect
import pathlib
from collections.abc import Callable, Iterator, Sequence

from ibjax.core import schedules
from ibjax.core.errors import ConfigError, unknown
from ibjax.core.resolver import method_modules
from ibjax.core.scope import sees
from ibjax.data.source import source_names
from ibjax.data.synthetic import registry
from ibjax.estimators.base import catalogue

ROOMS = (
  *("objectives", "bottlenecks", "models", "views", "estimators", "evaluators", "programs"),
  "schedules",
)


def methods(room: str) -> Iterator[tuple[str, str]]:
  """Yields ("module:factory", first line of its docstring) for every method of a room.

  A method is a module that holds a factory of its own name; schedules share one module.

  Args:
    room: a subpackage of ibjax, e.g. "objectives", or "schedules".
  """
  if room == "schedules":
    for name, schedule in inspect.getmembers(schedules, inspect.isfunction):
      if schedule.__module__ == schedules.__name__ and not name.startswith("_"):
        yield f"{schedules.__name__}:{name}", _first_line(schedule)
    return
  for name in method_modules(f"ibjax.{room}"):
    module = importlib.import_module(name)
    factory = getattr(module, name.rpartition(".")[2], None)
    if inspect.isfunction(factory) and factory.__module__ == name and _named(room, factory):
      yield f"{name}:{factory.__name__}", _first_line(factory)


def estimators() -> Iterator[tuple[str, str]]:
  """Yields ("module:factory", quantity, bound and first line) for every estimator."""
  for name, factory in catalogue.factories().items():
    made = factory()
    bound = "" if made.bound == "neither" else f", {made.bound} bound"
    text = f"[{made.quantity.replace('_', ' ')}{bound}] {_first_line(factory)}"
    yield f"{factory.__module__}:{name}", text


def objectives() -> Iterator[tuple[str, str]]:
  """Yields ("module:factory", what it sees and first line) for every objective."""
  for name, text in methods("objectives"):
    module, _, factory = name.partition(":")
    couples = getattr(importlib.import_module(module), factory)().couples
    yield name, f"[{'batch' if couples else 'example'}] {text}"


def configs() -> Iterator[tuple[str, str]]:
  """Yields (path, first line of its docstring) for every config below the current folder."""
  for path in sorted(pathlib.Path("configs").rglob("*.py")):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    yield str(path), text.partition("\n")[0]


def sources() -> Iterator[tuple[str, str]]:
  """Yields (name, first line of its docstring) for every kind of data set."""
  for name in source_names():
    yield name, _first_line(importlib.import_module(f"ibjax.data.sources.{name}"))


def tasks() -> Iterator[tuple[str, str]]:
  """Yields (name, what it is) for every family of tasks with exact truth, and each named task."""
  for name in registry.names():
    yield name, registry.describe(name)


def run(argv: Sequence[str]) -> int:
  """Prints the methods, configs, data sources and tasks there are, all or of one kind.

  Args:
    argv: nothing, or one kind.

  Returns:
    0.

  Raises:
    ConfigError: an unknown kind; names the nearest one.
  """
  kinds = (*ROOMS, "data", "tasks", "configs")
  if len(argv) > 1:
    raise ConfigError(f"`ibjax list` takes one kind at most; got {' '.join(argv)}.")
  if argv and argv[0] not in kinds:
    raise ConfigError(unknown("kind", argv[0], kinds))
  for kind in argv or kinds:
    special = {
      **{"objectives": objectives, "estimators": estimators},
      **{"data": sources, "tasks": tasks, "configs": configs},
    }
    rows = list(special.get(kind, lambda k=kind: methods(k))())
    if not rows:
      continue
    width = max(len(name) for name, _ in rows)
    heading = f"{kind}  ([batch]: {sees(True)})" if kind == "objectives" else kind
    print(heading, *(f"  {name:<{width}}  {text}" for name, text in rows), sep="\n")
  return 0


def _named(room: str, factory: Callable[..., object]) -> bool:
  """Whether a config can name it: a program, or a factory whose keywords all have defaults."""
  if room == "programs":
    return True
  parameters = inspect.signature(factory).parameters.values()
  return all(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in parameters)


def _first_line(thing: object) -> str:
  return (inspect.getdoc(thing) or "").partition("\n")[0]
