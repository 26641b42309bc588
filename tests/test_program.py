"""The update: accumulation, clipping, averaging, remat, precision, minimax, and bad losses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.core.errors import ConfigError, DivergedError, InputError
from ibjax.core.types import Term, Terms
from ibjax.metrics.mean import finalize
from ibjax.programs import update
from ibjax.programs.frame import combine
from ibjax.programs.supervised import supervised
from ibjax.train import loop
from tests.helpers import final_state, same, tiny, tiny_setup, train

DETERMINISTIC = "configs/supervised/deterministic_mnist.py"


@pytest.fixture(autouse=True, scope="module")
def room_for_counting():
  """Compilations are counted below, and a process forgets the oldest when it has made many."""
  jax.clear_caches()


def step_once(setup, steps=1):
  state = setup.runner.init(setup.hyper)
  source = setup.train_feed()
  (table,) = source.tables(iter([(0, steps)]))
  return setup.runner.run(state, source.data, table, np.int32(steps), setup.hyper)


def test_accumulated_gradients_are_the_full_batch_gradient():
  # The deterministic model: microbatches of a stochastic one draw other noise.
  whole, parts = (step_once(tiny_setup(path=DETERMINISTIC, train__accumulate=n), 3) for n in (1, 4))
  for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
  a, b = (finalize(jax.device_get(s.acc)) for s in (whole, parts))
  np.testing.assert_allclose(a["loss_nats"], b["loss_nats"], rtol=1e-5)


def test_remat_changes_nothing_but_memory():
  plain, remat = (step_once(tiny_setup(train__remat=flag), 3) for flag in (False, True))
  for a, b in zip(jax.tree.leaves(plain.params), jax.tree.leaves(remat.params), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_clipping_bounds_the_norm_that_sgd_takes():
  overrides = dict(optimizer__fn="optax:sgd", optimizer__learning_rate=1.0)
  setup = tiny_setup(
    train__clip_norm=0.25, schedule__fn="ibjax.core.schedules:constant", **overrides
  )
  before = setup.runner.init(setup.hyper).params
  after = step_once(setup)
  moved = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, before))
  np.testing.assert_allclose(moved, 0.25, rtol=1e-5)
  assert finalize(jax.device_get(after.acc))["grad_norm"] > 0.25


def test_weight_average_by_hand():
  setup = tiny_setup(train__ema=0.5)
  states = [setup.runner.init(setup.hyper)]
  source = setup.train_feed()
  average = jax.device_get(states[0].params)
  state = states[0]
  for i in range(4):
    (table,) = source.tables(iter([(i, 1)]))
    state = setup.runner.run(state, source.data, table, np.int32(1), setup.hyper)
    decay = np.float32(min(0.5, (1 + i) / (10 + i)))
    params = jax.device_get(state.params)
    average = jax.tree.map(lambda e, p, d=decay: d * e + (1 - d) * p, average, params)
  for a, b in zip(jax.tree.leaves(average), jax.tree.leaves(state.ema), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_bfloat16_compute_keeps_float32_parameters_and_stays_close():
  exact, rough = (
    step_once(tiny_setup(train__compute_dtype=dtype), 10) for dtype in ("float32", "bfloat16")
  )
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(rough.params))
  a, b = (finalize(jax.device_get(s.acc))["loss_nats"] for s in (exact, rough))
  assert a != b
  np.testing.assert_allclose(a, b, rtol=0.02)


def test_a_new_beta_does_not_compile_again():
  setup = tiny_setup()
  source = setup.train_feed()
  state = setup.runner.init(setup.hyper)
  for i, beta in enumerate((0.0, 1e-3, 1.0)):
    (table,) = source.tables(iter([(i, 1)]))
    hyper = {**setup.hyper, "objective.beta": np.float32(beta)}
    state = setup.runner.run(state, source.data, table, np.int32(1), hyper)
  assert setup.runner.run._cache_size() == 1


ANNEALED = dict(
  beta_schedule__fn="ibjax.core.schedules:annealed",
  beta_schedule__start="0 steps",
  beta_schedule__length="4 steps",
)


def test_a_schedule_that_stays_at_one_changes_nothing_bit_for_bit(tmp_path):
  # One step of warm-up is over at once, but goes through the multiplication.
  plain = tiny_setup(train__duration="5 steps")
  times_one = tiny_setup(train__duration="5 steps", beta_schedule__warmup="1 steps")
  a, b = final_state(plain, tmp_path / "a"), final_state(times_one, tmp_path / "b")
  assert "beta" in b.acc and "beta" not in a.acc
  assert same((a.params, a.opt_state), (b.params, b.opt_state))


def test_an_annealed_beta_weighs_the_rate_in_training_and_evaluation(tmp_path):
  setup = tiny_setup(
    **ANNEALED,
    beta_schedule__initial=0.2,
    objective__beta=0.5,
    train__duration="8 steps",
    train__log_every="1 steps",
    eval__every="1 steps",
  )
  lines = train(setup, tmp_path)
  expected = 0.5 * (0.2 + 0.8 * np.minimum(1.0, np.arange(9) / 4))
  training = [line for line in lines if line["split"] == "train"]
  assert len(training) == 8
  for line in training:
    beta = expected[line["step"] - 1]  # the state before the update has done one step less
    np.testing.assert_allclose(line["beta"], beta, rtol=1e-6)
    loss = line["distortion_nats"] + beta * line["rate_nats"]
    np.testing.assert_allclose(line["loss_nats"], loss, rtol=1e-5)
  for line in (line for line in lines if line["split"] == "test"):
    loss = line["distortion_nats"] + expected[line["step"]] * line["rate_nats"]
    np.testing.assert_allclose(line["loss_nats"], loss, rtol=1e-5)
  assert setup.runner.run._cache_size() == 1 and setup.runner.evaluate._cache_size() == 1


def test_floats_of_the_schedule_of_beta_are_traced():
  setup = tiny_setup(**ANNEALED, beta_schedule__initial=0.2)
  assert "beta_schedule.initial" in setup.hyper
  source, betas = setup.train_feed(), []
  for value in (0.2, 0.7):
    state = setup.runner.init(setup.hyper)
    (table,) = source.tables(iter([(0, 1)]))
    hyper = {**setup.hyper, "beta_schedule.initial": np.float32(value)}
    after = setup.runner.run(state, source.data, table, np.int32(1), hyper)
    betas.append(finalize(jax.device_get(after.acc))["beta"] / setup.config["objective"]["beta"])
  np.testing.assert_allclose(betas, [0.2, 0.7], rtol=1e-6)
  assert setup.runner.run._cache_size() == 1


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (
      dict(path=DETERMINISTIC, **ANNEALED),
      r"has none. Objectives with one: .*ceb.* vib",
    ),
    ({**ANNEALED, "beta_schedule__length": "ten"}, r"config\.beta_schedule\.length='ten'"),
    (dict(beta_schedule__cycles=3), "unknown argument of ibjax.core.schedules:constant 'cycles'"),
    (dict(**ANNEALED, beta_schedule__initial=-1.0), "initial is -1"),
  ],
)
def test_a_schedule_of_beta_that_does_not_fit_is_explained(overrides, message):
  with pytest.raises(ConfigError, match=message):
    tiny_setup(**overrides)


def test_the_step_compiles_once_in_a_run_of_uneven_dispatches(tmp_path):
  setup = tiny_setup(
    train__duration="37 steps",
    train__log_every="7 steps",
    eval__every="11 steps",
    train__steps_per_dispatch=5,
  )
  train(setup, tmp_path)
  assert setup.runner.run._cache_size() == 1
  assert setup.runner.evaluate._cache_size() == 1


def test_where_dispatches_are_cut_changes_nothing(tmp_path):
  runs = [
    final_state(
      tiny_setup(train__steps_per_dispatch=depth, train__duration="23 steps"), tmp_path / str(depth)
    )
    for depth in (1, 4, 50)
  ]
  assert same(runs[0], runs[1]) and same(runs[0], runs[2])


def test_several_training_samples_average_the_same_loss():
  one, many = (
    step_once(tiny_setup(train__samples=n, optimizer__learning_rate=0.0)) for n in (1, 64)
  )
  a, b = (finalize(jax.device_get(s.acc)) for s in (one, many))
  np.testing.assert_allclose(a["rate_nats"], b["rate_nats"], rtol=1e-5)
  np.testing.assert_allclose(a["distortion_nats"], b["distortion_nats"], rtol=0.1)


def test_dropout_acts_in_training_only_and_its_rate_is_traced():
  setup = tiny_setup(path=DETERMINISTIC, encoder__dropout=0.5)
  assert "encoder.dropout" in setup.hyper
  state = setup.runner.init(setup.hyper)
  batch = next(iter(setup.eval_feed("test")))
  evaluate = lambda hyper: jax.device_get(
    setup.runner.evaluate(state, batch, np.int32(0), hyper)["loss_nats"][0]
  )
  assert evaluate(setup.hyper) == evaluate({**setup.hyper, "encoder.dropout": np.float32(0.9)})
  losses = []
  for rate in (0.0, 0.9):
    fresh = setup.runner.init(setup.hyper)
    source = setup.train_feed()
    (table,) = source.tables(iter([(0, 1)]))
    hyper = {**setup.hyper, "encoder.dropout": np.float32(rate)}
    after = setup.runner.run(fresh, source.data, table, np.int32(1), hyper)
    losses.append(finalize(jax.device_get(after.acc))["loss_nats"])
  assert losses[0] != losses[1]


def test_minimax_terms_are_climbed_by_the_critic_and_descended_by_the_rest():
  mask = jnp.ones(1, bool)

  def loss(params, states, batch, key, step, hyper):
    # f = w c - c^2 / 2: the critic's best answer is c = w.
    w, c = params["encoder"], params["objective"]
    terms = Terms(
      losses={"a_nats": Term(w**2), "b_nats": Term(w * c - c**2 / 2, 3.0, minimax=True)}, state={}
    )
    losses, metrics = combine(terms, mask)
    return losses, (states, metrics)

  config = tiny()
  params = {"encoder": jnp.float32(2.0), "objective": jnp.float32(0.5)}
  spec = tiny_setup().spec
  hyper = {"seed": np.int32(0)}
  state = update.init_state(params, {}, loss, {}, config, spec, hyper)
  grads, value, _, metrics = update._gradients(loss, config, state, {}, hyper)
  np.testing.assert_allclose(grads["encoder"], 2 * 2.0 + 3 * 0.5)
  np.testing.assert_allclose(grads["objective"], -3 * (2.0 - 0.5))
  np.testing.assert_allclose(value, 4.0 + 3 * (1.0 - 0.125))
  np.testing.assert_allclose(metrics["loss_nats"][0] / metrics["loss_nats"][1], value)


def test_the_frame_refuses_values_that_are_not_per_example():
  terms = Terms(losses={"a_nats": Term(jnp.zeros((2, 2)))}, state={})
  with pytest.raises(InputError, match="one value per example"):
    combine(terms, jnp.ones(2, bool))
  clash = Terms(losses={"a_nats": Term(jnp.zeros(2))}, metrics={"a_nats": jnp.zeros(2)}, state={})
  with pytest.raises(InputError, match="alike"):
    combine(clash, jnp.ones(2, bool))


def test_a_bad_loss_stops_the_run_and_saves_the_state_that_made_it(tmp_path):
  # Plain SGD at this rate explodes within a few steps.
  overrides = dict(
    optimizer__fn="optax:sgd", optimizer__learning_rate=1e6, train__duration="200 steps"
  )
  setup = tiny_setup(path=DETERMINISTIC, **overrides)
  with pytest.raises(DivergedError, match=r"at step \d+; offending: .*_nats") as error:
    train(setup, tmp_path)
  step = int(str(error.value).split("at step ")[1].split(";")[0])
  from ibjax.train.checkpoint import Checkpoints

  kept = Checkpoints(tmp_path / "diverged", keep=1, best="", report=print, read_only=True)
  saved, state = kept.restore(setup.abstract)
  assert saved == step == int(state.step) == int(state.bad_step)
  # The state is the one before the bad update: replaying the step gives the bad loss again.
  source = setup.train_feed()
  (table,) = source.tables(iter([(step, 1)]))
  again = setup.runner.run(
    state._replace(bad_step=jnp.int32(-1)), source.data, table, np.int32(1), setup.hyper
  )
  assert int(again.bad_step) == step
  assert not (tmp_path / "result.json").exists()


def test_a_width_set_by_hand_is_refused():
  config = tiny()
  config["encoder"]["out"] = 7
  with pytest.raises(ConfigError, match="follows from the bottleneck"):
    supervised(config, None, tiny_setup().spec)


@pytest.mark.parametrize("batch_size", [7, 64, 359, 500])
def test_an_evaluation_does_not_depend_on_how_the_split_is_cut(batch_size):
  setup = tiny_setup(path=DETERMINISTIC, eval__batch_size=batch_size)
  state = setup.runner.init(setup.hyper)
  found = loop.evaluate(setup, state, setup.eval_feed("test"))
  whole = setup.splits["test"].read(np.arange(359))
  batch = {**whole, "mask": np.ones(359, bool)}
  exact = setup.program.evaluate(state, batch, np.int32(0), setup.hyper)
  for name, (total, count) in exact.items():
    assert count == 359
    np.testing.assert_allclose(found[name], total / 359, rtol=1e-5, err_msg=name)


def test_a_log_line_averages_the_steps_since_the_last_one(tmp_path):
  often, seldom = (
    train(tiny_setup(train__duration="20 steps", train__log_every=f"{n} steps"), tmp_path / str(n))
    for n in (5, 10)
  )
  pick = lambda lines: [line for line in lines if line["split"] == "train"]
  for i, line in enumerate(pick(seldom)):
    pair = pick(often)[2 * i : 2 * i + 2]
    for name in ("loss_nats", "rate_nats", "err_frac"):
      np.testing.assert_allclose(line[name], np.mean([p[name] for p in pair]), rtol=1e-5)


def test_every_step_draws_new_noise():
  setup = tiny_setup(optimizer__learning_rate=0.0)
  source = setup.train_feed()
  (table,) = source.tables(iter([(0, 1)]))
  losses = []
  for step in (0, 1):  # the same batch and parameters at another step
    state = setup.runner.init(setup.hyper)._replace(step=jnp.int32(step))
    after = setup.runner.run(state, source.data, table, np.int32(1), setup.hyper)
    losses.append(finalize(jax.device_get(after.acc)))
  assert losses[0]["rate_nats"] == losses[1]["rate_nats"]
  assert losses[0]["distortion_nats"] != losses[1]["distortion_nats"]
