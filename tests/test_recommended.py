"""The recommended estimator: which candidate it takes; nothing is found where nothing is."""

import jax
import numpy as np
import pytest
from scipy import stats

from ibjax.core.errors import InputError
from ibjax.data import synthetic
from ibjax.estimators.base import elliptical
from ibjax.estimators.combined.recommended import _anchor, recommended
from ibjax.estimators.neighbours.ksg import ksg
from ibjax.estimators.parametric.student_copula import student_copula

SMALL = dict(steps=40, width=16, rank=4, batch_size=128)


def used(found):
  return str(found.diagnostics["used"])


@pytest.mark.parametrize("task", ["bmi:half_cube-1v1-normal-0.75", "bmi:student-identity-2-2-1"])
def test_where_the_copula_holds_it_is_reported_in_closed_form(task):
  x, y = synthetic.find(task).draw(1200, 0)
  found = recommended(**SMALL)(x, y)
  assert used(found) == "copula"
  assert found.nats == student_copula()(x, y).nats


def test_what_the_copula_misses_in_few_columns_the_neighbours_find():
  x, y = synthetic.find("bmi:1v1-additive-0.1").draw(1200, 0)
  found = recommended(**SMALL)(x, y)
  assert used(found) == "neighbours"
  assert found.nats == pytest.approx(ksg(k=5, transform="ranks")(x, y).nats, abs=1e-6)
  assert found.nats > found.diagnostics["copula_nats"] + 0.2


def test_what_the_copula_misses_in_more_columns_the_critic_learns():
  task = synthetic.find("bmi:spiral-multinormal-sparse-3-3-2-2.0")
  found = recommended()(*task.draw(2000, 0))
  assert used(found).endswith("correction")
  assert found.diagnostics["copula_nats"] + 0.25 < found.nats < task.nats + 3 * found.stderr


@pytest.mark.parametrize("d", [1, 2])
def test_nothing_is_found_where_nothing_is(d):
  rng = np.random.default_rng(1)
  found = recommended(**SMALL)(rng.standard_normal((1200, d)), rng.standard_normal((1200, d)) ** 3)
  assert used(found) == "copula" and abs(found.nats) < 0.03


def test_a_copula_that_the_held_out_rows_contradict_is_not_believed():
  # Heavy tails inside x and inside y, each with a scale of its own: the likelihood asks for a
  # Student-t copula, which says that x and y share theirs. They are independent.
  rng = np.random.default_rng(2)
  x, y = (rng.chisquare(1, (1200, 1)) ** -0.5 * rng.standard_normal((1200, 2)) for _ in range(2))
  assert student_copula()(x, y).nats > 0.08
  found = recommended(**SMALL)(x, y)
  assert found.diagnostics["held_out_copula_nats"] < 0.0  # the claim costs on rows held out
  assert used(found) != "copula" and abs(found.nats) < 0.06


def test_the_log_ratio_of_pairs_is_that_of_the_densities():
  rng = np.random.default_rng(3)
  values = rng.standard_t(3, (300, 1)) * np.ones((300, 5)) + rng.standard_normal((300, 5))
  u = elliptical.levels(values)
  for tail in (0.0, 0.25):
    copula = elliptical.fit(u, 2, tail)
    found = np.asarray(_anchor(*elliptical.sides(copula, u[:6]), 2, tail))
    q, s = elliptical.quantiles(u[:6], tail), copula.scatter

    def density(z, shape, tail=tail):
      if tail == 0.0:
        return stats.multivariate_normal(cov=shape).logpdf(z)
      return stats.multivariate_t(shape=shape, df=1 / tail).logpdf(z)

    for i in range(6):
      z = np.hstack([np.tile(q[i, :2], (6, 1)), q[:, 2:]])
      ratio = density(z, s) - density(z[:, :2], s[:2, :2]) - density(z[:, 2:], s[2:, 2:])
      gap = ratio - found[i]  # the constant is left out
      np.testing.assert_allclose(gap, gap[0], atol=1e-4)
    own = density(elliptical.quantiles(u, tail), s)
    margins = sum(density(elliptical.quantiles(u[:, [k]], tail)[:, 0], 1.0) for k in range(5))
    np.testing.assert_allclose(copula.log_likelihood, np.sum(own - margins), rtol=1e-6)


def test_a_key_decides_and_blocks_bound_the_memory():
  x, y = synthetic.find("bmi:1v1-additive-0.75").draw(1200, 0)
  small = recommended(**SMALL)
  one, again = (small(x, y, key=jax.random.key(1)).diagnostics["gain_nats"] for _ in range(2))
  assert one == again != small(x, y).diagnostics["gain_nats"]
  # 299 rows are held out of each fold; they go into three blocks of 99.
  cut = recommended(**SMALL, block_size=100)(x[:1196], y[:1196], key=jax.random.key(1))
  assert cut.diagnostics["gain_nats"] == pytest.approx(one, abs=0.05)


def test_too_few_samples_and_bad_sizes_are_told():
  rng = np.random.default_rng(0)
  with pytest.raises(InputError, match="needs more than 41 samples, got 37"):
    recommended()(rng.standard_normal((50, 20)), rng.standard_normal((50, 20)))
  for name in ("steps", "batch_size", "width", "rank"):
    with pytest.raises(InputError, match=name):
      recommended(**{name: 0})
