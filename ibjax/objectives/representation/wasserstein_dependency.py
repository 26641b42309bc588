"""Wasserstein dependency of two views: how far pairs are, in distance, from independent pairs.

Source: Ozair et al. 2019, "Wasserstein dependency measure for representation learning"
(arXiv:1903.11780).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.lagrangian import Lagrangian
from ibjax.core.types import Case, Code, Objective, Outputs, Scalar, Term, Terms
from ibjax.estimators.base.lipschitz import apply_sorting, gradient_norms, unit_layer
from ibjax.estimators.base.networks import init_mlp
from ibjax.objectives.distortion import distortion_nats, information_bound, init_distortion
from ibjax.objectives.needs import require_views
from ibjax.objectives.representation.embedding import embedded_views, unit

CONSTRAINTS = ("penalty", "spectral")
LAGRANGIAN = Lagrangian(form="none", penalty="none")


def wasserstein_dependency(
  width: int = 0,
  sizes: tuple[int, ...] = (64, 64),
  constraint: str = "penalty",
  penalty: Scalar = 10.0,
) -> Objective:
  """Moves the pairs of views of one example away from pairs of different examples.

  Formula: min E[-log q(y|z)] - {E f(z_1, z_2) - E f(z_1, z_2')}, where z_2' is the second view of
  another example and f a critic of slope at most one. The best critic makes the braces
  W_1(p(z_1, z_2), p(z_1) p(z_2)) in the Euclidean distance of the pair, of vectors of length one.
  It is a distance, without a unit; it does not exceed 2, and no logarithm of the batch caps it.

  The critic and the encoder raise the same number, so no term is minimax. The paper's critic is
  Lipschitz in the inputs, here in the code: an objective sees no derivatives by the input. A
  length of one fixes the scale that the encoder could else raise for ever. The paper trains a
  contrastive form with a gradient penalty; this is its definition.

  Use it when there are views that share more information than the log of a batch. Of more than two
  views the first two are compared. The term in q trains the decoder; with `config.train.probe` it
  moves nothing else.

  Args:
    width: of the vectors compared: 0 is that of the code; a bottleneck with a projection needs the
      projection's.
    sizes: widths of the critic's hidden layers, even numbers.
    constraint: "penalty" (of (slope - 1)^2 at points between the two kinds of pairs) or "spectral"
      (singular values near one in each layer, and activations that sort; then no penalty).
    penalty: its weight, >= 0; may be traced. Unused by "spectral".

  Returns:
    An `Objective` with losses distortion_nats [n], dependency (a distance) and, with "penalty",
    slope_penalty, both scalars; and the metric critic_slope, the mean slope at the pairs.

  Raises:
    InputError: an unknown constraint, a negative penalty, an odd width of a layer, a single view,
      vectors of another width.

  Example:
    >>> from ibjax.objectives.representation.wasserstein_dependency import wasserstein_dependency
    >>> objective = wasserstein_dependency(width=16, sizes=(32,))

  Source: Ozair et al. 2019 (arXiv:1903.11780), the definition and its dual; the
  penalty of Gulrajani et al. 2017 (arXiv:1704.00028), the spectral constraint of
  `ibjax.estimators.variational.wasserstein_dependency`.
  """
  checks.at_least("width", width, 0)
  checks.one_of("constraint", constraint, CONSTRAINTS)
  checks.at_least("penalty", penalty, 0.0)
  for size in sizes:
    checks.one_of(f"{size} % 2 of sizes", str(size % 2), ("0",))
  bounded = constraint == "spectral"

  def init(key, spec):
    params, state = init_distortion(spec)
    key = rng.root_key(0) if key is None else key
    layers = (2 * (width or spec.code_dim), *sizes, 1)
    return {**params, "critic": init_mlp(rng.stream(key, "critic"), layers)}, state

  def loss(params, state, outputs, batch, key, step):
    require_views("wasserstein_dependency", outputs)
    distortion = distortion_nats(params, outputs.prediction, batch["y"])
    z, weight = embedded_views(outputs, batch)
    wanted = params["critic"][0]["w"].shape[1] // 2
    checks.shape("what is compared (its width is objective.width)", z, (None, None, wanted))
    z = unit(z)
    critic = [unit_layer(layer) for layer in params["critic"]] if bounded else params["critic"]
    place = jax.random.randint(rng.stream(key, "shift"), (), 1, max(z.shape[1], 2))
    true = jnp.concatenate([z[0], z[1]], axis=-1)
    false = jnp.concatenate([z[0], jnp.roll(z[1], place, axis=0)], axis=-1)
    apart = weight * jnp.roll(weight, place)  # both of a pair must count

    def mean(values, weight):
      return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)

    found = mean(apply_sorting(critic, true), weight) - mean(apply_sorting(critic, false), apart)
    losses = {"distortion_nats": Term(distortion), "dependency": Term(found, -1.0)}
    if not bounded:
      mix = rng.uniform(rng.stream(key, "mix"), (len(true), 1))
      between = jax.lax.stop_gradient(mix * true + (1.0 - mix) * false)
      steep = gradient_norms(critic, between) - 1.0
      losses["slope_penalty"] = Term(mean(jnp.square(steep), apart), penalty)
    slope = mean(gradient_norms(critic, jax.lax.stop_gradient(true)), weight)
    return Terms(
      losses=losses,
      metrics={"critic_slope": slope, **information_bound(state, distortion)},
      state=state,
    )

  return Objective(init, loss, couples=True, views=2)


def _inputs(z, critic):
  z = jnp.asarray(z, jnp.float32)
  return dict(
    params={"critic": [{"w": jnp.array([critic]), "b": jnp.zeros(1)}]},
    outputs=Outputs(Code(z, None, None, {}), jnp.zeros((len(z), 2)), views=2),
    batch={"y": jnp.zeros(len(z), jnp.int32), "mask": jnp.ones(len(z), bool)},
    label_probs=jnp.array([1.0, 0.0]),
  )


CASES = (
  Case(
    name="a linear critic sees no dependence: pairs have the same means",
    hyper=dict(width=1, sizes=(), constraint="spectral"),
    inputs=lambda: _inputs([[1.0], [-1.0], [2.0], [-2.0]], [3.0, 4.0]),
    expected=dict(dependency=0.0, critic_slope=1.0, loss=math.log(2)),
    source="by hand: f is additive; its slope of 5 is brought to 1",
  ),
  Case(
    name="a slope of 5 pays for the 4 above 1",
    hyper=dict(width=1, sizes=(), penalty=0.5),
    inputs=lambda: _inputs([[1.0], [-1.0], [2.0], [-2.0]], [3.0, 4.0]),
    expected=dict(slope_penalty=16.0, critic_slope=5.0, loss=math.log(2) + 8.0),
    source="by hand",
  ),
)
