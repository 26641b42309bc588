"""Which runs: every estimator on the 40 tasks of Beyond Normal, at 2,000 and 10,000 samples.

A run is one estimator, one number of samples and one seed, over all tasks. The seed draws the
samples and whatever the estimator draws.
"""

CONFIG = "configs/estimation/benchmark.py"

# Name -> (factory, seeds at n = 2,000, seeds at n = 10,000). Fewer seeds, where an estimate takes
# seconds; none, where it takes minutes.
ESTIMATORS = {
  "recommended": ("combined.recommended:recommended", 10, 10),
  "student_copula": ("parametric.student_copula:student_copula", 10, 10),
  "ksg": ("neighbours.ksg:ksg", 10, 3),
}

# A dozen of the tasks, of every kind: marginals, tails, dimension, sparsity, spirals.
TWELVE = (
  *("1v1-normal-0.75", "1v1-additive-0.1", "1v1-bimodal-0.75", "student-identity-1-1-1"),
  *("swissroll_x-normal_cdf-1v1-normal-0.75", "multinormal-dense-5-5-0.5"),
  *("multinormal-sparse-3-3-2-2.0", "multinormal-sparse-5-5-2-2.0", "student-identity-3-3-2"),
  *("asinh-student-identity-2-2-1", "half_cube-multinormal-sparse-3-3-2-2.0"),
  "spiral-multinormal-sparse-3-3-2-2.0",
)

BUDGETS = {
  "quick": dict(seeds=(0, 1), overrides={"data.tasks": ";".join(f"bmi:{id}" for id in TWELVE)}),
  "full": dict(seeds=tuple(range(10))),
}


def _cells():
  for name, (factory, *seeds) in ESTIMATORS.items():
    for n, count in zip((2000, 10000), seeds):
      cell = dict(
        id=f"{name}/n={n}",
        config=CONFIG,
        overrides={"estimator.fn": f"ibjax.estimators.{factory}", "data.n": n},
      )
      # The cell's own seeds hold in every budget: a full budget of few seeds has its own cell.
      if n == 10000:
        cell["budgets"] = ("full",)
        cell["seeds"] = tuple(range(count))
      yield cell


CELLS = tuple(_cells())
