"""Networks whose slope is at most one, and the slopes of networks.

Between layers neighbours are sorted, which keeps the length of gradients; layers whose singular
values are all one keep it too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array
Tree = Any
_POWER_STEPS, _BJORCK_STEPS = 4, 8


def unit_layer(layer: Tree) -> Tree:
  """A layer with all singular values brought near one: slopes neither grow nor fade.

  Args:
    layer: {"w" [out, in], "b" [out]}.

  Returns:
    The same keys.

  Source: Miyato et al. 2018 (arXiv:1802.05957) for the norm; Anil et al. 2019 (arXiv:1811.05381),
  the iteration of Bjorck.
  """
  w = layer["w"]
  v = jnp.ones(w.shape[1])
  for _ in range(_POWER_STEPS):
    v = w.T @ (w @ v)
    v = v / jnp.maximum(jnp.linalg.norm(v), 1e-12)
  w = w / jnp.linalg.norm(w @ jax.lax.stop_gradient(v))
  tall = w.shape[0] >= w.shape[1]
  for _ in range(_BJORCK_STEPS):
    gram = w.T @ w if tall else w @ w.T
    w = 1.5 * w - 0.5 * (w @ gram if tall else gram @ w)
  return {"w": w, "b": layer["b"]}


def apply_sorting(params: Tree, pairs: Array) -> Array:
  """Applies a perceptron with sorting between its layers.

  Args:
    params: layers as `ibjax.estimators.base.networks.init_mlp` draws them, the hidden widths even.
    pairs: [n, d].

  Returns:
    [n], the first output.
  """
  h = pairs.T
  for i, layer in enumerate(params):
    if i:
      a, b = jnp.split(h, 2)
      h = jnp.concatenate([jnp.maximum(a, b), jnp.minimum(a, b)])
    h = layer["w"] @ h + layer["b"][:, None]
  return h[0]


def gradient_norms(params: Tree, pairs: Array) -> Array:
  """Lengths of the gradients of `apply_sorting` by its inputs.

  Args:
    params: layers as `ibjax.estimators.base.networks.init_mlp` draws them, the hidden widths even.
    pairs: [n, d].

  Returns:
    [n], never below 1e-6.
  """
  gradient = jax.vmap(jax.grad(lambda row: apply_sorting(params, row[None])[0]))(pairs)
  return jnp.sqrt(jnp.sum(jnp.square(gradient), axis=-1) + 1e-12)
