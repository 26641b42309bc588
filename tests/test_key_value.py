"""The key-value bottleneck: what is fetched, what an update touches, and how keys are learned."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ibjax.bottlenecks.key_learning import consistent, learn, seed_keys
from ibjax.bottlenecks.key_value import key_value
from ibjax.core.errors import InputError
from ibjax.programs.lazy_adam import lazy_adam

RNG = np.random.default_rng(0)


@functools.cache  # so that tests of the same sizes share what is compiled
def started(**hyper):
  """(bottleneck with a compiled `apply`, params with values that differ, state)."""
  hyper = dict(dict(dim=3, width=6, heads=4, keys=8, key_dim=2, key_steps=0), **hyper)
  channel = key_value(**hyper)
  params, state = jax.jit(channel.init)(jax.random.key(0))
  values = np.random.default_rng(1).normal(size=params["values"].shape).astype(np.float32)
  apply = jax.jit(channel.apply, static_argnames="train")
  return channel._replace(apply=apply), {"values": jnp.asarray(values)}, state


def fetched(channel, params, state, x, train=False):
  return channel.apply(params, state, np.float32(x), key=jax.random.key(9), train=train)


update_keys = jax.jit(learn)
seeded = jax.jit(seed_keys, static_argnums=1)


def nearest_keys(rows, keys):
  distances = ((np.asarray(rows)[:, :, None] - np.asarray(keys)) ** 2).sum(-1)
  return jnp.asarray(distances.argmin(-1))


def by_loops(params, state, x, top_k, searched):
  """[n, heads, value] and [n, heads, k], one distance at a time."""
  values, keys = np.asarray(params["values"], np.float64), np.asarray(state["keys"], np.float64)
  projection = np.asarray(state["projection"], np.float64)
  out = np.zeros((len(x), len(keys), values.shape[-1]))
  chosen = []
  for i, row in enumerate(x.astype(np.float64)):
    chosen.append([])
    for c in range(len(keys)):
      distance = ((projection[c].T @ row - keys[c]) ** 2).sum(-1)
      allowed = np.flatnonzero(searched[c]) if searched[c].any() else np.arange(len(distance))
      best = allowed[np.argsort(distance[allowed], kind="stable")][:top_k]
      out[i, c] = values[c][best].mean(0)
      chosen[-1].append(best.tolist())
  return out, chosen


# What is fetched.


@pytest.mark.parametrize(("top_k", "decode"), [(1, "mean"), (3, "concatenated")])
def test_values_are_those_of_the_nearest_keys(top_k, decode):
  dim = 3 if decode == "mean" else 12
  channel, params, state = started(top_k=top_k, decode=decode, dim=dim)
  x = RNG.normal(size=(7, 6)).astype(np.float32)
  expected, chosen = by_loops(params, state, x, top_k, np.ones((4, 8), bool))
  code, _ = fetched(channel, params, state, x)
  flat = expected.mean(1) if decode == "mean" else expected.reshape(7, -1)
  np.testing.assert_allclose(code.value, flat, rtol=1e-5, atol=1e-6)
  assert code.aux["indices"].tolist() == chosen
  bits = 4 * math.log2(math.comb(8, top_k))
  np.testing.assert_allclose(code.bits, bits, rtol=1e-6)
  np.testing.assert_allclose(code.rate, bits * math.log(2), rtol=1e-6)


def test_columns_of_the_projection_have_unit_length():
  _, _, state = started()
  np.testing.assert_allclose(np.linalg.norm(state["projection"], axis=1), 1.0, rtol=1e-6)


def test_positions_share_keys_and_values():
  channel, params, state = started(positions=2)
  one, _, _ = started()
  x = RNG.normal(size=(5, 2, 6)).astype(np.float32)
  code, _ = fetched(channel, params, state, x.reshape(5, 12))
  parts = [fetched(one, params, state, x[:, p])[0] for p in range(2)]
  np.testing.assert_allclose(code.value, sum(p.value for p in parts) / 2, rtol=1e-6)
  assert code.aux["indices"].shape == (5, 8, 1) and code.bits[0] == 2 * parts[0].bits[0]


def test_chunks_are_the_features_themselves():
  channel, params, state = started(projection="chunks", width=8)
  x = np.asarray(state["keys"])[:, 5].reshape(1, 8)  # the sixth key of each head
  code, _ = fetched(channel, params, state, x)
  np.testing.assert_allclose(code.value[0], params["values"][:, 5].mean(0), rtol=1e-6)


# What was never hit in training.


def test_before_training_the_search_is_of_all_keys():
  channel, params, state = started()
  x = RNG.normal(size=(64, 6)).astype(np.float32)
  indices = fetched(channel, params, state, x)[0].aux["indices"]
  assert len(np.unique(np.asarray(indices)[:, 0])) > 3  # not all at the first key


def test_evaluation_searches_keys_that_training_hit():
  for top_k in (1, 3):
    channel, params, state = started(top_k=top_k)
    seen, x = RNG.normal(size=(3, 6)), RNG.normal(size=(40, 6))
    _, state = fetched(channel, params, state, seen, train=True)
    hit = np.asarray(state["hits"]) > 0
    hit[2] = False  # a head of which nothing was hit searches all its keys
    state = {**state, "hits": jnp.asarray(hit, jnp.int32)}
    expected, _ = by_loops(params, state, x, top_k, hit)
    code, _ = fetched(channel, params, state, x)
    np.testing.assert_allclose(code.value, expected.mean(1), rtol=1e-5, atol=1e-6)


def test_fewer_hit_keys_than_top_k_are_averaged_alone():
  channel, params, state = started(top_k=3)
  hits = jnp.zeros((4, 8), jnp.int32).at[:, 6].set(2)
  code, _ = fetched(channel, params, {**state, "hits": hits}, RNG.normal(size=(5, 6)))
  wanted = np.broadcast_to(np.asarray(params["values"])[:, 6].mean(0), (5, 3))
  np.testing.assert_allclose(code.value, wanted, rtol=1e-6)


def test_all_keys_are_searched_where_asked_for():
  channel, params, state = started(hit_only=False)
  hits = jnp.zeros((4, 8), jnp.int32).at[:, 6].set(2)
  x = RNG.normal(size=(5, 6)).astype(np.float32)
  expected, _ = by_loops(params, state, x, 1, np.ones((4, 8), bool))
  code, _ = fetched(channel, params, {**state, "hits": hits}, x)
  np.testing.assert_allclose(code.value, expected.mean(1), rtol=1e-5, atol=1e-6)


def test_equal_keys_are_one_key():
  channel, params, state = started()
  state = {**state, "keys": jnp.ones_like(state["keys"])}
  code, _ = fetched(channel, params, state, RNG.normal(size=(5, 6)))
  assert np.asarray(code.aux["indices"]).max() == 0


# What an update touches.


@pytest.mark.parametrize("make", [lambda: optax.sgd(5.0), lambda: lazy_adam(0.1)])
def test_rows_that_were_not_fetched_stay_bit_for_bit(make):
  channel, params, state = started()
  optimizer = make()
  moments = optimizer.init(params)
  touched = np.zeros((4, 8), bool)
  first = params

  @jax.jit
  def step(params, state, moments, x, y):
    def loss(params):
      code, new = channel.apply(params, state, x, key=jax.random.key(0), train=True)
      return jnp.mean(jnp.square(code.value - y)), (new, code.aux["indices"])

    grads, (state, indices) = jax.grad(loss, has_aux=True)(params)
    updates, moments = optimizer.update(grads, moments, params)
    return optax.apply_updates(params, updates), state, moments, indices

  for i in range(6):
    # The second half is of another place: its batches must not move what the first half fetched.
    x = RNG.normal(size=(4, 6)) * 0.1 + (3.0 if i < 3 else -3.0)
    before = params
    params, state, moments, indices = step(params, state, moments, x, RNG.normal(size=(4, 3)))
    now = np.zeros_like(touched)
    now[np.arange(4)[None], np.asarray(indices)[..., 0]] = True
    same = np.all(np.asarray(before["values"]) == np.asarray(params["values"]), axis=-1)
    assert not same[now].any() and same[~now].all()
    touched |= now
  assert touched.any() and not touched.all()
  untouched = np.asarray(params["values"])[~touched]
  assert np.array_equal(untouched, np.asarray(first["values"])[~touched])


def test_plain_adam_moves_rows_that_are_not_fetched():
  # Why there is lazy_adam: after one update, an entry without a gradient goes on moving.
  grads = [jnp.array([1.0, 1.0]), jnp.array([1.0, 0.0])]
  for adam, moves in ((optax.adam(0.1), True), (lazy_adam(0.1), False)):
    state = adam.init(jnp.zeros(2))
    for g in grads:
      updates, state = adam.update(g, state)
    assert (float(updates[1]) != 0) is moves


def test_lazy_adam_is_adam_where_every_entry_has_a_gradient():
  plain, lazy = optax.adam(0.1), lazy_adam(0.1)
  params = jnp.zeros(3)
  a, b = plain.init(params), lazy.init(params)
  for _ in range(4):
    g = jnp.asarray(RNG.normal(size=3), jnp.float32)
    (u, a), (v, b) = plain.update(g, a), lazy.update(g, b)
    np.testing.assert_allclose(u, v, rtol=1e-5)
  with pytest.raises(InputError, match="b1 is 1"):
    lazy_adam(b1=1.0)


def test_no_gradient_reaches_the_encoder_nor_values_while_keys_are_learned():
  channel, params, state = started(key_steps=5)

  @jax.jit
  def slope(params, x, state):
    def loss(params, x):
      code, _ = channel.apply(params, state, x, key=jax.random.key(0), train=True)
      return jnp.sum(jnp.square(code.value))

    return jax.grad(loss, argnums=(0, 1))(params, x)

  for step, moves in ((4, False), (5, True)):
    by_params, by_x = slope(params, jnp.ones((4, 6)), {**state, "step": jnp.int32(step)})
    assert not np.any(by_x) and np.any(by_params["values"]) == moves


# How keys are learned.


def test_averages_stay_those_of_the_keys_and_the_first_update_keeps_them():
  rows = jnp.asarray(RNG.normal(size=(50, 2, 3)) + 5.0, jnp.float32)
  state = consistent(seeded(rows, 10, jax.random.key(0)))
  first = state["keys"]
  for i in range(30):
    nearest = nearest_keys(rows, state["keys"])
    state = update_keys(state, rows, nearest, 0.9, 0.1, jax.random.key(i))
    wanted = state["counts"][..., None] * state["keys"]
    np.testing.assert_allclose(state["sums"], wanted, rtol=1e-5)
    np.testing.assert_allclose(jnp.sum(state["counts"], -1), 1.0, atol=0.15)
    if i == 0:  # each moved a tenth of the way to its rows' mean at most, give or take its share
      assert float(jnp.max(jnp.linalg.norm(state["keys"] - first, axis=-1))) < 1.0
      assert float(jnp.min(jnp.linalg.norm(state["keys"], axis=-1))) > 5.0


def test_a_key_without_rows_stays_exactly_where_it_is():
  state = consistent(jnp.asarray(RNG.normal(size=(1, 4, 2)), jnp.float32))
  rows = jnp.broadcast_to(state["keys"][0, 0], (8, 1, 2))
  moved = state
  for i in range(20):
    moved = update_keys(moved, rows, jnp.zeros((8, 1), jnp.int32), 0.95, 0.0, jax.random.key(i))
  assert np.array_equal(moved["keys"][0, 1:], state["keys"][0, 1:])
  np.testing.assert_allclose(moved["keys"][0, 0], state["keys"][0, 0], rtol=1e-5)


def test_a_dead_key_becomes_a_row_and_stays_there_at_the_next_update():
  # Trap: with the key replaced but not its sums, the next hit throws it back to where it was.
  far = jnp.full((1, 3, 2), 100.0).at[0, 0].set(0.0)
  state = {**consistent(far), "counts": jnp.array([[0.99, 1e-4, 1e-4]])}
  state["sums"] = state["counts"][..., None] * state["keys"]
  rows = jnp.asarray(RNG.normal(size=(6, 1, 2)) + 30.0, jnp.float32)
  after = update_keys(state, rows, jnp.zeros((6, 1), jnp.int32), 0.95, 0.1, jax.random.key(0))
  for j in (1, 2):
    assert np.any(np.all(np.asarray(rows[:, 0]) == np.asarray(after["keys"][0, j]), axis=-1))
  assert not np.array_equal(after["keys"][0, 1], after["keys"][0, 2])  # distinct rows
  nearest = nearest_keys(rows, after["keys"])
  again = update_keys(after, rows, nearest, 0.95, 0.1, jax.random.key(1))
  assert float(jnp.max(jnp.linalg.norm(again["keys"] - after["keys"], axis=-1))) < 0.5


def test_more_dead_keys_than_rows_never_fall_on_one_place():
  state = consistent(jnp.full((1, 6, 2), 50.0))
  state = {**state, "counts": jnp.zeros((1, 6)), "sums": jnp.zeros((1, 6, 2))}
  rows = jnp.asarray(RNG.normal(size=(2, 1, 2)), jnp.float32)
  after = update_keys(state, rows, jnp.zeros((2, 1), jnp.int32), 0.9, 0.5, jax.random.key(0))
  new = np.asarray(after["keys"][0])
  moved = [tuple(key) for key in new if key[0] < 40]
  assert len(moved) == len(set(moved)) == 3  # the one that was hit, and one for each row


def test_kmeans_plus_plus_takes_rows_of_all_clusters():
  centres = (
    np.array([[0, 0], [50, 0], [0, 50], [50, 50]]) + 1000.0
  )  # far from 0: no digits are lost
  rows = np.repeat(centres, 20, axis=0) + RNG.normal(size=(80, 2)) * 0.1
  rows = jnp.asarray(np.stack([rows, rows[::-1]], axis=1), jnp.float32)
  keys = np.asarray(seeded(rows, 4, jax.random.key(0)))
  for c in range(2):
    assert all(np.any(np.all(np.asarray(rows[:, c]) == k, axis=-1)) for k in keys[c])
    nearest = ((keys[c][:, None] - centres) ** 2).sum(-1).argmin(-1)
    assert sorted(nearest.tolist()) == [0, 1, 2, 3]
  drawn = {tuple(np.asarray(seeded(rows, 1, jax.random.key(i)))[0, 0].round(0)) for i in range(12)}
  assert len(drawn) > 1  # the first is drawn too
  repeated = seeded(jnp.ones((5, 1, 2)), 3, jax.random.key(0))  # more keys than distinct rows
  assert np.all(np.isfinite(repeated))


def test_learned_keys_come_to_the_data_and_are_then_frozen():
  centres = RNG.normal(size=(8, 6)).astype(np.float32) * 4.0
  channel, params, state = started(keys=16, key_steps=60, start="normal")

  def train(state, x, key):
    return channel.apply(params, state, x, key=key, train=True)[1]

  for i in range(60):
    x = centres[RNG.integers(0, 8, 64)] + 0.05 * RNG.normal(size=(64, 6))
    state = train(state, jnp.asarray(x, jnp.float32), jax.random.key(i))
    assert not np.any(state["hits"]) and float(state["metrics"]["keys_hit_frac"]) == 0
  heads = np.einsum("nw,cwd->ncd", centres, np.asarray(state["projection"]))
  gaps = ((heads[:, :, None] - np.asarray(state["keys"])) ** 2).sum(-1).min(-1) ** 0.5
  assert np.median(gaps) < 0.1 and np.mean(gaps < 0.3) > 0.85  # two centres may share a key
  frozen = train(state, jnp.asarray(x, jnp.float32), jax.random.key(0))
  for name in ("keys", "counts", "sums", "projection"):
    assert np.array_equal(frozen[name], state[name])
  assert int(frozen["hits"].sum()) == 64 * 4  # counted from here on
  assert 1.0 < float(frozen["metrics"]["key_perplexity"]) <= 16.0


def test_kmeans_start_settles_once_and_is_read_in_the_update():
  channel, params, state = started(start="kmeans++", keys=5)
  assert bool(channel.due(state))
  x = jnp.asarray(RNG.normal(size=(9, 6)), jnp.float32)
  _, settled = channel.settle(params, state, x, jax.random.key(0))
  assert not bool(channel.due(settled))
  heads = np.einsum("nw,cwd->ncd", x, state["projection"])
  for c in range(4):
    for k in np.asarray(settled["keys"][c]):
      assert np.min(np.abs(heads[:, c] - k).sum(-1)) < 1e-5
  np.testing.assert_allclose(settled["sums"], settled["counts"][..., None] * settled["keys"])


def test_eight_devices_learn_the_keys_of_one():
  channel, params, state = started(keys=16, key_steps=60, start="normal")  # as above
  x = jnp.asarray(RNG.normal(size=(64, 6)), jnp.float32)

  def learned(state, x):
    for i in range(3):
      _, state = channel.apply(params, state, x, key=jax.random.key(i), train=True)
    return state

  mesh = Mesh(np.array(jax.devices()), ("data",))
  parts = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
  one, eight = learned(state, x), learned(state, parts)
  for name in ("keys", "counts", "sums"):
    np.testing.assert_allclose(one[name], eight[name], rtol=1e-5, atol=1e-6)


# Bad input.


@pytest.mark.parametrize(
  ("hyper", "message"),
  [
    (dict(dim=10, heads=4, decode="concatenated"), "4 heads do not divide a code of dim=10"),
    (dict(width=10, heads=4, projection="chunks"), "4 heads of key_dim=2 are not chunks of"),
    (dict(width=12, heads=4, projection="chunks"), "Set key_dim=3"),
    (dict(top_k=9), "top_k=9 keys cannot be fetched of 8"),
    (dict(keys=0), "keys is 0"),
    (dict(start="kmean"), "Did you mean 'kmeans\\+\\+'"),
    (dict(decay=1.0), "decay is 1"),
    (dict(key_steps=-1), "key_steps is -1"),
  ],
)
def test_sizes_that_do_not_fit_are_explained(hyper, message):
  with pytest.raises(InputError, match=message):
    started(**hyper)


def test_more_keys_than_rows_and_features_of_another_width_are_explained():
  channel, params, state = started(start="kmeans++")
  with pytest.raises(InputError, match="choose 8 keys from the 5 rows"):
    channel.settle(params, state, jnp.ones((5, 6)), jax.random.key(0))
  with pytest.raises(InputError, match=r"features has shape \[5, 7\], expected \[any, 6\]"):
    fetched(channel, params, state, jnp.ones((5, 7)))


def test_nan_features_give_nan_and_no_value():
  channel, params, state = started()
  x = np.ones((3, 6), np.float32)
  x[1, 2] = np.nan
  value = np.asarray(fetched(channel, params, state, x)[0].value)
  assert np.isnan(value[1]).all() and np.isfinite(value[[0, 2]]).all()
