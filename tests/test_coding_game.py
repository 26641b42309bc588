"""The grid and its soft policy, the coding game, and the program of couplings."""

import copy

import numpy as np
import pytest

from ibjax.core.config import resolved
from ibjax.core.errors import ConfigError, InputError
from ibjax.exact.entropy_coupling import entropy
from ibjax.exact.grid_world import grid_world, soft_policy, value_of
from ibjax.programs.coding_game import action_entropy, coding_game, encoded, play
from ibjax.programs.couplings import couplings
from tests.helpers import load_config

UP, RIGHT = 0, 1


def config(name, **changes):
  made = load_config(f"configs/coding/{name}.py", "smoke")
  for key, value in changes.items():
    made.update_from_flattened_dict({key.replace("__", "."): value})
  return resolved(made)


def measured(measurement):
  return measurement.summarize({part: measurement.measure(part) for part in measurement.parts})


# The grid.


def test_steps_go_where_they_should():
  world = grid_world(slip=0.2)
  np.testing.assert_allclose(world.transitions.sum(2), 1.0)
  cell = lambda row, column: 8 * row + column
  # From (1, 2), down is an obstacle: it stays; a slip goes left or right.
  below = world.transitions[cell(1, 2), 2]
  assert below[cell(1, 2)] == pytest.approx(0.8)
  assert below[cell(1, 1)] == below[cell(1, 3)] == pytest.approx(0.1)
  # The corner (7, 0): left stays, and so does a slip down.
  left = world.transitions[world.start, 3]
  assert left[world.start] == pytest.approx(0.9) and left[cell(6, 0)] == pytest.approx(0.1)
  assert world.rewards[cell(0, 6), RIGHT] == pytest.approx(0.8)
  assert world.rewards[cell(6, 7), 2] == pytest.approx(-0.8)
  assert np.all(world.rewards[world.terminal] == 0)


def test_the_soft_policy_is_best_for_reward_and_entropy_together():
  world, beta = grid_world(4, start=(3, 0), goal=(0, 3), trap=(3, 3), obstacles=((1, 1),)), 0.05

  def objective(policy):
    gain = np.sum(policy * world.rewards, axis=1) + beta * np.array([entropy(p) for p in policy])
    moves = np.einsum("sa,sat->st", policy, world.transitions)
    gain[world.terminal], moves[world.terminal] = 0.0, 0.0
    return np.linalg.solve(np.eye(16) - world.discount * moves, gain)[world.start]

  best = soft_policy(world, beta)
  rng = np.random.default_rng(0)
  for size in (1e-3, 0.1, 1.0):
    for _ in range(10):
      other = best * np.exp(size * rng.normal(size=best.shape))
      assert objective(other / other.sum(1, keepdims=True)) < objective(best)


def test_the_entropy_of_a_policys_actions_is_the_mean_of_their_surprise():
  world = grid_world(4, start=(3, 0), goal=(0, 3), trap=(3, 3), obstacles=())
  policy = soft_policy(world, 0.02)
  rng, surprise = np.random.default_rng(0), []
  for _ in range(600):
    state, total = world.start, 0.0
    while not world.terminal[state]:
      action = rng.choice(4, p=policy[state])
      total -= np.log(policy[state, action])
      state = rng.choice(16, p=world.transitions[state, action])
    surprise.append(total)
  error = np.std(surprise) / np.sqrt(len(surprise))
  assert abs(np.mean(surprise) - action_entropy(world, policy)) < 4 * error


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(goal=(0, 8)), r"goal is \(0, 8\), outside a grid of 8 by 8"),
    (dict(goal=(7, 0)), "must be different cells"),
    (dict(slip=1.5), r"slip is 1.5, expected a number in \[0, 1\]"),
    (dict(discount=1.0), r"discount is 1, expected a number in \[0, 1\)"),
  ],
)
def test_a_grid_that_cannot_be_is_refused(changes, message):
  with pytest.raises(InputError, match=message):
    grid_world(**changes)


def test_a_temperature_of_zero_is_refused():
  with pytest.raises(InputError, match="beta is 0, expected a number greater than 0"):
    soft_policy(grid_world(), 0.0)


# The game.


def test_what_is_said_costs_no_reward():
  world = grid_world()
  policy = soft_policy(world, np.exp(-5.0))
  code = encoded({"method": "greedy", "rate_bits": 4.0, "messages": 32})
  rewards = [play(world, policy, code, np.random.default_rng([1, k])).reward for k in range(300)]
  error = np.std(rewards) / np.sqrt(len(rewards))
  assert error < 0.01
  assert abs(np.mean(rewards) - value_of(world, policy)) < 4 * error


def test_the_receivers_belief_is_bayes_rule():
  # One step: up says message 0 and right message 1; of the states alone, slips hide which it was.
  slip = 0.4
  world = grid_world(2, slip, start=(1, 0), goal=(0, 0), trap=(1, 1), obstacles=())
  policy = np.tile([0.5, 0.5, 0.0, 0.0], (4, 1))
  code = encoded({"method": "uniform", "rate_bits": 1.0, "messages": 2})
  episodes = {
    observed: [
      play(world, policy, code, np.random.default_rng([0, k]), observed, max_steps=1)
      for k in range(1500)
    ]
    for observed in ("actions", "states")
  }
  assert all(one.correct and one.belief == 1.0 for one in episodes["actions"])
  # The goal or the trap (0.8 of the time): odds of 1 - slip to slip / 2. Else: even.
  sure = (1 - slip) / (1 - slip / 2)
  moved = 1 - slip / 2
  assert {round(one.belief, 9) for one in episodes["states"]} == {
    *(round(value, 9) for value in (sure, 1 - sure, 0.5))
  }
  belief = np.mean([one.belief for one in episodes["states"]])
  correct = np.mean([one.correct for one in episodes["states"]])
  assert belief == pytest.approx(moved * (sure**2 + (1 - sure) ** 2) + (1 - moved) / 2, abs=0.02)
  assert correct == pytest.approx(moved * sure + (1 - moved) / 2, abs=0.04)


def test_accuracy_is_bounded_by_the_code_and_reaches_it_when_much_can_be_said():
  code = encoded({"method": "uniform", "rate_bits": 2.0, "messages": 16})
  world = grid_world()
  hot = [
    play(world, soft_policy(world, np.exp(-4.0)), code, np.random.default_rng([0, k]))
    for k in range(60)
  ]
  assert all(one.code_correct for one in hot)
  # Each of the four bins holds four messages: none is likelier, and the first is guessed.
  assert {one.belief for one in hot} == {0.25}


def test_nothing_is_said_through_a_rate_of_zero():
  row = measured(coding_game(config("coding_game", code__rate_bits=0.0, data__n=4)))
  assert row["belief_frac"] == pytest.approx(1 / 16)
  assert row["ceiling_frac"] == pytest.approx(1 / 16)
  assert row["rate_nats"] == row["information_nats"] == 0.0
  assert "compression_ratio" not in row


def test_a_run_is_a_function_of_its_seed_and_not_of_its_parts(monkeypatch):
  asked = config("coding_game")
  row = measured(coding_game(asked))
  monkeypatch.setattr("ibjax.programs.coding_game.BLOCK", 7)
  parts = coding_game(asked)
  assert parts.parts == ("episodes 0-6", "episodes 7-13", "episodes 14-19")
  assert measured(parts) == pytest.approx(row)
  other = measured(coding_game(config("coding_game", seed=1)))
  assert other["reward"] != row["reward"]


def test_couplings_are_measured_on_the_same_pairs():
  rows = {
    method: measured(couplings(config("couplings", coupling__method=method)))
    for method in ("independent", "max_seeking", "zero_seeking")
  }
  assert len({row["lower_bound_nats"] for row in rows.values()}) == 1
  for row in rows.values():
    assert row["above_bound_nats"] == pytest.approx(row["entropy_nats"] - row["lower_bound_nats"])
  assert rows["independent"]["above_bound_nats"] > 2.0
  assert 0 < rows["max_seeking"]["above_bound_nats"] < 0.4


@pytest.mark.parametrize(
  ("name", "key", "value", "message"),
  [
    ("coding_game", "code.method", "greddy", "Did you mean 'greedy'"),
    ("coding_game", "code.rate_bits", -1.0, "rate_bits is -1, expected a number at least 0"),
    ("coding_game", "game.observed", "action", "Did you mean 'actions'"),
    ("coding_game", "game.max_steps", 0, "max_steps is 0"),
    ("coding_game", "data.n", 0, "data.n is 0"),
    ("coding_game", "data.tasks", "bmi:*", "unknown config.data.tasks"),
    ("coding_game", "world.slip", 2.0, "slip is 2"),
    ("couplings", "coupling.method", "max_seking", "Did you mean 'max_seeking'"),
    ("couplings", "coupling.size", 0, "size is 0"),
    ("couplings", "data.tasks", "normal", "unknown config.data.tasks"),
  ],
)
def test_bad_configs_are_refused_before_anything_is_measured(name, key, value, message):
  asked = copy.deepcopy(config(name))
  section, _, leaf = key.partition(".")
  asked[section][leaf] = value
  with pytest.raises((ConfigError, InputError), match=message):
    {"coding_game": coding_game, "couplings": couplings}[name](asked)
