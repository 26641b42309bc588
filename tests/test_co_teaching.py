"""Co-teaching: two networks apart when nothing is forgotten, and what they keep when labels lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, InputError
from ibjax.data.source import load
from ibjax.programs.co_teaching import select
from tests.helpers import final_state, tiny_setup

PATH = "configs/uncertainty/co_teaching_mnist.py"
PLAIN = "ibjax.programs.supervised:supervised"


def trained(tmp_path, name, **overrides):
  setup = tiny_setup(path=PATH, train__duration="30 steps", **overrides)
  return setup, final_state(setup, tmp_path / name)


def close(a, b, rtol=1e-6):
  leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all(np.allclose(x, y, rtol=rtol, atol=1e-7) for x, y in leaves)


def of(tree, peer):
  return {name: pair[peer] for name, pair in tree.items()}


def test_select_takes_the_smallest_that_count():
  distortion = jnp.array([5.0, 1.0, 2.0, jnp.nan, 0.0, 4.0])
  mask = jnp.array([True, True, True, True, False, True])
  for rate, rows in ((0.0, [0, 1, 2, 5]), (0.4, [1, 2, 5]), (0.6, [1, 2]), (0.99, [1])):
    kept = select(distortion, mask, rate)
    # What is not a number comes last; of what does not count, nothing is taken.
    assert np.flatnonzero(kept & ~jnp.isnan(distortion)).tolist() == rows
    assert not kept[4]
  ties = select(jnp.zeros(4), jnp.ones(4, bool), 0.5)
  assert ties.tolist() == [True, True, False, False]


def test_nothing_forgotten_is_two_networks_apart(tmp_path):
  _, both = trained(tmp_path, "both", co_teaching__forget_rate=0.0)
  _, alone = trained(tmp_path, "alone", program=PLAIN)
  assert close(of(both.params, "first"), alone.params)
  assert not close(of(both.params, "second"), alone.params, rtol=1e-2)


def test_a_step_is_on_the_examples_that_the_other_chose():
  setup = tiny_setup(path=PATH, co_teaching__gradual="1 steps", train__clip_norm=None)
  state = setup.runner.init(setup.hyper)
  data = setup.splits["train"].read(np.arange(64))
  batch = {**{k: jnp.asarray(v) for k, v in data.items()}, "mask": jnp.ones(64, bool)}
  step = jax.jit(setup.program.step)
  state = step(state, batch, setup.hyper)  # the first step forgets nothing
  after = step(state, batch, setup.hyper)

  def prediction(peer):
    one = state._replace(
      **{
        name: {part: {"first": pair[peer], "second": pair["second"]} for part, pair in tree.items()}
        for name, tree in (("params", state.params), ("states", state.states))
      }
    )
    return setup.program.forward(one, batch["x"], 0, setup.hyper)["prediction"]

  own = -np.asarray(prediction("second"))[np.arange(64), data["y"]]
  kept = np.sort(np.argsort(own)[: round(0.6 * 64)])
  # The same step of one network alone, on the rows that the second network finds easiest.
  plain = tiny_setup(path=PATH, program=PLAIN)
  part = {name: value[kept] for name, value in batch.items()}
  alone = plain.runner.init(plain.hyper)._replace(
    step=state.step,
    params=of(state.params, "first"),
    states=of(state.states, "first"),
    opt_state=_first_moments(state.opt_state),
  )
  expected = jax.jit(plain.program.step)(alone, part, plain.hyper)
  assert close(of(after.params, "first"), expected.params, rtol=1e-4)


def _first_moments(opt_state):
  """The optimiser's state of the first network: moments are trees like the parameters."""

  def is_pair(x):
    return isinstance(x, dict) and set(x) == {"first", "second"}

  return jax.tree.map(lambda x: x["first"] if is_pair(x) else x, opt_state, is_leaf=is_pair)


def test_what_is_kept_is_mostly_right(tmp_path):
  setup = tiny_setup(path=PATH, train__duration="12 epochs", co_teaching__gradual="4 epochs")
  state = final_state(setup, tmp_path)
  data = setup.splits["train"].read(np.arange(1408))
  true = load("digits").splits["train"].read(np.arange(1408))["y"]
  right = data["y"] == true
  outputs = setup.program.forward(state, jnp.asarray(data["x"]), 0, setup.hyper)
  distortion = -outputs["prediction"][jnp.arange(1408), data["y"]]
  kept = np.asarray(select(distortion, jnp.ones(1408, bool), 0.4))
  assert right.mean() == pytest.approx(0.6, abs=0.03)
  assert right[kept].mean() > 0.93 and kept.sum() == round(0.6 * 1408)


def test_the_forget_rate_is_traced_and_grows():
  setup = tiny_setup(path=PATH)
  assert "co_teaching.forget_rate" in setup.hyper
  assert "kept_frac" in setup.abstract.acc


@pytest.mark.parametrize(
  ("overrides", "error", "message"),
  [
    (dict(co_teaching__forget_rate=1.0), InputError, r"forget_rate is 1, expected .* \[0, 1\)"),
    (dict(plane__fn="ibjax.programs.plane:plane"), ConfigError, "tracks one network"),
    (
      dict(objective__fn="ibjax.objectives.representation.mcr2:mcr2"),
      ConfigError,
      "mcr2:mcr2 are of a whole batch",
    ),
  ],
)
def test_what_does_not_fit_is_explained(overrides, error, message):
  with pytest.raises(error, match=message):
    tiny_setup(path=PATH, **overrides)
