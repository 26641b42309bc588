"""What a bottleneck does to its parameters beside gradients: when, to what, what is forgotten."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.bottlenecks import identity
from ibjax.core.errors import ConfigError
from ibjax.core.types import Bottleneck, Code
from ibjax.data.feed import to_float
from ibjax.metrics.mean import finalize
from ibjax.programs.co_teaching import co_teaching
from tests.helpers import same, tiny, tiny_setup

EVERY = 4  # updates between two settlings
HERE = dict(
  bottleneck__fn="ibjax.bottlenecks.identity:centred",
  bottleneck__dim=4,
  objective__fn="ibjax.objectives.supervised.cross_entropy:cross_entropy",
)
PATH = "configs/supervised/deterministic_mnist.py"


def centred(dim=2, noise=0.0):
  """Subtracts a shift, which settles on the mean of the features' first column every few steps."""

  def init(key):
    return {"shift": jnp.zeros(dim), "scale": jnp.ones(dim)}, {
      "step": jnp.int32(0),
      "metrics": {"settled_count": jnp.float32(0.0), "rows": jnp.float32(0.0)},
    }

  def apply(params, state, features, *, key, train):
    value = params["scale"] * (features - params["shift"]) + 0.0 * noise
    return Code(value, None, None, {}), {**state, "step": state["step"] + train}

  def settle(params, state, features, key):
    shift = params["shift"].at[0].set(jnp.mean(features[:, 0]))
    count = state["metrics"]["settled_count"] + 1
    metrics = {"settled_count": count, "rows": jnp.float32(features.shape[0])}
    return {**params, "shift": shift}, {**state, "metrics": metrics}

  return Bottleneck(dim, init, apply, settle, lambda state: state["step"] % EVERY == 0)


@pytest.fixture(scope="module", autouse=True)
def named():
  """A config may name factories of the package alone: for these tests it has one more."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(identity, "centred", centred, raising=False)
    yield


@pytest.fixture(scope="module")
def setup(named):
  overrides = dict(train__ema=0.9, train__clip_norm=1.0, optimizer__learning_rate=0.0)
  return tiny_setup(path=PATH, **HERE, **overrides)


@pytest.fixture(scope="module")
def batch(setup):
  n = setup.config["data"]["batch_size"]
  rows = setup.splits["train"].read(np.arange(n))
  return {"x": jnp.asarray(rows["x"]), "y": jnp.asarray(rows["y"]), "mask": jnp.ones(n, bool)}


@pytest.fixture(scope="module")
def states(setup, batch):
  """The states before each of ten updates."""
  step = jax.jit(setup.program.step)
  state = setup.program.init(setup.hyper)
  found = [state]
  for _ in range(9):
    found.append(state := step(state, batch, setup.hyper))
  return found


def test_it_settles_when_due_and_the_count_is_reported(states):
  counts = [float(state.states["bottleneck"]["metrics"]["settled_count"]) for state in states]
  assert counts == [0, 1, 1, 1, 1, 2, 2, 2, 2, 3]
  # The line of the log averages over the updates: counts 1, 1, 1, 1, 2, 2, 2, 2, 3.
  np.testing.assert_allclose(finalize(states[-1].acc)["settled_count"], 15 / 9, rtol=1e-6)


def test_it_settles_on_the_features_of_the_batch_as_they_are(setup, batch, states):
  x = to_float(batch["x"], tuple(setup.config["data"]["value_range"]))
  layers = states[0].params["encoder"]
  # The recipe's encoder, relu after each of its layers, written out once more.
  h = x.reshape(len(x), -1)
  for name in sorted(layers):
    h = jax.nn.relu(h @ layers[name]["kernel"] + layers[name]["bias"])
  shift = states[1].params["bottleneck"]["shift"]
  # The learning rate is 0, so that nothing else moves it.
  np.testing.assert_allclose(shift, [jnp.mean(h[:, 0]), 0, 0, 0], rtol=1e-4, atol=1e-6)
  assert np.abs(shift[0]) > 1e-3
  # The average of the weights begins anew with the new value, where there is one.
  np.testing.assert_allclose(states[1].ema["bottleneck"]["shift"], shift, rtol=1e-6)


def test_moments_of_what_was_changed_are_forgotten(setup, batch, states):
  def moments(state):
    return state.opt_state[1][0].mu["bottleneck"]["shift"]  # behind the clipping

  # A batch whose first column has another mean, so that the second settling changes it too.
  other = {**batch, "x": 255 - batch["x"]}
  before = states[EVERY]
  after = setup.program.step(before, other, setup.hyper)
  anew = setup.program.step(before._replace(opt_state=states[0].opt_state), other, setup.hyper)
  assert np.all(np.abs(moments(before)) > 0)
  # mu' = 0.9 mu + 0.1 g, whose first part is gone where the entry was changed, and only there.
  np.testing.assert_allclose(moments(after)[0], moments(anew)[0], rtol=1e-5)
  past = 0.9 * moments(before)[1:]
  np.testing.assert_allclose(moments(after)[1:] - moments(anew)[1:], past, rtol=1e-4)


def test_a_run_that_is_held_does_not_settle(setup, batch, states):
  held = states[EVERY]._replace(bad_step=jnp.int32(0))
  after = setup.program.step(held, batch, setup.hyper)
  assert same(after.params, held.params) and same(after.states, held.states)


def test_members_settle_each_at_its_own_time(setup, batch, states):
  pair = [states[3], states[4]]
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pair)
  hyper = jax.tree.map(lambda value: jnp.stack([jnp.asarray(value)] * 2), setup.hyper)
  mapped = jax.jit(jax.vmap(setup.program.step, (0, None, 0)))(stacked, batch, hyper)
  for index, state in enumerate(pair):
    alone = states[state.step + 1]
    for found, expected in zip(
      jax.tree.leaves(jax.tree.map(lambda leaf, i=index: leaf[i], mapped.params)),
      jax.tree.leaves(alone.params),
      strict=True,
    ):
      np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  assert mapped.states["bottleneck"]["metrics"]["settled_count"].tolist() == [1.0, 2.0]


def test_it_settles_on_the_views_that_training_encodes(setup, batch):
  views = tiny_setup(
    path=PATH,
    **HERE,
    views__fn="ibjax.views.gaussian_noise:gaussian_noise",
    views__count=2,
  )
  state = jax.jit(views.program.step)(views.program.init(views.hyper), batch, views.hyper)
  assert state.states["bottleneck"]["metrics"]["rows"] == 2 * len(batch["x"])


def test_what_is_reported_of_a_batch_is_not_of_its_padding(batch):
  fsq = dict(HERE, bottleneck__fn="ibjax.bottlenecks.fsq:fsq", bottleneck__levels=15)
  setup = tiny_setup(path=PATH, **fsq)
  state = setup.program.init(setup.hyper)
  evaluate = jax.jit(setup.program.evaluate)
  some = {name: value[:8] for name, value in batch.items()}
  # As the feed pads: copies of the first row, which do not count.
  rows = np.r_[np.arange(8), np.zeros(56, int)]
  padded = {**{name: value[rows] for name, value in batch.items()}, "mask": jnp.arange(64) < 8}
  alone, among = (evaluate(state, given, 0, setup.hyper) for given in (some, padded))
  assert alone["code_perplexity"][0] > 2 * 8  # several symbols, so that padding would show
  for name in ("code_perplexity", "code_usage_frac"):
    np.testing.assert_allclose(among[name], alone[name], rtol=1e-6)
    assert among[name][1] == 8  # a batch weighs by its rows


def test_two_networks_are_refused():
  config = tiny(PATH, **HERE)
  config["co_teaching"] = {"forget_rate": 0.2, "gradual": "1 epochs"}
  with pytest.raises(ConfigError, match="starts from the data"):
    co_teaching(config, None, tiny_setup(path=PATH, **HERE).spec)
