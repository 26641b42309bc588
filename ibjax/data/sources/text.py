"""Windows of characters of a text file: text:tinyshakespeare, text:PATH:window=128."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import fingerprint, options
from ibjax.data.source import Source, Split
from ibjax.data.windows import windows

DEFAULTS = dict(window=128, stride=0, test=0.1, validation=0.0, least=1)
NAMED = {"tinyshakespeare": "tinyshakespeare/input.txt"}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens a text, its characters as tokens in the order of their code points.

  The last share `test` of the text, by position, is the test split, the share `validation` before
  it the validation split. Their windows do not overlap and cover every character after the first
  exactly once as a target; those of the training split start every `stride` characters. An example
  is x [window] and the characters that follow each, y [window]; a window that ends behind the text
  has targets -1 there, which do not count.

  Args:
    argument: "NAME_OR_PATH" or "NAME_OR_PATH:key=value,..."; a path is absolute, or relative to the
      current folder, then to data_dir. Keys: window, the characters of an example; stride of the
      training windows (0: window, none overlap); test and validation, the shares of these
      splits; least, how often a character must come, those rarer being one token "\ufffd".
    data_dir: where prepared sets live; "tinyshakespeare" is its tinyshakespeare/input.txt.

  Returns:
    A `Source` of int32 tokens.

  Raises:
    ConfigError: no path, an unknown key, or a value out of range.
    DataError: no such file, no UTF-8 text, or too little of it.

  Example:
    source = load("notes.txt:window=64", default_data_dir())
  """
  name, _, text = argument.partition(":")
  values = options.parse(f"text:{name}", text, DEFAULTS)
  inf = np.inf
  shares = dict(test=(1e-6, 0.9), validation=(0.0, 0.9))
  limits = dict(window=(2, inf), stride=(0, values["window"]), least=(1, inf), **shares)
  options.check_range(f"text:{name}", values, limits)
  tokens, names = _tokens(_read(name, data_dir), int(values["least"]))
  window, m = int(values["window"]), len(tokens)
  last = m - round(m * float(values["test"]))
  cut = last - round(m * float(values["validation"]))
  parts = {"train": tokens[: max(cut, 0)], "test": tokens[last:]}
  if cut < last:
    parts["validation"] = tokens[max(cut, 0) : last]
  for split, part in parts.items():
    if len(part) <= window:
      raise DataError(
        f"text:{name}: the {split} split has {len(part):,} characters, too few for a window of "
        f"{window} and the one that follows. Use a longer text, or a smaller window."
      )
  strides = {split: window for split in parts} | {"train": int(values["stride"]) or window}
  splits = {split: windows(part, window, strides[split]) for split, part in parts.items()}
  # Numbers alone would be the same of "ab cd" and "bc de".
  numbers = fingerprint.of_arrays({s: (p, np.array(strides[s])) for s, p in parts.items()})
  return Source(
    name=f"text:{argument}",
    splits={split: Split(n, read, nbytes) for split, (n, read, nbytes) in splits.items()},
    x_shape=(window,),
    x_dtype=np.dtype(np.int32),
    num_classes=len(names),
    class_names=names,
    fingerprint=fingerprint.combine({"numbers": numbers, "alphabet": "".join(names)}),
    train_labels=parts["train"],
  )


def _read(name: str, data_dir: pathlib.Path) -> str:
  if not name:
    raise ConfigError("'text' needs a file: text:PATH, or text:tinyshakespeare.")
  places = [pathlib.Path(name), data_dir / NAMED.get(name, name)]
  path = next((place for place in places if place.is_file()), None)
  if path is None:
    hint = ""
    if name in NAMED:
      hint = f" Put the text there: {data_dir / NAMED[name]}, or set IBJAX_DATA_DIR."
    raise DataError(f"there is no text {' or '.join(str(place) for place in places)}.{hint}")
  try:
    return path.read_text(encoding="utf-8")
  except UnicodeDecodeError as error:
    raise DataError(f"{path} is not text in UTF-8 ({error}). Convert it first.") from None


def _tokens(text: str, least: int) -> tuple[np.ndarray, tuple[str, ...]]:
  points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
  found, inverse, counts = np.unique(points, return_inverse=True, return_counts=True)
  common = counts >= least
  names = tuple(chr(point) for point in found[common])
  place = np.cumsum(common) - 1
  if not common.all():
    place = np.where(common, place, len(names))
    names = (*names, "\ufffd")
  return place[inverse].astype(np.int32), names
