"""The discrete information bottleneck against closed forms, its own conditions and enumeration."""

import math

import jax
import numpy as np
import pytest
from scipy.optimize import brentq

from ibjax.core.errors import InputError
from ibjax.exact.critical_betas import critical_betas
from ibjax.exact.discrete_ib import curve, discrete_ib, used_clusters
from ibjax.exact.joint import checked_joint, critical_beta, information, place, split_betas

LOG_2 = math.log(2.0)


def h(p):
  return -p * math.log(p) - (1 - p) * math.log1p(-p)


def symmetric(p):
  return np.array([[1 - p, p], [p, 1 - p]]) / 2


def erasure(p):
  return np.array([[1 - p, 0, p], [0, 1 - p, p]]) / 2


def random_table(kx, ky, seed, concentration=0.5):
  return np.random.default_rng(seed).dirichlet(np.full(kx * ky, concentration)).reshape(kx, ky)


TABLE = random_table(6, 4, 1)
BETAS = np.geomspace(0.5, 200.0, 80)


@pytest.fixture(scope="module")
def solved():
  return discrete_ib(TABLE, BETAS)


# Closed forms.


@pytest.mark.parametrize("p", [0.05, 0.1, 0.3])
def test_a_symmetric_channel_has_the_curve_of_a_symmetric_channel(p):
  """(log 2 - h(d), log 2 - h(p * d)), at the d at which its slope is 1 / beta."""
  first = 1 / (1 - 2 * p) ** 2
  assert critical_beta(symmetric(p)) == pytest.approx(first, rel=1e-12)
  betas = first * np.array([0.5, 0.999, 1.01, 1.1, 2.0, 5.0, 50.0])
  found = discrete_ib(symmetric(p), betas)

  def slope(d):
    total = p * (1 - d) + d * (1 - p)
    return (1 - 2 * p) * math.log((1 - total) / total) / math.log((1 - d) / d)

  for beta, rate, kept in zip(betas, found.rate_nats, found.relevance_nats):
    if beta <= first:
      expected = (0.0, 0.0)
    else:
      d = brentq(lambda d, beta=beta: slope(d) - 1 / beta, 1e-200, 0.5 - 1e-9)
      expected = (LOG_2 - h(d), LOG_2 - h(p * (1 - d) + d * (1 - p)))
    # Near the critical beta the Lagrangian is flat: its error is far below the rate's.
    np.testing.assert_allclose((rate, kept), expected, atol=2e-5)
    np.testing.assert_allclose(rate - beta * kept, expected[0] - beta * expected[1], atol=1e-8)


@pytest.mark.parametrize("p", [0.1, 0.6])
def test_an_erasure_channel_is_a_straight_line(p):
  """I(T;Y) = (1 - p) I(X;T) for any T, so beta = 1 / (1 - p) jumps from nothing to all."""
  first = 1 / (1 - p)
  assert critical_beta(erasure(p)) == pytest.approx(first, rel=1e-12)
  found = discrete_ib(erasure(p), first * np.array([0.9, 0.999, 1.001, 3.0, 1e4]))
  np.testing.assert_allclose(found.rate_nats, LOG_2 * np.array([0, 0, 1, 1, 1]), atol=1e-6)
  np.testing.assert_allclose(found.relevance_nats, (1 - p) * found.rate_nats, atol=1e-9)
  rates = np.array([0.0, 0.2, 0.5, LOG_2, 3.0])
  np.testing.assert_allclose(curve(found, rates), (1 - p) * np.minimum(rates, LOG_2), atol=1e-6)


def test_the_limits_of_beta_are_nothing_and_all(solved):
  assert solved.rate_nats[0] < 1e-9 and solved.relevance_nats[0] < 1e-9
  assert solved.information_nats == pytest.approx(information(TABLE), rel=1e-12)
  all_of_it = discrete_ib(TABLE, np.array([0.0, 1e5]))
  assert all_of_it.relevance_nats[1] == pytest.approx(information(TABLE), abs=1e-6)
  assert all_of_it.rate_nats[0] == 0.0
  # Two values of X with one p(y|x) are one for the bottleneck, and it pays for them once.
  twins = np.repeat(TABLE / 2, 2, axis=0)
  doubled = discrete_ib(twins, np.array([5.0, 1e5]))
  weight = TABLE.sum(1)
  assert doubled.rate_nats[1] == pytest.approx(-(weight * np.log(weight)).sum(), abs=1e-3)
  alone = discrete_ib(TABLE, np.array([5.0]))
  assert doubled.lagrangian_nats[0] == pytest.approx(alone.lagrangian_nats[0], abs=1e-8)


# Conditions that every curve meets.


def test_the_slope_of_the_curve_is_one_over_beta(solved):
  used = (solved.rate_nats > 1e-3) & (solved.rate_nats < 0.999 * solved.rate_nats.max())
  assert used.sum() > 20
  for index in np.flatnonzero(used)[::5]:
    beta = solved.betas[index]
    near = discrete_ib(TABLE, beta * np.array([1 - 1e-3, 1 + 1e-3]), tolerance=1e-13)
    slope = np.diff(near.relevance_nats) / np.diff(near.rate_nats)
    assert slope[0] == pytest.approx(1 / beta, rel=2e-3)


def test_the_curve_rises_is_concave_and_below_its_bounds(solved):
  order = np.argsort(solved.rate_nats)
  rate, kept = solved.rate_nats[order], solved.relevance_nats[order]
  assert np.all(np.diff(kept) >= -1e-9) and np.all(kept <= rate + 1e-12)
  assert np.all(kept <= solved.information_nats + 1e-9)
  inner = curve(solved, rate)
  np.testing.assert_allclose(inner, kept, atol=1e-8)  # no point lies below the envelope
  # Every beta bounds the curve from above by a line; the points must nearly touch all of them.
  lines = (rate[:, None] - solved.lagrangian_nats) / solved.betas
  assert np.all(lines.min(axis=1) >= kept - 1e-8)
  between = np.linspace(0, rate[-1], 200)
  upper = ((between[:, None] - solved.lagrangian_nats) / solved.betas).min(axis=1)
  assert np.max(upper - curve(solved, between)) < 2e-3


def test_the_trivial_code_loses_stability_at_its_critical_beta():
  found = critical_beta(TABLE)
  normalised = TABLE / np.sqrt(np.outer(TABLE.sum(1), TABLE.sum(0)))
  second = np.linalg.svd(normalised, compute_uv=False)[1]
  assert found == pytest.approx(second**-2, rel=1e-10)
  # A small step along the direction that splits pays just above it, and not just below.
  left = np.linalg.svd(normalised)[0][:, 1] / np.sqrt(TABLE.sum(1))
  encoder = 0.5 + 1e-3 * np.stack([left, -left], axis=1)
  plane = place(TABLE, encoder)
  assert plane.rate_nats - 1.001 * found * plane.relevance_nats < 0
  assert plane.rate_nats - 0.999 * found * plane.relevance_nats > 0
  assert split_betas(TABLE, np.eye(6)).tolist() == [math.inf] * 6


def test_clusters_appear_one_by_one_and_none_of_them_would_split(solved):
  counts = [used_clusters(TABLE, encoder) for encoder in solved.encoders]
  assert counts[0] == 1 and counts[-1] >= 5 and np.all(np.diff(counts) >= 0)
  for beta, encoder, count in zip(solved.betas, solved.encoders, counts):
    weight = TABLE.sum(1) @ encoder
    if count == (weight > 1e-3).sum():  # no copies: each cluster is whole
      assert np.all(split_betas(TABLE, encoder)[weight > 1e-3] > 0.98 * beta)


def test_no_encoder_that_descent_finds_beats_it(solved):
  """Gradient descent on the logits, from many starts: another algorithm, the same optimum."""

  def lagrangian(logits, beta):
    encoder = jax.nn.softmax(logits)
    both, weight = TABLE.T @ encoder, TABLE.sum(1)
    cluster = weight @ encoder
    rate = jax.numpy.sum(weight[:, None] * encoder * jax.numpy.log(encoder / cluster))
    ratio = both / (cluster * TABLE.sum(0)[:, None])
    return rate - beta * jax.numpy.sum(both * jax.numpy.log(ratio))

  @jax.jit
  def descend(logits, betas):
    step = jax.vmap(jax.vmap(jax.grad(lagrangian)), in_axes=(0, 0))
    logits = jax.lax.fori_loop(0, 3000, lambda _, x: x - 2.0 * step(x, betas), logits)
    return jax.vmap(jax.vmap(lagrangian))(logits, betas)

  with jax.enable_x64(True):
    chosen = np.array([20, 30, 40])
    betas = np.repeat(solved.betas[chosen, None], 8, axis=1)
    starts = 2.0 * np.random.default_rng(0).normal(size=(3, 8, 6, 6))
    values = np.asarray(descend(starts, betas)).min(axis=1)
  assert np.all(values >= solved.lagrangian_nats[chosen] - 1e-9)
  np.testing.assert_allclose(values, solved.lagrangian_nats[chosen], atol=2e-3)


def test_alpha_trades_entropy_for_information():
  betas = np.array([3.0, 10.0])
  for alpha in (0.3, 0.7):
    found = discrete_ib(TABLE, betas, alpha=alpha)
    plain = discrete_ib(TABLE, betas)
    noise = plain.entropy_nats - plain.rate_nats
    at_plain = plain.entropy_nats - alpha * noise - betas * plain.relevance_nats
    assert np.all(found.lagrangian_nats <= at_plain + 1e-9)
    assert found.residual_nats.max() < 1e-9


def test_the_result_does_not_depend_on_the_order_of_betas_nor_on_the_seed(solved):
  order = np.random.default_rng(0).permutation(len(BETAS))
  again = discrete_ib(TABLE, BETAS[order], seed=5)
  np.testing.assert_array_equal(again.betas, BETAS[order])
  np.testing.assert_allclose(again.lagrangian_nats, solved.lagrangian_nats[order], atol=1e-7)


# Bad input.


@pytest.mark.parametrize(
  ("joint", "message"),
  [
    (np.full((2, 2), 0.3), r"sums to 1.2, expected 1.*joint / joint.sum"),
    (np.array([[0.6, -0.1], [0.2, 0.3]]), r"-0.1 at \(0, 1\), expected probabilities"),
    (np.array([[0.5, 0.5], [0.0, 0.0]]), r"1 rows of zeros, the first is row 1.*Drop them"),
    (np.array([[0.5, 0.0], [0.5, 0.0]]), "columns of zeros"),
    (np.array([[np.nan, 0.5], [0.5, 0.0]]), r"nan at \(0, 0\)"),
    (np.full(4, 0.25), r"shape \[4\], expected \[kx, ky\]"),
  ],
)
def test_a_table_that_is_no_joint_distribution_is_explained(joint, message):
  with pytest.raises(InputError, match=message):
    checked_joint(joint)
  with pytest.raises(InputError, match=message):
    discrete_ib(joint, BETAS)


@pytest.mark.parametrize(
  ("betas", "keywords", "message"),
  [
    ([-1.0], {}, r"beta is -1, expected .* multiplies I\(T;Y\)"),
    ([np.inf], {}, "beta is inf, expected a finite"),
    ([np.nan], {}, "beta is nan"),
    ([], {}, "at least one"),
    ([2.0], {"alpha": 0.0}, "deterministic_ib"),
    ([2.0], {"alpha": 1.5}, r"alpha is 1.5, expected a number in \[0, 1\]"),
    ([2.0], {"restarts": 0}, "restarts is 0"),
    ([2.0], {"clusters": 0}, "clusters is 0"),
  ],
)
def test_an_argument_out_of_range_is_explained(betas, keywords, message):
  with pytest.raises(InputError, match=message):
    discrete_ib(TABLE, np.array(betas), **keywords)


def test_a_negative_rate_has_no_place_on_the_curve(solved):
  with pytest.raises(InputError, match="at least 0 nats"):
    curve(solved, np.array([-0.1]))


# Critical betas.


def test_two_independent_channels_split_at_the_critical_beta_of_each():
  """Rates and informations of independent pairs add up, so that each keeps its own curve."""
  found = critical_betas(np.kron(symmetric(0.05), symmetric(0.2)), highest=10.0)
  expected = [1 / (1 - 0.1) ** 2, 1 / (1 - 0.4) ** 2]
  np.testing.assert_allclose(found.betas, expected, rtol=5e-3)
  assert found.clusters.tolist() == [1, 2, 4]


def test_a_jump_is_found_as_one_and_independence_has_none():
  jump = critical_betas(erasure(0.4), highest=10.0)
  np.testing.assert_allclose(jump.betas, [1 / 0.6], rtol=2e-3)
  assert jump.clusters.tolist() == [1, 2]
  nothing = critical_betas(np.full((2, 2), 0.25))
  assert len(nothing.betas) == 0 and nothing.clusters.tolist() == [1]
  assert critical_beta(np.full((2, 2), 0.25)) == math.inf
