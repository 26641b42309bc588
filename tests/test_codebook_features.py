"""Codebook features: the published losses' gradients, revival, interventions, a small machine."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.bottlenecks.codebook_features import codebook_features, intervention, normalised
from ibjax.core.errors import ConfigError, InputError
from ibjax.data.sources.finite_state import machine
from ibjax.evaluators.state_machine import jensen_shannon, next_states, purity
from ibjax.train import loop
from ibjax.train.assessing import assessor
from ibjax.train.warm_start import take_over, warm_state
from tests.helpers import tiny_setup

DIM, HEADS, CODES, K = 6, 2, 5, 2
SHAPE = dict(dim=DIM, heads=HEADS, codes=CODES, k=K)
X = jax.random.normal(jax.random.key(3), (4, DIM))
SITES = dict(
  path="configs/language/decoder_shakespeare.py",
  decoder__layers=1,
  train__duration="8 steps",
  eval__every="8 steps",
  checkpoint__every="8 steps",
)
FEATURES = "ibjax.bottlenecks.codebook_features:codebook_features"


@functools.cache
def started(**hyper):
  channel = codebook_features(**{**SHAPE, **hyper})
  params, state = channel.init(jax.random.key(0))
  params["scale"] = params["scale"] + 0.1 * jax.random.normal(jax.random.key(4), (HEADS, 3))
  return channel, params, state


@pytest.mark.parametrize("gather", [True, False])
def test_gradients_are_those_of_the_published_losses(gather):
  channel, params, state = started(gather=gather)
  upstream = jax.random.normal(jax.random.key(5), X.shape)
  beta = 0.25

  def loss(book, x, weights):
    code, _ = channel.apply({**params, "codebook": book}, state, x, key=None, train=True)
    terms = jnp.stack([code.aux["codebook"].mean(), code.aux["commitment"].mean()])
    return jnp.sum(upstream * code.value) + jnp.dot(weights, terms)

  a = np.asarray(normalised(params, X, HEADS))
  chosen = np.asarray(
    channel.apply(params, state, X, key=None, train=False)[0].aux["indices"]
  ).reshape(4, HEADS, K)
  value = np.asarray(params["codebook"])[np.arange(HEADS)[:, None], chosen].mean(axis=2)
  g, n = np.asarray(upstream).reshape(4, HEADS, 3), len(X)
  _, through_norm = jax.vjp(lambda x: normalised(params, x, HEADS), X)
  for codebook, commitment in ((0.0, 0.0), (1.0, 0.0), (1.0, beta)):
    weights = jnp.array([codebook, commitment])
    book, x = jax.grad(loss, argnums=(0, 1))(params["codebook"], X, weights)
    reaching = g * gather + codebook * 2 * (value - a) / n
    expected = np.zeros(params["codebook"].shape)
    for i, h, j in np.ndindex(chosen.shape):
      expected[h, chosen[i, h, j]] += reaching[i, h] / K
    np.testing.assert_allclose(book, expected, rtol=1e-4, atol=1e-5)
    wanted = through_norm(jnp.asarray(g + commitment * 2 * (a - value) / n, jnp.float32))[0]
    np.testing.assert_allclose(x, wanted, rtol=1e-4, atol=1e-5)


def test_the_codes_chosen_are_the_nearest_by_angle_and_k_goes_down():
  channel, params, state = started(k=1, k_start=3, k_steps=4.0)
  book, a = np.asarray(params["codebook"]), np.asarray(normalised(params, X, HEADS))
  cosine = np.einsum("nhd,hcd->nhc", a, book) / np.linalg.norm(book, axis=-1)
  order = np.argsort(-cosine, axis=-1)
  for step, count in ((0, 3), (2, 2), (4, 1), (9, 1)):
    code, _ = channel.apply(params, {**state, "step": jnp.int32(step)}, X, key=None, train=False)
    best = book[np.arange(HEADS)[:, None], order[..., :count]].mean(axis=2)
    np.testing.assert_allclose(code.value, best.reshape(4, DIM), rtol=1e-5, atol=1e-6)


def test_codes_that_nothing_chooses_are_found_dead_and_revived_from_the_data():
  channel, params, state = started(k=1, patience=2, noise=0.0)
  book = params["codebook"].at[:, 0].set(10.0)  # of no direction that the norm leaves
  params = {**params, "codebook": book}
  for _ in range(2):
    assert not bool(channel.due(state))
    code, state = channel.apply(params, state, X, key=None, train=True)
  used = np.zeros((HEADS, CODES), bool)
  used[np.arange(HEADS), np.asarray(code.aux["indices"])] = True
  assert bool(channel.due(state)) and not used.all()
  np.testing.assert_allclose(state["metrics"]["dead_frac"], 1 - used.mean(), rtol=1e-6)
  new, settled = channel.settle(params, state, X, jax.random.key(1))
  same = np.asarray((new["codebook"] == book).all(axis=-1))
  np.testing.assert_array_equal(same, used)
  a = np.asarray(normalised(params, X, HEADS))
  for head, number in np.argwhere(~used):
    assert np.isclose(a[:, head], new["codebook"][head, number], atol=1e-6).all(axis=-1).any()
  assert not bool(channel.due(settled))


def test_codes_start_from_the_data_where_asked():
  channel, params, state = started(k=1, start="data", noise=0.0)
  assert bool(channel.due(state))
  new, state = channel.settle(params, state, X, jax.random.key(1))
  assert not bool(channel.due(state))
  a = np.asarray(normalised(params, X, HEADS))
  for head in range(HEADS):
    apart = np.abs(np.asarray(new["codebook"])[head][:, None] - a[:, head]).max(axis=-1)
    assert (apart.min(axis=1) < 1e-6).all()
  assert started(k=1)[0].settle is None


def test_codes_are_switched_on_and_off():
  _, params, _ = started()
  book, value = np.asarray(params["codebook"]), intervention(**SHAPE)
  none, nothing_off = jnp.full((4, HEADS, 1), -1), jnp.zeros((HEADS, CODES), bool)
  natural, indices = value(params, X, none, nothing_off)
  channel, _, state = started()
  code, _ = channel.apply(params, state, X, key=None, train=False)
  np.testing.assert_allclose(natural, code.value, rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(indices.reshape(4, -1), code.aux["indices"])
  # The code that was chosen first is off: refilled by the next, or its place is empty.
  off = nothing_off.at[0, indices[0, 0, 0]].set(True)
  filled, others = value(params, X, none, off)
  assert not bool((others[:, 0] == indices[0, 0, 0]).any()) and bool((others >= 0).all())
  empty, left = value(params, X, none, off, refill=False)
  assert int(left[0, 0, 0]) == -1
  kept = book[0, int(indices[0, 0, 1])] / K
  np.testing.assert_allclose(empty[0, :3], kept, rtol=1e-5, atol=1e-6)
  assert float(jnp.abs(filled - empty).max()) > 1e-3
  # A code that is on takes the first place, at that row and head alone, off or not.
  on = none.at[2, 1, 0].set(4)
  forced, now = value(params, X, on, nothing_off.at[1, 4].set(True))
  assert int(now[2, 1, 0]) == 4 and not bool((now[:2, 1] == 4).any())
  np.testing.assert_allclose(
    forced[2, 3:], book[1, np.asarray(now[2, 1])].mean(axis=0), rtol=1e-5, atol=1e-6
  )
  both, _ = value(params, X, jnp.tile(jnp.array([1, 3]), (4, HEADS, 1)), nothing_off)
  np.testing.assert_allclose(both[0, :3], book[0, [1, 3]].mean(axis=0), rtol=1e-5, atol=1e-6)
  # With too few codes left to fill the places, these stay empty.
  last, left = value(params, X, none, jnp.ones((HEADS, CODES), bool).at[:, 3].set(False))
  np.testing.assert_array_equal(left, np.tile([3, -1], (4, HEADS, 1)))
  np.testing.assert_allclose(last[:, :3], np.tile(book[0, 3] / K, (4, 1)), rtol=1e-5, atol=1e-6)
  with pytest.raises(InputError, match="3 codes are switched on"):
    value(params, X, jnp.zeros((4, HEADS, 3), jnp.int32), nothing_off)


@pytest.mark.parametrize(
  ("hyper", "said"),
  [
    (dict(k=6), "k=6 codes of 5"),
    (dict(heads=4), "heads=4 do not divide"),
    (dict(codes=0), "is 0"),
  ],
)
def test_sizes_that_do_not_fit_are_said(hyper, said):
  with pytest.raises(InputError, match=said):
    codebook_features(**{**SHAPE, **hyper})


def test_scores_of_states_by_hand():
  # One head of two codes. The first half says: 0 stands for 0, 1 for 0, 2 for 0 (of two).
  codes = np.array([[[0, 1]], [[0, 2]], [[0, 2]], [[0, 1]], [[2, 3]], [[2, 0]]])
  assert purity(codes, np.array([0, 0, 1, 0, 1, 1])) == pytest.approx((1 + 1 + 0 + 0 + 0 + 0) / 6)
  assert purity(codes, np.array([0, 1, 1, 0, 1, 1])) == pytest.approx((0 + 1 + 1 + 0 + 1 + 1) / 6)
  p, q = np.array([[0.5, 0.5, 0.0]]), np.array([[0.5, 0.0, 0.5]])
  expected = 0.5 * np.log(2)  # half of the mass is apart
  np.testing.assert_allclose(jensen_shannon(p, q), expected)
  assert jensen_shannon(p, p) == 0

  def read(tokens, on):  # a model that knows: the next digit is the last one plus 1, for certain
    assert all(codes.shape[1] == tokens.shape[1] for codes in on.values())
    return {"logits": np.log(np.eye(11)[(tokens + 1) % 10] + 1e-12)}

  made = machine(100, 2, seed=0)
  tokens = made.write(np.array([[17, 23], [4, 98]]))
  found = next_states(read, made, tokens, {"site": np.zeros((2, 5, 1, 1), np.int32)})
  np.testing.assert_array_equal(found.argmax(axis=1), [45, 90])
  np.testing.assert_allclose(found.max(axis=1), 1.0, rtol=1e-6)


def test_codes_drawn_at_random_are_no_purer_than_chance():
  rng = np.random.default_rng(0)
  codes, labels = rng.integers(1000, size=(512, 4, 1)), rng.integers(100, size=512)
  assert purity(codes, labels) < 0.03
  assert purity(labels[:, None, None], labels) > 0.9  # not 1: states that the first half has not
  with pytest.raises(InputError, match="there are 1"):
    purity(codes[:1], labels[:1])


@pytest.fixture(scope="module")
def small(tmp_path_factory):
  """A bare decoder on ten states, and one with codebooks that starts from it."""
  folder = tmp_path_factory.mktemp("runs")
  bare = tiny_setup(**SITES)
  (folder / "bare").mkdir()
  state, lines, _ = loop.train(bare, folder / "bare")
  lines.close()
  (folder / "bare" / "manifest.json").write_text(json.dumps({"config": bare.config}))
  (folder / "bare" / "result.json").write_text("{}")
  sites = dict(
    sites=("block_*/attention/heads", "block_*/mlp"),
    bottleneck__fn=FEATURES,
    bottleneck__codes=16,
    bottleneck__k=1,
    bottleneck__patience=50,
    warm_start="bare",
  )
  return folder, jax.device_get(state), sites


def test_a_decoder_that_only_fits_by_its_shapes_is_refused(small):
  folder, _, sites = small
  (folder / "text").write_text("abcdefghijk" * 60)  # as many tokens as the machine has
  for change, told in (
    ({"decoder__heads": 1, "decoder__kv_heads": 1}, r"decoder.heads: 2 -> 1"),
    ({"decoder__rotary_base": 100}, r"decoder.rotary_base: 10000 -> 100"),
    ({"data__source": f"text:{folder / 'text'}:window=16"}, "stand for something else"),
  ):
    other = tiny_setup(**{**SITES, **sites, "data__batch_size": 8, **change})
    with pytest.raises(ConfigError, match=rf"another decoder.*\n.*{told}"):
      warm_state(other, other.config, folder / "other")


def test_a_decoder_with_codebooks_starts_from_one_without(small):
  folder, bare, sites = small
  setup = tiny_setup(**{**SITES, **sites})
  given = warm_state(setup, setup.config, folder / "tuned")
  fresh = setup.runner.init(setup.hyper)
  state = take_over(fresh, given)
  assert jax.tree.structure(state) == jax.tree.structure(fresh)
  np.testing.assert_array_equal(
    state.params["decoder"]["embed"]["embedding"], bare.params["decoder"]["embed"]["embedding"]
  )
  assert state.params["bottleneck"]["block_0.attention.heads"]["codebook"].shape == (2, 16, 8)
  wide = tiny_setup(**{**SITES, **sites, "decoder__hidden": 16})
  with pytest.raises(ConfigError, match=r"another decoder.*\n.*hidden: 32 -> 16"):
    warm_state(wide, wide.config, folder / "wide")


@pytest.mark.parametrize(
  ("function", "options", "said"),
  [
    ("read", dict(on={"block_0.mlp": np.full((1, 3, 1, 1), 16)}), r"lie in 16\.\.16, expected 0"),
    ("read", dict(on={"block_0.mlp": np.full((1, 3, 1, 1), -2)}), r"lie in -2\.\.-2, expected 0"),
    ("generate", dict(length=4, temperature=-1.0), "temperature is -1"),
  ],
)
def test_what_cannot_be_asked_of_a_model_is_said(small, function, options, said):
  _, _, sites = small
  setup = tiny_setup(**{**SITES, **sites, "warm_start": ""})
  state = setup.runner.init(setup.hyper)
  with pytest.raises(InputError, match=said):
    setup.program.functions[function](state, setup.hyper, np.zeros((1, 3), np.int32), **options)


@pytest.mark.slow
def test_codes_stand_for_the_states_of_a_small_machine_and_move_the_model(small):
  _, _, sites = small
  setup = tiny_setup(
    **{
      **SITES,
      **sites,
      "warm_start": "",
      "data__source": "finite_state:states=10,successors=2,window=16,n=512,n_test=256",
      "train__duration": "150 steps",
      "train__steps_per_dispatch": 50,
      "assess": {
        "walks": dict(fn="ibjax.evaluators.state_machine:transitions", samples=40),
        "codes": dict(fn="ibjax.evaluators.state_machine:state_codes", examples=256, pairs=40),
      },
    }
  )
  state = setup.runner.init(setup.hyper)
  feed = setup.train_feed()
  for table in feed.tables(iter([(0, 50), (50, 50), (100, 50)])):
    state = setup.runner.run(state, feed.data, table, np.int32(50), setup.hyper)
  found = assessor(setup)(setup.config, state)
  codes, walks = found["codes"], found["walks"]
  assert walks["transition_accuracy"] > 0.7  # 0.85; by chance 0.2
  assert codes["purity/block_0.mlp"] > 0.7  # 0.87; by chance 0.1
  assert codes["successors_own_frac"] > 0.85 and codes["successors_before_frac"] < 0.5
  assert codes["successors_after_frac"] > 0.75 and codes["moved_frac"] > 0.8  # 0.91 and 0.98
  assert codes["js_after_nats"] < codes["js_before_nats"] / 2
