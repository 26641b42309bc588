"""Sparse autoencoders: selection, gradients, revival, thresholds, budgets, constraints, errors."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.bottlenecks.sparse import batch_top_k as batch_lib
from ibjax.bottlenecks.sparse import dictionary, linear, revival, selection
from ibjax.bottlenecks.sparse.batch_top_k import batch_top_k
from ibjax.bottlenecks.sparse.feature_choice import budgets, feature_choice
from ibjax.bottlenecks.sparse.gated import gated
from ibjax.bottlenecks.sparse.gradient_top_k import gradient_top_k
from ibjax.bottlenecks.sparse.jump_relu import above, jump, jump_relu
from ibjax.bottlenecks.sparse.matching_pursuit import matching_pursuit
from ibjax.bottlenecks.sparse.matryoshka import matryoshka
from ibjax.bottlenecks.sparse.mutual_choice import mutual_choice
from ibjax.bottlenecks.sparse.relu_l1 import relu_l1
from ibjax.bottlenecks.sparse.top_k import top_k
from ibjax.core.errors import ConfigError, InputError
from ibjax.core.resolver import bind
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.objectives.sparse.dictionary import dictionary as dictionary_objective
from ibjax.programs.unit_rows_adam import unit_rows_adam

DIM, LATENTS, N, K = 6, 12, 32, 3


def draw(seed=0, n=N, dim=DIM):
  return jax.random.normal(jax.random.key(seed), (n, dim))


def ready(channel, seed=1):
  """Parameters off their start, so that no two parts of a gradient cancel by symmetry."""
  params, state = channel.init(jax.random.key(seed))
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
  moved = [a + 0.3 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys)]
  return jax.tree.unflatten(tree, moved), state


def go(channel, params, state, x, train=False):
  return jax.jit(functools.partial(channel.apply, key=None, train=train))(params, state, x)


def same(found, expected, **tolerance):
  jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, **tolerance), found, expected)


def dense_top_k(params, x, k):
  """The dictionary written with a mask and matrix products, as anyone would first."""
  a = (x - params["b_dec"]) @ params["W_enc"].T + params["b_enc"]
  order = jnp.argsort(-a, axis=1, stable=True)[:, :k]
  mask = jnp.zeros_like(a).at[jnp.arange(len(x))[:, None], order].set(1.0)
  return (jax.nn.relu(a) * mask) @ params["W_dec"] + params["b_dec"]


# Gradients


def test_gradients_of_the_sparse_pass_are_those_of_the_dense_one_in_float64():
  with jax.enable_x64(True):
    channel = top_k(dim=DIM, latents=LATENTS, k=K, revival="none")
    params, _ = ready(channel)
    params = jax.tree.map(lambda a: a.astype(jnp.float64), params)
    x = draw().astype(jnp.float64)
    aim = jax.random.normal(jax.random.key(9), x.shape, jnp.float64)
    a = dictionary.project(params, x)

    def sparse(params, x):
      _, at = selection.top_k(a, K)
      b = x - params["b_dec"]
      z = jax.nn.relu(linear.encode_at(None, at, b, params["W_enc"], params["b_enc"]))
      value = linear.decode_at(z, at, params["W_dec"]) + params["b_dec"]
      return jnp.sum(jnp.square(value - aim))

    def dense(params, x):
      return jnp.sum(jnp.square(dense_top_k(params, x, K) - aim))

    found, expected = (jax.jit(jax.grad(f, (0, 1)))(params, x) for f in (sparse, dense))
  same(found, expected, rtol=1e-10, atol=1e-12)


def test_the_bottleneck_passes_the_gradients_of_the_dense_one():
  channel = top_k(dim=DIM, latents=LATENTS, k=K, revival="none")
  params, state = ready(channel)
  x, aim = draw(), draw(9)

  def sparse(params, x):
    code, _ = go(channel, params, state, x, train=True)
    return jnp.sum(jnp.square(code.value - aim))

  found = jax.jit(jax.grad(sparse, (0, 1)))(params, x)
  dense = jax.grad(lambda p, x: jnp.sum(jnp.square(dense_top_k(p, x, K) - aim)), (0, 1))(params, x)
  same(found, dense, rtol=2e-4, atol=2e-4)


def test_aux_k_has_the_gradient_of_a_dense_float64_loss_and_reaches_the_encoder():
  dead = jnp.arange(LATENTS) % 3 == 0
  with jax.enable_x64(True):
    params, _ = ready(top_k(dim=DIM, latents=LATENTS, k=K))
    params = jax.tree.map(lambda a: a.astype(jnp.float64), params)
    x, left = draw().astype(jnp.float64), 0.5 * draw(5).astype(jnp.float64)
    a = dictionary.project(params, x)

    def ours(params):
      return jnp.mean(revival.aux_k(params, x, left, a, dead, 2))

    def dense(params):
      """Masks in place of indices; the k-th largest by sorting; the scale by numpy's variance."""
      a = (x - params["b_dec"]) @ params["W_enc"].T + params["b_enc"]
      among = jnp.where(dead, a, -jnp.inf)
      z = jnp.where(among >= jnp.sort(among, axis=1)[:, -2:-1], jnp.maximum(a, 0.0), 0.0)
      scale = np.var(x, axis=0).sum() / np.var(left, axis=0).sum()
      return scale * jnp.mean(jnp.sum((left - z @ params["W_dec"]) ** 2, axis=1))

    (value, found), (truth, expected) = (
      jax.jit(jax.value_and_grad(f))(params) for f in (ours, dense)
    )
  np.testing.assert_allclose(value, truth, rtol=1e-12)
  same(found, expected, rtol=1e-9, atol=1e-12)
  assert np.abs(found["W_enc"][np.asarray(dead)]).max() > 1e-3
  assert np.abs(found["W_enc"][~np.asarray(dead)]).max() == 0.0


def test_pseudo_derivatives_are_those_of_their_definition():
  a, theta, width = draw(0, 50, 3), jnp.array([0.2, 0.5, 1.0]), jnp.float32(0.6)
  g = draw(1, 50, 3)
  inside = (np.abs(a - theta) < 0.3).astype(np.float32)
  by_a, by_theta = jax.vjp(lambda a, t: jump(a, t, width), a, theta)[1](g)
  np.testing.assert_allclose(by_a, np.where(a > theta, g, 0.0))
  np.testing.assert_allclose(by_theta, -(theta / 0.6) * (inside * g).sum(0), rtol=1e-5)
  by_a, by_theta = jax.vjp(lambda a, t: above(a, t, width), a, theta)[1](g)
  assert not np.any(by_a)
  np.testing.assert_allclose(by_theta, -(1 / 0.6) * (inside * g).sum(0), rtol=1e-5)


def test_pseudo_derivatives_estimate_the_derivative_of_the_expectation():
  # d/dt E[1[a > t]] = -density(t); d/dt E[a 1[a > t]] = -t density(t), a standard Gaussian.
  a, t = draw(3, 400_000, 1), jnp.array([0.5])
  density = np.exp(-0.125) / np.sqrt(2 * np.pi)
  for function, truth in ((above, -density), (jump, -0.5 * density)):
    found = jax.grad(lambda t, f=function: jnp.mean(f(a, t, jnp.float32(0.2))))(t)
    np.testing.assert_allclose(found, truth, rtol=0.02)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_thresholds_move_under_adam_in_bfloat16_too(dtype):
  channel = jump_relu(dim=DIM, latents=LATENTS, threshold=0.6, bandwidth=0.5)
  params, state = channel.init(jax.random.key(0))
  adam = optax.adam(1e-3)
  # Parameters and, as they have the parameters' type, Adam's moments.
  params, x = jax.tree.map(lambda a: a.astype(dtype), (params, draw()))

  @jax.jit
  def step(_, carry):
    params, moments = carry

    def loss(params):
      code, _ = go(channel, params, state, x, train=True)
      assert code.value.dtype == jnp.float32
      return jnp.mean(jnp.sum(jnp.square(code.value - x), -1) + 0.5 * code.aux["sparsity"])

    updates, moments = adam.update(jax.grad(loss)(params), moments, params)
    return optax.apply_updates(params, updates), moments

  trained, moments = jax.lax.fori_loop(0, 100, step, (params, adam.init(params)))
  factor = np.exp(10.0 * np.asarray(trained["threshold"], np.float32))
  assert np.abs(factor - 1.0).max() > 0.3
  assert trained["threshold"].dtype == moments[0].nu["threshold"].dtype == dtype
  # Were theta itself the parameter: at 0.6 numbers of bfloat16 lie 4e-3 apart, and steps of 1e-3
  # are rounded away.
  plain = jnp.asarray(0.6, dtype)
  update, _ = adam.update(jnp.ones_like(plain), adam.init(plain), plain)
  assert bool(optax.apply_updates(plain, update) == plain) == (dtype == jnp.bfloat16)


def test_the_gate_is_trained_by_its_own_terms_alone():
  channel = gated(dim=DIM, latents=LATENTS)
  params, state = ready(channel)

  def of(name):
    def value(params):
      code, _ = go(channel, params, state, draw())
      return (
        jnp.sum(jnp.square(code.value - draw(4))) if name == "value" else jnp.sum(code.aux[name])
      )

    return jax.jit(jax.grad(value))(params)

  assert not np.any(of("value")["b_enc"]) and np.any(of("value")["r_mag"])
  gate = of("auxiliary")
  assert np.any(gate["b_enc"]) and not np.any(gate["W_dec"]) and not np.any(gate["r_mag"])
  assert not np.any(of("sparsity")["W_dec"])


# Selection


def test_the_threshold_of_a_budget_is_the_value_that_sorting_finds():
  scores = jnp.maximum(draw(0, 40, 30), 0.0)
  ordered = np.sort(np.asarray(scores).ravel())[::-1]
  for budget in (1, 7, 200):
    assert float(selection.threshold(scores, budget, (0, 1))[0, 0]) == ordered[budget - 1]
  columns = selection.threshold(scores, jnp.arange(1, 31)[None], 0)[0]
  for j in range(10):
    assert float(columns[j]) == np.sort(np.asarray(scores[:, j]))[::-1][j]
  few = selection.threshold(jnp.array([[0.0, 2.0]]), 2, (0, 1))[0, 0]
  assert 0.0 < float(few) <= 2.0  # what is not positive is never kept


def test_a_budget_does_not_depend_on_the_order_of_examples():
  scores = jnp.round(4 * draw(0, 40, 5))  # many ties
  order = jax.random.permutation(jax.random.key(1), 40)
  kept = scores >= selection.threshold(scores, 30, (0, 1))
  assert jnp.array_equal(
    kept[order], scores[order] >= selection.threshold(scores[order], 30, (0, 1))
  )


def test_batch_top_k_keeps_its_budget_and_learns_the_threshold_of_evaluation():
  channel = batch_top_k(dim=DIM, latents=LATENTS, k=2.5, decay=0.9, revival="none")
  params, state = ready(channel)
  run = jax.jit(lambda s, x: channel.apply(params, s, x, key=None, train=True))
  for seed in range(30):
    code, state = run(state, draw(seed))
    assert float(code.aux["l0"].sum()) == 80.0
  smallest = np.asarray(code.aux["latents"])
  theta = float(state["own"]["total"] / state["own"]["weight"])
  assert 0.5 * smallest[smallest > 0].min() < theta < 2 * smallest[smallest > 0].min()
  x = draw(99, 2000)
  code, _ = go(channel, params, state, x)
  np.testing.assert_allclose(code.aux["l0"].mean(), 2.5, rtol=0.1)
  alone, _ = go(channel, params, state, x[:1])
  np.testing.assert_allclose(alone.value, code.value[:1], rtol=1e-5, atol=1e-6)


def test_mutual_choice_takes_the_matches_of_batch_top_k():
  one, other = (
    f(dim=DIM, latents=LATENTS, k=2.0, center="zeros") for f in (batch_top_k, mutual_choice)
  )
  params, _ = ready(one)
  states = [c.init(jax.random.key(1))[1] for c in (one, other)]
  codes = [go(c, params, s, draw(), train=True)[0] for c, s in zip((one, other), states)]
  assert jnp.array_equal(codes[0].value, codes[1].value)
  assert float(codes[1].aux["revival"].mean()) > 0.0  # the rare are helped before any is dead


def test_feature_choice_gives_each_latent_its_share():
  equal = feature_choice(dim=DIM, latents=LATENTS, k=3.0)
  params, state = ready(equal)
  x = draw(3, 64)
  code, _ = go(equal, params, state, x, train=True)
  assert set(np.asarray(code.aux["latents"] > 0).sum(axis=0).tolist()) == {16}
  law = feature_choice(dim=DIM, latents=LATENTS, k=1.0, zipf=1.0)
  state["own"]["density"] = jnp.arange(LATENTS) / 100.0  # the last is the most frequent
  code, state = go(law, params, state, x, train=True)
  counts = np.asarray(code.aux["latents"] > 0).sum(axis=0)[::-1]
  shares = 1.0 / np.arange(1, LATENTS + 1)
  np.testing.assert_array_equal(counts, np.maximum(np.round(64 * shares / shares.sum()), 1))


def test_budgets_add_up_to_the_whole_where_a_law_cuts_them():
  n, k, latents = 64, 32.0, 128
  shares = revival.zipf(latents, 1.0, 0.0)
  found = np.asarray(jax.jit(lambda k: budgets(n, k, shares))(k))
  assert found.sum() == n * k and found.max() == n and found.min() >= 1
  assert np.all(np.diff(found) <= 0)
  free = (found < n) & (found > 1)  # what is cut off goes to the others in proportion
  scale = found[free].sum() / shares[free].sum()
  np.testing.assert_allclose(found[free], scale * shares[free], atol=1.0)
  assert np.asarray(budgets(8, 16.0, jnp.ones(16) / 16)).tolist() == [8] * 16
  steep = budgets(64, 1.0, revival.zipf(32, 30.0, 0.0))  # 1 at least for those that get nothing
  assert steep.tolist() == [33] + [1] * 31
  channel = feature_choice(dim=DIM, latents=LATENTS, k=6.0, zipf=1.0, center="zeros")
  params, state = ready(channel)
  params["b_enc"] = params["b_enc"] + 100.0  # all latents answer to all examples
  code, _ = go(channel, params, state, draw(), train=True)
  assert float(code.aux["l0"].mean()) == 6.0


def test_keep_and_annealing_count_the_winners():
  for keep in (1.0, 2.0):
    channel = top_k(dim=DIM, latents=LATENTS, k=K, keep=keep)
    params, state = channel.init(jax.random.key(0))
    kept, _ = go(channel, params, state, draw())
    plain = top_k(dim=DIM, latents=LATENTS, k=int(keep))
    value, _ = go(plain, params, state, draw())
    np.testing.assert_allclose(kept.value, value.value, rtol=1e-6)
  channel = top_k(dim=DIM, latents=LATENTS, k=2, anneal_from=6, anneal_steps=4, revival="none")
  params, state = channel.init(jax.random.key(0))
  most = []
  run = jax.jit(lambda s: channel.apply(params, s, 5.0 * draw(), key=None, train=True))
  for _ in range(6):
    code, state = run(state)
    most.append(int(code.aux["l0"].max()))
  assert most == [6, 5, 4, 3, 2, 2]


def test_prefixes_are_dictionaries_of_their_own():
  channel = matryoshka(dim=DIM, latents=LATENTS, groups=(2, 4, 6), k=4.0)
  params, state = ready(channel)
  x = draw()
  code, _ = go(channel, params, state, x)
  z = np.asarray(code.aux["latents"])
  for i, end in enumerate((2, 6, 12)):
    value = z[:, :end] @ params["W_dec"][:end] + params["b_dec"]
    np.testing.assert_allclose(
      code.aux["prefix_errors"][:, i], np.square(x - value).sum(1), rtol=1e-4
    )
  np.testing.assert_allclose(code.value, value, rtol=1e-4, atol=1e-5)


def test_gradients_move_the_choice_and_nothing_else():
  channel = gradient_top_k(dim=DIM, latents=LATENTS, k=K, influence=5.0, revival="none")
  params, state = ready(channel)
  x, g = draw(), draw(7)
  plain = top_k(dim=DIM, latents=LATENTS, k=K, revival="none")
  base, _ = go(plain, params, state, x)
  silent, _ = go(channel, params, state, jnp.hstack([x, 0 * g]))
  np.testing.assert_allclose(silent.value, base.value, rtol=1e-4, atol=1e-5)
  aware, _ = go(channel, params, state, jnp.hstack([x, g]))
  a = np.maximum(np.asarray(dictionary.project(params, x)), 0.0)
  score = a + 5.0 * a * np.abs(np.asarray(g @ params["W_dec"].T))
  best = np.sort(np.argsort(-score, axis=1, kind="stable")[:, :K], axis=1)
  assert np.array_equal(np.sort(aware.aux["indices"], axis=1), best)
  assert not np.array_equal(best, np.sort(base.aux["indices"], axis=1))
  by = jax.grad(lambda f: go(channel, params, state, f)[0].value.sum())(jnp.hstack([x, g]))
  assert np.any(by[:, :DIM]) and not np.any(by[:, DIM:])


def test_matching_pursuit_never_leaves_more_and_is_exact_for_orthogonal_atoms():
  channel = matching_pursuit(dim=DIM, latents=LATENTS, k=DIM, center="zeros")
  params, state = ready(channel)
  x = draw()
  left = []
  for keep in (1, 2, 4, 6):
    some = matching_pursuit(dim=DIM, latents=LATENTS, k=DIM, keep=float(keep))
    code, _ = go(some, params, state, x)
    left.append(float(jnp.sum(jnp.square(x - code.value))))
  assert all(a > b for a, b in itertools.pairwise(left))
  basis = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0]
  params = {"W_dec": jnp.array(np.vstack([basis, -basis])), "b_dec": jnp.zeros(DIM)}
  code, _ = go(channel, params, state, x)
  np.testing.assert_allclose(code.value, x, atol=1e-5)


def test_a_latent_that_is_chosen_twice_is_one_that_is_active():
  # The second leaves something along the first, and that along the second; four answer never.
  rows = jnp.array([[1.0, 0.0], [-0.8, 0.6], *[[0.0, -1.0]] * 4])
  channel = matching_pursuit(dim=2, latents=6, k=6, center="zeros")
  _, state = channel.init(jax.random.key(0))
  params = {"W_dec": rows, "b_dec": jnp.zeros(2)}
  code, state = go(channel, params, state, jnp.array([[1.0, 2.0]]), train=True)
  assert code.aux["indices"].tolist() == [[0, 1, 0, 1, 0, 1]] and np.all(code.aux["activations"])
  assert float(code.aux["l0"][0]) == 2.0
  np.testing.assert_allclose(state["density"][:2], 0.01, rtol=1e-5)  # each in one example of one


# Dead latents


def test_an_idle_latent_is_dead_after_its_steps_and_reported():
  channel = top_k(dim=DIM, latents=LATENTS, k=K, dead_after=3, revival="none")
  params, state = channel.init(jax.random.key(0))
  params["b_enc"] = params["b_enc"].at[:3].set(-1e6)
  shares = []
  run = jax.jit(lambda s: channel.apply(params, s, jnp.ones((4, DIM)), key=None, train=True))
  for _ in range(5):
    _, state = run(state)
    shares.append(float(state["metrics"]["dead_latents_frac"]))
  assert shares[:2] == [0.0, 0.0] and shares[2] >= 0.25 and shares[4] == shares[2]
  assert np.all(state["idle"][:3] == 5)


def test_the_dead_are_a_share_of_the_latents_that_are_used():
  channel = top_k(dim=DIM, latents=16, k=2, used=4.0, dead_after=1, revival="none")
  params, state = channel.init(jax.random.key(0))
  params["b_enc"] = params["b_enc"] - 1e6
  _, state = go(channel, params, state, draw(), train=True)
  assert float(state["metrics"]["dead_latents_frac"]) == 1.0


def test_an_all_dead_dictionary_is_reported_while_it_trains():
  channel = relu_l1(dim=DIM, latents=LATENTS, dead_after=2)
  params, state = channel.init(jax.random.key(0))
  params["b_enc"] = params["b_enc"] - 1e6
  for _ in range(2):
    code, state = go(channel, params, state, draw(), train=True)
  assert float(state["metrics"]["dead_latents_frac"]) == 1.0
  assert float(code.aux["l0"].max()) == 0.0


def test_resampling_starts_dead_latents_at_badly_reconstructed_examples():
  channel = top_k(dim=DIM, latents=LATENTS, k=K, revival="resample", dead_after=2, center="zeros")
  params, state = ready(channel)
  x = draw().at[0].set(jnp.arange(1.0, 7.0) * 100.0)  # an example nobody explains
  state = {**state, "step": jnp.int32(4), "idle": jnp.zeros(LATENTS, jnp.int32).at[5].set(2)}
  assert bool(channel.due(state))
  new, after = jax.jit(channel.settle)(params, state, x, jax.random.key(0))
  assert not bool(channel.due(after)) and int(after["idle"][5]) == 0
  others = np.arange(LATENTS) != 5
  for name in ("W_enc", "W_dec", "b_enc"):
    np.testing.assert_array_equal(new[name][others], params[name][others])
  row = np.asarray(x[0] - params["b_dec"])
  np.testing.assert_allclose(new["W_dec"][5], row / np.linalg.norm(row), rtol=1e-4)
  lengths = np.linalg.norm(np.asarray(params["W_enc"])[others], axis=1).mean()
  np.testing.assert_allclose(np.linalg.norm(new["W_enc"][5]), 0.2 * lengths, rtol=1e-5)
  assert float(new["b_enc"][5]) == 0.0


def test_latents_that_are_sampled_together_start_at_examples_of_their_own():
  channel = top_k(dim=DIM, latents=40, k=K, revival="resample", dead_after=2, center="zeros")
  params, state = ready(channel)
  state = {**state, "step": jnp.int32(4), "idle": jnp.full(40, 2).at[:8].set(0)}
  settle = jax.jit(channel.settle)
  new, after = settle(params, state, draw(), jax.random.key(0))  # 32 dead, 32 examples
  assert len(np.unique(np.round(new["W_dec"][8:], 4), axis=0)) == 32 and not np.any(after["idle"])
  few = draw(0, 10).at[3].set(jnp.nan)  # one of them no place to start at
  new, after = settle(params, state, few, jax.random.key(0))
  moved = np.any(np.asarray(new["W_dec"] != params["W_dec"]), axis=1)
  assert moved.sum() == len(np.unique(np.round(new["W_dec"][moved], 4), axis=0)) == 9
  assert np.array_equal(moved[8:], np.asarray(after["idle"][8:]) == 0)  # the others wait


@pytest.mark.parametrize(
  ("build", "names"), [(jump_relu, ["threshold"]), (gated, ["r_mag", "b_mag"])]
)
def test_a_latent_that_is_sampled_anew_leaves_all_that_killed_it_behind(build, names):
  channel = build(dim=DIM, latents=LATENTS, revival="resample", dead_after=2, center="zeros")
  params, state = ready(channel)
  for name in names:  # a threshold of 14.8; a magnitude that is never positive
    params[name] = params[name].at[5].set(0.5 if name == "threshold" else -9.0)
  state = {**state, "step": jnp.int32(4), "idle": jnp.zeros(LATENTS, jnp.int32).at[5].set(2)}
  new, after = jax.jit(channel.settle)(params, state, 3.0 * draw(), jax.random.key(0))
  for name in names:
    assert float(new[name][5]) == 0.0
    assert np.array_equal(np.delete(new[name], 5), np.delete(params[name], 5))
  code, _ = go(channel, new, after, 3.0 * draw())
  assert np.any(code.aux["latents"][:, 5] > 0)


def test_ghost_gradients_reach_the_dead_alone():
  channel = top_k(dim=DIM, latents=LATENTS, k=K, revival="ghost", dead_after=1)
  params, state = ready(channel)
  params["b_enc"] = params["b_enc"].at[4].set(-10.0)

  def loss(params):
    code, _ = go(channel, params, state, draw(), train=True)
    return jnp.mean(code.aux["revival"]), jnp.mean(jnp.sum(jnp.square(code.value - draw()), -1))

  (ghost, main), g = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
  np.testing.assert_allclose(ghost, main, rtol=1e-4)
  _, state = go(channel, params, state, draw(), train=True)
  dead = np.asarray(state["idle"]) > 0
  assert dead[4] and np.array_equal(np.abs(np.asarray(g["W_enc"])).max(axis=1) > 0, dead)


# Starting and staying


def test_the_bias_starts_at_the_geometric_median():
  x = draw(0, 200).at[:20].add(100.0)  # a tenth of the data far away
  channel = top_k(dim=DIM, latents=LATENTS, k=K)
  params, state = channel.init(jax.random.key(0))
  assert bool(channel.due(state))
  params, after = jax.jit(channel.settle)(params, state, x, jax.random.key(1))
  assert not bool(channel.due(after))
  middle = np.asarray(params["b_dec"], np.float64)

  def total(m):
    return np.linalg.norm(np.asarray(x, np.float64) - m, axis=1).sum()

  rng = np.random.default_rng(0)
  assert all(total(middle) <= total(middle + 0.05 * rng.normal(size=DIM)) for _ in range(50))
  assert np.abs(middle).max() < 1.0 < np.abs(np.asarray(x).mean(0)).max()


@pytest.mark.parametrize("center", ["mean", "geometric_median"])
def test_a_broken_row_of_the_first_batch_does_not_break_the_bias(center):
  channel = top_k(dim=DIM, latents=LATENTS, k=K, center=center)
  params, state = channel.init(jax.random.key(0))
  settle, x = jax.jit(channel.settle), draw()
  found, _ = settle(params, state, jnp.vstack([x, jnp.full((1, DIM), jnp.nan)]), jax.random.key(1))
  expected, _ = settle(params, state, x, jax.random.key(1))
  np.testing.assert_allclose(found["b_dec"], expected["b_dec"], rtol=1e-4, atol=1e-5)


def test_tied_start():
  params, _ = top_k(dim=DIM, latents=LATENTS, k=K).init(jax.random.key(0))
  assert jnp.array_equal(params["W_enc"], params["W_dec"])
  np.testing.assert_allclose(jnp.linalg.norm(params["W_dec"], axis=1), 1.0, rtol=1e-6)
  free, _ = top_k(dim=DIM, latents=LATENTS, k=K, tied=False).init(jax.random.key(0))
  assert not jnp.array_equal(free["W_enc"], free["W_dec"])


def test_rows_stay_at_unit_length_and_moments_have_no_radial_part():
  params = {"W_dec": dictionary.unit(draw()), "b_dec": jnp.ones(DIM)}
  adam, plain = unit_rows_adam(0.1), optax.adam(0.1)
  moments, others = adam.init(params), plain.init(params)
  g = {"W_dec": draw(3), "b_dec": jnp.ones(DIM)}
  updates, after = adam.update(g, moments, params)
  usual, _ = plain.update(g, others, params)
  np.testing.assert_allclose(updates["b_dec"], usual["b_dec"], rtol=1e-6)
  moved = optax.apply_updates(params, updates)
  np.testing.assert_allclose(jnp.linalg.norm(moved["W_dec"], axis=1), 1.0, rtol=1e-6)
  radial = jnp.sum(after.inner[0].mu["W_dec"] * params["W_dec"], axis=1)
  np.testing.assert_allclose(radial, 0.0, atol=1e-6)


# Bad input


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: top_k(latents=8, k=9), "k=9 latents are to be active of a dictionary of 8"),
    (lambda: batch_top_k(latents=8, k=8.5), "of a dictionary of 8"),
    (lambda: top_k(k=0), "k is 0, expected a number greater than 0"),
    (lambda: top_k(latents=8, k=2, aux_k=9), "aux_k is 9"),
    (lambda: top_k(revival="resampel"), "Did you mean 'resample'"),
    (lambda: top_k(latents=8, k=4, anneal_from=2, anneal_steps=5), "anneal_from is 2"),
    (lambda: top_k(latents=8, k=4, anneal_from=6), "anneal_from=6 and anneal_steps=0"),
    (lambda: top_k(latents=8, k=4, anneal_steps=6), "anneal_from=0 and anneal_steps=6"),
    (lambda: batch_top_k(latents=8, k=4.0, anneal_from=6), "Set both"),
    (lambda: batch_top_k(latents=8, k=4.0, anneal_steps=6), "Set both"),
    (lambda: batch_top_k(latents=8, k=4.5, anneal_from=4, anneal_steps=6), "anneal_from is 4"),
    (lambda: matryoshka(latents=8, k=2.0, groups=(2, 5)), "sum to 7, and the dictionary has 8"),
    (lambda: jump_relu(bandwidth=0.0), "bandwidth is 0"),
  ],
)
def test_a_keyword_that_does_not_fit_is_named(make, message):
  with pytest.raises(InputError, match=message):
    make()


def test_batches_and_features_that_do_not_fit():
  channel = feature_choice(dim=DIM, latents=LATENTS, k=1.0)
  params, state = channel.init(jax.random.key(0))
  with pytest.raises(InputError, match="a batch of at least 12 examples"):
    go(channel, params, state, draw(0, 4), train=True)
  with pytest.raises(InputError, match="a batch of at least 10 examples"):
    batch_lib.chosen(jnp.ones((2, 4)), batch_lib.start(), 0.1, 0.9, True)
  with pytest.raises(InputError, match=r"features has shape \[32, 6\], expected \[any, 12\]"):
    gradient_top_k(dim=DIM, latents=LATENTS, k=K).apply(params, state, draw(), key=None, train=True)
  with pytest.raises(ConfigError, match="k=9 latents"):
    bind(dict(fn="ibjax.bottlenecks.sparse.top_k:top_k", latents=8, k=9))


@pytest.mark.parametrize("build", [top_k, batch_top_k, jump_relu, matching_pursuit])
def test_nan_activations_are_not_swallowed(build):
  k = {top_k: dict(k=2), matching_pursuit: dict(k=2), batch_top_k: dict(k=2.0)}.get(build, {})
  channel = build(dim=DIM, latents=LATENTS, **k)
  params, state = channel.init(jax.random.key(0))
  x = draw().at[0, 0].set(jnp.nan)
  code, _ = go(channel, params, state, x, train=True)
  assert np.isnan(np.sum(np.square(code.value - x)))


# The model that the activations are of


def test_stored_gradients_are_those_of_the_readout_and_logits_its_own():
  from ibjax.data.source import default_data_dir, load
  from ibjax.models.readout import readout

  planted = "planted:superposition:features=8,dim=6,l0=2,n=64,n_test=8"
  model = readout(hidden=64, out=10, gain=4.0)
  _, state = model.init(jax.random.key(0), jnp.zeros((1, 6)))
  stored = load(f"readout:gradient:{planted}", default_data_dir())
  both = stored.splits["train"].read(np.arange(20))
  x, g = both["x"][:, :6], both["x"][:, 6:]
  np.testing.assert_array_equal(x, both["y"])

  def loss(x):
    log_p = jax.nn.log_softmax(model.apply({}, state, x, key=None, train=False)[0])
    return -jnp.sum(jnp.max(log_p, axis=-1))

  truth = np.asarray(jax.grad(loss)(x))
  scale = np.linalg.norm(truth) / np.linalg.norm(g)
  np.testing.assert_allclose(scale * g, truth, rtol=1e-3, atol=1e-4)
  logits = load(f"readout:logits:{planted}", default_data_dir()).splits["train"].read(np.arange(20))
  spliced, _ = model.apply({}, state, logits["x"], key=None, train=False)
  np.testing.assert_allclose(spliced, logits["y"], rtol=1e-4, atol=1e-4)
  with pytest.raises(ConfigError, match="Did you mean 'gradient'"):
    load(f"readout:gradeint:{planted}", default_data_dir())


# What is measured while training


def test_the_variance_that_is_unexplained_does_not_hang_on_the_size_of_a_batch():
  objective = dictionary_objective()
  _, state = objective.init(jax.random.key(0), ObjectiveSpec(jnp.zeros(0), DIM, target_dim=DIM))
  y = 3.0 * draw(0, 300) + 50.0
  aux = {name: jnp.zeros(100) for name in ("sparsity", "l0", "revival")}

  def fvu(state, y, mask):
    code = Code(value=y, rate=None, bits=None, aux=aux)
    terms = objective.loss({}, state, Outputs(code, y + 1.0), dict(y=y, mask=mask), None, 0)
    return terms.metrics["fvu"], terms.state

  run, all_rows = jax.jit(fvu), jnp.ones(100, bool)
  first, _ = run(state, y[:100], all_rows)
  np.testing.assert_allclose(first, DIM / np.var(y[:100], axis=0).sum(), rtol=1e-5)
  for part in jnp.split(y, 3):
    _, state = run(state, part, all_rows)
  total = np.var(np.asarray(y, np.float64), axis=0).sum()
  np.testing.assert_allclose(state["targets"]["variance"], total, rtol=1e-5)
  alone, _ = run(state, y[:100], jnp.arange(100) < 1)  # the last batch of a split
  np.testing.assert_allclose(alone[0], DIM / total, rtol=1e-5)
