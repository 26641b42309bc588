"""Training nested bases, finding ranks under a budget, and the run that compares all caches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, InputError
from ibjax.models.capture import recording
from ibjax.models.decoder import decoder
from ibjax.models.nested_cache import bases, nested_cache_bytes, principal, with_projections
from ibjax.models.nested_distillation import distil, nll, search_ranks
from ibjax.programs import cache_compression as compression
from tests.helpers import tiny
from tests.trained_decoder import KEYWORDS, loss, tokens, trained

CONFIG = "configs/language/cache_compression_shakespeare.py"


@functools.cache
def start():
  return principal(trained(), KEYWORDS, tokens(seed=1, n=64))


@functools.cache
def distilled():
  return distil(
    trained(),
    KEYWORDS,
    start(),
    tokens(seed=1, n=512),
    steps=150,
    learning_rate=0.02,
    levels=3,
  )


def at(projections, rank):
  ranks = np.full(projections.mean.shape[:-1], rank)
  return nll(trained(), KEYWORDS, projections, ranks, tokens(seed=2, n=64))


def test_trained_bases_are_orthogonal_and_lose_less_than_principal_components_at_low_rank():
  found = distilled().projections
  basis = np.asarray(bases(found), np.float64)
  gram = np.swapaxes(basis, -1, -2) @ basis
  assert np.abs(gram - np.eye(6)).max() < 1e-6
  assert np.abs(np.asarray(found.skew)).max() > 0.05  # they have moved
  # With all coordinates the basis says nothing: the decoder itself.
  whole = float(loss(trained(), KEYWORDS, tokens(seed=2, n=64)))
  assert at(found, 6) == pytest.approx(whole, abs=1e-4)
  assert at(start(), 6) == pytest.approx(whole, abs=1e-4)
  for rank in (2, 4):
    assert whole < at(found, rank) < at(start(), rank) - 0.02
  assert distilled().losses[-20:].mean() < distilled().losses[:20].mean()


@pytest.mark.parametrize("granularity", ["head", "layer"])
def test_ranks_keep_the_budget_and_cost_less_than_one_rank_for_all(granularity):
  options = dict(levels=3, granularity=granularity)
  ranks = search_ranks(trained(), KEYWORDS, start(), tokens(seed=1, n=8), 0.67, **options)
  assert ranks.shape == (2, 2, 2) and set(ranks.ravel()) <= {2, 4, 6}
  assert 0.55 <= ranks.mean() / 6 <= 0.67
  assert nested_cache_bytes(ranks) <= 0.67 * nested_cache_bytes(np.full((2, 2, 2), 6))
  if granularity == "layer":
    assert np.all(ranks == ranks[:, :, :1])
  found = nll(trained(), KEYWORDS, start(), ranks, tokens(seed=2, n=64))
  assert found < at(start(), 4) + 0.02


def test_the_first_to_drop_is_the_one_that_costs_least():
  one = search_ranks(trained(), KEYWORDS, start(), tokens(seed=1, n=8), 0.97, levels=3, drops=1)
  assert np.sum(one < 6) == 1
  model = decoder(**{**KEYWORDS, "attention": "nested_cache"})

  @jax.jit
  def hidden(ranks):
    params = with_projections(trained(), bases(start()), start().mean, ranks)
    with recording() as record:
      model.apply(params, {}, tokens(seed=1, n=8), key=None, train=False)
    return record["norm.out"]

  whole = hidden(np.full((2, 2, 2), 6))
  errors = {}
  for slot in np.ndindex(2, 2, 2):
    ranks = np.full((2, 2, 2), 6)
    ranks[slot] = 4
    errors[slot] = np.linalg.norm(hidden(ranks) - whole)
  assert one[min(errors, key=errors.get)] == 4


@pytest.mark.parametrize(
  ("call", "said"),
  [
    (lambda: search_ranks({}, KEYWORDS, start(), tokens(), 0.2, levels=3), r"0\.333333"),
    (lambda: search_ranks({}, KEYWORDS, start(), tokens(), 0.5, levels=4), "levels=4"),
    (lambda: search_ranks({}, KEYWORDS, start(), tokens(), 0.5, granularity="x"), "granularity"),
    (lambda: distil({}, KEYWORDS, start(), tokens(), levels=4), "levels=4"),
    (lambda: distil({}, KEYWORDS, start(), tokens(), teacher_weight=2.0), "teacher_weight"),
  ],
)
def test_what_does_not_fit_is_said(call, said):
  with pytest.raises(InputError, match=said):
    call()


def test_a_run_compares_the_caches(monkeypatch):
  def untrained(recipe, spec, split, steps, seed):
    model = decoder(**{k: v for k, v in recipe["decoder"].items() if k != "fn"}, out=11)
    return jax.jit(model.init)(jax.random.key(seed), jnp.asarray(split["x"][:1]))[:1]

  monkeypatch.setattr(compression.in_memory, "train", untrained)
  measurement = compression.cache_compression(tiny(CONFIG, latent__scratch="6+4"))
  assert measurement.parts == ("teacher", "latent 8+8", "scratch 6+4", "nested 50")
  row = measurement.summarize({p: measurement.measure(p) for p in measurement.parts[:3]})
  teacher = row["teacher_nll_nats"]
  assert 1.0 < teacher < 5.0
  assert row["latent_8_8_nll_nats"] == pytest.approx(teacher, abs=1e-5)  # full rank
  assert row["teacher_cache_bytes"] == row["latent_8_8_cache_bytes"] == 4 * 16
  assert row["scratch_6_4_cache_bytes"] == 4 * 10 and row["scratch_6_4_nll_nats"] != teacher


@pytest.mark.parametrize(
  ("override", "said"),
  [
    (dict(latent__sizes="8-8"), "RANK[+]ROTARY"),
    (dict(latent__scratch="99+4"), "latent_rank=99"),
    (dict(latent__sizes="99+4"), "latent_rank=99"),
    (dict(latent__sizes="4+3"), "rotary_dim=3"),
    (dict(nested__percents="0"), r"1\.\.100"),
    (dict(nested__percents="49"), r"budget=0\.49"),
    (dict(nested__levels=3), "levels=3"),
    (dict(nested__granularity="heads"), "config.nested.granularity"),
    (dict(nested__steps=0), "config.nested.steps is 0"),
    (dict(data__tasks="digits"), "source of tokens"),
    (dict(recipe__decoder__attention="latent"), "grouped-query"),
  ],
)
def test_a_run_that_cannot_be_is_refused_before_training(override, said):
  with pytest.raises((ConfigError, InputError), match=said):
    compression.cache_compression(tiny(CONFIG, **override))
