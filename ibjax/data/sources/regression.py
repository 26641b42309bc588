"""Real tables to regress on, regression:california, regression:beijing, regression:bike, ..."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from ibjax.core.errors import ConfigError, unknown
from ibjax.data import fingerprint, options, tables
from ibjax.data.source import Source, from_arrays

_ANY: dict[str, float] = dict(split=0, n=0)
DEFAULTS: dict[str, dict[str, float]] = {
  "california": dict(**_ANY, capped=0, log=1),
  "beijing": dict(**_ANY),
  **{name: dict(fold=0, **_ANY) for name in tables.UCI_COLUMNS},
}
_RANGES = dict(
  split=(0, np.inf), n=(0, np.inf), capped=(0, 1), log=(0, 1), fold=(0, tables.FOLDS - 1)
)


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens a real table, its inputs and its target scaled to mean 0 and deviation 1.

  The scales are those of the training split alone; `Source.target_mean` and `target_scale` say
  what a prediction is in the target's own unit. A fifth of the rows is test and a fifth of the
  rest is validation (64, 16 and 20 percent), drawn at random by `split`; the tables of UCI have
  fixed folds of ten percent test rows instead.

  "california" is California Housing in the logarithm of 100,000 dollars, without the districts
  whose value was cut at 5 (capped=1 keeps them, log=0 leaves out the logarithm). "beijing" is the
  particulate matter of an hour in micrograms per cubic metre from that hour's weather, its month
  and its time of day; hours without a measurement (stored as 0) are left out. The others are the
  22 tables that `ibjax.data.tables` names, whose targets come centred. "bike" is without the two
  counts that add up to its target.

  Args:
    argument: "TABLE" or "TABLE:key=value,...". split, a number at least 0, draws the rows;
      fold, 0 to 9, chooses the test rows of a table of UCI; n, unless 0, keeps as many training
      rows.
    data_dir: where the files lie: california_housing/, beijing_pm25/ and uci_regression/.

  Returns:
    A `Source` with float32 inputs [n, d] and targets [n, 1], and the splits train, validation
    and test.

  Raises:
    ConfigError: an unknown table or key, or a value out of range.
    DataError: a file is missing (says what to place where), damaged or holds something else.
  """
  name, _, text = argument.partition(":")
  if name not in DEFAULTS:
    hint = "Write e.g. regression:california."
    raise ConfigError(unknown("table of source 'regression'", name, DEFAULTS, hint))
  values = options.parse(f"regression:{name}", text, DEFAULTS[name])
  options.check_range(f"regression:{name}", values, {key: _RANGES[key] for key in values})
  (x, y), test, unit, paths = _READ.get(name, _uci)(name, data_dir, values)
  rng = np.random.default_rng([int(values["split"]), 1])
  if test is None:
    test = _drawn(np.arange(len(y)), rng, len(y))
  validation = _drawn(np.flatnonzero(~test), rng, len(y))
  train = np.flatnonzero(~test & ~validation)
  if values["n"] > len(train):
    raise ConfigError(
      f"regression:{name}: n={int(values['n'])} is more than the {len(train)} training rows."
    )
  if values["n"]:
    train = np.sort(rng.permutation(train)[: int(values["n"])])
  rows = dict(train=train, validation=np.flatnonzero(validation), test=np.flatnonzero(test))
  splits, mean, scale = tables.standardised({k: (x[r], y[r]) for k, r in rows.items()})
  return from_arrays(
    f"regression:{argument}",
    splits,
    # Of the files and the choices, not of the values: another machine may round a mean another way.
    fingerprint=fingerprint.combine(
      {"regression": "1", **{p.name: fingerprint.of_file(p) for p in paths}}
      | {key: repr(value) for key, value in values.items()}
    ),
    target_mean=tuple(mean.tolist()),
    target_scale=tuple(scale.tolist()),
    target_unit=unit,
  )


def _drawn(rows: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
  """A fifth of the rows, as a mask of n."""
  chosen = np.zeros(n, bool)
  chosen[rng.permutation(rows)[: round(len(rows) / 5)]] = True
  return chosen


def _california(name: str, data_dir: pathlib.Path, values: Mapping[str, float]):
  content = (
    "an .npz with x [20640, 8] and y [20640] in 100,000 dollars, as scikit-learn's "
    "fetch_california_housing(return_X_y=True) gives them, saved by np.savez"
  )
  path = tables.find(data_dir, tables.CALIFORNIA, f"regression:{name}", content)
  pair = tables.california(path, capped=bool(values["capped"]), log=bool(values["log"]))
  return pair, None, "log of 100,000 dollars" if values["log"] else "100,000 dollars", (path,)


def _beijing(name: str, data_dir: pathlib.Path, values: Mapping[str, float]):
  content = "UCI data set 381 with the columns date, pollution, dew, temp, press, wnd_dir, ..."
  path = tables.find(data_dir, tables.BEIJING, f"regression:{name}", content)
  found = tables.beijing(path)
  columns = [found[key][:, None] for key in tables.BEIJING_NUMBERS]
  x = np.concatenate([*columns, *(found[key] for key in ("wind", "hour", "month"))], axis=1)
  measured = np.isfinite(found["pm25"])
  return (x[measured], found["pm25"][measured, None]), None, "micrograms per cubic metre", (path,)


def _uci(name: str, data_dir: pathlib.Path, values: Mapping[str, float]):
  paths = [
    tables.find(
      data_dir,
      tables.UCI / f"{name}.{part}.csv.gz",
      f"regression:{name}",
      f"it is in the folder uci_datasets/{name} of github.com/treforevans/uci_datasets",
    )
    for part in ("data", "test_mask")
  ]
  pair, test = tables.uci(paths[0], paths[1], name, int(values["fold"]))
  return pair, test, "as in the file, centred", paths


_READ = {"california": _california, "beijing": _beijing}
