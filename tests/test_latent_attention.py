"""Latent attention: two forms that agree, a conversion that is exact, then the best of its rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.models.capture import recording
from ibjax.models.decoder import decoder
from ibjax.models.latent_attention import grouped_query_cache_bytes, latent_cache_bytes
from ibjax.models.latent_conversion import second_moments, to_latent
from tests.trained_decoder import KEYWORDS, tokens, trained


def worst(found, expected):
  """The largest error, in units of the largest logit."""
  return float(jnp.abs(found - expected).max() / jnp.abs(expected).max())


LATENT = dict(layers=2, width=16, heads=4, hidden=16, out=7, attention="latent")
FULL = 12  # kv_heads * head_dim of KEYWORDS


def logits(keywords, params, given):
  return decoder(**keywords).apply(params, {}, given, key=None, train=False)[0]


def started(**hyper):
  model = decoder(**{**LATENT, "latent_rank": 6, "rotary_dim": 4, **hyper})
  given = jax.random.randint(jax.random.key(1), (2, 9), 0, 7)
  return model, model.init(jax.random.key(0), given)[0], given


def test_the_absorbed_form_over_a_cache_is_the_expanded_one():
  model, params, given = started()
  whole, _ = jax.jit(lambda p: model.apply(p, {}, given, key=None, train=False))(params)
  cache, step, found = model.start(2, 12), jax.jit(model.step), []
  for first in (0, 3, 6):
    part, cache = step(params, cache, given[:, first : first + 3], first)
    found.append(part)
  np.testing.assert_allclose(jnp.concatenate(found, axis=1), whole, atol=1e-5)
  assert float(jnp.std(whole)) > 0.5


def test_the_expanded_form_is_attention_with_heads_made_of_the_latent():
  # In numpy, a position and a head at a time, with the rotary part as complex numbers.
  model, params, given = started(rotary_pairs=(1, 0))
  with recording() as record:
    model.apply(params, {}, given, key=None, train=False)
  x = np.asarray(record["block_0/attention.in"], np.float64)[0]
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["block_0"]["attention"])
  latent = x @ p["down"]["kernel"]
  frequency = 10_000.0 ** (-2.0 * np.array([1, 0]) / 4)

  def turned(flat, t):
    return (flat[:2] + 1j * flat[2:]) * np.exp(1j * frequency * t)

  made = np.zeros((9, 4, 4))
  for head in range(4):
    key = latent @ p["up_key"][:, head]
    value = latent @ p["up_value"][:, head]
    for t in range(9):
      q = x[t] @ p["query"]["kernel"][:, head * 4 : head * 4 + 4]
      rotary_q = turned(x[t] @ p["rotary_query"]["kernel"][:, head * 4 : head * 4 + 4], t)
      scores = [
        q @ key[s] + np.sum(rotary_q.conj() * turned(x[s] @ p["rotary_key"]["kernel"], s)).real
        for s in range(t + 1)
      ]
      weights = np.exp(np.array(scores) / np.sqrt(8))
      made[t, head] = weights @ value[: t + 1] / weights.sum()
  np.testing.assert_allclose(record["block_0/attention/heads.out"][0], made, atol=1e-5)


def test_cache_bytes_are_those_of_the_caches():
  model, _, _ = started()
  held = sum(leaf.nbytes for leaf in jax.tree.leaves(model.start(3, 10)))
  assert held == 30 * latent_cache_bytes(layers=2, latent_rank=6, rotary_dim=4)
  held = sum(leaf.nbytes for leaf in jax.tree.leaves(decoder(**KEYWORDS).start(3, 10)))
  assert held == 30 * grouped_query_cache_bytes(layers=2, kv_heads=2, head_dim=6)


def test_the_conversion_of_a_trained_decoder_is_exact_at_full_rank():
  params, given = trained(), tokens()
  moments = second_moments(params, KEYWORDS, given)
  found = to_latent(params, KEYWORDS, moments, latent_rank=FULL, rotary_dim=FULL)
  expected = logits(KEYWORDS, params, given)
  assert worst(logits(found.keywords, found.params, given), expected) < 1e-5
  # Through the absorbed form too, some tokens at a time.
  model = decoder(**found.keywords)
  cache, step = model.start(len(given), 24), jax.jit(model.step)
  for t in range(0, 24, 6):
    part, cache = step(found.params, cache, given[:, t : t + 6], t)
    assert worst(part, expected[:, t : t + 6]) < 1e-5
  np.testing.assert_allclose(found.tails, 0.0, atol=1e-9)
  np.testing.assert_allclose(found.stilled, 0.0, atol=1e-9)


@pytest.mark.parametrize("rank", [2, 5, 9])
def test_the_latent_loses_the_eigenvalues_left_out_and_no_projection_loses_less(rank):
  params, given = trained(), tokens()
  moments = second_moments(params, KEYWORDS, given)
  found = to_latent(params, KEYWORDS, moments, latent_rank=rank, rotary_dim=FULL)
  with recording() as record:
    logits(KEYWORDS, params, given)
  rng = np.random.default_rng(0)
  for layer in range(2):
    attention = params[f"block_{layer}"]["attention"]
    x = np.asarray(record[f"block_{layer}/attention.in"], np.float64).reshape(-1, 24)
    values = x @ np.asarray(attention["value"]["kernel"], np.float64)
    new = found.params[f"block_{layer}"]["attention"]
    latent = x @ np.asarray(new["down"]["kernel"], np.float64)
    up = np.asarray(new["up_value"], np.float64)[:, ::2].reshape(rank, -1)  # a head of each group
    error = np.mean(np.sum((values - latent @ up) ** 2, axis=1))
    spectrum = np.linalg.eigvalsh(values.T @ values / len(values))
    tail = spectrum[: FULL - rank].sum()
    np.testing.assert_allclose(error, tail, rtol=1e-4)
    np.testing.assert_allclose(found.tails[layer], tail / spectrum.sum(), rtol=1e-6)
    # Others of the same rank: at random, of the kernel alone, and each head by itself.
    kernel = np.asarray(attention["value"]["kernel"], np.float64)
    others = [np.linalg.qr(rng.standard_normal((FULL, rank)))[0] for _ in range(20)]
    others.append(np.linalg.svd(kernel)[2][:rank].T)
    apart = np.zeros((FULL, rank))
    for head, count in ((0, rank - rank // 2), (1, rank // 2)):
      own = slice(6 * head, 6 * head + 6)
      vectors = np.linalg.eigh(values[:, own].T @ values[:, own])[1][:, ::-1]
      apart[own, head * (rank - rank // 2) :][:, :count] = vectors[:, :count]
    others.append(apart)
    for other in others:
      assert np.mean(np.sum((values - values @ other @ other.T) ** 2, axis=1)) > tail


def test_fewer_rotary_dimensions_keep_the_keys_as_they_are_at_one_place():
  params, given = trained(), tokens()
  moments = second_moments(params, KEYWORDS, given)
  found = to_latent(params, KEYWORDS, moments, latent_rank=2 * FULL - 4, rotary_dim=4)
  assert np.all(found.stilled > 0) and len(found.keywords["rotary_pairs"]) == 2
  np.testing.assert_allclose(found.tails, 0.0, atol=1e-9)
  # With positions held at 0 nothing is approximate: at the first token, and where one is repeated.
  expected = logits(KEYWORDS, params, given)
  first = logits(found.keywords, found.params, given)
  np.testing.assert_allclose(first[:, 0], expected[:, 0], atol=1e-4)
  assert float(jnp.abs(first[:, 1:] - expected[:, 1:]).max()) > 1e-2
  # What is stilled falls as the rotary part grows.
  parts = [
    to_latent(params, KEYWORDS, moments, latent_rank=4, rotary_dim=size).stilled.sum()
    for size in (2, 4, 8, FULL)
  ]
  assert all(np.diff(parts) < 0) and parts[-1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
  ("hyper", "said"),
  [
    (dict(latent_rank=17), "must lie in 1..16"),
    (dict(latent_rank=0), "must lie in 1..16"),
    (dict(rotary_dim=3), "even"),
    (dict(rotary_dim=0), "even"),
    (dict(rotary_pairs=(0, 2)), "rotary_pairs"),
    (dict(rotary_pairs=(0,)), "rotary_pairs"),
    (dict(heads=3), "multiple of heads=3"),
    (dict(attention="grouped_query"), "attention='latent'"),
  ],
)
def test_sizes_that_do_not_fit_are_said(hyper, said):
  with pytest.raises(InputError, match=said):
    started(**hyper)


def test_conversions_that_cannot_be_are_said():
  params, _ = decoder(**KEYWORDS).init(jax.random.key(0), tokens())
  moments = second_moments(params, KEYWORDS, tokens())
  for rank, rotary, said in ((25, 4, "latent_rank=25"), (4, 5, "rotary_dim=5"), (4, 14, "2..12")):
    with pytest.raises(InputError, match=said):
      to_latent(params, KEYWORDS, moments, latent_rank=rank, rotary_dim=rotary)
  with pytest.raises(InputError, match="second_moments"):
    to_latent(params, KEYWORDS, moments[:1], latent_rank=4, rotary_dim=4)
  _, latent, _ = started()
  with pytest.raises(InputError, match="grouped_query"):
    to_latent(latent, LATENT, [np.eye(16)] * 2, latent_rank=4, rotary_dim=4)
