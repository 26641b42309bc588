"""Real tables for regression: where their files lie, which columns count, which rows are test.

Nothing is fetched: the files are placed by hand in the data folder, each set in a folder of its
own. Every reader gives numbers in their own units; scaling is of the training split and done by
`standardised`.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import itertools
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from ibjax.core.errors import DataError

Pair = tuple[np.ndarray, np.ndarray]

CALIFORNIA = pathlib.Path("california_housing", "california_housing.npz")
BEIJING = pathlib.Path("beijing_pm25", "PRSA_data_2010.1.1-2014.12.31.csv")
UCI = pathlib.Path("uci_regression")
# Name -> columns, the target (the last one) included.
UCI_COLUMNS = {
  **dict(airfoil=6, autompg=8, bike=18, breastcancer=34, concrete=9, elevators=19, energy=9),
  **dict(forest=13, gas=129, housing=14, kin40k=9, machine=8, parkinsons=21, pol=27, protein=10),
  **dict(pumadyn32nm=33, skillcraft=20, sml=27, solar=11, stock=12, wine=12, yacht=7),
}
# Columns that are no inputs. In bike, 15 and 16 are the counts whose sum is the target before its
# logarithm, and 4 and 5 repeat 0 and 1; those of sml and solar are constant.
UCI_DROPPED = {"bike": (4, 5, 15, 16), "sml": (2, 20, 21, 22), "solar": (9,)}
FOLDS = 10

BEIJING_NUMBERS = ("dew", "temp", "press", "wnd_spd", "snow", "rain")
WINDS = ("NW", "NE", "SE", "CV")  # CV: calm, or a wind that changes

_CAPPED = 5.0  # of the median house values, in 100,000 dollars: what is above is stored as 5.00001
_HOURS, _MONTHS = 24, 12


def find(data_dir: pathlib.Path, where: pathlib.Path, name: str, content: str) -> pathlib.Path:
  """Finds a file that somebody has to place in the data folder.

  Args:
    data_dir: where prepared sets live.
    where: the file's place in it.
    name: the source that reads it, for the message.
    content: what the file is, and where it comes from, for the message.

  Returns:
    The file's path.

  Raises:
    DataError: it is not there; says what to place where.
  """
  path = data_dir / where
  if not path.is_file():
    raise DataError(
      f"source '{name}' reads {path}, and there is no such file. Place it there: {content}. "
      "The data folder is $IBJAX_DATA_DIR, or what --data_dir says."
    )
  return path


def california(path: pathlib.Path, *, capped: bool, log: bool) -> Pair:
  """Reads California Housing: median house values of 20,640 districts, 8 inputs.

  Args:
    path: an .npz with x [20640, 8] and y [20640] in 100,000 dollars.
    capped: keep the districts whose value was cut at 5 (they say "5 or more").
    log: give the natural logarithm of the value.

  Returns:
    x [n, 8] and y [n, 1], float64; without the capped districts n is 19,648.

  Raises:
    DataError: a damaged file, or one that holds something else.
  """
  try:
    with np.load(path, allow_pickle=False) as arrays:
      x, y = arrays["x"].astype(np.float64), arrays["y"].astype(np.float64)
  except (KeyError, ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
    raise DataError(f"{path} is damaged, or not California Housing ({error}).") from None
  if x.ndim != 2 or x.shape[1] != 8 or y.shape != x.shape[:1] or not (y > 0).all():
    raise DataError(
      f"{path}: x has shape {list(x.shape)} and y {list(y.shape)}, expected x [n, 8] and positive "
      "values y [n]."
    )
  keep = np.full(len(y), True) if capped else y < _CAPPED
  return x[keep], (np.log(y) if log else y)[keep, None]


def uci(table: pathlib.Path, mask: pathlib.Path, name: str, fold: int) -> tuple[Pair, np.ndarray]:
  """Reads one of the 22 UCI and Delve tables with its fixed test rows.

  Args:
    table: NAME.data.csv.gz, the target in the last column.
    mask: NAME.test_mask.csv.gz, a column of 0 and 1 for each of ten folds.
    name: a key of `UCI_COLUMNS`.
    fold: which of the ten.

  Returns:
    (x [n, d], y [n, 1]) float64, without the columns `UCI_DROPPED`; and test [n] bool.

  Raises:
    DataError: a damaged file, or one of another size.
  """
  values, masks = _numbers(table), _numbers(mask)
  if values.ndim != 2 or values.shape[1] != UCI_COLUMNS[name]:
    raise DataError(
      f"{table} has shape {list(values.shape)}, expected {UCI_COLUMNS[name]} columns."
    )
  if masks.shape != (len(values), FOLDS) or not np.isin(masks, (0, 1)).all():
    raise DataError(
      f"{mask} has shape {list(masks.shape)}, expected 0 and 1 of [{len(values)}, {FOLDS}]."
    )
  x = np.delete(values[:, :-1], UCI_DROPPED.get(name, ()), axis=1)
  return (x, values[:, -1:]), masks[:, fold] == 1


def beijing(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads five years of hourly air quality and weather in Beijing.

  Args:
    path: the table of 43,800 hours, 2010-01-02 to 2014-12-31. The particulate matter that was not
      measured stands in it as 0.

  Returns:
    "pm25" [n] in micrograms per cubic metre, NaN where it was not measured (2,045 hours); the
    columns `BEIJING_NUMBERS` [n]; "wind" [n, 4], one of `WINDS`; "hour" and "month" [n, 2], the
    angle on the clock and in the year as (cos, sin).

  Raises:
    DataError: a damaged file, or hours that do not follow each other.
  """
  try:
    with path.open(newline="", encoding="utf-8") as file:
      rows = list(csv.DictReader(file))
    times = [datetime.datetime.fromisoformat(row["date"]) for row in rows]
    numbers = {
      key: np.array([float(row[key]) for row in rows]) for key in ("pollution", *BEIJING_NUMBERS)
    }
    wind = np.array([WINDS.index(row["wnd_dir"].upper()) for row in rows])
  except (KeyError, TypeError, ValueError, OSError) as error:
    raise DataError(f"{path} is damaged, or not the hourly table of Beijing ({error}).") from None
  hour = datetime.timedelta(hours=1)
  if not rows or any(after - before != hour for before, after in itertools.pairwise(times)):
    raise DataError(f"{path}: {len(rows)} rows whose dates do not follow each other by the hour.")
  found = {key: numbers[key] for key in BEIJING_NUMBERS}
  found["pm25"] = np.where(numbers["pollution"] > 0, numbers["pollution"], np.nan)
  found["wind"] = np.eye(len(WINDS))[wind]
  found["hour"] = _circle(np.array([time.hour for time in times]) / _HOURS)
  found["month"] = _circle(np.array([time.month - 1 for time in times]) / _MONTHS)
  return found


def standardised(splits: Mapping[str, Pair]) -> tuple[dict[str, Pair], np.ndarray, np.ndarray]:
  """Scales every column to mean 0 and deviation 1 of the training split.

  A column that is constant in the training split is 0 in all: nothing is known of its scale.

  Args:
    splits: "train" and others -> (x [n, d], y [n, t]) in their own units.

  Returns:
    The splits in float32; and of the targets the mean [t] and the deviation [t].

  Raises:
    DataError: a constant target.

  Example:
    >>> import numpy as np
    >>> from ibjax.data.tables import standardised
    >>> splits, mean, scale = standardised({"train": (np.eye(2), np.array([[1.0], [5.0]]))})
    >>> splits["train"][1].tolist(), mean.tolist(), scale.tolist()
    ([[-1.0], [1.0]], [3.0], [2.0])
  """
  x_mean, x_scale = _moments(splits["train"][0])
  y_mean, y_scale = _moments(splits["train"][1])
  if not (y_scale > 0).all():
    raise DataError("the target is constant in the training split; there is nothing to predict.")
  inverse = np.divide(1.0, x_scale, out=np.zeros_like(x_scale), where=x_scale > 0)
  scaled = {
    split: (
      ((x - x_mean) * inverse).astype(np.float32),
      ((y - y_mean) / y_scale).astype(np.float32),
    )
    for split, (x, y) in splits.items()
  }
  return scaled, y_mean, y_scale


def _moments(values: np.ndarray) -> Pair:
  mean, scale = values.mean(axis=0), values.std(axis=0)
  # The mean of equal numbers is off by a rounding, and so their deviation is not quite 0.
  return mean, np.where(scale > 1e-9 * np.abs(values).max(axis=0), scale, 0.0)


def _circle(turns: np.ndarray) -> np.ndarray:
  return np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], axis=-1)


def _numbers(path: pathlib.Path) -> np.ndarray:
  try:
    with gzip.open(path, "rt") as file:
      return np.loadtxt(file, delimiter=",", ndmin=2)
  except (ValueError, OSError, EOFError, zlib.error) as error:
    raise DataError(f"{path} is damaged, or not a table of numbers ({error}).") from None
