"""The run that looks at narrow decoders: ranks that are known, a truncation worked out by hand."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DivergedError, InputError
from ibjax.core.types import Program
from ibjax.data import feed, source
from ibjax.exact.basis_aware import output_basis
from ibjax.models.decoder import decoder
from ibjax.models.nested_distillation import plain_nll
from ibjax.programs import in_memory
from ibjax.programs import softmax_bottleneck as bottleneck
from tests.helpers import tiny

CONFIG = "configs/language/softmax_bottleneck_shakespeare.py"


def test_the_ranks_of_narrow_decoders_are_their_widths(monkeypatch):
  def untrained(recipe, spec, split, steps, seed, points):
    model = decoder(**{k: v for k, v in recipe["decoder"].items() if k != "fn"}, out=11)
    return [jax.jit(model.init)(jax.random.key(seed), jnp.asarray(split["x"][:1]))[0]] * points

  monkeypatch.setattr(bottleneck.in_memory, "train", untrained)
  measurement = bottleneck.softmax_bottleneck(tiny(CONFIG))
  assert measurement.parts == ("width 4", "head 2", "truncation")
  row = measurement.summarize({part: measurement.measure(part) for part in measurement.parts})
  assert row["width_4_logit_rank"] == 4 and row["width_4_log_prob_rank"] == 5
  assert row["width_4_lost_nats"] == 0.0 and -1 < row["width_4_anisotropy"] < 1
  assert 0 < row["head_2_nll_nats"] < 5
  assert 0 <= row["truncation_accepted_mass_frac"] <= row["truncation_kept_mass_frac"] <= 1


def test_training_in_memory_lowers_the_loss_and_keeps_states_on_the_way():
  config = tiny(CONFIG, training__steps=30, training__points=3)
  data = source.load(config["data"]["tasks"], None)
  spec, tokens = in_memory.spec_of(data, config), feed.read_all(data.splits["train"])
  recipe = in_memory.with_decoder(config, {"width": 8, "hidden": 16})
  found = in_memory.train(recipe, spec, tokens, 30, 0, points=3)
  keywords = {k: v for k, v in recipe["decoder"].items() if k != "fn"} | {"out": 11}
  test = in_memory.whole_windows(feed.read_all(data.splits["test"]), 32)
  losses = [plain_nll(params, keywords, test) for params in found]
  assert losses[0] > losses[1] + 0.05 > losses[2] + 0.05
  assert losses[2] < np.log(11)


def counted(monkeypatch, bad=-1, **overrides):
  """A training of 4 steps of a program that counts them, and 100 more in its averages."""

  class State(NamedTuple):
    params: dict
    ema: dict
    bad_step: jax.Array

  def step(state, batch, hyper):
    n = state.params["decoder"] + 1
    failed = jnp.where(n == bad, n, state.bad_step)
    return State({"decoder": n}, {"decoder": 100 + n}, failed)

  start = State({"decoder": jnp.int32(0)}, {"decoder": jnp.int32(100)}, jnp.int32(-1))
  program = Program(lambda hyper: start, step, None, None)
  monkeypatch.setattr(in_memory, "resolve", lambda name: lambda recipe, mesh, spec: program)
  tokens = {"x": np.zeros((64, 3), np.int32), "y": np.zeros((64, 3), np.int32)}
  recipe = in_memory.with_decoder(tiny(CONFIG, **overrides), {})
  return [int(found) for found in in_memory.train(recipe, None, tokens, 4, 0, points=2)]


def test_training_in_memory_says_that_it_diverged(monkeypatch):
  assert counted(monkeypatch) == [2, 4]
  with pytest.raises(DivergedError, match=r"at step 3 of 4.*learning_rate"):
    counted(monkeypatch, bad=3)


def test_training_in_memory_gives_the_averages_that_are_asked_for(monkeypatch):
  assert counted(monkeypatch, recipe__train__ema=0.9) == [102, 104]


def test_whole_windows_leave_out_what_is_behind_the_end():
  x, y = np.arange(12).reshape(3, 4), np.arange(12).reshape(3, 4) + 1
  y[1, 3] = -1
  np.testing.assert_array_equal(
    in_memory.whole_windows({"x": x, "y": y}, 5), [[0, 1, 2, 3, 4], [8, 9, 10, 11, 12]]
  )


def test_truncation_keeps_the_rare_token_and_not_the_likely_one_that_is_confused():
  # See tests/test_language_spectra.py: the third has a direction of its own, the second has none.
  weights = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
  probs = np.array([[0.47, 0.47, 0.05, 0.01]])
  found = bottleneck.truncation(probs, output_basis(weights), delta=0.7)
  assert found["unlike_threshold_frac"] == 1.0 and found["accepted_mass_frac"] == 0.0
  assert found["kept_tokens"] >= 1 and found["kept_mass_frac"] < 0.53


@pytest.mark.parametrize(
  ("override", "said"),
  [
    (dict(training__widths="4,x"), r"1\.\.4096"),
    (dict(head__ranks="5"), r"1\.\.4"),
    (dict(training__widths="4,16", head__ranks="12"), r"1\.\.11"),  # tokens
    (dict(head__steps=0), "config.head.steps is 0"),
    (dict(recipe__sites=("block_*/mlp",)), "config.recipe.sites"),
    (dict(training__widths="5", recipe__decoder__heads=2), "multiple of heads=2"),
    (dict(truncation__delta=0.0), "delta"),
    (dict(data__tasks="digits"), "source of tokens"),
  ],
)
def test_a_run_that_cannot_be_is_refused_before_training(override, said):
  with pytest.raises((ConfigError, InputError), match=said):
    bottleneck.softmax_bottleneck(tiny(CONFIG, **override))
