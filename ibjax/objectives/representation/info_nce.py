"""Contrast of views by InfoNCE; with candidates of both views the NT-Xent loss of SimCLR.

Source: van den Oord et al. 2018, "Representation learning with contrastive predictive coding"
(arXiv:1807.03748); Chen et al. 2020, "A simple framework for contrastive learning of visual
representations" (ICML, arXiv:2002.05709).
"""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.estimators.base.bounds import info_nce as lower_bound
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require_views
from ibjax.objectives.representation.embedding import embedded_views, unit

Array = jax.Array
CANDIDATES = ("both", "other")
LAGRANGIAN = Lagrangian(form="none", penalty="none")


def info_nce(temperature: Scalar = 0.5, candidates: str = "both") -> Objective:
  """Tells which view is of the same example as a given one, among those of the whole batch.

  Formula: min E[-log q(y|z)] - E[s_i+ - log sum_j exp s_ij], s the cosine of two views over the
  temperature, i+ the other view of example i. The sum is over the n views of the other kind
  ("other"), or over them and the other n - 1 of the same kind ("both", NT-Xent). log n less the
  contrast with candidates of the other view is at most I(Z_1;Z_2) between two views, in nats; with
  candidates of both views, which come in dependent pairs, there is no such proof, so the bound
  that is reported is always the former. More than two views are compared in all pairs.

  Use it when there are views and no labels, in large batches: the bound never exceeds log n. The
  term in q trains the decoder; with `config.train.probe` it moves nothing else.

  Args:
    temperature: > 0; may be traced. Small values look at the nearest candidates alone.
    candidates: "both" or "other".

  Returns:
    An `Objective` with losses distortion_nats [n] and contrast_nats (scalar, >= 0), and the
    metrics i_views_lower_nats (the bound), alignment (mean squared distance of the two views of
    an example, vectors of length one) and uniformity_nats (log of the mean of exp(-2 squared
    distance) between examples; the lower, the more even).

  Raises:
    InputError: a temperature of 0 or less, other candidates, a single view.

  Example:
    >>> from ibjax.objectives.representation.info_nce import info_nce
    >>> objective = info_nce(temperature=0.2)

  Source: van den Oord et al. 2018 (arXiv:1807.03748), eqs. 4 and 5; Chen et al. 2020
  (arXiv:2002.05709), eq. 1; alignment and uniformity of Wang and Isola 2020 (arXiv:2005.10242).
  """
  checks.at_least("temperature", temperature, 0.0, strict=True)
  checks.one_of("candidates", candidates, CANDIDATES)
  both = candidates == "both"

  def init(key, spec):
    return init_distortion(spec)

  def loss(params, state, outputs, batch, key, step):
    require_views("info_nce", outputs)
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, weight = embedded_views(outputs, batch)
    z = unit(z)
    pairs = list(itertools.combinations(range(len(z)), 2))

    def contrast(both):
      return sum(_contrast(z[a], z[b], weight, temperature, both) for a, b in pairs) / len(pairs)

    other = contrast(both=False)
    most = jnp.log(jnp.maximum(jnp.sum(weight), 1.0))
    return Terms(
      losses={
        "distortion_nats": Term(distortion),
        "contrast_nats": Term(contrast(both=True) if both else other),
      },
      metrics={
        "i_views_lower_nats": most - other,
        **_spread(z[0], z[1], weight),
        **information_bound(state, distortion),
      },
      state=state,
    )

  return Objective(init, loss, couples=True, views=2)


def _contrast(a: Array, b: Array, weight: Array, temperature: Scalar, both: bool) -> Array:
  """Mean over the rows that count, and over which of the two views is given, of the contrast."""
  n = len(a)
  z = jnp.concatenate([a, b])
  scores = jnp.matmul(z, z.T, precision=jax.lax.Precision.HIGHEST) / temperature
  scores = jnp.roll(scores, n, axis=1)  # now the other view of example i is in column i
  row = jnp.arange(2 * n)
  itself = row[:, None] == jnp.roll(row, n)
  same_kind = (row[:, None] < n) == (jnp.roll(row, n) < n)
  counts = jnp.concatenate([weight, weight]) > 0.0
  allowed = ~(itself if both else same_kind) & counts[:, None] & counts
  # A row that does not count has its own column alone, and so a contrast of exactly zero.
  allowed |= row[:, None] == row
  total = math.log(2 * n) - lower_bound(jnp.where(allowed, scores, -jnp.inf))
  return total * n / jnp.maximum(jnp.sum(weight), 1.0)


def _spread(a: Array, b: Array, weight: Array) -> dict[str, Array]:
  count = jnp.maximum(jnp.sum(weight), 1.0)
  alignment = jnp.sum(weight * jnp.sum(jnp.square(a - b), axis=-1)) / count
  pair = weight[:, None] * weight * (1.0 - jnp.eye(len(a)))
  inner = jnp.matmul(a, a.T, precision=jax.lax.Precision.HIGHEST)
  mean = jnp.sum(pair * jnp.exp(4.0 * inner - 4.0)) / jnp.maximum(jnp.sum(pair), 1.0)
  return {"alignment": alignment, "uniformity_nats": jnp.log(jnp.maximum(mean, 1e-12))}


def _inputs(z):
  z = jnp.asarray(z, jnp.float32)
  return dict(
    outputs=Outputs(Code(z, None, None, {}), jnp.zeros((len(z), 2)), views=2),
    batch={"y": jnp.zeros(len(z), jnp.int32), "mask": jnp.ones(len(z), bool)},
    label_probs=jnp.array([1.0, 0.0]),
  )


_EQUAL = [[3.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 2.0]]

CASES = (
  Case(
    name="equal views of two orthogonal examples, candidates of both views",
    hyper=dict(temperature=1.0),
    inputs=lambda: _inputs(_EQUAL),
    expected=dict(
      contrast_nats=math.log(math.e + 2.0) - 1.0,
      alignment=0.0,
      uniformity_nats=-4.0,
      loss=math.log(2.0) + math.log(math.e + 2.0) - 1.0,
    ),
    source="by hand: one candidate at cosine 1, two at 0",
  ),
  Case(
    name="equal views of two orthogonal examples, candidates of the other view",
    hyper=dict(temperature=1.0, candidates="other"),
    inputs=lambda: _inputs(_EQUAL),
    expected=dict(
      contrast_nats=math.log(math.e + 1.0) - 1.0,
      i_views_lower_nats=math.log(2.0) + 1.0 - math.log(math.e + 1.0),
    ),
    source="by hand: one candidate at cosine 1, one at 0",
  ),
  Case(
    name="all vectors equal: every candidate as likely",
    hyper=dict(temperature=0.5),
    inputs=lambda: _inputs([[1.0, 0.0]] * 6),
    expected=dict(contrast_nats=math.log(5.0), uniformity_nats=0.0),
    source="closed form: log of the 2 n - 1 candidates",
    rtol=1e-4,
  ),
)
