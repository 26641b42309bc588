"""A transformer decoder over tokens.

Source: Vaswani et al. 2017 (arXiv:1706.03762), with the norm before each part, Xiong et al. 2020
(arXiv:2002.04745).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Case, Tree
from ibjax.models.attention import GroupedQueryAttention, Shape, dense
from ibjax.models.latent_attention import LatentAttention, check_shape
from ibjax.models.nested_cache import NestedCacheAttention

Array = jax.Array

# The attentions there are, by name; `ibjax.models.attention` says what one must do.
ATTENTIONS = {
  "grouped_query": GroupedQueryAttention,
  "latent": LatentAttention,
  "nested_cache": NestedCacheAttention,
}
NORMS = ("rms", "layer")


class LanguageModel(NamedTuple):
  """A `Model` over tokens that can also go on from where it was.

  Attributes:
    init: `init(key, tokens [n, t]) -> (params, state)`.
    apply: `apply(params, state, tokens [n, t], *, key, train) -> (logits [n, t, out], state)`.
    start: `start(n, length) -> cache`, empty, for n sequences of at most `length` tokens.
    step: `step(params, cache, tokens [n, t], position) -> (logits [n, t, out], cache)`: the tokens
      at position, position + 1, ..., after all that were given before.
    random: whether `apply` draws weights at evaluation; it does not.
  """

  init: Callable[..., tuple[Tree, Tree]]
  apply: Callable[..., tuple[Array, Tree]]
  start: Callable[[int, int], Tree]
  step: Callable[..., tuple[Array, Tree]]
  random: bool = False


class _Mlp(nn.Module):
  width: int
  hidden: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x: Array) -> Array:
    hidden = jax.nn.gelu(dense(self.hidden, self.dtype, "hidden")(x))
    return dense(self.width, self.dtype, "output")(hidden)


class _Block(nn.Module):
  attention: str
  shape: Shape
  hidden: int
  norm: str

  @nn.compact
  def __call__(self, x: Array, positions: Array, cache_length: int) -> Array:
    dtype = self.shape.dtype
    attend = ATTENTIONS[self.attention](self.shape, name="attention")
    x = x + attend(_norm(self.norm, dtype, "norm_attention")(x), positions, cache_length)
    change = _Mlp(self.shape.width, self.hidden, dtype, name="mlp")
    return x + change(_norm(self.norm, dtype, "norm_mlp")(x))


class _Decoder(nn.Module):
  layers: int
  attention: str
  shape: Shape
  hidden: int
  norm: str
  tied: bool
  out: int

  @nn.compact
  def __call__(self, tokens: Array, positions: Array, cache_length: int = 0) -> Array:
    dtype = self.shape.dtype
    embed = nn.Embed(
      self.out,
      self.shape.width,
      dtype=dtype,
      param_dtype=jnp.float32,
      # So that the logits of tied tokens start with about unit variance.
      embedding_init=nn.initializers.normal(1.0 / math.sqrt(self.shape.width)),
      name="embed",
    )
    x = embed(tokens) * math.sqrt(self.shape.width)
    for layer in range(self.layers):
      block = _Block(self.attention, self.shape, self.hidden, self.norm, name=f"block_{layer}")
      x = block(x, positions, cache_length)
    x = _norm(self.norm, dtype, "norm")(x)
    return embed.attend(x) if self.tied else dense(self.out, dtype, "head")(x)


def decoder(
  layers: int = 4,
  width: int = 128,
  heads: int = 4,
  kv_heads: int = 4,
  head_dim: int = 0,
  hidden: int = 512,
  attention: str = "grouped_query",
  norm: str = "rms",
  tied: bool = True,
  rotary_base: int = 10_000,
  latent_rank: int = 0,
  rotary_dim: int = 0,
  rotary_pairs: tuple[int, ...] = (),
  out: int = 64,
  dtype: str = "float32",
) -> LanguageModel:
  """A causal transformer: tokens in, logits of the next token out, at every position.

  Formula: h = sqrt(width) E[token]; per layer h <- h + attention(norm(h)), h <- h + W' gelu(W
  norm(h)); logits = H norm(h), with H = E where tied. Norms scale by 1 / rms (`norm="rms"`), or
  centre too (`"layer"`); no layer but a centring norm has a bias.

  Submodules, for recording and splicing (`ibjax.models.capture`, `ibjax.models.sites`):
  "block_0/attention" (its output), "block_0/attention/heads" ([n, t, heads, head_dim], before the
  output projection), "block_0/mlp" (its output), "block_0/mlp/output" (enters: the hidden units),
  "block_0" (leaves: the residual stream), "norm", and "head" where it is not tied.

  Use it as the language model of `ibjax.programs.language`; a parameter is float32 always.

  Args:
    layers: of attention and MLP.
    width: of the residual stream.
    heads: query heads of the attention.
    kv_heads: heads of keys and values; divides `heads`.
    head_dim: of each head, even; 0 takes width / heads.
    hidden: units of each MLP.
    attention: a name of `ATTENTIONS`.
    norm: "rms" or "layer".
    tied: whether the head is the embedding's transpose.
    rotary_base: base of the rotary wavelengths.
    latent_rank: of the latent of `attention="latent"`, of which `kv_heads` says nothing.
    rotary_dim: of the key that its positions turn, which all heads share; even.
    rotary_pairs: which pairs of a head lend its pairs their frequencies, as a conversion has them
      (`ibjax.models.latent_conversion`); () spreads them evenly.
    out: how many tokens there are.
    dtype: compute type, "float32" or "bfloat16".

  Returns:
    A `LanguageModel`.

  Raises:
    InputError: a size below 1, heads that do not divide, an odd head, an unknown name, or tokens
      that are not [n, t] integers.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.decoder import decoder
    >>> model = decoder(layers=1, width=8, heads=2, kv_heads=1, hidden=8, out=5)
    >>> tokens = jnp.array([[0, 3, 1]])
    >>> params, state = model.init(jax.random.key(0), tokens)
    >>> model.apply(params, state, tokens, key=None, train=False)[0].shape
    (1, 3, 5)

  Source: Vaswani et al. 2017 (arXiv:1706.03762); norm before each part, Xiong et al. 2020
  (arXiv:2002.04745); root-mean-square norm, Zhang and Sennrich 2019 (arXiv:1910.07467).
  """
  sizes = dict(layers=layers, width=width, heads=heads, kv_heads=kv_heads, hidden=hidden, out=out)
  for name, size in {**sizes, "rotary_base": rotary_base}.items():
    checks.at_least(name, size, 1)
  checks.at_least("head_dim", head_dim, 0)
  checks.one_of("attention", attention, tuple(ATTENTIONS))
  checks.one_of("norm", norm, NORMS)
  checks.one_of("dtype", dtype, ("float32", "bfloat16"))
  if not head_dim and width % heads:
    raise InputError(f"width={width} is not a multiple of heads={heads}; set head_dim, or change.")
  if heads % kv_heads:
    raise InputError(f"kv_heads={kv_heads} does not divide heads={heads}; each serves as many.")
  size = head_dim or width // heads
  if size % 2:
    raise InputError(f"a head has {size} dimensions, which rotary positions pair: it must be even.")
  shape = Shape(width, heads, kv_heads, size, float(rotary_base), jnp.dtype(dtype))
  if attention == "latent":
    shape = dataclasses.replace(
      shape,
      latent_rank=latent_rank,
      rotary_dim=rotary_dim,
      rotary_pairs=tuple(int(pair) for pair in rotary_pairs),
    )
    check_shape(shape)
  elif latent_rank or rotary_dim or rotary_pairs:
    raise InputError(
      f"latent_rank and rotary_dim are sizes of attention='latent', and attention='{attention}'."
    )
  module = _Decoder(layers, attention, shape, hidden, norm, tied, out)

  def init(key, tokens):
    return module.init(key, _tokens(tokens), jnp.arange(tokens.shape[1]))["params"], {}

  def apply(params, state, tokens, *, key, train):
    tokens = _tokens(tokens)
    return module.apply({"params": params}, tokens, jnp.arange(tokens.shape[1])), state

  def start(n, length):
    checks.at_least("the length of a cache", length, 1)
    given = (jax.random.key(0), jnp.zeros((n, 1), jnp.int32), jnp.arange(1), length)
    shapes = jax.eval_shape(lambda: module.init(*given))["cache"]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

  def step(params, cache, tokens, position):
    tokens = _tokens(tokens)
    length = jax.tree.leaves(cache)[0].shape[1]
    positions = position + jnp.arange(tokens.shape[1])
    variables = {"params": params, "cache": cache}
    logits, new = module.apply(variables, tokens, positions, length, mutable=["cache"])
    return logits, new["cache"]

  return LanguageModel(init, apply, start, step)


def _norm(kind: str, dtype: jnp.dtype, name: str) -> nn.Module:
  norm = nn.RMSNorm if kind == "rms" else nn.LayerNorm
  return norm(dtype=dtype, param_dtype=jnp.float32, name=name)


def _tokens(tokens: Array) -> Array:
  checks.shape("tokens", tokens, ("n", "t"))
  if not jnp.issubdtype(tokens.dtype, jnp.integer):
    raise InputError(
      f"tokens are {tokens.dtype}, expected integers. Give them as the source has them: scaling "
      "inputs, as for images, is not for tokens."
    )
  return tokens.astype(jnp.int32)


def _only_the_embedding():
  model = decoder(layers=1, width=2, heads=1, kv_heads=1, hidden=2, out=2)
  tokens = jnp.array([[0, 1]])
  params, _ = model.init(jax.random.key(0), tokens)
  params = jax.tree.map(jnp.zeros_like, params)
  params["embed"]["embedding"] = jnp.array([[3.0, 4.0], [1.0, 0.0]])
  params["norm"]["scale"] = jnp.ones(2)
  return dict(params=params, x=tokens)


CASES = (
  Case(
    name="without attention and MLP, a token's logits are its products with all tokens",
    hyper=dict(layers=1, width=2, heads=1, kv_heads=1, hidden=2, out=2),
    inputs=_only_the_embedding,
    # (3, 4) has rms sqrt(12.5), (1, 0) has rms sqrt(0.5).
    expected=dict(out=[[[25 / 12.5**0.5, 3 / 12.5**0.5], [3 / 0.5**0.5, 1 / 0.5**0.5]]]),
    source="by hand: E h / rms(h)",
    rtol=1e-4,
  ),
)
