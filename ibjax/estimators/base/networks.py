"""Small networks as pure functions: perceptrons, and critics that score all pairs of rows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng

Array = jax.Array
Tree = Any
CRITICS = ("joint", "separable", "quadratic", "residual")


class Critic(NamedTuple):
  """A learned function of a pair.

  Attributes:
    init: `init(key, dx, dy) -> params`.
    apply: `apply(params, x [m, dx], y [n, dy]) -> [m, n]`, the score of every pair.
  """

  init: Callable[..., Tree]
  apply: Callable[..., Array]


def init_mlp(key: Array, sizes: tuple[int, ...]) -> Tree:
  """Draws the parameters of a multilayer perceptron.

  Args:
    key: a typed random key.
    sizes: widths from the input to the output, at least two.

  Returns:
    A list with a dictionary per layer: "w" [out, in], normal with variance 2 / in (1 / in in the
    last layer), and "b" [out], zero.
  """
  layers = []
  for i, (into, out) in enumerate(itertools.pairwise(sizes)):
    gain = math.sqrt((2.0 if i + 2 < len(sizes) else 1.0) / into)
    w = gain * rng.normal(rng.stream(key, "layer", i), (out, into))
    layers.append({"w": w, "b": jnp.zeros(out)})
  return layers


def apply_mlp(params: Tree, x: Array, activation: Callable[[Array], Array] = jax.nn.relu) -> Array:
  """Applies a multilayer perceptron; the last layer is linear.

  Args:
    params: of `init_mlp`.
    x: [n, in].
    activation: between layers.

  Returns:
    [n, out].

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.networks import apply_mlp, init_mlp
    >>> apply_mlp(init_mlp(jax.random.key(0), (3, 8, 2)), jnp.zeros((5, 3))).tolist()[0]
    [0.0, 0.0]
  """
  # The rows lie along the last axis, where they are contiguous: faster on CPUs for narrow layers.
  return _columns(params, x.T, activation).T


def _columns(params: Tree, h: Array, activation: Callable[[Array], Array]) -> Array:
  """[in, n] -> [out, n]."""
  for i, layer in enumerate(params):
    h = layer["w"] @ (h if i == 0 else activation(h)) + layer["b"][:, None]
  return h


def joint_critic(
  sizes: tuple[int, ...] = (16, 8), activation: Callable[[Array], Array] = jax.nn.relu
) -> Critic:
  """Makes a perceptron on the concatenation of x and y.

  Formula: f(x, y) = MLP([x, y]). The first layer is W_x x + W_y y, so it is computed for m + n
  rows, not for m n pairs; the pairs meet in the second.

  Args:
    sizes: widths of the hidden layers, at least one.
    activation: between layers.

  Returns:
    A `Critic`.

  Example:
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from ibjax.estimators.base.networks import joint_critic
    >>> critic = joint_critic()
    >>> params = critic.init(jax.random.key(0), 3, 2)
    >>> critic.apply(params, jnp.zeros((4, 3)), jnp.zeros((5, 2))).shape
    (4, 5)
  """

  def init(key, dx, dy):
    return init_mlp(key, (dx + dy, *sizes, 1))

  def apply(params, x, y):
    first, *rest = params
    m, n, dx = len(x), len(y), x.shape[1]
    a = first["w"][:, :dx] @ x.T + first["b"][:, None]
    b = first["w"][:, dx:] @ y.T
    h = activation(a[:, :, None] + b[:, None, :]).reshape(-1, m * n)
    return _columns(rest, h, activation).reshape(m, n)

  return Critic(init, apply)


def separable_critic(
  sizes: tuple[int, ...] = (16, 8),
  embedding: int = 8,
  activation: Callable[[Array], Array] = jax.nn.relu,
) -> Critic:
  """Makes a critic of two perceptrons whose outputs meet in an inner product.

  Formula: f(x, y) = g(x) . h(y). All m n pairs cost one matrix product.

  Args:
    sizes: widths of the hidden layers of g and of h.
    embedding: the width of g(x) and h(y).
    activation: between layers.

  Returns:
    A `Critic`.
  """

  def init(key, dx, dy):
    return {
      "x": init_mlp(rng.stream(key, "x"), (dx, *sizes, embedding)),
      "y": init_mlp(rng.stream(key, "y"), (dy, *sizes, embedding)),
    }

  def apply(params, x, y):
    return apply_mlp(params["x"], x, activation) @ apply_mlp(params["y"], y, activation).T

  return Critic(init, apply)


def quadratic_critic() -> Critic:
  """Makes the critic of jointly Gaussian data.

  Formula: f(x, y) = x' W y + x' A x + y' B y + c, which the log-ratio of Gaussians is.

  Returns:
    A `Critic`; it starts at zero.
  """

  def init(key, dx, dy):
    return {
      "w": jnp.zeros((dx, dy)),
      "a": jnp.zeros((dx, dx)),
      "b": jnp.zeros((dy, dy)),
      "c": jnp.zeros(()),
    }

  def apply(params, x, y):
    own_x = jnp.sum(x @ params["a"] * x, axis=1)
    own_y = jnp.sum(y @ params["b"] * y, axis=1)
    return x @ params["w"] @ y.T + own_x[:, None] + own_y[None, :] + params["c"]

  return Critic(init, apply)


def sum_critic(critics: tuple[Critic, ...]) -> Critic:
  """Makes the sum of critics.

  Args:
    critics: at least one.

  Returns:
    A `Critic`.
  """

  def init(key, dx, dy):
    return [one.init(rng.stream(key, "summand", i), dx, dy) for i, one in enumerate(critics)]

  def apply(params, x, y):
    scores = critics[0].apply(params[0], x, y)
    for one, own in zip(critics[1:], params[1:]):
      scores = scores + one.apply(own, x, y)
    return scores

  return Critic(init, apply)


def make_critic(kind: str = "joint", sizes: tuple[int, ...] = (16, 8)) -> Critic:
  """Makes a critic by its name.

  Args:
    kind: "joint" (a perceptron on the concatenation), "separable" (an inner product of two),
      "quadratic" (exact for Gaussians), or "residual" (joint plus quadratic).
    sizes: widths of the hidden layers; the embedding of "separable" has the last of them.

  Returns:
    A `Critic`.

  Raises:
    InputError: another name.
  """
  checks.one_of("critic", kind, CRITICS)
  if kind == "separable":
    return separable_critic(sizes, sizes[-1])
  if kind == "quadratic":
    return quadratic_critic()
  if kind == "residual":
    return sum_critic((quadratic_critic(), joint_critic(sizes)))
  return joint_critic(sizes)
