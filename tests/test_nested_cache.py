"""Nested caches: bases that stay orthogonal, components that are the best, exact slices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.models.attention import rotate
from ibjax.models.capture import recording
from ibjax.models.decoder import decoder
from ibjax.models.nested_cache import (
  Projections,
  attend_kept,
  bases,
  cayley,
  keep,
  keys_and_values,
  nested_cache_bytes,
  principal,
  with_projections,
)
from tests.trained_decoder import KEYWORDS, tokens, trained


def off(basis):
  gram = np.swapaxes(np.asarray(basis, np.float64), -1, -2) @ np.asarray(basis, np.float64)
  return np.abs(gram - np.eye(gram.shape[-1])).max()


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
def test_bases_are_orthogonal_however_far_they_are_turned(scale):
  skew = scale * jax.random.normal(jax.random.key(0), (5, 32, 32))
  assert off(cayley(skew)) < 1e-6
  start = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 32, 32)))[0]
  start[0, :, 0] *= np.sign(np.linalg.det(start[0])) * -1.0  # determinant -1
  found = bases(Projections(jnp.asarray(start, jnp.float32), skew, jnp.zeros((5, 32))))
  assert off(found) < 1e-6
  assert np.linalg.det(found[0]) == pytest.approx(-1.0, abs=1e-4)


def test_a_basis_of_determinant_minus_one_is_a_start_like_any_other():
  # Its own Cayley parameters do not exist: it has an eigenvalue -1.
  start = np.diag([1.0, -1.0, 1.0, 1.0]).astype(np.float32)
  assert np.linalg.svd(start + np.eye(4), compute_uv=False)[-1] == 0.0
  nothing = Projections(jnp.asarray(start), jnp.zeros((4, 4)), jnp.zeros(4))
  np.testing.assert_array_equal(bases(nothing), start)
  grad = jax.grad(lambda skew: bases(nothing._replace(skew=skew))[0, 1])(jnp.zeros((4, 4)))
  assert np.all(np.isfinite(grad)) and np.any(grad != 0)


@functools.cache
def forward(attention):
  model = decoder(**{**KEYWORDS, "attention": attention})

  @jax.jit
  def run(params):
    with recording() as record:
      model.apply(params, {}, tokens(), key=None, train=False)
    return record

  return run


def logits(attention, params):
  return forward(attention)(params)[".out"]


def at_ranks(projections, ranks):
  basis, mean = bases(projections), projections.mean
  return with_projections(trained(), basis, mean, np.broadcast_to(ranks, mean.shape[:3]))


def test_all_coordinates_are_the_decoder_itself_and_fewer_are_not():
  projections = principal(trained(), KEYWORDS, tokens())
  skew = jax.random.normal(jax.random.key(0), projections.skew.shape)
  turned = projections._replace(skew=skew)
  expected = logits("grouped_query", trained())
  np.testing.assert_allclose(logits("nested_cache", at_ranks(turned, 6)), expected, atol=1e-4)
  errors = [
    float(jnp.abs(logits("nested_cache", at_ranks(projections, rank)) - expected).mean())
    for rank in (5, 3, 1)
  ]
  assert 1e-3 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_principal_components_lose_the_eigenvalues_left_out_and_nothing_loses_less(rank):
  projections = principal(trained(), KEYWORDS, tokens())
  rng = np.random.default_rng(0)
  for layer, sides in enumerate(keys_and_values(trained(), KEYWORDS, tokens())):
    for side, given in enumerate(sides):
      for head in range(2):
        x = np.asarray(given, np.float64)[:, :, head].reshape(-1, 6)
        away = x - x.mean(axis=0)
        tail = np.linalg.eigvalsh(away.T @ away / len(x))[: 6 - rank].sum()
        u = np.asarray(projections.start[layer, side, head, :, :rank], np.float64)
        mean = np.asarray(projections.mean[layer, side, head], np.float64)
        lost = np.mean(np.sum((x - mean - (x - mean) @ u @ u.T) ** 2, axis=1))
        np.testing.assert_allclose(lost, tail, rtol=1e-4)
        for _ in range(10):
          other = np.linalg.qr(rng.standard_normal((6, rank)))[0]
          assert np.mean(np.sum((away - away @ other @ other.T) ** 2, axis=1)) > lost


def test_a_cache_of_the_kept_coordinates_alone_gives_what_the_masked_decoder_computes():
  projections = principal(trained(), KEYWORDS, tokens())
  ranks = np.array([[[4, 2], [3, 5]], [[6, 1], [2, 6]]])
  record = forward("nested_cache")(at_ranks(projections, ranks))
  positions = jnp.arange(tokens().shape[1])
  for layer in range(2):
    path, basis = f"block_{layer}/attention", bases(projections)[layer]
    mean = projections.mean[layer]
    query, key, value = (
      record[f"{path}/{name}.out"].reshape(*tokens().shape, -1, 6)
      for name in ("query", "key", "value")
    )
    query, key = (rotate(part, positions, 10_000.0) for part in (query, key))
    kept = tuple(
      keep(part, basis[side], mean[side], ranks[layer, side])
      for side, part in enumerate((key, value))
    )
    found = attend_kept(query, kept, basis, mean, ranks[layer], positions)
    np.testing.assert_allclose(found, record[f"{path}/heads.out"], atol=1e-5)
    numbers = sum(part.shape[-1] for part in kept)
    assert 4 * numbers == nested_cache_bytes(ranks[layer]) < nested_cache_bytes(np.full((2, 2), 6))


def test_ranks_that_do_not_fit_are_said():
  projections = principal(trained(), KEYWORDS, tokens())
  with pytest.raises(InputError, match=r"expected 0\.\.6"):
    at_ranks(projections, 7)
  with pytest.raises(InputError, match="ranks has shape"):
    with_projections(trained(), bases(projections), projections.mean, np.ones((1, 2, 2)))
