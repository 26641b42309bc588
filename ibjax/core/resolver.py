"""From the names in a config to factories: `dict(fn="module:factory", keyword=value, ...)`.

The factory's signature is the schema. Only `ibjax.*` and a short list of libraries resolve, so
a config file from elsewhere cannot run arbitrary code through a string.
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from ibjax.core.errors import ConfigError, InputError, nearest, unknown

ALLOWED = ("ibjax", "optax")


def resolve(path: str) -> Callable[..., Any]:
  """Returns the callable a string names.

  Args:
    path: "package.module:name", in `ibjax` or an allow-listed library.

  Returns:
    The callable.

  Raises:
    ConfigError: malformed, not allow-listed, or nothing of that name; names the nearest one.

  Example:
    >>> from ibjax.core.resolver import resolve
    >>> resolve("ibjax.objectives.variational.vib:vib").__name__
    'vib'
  """
  module_name, separator, attribute = path.partition(":")
  if not separator or not module_name or not attribute:
    raise ConfigError(f"'{path}' does not name a factory; write it as 'package.module:name'.")
  if module_name.split(".")[0] not in ALLOWED:
    raise ConfigError(
      f"'{path}' is refused: a config may name things of {', '.join(ALLOWED)} only."
    )
  module = _import(module_name, path)
  found = getattr(module, attribute, None)
  if not callable(found) or attribute.startswith("_"):
    public = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
    raise ConfigError(unknown(f"factory in {module_name}", attribute, public))
  return found


def _import(module_name: str, path: str) -> ModuleType:
  try:
    return importlib.import_module(module_name)
  except ModuleNotFoundError as error:
    if error.name is None or not module_name.startswith(error.name):
      raise  # the module exists; something that it needs does not
    known = list(method_modules()) if module_name.startswith("ibjax") else []
    guess = nearest(module_name, known)
    hint = f" Did you mean '{guess}'?" if guess else ""
    raise ConfigError(f"'{path}': there is no module '{module_name}'.{hint}") from None


def method_modules(package: str = "ibjax") -> Iterator[str]:
  """Yields the names of all modules below a package, without importing them.

  Args:
    package: dotted name of a package; it is imported itself.
  """
  root = pathlib.Path(importlib.import_module(package).__path__[0])
  for module in pkgutil.iter_modules([str(root)]):
    name = f"{package}.{module.name}"
    yield name
    if module.ispkg:
      yield from method_modules(name)


def bind(spec: Mapping[str, Any], **extra: Any) -> Any:
  """Calls the factory that a config section names with the section's other keys.

  Args:
    spec: `{"fn": "module:factory", keyword: value, ...}`; values may be traced scalars.
    **extra: further keywords, which the frame knows and the config does not.

  Returns:
    What the factory returns.

  Raises:
    ConfigError: no "fn", a keyword that the factory does not have (names the nearest one and
      the signature), or a value of the wrong type or range.

  Example:
    >>> from ibjax.core.resolver import bind
    >>> objective = bind(dict(fn="ibjax.objectives.variational.vib:vib", beta=1e-2))
  """
  arguments = dict(spec)
  path = arguments.pop("fn", None)
  if not isinstance(path, str):
    raise ConfigError(f"a section that builds something needs fn='module:factory'; got {spec}.")
  factory = resolve(path)
  signature = inspect.signature(factory)
  parameters = signature.parameters
  shown = f"{path}{signature}"
  open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
  for name, value in arguments.items():
    if name not in parameters and not open_ended:
      raise ConfigError(unknown(f"argument of {path}", name, parameters, f"Signature: {shown}."))
    if name in parameters:
      _check_type(path, name, value, parameters[name].annotation, shown)
  try:
    return factory(**arguments, **extra)
  except InputError as error:
    raise ConfigError(f"{path}: {error}") from error


_WANTED: dict[str, tuple[type, ...]] = {
  "bool": (bool,),
  "int": (int,),
  "str": (str,),
  "tuple": (tuple,),
  "float": (int, float),
  "Scalar": (int, float),
}


def _check_type(path: str, name: str, value: Any, annotation: Any, shown: str) -> None:
  """Refuses a Python value that cannot be what the annotation says; arrays pass."""
  text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
  options = [option.strip().partition("[")[0] for option in text.split("|")]
  if not isinstance(value, (bool, int, float, str, tuple, type(None))):
    return  # a traced scalar or an array: its factory checks it
  if not text or any(o not in _WANTED and o != "None" for o in options):
    return
  for option in options:
    if option == "None":
      if value is None:
        return
    elif isinstance(value, _WANTED[option]):
      if not isinstance(value, bool) or option == "bool":
        return
  raise ConfigError(
    f"{path}: {name}={value!r} is a {type(value).__name__}, expected {text}. Signature: {shown}."
  )
