"""Estimators by name, found by discovery: "ksg", or "ksg:k=10" with other hyperparameters."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from ibjax.core.errors import ConfigError, unknown
from ibjax.core.resolver import bind, method_modules
from ibjax.estimators.base import samples
from ibjax.estimators.base.contract import Estimator

ROOM = "ibjax.estimators"
# Other names that methods go by.
ALIASES = {
  "akde": "adaptive_kde",
  "cca": "gaussian",
  "cka": "normalised_hsic",
  "dse": "diffusion_spectral_entropy",
  "dsmi": "diffusion_spectral_information",
  "ebab": "adaptive_bins",
  "gao": "mixture",
  "leave_one_out": "l1_out",
  "renyi": "matrix_renyi",
}


# What is run when nobody says what, by the kinds of samples; of several numbers that nothing speaks
# against, an earlier one is reported.
RECOMMENDED: dict[str, tuple[str, ...]] = {
  "real, real": ("recommended", "ksg", "gaussian_copula", "student_copula", "info_nce"),
  "real, labels": ("ross", "mixture"),
  "labels, labels": ("discrete_information",),
  "conditional": ("conditional_ksg",),
  "x alone": ("kozachenko_leonenko",),
}


@functools.cache
def factories() -> Mapping[str, Callable[..., Estimator]]:
  """Discovers the estimators. Returns: name -> factory, in order of families and names."""
  found = {}
  for module in method_modules(ROOM):
    if module.startswith(f"{ROOM}.base"):
      continue
    name = module.rpartition(".")[2]
    factory = getattr(importlib.import_module(module), name, None)
    if inspect.isfunction(factory) and factory.__module__ == module:
      found[name] = factory
  return found


def name_of(text: str) -> str:
  """The method a name means: case, underscores and known aliases do not matter.

  Args:
    text: e.g. "infonce".

  Returns:
    The factory's name, e.g. "info_nce".

  Raises:
    ConfigError: no such estimator; names the nearest.
  """
  plain = {_plain(name): name for name in factories()}
  for alias, name in ALIASES.items():
    plain.setdefault(_plain(alias), name)
  if _plain(text) not in plain:
    raise ConfigError(
      unknown("estimator", text, [*factories(), *ALIASES], "See `ibjax list estimators`.")
    )
  return plain[_plain(text)]


def find(text: str) -> tuple[str, Estimator]:
  """Builds the estimator that a text on a command line means.

  Args:
    text: a name, with keyword hyperparameters if any: "ksg:k=10,block_size=512" or "ksg(k=10)".

  Returns:
    (label, estimator); the label is the name with the hyperparameters given.

  Raises:
    ConfigError: an unknown name or hyperparameter (names the nearest), a value that does not fit.
  """
  match = re.fullmatch(r"\s*([\w-]+)\s*(?::(.*)|\((.*)\))?\s*", text, re.DOTALL)
  if not match:
    raise ConfigError(f"'{text}' names no estimator; write NAME, or NAME:key=value,key=value.")
  name = name_of(match[1])
  inner = (match[2] if match[2] is not None else match[3]) or ""
  hyper: dict[str, Any] = {}
  for item in (piece for piece in split(inner) if piece):
    key, separator, value = item.partition("=")
    if not separator:
      raise ConfigError(f"'{text}': '{item}' is no hyperparameter; write key=value.")
    hyper[key.strip()] = _value(value.strip())
  factory = factories()[name]
  estimator = bind({"fn": f"{factory.__module__}:{name}", **hyper})
  shown = ",".join(f"{key}={value}" for key, value in hyper.items())
  return (f"{name}:{shown}" if shown else name), estimator


def recommended(x: Any, y: Any = None, z: Any = None) -> list[str]:
  """Names estimators that fit the kinds of samples.

  Args:
    x: an array; see `samples.looks_like_labels`.
    y: an array, or None.
    z: an array, or None.

  Returns:
    Names, the more trusted first.

  Raises:
    ConfigError: labels are given as x and numbers as y.
  """
  kinds = ", ".join(
    "labels" if samples.looks_like_labels(array) else "real"
    for array in (x, y)
    if array is not None
  )
  if z is not None:
    kinds = "conditional"
  elif y is None:
    kinds = "x alone"
  if kinds == "labels, real":
    raise ConfigError(
      "x holds labels and y numbers; exchange them, since I(X;Y) = I(Y;X) and estimators take "
      "labels as y. Or name --estimators."
    )
  return list(RECOMMENDED[kinds])


def split(text: str) -> list[str]:
  """Splits a list at its commas, but not inside brackets nor between hyperparameters.

  Args:
    text: e.g. "ksg:k=10,block_size=64,gaussian,info_nce(steps=100)".

  Returns:
    The items, e.g. ["ksg:k=10,block_size=64", "gaussian", "info_nce(steps=100)"].

  Example:
    >>> from ibjax.estimators.base.catalogue import split
    >>> split("ksg:k=10,block_size=64,gaussian,info_nce(steps=100,seeds=2)")
    ['ksg:k=10,block_size=64', 'gaussian', 'info_nce(steps=100,seeds=2)']
  """
  pieces = re.split(r",(?![^()]*\))", text)
  items: list[str] = []
  for piece in (piece.strip() for piece in pieces):
    if items and ":" in items[-1] and re.match(r"\w+\s*=", piece):
      items[-1] += f",{piece}"
    else:
      items.append(piece)
  return items


def _plain(name: str) -> str:
  return re.sub(r"[\W_]", "", name).lower()


def _value(text: str) -> Any:
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text
