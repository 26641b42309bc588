"""Gaussian information: unbiased at any n, its standard error, collinear and constant columns."""

import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.data import synthetic
from ibjax.estimators.base.canonical import gaussian_information
from ibjax.estimators.parametric.gaussian import gaussian
from ibjax.estimators.parametric.gaussian_copula import gaussian_copula


def codes(found):
  return {note.code for note in found.warnings}


@pytest.mark.parametrize(
  ("task", "n", "draws"),
  [("gaussian:d=1,rho=0.75", 12, 3000), ("gaussian:d=3,rho=0.5,dx=5,dy=3", 20, 2000)],
)
def test_no_bias_at_few_rows_and_a_standard_error_of_the_right_size(task, n, draws):
  task = synthetic.find(task)
  x, y = task.draw(n * draws, 0)
  found = [gaussian_information("", a, b) for a, b in zip(*(np.split(v, draws) for v in (x, y)))]
  values = np.array([one.nats for one in found])
  spread = values.std() / np.sqrt(draws)
  assert abs(values.mean() - task.nats) < 3.5 * spread
  # Without the correction the bias would be many times that.
  plug_in = np.mean(
    [-0.5 * np.log(1 - one.extra["canonical_correlations"] ** 2).sum() for one in found]
  )
  assert plug_in - task.nats > 8 * spread
  assert np.sqrt(np.mean([one.stderr**2 for one in found])) == pytest.approx(values.std(), rel=0.35)


def test_many_columns_at_two_thousand_rows():
  for name in ("multinormal-dense-50-50-0.5", "multinormal-sparse-25-25-2-2.0"):
    task = synthetic.find(f"bmi:{name}")
    found = gaussian()(*task.draw(2000, 3))
    assert abs(found.nats - task.nats) < 3 * found.stderr < 0.12


def test_columns_that_repeat_others_change_nothing():
  x, y = synthetic.find("gaussian:d=2,rho=0.5").draw(200, 0)
  wide = np.concatenate([x, x @ [[1.0], [2.0]], np.full((200, 1), 0.1)], axis=1)
  assert gaussian()(wide, y).nats == pytest.approx(gaussian()(x, y).nats, rel=1e-9)


def test_what_is_linear_to_rounding_is_told():
  x, y = synthetic.find("gaussian:d=2,rho=0.5").draw(200, 0)
  found = gaussian()(x, np.concatenate([y, 3 * x[:, :1] + 1], axis=1))
  assert "linear_dependence" in codes(found) and np.isfinite(found.nats)


@pytest.mark.parametrize("estimator", [gaussian(), gaussian_copula()])
def test_more_columns_than_rows_allow_are_refused(estimator):
  x = np.random.default_rng(0).normal(size=(20, 12))
  with pytest.raises(InputError, match="18 or fewer"):
    estimator(x, x[:, :7] + 1.0)


def test_a_constant_column_carries_nothing():
  x = np.random.default_rng(0).normal(size=(100, 1))
  for estimator in (gaussian(), gaussian_copula()):
    assert estimator(np.full((100, 1), 0.3), x).nats == 0
