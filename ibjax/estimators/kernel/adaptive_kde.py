"""Adaptive kernel density estimation (aKDE): pairwise bounds whose noise follows the layer.

Source: Chelombiev, Houghton and O'Donnell 2019, "Adaptive estimators show information compression
in deep neural networks" (arXiv:1902.09037).
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.kernel.pairwise import pairwise


def adaptive_kde(
  relative: Scalar = 0.01,
  activity: str = "maximum",
  bound: str = "upper",
  block_size: int = 1024,
  devices: int | None = None,
) -> Estimator:
  """Bounds I(X;T) of a layer with noise in proportion to the layer's activity.

  Formula: `pairwise` with s = relative * a, where a is the largest |t| over all samples and units
  ("maximum"), or the root mean square deviation of the units from their means ("std").

  The layer is given as x. Without y the result is I(X;T), with labels y it is I(T;Y).

  Use it to compare layers, activations and epochs whose scales differ: c t has the same
  information as t for every c > 0. Bias: as of `pairwise`; `relative` takes the part of the
  variance, and one large outlier raises the noise of all under "maximum".

  Args:
    relative: standard deviation of the noise over the activity, > 0; may be traced.
    activity: "maximum", as published, or "std", which a translation does not change.
    bound: "upper" or "lower", as of `pairwise`.
    block_size: rows of a tile of pairs; memory is a few times its square.
    devices: over how many devices the rows are spread; None takes all.

  Returns:
    An `Estimator` of x [n, d] (the layer) and perhaps labels y [n]; its diagnostics hold
    "noise_std", s in the units of the layer. A layer that is zero everywhere has 0 nats.

  Raises:
    InputError: a `relative` that is not positive, another bound or activity.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.kernel.adaptive_kde import adaptive_kde
    >>> layer = np.random.default_rng(0).normal(size=(50, 3))
    >>> one, other = (adaptive_kde()(scale * layer).nats for scale in (1.0, 100.0))
    >>> abs(one - other) < 1e-4
    True

  Source: Chelombiev et al. 2019 (arXiv:1902.09037). The paper scales the noise with
  the maximum activity of the layer in each epoch; the constant is a choice, here 0.01.
  """
  checks.at_least("relative", relative, 0.0, strict=True)
  checks.one_of("activity", activity, ("maximum", "std"))
  fixed = pairwise(bound=bound, block_size=block_size, devices=devices)

  def value(x, y, z, key):
    layer = jnp.asarray(x, jnp.float32)
    if activity == "maximum":
      size = jnp.max(jnp.abs(layer))
    else:
      size = jnp.sqrt(jnp.mean(jnp.square(layer - jnp.mean(layer, axis=0))))
    std = relative * jnp.where(size > 0, size, 1.0)
    scaled = pairwise(jnp.square(std), bound, block_size, devices)
    return scaled.value(x, y, z, key)._replace(extra={"noise_std": std})

  return Estimator(
    name="adaptive_kde",
    value=value,
    y=fixed.y,
    bound=fixed.bound,
    bound_with_y=fixed.bound_with_y,
    no_interval=fixed.no_interval,
    invariances=("scale", "rows") + (("translation",) if activity == "std" else ()),
    jittable=True,
  )


CASES = (
  Case(
    name="two points, noise of half the maximum",
    hyper=dict(relative=0.5),
    inputs=lambda: dict(x=np.array([[0.0], [4.0]])),
    expected=dict(nats=-math.log((1 + math.exp(-16 / 8)) / 2), noise_std=2.0),
    source="closed form",
  ),
  Case(
    name="two points, noise of their standard deviation",
    hyper=dict(relative=1.0, activity="std", bound="lower"),
    inputs=lambda: dict(x=np.array([[0.0], [4.0]])),
    expected=dict(nats=-math.log((1 + math.exp(-16 / 32)) / 2), noise_std=2.0),
    source="closed form",
  ),
  Case(
    name="a dead layer",
    hyper=dict(),
    inputs=lambda: dict(x=np.zeros((5, 2))),
    expected=dict(nats=0.0),
    source="limit: all samples are one state",
  ),
)
TRUTHS = ()
NO_TRUTHS = "the noise depends on the samples, so no task has its information"
