"""Quantisers: their mathematics against other routes, codebooks that use all codes, bad input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.bottlenecks import codebooks
from ibjax.bottlenecks.fsq import fsq
from ibjax.bottlenecks.gumbel import gumbel
from ibjax.bottlenecks.kmeans import kmeans
from ibjax.bottlenecks.lfq import entropies, lfq
from ibjax.bottlenecks.residual_vq import residual_vq
from ibjax.bottlenecks.sparse.quantised_top_k import quantised_top_k
from ibjax.bottlenecks.vq import vq
from ibjax.core.errors import InputError
from ibjax.core.types import Code, Outputs
from ibjax.objectives.wrappers.quantised import quantised
from ibjax.train.mesh import make_mesh

KEY = jax.random.key(0)


def trained_on(channel, batches, state=None, params=None):
  """Settles where that is due, and applies in training; returns (params, state, last code)."""
  params, state = channel.init(KEY) if state is None else (params, state)
  settle = jax.jit(channel.settle) if channel.settle else None
  apply = jax.jit(lambda p, s, x, k: channel.apply(p, s, x, key=k, train=True))
  code = None
  for i, x in enumerate(batches):
    key = jax.random.fold_in(KEY, i)
    if settle and channel.due(state):
      params, state = settle(params, state, x, key)
    code, state = apply(params, state, x, key)
  return params, state, code


# Their parts.


@pytest.mark.parametrize(("rows", "codes"), [(7, 5), (3001, 256)])
def test_the_nearest_code_is_that_of_all_distances(rows, codes):
  """The second size is cut into tiles that do not divide it."""
  assert (rows * codes > codebooks.TILE) == (rows > 1000)
  draws = np.random.default_rng(0)
  x, e = draws.normal(size=(2, rows, 4)), draws.normal(size=(2, codes, 4))
  found = jax.jit(jax.vmap(codebooks.nearest))(jnp.float32(x), jnp.float32(e))
  expected = [((a[:, None] - b) ** 2).sum(-1).argmin(-1) for a, b in zip(x, e)]
  assert np.mean(found == np.array(expected)) > 0.999  # a tie in float32 is none in float64
  np.testing.assert_array_equal(codebooks.nearest(jnp.ones((2, 1)), jnp.ones((3, 1))), [0, 0])


def test_moving_averages_are_those_of_a_loop_and_padding_counts_nothing():
  draws = np.random.default_rng(1)
  x, index = draws.normal(size=(6, 2)), np.array([0, 0, 2, 2, 2, 0])
  weights = np.array([1, 1, 1, 1, 0, 0.0])
  x[4] = np.nan
  counts, sums = codebooks.tally(jnp.array(index), jnp.float32(x), 3, jnp.float32(weights))
  np.testing.assert_allclose(counts, [2, 0, 2])
  np.testing.assert_allclose(sums, [x[0] + x[1], [0, 0], x[2] + x[3]], rtol=1e-6)
  n, m = codebooks.average(jnp.ones(3), counts, 0.9), codebooks.average(jnp.ones((3, 2)), sums, 0.9)
  moved = codebooks.centres(jnp.zeros((3, 2)), n, m)
  np.testing.assert_allclose(moved[0], (0.9 + 0.1 * (x[0] + x[1])) / 1.1, rtol=1e-6)
  np.testing.assert_allclose(moved[1], [1.0, 1.0], rtol=1e-6)  # nothing met it: it stays


@pytest.mark.parametrize("d", [2, 5])
def test_the_rotation_s_gradient_is_its_closed_form(d):
  draws = np.random.default_rng(d)
  x, q, g = draws.normal(size=(3, d))
  value, pullback = jax.vjp(lambda x: codebooks.rotation(x, jnp.float32(q)), jnp.float32(x))
  u, v = x / np.linalg.norm(x), q / np.linalg.norm(q)
  r = (u + v) / np.linalg.norm(u + v)
  turn = np.eye(d) - 2 * np.outer(r, r) + 2 * np.outer(v, u)
  scale = np.linalg.norm(q) / np.linalg.norm(x)
  np.testing.assert_allclose(turn @ turn.T, np.eye(d), atol=1e-12)
  np.testing.assert_allclose(scale * turn @ x, q, rtol=1e-9)
  np.testing.assert_allclose(value, q, rtol=1e-5)
  np.testing.assert_allclose(pullback(jnp.float32(g))[0], scale * turn.T @ g, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("q", [[-2.0, 0.0], [0.0, 0.0]])
def test_where_there_is_no_rotation_the_gradient_passes_straight_through(q):
  x = jnp.array([1.0, 0.0])
  value, pullback = jax.vjp(lambda x: codebooks.rotation(x, jnp.array(q)), x)
  np.testing.assert_allclose(value, q)
  np.testing.assert_allclose(pullback(jnp.array([3.0, 4.0]))[0], [3.0, 4.0])


def test_dead_codes_go_to_different_vectors_with_large_errors():
  x = jnp.arange(8.0)[:, None]
  error = jnp.array([0, 0, 0, 1.0, 0, 1e6, 1e6, 1e6])
  weights = jnp.ones(8).at[6].set(0.0)
  dead = jnp.array([True, False, True, False])
  book, moved = codebooks.revive(KEY, -jnp.ones((4, 1)), dead, x, error, weights)
  assert moved.tolist() == dead.tolist()
  assert sorted(book.ravel().tolist()) == [-1.0, -1.0, 5.0, 7.0]
  _, moved = codebooks.revive(KEY, -jnp.ones((4, 1)), dead, x, jnp.zeros(8), weights)
  assert not moved.any()


# Clusters: every code is used, and errors are those of the noise.

CLUSTERS, WIDTH, NOISE = 64, 8, 0.1
CHAIN = dict(dim=WIDTH, codes=8, depth=3, heads=2)  # one shape, compiled once for several tests


def clustered(shift, number, rows=1024):
  means = 3.0 * np.random.default_rng(0).normal(size=(CLUSTERS, WIDTH)) + shift
  draws = np.random.default_rng(1 + number)
  which = draws.integers(0, CLUSTERS, rows)
  return jnp.float32(means[which] + NOISE * draws.normal(size=(rows, WIDTH)))


@pytest.mark.parametrize("shift", [0.0, 5.0])
@pytest.mark.parametrize("learn", ["ema", "loss"])
def test_every_code_is_used_and_the_error_is_that_of_the_noise(shift, learn):
  channel = vq(dim=WIDTH, codes=CLUSTERS, learn=learn)
  batches = [clustered(shift, i) for i in range(12)]
  _, state, code = trained_on(channel, batches)
  assert len(np.unique(code.aux["indices"])) == CLUSTERS
  assert float(state["metrics"]["code_usage_frac"]) == 1.0
  assert float(state["metrics"]["code_perplexity"]) > 0.9 * CLUSTERS
  error = np.mean(np.square(code.value - batches[-1])) / NOISE**2
  assert 0.9 < error < 1.1


def test_the_start_survives_the_first_update():
  """Counts and sums that began at zero would take the codes to the origin."""
  channel, x = vq(dim=WIDTH, codes=CLUSTERS), clustered(5.0, 0)
  params, state = channel.init(KEY)
  assert bool(channel.due(state))
  params, state = jax.jit(channel.settle)(params, state, x, KEY)
  assert not bool(channel.due(state))
  before = state["codebook"]
  np.testing.assert_allclose(
    before, state["sums"] / np.maximum(state["counts"], 1e-9)[..., None], rtol=1e-4
  )
  _, after = channel.apply(params, state, x, key=KEY, train=True)
  np.testing.assert_allclose(after["codebook"], before, atol=1e-3)


@pytest.mark.parametrize("devices", [2, 8])
def test_devices_agree_on_start_statistics_and_revival(devices):
  channel = vq(dim=WIDTH, codes=CLUSTERS, decay=0.5)
  # Then elsewhere, so that codes die and are revived.
  batches = [clustered(5.0, 0), *[clustered(5.0, 1)[:, ::-1] * 1.5] * 5]
  mesh = make_mesh({"population": 1, "data": devices, "model": 1}, jax.devices()[:devices])
  rows = NamedSharding(mesh, PartitionSpec("data"))
  _, one, code = trained_on(channel, batches)
  _, many, other = trained_on(channel, [jax.device_put(x, rows) for x in batches])
  for name in ("codebook", "counts", "sums"):
    np.testing.assert_allclose(many[name], one[name], rtol=1e-4, atol=1e-4)
  np.testing.assert_array_equal(other.aux["indices"], code.aux["indices"])
  assert float(one["metrics"]["code_perplexity"]) > 20


@pytest.mark.parametrize("learn", ["ema", "loss"])
def test_a_collapsed_codebook_recovers_where_dead_codes_are_revived(learn):
  far = 100.0 + jnp.arange(CLUSTERS * WIDTH, dtype=jnp.float32).reshape(1, 1, CLUSTERS, WIDTH)
  channel = vq(dim=WIDTH, codes=CLUSTERS, learn=learn, start="normal", decay=0.5)
  params, state = channel.init(KEY)
  if learn == "ema":
    state = {**state, "codebook": far, "sums": far}
  else:
    params = {"codebook": far}
  batches = [clustered(0.0, i) for i in range(8)]
  first, _ = channel.apply(params, state, batches[0], key=KEY, train=False)
  assert len(np.unique(first.aux["indices"])) == 1
  _, state, code = trained_on(channel, batches, state, params)
  assert len(np.unique(code.aux["indices"])) > 40
  if learn == "ema":
    expected = state["codebook"] * state["counts"][..., None]
    np.testing.assert_allclose(state["sums"], expected, atol=1e-3)


def test_codes_lie_dead_where_that_is_asked_for():
  lying = vq(dim=WIDTH, codes=4, start="normal", expire_below=0.0)
  _, state = lying.init(KEY)
  far = state["codebook"].at[0, 0, 2].set(1e3)
  state = {**state, "codebook": far, "sums": far}
  _, state = lying.apply({}, state, clustered(0.0, 0), key=KEY, train=True)
  np.testing.assert_allclose(state["codebook"][0, 0, 2], 1e3, rtol=1e-5)
  assert lying.settle is None and float(state["counts"][0, 0, 2]) < 1.0


def test_values_that_are_not_finite_pass_on_and_leave_the_statistics_alone():
  x = clustered(0.0, 0)
  bad = x.at[3, 2].set(jnp.nan).at[9, 0].set(jnp.inf)
  for channel in (vq(dim=WIDTH, codes=CLUSTERS), residual_vq(**CHAIN)):
    _, state, code = trained_on(channel, [bad, bad])
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state))
    rows = np.flatnonzero(~np.isfinite(code.value).all(-1))
    assert rows.tolist() == [3, 9] and not np.isfinite(code.aux["commitment"][rows]).any()
  for channel in (fsq(dim=8), lfq(dim=8)):
    _, _, code = trained_on(channel, [bad])
    assert np.isnan(code.value[3, 2])


def test_k_means_leaves_out_what_has_no_weight_and_is_as_good_far_from_the_origin():
  x = clustered(0.0, 0)
  weights = jnp.ones(len(x)).at[:10].set(0.0)
  spoiled = x.at[:10].set(jnp.nan)
  fit = jax.jit(lambda x: kmeans(KEY, x, CLUSTERS, weights))
  for shift in (0.0, 1000.0):
    book, counts, _ = fit(spoiled + shift)
    assert float(counts.sum()) == len(x) - 10
    error = np.square((x[10:] + shift)[:, None] - book).sum(-1).min(-1).mean() / WIDTH
    assert error < 1.1 * NOISE**2


# Heads, positions, layers.


def test_positions_share_codes_and_heads_do_not():
  x = jnp.array([[0.0, 10.0, 1.0, 11.0], [1.0, 11.0, 0.0, 10.0]])  # 2 positions of 2 heads
  channel = vq(dim=4, codes=2, positions=2, heads=2)
  _, state, code = trained_on(channel, [x])
  np.testing.assert_allclose(code.value, x)
  assert state["codebook"].shape == (1, 2, 2, 1)
  index = code.aux["indices"].reshape(2, 2, 2)
  np.testing.assert_array_equal(index[0, 0], index[1, 1])  # the same vectors, elsewhere
  np.testing.assert_array_equal(index[0, 1], index[1, 0])
  assert code.bits.tolist() == [4.0, 4.0]
  shared = vq(dim=4, codes=4, positions=2, heads=2, shared=True)
  _, state, code = trained_on(shared, [x])
  np.testing.assert_allclose(code.value, x)
  assert state["codebook"].shape == (1, 1, 4, 1) and code.bits.tolist() == [8.0, 8.0]


def test_every_layer_of_a_residual_code_lowers_the_error():
  x = clustered(5.0, 0)
  _, state, code = trained_on(residual_vq(**CHAIN), [x])
  assert code.bits.tolist() == [2 * 3 * 3.0] * len(x)
  code, _ = residual_vq(**CHAIN).apply({}, state, x, key=KEY, train=False)
  index = np.asarray(code.aux["indices"]).reshape(len(x), 2, 3)  # heads, then their layers
  parts, errors = np.zeros((len(x), 2, 4)), []
  for r in range(3):
    parts += np.stack([state["codebook"][r, g][index[:, g, r]] for g in range(2)], axis=1)
    errors.append(np.mean((parts.reshape(len(x), 8) - x) ** 2))
  np.testing.assert_allclose(code.value, parts.reshape(len(x), 8), rtol=1e-4, atol=1e-4)
  assert errors[0] > 1.5 * errors[1] > 2.0 * errors[2]


def test_quantiser_dropout_cuts_the_last_layers_and_leaves_their_statistics():
  x = clustered(0.0, 0)
  channel = residual_vq(**CHAIN, dropout=1.0)
  params, state = channel.init(KEY)
  params, state = jax.jit(channel.settle)(params, state, x, KEY)
  apply = jax.jit(lambda k: channel.apply(params, state, x, key=k, train=True))
  depths = set()
  for i in range(20):
    code, new = apply(jax.random.key(i))
    kept = int(code.bits[0] / 6)
    depths.add(kept)
    index = np.asarray(code.aux["indices"]).reshape(len(x), 2, 3)
    assert (index[..., :kept] >= 0).all() and (index[..., kept:] == -1).all()
    moved = [bool(jnp.any(new["sums"][r] != state["sums"][r])) for r in range(3)]
    assert moved == [r < kept for r in range(3)]
    books = [state["codebook"][r, 0][index[:, 0, r]] for r in range(kept)]
    np.testing.assert_allclose(code.value[:, :4], sum(books), rtol=1e-4, atol=1e-4)
  assert depths == {1, 2, 3}


def test_gradients_reach_the_encoder_and_by_loss_the_codebook():
  x = clustered(0.0, 0)[:32]
  for gradient in ("rotation", "straight_through"):
    channel = vq(dim=8, codes=4, learn="loss", gradient=gradient, start="normal")
    params, state = channel.init(KEY)

    def loss(params, x, channel=channel, state=state):
      code, _ = channel.apply(params, state, x, key=KEY, train=True)
      return jnp.sum(code.value) + jnp.sum(code.aux["codebook"])

    code, _ = channel.apply(params, state, x, key=KEY, train=False)
    index = np.asarray(code.aux["indices"])[:, 0]
    to_book, to_x = jax.grad(loss, (0, 1))(params, x)
    book = np.asarray(params["codebook"][0, 0])
    expected = [2 * np.sum(book[j] - x[index == j], axis=0) for j in range(4)]
    np.testing.assert_allclose(to_book["codebook"][0, 0], expected, rtol=1e-4, atol=1e-4)
    if gradient == "straight_through":
      np.testing.assert_allclose(to_x, 1.0)
    else:
      assert np.abs(to_x - 1.0).max() > 0.1


# Codes without a codebook.


@pytest.mark.parametrize("levels", range(2, 10))
def test_finite_scalars_reach_every_level_and_stay_in_bounds(levels):
  channel = fsq(dim=1, levels=levels)
  x = jnp.linspace(-9.0, 9.0, 4001)[:, None]
  code, _ = channel.apply({}, channel.init(KEY)[1], x, key=KEY, train=True)
  values = np.unique(code.value)
  assert len(values) == levels and values.min() == -1.0 and values.max() <= 1.0
  np.testing.assert_allclose(np.diff(values), np.diff(values)[0], rtol=1e-6)
  assert np.unique(code.aux["indices"]).tolist() == list(range(levels))
  assert np.all(np.diff(code.aux["indices"][:, 0]) >= 0)
  np.testing.assert_allclose(code.bits, math.log2(levels), rtol=1e-6)
  slope = jax.grad(lambda x: channel.apply({}, {}, x, key=KEY, train=True)[0].value.sum())(x)
  assert slope.min() >= 0 and slope[2000, 0] > 0.3


def test_symbols_of_finite_scalars_number_all_combinations():
  grid = np.stack(np.meshgrid(*[np.linspace(-5, 5, 41)] * 3), -1).reshape(-1, 3)
  channel = fsq(dim=6, levels=(4, 3, 2), positions=2)
  x = jnp.float32(np.concatenate([grid, grid[::-1]], axis=1))
  code, state = channel.apply({}, channel.init(KEY)[1], x, key=KEY, train=True)
  assert np.unique(code.aux["indices"]).tolist() == list(range(24))
  pairs = np.unique(np.c_[code.aux["indices"][:, 0], code.value[:, :3]], axis=0)
  assert len(pairs) == 24  # one vector for each symbol
  assert float(state["metrics"]["code_usage_frac"]) == 1.0
  assert code.bits[0] == np.float32(2 * math.log2(24))


def test_entropies_of_signs_are_those_of_all_codes():
  d, sharpness, scale = 4, 3.0, 0.7
  x = np.random.default_rng(0).normal(size=(6, d))
  codes = scale * (2.0 * ((np.arange(2**d)[:, None] >> np.arange(d)[::-1]) & 1) - 1)
  logits = 2 * sharpness * x @ codes.T
  p = np.exp(logits - logits.max(-1, keepdims=True))
  p /= p.sum(-1, keepdims=True)
  entropy, mean = -(p * np.log(p)).sum(-1), p.mean(0)
  diversity = -(mean * np.log(mean)).sum()
  channel = lfq(dim=d, scale=scale, sharpness=sharpness)
  code, _ = channel.apply({}, channel.init(KEY)[1], jnp.float32(x), key=KEY, train=True)
  np.testing.assert_allclose(code.aux["entropy"], entropy, rtol=1e-4)
  np.testing.assert_allclose(code.aux["diversity"], diversity, rtol=1e-4)
  nearest = np.argmin(((x[:, None] - codes) ** 2).sum(-1), axis=-1)
  np.testing.assert_array_equal(code.aux["indices"][:, 0], nearest)
  np.testing.assert_allclose(code.value, codes[nearest], rtol=1e-5)
  parts = entropies(jnp.float32(4 * sharpness * scale * x)[None], jnp.ones((1, 6)), 2)[1]
  assert float(parts[0]) > diversity  # of two channels at a time: a bound


def test_gumbel_draws_by_the_logits_and_its_temperature_falls():
  logits = jnp.array([1.0, 0.0, -1.0])
  channel = gumbel(dim=1, codes=3, initial_temperature=2.0, final_temperature=0.5, anneal_steps=4)
  params, state = channel.init(KEY)
  x = jnp.tile(logits, (20_000, 1))
  code, _ = channel.apply(params, state, x, key=KEY, train=False)
  p = np.exp(logits) / np.exp(logits).sum()
  drawn = np.bincount(np.asarray(code.aux["indices"])[:, 0], minlength=3) / len(x)
  np.testing.assert_allclose(drawn, p, atol=0.015)
  np.testing.assert_allclose(code.rate, np.sum(p * np.log(3 * p)), rtol=1e-5)
  seen = []
  for _ in range(6):
    _, state = channel.apply(params, state, x[:4], key=KEY, train=True)
    seen.append(float(state["metrics"]["temperature"]))
  np.testing.assert_allclose(seen, 2.0 * 0.25 ** (np.array([0, 1, 2, 3, 4, 4]) / 4), rtol=1e-5)


def test_a_hard_gumbel_code_has_the_gradient_of_the_soft_one():
  x = jax.random.normal(KEY, (5, 3))
  grads, values = {}, {}
  for hard in (True, False):
    channel = gumbel(dim=2, codes=3, hard=hard)
    params, state = channel.init(KEY)

    def value(x, channel=channel, params=params, state=state):
      return channel.apply(params, state, x, key=KEY, train=True)[0].value

    values[hard] = value(x)
    grads[hard] = jax.grad(lambda x, value=value: value(x)[:, 0].sum())(x)
  np.testing.assert_allclose(grads[True], grads[False], rtol=1e-5)
  assert np.abs(grads[True]).max() > 1e-3
  book = np.asarray(params["codebook"][0])
  assert np.abs(values[True][:, None] - book).sum(-1).min(-1).max() < 1e-5
  assert np.abs(values[False][:, None] - book).sum(-1).min(-1).max() > 1e-2


# Bad input.


@pytest.mark.parametrize(
  ("build", "message"),
  [
    (lambda: vq(dim=10, heads=4), "dim=8 or 12"),
    (lambda: vq(dim=64, positions=7), "does not divide"),
    (lambda: residual_vq(dim=3, heads=2), "does not divide"),
    (lambda: vq(codes=1), "codes is 1"),
    (lambda: vq(learn="loses"), "did you mean|Did you mean"),
    (lambda: fsq(dim=4, levels=(8, 5)), "levels for 2 channels"),
    (lambda: fsq(dim=40, levels=8), "which int32 cannot number"),
    (lambda: lfq(dim=40), "Use more heads"),
    (lambda: gumbel(final_temperature=0.0), "final_temperature"),
  ],
)
def test_settings_that_do_not_fit_are_explained(build, message):
  with pytest.raises(InputError, match=message):
    build()


@pytest.mark.parametrize(
  "channel",
  [vq(dim=4, codes=4, positions=2), residual_vq(dim=4, codes=4, depth=2), fsq(dim=4, levels=3)]
  + [lfq(dim=4, heads=2), gumbel(dim=4, codes=4, heads=2)],
)
def test_rows_that_do_not_count_are_in_no_statistic(channel):
  # Far apart, so that what gumbel draws does not depend on the noise.
  x = 300.0 * jax.random.normal(jax.random.key(3), (6, channel.features))
  params, state = channel.init(jax.random.key(0))

  def after(x, **given):
    return channel.apply(params, state, x, key=jax.random.key(1), train=True, **given)[1]

  mask = jnp.array([True] * 6 + [False] * 4)
  padded = after(jnp.concatenate([x, x[:4]]), mask=mask)
  for a, b in zip(jax.tree.leaves(padded), jax.tree.leaves(after(x)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_codes_of_a_cosine_that_learn_by_loss_are_directions():
  channel = vq(dim=2, codes=8, metric="cosine", learn="loss", start="normal", expire_below=0.0)
  params, state = channel.init(jax.random.key(0))
  # As gradient steps leave them: of all lengths.
  params = {"codebook": params["codebook"] * jnp.linspace(0.2, 5.0, 8)[:, None]}
  x = jax.random.normal(jax.random.key(1), (50, 2))
  code, _ = channel.apply(params, state, x, key=jax.random.key(2), train=True)
  book = np.asarray(params["codebook"]).reshape(8, 2)
  cosine = np.asarray(x) @ (book / np.linalg.norm(book, axis=1, keepdims=True)).T
  np.testing.assert_array_equal(code.aux["indices"][:, 0], cosine.argmax(axis=1))
  np.testing.assert_allclose(np.linalg.norm(code.value, axis=1), 1.0, rtol=1e-5)


def test_the_losses_of_a_rounded_dictionary_move_the_one_or_the_other():
  channel = quantised_top_k(dim=3, latents=6, k=2, levels=4, scale=2.0)
  params, state = channel.init(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (5, 3))

  def loss(name):
    def total(params, x):
      code, _ = channel.apply(params, state, x, key=jax.random.key(2), train=True)
      return jnp.sum(code.aux[name])

    return jax.grad(total, (0, 1))(params, x)

  of_params, of_x = loss("codebook")
  assert np.all(np.asarray(of_x) == 0) and np.any(np.asarray(of_params["W_enc"]) != 0)
  of_params, of_x = loss("commitment")
  assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(of_params))
  assert np.any(np.asarray(of_x) != 0)


def test_a_codebook_larger_than_the_batch_is_refused():
  channel = vq(dim=8, codes=64, positions=2)
  params, state = channel.init(KEY)
  with pytest.raises(InputError, match="64 codes from a batch, which gives it 40 vectors"):
    channel.settle(params, state, jnp.ones((20, 8)), KEY)


def test_an_objective_that_adds_losses_of_a_quantiser_wants_one():
  code = Code(jnp.zeros((2, 1)), None, None, {"mean": jnp.zeros((2, 1))})
  with pytest.raises(InputError, match="gives none of them"):
    quantised().loss({}, {}, Outputs(code, jnp.zeros((2, 2))), {}, KEY, 0)
