"""Any task with exact information: synthetic:gaussian:d=3,rho=0.6,train=10000,test=2000,draw=0."""

from __future__ import annotations

import pathlib

import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.data import fingerprint
from ibjax.data.source import Source, from_arrays
from ibjax.data.synthetic import find
from ibjax.data.synthetic.task import Task

# Keys of the data set, beside those of the task: rows of the splits, and the seed of the rows.
DEFAULTS = {"train": 10_000, "test": 2_000, "draw": 0}
_LEAST = {"train": 1, "test": 1, "draw": 0}


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Draws a task of `ibjax.data.synthetic`.

  Args:
    argument: the task's name (see `ibjax list tasks`), and among its keys any of train and test,
      the rows of the splits, and draw, the seed of the rows. The test split is the same for all
      seeds: "synthetic:classes:k=5,train=1000,draw=3", "synthetic:bmi:1v1-normal-0.75,test=5000".
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` with the exact I(X;Y): float32 x (images in their shape; labels one-hot), and
    classes or float32 targets.

  Raises:
    ConfigError: an unknown task or key, a number that does not fit, or a task with a z.
  """
  del data_dir
  task, values = parse(argument)
  splits = {
    "train": _arrays(task, values["train"], values["draw"] + 1),
    "test": _arrays(task, values["test"], 0),
  }
  # Of the parameters, not of the values: another machine may round a few of them another way.
  parts = {"synthetic": "1", "task": task.id, **{key: str(v) for key, v in values.items()}}
  return from_arrays(
    f"synthetic:{argument}",
    splits,
    fingerprint=fingerprint.combine(parts),
    num_classes=task.classes.get("y"),
    target_entropy_nats=task.entropies.get("y") if task.dy else None,
    information_nats=task.nats,
  )


def parse(argument: str) -> tuple[Task, dict[str, int]]:
  """Reads what a config says after "synthetic:".

  Args:
    argument: see `load`.

  Returns:
    The task, and the numbers of `DEFAULTS`.

  Raises:
    ConfigError: see `load`.

  Example:
    >>> from ibjax.data.sources.synthetic import parse
    >>> task, values = parse("gaussian:d=3,train=500")
    >>> task.id, values["train"], values["draw"]
    ('gaussian:d=3', 500, 0)
  """
  first, *rest = argument.split(",")
  # "xor:train=10" has its first key after the colon, "bmi:<id>,train=10" after a comma.
  head, colon, tail = first.rpartition(":")
  if colon and "=" in tail:
    kept, rest = [head], [tail, *rest]
  else:
    kept = [first]
  values, own = dict(DEFAULTS), []
  for item in filter(None, rest):
    key, _, text = item.partition("=")
    if key not in values:
      own.append(item)
      continue
    if not text.isdecimal() or int(text) < _LEAST[key]:
      raise ConfigError(
        f"source 'synthetic': {key}={text!r}, expected a whole number, at least {_LEAST[key]}."
      )
    values[key] = int(text)
  task = find(f"{kept[0]}:{','.join(own)}" if own else kept[0])
  if task.dz is not None:
    raise ConfigError(
      f"source 'synthetic': {task.id} has a z, and a data set has x and y alone. Draw it by "
      "ibjax.data.synthetic.find."
    )
  return task, values


def _arrays(task: Task, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
  x, y = task.draw(n, seed)
  if not task.dx:
    x = np.eye(task.classes["x"], dtype=np.float32)[x]
  elif task.x_shape:
    x = x.reshape(n, *task.x_shape)
  return x.astype(np.float32), y.astype(np.float32 if task.dy else np.int32)
