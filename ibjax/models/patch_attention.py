"""Attention over the patches of all variates of a series at once.

Source: Yang et al. 2025, "Revisiting multivariate time series forecasting with missing values"
(arXiv:2509.23494).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Model

Array = jax.Array

_KERNEL = 3  # steps that a convolution looks at


class _PatchAttention(nn.Module):
  out: int
  patch: int
  width: int
  heads: int
  layers: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    n, variates = x.shape[0], x.shape[2]
    # Every patch of every variate is a short series of one number: [n, variates, patches, patch].
    x = jnp.swapaxes(x, 1, 2).reshape(n, variates, -1, self.patch, 1).astype(self.dtype)
    tokens = self._temporal(x)[..., -1, :].reshape(n, -1, self.width)
    tokens = tokens + sinusoids(tokens.shape[1], self.width).astype(self.dtype)
    given = dict(dtype=self.dtype, param_dtype=jnp.float32)
    for layer in range(self.layers):
      attention = nn.MultiHeadDotProductAttention(self.heads, name=f"attention_{layer}", **given)
      tokens = nn.LayerNorm(name=f"norm_{layer}", **given)(tokens + attention(tokens))
      hidden = jax.nn.relu(nn.Dense(2 * self.width, name=f"widen_{layer}", **given)(tokens))
      change = nn.Dense(self.width, name=f"narrow_{layer}", **given)(hidden)
      tokens = nn.LayerNorm(name=f"norm_out_{layer}", **given)(tokens + change)
    return nn.Dense(self.out, name="out", **given)(tokens.reshape(n, -1))

  def _temporal(self, x: Array) -> Array:
    """Causal convolutions of growing reach over the steps of each patch: [..., patch, width]."""
    for level in range(levels(self.patch)):
      # A convolution as a product with the steps before: XLA's own is slow on a CPU at this size.
      before = [_shifted(x, back * 2**level) for back in range(_KERNEL)]
      y = nn.Dense(self.width, dtype=self.dtype, param_dtype=jnp.float32, name=f"temporal_{level}")(
        jnp.concatenate(before, axis=-1)
      )
      x = jax.nn.relu(y) + (x if level else 0.0)
    return x


def patch_attention(
  patch: int = 6,
  width: int = 32,
  heads: int = 4,
  layers: int = 1,
  out: int = 10,
  dtype: str = "float32",
) -> Model:
  """Cuts each variate into patches, encodes each patch, and lets all of them attend to all.

  Formula: a variate's steps [t] are cut into t / patch patches; causal convolutions of three steps
  and doubling reach make a token [width] of each, to which the sinusoids of its place among all
  tokens are added; then `layers` times h <- LN(h + attention(h)), h <- LN(h + W relu(W' h)), over
  the tokens of all variates in one sequence; out = W [all tokens] + b. Cost grows with the square
  of variates times patches.

  Use it for series with missing values, of which one variate may tell what another lacks. A
  missing value is 0 like any other 0.

  Args:
    patch: steps in a patch; must divide the length of the series.
    width: of a token; must be a multiple of `heads`.
    heads: of the attention.
    layers: of attention; the paper has one over all tokens.
    out: width of the output.
    dtype: compute type, "float32" or "bfloat16"; parameters stay float32.

  Returns:
    A `Model`: `init(key, x [n, t, ...]) -> (params, state)` and
    `apply(params, state, x, *, key, train) -> (out [n, out], state)`; what follows the axis of
    time are the variates.

  Raises:
    InputError: a size below 1, a width that the heads do not divide, an unknown dtype, inputs
      without time and variates, or a length that patches do not divide.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.patch_attention import patch_attention
    >>> model = patch_attention(patch=4, width=8, heads=2, out=3)
    >>> params, state = model.init(jax.random.key(0), jnp.zeros((2, 12, 5)))
    >>> model.apply(params, state, jnp.zeros((2, 12, 5)), key=None, train=False)[0].shape
    (2, 3)

  Source: Yang et al. 2025 (arXiv:2509.23494), patching embedding and unified-variate attention.
  The sizes, and that the convolutions run within a patch, are ours.
  """
  for name, size in dict(patch=patch, width=width, heads=heads, layers=layers, out=out).items():
    checks.at_least(name, size, 1)
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  if width % heads:
    raise InputError(f"width={width} is not a multiple of heads={heads}; each head has its share.")
  module = _PatchAttention(out, patch, width, heads, layers, jnp.dtype(dtype))

  def series(x):
    if x.ndim < 3 or x.shape[1] % patch:
      raise InputError(
        f"x has shape {list(x.shape)}, expected [n, steps, variates] whose steps are a multiple of "
        f"patch={patch}. Set config.encoder.patch to a divisor of the steps."
      )
    return x.reshape(*x.shape[:2], -1)

  def init(key, x):
    return module.init(key, series(x))["params"], {}

  def apply(params, state, x, *, key, train):
    return module.apply({"params": params}, series(x)), state

  return Model(init, apply)


def levels(patch: int) -> int:
  """How many convolutions of three steps and doubling reach see a whole patch.

  Args:
    patch: steps in a patch.

  Returns:
    The least l >= 1 with 1 + 2 (1 + 2 + ... + 2^(l-1)) >= patch.

  Example:
    >>> from ibjax.models.patch_attention import levels
    >>> [levels(patch) for patch in (1, 3, 4, 7, 8)]
    [1, 1, 2, 2, 3]
  """
  found = 1
  while 2 ** (found + 1) - 1 < patch:
    found += 1
  return found


def sinusoids(places: int, width: int) -> Array:
  """Sines and cosines of a token's place, of wavelengths from 2 pi to 20,000 pi.

  Args:
    places: how many.
    width: of a code.

  Returns:
    [places, width] float32: sin(place / 10000^(2i/width)) in the first half, cosines in the rest.

  Source: Vaswani et al. 2017 (arXiv:1706.03762), section 3.5.
  """
  half = (width + 1) // 2
  angle = np.arange(places)[:, None] / 10_000.0 ** (np.arange(half) / half)
  code = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)[:, :width]
  return jnp.asarray(code, jnp.float32)


def _shifted(x: Array, steps: int) -> Array:
  """x [..., t, c] of so many steps before, 0 before the first."""
  pad = [(0, 0)] * (x.ndim - 2) + [(steps, 0), (0, 0)]
  return jnp.pad(x, pad)[..., : x.shape[-2], :]


def _zeros_but_the_bias():
  model = patch_attention(patch=2, width=2, heads=1, out=2)
  x = jnp.array([[[1.0], [2.0]]])
  params, _ = model.init(jax.random.key(0), x)
  params = jax.tree.map(jnp.zeros_like, params)
  params["out"] = {"kernel": jnp.eye(2), "bias": jnp.array([0.5, -3.0])}
  # The last norm passes on a token of two numbers as -1 and 1, in their order: cos 0 > sin 0.
  for name in ("norm_0", "norm_out_0"):
    params[name] = {"scale": jnp.ones(2), "bias": jnp.zeros(2)}
  return dict(params=params, x=x)


CASES = (
  Case(
    name="without weights a token is its place, which the norms bring to unit variance",
    hyper=dict(patch=2, width=2, heads=1, out=2),
    inputs=_zeros_but_the_bias,
    expected=dict(out=[[-1.0 + 0.5, 1.0 - 3.0]]),
    source="by hand: (sin 0, cos 0) = (0, 1), normalised twice to (-1, 1), plus the bias",
    rtol=1e-4,
  ),
)
