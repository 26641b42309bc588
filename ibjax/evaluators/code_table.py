"""What the codes of a language model answer to, and what they do to it when they are switched on.

Source: Tamkin, Taufeeque and Goodman 2024, "Codebook features" (arXiv:2310.17230), section 5.
"""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.files import write_text
from ibjax.core.types import Trained
from ibjax.evaluators.state_machine import jensen_shannon, purity

FILE = "codes.json"
BEFORE, BEHIND = 24, 8  # tokens shown around the one at which a code fires
LEAST = 20  # tokens at which a code fires, below which it is not described
PLACES = 64  # at which a code is set
OFTEN = 100  # tokens at which a code fires, above which it does not rank higher for them


def code_table(
  rows: int = 24,
  windows: int = 96,
  contexts: int = 4,
  length: int = 120,
  temperature: float = 0.7,
  split: str = "test",
) -> Callable[[Trained], dict[str, float]]:
  """Describes codes by the contexts that fire them, and by samples of the model steered with them.

  Formula: a code is described if it fires at 20 tokens or more of the windows; of these, the `rows`
  codes whose tokens are the least mixed, by min(n, 100) (H(token) - H(token | c)) for n tokens, are
  shown, spread evenly over the sites: tokens at which the code fires, the next tokens that follow
  there, contexts, and a text that the model goes on with from one and the same prompt (24 tokens,
  or what the window or the sample has room for) while the code is on at every position. Measured
  of the shown: p, the mean distribution of the next token where the code fires, against the mean
  distribution at 64 places drawn at random, before the code is set there (at the last token alone),
  and after: their Jensen-Shannon divergences in nats.

  In the run's folder it leaves codes.json, which the page of the run shows.

  Use it with codebook features in a language model of text.

  Args:
    rows: codes shown.
    windows: of the split that are read, the first ones.
    contexts: of each code.
    length: tokens of a sample, its prompt among them; at least 2.
    temperature: of the samples.
    split: that is read.

  Returns:
    `assess(trained)` -> {"token_purity", "next_purity" (`ibjax.evaluators.state_machine.purity` of
    the token and the one that follows, of the second half of the windows; means over sites),
    "used_frac" (of all codes), "js_before_nats", "js_after_nats" (NaN where no code fires often
    enough to be described)}.

  Raises:
    InputError: a size below its least, a model without codebook features, or fewer than two tokens
      that another follows.

  Example:
    >>> from ibjax.evaluators.code_table import code_table
    >>> assess = code_table(rows=12)

  Source: Tamkin et al. 2024 (arXiv:2310.17230), section 5, whose tables of codes these follow; the
  order and the divergences are ours.
  """
  for name, size in dict(rows=rows, windows=windows, contexts=contexts, length=length).items():
    checks.at_least(name, size, 2 if name == "length" else 1)
  checks.at_least("temperature", temperature, 0.0)

  def assess(trained: Trained) -> dict[str, float]:
    assert trained.functions is not None
    read = trained.functions["read"]
    data = trained.data("", split)
    # Without a last window that is filled up behind the end of the text.
    x = np.asarray(data["x"])[(np.asarray(data["y"]) >= 0).all(axis=1)][:windows]
    if x[:, 1:].size < 2:
      raise InputError(f"code_table needs two tokens that another follows; x is {list(x.shape)}.")
    found = read(x)
    indices, logits = found["indices"], np.asarray(found["logits"], np.float64)
    if not indices:
      raise InputError("code_table needs codebook features at config.sites; there are none.")
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p = (p / p.sum(axis=-1, keepdims=True)).reshape(x.size, -1)
    shown = _chosen(indices, x, trained.num_classes, rows)
    fires = [(indices[site][:, :, head] == code).any(axis=-1) for site, head, code in shown]
    heads = {site: codes.shape[2] for site, codes in indices.items()}
    before, after = _apart(read, x, p, shown, fires, heads, trained.seed)
    given = min(_reach(x), length - 1)
    prompt = np.tile(x[:1, :given], (len(shown) + 1, 1))  # the last is not steered
    held = _set([*shown, None], heads, 1, length, slice(given - 1, None))
    drawn = trained.functions["generate"](
      prompt, length, seed=trained.seed, temperature=temperature, on=held
    )
    samples = [_text(row[given:], trained.names) for row in drawn]
    table = [
      _row(*shown[i], fires[i], x, trained.names, contexts)
      | {"steered": samples[i]}
      | {"js_before_nats": round(before[i], 4), "js_after_nats": round(after[i], 4)}
      for i in range(len(shown))
    ]
    if trained.folder is not None:
      page = {
        "prompt": _text(prompt[0], trained.names),
        "free": samples[-1],
        "codes": table,
      }
      write_text(pathlib.Path(trained.folder) / FILE, json.dumps(page, indent=1))
    assert trained.params is not None
    books = trained.params["bottleneck"]
    here, next_ = x[:, :-1].reshape(-1), x[:, 1:].reshape(-1)

    def pure(labels):
      flat = (codes[:, :-1].reshape(-1, *codes.shape[2:]) for codes in indices.values())
      return float(np.mean([purity(codes, labels) for codes in flat]))

    used = sum(
      len(np.unique(codes[:, :, head]))
      for codes in indices.values()
      for head in range(codes.shape[2])
    )
    total = sum(book["codebook"].shape[0] * book["codebook"].shape[1] for book in books.values())
    return {
      "token_purity": pure(here),
      "next_purity": pure(next_),
      "used_frac": used / total,
      "js_before_nats": float(np.mean(before)) if shown else math.nan,
      "js_after_nats": float(np.mean(after)) if shown else math.nan,
    }

  return assess


def _reach(x: np.ndarray) -> int:
  """How many tokens the model is given before it goes on."""
  return min(BEFORE, x.shape[1] // 2)


def _apart(
  read: Callable[..., Mapping[str, Any]],
  x: np.ndarray,
  p: np.ndarray,
  shown: Sequence[tuple[str, int, int]],
  fires: Sequence[np.ndarray],
  heads: Mapping[str, int],
  seed: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Divergences of each code from where it fires by itself: [codes] before it is set, and after."""
  if not shown:
    return np.zeros(0), np.zeros(0)
  reach, rng = _reach(x), np.random.default_rng([seed, 5])
  last = max(x.shape[1] - 1, reach + 1)  # windows of two tokens have one place
  places = rng.integers(len(x), size=PLACES), rng.integers(reach, last, size=PLACES)
  tokens = np.stack([x[i, t - reach + 1 : t + 1] for i, t in zip(*places)])
  own = np.stack([p[where.reshape(-1)].mean(axis=0) for where in fires])
  # One call for all codes: block b of the rows has code b on at its last token.
  blocks = np.tile(tokens, (len(shown), 1))
  at_end = _set(shown, heads, PLACES, reach, slice(reach - 1, None))
  before, after = (
    jensen_shannon(_mean_next(read(blocks, on)["logits"], len(shown)), own) for on in ({}, at_end)
  )
  return before, after


def _chosen(indices, x: np.ndarray, classes: int, rows: int) -> list[tuple[str, int, int]]:
  """The codes of each site whose tokens are the least mixed, in turns over the sites."""
  lists = []
  all_ = np.bincount(x.reshape(-1), minlength=classes) / x.size
  for site, codes in indices.items():
    scored = []
    for head in range(codes.shape[2]):
      flat = codes[:, :, head].reshape(x.size, -1)
      counts = np.zeros((flat.max() + 1, classes))
      np.add.at(counts, (flat, np.repeat(x.reshape(-1)[:, None], flat.shape[1], axis=1)), 1)
      n = counts.sum(axis=1)
      share = counts / np.maximum(n, 1)[:, None]
      gain = np.minimum(n, OFTEN) * (_entropy(all_) - _entropy(share))
      scored += [(gain[code], site, head, code) for code in np.flatnonzero(n >= LEAST)]
    lists.append(sorted(scored, reverse=True))
  turns = [row[i] for i in range(rows) for row in lists if i < len(row)]
  return [(site, head, int(code)) for _, site, head, code in turns[:rows]]


def _entropy(p: np.ndarray) -> np.ndarray:
  return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0), axis=-1)


def _set(
  shown: Sequence[tuple[str, int, int] | None],
  heads: Mapping[str, int],
  rows: int,
  t: int,
  where: slice,
) -> dict[str, np.ndarray]:
  """Codes that are on: block b of so many rows has code b, at some of its t tokens."""
  on = {site: np.full((len(shown) * rows, t, h, 1), -1, np.int32) for site, h in heads.items()}
  for b, one in enumerate(shown):
    if one is not None:
      site, head, code = one
      on[site][b * rows : (b + 1) * rows, where, head] = code
  return on


def _mean_next(logits: Any, blocks: int) -> np.ndarray:
  """The mean distribution after the last token, of each block of rows: [blocks, c]."""
  last = np.asarray(logits, np.float64)[:, -1]
  q = np.exp(last - last.max(axis=1, keepdims=True))
  return (q / q.sum(axis=1, keepdims=True)).reshape(blocks, -1, q.shape[-1]).mean(axis=1)


def _row(
  site: str,
  head: int,
  code: int,
  fires: np.ndarray,
  x: np.ndarray,
  names: Sequence[str],
  contexts: int,
) -> dict[str, Any]:
  """What is told of one code: how often it fires, at which tokens, before which, and where."""
  rows, places = np.nonzero(fires)
  inside = places < x.shape[1] - 1
  spread = np.linspace(0, len(rows) - 1, min(contexts, len(rows))).astype(int)
  return {
    "site": site,
    "head": head,
    "code": code,
    "fires_frac": round(float(fires.mean()), 5),
    "tokens": _frequent(x[rows, places], names),
    "next": _frequent(x[rows[inside], places[inside] + 1], names),
    "contexts": [
      [
        _text(x[i, max(0, t - BEFORE) : t], names),
        _text(x[i, t : t + 1], names),
        _text(x[i, t + 1 : t + 1 + BEHIND], names),
      ]
      for i, t in zip(rows[spread].tolist(), places[spread].tolist())
    ],
  }


def _frequent(tokens: np.ndarray, names: Sequence[str], most: int = 4) -> list[list[Any]]:
  found, counts = np.unique(tokens, return_counts=True)
  order = np.argsort(-counts, kind="stable")[:most]
  return [[names[found[i]], round(float(counts[i] / counts.sum()), 3)] for i in order]


def _text(tokens: np.ndarray, names: Sequence[str]) -> str:
  return "".join(names[token] for token in tokens)
