"""Drawing text from a language model, token by token, from its cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.types import Tree

Array = jax.Array
Choose = Callable[[Array, Array], Array]


def at_temperature(temperature: float = 1.0) -> Choose:
  """How the next token is drawn: from the softmax of the logits over a temperature.

  Args:
    temperature: 0 takes the most likely token; 1 draws as the model says.

  Returns:
    `choose(logits [n, c], key) -> tokens [n]`. Another rule of this form, such as a truncation, can
    take its place in `generate`.

  Raises:
    InputError: a negative temperature.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.generation import at_temperature
    >>> at_temperature(0.0)(jnp.array([[0.0, 3.0, 1.0]]), jax.random.key(0)).tolist()
    [1]
  """
  checks.at_least("temperature", temperature, 0.0)

  def choose(logits: Array, key: Array) -> Array:
    if checks.is_concrete(temperature) and temperature == 0:
      return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    return jax.random.categorical(key, logits / temperature, axis=-1).astype(jnp.int32)

  return choose


def generate(
  model: Any,
  params: Tree,
  prompt: Array,
  length: int,
  key: Array,
  choose: Choose | None = None,
  within: Callable[[Array, Callable[[], Any]], Any] | None = None,
) -> Array:
  """Continues prompts.

  Args:
    model: an `ibjax.models.decoder.LanguageModel`.
    params: its parameters.
    prompt: [n, p] tokens, p >= 1.
    length: tokens of the result, the prompt's among them.
    key: of the draws.
    choose: as `at_temperature` gives it; draws as the model says when None.
    within: `within(position, call) -> call()`, what surrounds the model's call at a position, e.g.
      `ibjax.models.sites.replacing` with functions of the position.

  Returns:
    [n, length] int32: the prompt, and what was drawn after it.

  Raises:
    InputError: an empty prompt, or one longer than the result.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.decoder import decoder
    >>> from ibjax.models.generation import generate
    >>> model = decoder(layers=1, width=8, heads=2, kv_heads=1, hidden=8, out=5)
    >>> prompt = jnp.array([[0, 3]])
    >>> params, _ = model.init(jax.random.key(0), prompt)
    >>> generate(model, params, prompt, 6, jax.random.key(1)).shape
    (1, 6)
  """
  checks.shape("prompt", prompt, ("n", "p"))
  n, given = prompt.shape
  if not 1 <= given <= length:
    raise InputError(f"a prompt of {given} tokens cannot begin a result of {length}.")
  choose = choose or at_temperature()
  around = within or (lambda position, call: call())
  padded = jnp.zeros((n, length), jnp.int32).at[:, :given].set(prompt)

  def turn(carry, position):
    tokens, cache = carry
    last = jax.lax.dynamic_slice_in_dim(tokens, position, 1, axis=1)
    logits, cache = around(position, lambda: model.step(params, cache, last, position))
    drawn = choose(logits[:, 0].astype(jnp.float32), rng.stream(key, "token", position))
    next_ = jax.lax.dynamic_slice_in_dim(tokens, position + 1, 1, axis=1)[:, 0]
    kept = jnp.where(position + 1 < given, next_, drawn)
    tokens = jax.lax.dynamic_update_slice_in_dim(tokens, kept[:, None], position + 1, axis=1)
    return (tokens, cache), None

  carry = (padded, model.start(n, length))
  (tokens, _), _ = jax.lax.scan(turn, carry, jnp.arange(length - 1))
  return tokens
