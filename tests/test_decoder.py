"""The decoder: causal, equal to the formulas written out in numpy, the same with a cache."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, InputError
from ibjax.models.attention import rotate
from ibjax.models.capture import recording
from ibjax.models.decoder import decoder
from ibjax.models.sites import matching, replacing

SIZES = dict(layers=2, width=8, heads=4, kv_heads=2, hidden=12, out=7)
TOKENS = jnp.array([[3, 0, 6, 6, 1], [2, 2, 5, 4, 0]])


@functools.cache
def model_and_params(**hyper):
  model = decoder(**{**SIZES, **hyper})
  params, _ = model.init(jax.random.key(0), TOKENS)
  return model, params


def logits(tokens, params=None, **hyper):
  model, own = model_and_params(**hyper)
  return model.apply(own if params is None else params, {}, tokens, key=None, train=False)[0]


def by_hand(params, tokens, sizes=SIZES):
  """The formulas of the docstrings, token by token, in float64."""
  p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  width, heads, kv_heads = sizes["width"], sizes["heads"], sizes["kv_heads"]
  d = width // heads

  def norm(x, weights):
    return x / np.sqrt(np.mean(x**2) + 1e-6) * weights["scale"]

  def turn(x, t):
    out = np.empty(d)
    for j in range(d // 2):
      z = complex(x[j], x[j + d // 2]) * np.exp(1j * t * 10_000.0 ** (-2 * j / d))
      out[j], out[j + d // 2] = z.real, z.imag
    return out

  def gelu(x):  # the tanh form
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

  out = []
  for row in np.asarray(tokens):
    h = [p["embed"]["embedding"][token] * np.sqrt(width) for token in row]
    for layer in range(sizes["layers"]):
      block = p[f"block_{layer}"]
      a, normed = block["attention"], [norm(x, block["norm_attention"]) for x in h]
      q, k, v = ([x @ a[n]["kernel"] for x in normed] for n in ("query", "key", "value"))
      for t in range(len(row)):
        made = []
        for i in range(heads):
          g = slice(i * kv_heads // heads * d, (i * kv_heads // heads + 1) * d)
          mine = turn(q[t][i * d : (i + 1) * d], t)
          scores = np.array([mine @ turn(k[s][g], s) / np.sqrt(d) for s in range(t + 1)])
          weights = np.exp(scores) / np.exp(scores).sum()
          made.append(sum(w * v[s][g] for s, w in enumerate(weights)))
        h[t] = h[t] + np.concatenate(made) @ a["output"]["kernel"]
      h = [
        x
        + gelu(norm(x, block["norm_mlp"]) @ block["mlp"]["hidden"]["kernel"])
        @ block["mlp"]["output"]["kernel"]
        for x in h
      ]
    out.append([p["embed"]["embedding"] @ norm(x, p["norm"]) for x in h])
  return np.array(out)


def test_it_is_the_formulas_written_out():
  _, params = model_and_params()
  np.testing.assert_allclose(logits(TOKENS), by_hand(params, TOKENS), rtol=1e-4, atol=1e-5)


def test_a_later_token_changes_no_earlier_logits_and_every_later_ones():
  changed = logits(TOKENS.at[:, 3].set(2))
  before = logits(TOKENS)
  np.testing.assert_array_equal(changed[:, :3], before[:, :3])
  assert bool((jnp.abs(changed[:, 3:] - before[:, 3:]).max(axis=-1) > 1e-6).all())


@pytest.mark.parametrize("hyper", [{}, dict(kv_heads=1, norm="layer", tied=False)])
def test_cached_decoding_is_the_full_forward(hyper):
  model, params = model_and_params(**hyper)
  whole = logits(TOKENS, **hyper)
  cache = model.start(2, 8)
  found = []
  for first, last in ((0, 2), (2, 3), (3, 5)):  # several tokens at once, and one
    part, cache = model.step(params, cache, TOKENS[:, first:last], first)
    found.append(part)
  np.testing.assert_allclose(jnp.concatenate(found, axis=1), whole, rtol=2e-5, atol=1e-6)
  assert sum(leaf.size for leaf in jax.tree.leaves(cache)) == 2 * 2 * 2 * 8 * model_kv(hyper) * 2


def model_kv(hyper):
  return hyper.get("kv_heads", SIZES["kv_heads"])


def test_products_of_rotated_vectors_depend_on_the_distance_alone():
  q, k = jax.random.normal(jax.random.key(1), (2, 1, 1, 1, 6))
  products = [
    float(jnp.sum(rotate(q, jnp.array([t + 3]), 100.0) * rotate(k, jnp.array([t]), 100.0)))
    for t in (0, 5, 40)
  ]
  np.testing.assert_allclose(products, products[0], rtol=1e-4)
  assert abs(float(jnp.sum(q * k)) - products[0]) > 1e-2


def test_layers_are_seen_and_replaced_by_their_paths():
  with recording() as record:
    whole = logits(TOKENS)
  assert record["block_1/attention/heads.out"].shape == (2, 5, 4, 2)
  for name in ("block_0/attention", "block_0/mlp", "block_1"):
    assert record[f"{name}.out"].shape == (2, 5, 8)
  residual = record["block_0.in"] + record["block_0/attention.out"] + record["block_0/mlp.out"]
  np.testing.assert_allclose(record["block_0.out"], residual, rtol=1e-5)
  with replacing({"block_0": lambda out: out}):
    np.testing.assert_array_equal(logits(TOKENS), whole)
  with replacing({"block_0": lambda out: record["block_1.in"][::-1]}):  # the other row's stream
    np.testing.assert_allclose(logits(TOKENS), whole[::-1], rtol=1e-5)


def test_patterns_of_sites_name_the_nearest_where_they_match_nothing():
  names = ("block_0/attention", "block_0/mlp")
  assert matching(("*/mlp", "block_0*"), names) == names
  with pytest.raises(ConfigError, match="block_0/mlp"):
    matching(("block_0/mpl",), names)


@pytest.mark.parametrize(
  ("hyper", "said"),
  [
    (dict(heads=3), "multiple of heads=3"),
    (dict(kv_heads=3), "kv_heads=3 does not divide heads=4"),
    (dict(head_dim=3), "must be even"),
    (dict(attention="grouped_querry"), "grouped_query"),
    (dict(out=0), "out is 0"),
  ],
)
def test_sizes_that_do_not_fit_are_said(hyper, said):
  with pytest.raises(InputError, match=said):
    decoder(**{**SIZES, **hyper})


def test_scaled_inputs_are_refused():
  with pytest.raises(InputError, match="expected integers"):
    logits(TOKENS / 255)
