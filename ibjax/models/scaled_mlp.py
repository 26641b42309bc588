"""Multi-layer perceptron with a chosen scale of its initial weights, for information planes.

Source: Shwartz-Ziv and Tishby 2017 (arXiv:1703.00810); Saxe et al. 2018; Chelombiev et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.types import Case, Model, Scalar
from ibjax.models import mlp as mlp_lib

Array = jax.Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  **mlp_lib.ACTIVATIONS,
  "swish": jax.nn.silu,
  "softplus": jax.nn.softplus,
  "softsign": jax.nn.soft_sign,
  "absolute": jnp.abs,
  "linear": lambda x: x,
}
FANS = ("fan_in", "fan_out")
CUT = 2.0  # standard deviations at which the normal distribution is cut


class _ScaledMlp(nn.Module):
  hidden: tuple[int, ...]
  out: int
  activation: str
  activate_out: bool
  fan: str
  gain: Scalar
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    activate = ACTIVATIONS[self.activation]
    x = x.reshape(x.shape[0], -1).astype(self.dtype)
    widths = (*self.hidden, self.out)
    for index, width in enumerate(widths):
      dense = nn.Dense(
        width,
        dtype=self.dtype,
        param_dtype=jnp.float32,
        kernel_init=self._initial,
        name=f"dense_{index}",
      )
      x = dense(x)
      if index < len(widths) - 1 or self.activate_out:
        x = activate(x)
    return x

  def _initial(self, key: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    units = shape[FANS.index(self.fan)]
    scale = jnp.asarray(self.gain, dtype) / jnp.sqrt(jnp.asarray(units, dtype))
    return scale * jax.random.truncated_normal(key, -CUT, CUT, shape, dtype)


def scaled_mlp(
  hidden: tuple[int, ...] = (10, 7, 5, 4),
  out: int = 3,
  activation: str = "tanh",
  activate_out: bool = False,
  fan: str = "fan_in",
  gain: Scalar = 1.0,
  dtype: str = "float32",
) -> Model:
  """Fully connected layers whose initial weights have a chosen scale; inputs are flattened.

  Formula: h_{l+1} = activation(W_l h_l + b_l), W_l ~ s N(0, 1) cut at 2 s, s = gain / sqrt(fan),
  b_l = 0. The standard deviation of what is left after the cut is 0.88 s, as in the programs of
  the papers named below.

  Args:
    hidden: widths of the hidden layers; () gives a linear map.
    out: width of the output.
    activation: one of `ACTIVATIONS`: those of `mlp`, and swish (silu by another name), softplus,
      softsign, absolute, linear.
    activate_out: apply the activation to the output too.
    fan: "fan_in" (Shwartz-Ziv and Tishby, Chelombiev et al.) or "fan_out" (Saxe et al.).
    gain: multiplies the scale; 2 for activations other than tanh in Chelombiev et al.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`.

  Raises:
    InputError: an unknown activation, fan or dtype, a width below 1, a gain of 0 or less.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.scaled_mlp import scaled_mlp
    >>> model = scaled_mlp(hidden=(400,), out=3, activation="softplus", gain=2.0)
    >>> params, _ = model.init(jax.random.key(0), jnp.zeros((1, 100)))
    >>> bool(abs(jnp.std(params["dense_0"]["kernel"]) - 0.88 * 0.2) < 0.002)
    True

  Source: Shwartz-Ziv and Tishby 2017 (arXiv:1703.00810), section 3.1; Saxe et al. 2018 and
  Chelombiev et al. 2019 (arXiv:1902.09037) for the other scales and activations.
  """
  checks.one_of("activation", activation, tuple(ACTIVATIONS))
  checks.one_of("fan", fan, FANS)
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  for width in (*hidden, out):
    checks.at_least("a layer's width", width, 1)
  checks.at_least("gain", gain, 0.0, strict=True)
  module = _ScaledMlp(tuple(hidden), out, activation, activate_out, fan, gain, jnp.dtype(dtype))

  def init(key, x):
    return module.init(key, x)["params"], {}

  def apply(params, state, x, *, key, train):
    del key, train  # nothing random
    return module.apply({"params": params}, x), state

  return Model(init, apply)


CASES = (
  Case(
    name="identity weights, softplus at the output too",
    hyper=dict(hidden=(), out=2, activation="softplus", activate_out=True),
    inputs=lambda: dict(
      params={"dense_0": {"kernel": jnp.eye(2), "bias": jnp.array([0.0, -3.0])}},
      x=jnp.array([[0.0, 3.0]]),
    ),
    expected=dict(out=[[0.6931471805599453, 0.6931471805599453]]),
    source="by hand: softplus(0) = ln 2",
  ),
  Case(
    name="absolute values between layers",
    hyper=dict(hidden=(2,), out=2, activation="absolute"),
    inputs=lambda: dict(
      params={f"dense_{i}": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)} for i in (0, 1)},
      x=jnp.array([[-1.0, 2.0]]),
    ),
    expected=dict(out=[[1.0, 2.0]]),
    source="by hand",
  ),
)
