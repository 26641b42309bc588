"""Counts: closed forms, what the corrections are for, NSB against another computation."""

import numpy as np
import pytest
from scipy import integrate, special

from ibjax.core.errors import InputError
from ibjax.data import synthetic
from ibjax.estimators.base import counts
from ibjax.estimators.discrete.discrete_entropy import discrete_entropy
from ibjax.estimators.discrete.discrete_information import discrete_information


def test_nsb_is_its_double_integral_for_two_classes():
  """For K = 2 the posterior mean and spread are integrals over p and b, taken directly."""
  a, c = 5, 2

  def h(p):
    return -p * np.log(p) - (1 - p) * np.log1p(-p)

  def over_p(power, b):
    def density(p):
      log = (a + b - 1) * np.log(p) + (c + b - 1) * np.log1p(-p) - special.betaln(b, b)
      return h(p) ** power * np.exp(log)

    return integrate.quad(density, 0, 1, points=[0.5], limit=200)[0]

  def over_b(power):
    def one(t):
      b = np.exp(t)
      prior = 2 * special.polygamma(1, 2 * b + 1) - special.polygamma(1, b + 1)
      return over_p(power, b) * prior * b

    return integrate.quad(one, -18, 14, epsrel=1e-7, limit=200)[0]

  whole, mean, square = (over_b(power) for power in (0, 1, 2))
  found = counts.nsb(np.array([a, c]), 2)
  assert found[0] == pytest.approx(mean / whole, rel=1e-5)
  assert found[1] == pytest.approx(np.sqrt(square / whole - (mean / whole) ** 2), rel=1e-4)


def test_nsb_stays_exact_for_many_classes_and_large_counts():
  many = np.full(1000, 1000)
  mean, sd = counts.nsb(many, 1000)
  assert mean == pytest.approx(np.log(1000), abs=1e-3) and 0 < sd < 1e-3
  assert counts.nsb(np.array([7]), 1) == (0.0, 0.0)


@pytest.mark.parametrize("correction", ["miller_madow", "chao_shen", "nsb"])
def test_corrections_remove_most_of_the_bias(correction):
  task = synthetic.find("table:kx=30,ky=2,concentration=1.0,seed=1")
  error = {"plug_in": [], correction: []}
  for seed in range(20):
    x = task.draw(100, seed)[0]
    for name, found in error.items():
      found.append(discrete_entropy(name, classes=30)(x).nats - task.entropies["x"])
  assert np.mean(error["plug_in"]) < -0.08
  assert abs(np.mean(error[correction])) < 0.4 * abs(np.mean(error["plug_in"]))


def test_many_labels_are_not_taken_for_information():
  rng = np.random.default_rng(0)
  x, y = rng.integers(0, 12, size=(2, 1000))
  assert discrete_information("plug_in")(x, y).nats > 0.04
  assert abs(discrete_information()(x, y).nats) < 0.02


def test_all_singletons_have_a_finite_entropy():
  found = discrete_entropy("chao_shen")(np.arange(50))
  assert np.isfinite(found.nats) and found.nats > np.log(50)


def test_fewer_classes_than_labels_are_refused():
  with pytest.raises(InputError, match="3 labels occur"):
    discrete_entropy("nsb", classes=2)(np.array([0, 1, 2, 2]))
  with pytest.raises(InputError, match="chao_shen"):
    discrete_information("chao-shen")


def test_information_is_that_of_the_entropies():
  x, y = synthetic.find("table").draw(300, 0)
  pairs = 3 * x + y
  for correction in ("plug_in", "miller_madow", "chao_shen"):
    h = discrete_entropy(correction)
    parts = h(x).nats + h(y).nats - h(pairs).nats
    assert discrete_information(correction)(x, y).nats == pytest.approx(parts, abs=1e-12)
