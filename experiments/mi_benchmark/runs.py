"""Which runs: every estimator on the 40 tasks of Beyond Normal, at 2,000 and 10,000 samples.

A run is one estimator, one number of samples and one seed, over all tasks. The seed draws the
samples and whatever the estimator draws.
"""

CONFIG = "configs/estimation/benchmark.py"

# Name -> (factory, seeds at n = 2,000, seeds at n = 10,000). Fewer seeds, where an estimate takes
# seconds; none, where it takes minutes.
ESTIMATORS = {
  "recommended": ("combined.recommended:recommended", 5, 5),
  "student_copula": ("parametric.student_copula:student_copula", 10, 10),
  "gaussian_copula": ("parametric.gaussian_copula:gaussian_copula", 10, 10),
  "gaussian": ("parametric.gaussian:gaussian", 10, 10),
  "ksg": ("neighbours.ksg:ksg", 3, 1),
  "lnc": ("neighbours.lnc:lnc", 3, 0),
  "mixture": ("neighbours.mixture:mixture", 3, 0),
  "kde": ("kernel.kde:kde", 3, 0),
  "fixed_bins": ("binning.fixed_bins:fixed_bins", 3, 0),
  "info_nce": ("variational.info_nce:info_nce", 1, 0),
  "mine": ("variational.mine:mine", 0, 0),  # on the twelve tasks alone
  "nwj": ("variational.nwj:nwj", 0, 0),
}

# The tasks, and the number of samples, on which critics were measured elsewhere.
CRITICS = ("info_nce", "mine", "nwj", "recommended")
CRITICS_TASKS = (
  *("1v1-normal-0.75", "1v1-additive-0.75", "wiggly-1v1-normal-0.75"),
  *("asinh-student-identity-1-1-1", "swissroll_x-normal_cdf-1v1-normal-0.75"),
  *("multinormal-dense-5-5-0.5", "multinormal-sparse-5-5-2-2.0", "multinormal-dense-25-25-0.5"),
  *("multinormal-sparse-25-25-2-2.0", "student-identity-3-3-2"),
  *("spiral-multinormal-sparse-3-3-2-2.0", "half_cube-multinormal-sparse-5-5-2-2.0"),
)

# A dozen of the tasks, of every kind: marginals, tails, dimension, sparsity, spirals.
TWELVE = (
  *("1v1-normal-0.75", "1v1-additive-0.1", "1v1-bimodal-0.75", "student-identity-1-1-1"),
  *("swissroll_x-normal_cdf-1v1-normal-0.75", "multinormal-dense-5-5-0.5"),
  *("multinormal-sparse-3-3-2-2.0", "multinormal-sparse-5-5-2-2.0", "student-identity-3-3-2"),
  *("asinh-student-identity-2-2-1", "half_cube-multinormal-sparse-3-3-2-2.0"),
  "spiral-multinormal-sparse-3-3-2-2.0",
)


def names(ids):
  """How a config names tasks."""
  return ";".join(f"bmi:{id}" for id in ids)


BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"data.tasks": names(TWELVE)}),
  "full": dict(seeds=tuple(range(10))),
}


def _cells():
  for name, (factory, *counts) in ESTIMATORS.items():
    for n, count in zip((2000, 10000), counts):
      cell = dict(
        id=f"{name}/n={n}",
        config=CONFIG,
        overrides={"estimator.fn": f"ibjax.estimators.{factory}", "data.n": n},
      )
      if count < 10:
        cell["seeds"] = tuple(range(count))  # they hold in every budget
      if count < 3 or n == 10000:
        cell["budgets"] = ("full",)
      if count:
        yield cell
  for name in CRITICS:
    factory = f"ibjax.estimators.{ESTIMATORS[name][0]}"
    overrides = {"estimator.fn": factory, "data.n": 5000, "data.tasks": names(CRITICS_TASKS)}
    yield dict(
      id=f"{name}/twelve", config=CONFIG, overrides=overrides, budgets=("full",), seeds=(0,)
    )


CELLS = tuple(_cells())
