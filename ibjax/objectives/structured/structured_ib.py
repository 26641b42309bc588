"""Structured information bottleneck: auxiliary codes that are told apart from the main one.

Source: Yang et al. 2025, "Structured IB" (AAAI).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require

Array = jax.Array
LAGRANGIAN = Lagrangian(form="rate", penalty="I(X;Z)")
# What the generic tests give beside a Gaussian code with these means: the first auxiliary stage.
AUX = {
  "blocks": lambda mean: jnp.stack([mean, 1.0 - 0.5 * mean], axis=1),
  "stage": lambda mean: jnp.int32(1),
  "weights": lambda mean: jnp.array([0.0, 1.0]),
}


def structured_ib(
  beta: Scalar = 1e-3,
  independence: Scalar = 1.0,
  auxiliaries: int = 1,
  hidden: tuple[int, ...] = (128, 128),
) -> Objective:
  """Learns auxiliary codes that predict the label by what the codes before them do not hold.

  Formula: min E[-log q(y|z)] + beta E[KL(p(z|x) || N(0, I))] with the code of the current stage
  (`ibjax.bottlenecks.structured_gaussian`), and in the stage of auxiliary code i also
  + independence max_d { E[log d(z_i, z'_<i)] + E[log(1 - d(z_i, z_<i))] + log 4 }, where z_<i is
  the sum of the earlier codes of the same example and z'_<i that of another one; d is a
  classifier, the objective's own, one for each auxiliary code. At the best d the braces are twice
  the Jensen-Shannon divergence between the joint and the product, 0 only at independence; nats,
  the KL summed over dimensions.

  Use it when one code should not have to carry everything: the auxiliary encoders may be small.
  The program `ibjax.programs.structured` holds the decoder and the other encoders.

  The gradient of the independence goes to the auxiliary encoder; the published code cuts it off,
  so that its term trains the classifier alone.

  Args:
    beta: price of a nat of rate, >= 0; may be traced.
    independence: weight of the adversarial term, >= 0; may be traced.
    auxiliaries: K, as of the bottleneck.
    hidden: widths of the classifiers' hidden layers.

  Returns:
    An `Objective` that couples examples, with losses distortion_nats and rate_nats [n] and
    independence_nats (a scalar, minimax; 0 outside auxiliary stages), and the metrics stage,
    "weight_<b>" of each code, i_xz_upper_nats and i_yz_lower_nats (averages, nats).

  Raises:
    InputError: a value out of range, a bottleneck other than `structured_gaussian` or of another
      number of codes, predictions or targets that do not fit.

  Example:
    >>> from ibjax.objectives.structured.structured_ib import structured_ib
    >>> objective = structured_ib(beta=1e-3, auxiliaries=1)

  Source: Yang et al. 2025 (AAAI): the main and auxiliary objectives and the adversarial form of
  the independence, which is Goodfellow et al. 2014 (arXiv:1406.2661), eq. 1.
  """
  checks.at_least("beta", beta, 0.0)
  checks.at_least("independence", independence, 0.0)
  checks.at_least("auxiliaries", auxiliaries, 1)

  def init(key, spec):
    params, state = init_distortion(spec)
    widths = (2 * spec.code_dim, *hidden, 1)
    normal = jax.nn.initializers.lecun_normal(batch_axis=(0,))
    critic = [
      {
        "kernel": normal(rng.stream(key, "critic", i), (auxiliaries, *widths[i : i + 2])),
        "bias": jnp.zeros((auxiliaries, widths[i + 1])),
      }
      for i in range(len(widths) - 1)
    ]
    return {**params, "critic": critic}, state

  def loss(params, state, outputs, batch, key, step):
    rate = require("structured_ib", outputs, "rate")
    blocks = require("structured_ib", outputs, "blocks")
    stage = require("structured_ib", outputs, "stage")
    weights = require("structured_ib", outputs, "weights")
    if blocks.shape[1] != auxiliaries + 1:
      raise InputError(
        f"structured_ib has classifiers for {auxiliaries} auxiliary codes, and the bottleneck has "
        f"{blocks.shape[1] - 1}. Set config.objective.auxiliaries and "
        "config.bottleneck.auxiliaries to one number."
      )
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    checks.shape("rate", rate, distortion.shape)
    number = jnp.clip(stage, 1, auxiliaries)
    critic = jax.tree.map(lambda leaf: leaf[number - 1], params["critic"])
    code = jnp.take(blocks, number, axis=1)
    before = (jnp.arange(auxiliaries + 1) < number)[:, None] * blocks
    before = jax.lax.stop_gradient(jnp.sum(before, axis=1))
    other = before[partners(batch["mask"], rng.stream(key, "partners"))]
    told = jax.nn.log_sigmoid(_logit(critic, code, other))
    told += jax.nn.log_sigmoid(-_logit(critic, code, before))
    told = jnp.where(batch["mask"], told + math.log(4.0), 0.0)
    apart = jnp.sum(told) / jnp.maximum(jnp.sum(batch["mask"]), 1)
    in_auxiliary = (stage >= 1) & (stage <= auxiliaries)
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "rate_nats": Term(rate, beta),
        "independence_nats": Term(jnp.where(in_auxiliary, apart, 0.0), independence, minimax=True),
      },
      metrics={
        "stage": stage.astype(jnp.float32),
        **{f"weight_{b}": weights[b] for b in range(auxiliaries + 1)},
        "i_xz_upper_nats": rate,
        **information_bound(state, distortion),
      },
      state=state,
    )

  return Objective(init, loss, couples=True)


def partners(mask: Array, key: Array) -> Array:
  """Gives every example that counts another one that counts, at random.

  Args:
    mask: [n] bool, True where an example counts.
    key: a typed key.

  Returns:
    [n] int32 positions: a permutation of those that count without a fixed point (if there are
    two at least); the others keep their own.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.objectives.structured.structured_ib import partners
    >>> partners(jnp.array([True, False, True]), jax.random.key(0)).tolist()
    [2, 1, 0]
  """
  n = len(mask)
  count = jnp.sum(mask)
  draw = jnp.where(mask, rng.uniform(key, (n,)), 2.0)
  order = jnp.argsort(draw)  # those that count, shuffled, then the rest
  place = jnp.arange(n)
  following = jnp.where(place < count, (place + 1) % jnp.maximum(count, 1), place)
  return jnp.zeros(n, jnp.int32).at[order].set(order[following].astype(jnp.int32))


def _logit(critic, *codes: Array) -> Array:
  h = jnp.concatenate(codes, axis=-1)
  for index, layer in enumerate(critic):
    h = h @ layer["kernel"] + layer["bias"]
    if index < len(critic) - 1:
      h = jax.nn.relu(h)
  return h[:, 0]


def _inputs(stage: int):
  aux = {"stage": jnp.int32(stage), "weights": jnp.array([0.75, 0.25])}
  code = Code(
    jnp.zeros((2, 1)), jnp.array([3.0, 1.0]), None, {**aux, "blocks": jnp.ones((2, 2, 1))}
  )
  layer = {"kernel": jnp.zeros((1, 2, 1)), "bias": jnp.full((1, 1), math.log(3.0))}
  return dict(
    outputs=Outputs(code, jnp.zeros((2, 4))),
    batch={"y": jnp.array([2, 0])},
    params={"critic": [layer]},
    label_probs=jnp.full(4, 0.25),
  )


CASES = (
  Case(
    name="the main stage is VIB",
    hyper=dict(beta=0.1, hidden=()),
    inputs=lambda: _inputs(0),
    expected=dict(independence_nats=0.0, weight_1=0.25, loss=math.log(4) + 0.2),
    source="limit",
  ),
  Case(
    name="an auxiliary stage with a classifier that says 3/4 of every pair",
    hyper=dict(beta=0.1, independence=2.0, hidden=()),
    inputs=lambda: _inputs(1),
    expected=dict(independence_nats=math.log(0.75), loss=math.log(4) + 0.2 + 2 * math.log(0.75)),
    source="by hand: log 3/4 + log 1/4 + log 4",
  ),
)
