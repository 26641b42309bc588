"""Noise in the forward pass, so that a deterministic network has a finite mutual information."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax

from ibjax.core import checks, rng
from ibjax.core.types import Scalar

Array = jax.Array


def disturb(key: Array, x: Array, *, sigma: Scalar = 1e-3, relative: bool = True) -> Array:
  """Adds Gaussian noise to activations.

  Formula: x + sigma |x| e (relative) or x + sigma e (absolute), e ~ N(0, 1) for each entry.

  For a deterministic layer of continuous inputs I(X;T) is infinite, whatever the weights. With
  noise it is finite and depends on sigma: report sigma with every number. Relative noise does
  not depend on the units of x and leaves zeros (dead ReLUs) without noise; absolute noise makes
  growing weights look like growing information.

  Args:
    key: a typed random key.
    x: [...].
    sigma: standard deviation, of one part of |x| or in units of x; >= 0, may be traced.
    relative: which of the two.

  Returns:
    Same shape as x.

  Raises:
    InputError: a negative sigma.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.estimators.base.stochastic import disturb
    >>> float(disturb(jax.random.key(0), jnp.zeros(()), sigma=0.1))
    0.0

  Source: Goldfeld et al. 2019, "Estimating information flow in deep neural networks"
    (arXiv:1810.05728), absolute noise; Butakov et al. 2024, "Information bottleneck analysis of
    deep neural networks via lossy compression" (arXiv:2305.08013), relative noise.
  """
  checks.at_least("sigma", sigma, 0.0)
  noise = sigma * jax.random.normal(key, x.shape, x.dtype)
  return x + noise * abs(x) if relative else x + noise


def stochastic_layers(
  layers: Sequence[Callable[[Array], Array]],
  x: Array,
  key: Array,
  *,
  sigma: Scalar = 1e-3,
  relative: bool = True,
) -> list[Array]:
  """Runs a network with noise before every layer, in training and in measuring alike.

  Args:
    layers: the network as functions, the first takes x.
    x: [n, ...].
    key: a typed random key.
    sigma: see `disturb`.
    relative: see `disturb`.

  Returns:
    The output of every layer, in order; the noise a layer adds is in its own output, so
    X - T_1 - T_2 ... is a Markov chain and I(X;T_l) is finite.

  Raises:
    InputError: a negative sigma.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.estimators.base.stochastic import stochastic_layers
    >>> outs = stochastic_layers([jnp.tanh, jnp.sum], jnp.ones(3), jax.random.key(0), sigma=0.0)
    >>> [out.shape for out in outs]
    [(3,), ()]
  """
  outputs = []
  for number, layer in enumerate(layers):
    x = layer(disturb(rng.stream(key, "disturb", number), x, sigma=sigma, relative=relative))
    outputs.append(x)
  return outputs
