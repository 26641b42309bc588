"""Spectra beside noise, the last layer's bottleneck, and truncation by what it can express."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from ibjax.core.errors import InputError
from ibjax.evaluators import softmax_bottleneck, spectrum
from ibjax.exact import basis_aware
from ibjax.exact.marchenko_pastur import density, edges, noise, planted, product_noise, quantiles
from ibjax.programs.language_plane import _spectra

# The law of noise.


def gaussian(seed, rows, columns):
  return np.random.default_rng(seed).standard_normal((rows, columns))


@pytest.mark.parametrize(("ratio", "variance"), [(0.1, 1.0), (0.5, 2.0), (0.9, 0.3)])
def test_the_density_integrates_to_one_and_has_the_moments_of_noise(ratio, variance):
  x = np.linspace(*edges(ratio, variance), 400_001)
  law = density(x, ratio, variance)
  moments = [np.trapezoid(law * x**k, x) for k in range(3)]
  # Of a Wishart matrix: E tr = s^2, E tr of the square = s^4 (1 + q).
  np.testing.assert_allclose(moments, [1.0, variance, variance**2 * (1 + ratio)], rtol=1e-5)
  half = quantiles(0.5, ratio, variance)
  assert np.trapezoid(law * (x < half), x) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(300, 600), (200, 1000)])
def test_eigenvalues_of_noise_follow_the_law_and_end_at_its_edges(rows, columns):
  values = np.asarray(spectrum.eigenvalues(gaussian(0, rows, columns)))
  low, high = edges(rows / columns)
  assert low - 0.02 < values[0] < low + 0.05 and high - 0.08 < values[-1] < high + 0.02
  found = spectrum.measures(jnp.asarray(values), noise(rows, columns))
  assert float(found["outliers"]) == 0 and float(found["distance"]) < 0.02
  assert float(found["variance"]) == pytest.approx(1.0, abs=0.02)


def test_the_threshold_is_passed_by_noise_once_in_a_hundred_times():
  threshold = noise(30, 120).threshold
  z = np.random.default_rng(0).standard_normal((4000, 30, 120)).astype(np.float32)
  largest = np.linalg.norm(z, ord=2, axis=(1, 2)) ** 2 / 120
  assert 0.005 < np.mean(largest > threshold) < 0.02


@pytest.mark.parametrize(("strength", "outliers"), [(0.45, 0), (1.5, 1)])
def test_a_planted_direction_is_found_above_its_threshold_alone(strength, outliers):
  rows, columns = 200, 800
  assert 0.45 < (rows / columns) ** 0.25 < 1.5
  rng = np.random.default_rng(1)
  u, v = (x / np.linalg.norm(x) for x in (rng.standard_normal(n) for n in (rows, columns)))
  planted_in = gaussian(2, rows, columns) + strength * np.sqrt(columns) * np.outer(u, v)
  values = spectrum.eigenvalues(3.0 * planted_in)  # the variance is fitted
  found = spectrum.measures(values, noise(rows, columns))
  assert float(found["outliers"]) == outliers
  expected = planted(3.0 * strength, rows / columns, 9.0)
  assert float(values[-1]) == pytest.approx(expected, rel=0.03)
  if outliers:
    assert float(found["gap"]) == pytest.approx(expected - 9.0 * 2.25, rel=0.1)
    share = expected / (9.0 * (rows + strength**2))
    assert float(found["outlier_energy"]) == pytest.approx(share, rel=0.05)


@pytest.mark.parametrize(("width", "inner"), [(128, 32), (32, 64)])
def test_eigenvalues_of_a_product_are_those_of_the_whole_matrix(width, inner):
  query, key = gaussian(3, width, inner), gaussian(4, width, inner)
  values = np.asarray(spectrum.product_eigenvalues(query, key))
  direct = np.linalg.svd(query @ key.T / width, compute_uv=False)[:32] ** 2
  np.testing.assert_allclose(values[::-1], direct, rtol=1e-3, atol=1e-6)


def test_heads_wider_than_the_model_are_beside_noise_too():
  kernel = jnp.asarray(gaussian(5, 24, 2 * 64).reshape(2, 24, 64)) / np.sqrt(24)
  attention = {"query": {"kernel": kernel[0]}, "key": {"kernel": kernel[1]}}
  found = _spectra(attention, {"decoder": {"heads": 1}}, {})
  for name in ("query_key", "query", "key"):
    assert float(found[name]["distance"]) < 0.25 and float(found[name]["outliers"]) <= 1


def test_a_product_of_noise_is_beside_products_of_noise_no_structure():
  values = spectrum.product_eigenvalues(gaussian(3, 128, 32), gaussian(4, 128, 32))
  own = spectrum.measures(values, product_noise(128, 32))
  assert float(own["outliers"]) == 0 and float(own["distance"]) < 0.1
  # The trap: the law of one matrix takes the product's longer bulk for structure.
  wrong = spectrum.measures(values, noise(32, 128))
  assert float(wrong["outliers"]) >= 2 and float(wrong["distance"]) > float(own["distance"])


def test_ranks_of_known_spectra():
  found = spectrum.measures(jnp.array([1.0, 1.0, 1.0, 1.0]), noise(4, 400))
  assert float(found["stable_rank"]) == pytest.approx(4.0)
  assert float(found["effective_rank"]) == pytest.approx(4.0, rel=1e-5)
  found = spectrum.measures(jnp.array([0.0, 0.0, 3.0, 1.0]), noise(4, 400))
  assert float(found["stable_rank"]) == pytest.approx(4 / 3)
  entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
  assert float(found["effective_rank"]) == pytest.approx(np.exp(entropy), rel=1e-5)


@pytest.mark.parametrize("latent", [False, True])
def test_queries_and_keys_are_those_of_the_scores(latent):
  sizes = dict(query=24, key=12)
  if latent:
    sizes = dict(query=24, rotary_query=16, rotary_key=4, down=5)
  kernel = {name: gaussian(i, 24, size) for i, (name, size) in enumerate(sizes.items())}
  attention = {name: {"kernel": jnp.asarray(value)} for name, value in kernel.items()}
  if latent:
    attention["up_key"] = up_key = np.random.default_rng(9).standard_normal((5, 4, 6))
  query, key = spectrum.query_key(attention, 6)
  x = gaussian(5, 2, 24)
  scores = np.einsum("d,hdk,hek,e->h", x[0], query, key, x[1])
  by_hand = np.empty(4)
  for head in range(4):
    q = x[0] @ kernel["query"][:, 6 * head : 6 * head + 6]
    if latent:
      by_hand[head] = q @ (x[1] @ kernel["down"] @ up_key[:, head])
      turned = x[0] @ kernel["rotary_query"][:, 4 * head : 4 * head + 4]
      by_hand[head] += turned @ (x[1] @ kernel["rotary_key"])
    else:
      group = head // 2
      by_hand[head] = q @ (x[1] @ kernel["key"][:, 6 * group : 6 * group + 6])
  np.testing.assert_allclose(scores, by_hand, rtol=1e-4, atol=1e-4)


def test_shapes_that_have_no_such_law_are_said():
  with pytest.raises(InputError, match="transpose"):
    noise(30, 20)
  with pytest.raises(InputError, match="latent=20"):
    product_noise(16, 8, latent=20)


# The bottleneck of the last layer.


def test_logits_have_the_rank_of_the_width_and_log_probabilities_one_more():
  # A vocabulary wider than the model: 60 tokens, 24 dimensions.
  hidden = gaussian(0, 200, 24).astype(np.float32)
  logits = hidden @ gaussian(1, 24, 60).astype(np.float32)
  log_probs = jax.nn.log_softmax(jnp.asarray(logits))
  assert softmax_bottleneck.matrix_rank(logits) == 24
  assert softmax_bottleneck.matrix_rank(np.asarray(log_probs)) == 25
  ideal = gaussian(2, 200, 60)
  tail = softmax_bottleneck.tail(ideal)
  u, s, v = np.linalg.svd(ideal, full_matrices=False)
  best = (u[:, :24] * s[:24]) @ v[:24]
  assert np.linalg.norm(ideal - best) == pytest.approx(tail[24])
  for seed in range(5):  # no matrix of the rank comes nearer
    basis = np.linalg.qr(gaussian(seed, 60, 24))[0]
    assert np.linalg.norm(ideal - ideal @ basis @ basis.T) > tail[24]


def test_anisotropy_is_the_mean_over_all_pairs():
  hidden = gaussian(0, 30, 4) + 0.5
  unit = hidden / np.linalg.norm(hidden, axis=1, keepdims=True)
  pairs = (unit @ unit.T)[np.triu_indices(30, 1)]
  assert softmax_bottleneck.anisotropy(hidden) == pytest.approx(pairs.mean())


def test_a_head_of_full_rank_is_the_logistic_regression_and_fewer_ranks_lose():
  hidden = gaussian(0, 300, 4)
  truth = hidden @ gaussian(1, 4, 6) * 1.5
  targets = (truth + np.random.default_rng(2).gumbel(size=truth.shape)).argmax(axis=1)

  def loss(flat):  # convex: an optimum found in another way
    logits = hidden @ flat.reshape(4, 6)
    shifted = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    value = -np.mean(np.log(p[np.arange(300), targets]))
    p[np.arange(300), targets] -= 1
    return value, (hidden.T @ p / 300).ravel()

  best = minimize(loss, np.zeros(24), jac=True).fun
  found = [softmax_bottleneck.constrained_head(hidden, targets, 6, rank) for rank in (1, 4)]
  assert found[1] == pytest.approx(best, abs=2e-3)
  assert found[0] > best + 0.05
  with pytest.raises(InputError, match=r"1\.\.4"):
    softmax_bottleneck.constrained_head(hidden, targets, 6, 5)


# Truncation.


def bottlenecked(weights, truth):
  """The model's probabilities at its optimum: h minimises the cross-entropy of the truth."""

  def loss(h):
    logits = weights @ h
    top = logits.max()
    log_total = top + np.log(np.exp(logits - top).sum())
    return log_total - truth @ logits, weights.T @ (np.exp(logits - log_total) - truth)

  h = minimize(loss, np.zeros(weights.shape[1]), jac=True, options=dict(gtol=1e-10)).x
  logits = weights @ h
  return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def test_a_rare_token_of_its_own_direction_is_proven_and_a_likely_one_that_is_confused_is_not():
  # The model cannot tell the first two apart, so that both get half of what the first is meant to.
  weights = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
  probs = bottlenecked(weights, np.array([0.94, 0.0, 0.05, 0.01]))
  basis = basis_aware.output_basis(weights)
  np.testing.assert_allclose(probs, [0.47, 0.47, 0.05, 0.01], atol=2e-3)
  # Any threshold that keeps the third, which is meant, keeps the second, which is not.
  assert basis_aware.support(probs, basis, tolerance=1e-4).tolist()[1:3] == [False, True]


def test_what_is_proven_is_in_the_support():
  rng = np.random.default_rng(0)
  proven = 0
  for _ in range(6):
    weights = rng.standard_normal((8, 4))
    truth = np.where(rng.random(8) < 0.6, rng.random(8) ** 2 + 0.02, 0.0)
    truth /= truth.sum()
    probs = bottlenecked(weights, truth)
    basis = basis_aware.output_basis(weights)
    np.testing.assert_allclose(basis.T @ probs, basis.T @ truth, atol=1e-5)
    kept = basis_aware.support(probs, basis, tolerance=1e-3)
    assert not np.any(kept & (truth == 0))
    proven += kept.sum()
    # A limit on the underestimation, where it holds, proves more.
    delta = np.log(np.max(truth / probs)) + 0.01
    more = basis_aware.support(probs, basis, delta=delta, tolerance=1e-3)
    assert not np.any(more & (truth == 0)) and np.all(more >= kept)
    assert np.all(truth[basis_aware.accepted(probs, delta)] > 0)
  assert proven >= 6


def test_a_model_without_a_bottleneck_is_taken_at_its_word():
  probs = np.array([0.6, 0.3, 0.1, 0.0])
  assert basis_aware.support(probs, np.eye(4)).tolist() == [True, True, True, False]
  # And one that can only express the uniform distribution says nothing.
  nothing = basis_aware.output_basis(np.ones((4, 1)))
  assert not basis_aware.support(np.full(4, 0.25), nothing).any()


def test_samples_are_of_the_truncated_distribution():
  rng = np.random.default_rng(0)
  weights, truth = rng.standard_normal((6, 3)), np.array([0.5, 0.3, 0.2, 0.0, 0.0, 0.0])
  probs, basis = bottlenecked(weights, truth), basis_aware.output_basis(weights)
  delta = np.log(np.max(truth[:3] / probs[:3])) + 0.01
  kept = basis_aware.support(probs, basis, delta)
  assert kept.any() and not kept.all()
  drawn = [basis_aware.sample(rng, probs, basis, delta) for _ in range(300)]
  share = np.bincount(drawn, minlength=6) / 300
  np.testing.assert_allclose(share, probs * kept / probs[kept].sum(), atol=0.1)
  assert not np.any(share[~kept])


def test_a_bias_is_a_direction_and_bad_input_is_said():
  weights, bias = gaussian(0, 6, 2), gaussian(1, 6, 1)[:, 0]
  assert basis_aware.output_basis(weights, bias).shape == (6, 3)
  with pytest.raises(InputError, match="rank=4"):
    basis_aware.output_basis(weights, bias, rank=4)
  with pytest.raises(InputError, match="sum to one"):
    basis_aware.support(np.full(6, 0.5), weights)
  with pytest.raises(InputError, match="token=6"):
    basis_aware.least_probability(6, np.full(6, 1 / 6), weights)
  with pytest.raises(InputError, match="delta"):
    basis_aware.support(np.full(6, 1 / 6), weights, delta=0.0)
