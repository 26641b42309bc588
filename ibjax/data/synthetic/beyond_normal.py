"""The 40 tasks of Czyz et al. 2023 under their published names.

Source: Czyz, Grabowski, Vogt, Beerenwinkel and Marx 2023, "Beyond Normal: On the Evaluation of
Mutual Information Estimators" (NeurIPS), and the names of the benchmark published with it. The
samples are our own: float64, where the benchmark's are mostly float32.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from ibjax.data.synthetic.additive import additive
from ibjax.data.synthetic.normal import dense, gaussian, sparse
from ibjax.data.synthetic.student import student
from ibjax.data.synthetic.task import Task
from ibjax.data.synthetic.transforms import apply

SOURCE = "Czyz et al. 2023, 'Beyond Normal', one of its 40 tasks"

_NORMAL = "1v1-normal-0.75"


def _recipes() -> dict[str, tuple[Callable[[], Task], tuple[str, ...]]]:
  """Published id -> the task it starts from, and the transforms of it, in the published order."""
  normal = functools.partial(gaussian, rho=(0.75,))
  found: dict[str, tuple[Callable[[], Task], tuple[str, ...]]] = {
    _NORMAL: (normal, ()),
    f"normal_cdf-{_NORMAL}": (normal, ("normal_cdf",)),
    "1v1-additive-0.1": (functools.partial(additive, epsilon=0.1), ()),
    "1v1-additive-0.75": (functools.partial(additive, epsilon=0.75), ()),
    "1v1-bimodal-0.75": (normal, ("normal_cdf", "bimodal")),
    f"wiggly-{_NORMAL}": (normal, ("wiggly",)),
    f"half_cube-{_NORMAL}": (normal, ("half_cube",)),
  }

  def add_student(d: int, df: int, prefix: str = "", then: tuple[str, ...] = ()) -> None:
    build = functools.partial(student, d=d, df=float(df))
    found[f"{prefix}student-identity-{d}-{d}-{df}"] = (build, then)

  add_student(1, 1)
  add_student(1, 1, "asinh-", ("asinh",))
  found[f"swissroll_x-normal_cdf-{_NORMAL}"] = (normal, ("normal_cdf", "swissroll_x"))
  for d in (2, 3, 5, 25, 50):
    found[f"multinormal-dense-{d}-{d}-0.5"] = (functools.partial(dense, dx=d, dy=d), ())
  for d in (2, 3, 5, 25):
    found[f"multinormal-sparse-{d}-{d}-2-2.0"] = (functools.partial(sparse, dx=d, dy=d), ())
  for d, df in ((2, 1), (2, 2), (3, 2), (3, 3), (5, 2), (5, 3)):
    add_student(d, df)
  for then in (("normal_cdf",), ("half_cube",), ("spiral",), ("normal_cdf", "spiral")):
    for d in (3, 5, 25):
      name = f"{'-'.join(reversed(then))}-multinormal-sparse-{d}-{d}-2-2.0"
      found[name] = (functools.partial(sparse, dx=d, dy=d), then)
  for d, df in ((2, 1), (3, 2), (5, 2)):
    add_student(d, df, "asinh-", ("asinh",))
  return found


_RECIPES = _recipes()


def ids() -> tuple[str, ...]:
  """Lists the published ids.

  Returns:
    40 of them, in the published order.
  """
  return tuple(_RECIPES)


def task(name: str) -> Task:
  """Builds one of the tasks.

  Args:
    name: one of `ids()`.

  Returns:
    A `Task` named "bmi:" + name.

  Example:
    >>> task("1v1-additive-0.75").nats
    0.3333333333333333
  """
  start, then = _RECIPES[name]
  made = apply(start(), then)
  return dataclasses.replace(made, id=f"bmi:{name}", source=SOURCE)
