"""`ibjax estimate`: the information between two arrays by several estimators, and what to trust."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from absl import flags

from ibjax.core.errors import ConfigError, IbjaxError
from ibjax.core.estimate import Estimate
from ibjax.core.numerics import NATS_PER_BIT
from ibjax.data import arrays
from ibjax.estimators.base import advice, catalogue, samples
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.trust import trust
from ibjax.verbs.flags import given, no_positional, parse, wants_help

QUICK_ROWS = 2000


@dataclasses.dataclass(frozen=True)
class Row:
  """One estimator's result, or why there is none."""

  label: str
  found: Estimate | None
  refused: str
  n: int

  def as_json(self) -> dict[str, Any]:
    """The object of --json."""
    if self.found is not None:
      return {**self.found.as_json(), "estimator": self.label}
    nothing = dict.fromkeys(("nats", "lower", "upper", "stderr"))
    return {"estimator": self.label, **nothing, "n": self.n, "warnings": [self.refused]}


def run(argv: Sequence[str]) -> int:
  """Estimates the information between the arrays of two files; see `ibjax estimate --help`.

  Args:
    argv: the arguments after the verb.

  Returns:
    0 when at least one estimator gave a number.

  Raises:
    IbjaxError: a file, array, estimator or hyperparameter that is not there or does not fit;
      samples that no estimator takes.
  """
  values = _flags()
  if wants_help("estimate", values, argv, config=False):
    return 0
  no_positional("estimate", parse(values, "estimate", argv))
  options = given(values)
  if not options["x"]:
    raise ConfigError("`ibjax estimate` needs --x=FILE, and --y=FILE; e.g. --x=a.npy --y=b.npy.")
  found = {name: _read(options[name]) for name in "xyz" if options[name]}
  samples.look("ibjax estimate", found)
  chosen = _chosen(options["estimators"], found)
  n = len(found["x"])
  if options["quick"] and n > QUICK_ROWS:
    rows = np.random.default_rng(options["seed"]).permutation(n)[:QUICK_ROWS]
    found = {name: array[rows] for name, array in found.items()}
  table = [_one(label, one, found, options) for label, one in chosen]
  if all(row.found is None for row in table):
    raise ConfigError("; ".join(dict.fromkeys(row.refused for row in table)))
  if options["json"]:
    print(json.dumps([row.as_json() for row in table], indent=2))
  else:
    _show(table, found, n, options["bits"])
  return 0


def _flags() -> flags.FlagValues:
  values = flags.FlagValues()
  file = "FILE.npy, FILE.npz[:NAME] or FILE.csv[:COLUMNS], one sample a row."
  flags.DEFINE_string("x", None, f"The samples of X: {file}", flag_values=values)
  flags.DEFINE_string("y", None, "The samples of Y, the same rows.", flag_values=values)
  flags.DEFINE_string("z", None, "What is conditioned on, for I(X;Y|Z).", flag_values=values)
  flags.DEFINE_string(
    "estimators",
    None,
    "NAME[:key=value,...][,NAME...]; chosen for the kind of samples when left out.",
    flag_values=values,
  )
  flags.DEFINE_bool(
    "json", False, "Print a list of objects, always in nats, and nothing else.", flag_values=values
  )
  flags.DEFINE_bool("bits", False, "Show bits instead of nats.", flag_values=values)
  flags.DEFINE_integer("seed", 0, "Of everything random.", lower_bound=0, flag_values=values)
  flags.DEFINE_bool(
    "quick",
    False,
    f"At most {QUICK_ROWS} rows, and no re-estimates to check consistency.",
    flag_values=values,
  )
  return values


def _read(file: str) -> np.ndarray:
  found = arrays.read(file)
  return found.reshape(len(found), -1) if found.ndim > 2 else found


def _chosen(text: str | None, found: Mapping[str, np.ndarray]) -> list[tuple[str, Estimator]]:
  names = catalogue.split(text) if text is not None else catalogue.recommended(**found)
  chosen = [catalogue.find(name) for name in names if name]
  if not chosen:
    raise ConfigError("--estimators names no estimator; see `ibjax list estimators`.")
  return list({label: (label, estimator) for label, estimator in chosen}.values())


def _one(
  label: str,
  estimator: Estimator,
  found: Mapping[str, np.ndarray],
  options: Mapping[str, Any],
) -> Row:
  started = time.monotonic()
  key = jax.random.key(options["seed"])
  given = tuple(found.get(name) for name in "xyz")
  estimate, refused = None, ""
  try:
    estimate = (estimator if options["quick"] else partial(trust, estimator))(*given, key=key)
  except IbjaxError as error:
    refused = str(error)
  if not options["json"]:
    print(f"{label}: {time.monotonic() - started:.1f} s", file=sys.stderr)
  return Row(label, estimate, refused, len(found["x"]))


def _show(table: Sequence[Row], found: Mapping[str, np.ndarray], n: int, bits: bool) -> None:
  unit, per_unit = ("bits", NATS_PER_BIT) if bits else ("nats", 1.0)
  used = table[0].n
  print(f"{used} samples" + (f" of {n}" if used < n else ""), *_kinds(found), sep="; ")
  print()
  rows = [("estimator", unit, "interval", "bound", "warnings")]
  for row in table:
    if row.found is None:
      rows.append((row.label, "-", "-", "-", "refused"))
      continue
    codes = dict.fromkeys(note.code for note in row.found.warnings)
    quantity = str(row.found.diagnostics["quantity"])
    bound = "estimate" if row.found.bound == "neither" else f"{row.found.bound} bound"
    rows.append(
      (
        row.label,
        _number(row.found.nats / per_unit),
        _interval(row.found, per_unit),
        bound if quantity in advice.INFORMATION else quantity,
        ", ".join(codes) or "none",
      )
    )
  widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
  for line in rows:
    print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
  for row in table:
    said = (
      [f"refused: {row.refused}"]
      if row.found is None
      else [f"{note.code}: {note.text}" for note in row.found.warnings]
    )
    if said:
      print(f"\n{row.label}", *(f"  {text}" for text in said), sep="\n")
  print()
  print(advice.recommend({r.label: r.found for r in table if r.found is not None}, bits=bits))


def _kinds(found: Mapping[str, np.ndarray]) -> list[str]:
  """What each array was taken for: "x: 3 columns", "y: 10 classes"."""
  said = []
  for name, array in found.items():
    if samples.looks_like_labels(array):
      said.append(f"{name}: {len(np.unique(array))} classes")
    else:
      d = 1 if array.ndim == 1 else array.shape[1]
      said.append(f"{name}: {d} column{'s' if d > 1 else ''}")
  return said


def _interval(found: Estimate, per_unit: float) -> str:
  if not math.isfinite(found.lower):
    return "none"
  return f"{_number(found.lower / per_unit)} to {_number(found.upper / per_unit)}"


def _number(value: float) -> str:
  return f"{value:.4f}" if math.isfinite(value) else str(value)
