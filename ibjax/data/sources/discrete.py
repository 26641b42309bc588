"""A small table p(x, y) as its exact frequencies: discrete:table:kx=8,ky=4,rows=1000."""

from __future__ import annotations

import pathlib

import numpy as np
from scipy.special import rel_entr

from ibjax.core.errors import ConfigError
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays
from ibjax.data.synthetic import find

ROWS = 1000


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Makes a data set whose every pair (x, y) stands in it as often as the table says.

  Nothing is drawn: the training split, the test split and the distribution are the same thing, so
  that what is learned can be held to the exact information bottleneck of the table, without an
  error of sampling. With batches of all rows each step sees the distribution itself.

  Args:
    argument: a task of labels (see `ibjax list tasks`), and among its keys `rows`, how many there
      are (1000 when not given): "table:kx=8,ky=4,seed=1,rows=2000", "xor:p=0.1", "bsc". The
      table is that of the task, rounded to multiples of 1 / rows.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` of one-hot float32 x [rows, kx] and classes y, with equal splits "train" and "test"
    in a fixed random order, and the exact I(X;Y) of the rounded table.

  Raises:
    ConfigError: an unknown task or key, a task that is no table of two labels, too few rows for a
      value of x or y to be there at all.
  """
  del data_dir
  counts = parse(argument)
  rows = int(counts.sum())
  x, y = (np.repeat(index.reshape(-1), counts.reshape(-1)) for index in np.indices(counts.shape))
  order = np.random.default_rng(0).permutation(rows)
  split = (np.eye(len(counts), dtype=np.float32)[x[order]], y[order].astype(np.int32))
  joint = counts / rows
  independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
  return from_arrays(
    f"discrete:{argument}",
    {"train": split, "test": split},
    fingerprint=fingerprint.combine({"discrete": "1", "counts": repr(counts.tolist())}),
    num_classes=counts.shape[1],
    information_nats=float(rel_entr(joint, independent).sum()),
  )


def parse(argument: str) -> np.ndarray:
  """Reads what a config says after "discrete:".

  Args:
    argument: see `load`.

  Returns:
    [kx, ky] how many rows there are of each pair, integers; divided by their sum they are p(x, y).

  Raises:
    ConfigError: see `load`.

  Example:
    >>> from ibjax.data.sources.discrete import parse
    >>> parse("bsc:p=0.1,rows=20").tolist()
    [[9, 1], [1, 9]]
  """
  name, _, text = argument.partition(":")
  keys = [item for item in text.split(",") if item]
  given = [item.removeprefix("rows=") for item in keys if item.startswith("rows=")]
  text = given[-1] if given else str(ROWS)
  if not text.isdecimal() or int(text) < 1:
    raise ConfigError(f"source 'discrete': rows={text!r}, expected a whole number, at least 1.")
  kept = ",".join(item for item in keys if not item.startswith("rows="))
  task = find(f"{name}:{kept}" if kept else name)
  if task.table is None or task.table.ndim != 2:
    raise ConfigError(
      f"source 'discrete': {task.id} is no table of two labels. Use bsc, bec, xor, table or "
      "table_chain; other tasks are drawn by the source 'synthetic'."
    )
  counts = _rounded(task.table, int(text))
  for axis, what in ((1, "x"), (0, "y")):
    missing = np.flatnonzero(counts.sum(axis=axis) == 0)
    if len(missing):
      likely = task.table.sum(axis=axis)[missing[0]]
      raise ConfigError(
        f"source 'discrete': rows={text} are too few for {what} = {missing[0]}, of probability "
        f"{likely:.2g}. Set rows to {int(np.ceil(2 / max(likely, 1e-9)))} or more."
      )
  return counts


def _rounded(table: np.ndarray, rows: int) -> np.ndarray:
  """Counts that sum to `rows`, each within one of rows p: the largest remainders round up."""
  exact = table.reshape(-1) * rows
  counts = np.floor(exact + 1e-9).astype(np.int64)
  # Ties in the order of the table, whatever the machine's last digits are.
  order = np.argsort(-np.round(exact - counts, 9), kind="stable")
  counts[order[: rows - counts.sum()]] += 1
  return counts.reshape(table.shape)
