"""Walks over a random state machine, as digits: finite_state:states=100,successors=10."""

from __future__ import annotations

import dataclasses
import math
import pathlib

import numpy as np

from ibjax.data import fingerprint, options
from ibjax.data.source import Source, Split

DEFAULTS = dict(states=100, successors=10, window=128, seed=0, n=20_000, n_test=2048, sample=0)
BOS = 10  # the token before the first digit


@dataclasses.dataclass(frozen=True)
class Machine:
  """A random machine, whose states are written as digits.

  Attributes:
    states: how many.
    digits: tokens of a state, its number in base 10 with leading zeros.
    edges: [states, successors] int32: where each state goes, each with the same probability.
  """

  states: int
  digits: int
  edges: np.ndarray

  def adjacency(self) -> np.ndarray:
    """[states, states] bool: whether there is an edge."""
    found = np.zeros((self.states, self.states), bool)
    found[np.arange(self.states)[:, None], self.edges] = True
    return found

  def write(self, walks: np.ndarray) -> np.ndarray:
    """Writes states as tokens.

    Args:
      walks: [n, k] states.

    Returns:
      [n, 1 + k digits] int32: the token `BOS`, then the digits of every state, highest first.
    """
    power = 10 ** np.arange(self.digits)[::-1]
    digits = walks[:, :, None] // power % 10
    start = np.full((len(walks), 1), BOS)
    return np.concatenate([start, digits.reshape(len(walks), -1)], axis=1).astype(np.int32)

  def parse(self, tokens: np.ndarray) -> np.ndarray:
    """Reads states back; digits behind the last whole state are left out.

    Args:
      tokens: [n, t], as `write` writes them; a model may have put anything there.

    Returns:
      [n, k] int64 states; -1 where the digits are no state.
    """
    whole = (tokens.shape[1] - 1) // self.digits
    digits = tokens[:, 1 : 1 + whole * self.digits].reshape(len(tokens), whole, self.digits)
    number = digits.astype(np.int64) @ (10 ** np.arange(self.digits)[::-1])
    fits = ((digits >= 0) & (digits < 10)).all(axis=-1) & (number < self.states)
    return np.where(fits, number, -1)


def machine(states: int, successors: int, seed: int) -> Machine:
  """Draws a machine: every state goes to `successors` different states, each as likely.

  Args:
    states: how many.
    successors: of each.
    seed: the machine is a function of these three alone.

  Returns:
    The machine.

  Example:
    >>> from ibjax.data.sources.finite_state import machine
    >>> machine(10, 2, seed=0).adjacency().sum(axis=1).tolist()
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]

  Source: Tamkin, Taufeeque and Goodman 2024 (arXiv:2310.17230), section 4.
  """
  rng = np.random.default_rng([seed, 0])
  edges = np.stack([rng.choice(states, successors, replace=False) for _ in range(states)])
  return Machine(states, max(1, math.ceil(math.log10(states))), np.sort(edges).astype(np.int32))


def machine_of(source: str) -> Machine:
  """The machine of a source's name.

  Args:
    source: "finite_state" or "finite_state:key=value,...".

  Returns:
    The machine.

  Raises:
    ConfigError: an unknown key, or a value out of range.
  """
  values = _parse(source.partition(":")[2])
  return machine(values["states"], values["successors"], values["seed"])


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Draws walks over a machine.

  A walk starts at a state drawn uniformly. It is written as the token 10 (start) and the digits of
  its states, cut to window + 1 tokens: x are the first window of them, y those that follow. 11
  tokens in all.

  Args:
    argument: "" or "key=value,...". Keys: states, successors and seed make the machine; window, n
      and n_test the walks; sample numbers the draw of the training walks. The test walks are the
      same for every sample.
    data_dir: not used; nothing has to be prepared.

  Returns:
    A `Source` of int32 tokens.

  Raises:
    ConfigError: an unknown key, or a value out of range.

  Source: Tamkin, Taufeeque and Goodman 2024 (arXiv:2310.17230), section 4: 100 states, 10 edges
  each, walks of 128 tokens that are drawn anew for every batch; here a fixed number of them.
  """
  del data_dir
  values = _parse(argument)
  made = machine(values["states"], values["successors"], values["seed"])
  draws = {"train": (values["n"], values["sample"], 1), "test": (values["n_test"], 0, 2)}
  tokens = {
    split: _walks(made, values["window"], n, np.random.default_rng([values["seed"], part, sample]))
    for split, (n, sample, part) in draws.items()
  }

  def split_of(rows: np.ndarray) -> Split:
    def read(indices: np.ndarray):
      return {"x": rows[indices, :-1], "y": rows[indices, 1:]}

    return Split(len(rows), read, 8 * rows[:, 1:].size)

  return Source(
    name=f"finite_state:{argument}" if argument else "finite_state",
    splits={split: split_of(rows) for split, rows in tokens.items()},
    x_shape=(values["window"],),
    x_dtype=np.dtype(np.int32),
    num_classes=BOS + 1,
    class_names=(*map(str, range(10)), "start"),
    fingerprint=fingerprint.of_arrays({split: (rows, rows[:0]) for split, rows in tokens.items()}),
    train_labels=tokens["train"][:, 1:].ravel(),
  )


def _walks(made: Machine, window: int, n: int, rng: np.random.Generator) -> np.ndarray:
  length = -(-window // made.digits)
  walks = np.zeros((n, length), np.int32)
  walks[:, 0] = rng.integers(made.states, size=n)
  turns = rng.integers(made.edges.shape[1], size=(n, length))
  for place in range(1, length):
    walks[:, place] = made.edges[walks[:, place - 1], turns[:, place]]
  return made.write(walks)[:, : window + 1]


def _parse(text: str) -> dict[str, int]:
  where = "finite_state"
  values = options.parse(where, text, DEFAULTS)
  many = 10_000_000
  limits = dict(states=(2, 100_000), successors=(1, values["states"]), window=(2, 100_000))
  limits |= dict(seed=(0, 2**31), sample=(0, 2**31), n=(1, many), n_test=(1, many))
  options.check_range(where, values, limits)
  return {key: int(value) for key, value in values.items()}
