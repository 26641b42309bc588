"""A trained decoder of grouped-query attention as one of latent attention, without training.

Keys of all heads become one key: per rotary frequency, a unitary change of basis over the heads,
which commutes with positions, gathers what varies into few components. The components that
positions must turn stay a rotary key; the others, and the values, become the latent, by principal
components.

Source: Meng et al. 2025, "TransMLA: multi-head latent attention is all you need"
(arXiv:2502.07864), as its published code has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core.errors import InputError
from ibjax.models.capture import recording
from ibjax.models.decoder import decoder

Array = jax.Array
Keywords = Mapping[str, Any]


class Converted(NamedTuple):
  """A converted decoder.

  Attributes:
    keywords: of `ibjax.models.decoder.decoder`.
    params: of that decoder.
    tails: [layers] the part of the second moment of balanced keys and values that the latent
      loses: the sum of the eigenvalues left out, divided by that of all.
    stilled: [layers] the part of the scores' second moment, summed over components, that lies in
      keys which positions turned and no longer turn; 0 where all are kept.
  """

  keywords: dict[str, Any]
  params: dict[str, Any]
  tails: np.ndarray
  stilled: np.ndarray


def second_moments(params: Any, keywords: Keywords, tokens: Array) -> list[np.ndarray]:
  """E[x x^T] of what enters the attention of each layer.

  Formula: mean over sequences and positions.

  Args:
    params: of the decoder.
    keywords: of `ibjax.models.decoder.decoder`, "out" among them.
    tokens: [n, t] to calibrate on, e.g. sequences of the training split.

  Returns:
    [width, width] float64 for each layer.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.decoder import decoder
    >>> from ibjax.models.latent_conversion import second_moments
    >>> keywords = dict(layers=2, width=8, heads=2, kv_heads=1, hidden=8, out=5)
    >>> tokens = jnp.array([[0, 3, 1]])
    >>> params, _ = decoder(**keywords).init(jax.random.key(0), tokens)
    >>> [moment.shape for moment in second_moments(params, keywords, tokens)]
    [(8, 8), (8, 8)]
  """

  @jax.jit
  def run(params: Any) -> list[Array]:
    with recording() as record:
      decoder(**keywords).apply(params, {}, tokens, key=None, train=False)
    return [record[f"block_{layer}/attention.in"] for layer in range(_layers(params))]

  found = []
  for given in run(params):
    x = np.asarray(given, np.float64).reshape(-1, given.shape[-1])
    found.append(x.T @ x / len(x))
  return found


def to_latent(
  params: Any,
  keywords: Keywords,
  moments: Sequence[np.ndarray],
  latent_rank: int,
  rotary_dim: int,
  context: int = 128,
) -> Converted:
  """Converts a decoder of grouped-query attention.

  Formula: per frequency l, E[conj(z)^T z] = U L U^H of the keys z [kv_heads] as complex numbers, a
  pair of dimensions each, and k' = z U; queries follow by U, so that scores do not change. The
  rotary key is the rotary_dim / 2 components (l, c) whose scores positions change most, E|k'|^2
  sum_i E|q'_i|^2 E_D |exp(i f_l D) - 1|^2 over distances D < context, summed over layers. With
  a = mean norm of values / mean norm of keys, the others k' and the values v make the latent
  P^T [a k', v], P [.., latent_rank] the leading eigenvectors of its second moment: no projection of
  that rank leaves a smaller mean square error, which is the sum of the eigenvalues left out.
  sqrt((head_dim + rotary_dim) / head_dim) goes into the queries.

  Exact for rotary_dim = kv_heads head_dim (no position is stilled) and latent_rank of at least
  min(width, kv_heads head_dim). Below, two things are approximate: components that are not in the
  rotary key are compared as if query and key stood at one place, and the latent is cut.

  Use it to start from a trained model; some training afterwards heals most of what is lost.

  Args:
    params: of the decoder.
    keywords: of `ibjax.models.decoder.decoder`, "out" among them; attention "grouped_query".
    moments: as `second_moments` gives them.
    latent_rank: of the latent, at most the smaller of width and 2 kv_heads head_dim - rotary_dim.
    rotary_dim: even, from 2 to kv_heads head_dim.
    context: distances that matter to the choice of components.

  Returns:
    A `Converted`. Its cache is latent_rank + rotary_dim numbers a token and layer, instead of
    2 kv_heads head_dim.

  Raises:
    InputError: another attention, moments of another model, a rank above the dimension, or rotary
      dimensions that are odd or too many.

  Example:
    >>> import jax, jax.numpy as jnp
    >>> from ibjax.models.decoder import decoder
    >>> from ibjax.models.latent_conversion import second_moments, to_latent
    >>> keywords = dict(layers=1, width=8, heads=2, kv_heads=2, hidden=8, out=5)
    >>> tokens = jnp.array([[0, 3, 1, 4]])
    >>> params, _ = decoder(**keywords).init(jax.random.key(0), tokens)
    >>> moments = second_moments(params, keywords, tokens)
    >>> found = to_latent(params, keywords, moments, latent_rank=8, rotary_dim=8)
    >>> a, b = (decoder(**k).apply(p, {}, tokens, key=None, train=False)[0]
    ...         for k, p in ((keywords, params), (found.keywords, found.params)))
    >>> bool(jnp.abs(a - b).max() < 1e-5)
    True

  Source: Meng et al. 2025 (arXiv:2502.07864): merged heads, rotation per frequency, balance, joint
  principal components, the scale in the queries. Theirs pools real and imaginary parts and turns
  both alike; a unitary basis, which holds at least as much, is ours, and so is the choice of
  components by what positions change (theirs keeps the first heads whole).
  """
  layers = [_Layer(params[f"block_{i}"]["attention"], keywords) for i in range(_layers(params))]
  kv_heads, size = layers[0].key.shape[1:]
  width = layers[0].key.shape[0]
  if len(moments) != len(layers) or any(np.shape(m) != (width, width) for m in moments):
    raise InputError(
      f"moments are {[list(np.shape(m)) for m in moments]}, expected {len(layers)} of "
      f"[{width}, {width}]: take those that `second_moments` gives of this decoder."
    )
  check_sizes(width, kv_heads, size, latent_rank, rotary_dim)
  base = float(keywords.get("rotary_base", 10_000))
  bases = [layer.bases(moment) for layer, moment in zip(layers, moments)]
  scores = [layer.scores(moment, basis) for layer, moment, basis in zip(layers, moments, bases)]
  counts = _choose(sum(scores) * _turned(size, base, context)[:, None], rotary_dim // 2)
  pairs = tuple(int(pair) for pair in np.repeat(np.arange(size // 2), counts))
  converted, tails, stilled = dict(params), [], []
  for i, (layer, moment, basis, score) in enumerate(zip(layers, moments, bases, scores)):
    attention, tail = layer.latent(moment, basis, counts, latent_rank)
    converted[f"block_{i}"] = {**params[f"block_{i}"], "attention": attention}
    tails.append(tail)
    kept = np.arange(kv_heads) < counts[:, None]
    stilled.append(1.0 - float(np.sum(score, where=kept) / np.sum(score)))
  new = {**keywords, "attention": "latent", "head_dim": size, "rotary_pairs": pairs}
  new |= dict(latent_rank=latent_rank, rotary_dim=rotary_dim)
  return Converted(new, converted, np.array(tails), np.array(stilled))


def check_sizes(width: int, kv_heads: int, size: int, latent_rank: int, rotary_dim: int) -> None:
  """Raises InputError where a decoder cannot be converted to a latent of these sizes.

  Args:
    width: of the decoder.
    kv_heads: its heads of keys and values.
    size: dimensions of a head.
    latent_rank: as in `to_latent`, and so is the next.
    rotary_dim: even.

  Raises:
    InputError: a rank above the dimension, or rotary dimensions that are odd or too many.
  """
  if rotary_dim % 2 or not 2 <= rotary_dim <= kv_heads * size:
    raise InputError(
      f"rotary_dim={rotary_dim} must be even and lie in 2..{kv_heads * size}, the keys of "
      f"{kv_heads} heads of {size}."
    )
  most = min(width, 2 * kv_heads * size - rotary_dim)
  if not 1 <= latent_rank <= most:
    raise InputError(
      f"latent_rank={latent_rank} must lie in 1..{most}: that many dimensions the values of "
      f"{kv_heads} heads of {size} have, and the keys beside the rotary ones."
    )


class _Layer:
  """The kernels of one attention by heads, in float64."""

  def __init__(self, attention: Any, keywords: Keywords):
    if "key" not in attention:
      raise InputError(
        "to_latent converts attention='grouped_query'; this decoder has "
        f"attention='{keywords.get('attention')}'."
      )
    heads = int(keywords.get("heads", 4))
    kv_heads = int(keywords.get("kv_heads", 4))
    kernel = {name: np.asarray(part["kernel"], np.float64) for name, part in attention.items()}
    width = kernel["query"].shape[0]
    self.query, self.output = kernel["query"].reshape(width, heads, -1), attention["output"]
    self.key = kernel["key"].reshape(width, kv_heads, -1)
    self.value = kernel["value"].reshape(width, kv_heads, -1)
    self.group = np.arange(heads) // (heads // kv_heads)

  def bases(self, moment: np.ndarray) -> np.ndarray:
    """[pairs, kv_heads, components] unitary, the component of most variance first."""
    z = _complex(self.key)
    gram = np.einsum("dgl,de,ehl->lgh", z.conj(), moment, z)
    return np.linalg.eigh(gram)[1][:, :, ::-1]

  def scores(self, moment: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """[pairs, components] of E|k'|^2 sum_i E|q'_i|^2."""
    key = np.einsum("dgl,lgc->dlc", _complex(self.key), basis)
    query = np.einsum("dil,lic->dilc", _complex(self.query), basis[:, self.group])
    key_square = np.einsum("dlc,de,elc->lc", key.conj(), moment, key).real
    query_square = np.einsum("dilc,de,eilc->lc", query.conj(), moment, query, optimize=True).real
    return key_square * query_square

  def latent(
    self, moment: np.ndarray, basis: np.ndarray, counts: np.ndarray, rank: int
  ) -> tuple[dict[str, Any], float]:
    """The parameters of the latent attention, and the part of the moment that it loses."""
    width, _, size = self.query.shape
    key = np.einsum("dgl,lgc->dlc", _complex(self.key), basis)
    query = np.einsum("dil,lic->dilc", _complex(self.query), basis[:, self.group])
    turned = np.arange(basis.shape[-1]) < counts[:, None]
    still = _real(key[:, ~turned])
    values = self.value.reshape(width, -1)
    balance = _mean_norm(values, moment) / _mean_norm(still, moment) if still.size else 1.0
    joint = np.concatenate([balance * still, values], axis=1)
    eigenvalues, vectors = np.linalg.eigh(joint.T @ moment @ joint)
    leading = vectors[:, ::-1][:, :rank]
    lost = np.sum(np.maximum(eigenvalues[: len(eigenvalues) - rank], 0.0))
    # The latent's share of each component's key, back in the heads' own bases.
    parts = np.zeros((rank, *turned.shape), complex)
    first, second = np.split(leading[: still.shape[1]].T / balance, 2, axis=1)
    parts[:, ~turned] = first + 1j * second
    up_key = np.einsum("rlc,lic->ril", parts, basis[:, self.group].conj())
    up_value = leading[still.shape[1] :].T.reshape(rank, *self.value.shape[1:])[:, self.group]
    rotary = _real(query[:, :, turned])
    scale = np.sqrt((size + rotary.shape[-1]) / size)
    found = {
      "query": {"kernel": scale * self.query.reshape(width, -1)},
      "rotary_query": {"kernel": scale * rotary.reshape(width, -1)},
      "rotary_key": {"kernel": _real(key[:, turned])},
      "down": {"kernel": joint @ leading},
      "up_key": _real(up_key),
      "up_value": up_value,
    }
    found = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), found)
    return {**found, "output": self.output}, float(lost / np.sum(np.maximum(eigenvalues, 0.0)))


def _complex(kernel: np.ndarray) -> np.ndarray:
  """[..., d] as [..., d/2] complex: dimensions j and j + d/2 are a pair, as `rotate` has them."""
  first, second = np.split(kernel, 2, axis=-1)
  return first + 1j * second


def _real(kernel: np.ndarray) -> np.ndarray:
  return np.concatenate([kernel.real, kernel.imag], axis=-1)


def _mean_norm(kernel: np.ndarray, moment: np.ndarray) -> float:
  """The mean over columns of the root mean square of x^T kernel."""
  squares = np.einsum("dc,de,ec->c", kernel, moment, kernel)
  return float(np.mean(np.sqrt(np.maximum(squares, 0.0))))


def _turned(size: int, base: float, context: int) -> np.ndarray:
  """[pairs] of E|exp(i f D) - 1|^2 over the distances of pairs of positions below `context`."""
  frequency = base ** (-2.0 * np.arange(size // 2) / size)
  distance = np.arange(context)
  weight = (context - distance) / np.sum(context - distance)
  return (2.0 - 2.0 * np.cos(frequency[:, None] * distance)) @ weight


def _choose(damage: np.ndarray, count: int) -> np.ndarray:
  """[pairs]: how many leading components of each pair are among the `count` of most damage."""
  # A component is kept after those that vary more, so it counts no more than they do.
  least = np.minimum.accumulate(damage, axis=1).ravel()
  kept = np.argsort(-least, kind="stable")[:count]
  return np.bincount(kept // damage.shape[1], minlength=len(damage))


def _layers(params: Any) -> int:
  return sum(name.startswith("block_") for name in params)
