"""A network and its self-pruned twin, side by side on the same input.

Source: Chang et al. 2023, "Contrastive variational information bottleneck for aspect-based
sentiment analysis" (arXiv:2303.02846).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ibjax.core import rng
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Model, Scalar
from ibjax.models.gated_mlp import gated_mlp
from ibjax.models.mlp import mlp

Array = jax.Array


def twin_mlp(
  hidden: tuple[int, ...] = (256, 256),
  out: int = 20,
  activation: str = "relu",
  init_log_variance: Scalar = -9.0,
  threshold: Scalar = 0.0,
  dtype: str = "float32",
) -> Model:
  """Encodes the input twice: by a network with gates that prune it, and by one without.

  Formula: out = (gated_mlp(x), mlp(x)), each of half the width, with parameters of their own.

  Args:
    hidden: widths of the hidden layers of each.
    out: width of both outputs together, even.
    activation: relu, tanh, elu, gelu, silu or leaky_relu.
    init_log_variance: see `ibjax.models.gated_mlp`; may be traced.
    threshold: see `ibjax.models.gated_mlp`; may be traced.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`, the pruned network's output
    first, and its state.

  Raises:
    InputError: an odd width, or what either network refuses.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.twin_mlp import twin_mlp
    >>> model = twin_mlp(hidden=(8,), out=6)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 4)))
    >>> sorted(params), model.apply(params, state, jnp.ones((2, 4)), key=None, train=True)[0].shape
    (['original', 'pruned'], (2, 6))

  Source: Chang et al. 2023 (arXiv:2303.02846), the original and the self-pruned network.
  """
  if out % 2:
    raise InputError(
      f"twin_mlp gives two codes of one width, and its output is to be {out}, an odd number. Use "
      "config.bottleneck.fn='ibjax.bottlenecks.twin:twin', which takes two."
    )
  twins = {
    "pruned": gated_mlp(hidden, out // 2, activation, init_log_variance, threshold, dtype),
    "original": mlp(hidden, out // 2, activation, dtype=dtype),
  }

  def init(key, x):
    made = {name: model.init(rng.stream(key, name), x) for name, model in twins.items()}
    return {name: params for name, (params, _) in made.items()}, made["pruned"][1]

  def apply(params, state, x, *, key, train):
    pruned, state = twins["pruned"].apply(params["pruned"], state, x, key=key, train=train)
    original, _ = twins["original"].apply(params["original"], {}, x, key=key, train=train)
    return jnp.concatenate([pruned, original], axis=-1), state

  return Model(init, apply)


def _kernel(value: float):
  return {"kernel": jnp.array([[value]]), "bias": jnp.zeros(1)}


CASES = (
  Case(
    name="the pruned code first",
    hyper=dict(hidden=(), out=2),
    inputs=lambda: dict(
      params={
        "pruned": {
          "dense_0": {
            **_kernel(2.0),
            "gate": {"mean": jnp.array([0.5]), "log_variance": jnp.array([-9.0])},
          }
        },
        "original": {"dense_0": _kernel(3.0)},
      },
      x=jnp.array([[10.0]]),
    ),
    expected=dict(out=[[10.0, 30.0]]),
    source="by hand: a gate of 1/2 on 2 x, and 3 x",
  ),
)
