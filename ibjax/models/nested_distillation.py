"""Training the bases of a nested cache, and finding the rank that each head needs.

Source: Lin et al. 2025, "MatryoshkaKV: adaptive KV compression via trainable orthogonal projection"
(arXiv:2410.14731), as its published code has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.models.capture import recording
from ibjax.models.decoder import decoder
from ibjax.models.nested_cache import Projections, bases, with_projections

Array = jax.Array
GRANULARITIES = ("head", "layer")


class Distilled(NamedTuple):
  """Trained projections.

  Attributes:
    projections: whose `start` is what training began with.
    losses: [steps] of training, each at other ranks.
  """

  projections: Projections
  losses: np.ndarray


def distil(
  params: Any,
  keywords: Mapping[str, Any],
  projections: Projections,
  tokens: Any,
  *,
  steps: int = 300,
  batch: int = 16,
  learning_rate: float = 1e-3,
  teacher_weight: float = 0.25,
  levels: int = 8,
  seed: int = 0,
) -> Distilled:
  """Trains bases and means so that their first coordinates, however many, do the decoder's work.

  Formula: at each step every layer and head, and keys and values apart, draw a rank uniformly from
  d/levels, 2d/levels, ..., d; the loss is w KL(p || p') + (1 - w) (-log p'(next token)), p the
  decoder's next-token distribution and p' that with the ranks drawn. Adam with a cosine schedule
  after 100 steps of warm-up (a tenth of the steps where that is less), gradients clipped to norm 1.
  The decoder's own parameters are held. Bases are orthogonal at every step by their
  parametrisation, see `ibjax.models.nested_cache.bases`.

  Use it after `principal`, whose components keep what varies most; these keep what is attended to.

  Args:
    params: of the decoder, of attention "grouped_query".
    keywords: of `ibjax.models.decoder.decoder`, "out" among them.
    projections: where training begins, e.g. the principal components.
    tokens: [n, t + 1], each row predicted from its first t tokens.
    steps: of Adam.
    batch: rows of a step, drawn anew each.
    learning_rate: at its peak; the paper's.
    teacher_weight: w, in [0, 1]; the paper's.
    levels: how many ranks there are; must divide the dimension of a head.
    seed: of rows and ranks.

  Returns:
    `Distilled`.

  Raises:
    InputError: levels that do not divide a head, a weight or a number out of range.

  Source: Lin et al. 2025 (arXiv:2410.14731): the loss, its weights, the ranks drawn per head and
  layer, the learning rate and the warm-up, as in their scripts.
  """
  size = projections.mean.shape[-1]
  checks.at_least("steps", steps, 1)
  checks.between("teacher_weight", teacher_weight, 0.0, 1.0)
  check_levels(size, levels)
  teacher, student = decoder(**keywords), decoder(**{**keywords, "attention": "nested_cache"})
  rows = jnp.asarray(tokens)
  warmup = min(100, max(1, steps // 10))
  schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup, max(steps, warmup + 1))
  chain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
  root = rng.root_key(seed)

  def loss(trained, ranks, own):
    skew, mean = trained
    basis = bases(projections._replace(skew=skew))
    compressed = with_projections(params, basis, mean, ranks)
    inputs, following = own[:, :-1], own[:, 1:]
    taught = teacher.apply(params, {}, inputs, key=None, train=False)[0]
    found = student.apply(compressed, {}, inputs, key=None, train=True)[0]
    log_p, log_q = jax.nn.log_softmax(taught), jax.nn.log_softmax(found)
    divergence = jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)
    nll = -jnp.take_along_axis(log_q, following[..., None], axis=-1)[..., 0]
    return jnp.mean(teacher_weight * divergence + (1.0 - teacher_weight) * nll)

  @jax.jit
  def run(trained):
    def body(carry, step):
      trained, state = carry
      ranks = jax.random.randint(
        rng.stream(root, "ranks", step), projections.mean.shape[:-1], 1, levels + 1
      ) * (size // levels)
      chosen = jax.random.randint(rng.stream(root, "rows", step), (batch,), 0, len(rows))
      value, grads = jax.value_and_grad(loss)(trained, ranks, rows[chosen])
      updates, state = chain.update(grads, state, trained)
      return (optax.apply_updates(trained, updates), state), value

    carry = (trained, chain.init(trained))
    (trained, _), losses = jax.lax.scan(body, carry, jnp.arange(steps))
    return trained, losses

  (skew, mean), losses = run((projections.skew, projections.mean))
  return Distilled(projections._replace(skew=skew, mean=mean), np.asarray(losses))


def nll(
  params: Any, keywords: Mapping[str, Any], projections: Projections, ranks: Any, tokens: Any
) -> float:
  """The decoder's loss with the cache cut to ranks.

  Args:
    params: of the decoder, of attention "grouped_query".
    keywords: of `ibjax.models.decoder.decoder`, "out" among them.
    projections: `Projections`.
    ranks: [layers, 2, kv_heads] int.
    tokens: [n, t + 1].

  Returns:
    Nats per token, the mean over all.
  """
  compressed = with_projections(params, bases(projections), projections.mean, jnp.asarray(ranks))
  return plain_nll(compressed, {**keywords, "attention": "nested_cache"}, tokens)


def plain_nll(params: Any, keywords: Mapping[str, Any], tokens: Any) -> float:
  """The loss of any decoder.

  Args:
    params: of the decoder.
    keywords: of `ibjax.models.decoder.decoder`, "out" among them.
    tokens: [n, t + 1], each row predicted from its first t tokens.

  Returns:
    Nats per token, the mean over all.
  """
  rows, keys = jnp.asarray(tokens), _Frozen(keywords)
  parts = [_summed_nll(keys, params, rows[i : i + 64]) for i in range(0, len(rows), 64)]
  return float(np.sum(parts)) / (rows.shape[0] * (rows.shape[1] - 1))


def search_ranks(
  params: Any,
  keywords: Mapping[str, Any],
  projections: Projections,
  tokens: Any,
  budget: float,
  *,
  levels: int = 8,
  floor: int = 1,
  drops: int = 0,
  granularity: str = "head",
) -> np.ndarray:
  """Finds the rank of each head's keys and values under a budget, dropping the cheapest first.

  Formula: all start at d. Repeat: for each (layer, keys or values, head), the error
  |h' - h| / |h| of the last hidden states (Frobenius) when its rank drops by d/levels, h being
  those of the ranks as they are; the `drops` cheapest drop together. Until the mean of
  rank / d is at most the budget.

  Args:
    params: of the decoder, of attention "grouped_query".
    keywords: of `ibjax.models.decoder.decoder`, "out" among them.
    projections: `Projections`.
    tokens: [n, t] to calibrate on.
    budget: the mean of rank / d, in (0, 1].
    levels: how many ranks there are; must divide the dimension of a head.
    floor: the least rank, in units of d/levels.
    drops: of how many at once; 0 takes a sixteenth of them all, and 1 at least (the paper drops
      three quarters, each by a quarter).
    granularity: "head", or "layer" where all heads of a layer's keys, or values, drop together.

  Returns:
    [layers, 2, kv_heads] int.

  Raises:
    InputError: a budget that the floor does not allow, levels that do not divide a head, an
      unknown granularity.

  Source: Lin et al. 2025 (arXiv:2410.14731), the greedy search of their published code.
  """
  size, slots = projections.mean.shape[-1], projections.mean.shape[:-1]
  checks.one_of("granularity", granularity, GRANULARITIES)
  check_levels(size, levels)
  check_budget(budget, levels, floor)
  unit, basis = size // levels, bases(projections)
  ranks = np.full(slots, size)
  members = _members(slots, granularity)
  at_once = drops or max(1, len(members) // 16)
  given, keys = jnp.asarray(tokens), _Frozen(keywords)
  while ranks.mean() > budget * size + 1e-9:
    # All of them each time, those at the floor too, so that there is one program.
    tried = np.stack([ranks, *(np.where(one, ranks - unit, ranks) for one in members)])
    errors = np.array(_errors(keys, params, basis, projections.mean, jnp.asarray(tried), given))
    ends = [ranks[one].flat[0] <= floor * unit for one in members]
    for index in np.argsort(np.where(ends, np.inf, errors[1:]), kind="stable")[:at_once]:
      if ranks.mean() > budget * size + 1e-9 and not ends[index]:
        ranks = np.where(members[index], ranks - unit, ranks)
  return ranks


def check_levels(size: int, levels: int) -> None:
  """Raises InputError unless the ranks of a head fall on whole numbers.

  Args:
    size: dimensions of a head.
    levels: how many ranks there are.

  Raises:
    InputError: levels that do not divide the head.
  """
  if levels < 1 or size % levels:
    raise InputError(f"levels={levels} must divide a head's {size} dimensions.")


def check_budget(budget: float, levels: int, floor: int = 1) -> None:
  """Raises InputError where no ranks keep a budget.

  Args:
    budget: the mean of rank / dimension.
    levels: how many ranks there are.
    floor: the least rank, in units of dimension / levels.

  Raises:
    InputError: a budget below the floor or above 1, or a floor that is no level.
  """
  if not 0 <= floor <= levels or not floor / levels <= budget <= 1.0:
    raise InputError(
      f"budget={budget:g} must lie in {floor / levels:g}..1, the mean of rank / dimension, whose "
      f"least is floor={floor} of levels={levels}."
    )


def _members(slots: tuple[int, ...], granularity: str) -> list[np.ndarray]:
  """What drops together: masks of the slots."""
  if granularity == "head":
    numbers = np.arange(np.prod(slots)).reshape(slots)
  else:
    numbers = np.broadcast_to(np.arange(slots[0] * slots[1]).reshape(*slots[:2], 1), slots)
  return [numbers == number for number in np.unique(numbers)]


class _Frozen(dict):
  """Keywords as a static argument."""

  def __hash__(self) -> int:  # type: ignore[override]
    return hash(tuple(sorted((key, str(value)) for key, value in self.items())))


def _summed(keywords: Mapping[str, Any], params: Any, rows: Array) -> Array:
  logits, _ = decoder(**keywords).apply(params, {}, rows[:, :-1], key=None, train=False)
  return jnp.sum(optax.softmax_cross_entropy_with_integer_labels(logits, rows[:, 1:]))


def _relative_errors(
  keywords: Mapping[str, Any], params: Any, basis: Array, mean: Array, tried: Array, tokens: Array
) -> Array:
  """[k] relative errors of the last hidden states at each [layers, 2, heads] of ranks."""

  model = decoder(**{**keywords, "attention": "nested_cache"})

  def states(ranks: Array) -> Array:
    with recording() as record:
      compressed = with_projections(params, basis, mean, ranks)
      model.apply(compressed, {}, tokens, key=None, train=False)
    return record["norm.out"]

  whole = states(tried[0])
  norm = jnp.linalg.norm(whole)
  return jax.lax.map(lambda ranks: jnp.linalg.norm(states(ranks) - whole) / norm, tried)


_summed_nll = jax.jit(_summed, static_argnums=0)
_errors = jax.jit(_relative_errors, static_argnums=0)
