"""Representation objectives against closed forms, independent computations and one another."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ibjax.core.errors import InputError
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.objectives.representation.coding_rate import class_coding_rate, coding_rate, log_det
from ibjax.objectives.representation.embedding import between_views, unit
from ibjax.objectives.representation.mmcr import nuclear_norm
from ibjax.programs.frame import combine

METHODS = {
  "mcr2": dict(gamma_1=2.0, beta=0.7),
  "mcr2 of views": dict(classes="views", gamma_1=2.0, beta=0.7),
  "mmcr": dict(beta=0.3),
  "info_nce": dict(),
  "info_nce of the other view": dict(candidates="other"),
  "vicreg": dict(variance=2.0, invariance=3.0),
  "barlow_twins": dict(beta=0.3),
  "entropy_invariance": dict(),
}
N, D, CLASSES, VIEWS = 8, 5, 3, 2


def build(name):
  method = name.partition(" ")[0]
  module = importlib.import_module(f"ibjax.objectives.representation.{method}")
  return getattr(module, method)(**METHODS[name])


def sample(views=VIEWS, n=N, d=D, seed=0):
  rng = np.random.default_rng(seed)
  z = np.tile(rng.normal(size=(n, d)), (views, 1)) + 0.5 * rng.normal(size=(views * n, d))
  return np.float32(z), np.tile(rng.integers(0, CLASSES, n), views)


@functools.cache
def evaluator(name, views=VIEWS):
  """Losses by name and the gradient of their sum by the code, compiled once a shape."""
  objective = build(name)
  spec = ObjectiveSpec(jnp.full(CLASSES, 1 / CLASSES), D)
  params, state = objective.init(jax.random.key(0), spec)

  def loss(z, y, mask):
    outputs = Outputs(Code(z, None, None, {}), jnp.zeros((len(z), CLASSES)), views=views)
    batch = {"y": y, "mask": mask}
    terms = objective.loss(params, state, outputs, batch, jax.random.key(1), 0)
    values = {k: t.value for k, t in terms.losses.items()} | dict(terms.metrics)
    values.pop("distortion_nats"), values.pop("i_yz_lower_nats")
    return combine(terms, mask)[0][0], values

  return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.mark.parametrize("name", METHODS)
def test_a_masked_example_changes_nothing_whatever_it_holds(name):
  z, y = sample()
  kept = np.tile(np.arange(N) < 6, VIEWS)
  spoiled = np.where(kept[:, None], z, np.float32(np.nan))
  (loss, values), slope = evaluator(name)(spoiled, y, kept)
  (alone, values_alone), slope_alone = evaluator(name)(z[kept], y[kept], kept[kept])
  np.testing.assert_allclose(loss, alone, rtol=1e-5)
  for key, value in values.items():
    np.testing.assert_allclose(value, values_alone[key], rtol=1e-5, err_msg=key)
  np.testing.assert_allclose(slope[kept], slope_alone, rtol=1e-4, atol=1e-6)
  assert not np.any(slope[~kept])
  (whole, _), _ = evaluator(name)(z, y, np.ones_like(kept))
  assert abs(whole - alone) > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_eight_devices_see_the_whole_batch(name):
  z, y = sample()
  mask = np.tile(np.arange(N) < 7, VIEWS)
  mesh = Mesh(np.array(jax.devices()), ("data",))
  spread = [jax.device_put(v, NamedSharding(mesh, PartitionSpec("data"))) for v in (z, y, mask)]
  one, many = evaluator(name)(z, y, mask), evaluator(name)(*spread)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), one, many)


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_finite_where_all_is_one_point_or_zero(name):
  z, y = sample()
  for value in (np.ones_like(z), np.zeros_like(z), 1e6 * z):
    (loss, _), slope = evaluator(name)(value, y, np.ones(len(y), bool))
    assert np.isfinite(loss) and np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", METHODS)
def test_gradients_equal_finite_differences(name):
  with jax.enable_x64(True):
    z, y = sample(seed=3)
    z, mask = np.float64(z), np.tile(np.arange(N) < 7, VIEWS)
    direction = np.random.default_rng(1).normal(size=z.shape)
    objective = build(name)
    params, state = objective.init(None, ObjectiveSpec(jnp.full(CLASSES, 1 / CLASSES), D))

    @jax.jit
    def loss(step):
      code = Code(z + step * direction, None, None, {})
      outputs = Outputs(code, jnp.zeros((len(z), CLASSES)), views=VIEWS)
      terms = objective.loss(params, state, outputs, {"y": y, "mask": mask}, None, 0)
      terms.losses.pop("distortion_nats")
      return sum(term.weight * term.value for term in terms.losses.values())

    slope = jax.jit(jax.grad(loss))(0.0)
    np.testing.assert_allclose(slope, (loss(1e-5) - loss(-1e-5)) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "mcr2"])
def test_one_view_is_refused(name):
  z, y = sample(views=1)
  with pytest.raises(InputError, match=r"compares at least 2 views.*config\.views\.count=2"):
    evaluator(name, views=1)(z, y, np.ones(N, bool))


def test_a_projection_is_compared_in_place_of_the_code():
  z, y = sample()
  objective = build("mcr2")
  params, state = objective.init(None, ObjectiveSpec(jnp.full(CLASSES, 1 / CLASSES), D))
  batch = {"y": y, "mask": np.ones(len(y), bool)}

  def rate(code):
    outputs = Outputs(code, jnp.zeros((len(y), CLASSES)))
    terms = objective.loss(params, state, outputs, batch, None, 0)
    return float(terms.metrics["rate_reduction_nats"])

  behind = Code(jnp.ones_like(z), None, None, {"projection": jnp.asarray(z)})
  assert rate(behind) == rate(Code(jnp.asarray(z), None, None, {}))


# Coding rates.


def test_the_rate_of_a_tight_frame_is_the_largest_and_of_equal_vectors_the_least():
  d, m, epsilon_squared = 128, 256, 0.5
  weight = jnp.ones(m)
  frame = jnp.concatenate([jnp.eye(d), -jnp.eye(d)])
  most = coding_rate(frame, weight, epsilon_squared)
  np.testing.assert_allclose(most, d / 2 * np.log1p(1 / epsilon_squared), rtol=1e-5)
  equal = jnp.tile(unit(jnp.ones(d)), (m, 1))
  least = coding_rate(equal, weight, epsilon_squared)
  np.testing.assert_allclose(least, 0.5 * np.log1p(d / epsilon_squared), rtol=1e-5)
  between = coding_rate(unit(jax.random.normal(jax.random.key(0), (m, d))), weight, epsilon_squared)
  assert least < between < most


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_both_forms_of_the_determinant_agree(shape):
  z = np.random.default_rng(0).normal(size=shape)
  for matrix in (z, z.T):
    expected = np.linalg.slogdet(np.eye(len(matrix)) + 0.7 * matrix @ matrix.T)[1]
    np.testing.assert_allclose(log_det(jnp.float32(z), jnp.float32(0.7)), expected, rtol=1e-5)


@pytest.mark.parametrize(("n", "d"), [(40, 3), (12, 20)])
def test_the_rate_within_classes_is_the_same_by_one_factor_or_one_a_class(n, d):
  rng = np.random.default_rng(0)
  z, labels = rng.normal(size=(n, d)), rng.integers(0, 3, n)
  labels[labels == 1] = 0  # a class without members
  weight = np.arange(n) % 5 > 0
  expected = 0.0
  for j in range(3):
    own = z[(labels == j) & weight]
    scale = d / (max(len(own), 1) * 0.3)
    log_det_own = np.linalg.slogdet(np.eye(d) + scale * own.T @ own)[1]
    expected += len(own) / (2 * weight.sum()) * log_det_own
  found = class_coding_rate(
    jnp.float32(z * weight[:, None]), jnp.asarray(labels), jnp.float32(weight), 3, 0.3
  )
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_orthogonal_classes_have_a_rate_to_reduce():
  z = jnp.repeat(jnp.eye(4), 3, axis=0)
  labels, weight = jnp.repeat(jnp.arange(4), 3), jnp.ones(12)
  whole, within = coding_rate(z, weight, 0.5), class_coding_rate(z, labels, weight, 4, 0.5)
  np.testing.assert_allclose(whole, 2 * np.log(3.0), rtol=1e-5)
  np.testing.assert_allclose(within, 0.5 * np.log(9.0), rtol=1e-5)


# Manifold capacity.


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 5, 2)])
def test_the_nuclear_norm_is_the_sum_of_singular_values(shape):
  matrix = np.float32(np.random.default_rng(0).normal(size=shape))
  expected = np.linalg.norm(matrix, ord="nuc", axis=(-2, -1))
  found = nuclear_norm(jnp.asarray(matrix))
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  assert np.all(found <= expected * (1 + 1e-6))


def test_the_nuclear_norm_has_the_polar_factor_as_gradient_where_values_repeat():
  frame = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 3)))[0]
  np.testing.assert_allclose(jax.grad(nuclear_norm)(jnp.float32(2 * frame)), frame, atol=1e-5)
  assert np.all(np.isfinite(jax.grad(nuclear_norm)(jnp.zeros((6, 3)))))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_centroids_keep_to_the_bound(seed, noise):
  z, y = sample(seed=seed)
  z = np.tile(z[:N], (2, 1)) + noise * z
  (_, values), _ = evaluator("mmcr")(z, y, np.ones(len(y), bool))
  # The first singular values of independent vectors of length one: near the bound, not at it.
  assert 0.2 < values["capacity_frac"] < 1.0


# Contrast, variance and correlation.


@pytest.mark.parametrize("name", ["info_nce", "info_nce of the other view"])
def test_contrast_against_a_loop(name):
  z, y = sample()
  (_, values), _ = evaluator(name)(z, y, np.ones(len(y), bool))
  u = z / np.linalg.norm(z, axis=1, keepdims=True)
  total, both = 0.0, name == "info_nce"
  for i in range(2 * N):
    positive = (i + N) % (2 * N)
    others = [j for j in range(2 * N) if (j != i if both else (j < N) != (i < N))]
    scores = [u[i] @ u[j] / 0.5 for j in others]
    total += np.log(np.sum(np.exp(scores))) - u[i] @ u[positive] / 0.5
  np.testing.assert_allclose(values["contrast_nats"], total / (2 * N), rtol=1e-5)
  distances = [np.sum((u[i] - u[j]) ** 2) for i in range(N) for j in range(N) if i != j]
  uniformity = np.log(np.mean(np.exp(-2 * np.array(distances))))
  np.testing.assert_allclose(values["uniformity_nats"], uniformity, rtol=1e-5)
  aligned = np.mean(np.sum((u[:N] - u[N:]) ** 2, axis=1))
  np.testing.assert_allclose(values["alignment"], aligned, rtol=1e-5)
  assert values["i_views_lower_nats"] < np.log(N)


def test_three_views_are_compared_in_all_pairs():
  z, y = sample(views=3)
  every = np.ones(len(y), bool)
  for name in ("info_nce", "barlow_twins"):
    key = "contrast_nats" if name == "info_nce" else "redundancy"
    pairs = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
      rows = np.r_[a * N : (a + 1) * N, b * N : (b + 1) * N]
      pairs.append(evaluator(name)(z[rows], y[rows], every[rows])[0][1][key])
    (_, values), _ = evaluator(name, views=3)(z, y, every)
    np.testing.assert_allclose(values[key], np.mean(pairs), rtol=1e-5)
  three = z.reshape(3, N, D)
  gaps = [np.mean(np.sum((three[a] - three[b]) ** 2, -1)) for a, b in ((0, 1), (0, 2), (1, 2))]
  found = between_views(jnp.asarray(three), jnp.ones(N))
  np.testing.assert_allclose(found, np.mean(gaps), rtol=1e-5)


def test_variance_covariance_and_correlation_by_numpy():
  z, y = sample()
  a, b = z[:N], z[N:]
  (_, values), _ = evaluator("vicreg")(z, y, np.ones(len(y), bool))
  np.testing.assert_allclose(values["invariance"], np.mean((a - b) ** 2), rtol=1e-5)
  hinge = sum(np.mean(np.maximum(0, 1 - np.sqrt(np.var(v, axis=0, ddof=1) + 1e-4))) for v in (a, b))
  np.testing.assert_allclose(values["variance_hinge"], hinge, rtol=1e-4, atol=1e-6)
  squared = [np.cov(v.T) ** 2 for v in (a, b)]
  apart = sum(np.sum(c) - np.trace(c) for c in squared) / D
  np.testing.assert_allclose(values["covariance"], apart, rtol=1e-5)

  (_, values), _ = evaluator("barlow_twins")(z, y, np.ones(len(y), bool))
  correlation = np.corrcoef(a.T, b.T)[:D, D:]
  diagonal = np.diag(correlation)
  np.testing.assert_allclose(values["invariance"], np.sum((1 - diagonal) ** 2), rtol=1e-4)
  redundancy = np.sum(correlation**2) - np.sum(diagonal**2)
  np.testing.assert_allclose(values["redundancy"], redundancy, rtol=1e-5)


def test_entropy_and_invariance_are_a_gaussian_channels():
  z, y = sample()
  (_, values), _ = evaluator("entropy_invariance")(z, y, np.ones(len(y), bool))
  u = z / np.linalg.norm(z, axis=1, keepdims=True)
  rate = 0.5 * np.linalg.slogdet(np.eye(D) + np.cov(u.T, ddof=0) / 0.05)[1]
  np.testing.assert_allclose(values["entropy_nats"], rate, rtol=1e-5)
  # KL of two Gaussians of one covariance, averaged over the examples.
  apart = np.mean(np.sum((u[:N] - u[N:]) ** 2, axis=1)) / (2 * 0.05)
  np.testing.assert_allclose(values["invariance_nats"], apart, rtol=1e-5)
