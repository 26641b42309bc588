"""Hours of Beijing's air and weather with values missing, and the air of the hours after them."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.data import fingerprint, options, tables
from ibjax.data.source import Source, from_arrays

VARIATES = ("pm25", *tables.BEIJING_NUMBERS)
DEFAULTS: dict[str, float] = dict(missing=0.4, length=24, horizon=24, stride=1, seed=0)
_RANGES = dict(
  missing=(0.0, 0.95), length=(2, 1000), horizon=(1, 1000), stride=(1, 1000), seed=(0, np.inf)
)
_SHARES = dict(train=0.7, validation=0.1, test=0.2)  # of the hours, one after the other


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens Beijing's hourly table as a forecast from incomplete observations.

  An input is `length` hours of seven variates (`VARIATES`), scaled to mean 0 and deviation 1 of
  what was measured in the training hours, of which a share `missing` is taken away at random,
  each value by itself; what is missing is 0, which is the mean, and is marked by nothing. A value
  that is missing is so in every window that holds it. Matter that was never measured is missing
  in inputs too; a window whose targets were not all measured is left out, so targets are complete.

  The targets are the particulate matter of the `horizon` hours after the window. The first 70% of
  the hours are training, the next 10% validation, the last 20% test, and no window crosses a
  border.

  Args:
    argument: "" or "key=value,...": missing, the share in [0, 0.95]; length and horizon in hours;
      stride, hours from one window to the next; seed of what is missing.
    data_dir: where beijing_pm25/ lies.

  Returns:
    A `Source` with float32 inputs [length, 7] and targets [n, horizon].

  Raises:
    ConfigError: an unknown key, or a value out of range, or no window left.
    DataError: the file is missing (says what to place where), damaged or holds something else.
  """
  values = options.parse("beijing_windows", argument, DEFAULTS)
  options.check_range("beijing_windows", values, _RANGES)
  content = "UCI data set 381 with the columns date, pollution, dew, temp, press, wnd_dir, ..."
  path = tables.find(data_dir, tables.BEIJING, "beijing_windows", content)
  found = tables.beijing(path)
  series = np.stack([found[key] for key in VARIATES], axis=-1)
  borders = np.cumsum([0, *(round(share * len(series)) for share in _SHARES.values())])
  borders[-1] = len(series)
  training = series[: borders[1]]
  mean, scale = np.nanmean(training, axis=0), np.nanstd(training, axis=0)
  # A variate that is constant in the training hours (a short table's snow) is 0 in all.
  series = (series - mean) * np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
  taken = np.random.default_rng(int(values["seed"])).uniform(size=series.shape) < values["missing"]
  seen = np.where(taken | np.isnan(series), 0.0, series)
  splits = {
    split: _windows(seen[low:high], series[low:high, 0], values)
    for split, low, high in zip(_SHARES, borders, borders[1:])
  }
  for split, (x, _) in splits.items():
    if len(x) == 0:
      raise ConfigError(
        f"beijing_windows: the split '{split}' has no window of length={int(values['length'])} and "
        f"horizon={int(values['horizon'])} hours whose targets were all measured. Take fewer hours."
      )
  return from_arrays(
    f"beijing_windows:{argument}" if argument else "beijing_windows",
    splits,
    # Of the file and the choices: another machine may round a mean another way.
    fingerprint=fingerprint.combine(
      {"beijing_windows": "1", "file": fingerprint.of_file(path)}
      | {key: repr(value) for key, value in values.items()}
    ),
    target_mean=(float(mean[0]),) * int(values["horizon"]),
    target_scale=(float(scale[0]),) * int(values["horizon"]),
    target_unit="micrograms per cubic metre",
  )


def _windows(seen: np.ndarray, target: np.ndarray, values) -> tuple[np.ndarray, np.ndarray]:
  """Every window [length, v] and what follows it [horizon], where all of that was measured."""
  length, horizon = int(values["length"]), int(values["horizon"])
  starts = np.arange(0, len(seen) - length - horizon + 1, int(values["stride"]))
  after = target[starts[:, None] + length + np.arange(horizon)]
  complete = np.isfinite(after).all(axis=1)
  x = seen[starts[complete, None] + np.arange(length)]
  return x.astype(np.float32), after[complete].astype(np.float32)
