"""What a language model has learned of a state machine, and whether its codes stand for states.

Source: Tamkin, Taufeeque and Goodman 2024, "Codebook features" (arXiv:2310.17230), section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Trained
from ibjax.data.sources.finite_state import BOS, Machine, machine_of

Read = Callable[..., Mapping[str, Any]]


def transitions(samples: int = 100, states: int = 0) -> Callable[[Trained], dict[str, float]]:
  """Measures whether the walks that a model draws follow the machine's edges.

  Formula: walks are drawn from the start token at temperature 1. transition_accuracy is the share
  of consecutive states that an edge joins, first_transition_accuracy the same of the first pair.
  Digits that are no state count as wrong.

  Use it with a language model trained on a finite_state source.

  Args:
    samples: walks drawn.
    states: states of each; 0 takes as many as the window holds.

  Returns:
    `assess(trained) -> {"transition_accuracy", "first_transition_accuracy", "state_frac"}`, the
    last the share of drawn states that are states.

  Raises:
    InputError: no such model or source, or fewer than two states.

  Example:
    >>> from ibjax.evaluators.state_machine import transitions
    >>> assess = transitions(samples=100)

  Source: Tamkin et al. 2024 (arXiv:2310.17230), section 4.1.
  """
  checks.at_least("samples", samples, 1)

  def assess(trained: Trained) -> dict[str, float]:
    made = _machine(trained)
    window = trained.data("", "test")["x"].shape[1]
    count = states or (window - 1) // made.digits
    checks.at_least("states", count, 2)
    prompt = np.full((samples, 1), BOS, np.int32)
    assert trained.functions is not None
    tokens = trained.functions["generate"](prompt, 1 + count * made.digits, trained.seed)
    walks = made.parse(tokens)
    valid = _joined(made, walks[:, :-1], walks[:, 1:])
    return {
      "transition_accuracy": float(valid.mean()),
      "first_transition_accuracy": float(valid[:, 0].mean()),
      "state_frac": float((walks >= 0).mean()),
    }

  return assess


def state_codes(
  place: int = 4, examples: int = 512, pairs: int = 200
) -> Callable[[Trained], dict[str, float]]:
  """Measures whether codes stand for states, and whether setting them moves the model.

  Formula: looked at is the last digit of the state numbered `place` of each walk. Purity is the
  share of walks of the second half whose state is the one most frequent under their code in the
  first half, see `purity`. The code of a state is the one most frequent in it, counted on the first
  half too. Then, for pairs (i, j) of walks of the second half whose states differ, the codes at
  that digit of i are set to the codes of the state of j, in all sites of all heads. The
  distribution of the next state, exact by running through its digits, is compared with that of j
  untouched: the mass on the successors of j's state before and after, and the Jensen-Shannon
  divergence in nats before and after. "patched" sets not the codes of the state but those that j
  itself has there, "site" the codes of the state in one site alone.

  Use it with codebook features in a language model trained on a finite_state source.

  Args:
    place: which state of the walk, from 0.
    examples: test walks, at most.
    pairs: of walks.

  Returns:
    `assess(trained)` -> {"purity" (mean over sites), "purity/SITE", "successors_before_frac",
    "successors_after_frac", "successors_patched_frac", "successors_own_frac" (j's own),
    "js_before_nats", "js_after_nats", "js_patched_nats", "moved_frac" (the share of pairs whose
    most likely next state is a successor of the wanted state, after) and "moved_before_frac",
    "successors_site/SITE"}.

  Raises:
    InputError: no such model or source, or walks too short.

  Example:
    >>> from ibjax.evaluators.state_machine import state_codes
    >>> assess = state_codes(pairs=100)

  Source: Tamkin et al. 2024 (arXiv:2310.17230), sections 4.2 and 4.3; the exact distribution in
  place of samples, and the purity's average over codes, are ours.
  """
  for name, size in dict(place=place, examples=examples, pairs=pairs).items():
    checks.at_least(name, size, 0 if name == "place" else 1)

  def assess(trained: Trained) -> dict[str, float]:
    made = _machine(trained)
    assert trained.functions is not None
    read = trained.functions["read"]
    end = 1 + (place + 1) * made.digits  # tokens up to the state's last digit
    x = np.asarray(trained.data("", "test")["x"])[:examples]
    if x.shape[1] < end or len(x) < 4:
      raise InputError(
        f"the state {place} ends at token {end}, and there are {len(x)} walks of {x.shape[1]}. "
        "Set a smaller place, or a longer window."
      )
    x = x[:, :end]
    states = made.parse(x)[:, -1]
    indices = {site: codes[:, -1] for site, codes in read(x)["indices"].items()}
    if not indices:
      raise InputError("state_codes needs codebook features at config.sites; there are none.")
    found = {f"purity/{site}": purity(codes, states) for site, codes in indices.items()}
    found["purity"] = float(np.mean(list(found.values())))
    half = len(x) // 2
    table = {
      site: code_of_state(codes[:half], states[:half], made.states)
      for site, codes in indices.items()
    }
    first, second = _pairs(states, half, pairs, trained.seed)
    wanted = states[second]

    def after(on):
      return next_states(read, made, x[first], {site: _at_end(c, end) for site, c in on.items()})

    own = next_states(read, made, x[second], {})
    before = after({})
    # Of a code of k, all places are set; of a state never seen in the first half, none.
    set_ = after({site: codes[wanted] for site, codes in table.items()})
    patched = after({site: codes[second] for site, codes in indices.items()})
    successors = made.adjacency()[wanted]

    def mass(p):
      return float((p * successors).sum(axis=1).mean())

    def moved(p):
      return float(successors[np.arange(len(p)), p.argmax(axis=1)].mean())

    found |= {
      "successors_own_frac": mass(own),
      "successors_before_frac": mass(before),
      "successors_after_frac": mass(set_),
      "successors_patched_frac": mass(patched),
      "moved_before_frac": moved(before),
      "moved_frac": moved(set_),
      "js_before_nats": float(jensen_shannon(before, own).mean()),
      "js_after_nats": float(jensen_shannon(set_, own).mean()),
      "js_patched_nats": float(jensen_shannon(patched, own).mean()),
    }
    for site, codes in table.items():
      found[f"successors_site/{site}"] = mass(after({site: codes[wanted]}))
    return found

  return assess


def next_states(
  read: Read, made: Machine, tokens: np.ndarray, on: Mapping[str, np.ndarray]
) -> np.ndarray:
  """A model's exact distribution of the next state, its digits run through one by one.

  Args:
    read: as a language model's function "read".
    made: the machine.
    tokens: [n, t], up to the last digit of a state.
    on: site -> [n, t, heads, m], codes that are set.

  Returns:
    [n, states] float64; what is left to 1 goes to digits that are no state, and to the start token.
  """
  n, prefixes, total = len(tokens), np.zeros((1, 0), np.int32), np.ones((len(tokens), 1))
  for digit in range(made.digits):
    rows = np.repeat(tokens, len(prefixes), axis=0)
    given = np.concatenate([rows, np.tile(prefixes, (n, 1))], axis=1)
    held = {
      site: np.concatenate(
        [
          np.repeat(codes, len(prefixes), axis=0),
          np.full((len(given), digit, *codes.shape[2:]), -1, np.int32),
        ],
        axis=1,
      )
      for site, codes in on.items()
    }
    logits = np.asarray(read(given, held)["logits"], np.float64)[:, -1]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = (p / p.sum(axis=1, keepdims=True))[:, :10].reshape(n, len(prefixes), 10)
    total = (total[:, :, None] * p).reshape(n, -1)
    digits = np.tile(np.arange(10), len(prefixes))[:, None]
    prefixes = np.concatenate([np.repeat(prefixes, 10, axis=0), digits], axis=1).astype(np.int32)
  return total[:, : made.states]


def purity(codes: np.ndarray, labels: np.ndarray) -> float:
  """How well a code tells the label, on examples that were not counted to say what it stands for.

  Formula: l(c) = the label most frequent under code c in the first half of the examples, the
  smallest of several; purity = the share of the second half, of its codes one by one, with
  label = l(code). A code that the first half has not counts as wrong. Codes that say nothing of the
  label score no more than the most frequent label's share, however many they are.

  Args:
    codes: [n, heads, k] integers >= 0; each code of a head counts by itself.
    labels: [n] integers >= 0.

  Returns:
    A number in [0, 1], the mean over heads.

  Raises:
    InputError: fewer than two examples.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.state_machine import purity
    >>> purity(np.array([[[5]], [[7]], [[5]], [[5]]]), np.array([0, 1, 0, 1]))
    0.5
  """
  n, heads, k = codes.shape
  if n < 2:
    raise InputError(f"purity needs examples to label codes and others to score; there are {n}.")
  half, given = n // 2, np.repeat(labels, k)
  right = 0
  for head in range(heads):
    flat = codes[:, head].reshape(-1)
    counts = np.zeros((flat.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (flat[: half * k], given[: half * k]), 1)
    stands_for = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
    right += np.sum(stands_for[flat[half * k :]] == given[half * k :])
  return float(right / ((n - half) * heads * k))


def code_of_state(codes: np.ndarray, labels: np.ndarray, states: int) -> np.ndarray:
  """The codes that stand for each state: the k most frequent ones in it, of each head.

  Args:
    codes: [n, heads, k] integers.
    labels: [n] states.
    states: how many there are.

  Returns:
    [states, heads, k] int32; -1 where fewer codes were seen.
  """
  _, heads, k = codes.shape
  table = np.full((states, heads, k), -1, np.int32)
  for state in range(states):
    for head in range(heads):
      seen, counts = np.unique(codes[labels == state, head], return_counts=True)
      best = seen[np.argsort(-counts, kind="stable")][:k]
      table[state, head, : len(best)] = best
  return table


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
  """Jensen-Shannon divergence of rows, in nats, at most log 2 between distributions.

  Args:
    p: [n, c] >= 0.
    q: [n, c] >= 0.

  Returns:
    [n].

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.state_machine import jensen_shannon
    >>> jensen_shannon(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])).round(4).tolist()
    [0.6931]
  """
  middle = (p + q) / 2

  def kl(a):
    return np.sum(
      np.where(a > 0, a * np.log(np.where(a > 0, a, 1) / np.maximum(middle, 1e-300)), 0), 1
    )

  return (kl(p) + kl(q)) / 2


def _at_end(codes: np.ndarray, length: int) -> np.ndarray:
  """Codes [n, heads, k] at the last of so many tokens: [n, length, heads, k]."""
  on = np.full((len(codes), length, *codes.shape[1:]), -1, np.int32)
  on[:, -1] = codes
  return on


def _pairs(states: np.ndarray, half: int, pairs: int, seed: int):
  rng = np.random.default_rng([seed, 3])
  rest = np.arange(half, len(states))
  first, second = rng.choice(rest, (2, 20 * pairs))
  differ = np.flatnonzero(states[first] != states[second])[:pairs]
  if not len(differ):
    raise InputError("all walks are in one state at this place; there is nothing to move between.")
  return first[differ], second[differ]


def _joined(made: Machine, before: np.ndarray, after: np.ndarray) -> np.ndarray:
  known = (before >= 0) & (after >= 0)
  return known & made.adjacency()[np.where(known, before, 0), np.where(known, after, 0)]


def _machine(trained: Trained) -> Machine:
  source = trained.config["data"]["source"]
  if not source.startswith("finite_state") or not trained.functions:
    raise InputError(
      f"this measures a language model of walks over a state machine, and the run is of "
      f"{trained.config['program']} on '{source}'. Use a finite_state source."
    )
  return machine_of(source)
