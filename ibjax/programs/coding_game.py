"""Measuring a Markov coding game with a limited rate: what the actions say, and what they earn."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ibjax.core import checks
from ibjax.core.resolver import bind
from ibjax.core.types import Measurement
from ibjax.exact import entropy_bounded_information as codes
from ibjax.exact.entropy_coupling import entropy, max_seeking
from ibjax.exact.grid_world import GridWorld, soft_policy, value_of

ENCODERS = {"greedy": codes.greedy, "uniform": codes.uniform_quantizer}
OBSERVED = ("actions", "states")
TASKS = ("grid_world",)
BLOCK = 50  # episodes to a part: what a stopped run does again at most


class Episode(NamedTuple):
  """What came of one message.

  Attributes:
    reward: discounted sum.
    reached: True when the goal was entered.
    steps: how many actions.
    correct: True when the receiver's best guess is the message.
    belief: the receiver's probability of the true message.
    code_correct: True when the receiver's best guess of the code is the code sent.
  """

  reward: float
  reached: bool
  steps: int
  correct: bool
  belief: float
  code_correct: bool


def coding_game(config: Mapping[str, Any]) -> Measurement:
  """Plays episodes of a game whose player sends a message by its actions, for free.

  Formula: a message M, uniform over `config.code.messages`, is encoded as T with H(T) <= R (the
  limit is `config.code.rate_bits`). At each step of the Markov decision process the player, who
  knows T, couples the receiver's belief b(t) with the policy pi(a|s) at little joint entropy, and
  draws a from that coupling given t: so actions are distributed as pi, and the reward is the
  policy's, whatever is said. Both then put b(t | a). At the end the receiver knows
  p(m) = sum_t p(m|t) b(t). pi is the policy of maximum entropy of temperature e^log_beta
  (`ibjax.exact.grid_world.soft_policy`).

  The row holds, over `config.data.n` episodes: `accuracy_frac` (the receiver's best guess is the
  message), `belief_frac` (its probability of the message), `code_accuracy_frac` (the guess of T),
  `reward` (discounted), `goal_frac`, `steps`; and, exactly, `rate_nats` = H(T),
  `information_nats` = I(M;T), `shortfall_nats` (what a better code could add at most),
  `compression_ratio` = H(M) / R, `ceiling_frac` (the accuracy of a receiver who is told T),
  `policy_value`, and `policy_bits` (entropy of the actions of an episode without an end).

  Assumptions: the paper's text was not at hand. The receiver sees states and actions
  (`config.game.observed="states"`: the states alone, through the slips), episodes end after
  `config.game.max_steps`, and the coupling is the greedy one of Sokota et al. 2022.

  Args:
    config: {"seed", "data": {"tasks": "grid_world", "n"}, "world": a section of
      `ibjax.exact.grid_world`, "game": {"log_beta", "observed", "max_steps"}, "code": {"method",
      "rate_bits", "messages"}}.

  Returns:
    The measurement, of a part to every 50 episodes.

  Raises:
    InputError: an unknown name, or a number outside its range.

  Source: Ebrahimi, Chen and Khisti 2024 (arXiv:2410.21666), section 4; Sokota et al. 2022
  (arXiv:2107.08295), algorithm MEME.
  """
  data, game, coded = config["data"], config["game"], config["code"]
  checks.one_of("config.data.tasks", data["tasks"], TASKS)
  checks.one_of("config.code.method", coded["method"], tuple(ENCODERS))
  checks.one_of("config.game.observed", game["observed"], OBSERVED)
  checks.at_least("config.data.n", data["n"], 1)
  checks.at_least("config.code.messages", coded["messages"], 1)
  checks.at_least("config.code.rate_bits", coded["rate_bits"], 0.0)
  checks.at_least("config.game.max_steps", game["max_steps"], 1)
  world: GridWorld = bind(config["world"])
  parts = {
    f"episodes {first}-{min(first + BLOCK, data['n']) - 1}": range(
      first, min(first + BLOCK, data["n"])
    )
    for first in range(0, data["n"], BLOCK)
  }

  def measure(part: str) -> dict[str, Any]:
    policy = soft_policy(world, math.exp(game["log_beta"]))
    code = encoded(coded)
    found = [
      play(world, policy, code, np.random.default_rng([config["seed"], number]), **_rules(game))
      for number in parts[part]
    ]
    return {"episodes": len(found)} | {
      name: float(np.sum([getattr(episode, name) for episode in found])) for name in Episode._fields
    }

  def summarize(done: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    n = sum(part["episodes"] for part in done.values())
    mean = {name: sum(part[name] for part in done.values()) / n for name in Episode._fields}
    policy, code = soft_policy(world, math.exp(game["log_beta"])), encoded(coded)
    limit = coded["rate_bits"] * math.log(2)
    row = {
      "accuracy_frac": mean["correct"],
      "belief_frac": mean["belief"],
      "code_accuracy_frac": mean["code_correct"],
      "reward": mean["reward"],
      "goal_frac": mean["reached"],
      "steps": mean["steps"],
      "rate_nats": code.rate_nats,
      "information_nats": code.information_nats,
      "shortfall_nats": code.shortfall_nats,
      "ceiling_frac": float(code.joint.max(0).sum()),
      "policy_value": value_of(world, policy),
      "policy_bits": action_entropy(world, policy) / math.log(2),
    }
    if limit > 0:
      row["compression_ratio"] = math.log(coded["messages"]) / limit
    return row

  return Measurement(
    method=coded["method"],
    data={
      "name": data["tasks"],
      "fingerprint": hashlib.sha256(data["tasks"].encode()).hexdigest(),
      "n": data["n"],
    },
    parts=tuple(parts),
    measure=measure,
    summarize=summarize,
  )


def encoded(coded: Mapping[str, Any]) -> codes.Code:
  """The code of uniform messages that a config asks for.

  Args:
    coded: {"method": "greedy" or "uniform", "rate_bits", "messages"}.

  Returns:
    The code.

  Example:
    >>> from ibjax.programs.coding_game import encoded
    >>> encoded({"method": "uniform", "rate_bits": 1.0, "messages": 4}).joint.shape
    (4, 2)
  """
  uniform = np.full(coded["messages"], 1.0 / coded["messages"])
  return ENCODERS[coded["method"]](uniform, coded["rate_bits"] * math.log(2))


def action_entropy(world: GridWorld, policy: np.ndarray) -> float:
  """The mean entropy of all actions of an episode: no more can be said by them.

  Formula: the expected sum over steps of H(pi(.|s)), in closed form.

  Args:
    world: the grid.
    policy: [s, a] probabilities.

  Returns:
    Nats.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.grid_world import grid_world
    >>> from ibjax.programs.coding_game import action_entropy
    >>> up = np.tile([1.0, 0.0, 0.0, 0.0], (4, 1))
    >>> small = grid_world(2, start=(1, 0), goal=(0, 0), trap=(1, 1), obstacles=())
    >>> action_entropy(small, up)
    0.0
  """
  moves = np.einsum("sa,sat->st", policy, world.transitions)
  moves[world.terminal] = 0.0
  per_step = np.array([0.0 if end else entropy(p) for end, p in zip(world.terminal, policy)])
  return float(np.linalg.solve(np.eye(len(moves)) - moves, per_step)[world.start])


def play(
  world: GridWorld,
  policy: np.ndarray,
  code: codes.Code,
  rng: np.random.Generator,
  observed: str = "actions",
  max_steps: int = 100,
) -> Episode:
  """Plays one episode with a message of its own.

  Args:
    world: the grid.
    policy: [s, a] what the actions must be distributed as.
    code: the code of the messages.
    rng: draws message, code, actions and slips.
    observed: "actions" when the receiver sees states and actions, "states" for states alone.
    max_steps: the episode ends after so many actions.

  Returns:
    An `Episode`.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.grid_world import grid_world, soft_policy
    >>> from ibjax.programs.coding_game import encoded, play
    >>> world = grid_world()
    >>> code = encoded({"method": "uniform", "rate_bits": 0.0, "messages": 1})
    >>> play(world, soft_policy(world, 0.01), code, np.random.default_rng(0)).correct
    True
  """
  messages, letters = code.joint.shape
  message = int(rng.choice(messages, p=code.joint.sum(1)))
  sent = int(rng.choice(letters, p=code.joint[message] / code.joint[message].sum()))
  belief = code.joint.sum(0)
  # The letters that are still possible, and their probabilities.
  known = np.arange(letters)
  state, reward, steps = world.start, 0.0, 0
  while not world.terminal[state] and steps < max_steps:
    # With one letter left there is nothing to say: the coupling is the policy.
    joint = max_seeking(belief, policy[state]) if len(known) > 1 else policy[state][None]
    mine = joint[np.flatnonzero(known == sent)[0]]
    action = int(rng.choice(len(mine), p=mine / mine.sum()))
    after = int(rng.choice(len(world.terminal), p=world.transitions[state, action]))
    if observed == "actions":
      likely = joint[:, action]
    else:
      likely = joint @ world.transitions[state, :, after]
    if len(known) > 1:
      kept = likely > 0
      known, belief = known[kept], likely[kept] / likely[kept].sum()
    reward += world.discount**steps * world.entered[after]
    state, steps = after, steps + 1
  guess = code.joint[:, known] / code.joint.sum(0)[known] @ belief
  return Episode(
    reward=float(reward),
    reached=bool(world.entered[state] > 0),
    steps=steps,
    correct=bool(np.argmax(guess) == message),
    belief=float(guess[message]),
    code_correct=bool(known[np.argmax(belief)] == sent),
  )


def _rules(game: Mapping[str, Any]) -> dict[str, Any]:
  return {"observed": game["observed"], "max_steps": game["max_steps"]}
