"""Objectives made of all pairs of a batch: closed forms, dense copies, gradients, scope, limits."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from scipy import integrate

from ibjax.core.errors import InputError
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.objectives import batch_entropy, batch_kernels
from ibjax.objectives.kernel.cauchy_schwarz_ib import cauchy_schwarz_ib
from ibjax.objectives.kernel.deterministic_ib import deterministic_ib
from ibjax.objectives.kernel.gated_phases import gated_phases, start, switch
from ibjax.objectives.kernel.hsic_bottleneck import hsic_bottleneck
from ibjax.objectives.kernel.hsic_regularizer import hsic_regularizer
from ibjax.objectives.kernel.matrix_entropy import matrix_entropy
from ibjax.objectives.kernel.matrix_renyi_ib import matrix_renyi_ib
from ibjax.objectives.variational.nonlinear_ib import nonlinear_ib, pairwise_information
from tests.helpers import tiny_setup, train

# Every objective, with each way it has of measuring; x and z have widths near their distances.
OBJECTIVES = {
  "nonlinear_ib": nonlinear_ib,
  "nonlinear_ib lower": lambda **k: nonlinear_ib(bound="lower", **k),
  "hsic": lambda **k: hsic_regularizer(form="hsic", width_x=1.0, width_z=1.0, gamma=0.3, **k),
  "nhsic": lambda **k: hsic_bottleneck(epsilon=1e-2, width_x=1.0, width_z=1.0, **k),
  "cka": lambda **k: hsic_regularizer(form="cka", width_x=1.0, width_z=1.0, **k),
  "cauchy_schwarz": lambda **k: cauchy_schwarz_ib(normalised=False, **k),
  "cauchy_schwarz ratio": cauchy_schwarz_ib,
  "renyi": matrix_renyi_ib,
  "renyi 1.01": lambda **k: matrix_renyi_ib(spectrum="eigenvalues", **k),
  "deterministic": lambda **k: deterministic_ib(gamma=0.5, **k),
  "entropy": matrix_entropy,
  "entropy 1.01": lambda **k: matrix_entropy(spectrum="eigenvalues", centred=True, **k),
  "gated": lambda **k: gated_phases(leak=0.5, **k),
}
SCALE = -0.7


def example(n=12, d=3, seed=0, dtype=jnp.float32):
  """x [n, 5], a noisy code that depends on it, logits of 3 classes."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(n, 5))
  mean = x[:, :d] + 0.3 * rng.normal(size=(n, d))
  parts = (x, mean, SCALE + 0.2 * rng.normal(size=(n, d)), rng.normal(size=(n, 3)))
  x, mean, log_scale, logits = (jnp.asarray(part, dtype) for part in parts)
  return x, mean, log_scale, logits, jnp.asarray(rng.integers(0, 3, n))


def value(objective, x, mean, log_scale, logits, y, mask=None):
  """The weighted sum of what couples examples, per example averaged over the mask."""
  n = len(x)
  mask = jnp.ones(n, bool) if mask is None else mask
  code = Code(mean, None, None, {"mean": mean, "log_scale": log_scale})
  spec = ObjectiveSpec(jnp.full(3, 1 / 3), mean.shape[1])
  params, state = objective.init(jax.random.key(0), spec)
  batch = {"x": x, "y": y, "mask": mask}
  terms = objective.loss(params, state, Outputs(code, logits), batch, jax.random.key(1), 0)
  total = 0.0
  for name, term in terms.losses.items():
    if name != "distortion_nats":
      one = term.value
      one = jnp.sum(jnp.where(mask, one, 0.0)) / jnp.sum(mask) if one.ndim else one
      total += term.weight * one
  return total


def values(*given, **keywords):
  """Of every objective, [13]: one program for them all."""
  return jnp.stack([value(build(**keywords), *given) for build in OBJECTIVES.values()])


every = jax.jit(values)


# Population values of Gaussians.


def gaussian_pair(n, rho=0.9, seed=0):
  a, b = np.random.default_rng(seed).normal(size=(2, n))
  return (jnp.asarray(v[:, None], jnp.float32) for v in (a, rho * a + math.sqrt(1 - rho**2) * b))


@jax.jit
def measured(x, z):
  mask = jnp.ones(len(x), bool)
  k, l = (batch_kernels.gaussian(v, mask, 1.0, "fixed") for v in (x, z))  # noqa: E741
  entropies = [batch_entropy.renyi(m, 2.0, "quadratic") for m in (k, l, k * l)]
  return {
    "hsic": batch_kernels.dependence("hsic", k, l, mask, 1e-5),
    "cauchy_schwarz": batch_kernels.cauchy_schwarz(k, l, mask),
    "renyi": entropies[0] + entropies[1] - entropies[2],
    # Predictors of z = 0.9 x + noise, with width 1 on x and z.
    "conditional": batch_kernels.conditional_cauchy_schwarz(k, z, -0.5 * x, 1.0, mask),
    "shrunk": batch_kernels.conditional_cauchy_schwarz(k, z, 0.64 * x, 1.0, mask),
  }


def gaussian_integral(covariance, form):
  """E exp(-v' form v / 2) of v ~ N(0, covariance)."""
  matrix = np.eye(len(form)) + np.asarray(covariance) @ np.asarray(form)
  assert (np.linalg.eigvals(matrix).real > 0).all(), "the expectation is infinite"
  return np.linalg.det(matrix) ** -0.5


def conditional_divergence(rho, slope):
  """D_CS of z = rho x + noise and the prediction slope x, kernels of width 1, all widths 1."""

  def log_s(a, b):
    # Two examples (x, z) and (x', z'): K between x and x', L between a of one and b of the other,
    # over (E K(x, .))^2 = exp(-x^2 / 2) / 2 of the first.
    one = np.array([[1.0, rho], [rho, 1.0]])
    covariance = np.kron(np.eye(2), one)
    difference = np.array([1.0, 0.0, -1.0, 0.0])
    other = np.concatenate([a, -np.asarray(b)])
    form = np.outer(difference, difference) + np.outer(other, other)
    form[0, 0] -= 1.0
    return math.log(2 * gaussian_integral(covariance, form))

  z, p = [0.0, 1.0], [slope, 0.0]
  return log_s(z, z) + log_s(p, p) - 2 * log_s(p, z)


def test_population_values_of_correlated_gaussians():
  # E K L = 1 / sqrt(9 - 4 r^2), E K = 1 / sqrt(3), E k(x) l(y) = 1 / sqrt(9 - r^2).
  truths = {
    "hsic": 5.76**-0.5 + 1 / 3 - 2 * 8.19**-0.5,
    "cauchy_schwarz": math.log(8.19 / (3 * math.sqrt(5.76))),
    "renyi": math.log(2.5 / math.sqrt(2.5**2 - 3.24)),
    "conditional": conditional_divergence(0.9, -0.5),
    "shrunk": conditional_divergence(0.9, 0.64),
  }
  assert truths["shrunk"] < 0 < conditional_divergence(0.9, 0.9), "no divergence on samples"
  np.testing.assert_allclose(list(truths.values())[:3], [0.05114, 0.1288, 0.3653], rtol=1e-3)
  draws = [measured(*gaussian_pair(1000, seed=seed)) for seed in range(6)]
  for name, truth in truths.items():
    found = [float(draw[name]) for draw in draws]
    error = np.std(found, ddof=1) / math.sqrt(6)
    np.testing.assert_allclose(np.mean(found), truth, atol=4 * error, err_msg=name)
    assert 4 * error < (0.5 if name == "shrunk" else 0.15) * abs(truth), name


def test_pairwise_bounds_of_a_gaussian_code_are_those_of_its_population():
  s, mask = 0.4, jnp.ones(1500, bool)
  # -E log E exp(-(m - m')^2 / (2 v)) of m ~ N(0, 1), v = s^2 (upper) or 4 s^2 (lower).
  for bound, v in (("upper", s**2), ("lower", 4 * s**2)):
    truth = 0.5 * math.log(1 + 1 / v) + 0.5 / (1 + v)
    found = []
    for seed in range(4):
      (mean, _), log_scale = gaussian_pair(1500, seed=seed), jnp.full((1500, 1), math.log(s))
      found.append(jnp.mean(pairwise_information(mean, log_scale, mask, bound)))
    np.testing.assert_allclose(np.mean(found), truth, rtol=0.02)
    exact = 0.5 * math.log(1 + 1 / s**2)
    assert truth > exact if bound == "upper" else truth < exact


def test_pairwise_bounds_enclose_the_information_at_unequal_scales():
  means, scales = np.array([0.0, 0.7, 1.5, 4.0, 4.2]), np.array([0.3, 1.0, 0.2, 0.5, 2.0])

  def density(t):
    each = np.exp(-(((t - means) / scales) ** 2) / 2) / (scales * math.sqrt(2 * math.pi))
    return np.mean(each)

  entropy = integrate.quad(lambda t: -density(t) * math.log(density(t)), -14, 18, limit=400)[0]
  truth = entropy - np.mean(np.log(scales) + 0.5 * math.log(2 * math.pi * math.e))
  given = (jnp.asarray(means)[:, None], jnp.log(jnp.asarray(scales))[:, None], jnp.ones(5, bool))
  upper, lower = (float(jnp.mean(pairwise_information(*given, b))) for b in ("upper", "lower"))
  assert lower < truth < upper < lower + 0.6


@pytest.mark.parametrize("d", [3, 40])
def test_pairwise_divergences_are_those_of_each_pair(d):
  rng = np.random.default_rng(0)
  mean, log_scale = 3 + rng.normal(size=(9, d)), 0.3 * rng.normal(size=(9, d))
  a, b = (np.asarray(v)[:, None] for v in (mean, log_scale))
  square, ratio = (a - mean) ** 2, np.exp(2 * (b - log_scale))
  upper = 0.5 * np.sum(square / np.exp(2 * log_scale) + ratio - 1, -1) - np.sum(b - log_scale, -1)
  both = np.exp(2 * b) + np.exp(2 * log_scale)
  lower = np.sum(square / (4 * both) + 0.5 * np.log(both / 2) - 0.5 * (b + log_scale), -1)
  for bound, distances in (("upper", upper), ("lower", lower)):
    expected = -np.log(np.mean(np.exp(-distances), axis=1))
    found = pairwise_information(
      *(jnp.asarray(v, jnp.float32) for v in (mean, log_scale)), jnp.ones(9, bool), bound
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=bound)
    assert expected.max() > 0.1


@pytest.mark.parametrize("centred", [False, True])
def test_matrix_entropy_of_gaussian_codes_is_that_of_their_second_moments(centred):
  scales, offset = np.array([2.0, 1.0, 0.5]), np.array([1.0, 0.0, 0.0])
  z = np.random.default_rng(0).normal(size=(20000, 3)) * scales + offset
  moments = scales**2 + (0.0 if centred else offset**2)
  p = moments / moments.sum()
  mask = jnp.ones(len(z), bool)
  for alpha, truth in (
    (1.0, -np.sum(p * np.log(p))),
    (1.01, -100 * np.log(np.sum(p**1.01))),
    (2.0, -np.log(np.sum(p**2))),
  ):
    found = [batch_entropy.of_rows(jnp.asarray(z), mask, alpha, "eigenvalues", centred)]
    if alpha == 2.0:
      found.append(batch_entropy.of_rows(jnp.asarray(z), mask, alpha, "quadratic", centred))
    np.testing.assert_allclose(found, truth, rtol=0.02)


def test_matrix_entropy_takes_the_smaller_matrix_and_no_scale_matters():
  z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 9)), jnp.float32)
  ones = [jnp.ones(n, bool) for n in (5, 9)]
  expected = batch_entropy.of_rows(z, ones[0], 1.5, "eigenvalues", False)
  for values, mask in ((1e6 * z, ones[0]), (1e-12 * z, ones[0]), (z.T, ones[1])):
    found = batch_entropy.of_rows(values, mask, 1.5, "eigenvalues", False)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
  for zero in (jnp.zeros((4, 2)), jnp.full((4, 2), 3.0)):
    assert batch_entropy.of_rows(zero, jnp.ones(4, bool), 2.0, "quadratic", True) == 0


# Dense copies in float64, masks.


def dense_conditional(x, y, p, width):
  def kernel(a, b, s):
    return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * s**2))

  k = kernel(x, x, 1.0)

  def log_s(a, b):
    return math.log(np.sum(k * kernel(a, b, width) / k.sum(1, keepdims=True) ** 2))

  return log_s(y, y) + log_s(p, p) - 2 * log_s(p, y)


def test_conditional_divergence_is_the_dense_one_and_needs_columns():
  rng = np.random.default_rng(0)
  x, y, p = rng.normal(size=(20, 2)), rng.normal(size=(20, 1)), rng.normal(size=(20, 1))
  mask = jnp.ones(20, bool)
  k = batch_kernels.gaussian(jnp.asarray(x), mask, 1.0, "fixed")
  found = batch_kernels.conditional_cauchy_schwarz(k, jnp.asarray(y), jnp.asarray(p), 0.7, mask)
  np.testing.assert_allclose(found, dense_conditional(x, y, p, 0.7), rtol=1e-4)
  same = batch_kernels.conditional_cauchy_schwarz(k, jnp.asarray(y), jnp.asarray(y), 0.7, mask)
  np.testing.assert_allclose(same, 0.0, atol=1e-6)
  with pytest.raises(InputError, match="targets has shape"):
    batch_kernels.conditional_cauchy_schwarz(k, jnp.asarray(y)[:, 0], jnp.asarray(p), 0.7, mask)
  # Far from every target, where all kernels are zero in float32: still a number, with a slope.
  far = jax.value_and_grad(
    lambda p: batch_kernels.conditional_cauchy_schwarz(k, jnp.asarray(y), p, 0.7, mask)
  )(jnp.asarray(p) + 100.0)
  assert 1e4 < far[0] < 1e5
  # Of the nearest pair alone, at a distance of 95 to 100: 2 * distance / width^2.
  assert 2 * 95 / 0.49 < np.sum(far[1]) < 2 * 100 / 0.49


def test_normalised_hsic_is_the_dense_one():
  rng = np.random.default_rng(0)
  x, z = rng.normal(size=(2, 30, 2))
  h, parts = np.eye(30) - 1 / 30, []
  for v in (x, z):
    c = h @ np.exp(-((v[:, None] - v) ** 2).sum(-1) / 2) @ h
    parts.append(c @ np.linalg.inv(c + 1e-3 * 30 * np.eye(30)))
  mask = jnp.ones(30, bool)
  k, l = (batch_kernels.gaussian(jnp.asarray(v), mask, 1.0, "fixed") for v in (x, z))  # noqa: E741
  found = batch_kernels.dependence("nhsic", k, l, mask, 1e-3)
  np.testing.assert_allclose(found, np.trace(parts[0] @ parts[1]), rtol=1e-4)


def test_widths_by_rule():
  x = jnp.asarray(np.random.default_rng(0).normal(size=(100, 16)), jnp.float32)
  distances = np.sqrt(((x[:, None] - x) ** 2).sum(-1))[np.triu_indices(100, 1)]
  mask = jnp.ones(100, bool)
  for rule, factor in (("fixed", 1.0), ("dimension", 4.0), ("median", np.median(distances))):
    np.testing.assert_allclose(batch_kernels.width_of(x, mask, 0.5, rule), 0.5 * factor, rtol=1e-5)
  odd = batch_kernels.width_of(x, jnp.arange(100) < 7, 1.0, "median")
  few = np.sqrt(((x[:7, None] - x[:7]) ** 2).sum(-1))[np.triu_indices(7, 1)]
  np.testing.assert_allclose(odd, np.median(few), rtol=1e-5)
  slope = jax.grad(lambda x: batch_kernels.width_of(x, mask, 1.0, "median"))(x)
  assert not np.any(slope), "the median is a choice of scale"
  assert batch_kernels.width_of(jnp.zeros((4, 2)), jnp.ones(4, bool), 1.0, "median") == 1.0


def test_masked_rows_change_nothing():
  given = example(n=12)
  keep = jnp.array([True, True, False] * 4)
  *numbers, y = given
  spoiled = [jnp.where(keep.reshape(-1, *[1] * (v.ndim - 1)), v, jnp.nan) for v in numbers]
  expected = every(*(v[keep] for v in given), jnp.ones(8, bool))
  found = every(*spoiled, y, keep)
  np.testing.assert_allclose(found, expected, rtol=2e-5)
  assert (np.abs(expected - every(*given, jnp.ones(12, bool))) > 1e-5).all()
  assert np.isfinite(every(*spoiled, y, jnp.arange(12) < 1)).all()
  slopes = jax.grad(lambda mean: jnp.sum(values(spoiled[0], mean, *spoiled[2:], y, keep)))
  slopes = jax.jit(slopes)(spoiled[1])
  assert np.isfinite(slopes).all() and not np.any(slopes[~keep]) and np.all(slopes[keep])


def test_what_is_not_a_number_is_not_hidden():
  x, mean, *rest = example()
  found = every(x, mean.at[3, 1].set(jnp.nan), *rest, jnp.ones(12, bool))
  assert not np.isfinite(found).any(), dict(zip(OBJECTIVES, found))


def test_gradients_are_differences_of_values():
  with jax.enable_x64(True):
    x, mean, log_scale, logits, y = example(dtype=jnp.float64)
    rng = np.random.default_rng(7)
    directions = [jnp.asarray(rng.normal(size=v.shape)) for v in (mean, log_scale, logits)]

    def along(t):
      moved = [v + t * u for v, u in zip((mean, log_scale, logits), directions)]
      return values(x, *moved, y, beta=1.0)

    slopes = jax.jit(jax.jacrev(along))(0.0)
    near = jax.jit(along)
    differences = (near(1e-5) - near(-1e-5)) / 2e-5
  assert slopes.dtype == jnp.float64 and (abs(slopes) > 1e-3).all()
  np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-8)


# Batch scope.

# Independent x and codes: bias makes dependence larger in small batches; entropies and the
# information about which example it was are bounded by the batch's log n, so smaller.
LARGER = ("hsic", "cauchy_schwarz", "renyi")
SMALLER = ("nonlinear_ib", "nonlinear_ib lower", "entropy", "entropy 1.01")


def test_the_whole_batch_is_not_the_mean_of_its_parts():
  x, mean, log_scale, logits, _ = example(n=64)
  x = jnp.asarray(np.random.default_rng(9).normal(size=x.shape), jnp.float32)
  given = (x, mean, log_scale, logits, jnp.zeros(64, int))  # one label: it rewards nothing
  names = (*LARGER, *SMALLER)
  run = lambda *g: jnp.stack([value(OBJECTIVES[name](beta=1.0), *g) for name in names])
  # What the prediction adds to Cauchy-Schwarz is no dependence: equal logits make it constant.
  given = (*given[:3], jnp.zeros_like(logits), given[4])
  whole = jax.jit(run)(*given)
  parts = jax.jit(jax.vmap(run))(*(v.reshape(8, 8, *v.shape[1:]) for v in given))
  excess = np.mean(parts, axis=0) - whole
  sign = np.array([1] * len(LARGER) + [-1] * len(SMALLER))
  assert (sign * excess > 0.01 * np.abs(whole)).all(), dict(zip(names, excess))


def test_one_and_eight_devices_have_the_whole_batch():
  given = example(n=64)
  names = ("nonlinear_ib", "nhsic", "cauchy_schwarz ratio", "renyi 1.01", "entropy 1.01", "gated")

  @jax.jit
  def run(x, mean, *rest):
    def all_of(mean):
      found = jnp.stack([value(OBJECTIVES[name](), x, mean, *rest) for name in names])
      return jnp.sum(found), found

    return jax.grad(all_of, has_aux=True)(mean)

  slopes, alone = run(*given)
  mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
  spread = jax.device_put(given, NamedSharding(mesh, PartitionSpec("data")))
  slopes_8, together = run(*spread)
  np.testing.assert_allclose(together, alone, rtol=1e-5)
  np.testing.assert_allclose(slopes_8, slopes, rtol=1e-4, atol=1e-4 * np.abs(slopes).max())


def test_every_objective_says_that_it_couples():
  assert all(build().couples for build in OBJECTIVES.values())


@pytest.mark.slow
def test_training_on_one_and_eight_devices_agrees(tmp_path):
  path = "configs/variational/nonlinear_ib_mnist.py"
  short = dict(train__duration="20 steps", train__log_every="10 steps", eval__every="20 steps")
  lines = [
    train(tiny_setup(devices, path=path, **short), tmp_path / str(devices)) for devices in (1, 8)
  ]
  assert len(lines[0]) == len(lines[1]) > 2
  for one, eight in zip(*lines):
    for name, number in one.items():
      if isinstance(number, float):
        np.testing.assert_allclose(eight[name], number, rtol=1e-5, err_msg=name)


# The gate.


def reference_gate(distortions, entropies, patience, gain, tolerance):
  """The rule told as a loop with ordinary numbers: the phases after each update."""
  phase, best_d, best_s, waited_d, waited_s, phases = 0, None, None, 0, 0, []
  for d, s in zip(distortions, entropies):
    waited_d = 0 if best_d is not None and best_d - d > gain else waited_d + 1
    waited_s = 0 if best_s is not None and best_s - s > gain else waited_s + 1
    worse = best_d is not None and d >= best_d * (1 + tolerance)
    best_d = d if best_d is None else min(best_d, d)
    best_s = s if best_s is None else min(best_s, s)
    if phase == 1 and (waited_s >= patience or worse):
      phase, waited_d, best_s = 0, 0, None
    elif phase == 0 and waited_d >= patience:
      phase, waited_s, best_d = 1, 0, None
    phases.append(phase)
  return phases


def test_the_gate_follows_its_rule():
  rng = np.random.default_rng(0)
  d = np.float32(np.exp(np.cumsum(0.03 * rng.normal(size=400) - 0.002)))
  s = np.float32(2 + np.cumsum(0.05 * rng.normal(size=400)))
  rule = dict(
    patience_memorise=7.0,
    improvement_distortion=0.01,
    improvement_entropy=0.01,
    tolerance=0.1,
    smoothing=0.0,
  )

  @jax.jit
  def run(patience):
    def move(gate, seen):
      gate = switch(gate, *seen, **{**rule, "patience_compress": patience})
      return gate, gate["compressing"]

    return jax.lax.scan(move, start(), (jnp.asarray(d), jnp.asarray(s)))

  last, phases = run(7.0)
  assert phases.astype(int).tolist() == reference_gate(d, s, 7, 0.01, 0.1)
  changes = np.abs(np.diff(np.concatenate([[0], phases]))).sum()
  assert changes == last["changes"] > 6
  assert phases.tolist() != run(5.0)[1].tolist()


def test_the_gate_averages_without_a_bias_at_its_start():
  rule = dict(
    patience_memorise=100.0,
    patience_compress=1.0,
    improvement_distortion=0.0,
    improvement_entropy=0.0,
    tolerance=0.1,
    smoothing=0.9,
  )
  gate = start()
  for one in (3.0, 5.0):
    gate = switch(gate, jnp.float32(one), jnp.float32(1.0), **rule)
  average = (0.9 * 0.1 * 3.0 + 0.1 * 5.0) / (1 - 0.9**2)
  np.testing.assert_allclose(gate["best_distortion"], min(3.0, average), rtol=1e-5)
  assert gate["waited_distortion"] == 2.0


def test_the_gate_opens_in_training_only_when_the_distortion_stalls():
  objective = gated_phases(beta=1.0, patience_memorise=3.0)
  x, mean, _, logits, y = example()
  params, state = objective.init(None, ObjectiveSpec(jnp.full(3, 1 / 3), 3))
  code = Code(mean, None, None, {})
  batch = {"x": x, "y": y, "mask": jnp.ones(12, bool)}
  weights = []
  for _ in range(4):
    terms = objective.loss(params, state, Outputs(code, logits), batch, None, 0)
    weights.append(float(terms.losses["gated_entropy_nats"].value > 0))
    again = objective.loss(params, state, Outputs(code, logits), batch, None, 0)
    assert float(again.metrics["compressing_frac"]) == weights[-1], "only a new state moves it"
    state = terms.state
  assert weights == [0.0, 0.0, 0.0, 1.0]


# Bad input.


@pytest.mark.parametrize("width", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize(
  ("build", "name"),
  [
    *((hsic_regularizer, f"width_{v}") for v in "xyz"),
    *((hsic_bottleneck, name) for name in ("width_z", "epsilon")),
    *((cauchy_schwarz_ib, f"width_{v}") for v in "xyz"),
    *((matrix_renyi_ib, name) for name in ("width_x", "width_z", "alpha")),
    *((deterministic_ib, name) for name in ("width_z", "alpha")),
    *((build, "alpha") for build in (matrix_entropy, gated_phases)),
  ],
)
def test_widths_and_orders_that_are_not_positive_are_refused(build, name, width):
  with pytest.raises(InputError, match=f"{name} is {width:g}, expected a number greater than 0"):
    build(**{name: width})


@pytest.mark.parametrize(
  ("build", "keywords", "said"),
  [
    (hsic_regularizer, dict(form="hsci"), "Did you mean 'hsic'"),
    (hsic_regularizer, dict(rule_z="medain"), "Did you mean 'median'"),
    (hsic_bottleneck, dict(beta=-1.0), "beta is -1"),
    (nonlinear_ib, dict(bound="uper"), "Did you mean 'upper'"),
    (nonlinear_ib, dict(beta=float("nan")), "beta is nan"),
    (matrix_renyi_ib, dict(spectrum="quadratc"), "Did you mean 'quadratic'"),
    (deterministic_ib, dict(gamma=1.5), "gamma is 1.5"),
    (gated_phases, dict(smoothing=1.0), "smoothing is 1"),
    (gated_phases, dict(patience_compress=0.0), "patience_compress is 0"),
  ],
)
def test_other_keywords_out_of_range_are_refused(build, keywords, said):
  with pytest.raises(InputError, match=said):
    build(**keywords)


def test_nonlinear_ib_says_which_bottlenecks_it_needs():
  x, mean, _, logits, y = example()
  objective = nonlinear_ib()
  outputs = Outputs(Code(mean, None, None, {}), logits)
  with pytest.raises(InputError, match="homoscedastic"):
    objective.loss({}, {}, outputs, {"x": x, "y": y, "mask": jnp.ones(12, bool)}, None, 0)
