"""Tasks made of tasks: several independent copies side by side, and coordinates of pure noise."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.data.synthetic.task import Arrays, Task, extended


def repeat(task: Task, copies: int) -> Task:
  """Puts independent copies of a task side by side: the information adds up.

  Formula: I(X1..Xk; Y1..Yk) = k I(X;Y), and so for every entropy.

  Args:
    task: a pair of real variables.
    copies: k, at least 1.

  Returns:
    A new `Task` of k times the widths; the task itself for 1 copy.

  Raises:
    InputError: fewer than 1 copy, labels, or a task with a z.

  Example:
    >>> from ibjax.data.synthetic.additive import additive
    >>> repeat(additive(epsilon=0.75), 3).nats
    1.0
  """
  checks.at_least("copies", copies, 1)
  if copies == 1:
    return task
  if not (task.dx and task.dy) or task.dz is not None:
    raise InputError(f"{task.id}: copies are for pairs of real variables, without a z.")

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    drawn = [task.sample(rng, n) for _ in range(copies)]
    return tuple(np.hstack(side) for side in zip(*drawn))

  return dataclasses.replace(
    task,
    id=extended(task.id, "copies", str(copies)),
    dx=copies * task.dx,
    dy=copies * task.dy,
    nats=copies * task.nats,
    sample=sample,
    entropies={key: copies * value for key, value in task.entropies.items()},
    x_shape=(),
    stream="",
  )


def pad(task: Task, width: int) -> Task:
  """Adds coordinates of standard normal noise to x, and to y where it is real.

  Formula: I(X,N;Y,M) = I(X;Y) for noise N and M independent of all else.

  Args:
    task: a task whose x is real.
    width: how many coordinates each side gets, at least 0.

  Returns:
    A new `Task`, which draws the rows of `task` with noise beside them; the task itself for 0.

  Raises:
    InputError: a negative width, or x labels.

  Example:
    >>> from ibjax.data.synthetic.normal import gaussian
    >>> pad(gaussian(), 4).dx
    5
  """
  checks.at_least("pad", width, 0)
  if width == 0:
    return task
  if not task.dx:
    raise InputError(f"{task.id}: x is a label; only real variables can be padded with noise.")
  one = 0.5 * math.log(2.0 * math.pi * math.e)
  sides = {"x": 1, "y": 1 if task.dy else 0, "xy": 2 if task.dy else 1}

  def sample(rng: np.random.Generator, n: int) -> Arrays:
    x, y, *z = task.sample(rng, n)
    x = np.hstack([x, rng.standard_normal((n, width))])
    if task.dy:
      y = np.hstack([y, rng.standard_normal((n, width))])
    return x, y, *z

  return dataclasses.replace(
    task,
    id=extended(task.id, "pad", str(width)),
    dx=task.dx + width,
    dy=task.dy + width if task.dy else 0,
    sample=sample,
    entropies={
      key: value + sides.get(key, 0) * width * one for key, value in task.entropies.items()
    },
    x_shape=(),
    margins=task.margins if task.margins == "normal" else "",
    stream=task.stream or task.id,
  )
