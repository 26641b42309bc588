"""A grid with a goal and a trap, and its policy of maximum entropy, solved exactly.

Source: Ebrahimi, Chen and Khisti 2024 (arXiv:2410.21666), the grid of their Markov coding game
(figure 7) and its soft value iteration (algorithm 8); Haarnoja, Tang, Abbeel and Levine 2017
(arXiv:1702.08165), theorem 1, for the soft Bellman equation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp, softmax

from ibjax.core import checks
from ibjax.core.errors import InputError

Cell = tuple[int, int]

# Up, right, down, left: the two neighbours of an action in this order are across it.
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
OBSTACLES = ((2, 2), (3, 3), (4, 4), (5, 5))


class GridWorld(NamedTuple):
  """A Markov decision process as tables; s is the number of a cell, row by row.

  Attributes:
    transitions: [s, a, s] p(s'|s, a); a cell where an episode ends leads to itself.
    rewards: [s, a] mean reward of a step.
    entered: [s] reward of entering a cell.
    terminal: [s] bool, where an episode ends.
    start: number of the cell where it begins.
    discount: factor on the reward of each further step.
  """

  transitions: np.ndarray
  rewards: np.ndarray
  entered: np.ndarray
  terminal: np.ndarray
  start: int
  discount: float


def grid_world(
  size: int = 8,
  slip: float = 0.1,
  discount: float = 0.95,
  start: Cell = (7, 0),
  goal: Cell = (0, 7),
  trap: Cell = (7, 7),
  obstacles: tuple[Cell, ...] = OBSTACLES,
) -> GridWorld:
  """Builds the grid: +1 on entering the goal, -1 on entering the trap, either ends the episode.

  Assumptions: size, rewards, obstacles on the diagonal, slip and discount are the paper's; where
  start, goal and trap lie is drawn in a figure that was not at hand. Here start and goal are
  opposite corners, the obstacles a wall between them that is open at both ends, and the trap lies
  at one of the ends. A slip, with the probability given, moves to one of the two sides of the
  action, each as likely; a move into an obstacle or out of the grid stays.

  Args:
    size: cells along a side.
    slip: probability in [0, 1] that a step goes sideways.
    discount: in [0, 1).
    start: (row, column) of the first cell.
    goal: (row, column).
    trap: (row, column).
    obstacles: (row, column) of cells that cannot be entered.

  Returns:
    A `GridWorld` of size^2 states and four actions: up, right, down, left.

  Raises:
    InputError: a cell outside the grid or used twice, or a number outside its range.

  Example:
    >>> from ibjax.exact.grid_world import grid_world
    >>> world = grid_world()
    >>> world.transitions.shape, int(world.terminal.sum()), world.start
    ((64, 4, 64), 2, 56)
  """
  checks.at_least("size", size, 2)
  checks.between("slip", slip, 0.0, 1.0)
  checks.between("discount", discount, 0.0, 1.0, open_high=True)
  named = {"start": start, "goal": goal, "trap": trap}
  named |= {f"obstacle {k}": cell for k, cell in enumerate(obstacles)}
  for name, (row, column) in named.items():
    if not (0 <= row < size and 0 <= column < size):
      raise InputError(f"{name} is ({row}, {column}), outside a grid of {size} by {size} cells.")
  if len({tuple(cell) for cell in named.values()}) < len(named):
    raise InputError(f"start, goal, trap and obstacles must be different cells; found {named}.")
  walls = {tuple(cell) for cell in obstacles}

  def number(cell: Cell) -> int:
    return cell[0] * size + cell[1]

  transitions = np.zeros((size * size, 4, size * size))
  terminal = np.zeros(size * size, bool)
  terminal[[number(goal), number(trap)]] = True
  for row, column in np.ndindex(size, size):
    here = number((row, column))
    for action in range(4):
      for turn, chance in ((0, 1.0 - slip), (1, slip / 2), (3, slip / 2)):
        step = MOVES[(action + turn) % 4]
        to = (row + step[0], column + step[1])
        stays = terminal[here] or to in walls or min(to) < 0 or max(to) >= size
        transitions[here, action, here if stays else number(to)] += chance
  entered = np.zeros(size * size)
  entered[number(goal)], entered[number(trap)] = 1.0, -1.0
  rewards = np.where(terminal[:, None], 0.0, transitions @ entered)
  return GridWorld(transitions, rewards, entered, terminal, number(start), discount)


def soft_policy(world: GridWorld, beta: float, tolerance: float = 1e-10) -> np.ndarray:
  """The policy of maximum entropy, by iterating the soft Bellman equation.

  Formula: Q(s, a) = r(s, a) + discount E[V(s')], V(s) = beta log sum_a exp(Q(s, a) / beta), V = 0
  where an episode ends, policy = softmax(Q / beta). It maximises the discounted sum of the reward
  and beta times the entropy of the action, in nats: a larger beta acts more at random.

  Args:
    world: the grid.
    beta: temperature, greater than 0, in units of reward per nat.
    tolerance: iteration ends when no value changes by more.

  Returns:
    [s, a] probabilities.

  Raises:
    InputError: beta is not above 0.

  Example:
    >>> import numpy as np
    >>> from ibjax.exact.grid_world import grid_world, soft_policy
    >>> world = grid_world()
    >>> cold = soft_policy(world, 1e-3)[1]  # in the row of the goal: to the right
    >>> bool(cold[1] > 0.999)
    True

  Source: Haarnoja et al. 2017, theorem 1 and section 3.1.
  """
  checks.at_least("beta", beta, 0.0, strict=True)
  value = np.zeros(len(world.terminal))
  while True:
    quality = world.rewards + world.discount * world.transitions @ value
    new = np.where(world.terminal, 0.0, beta * logsumexp(quality / beta, axis=1))
    if np.max(np.abs(new - value)) <= tolerance:
      return softmax(quality / beta, axis=1)
    value = new


def value_of(world: GridWorld, policy: np.ndarray) -> float:
  """The expected discounted reward of a policy from the start, in closed form.

  Formula: V = (I - discount P_policy)^-1 r_policy at the start.

  Args:
    world: the grid.
    policy: [s, a] probabilities.

  Returns:
    The value, between -1 and 1.

  Example:
    >>> from ibjax.exact.grid_world import grid_world, soft_policy, value_of
    >>> world = grid_world(slip=0.0)
    >>> round(value_of(world, soft_policy(world, 1e-3)), 4) == round(0.95**13, 4)
    True
  """
  moves = np.einsum("sa,sat->st", policy, world.transitions)
  moves[world.terminal] = 0.0
  gain = np.sum(policy * world.rewards, axis=1)
  solved = np.linalg.solve(np.eye(len(gain)) - world.discount * moves, gain)
  return float(solved[world.start])
