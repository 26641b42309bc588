"""Activations of a layer of a trained run, as splits that a store or a source is made of."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ibjax.core import checks
from ibjax.core.errors import ConfigError, unknown
from ibjax.core.types import Tapped
from ibjax.data import source as source_lib
from ibjax.data.source import Source, Split
from ibjax.data.store import Part
from ibjax.data.store_write import write
from ibjax.train.setup import Setup
from ibjax.train.tap import as_taken, open_run, tap


def part(setup: Setup, tapped: Tapped, layer: str, split: Split, examples: int = 0) -> Part:
  """The activations of one layer on one split, computed when asked for.

  Args:
    setup: the run.
    tapped: its model.
    layer: of `tapped.layers`.
    split: of any source with inputs of the run's shape.
    examples: the first so many; 0 takes all.

  Returns:
    A `Part`; its labels are those of the examples, where there are any. A last window that reaches
    behind the end of a text is left out: what stands there is no token of it.
  """
  last = split.read(np.array([split.n - 1]))["y"]
  padded = np.issubdtype(last.dtype, np.integer) and (last < 0).any()
  whole = split.n - 1 if padded else split.n

  def read(numbers: np.ndarray) -> dict[str, np.ndarray]:
    found = split.read(np.asarray(numbers))
    given = {"x": tapped.capture(as_taken(setup, found["x"]), layer)}
    if np.issubdtype(found["y"].dtype, np.integer):
      given["y"] = found["y"]
    return given

  return Part(min(examples, whole) if examples else whole, read)


def stream(of: Part, examples: int) -> Iterator[dict[str, np.ndarray]]:
  """Streams activations in the order of the examples, some examples at a time.

  Args:
    of: what to stream.
    examples: how many at a time.

  Yields:
    {"x": [k, width] or [k, positions, width], "y" where there are labels}.
  """
  checks.at_least("examples", examples, 1)
  for first in range(0, of.examples, examples):
    yield dict(of.read(np.arange(first, min(first + examples, of.examples))))


def write_run(
  run: str | os.PathLike,
  layer: str,
  out: str | os.PathLike,
  *,
  source: str = "",
  splits: tuple[str, ...] = ("train", "test"),
  examples: int = 0,
  dtype: str = "float32",
  shard_rows: int = 65536,
  step: int | None = None,
  data_dir: str | os.PathLike | None = None,
  report: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
  """Writes the activations of one layer of a trained run to a store, or goes on with it.

  Args:
    run: the run's folder.
    layer: its name, see `ibjax.train.tap.tap`.
    out: the store's folder.
    source: whose inputs the model is given; "" takes the run's own.
    splits: which of its splits.
    examples: the first so many of each; 0 takes all.
    dtype: "float32" or "float16".
    shard_rows: rows in a shard, about.
    step: of the checkpoint; None for the newest.
    data_dir: where prepared data sets live.
    report: told of each shard.

  Returns:
    What `store.json` holds.

  Raises:
    ConfigError: no such run, layer or split, or inputs of another shape or alphabet.
    DataError: the folder holds a store of something else, or an activation is NaN or infinite.
  """
  checks.at_least("examples", examples, 0)
  setup, state, at = open_run(run, data_dir, step)
  tapped = tap(setup, state)
  if layer not in tapped.layers:
    raise ConfigError(unknown(f"layer of {run}", layer, tapped.layers))
  given = source_lib.load(source, data_dir) if source else setup.source
  if given.x_shape != setup.source.x_shape:
    raise ConfigError(
      f"inputs of '{source}' have shape {list(given.x_shape)}, and the model takes "
      f"{list(setup.source.x_shape)}. Name a source whose inputs have that shape."
    )
  if _tokens(given) != _tokens(setup.source):
    found, wanted = (
      of.x_dtype if _tokens(of) is None else "tokens" for of in (given, setup.source)
    )
    more = "of another alphabet" if found == wanted else f"({found}) where it takes {wanted}"
    raise ConfigError(
      f"'{source}' gives inputs {more}: numbers would stand for something else than what the model "
      f"learned. Its own source is '{setup.source.name}'; name one of the same tokens."
    )
  there: Mapping[str, Split] = given.splits if source else setup.splits
  for name in splits:
    if name not in there:
      raise ConfigError(unknown(f"split of '{given.name}'", name, there))
  labelled = not given.target_dim
  return write(
    out,
    {name: part(setup, tapped, layer, there[name], examples) for name in splits},
    origin={"model": tapped.fingerprint, "layer": layer, "data": given.fingerprint},
    num_classes=given.num_classes if labelled else 0,
    class_names=given.class_names if labelled else (),
    dtype=dtype,
    shard_rows=shard_rows,
    notes={
      "run": str(pathlib.Path(run).resolve()),
      "step": str(at),
      "source": source or setup.config["data"]["source"],
    },
    report=report,
  )


def _tokens(source: Source) -> tuple[str, ...] | None:
  """What the numbers of a source's inputs stand for; None where they are no tokens."""
  return source.class_names if source.x_dtype == np.int32 else None
