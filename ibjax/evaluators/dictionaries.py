"""What assessors of sparse dictionaries read of a trained one: latents, directions, labels."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from ibjax.core.errors import InputError
from ibjax.core.types import Tapped, Trained
from ibjax.data import files, store
from ibjax.data.source import default_data_dir

_ROWS = 8192  # encoded together


class Encoded(NamedTuple):
  """A split as a dictionary sees it.

  Attributes:
    latents: [n, latents] activations, a sparse matrix.
    value: [n, dim] the reconstruction.
  """

  latents: sparse.csr_array
  value: np.ndarray


class Origin(NamedTuple):
  """What activations are of.

  Attributes:
    tapped: the model.
    layer: its layer.
    source: of the model's inputs; "" is its own.
    positions: rows of activations that an example makes; 1 where no store says it.
  """

  tapped: Tapped
  layer: str
  source: str
  positions: int


def directions(trained: Trained) -> np.ndarray:
  """The decoder's rows of a dictionary, one direction a latent, as they are.

  Args:
    trained: the model; its bottleneck has the parameter "W_dec" [latents, dim].

  Returns:
    [latents, dim] float64.

  Raises:
    InputError: a bottleneck that is no dictionary.
  """
  found = (trained.params or {}).get("bottleneck", {})
  if not isinstance(found, Mapping) or "W_dec" not in found:
    name = trained.config.get("bottleneck", {}).get("fn", "this bottleneck")
    raise InputError(
      f"{name} has no dictionary (a parameter 'W_dec' [latents, dim]); this assessor measures "
      "those of ibjax.bottlenecks.sparse."
    )
  return np.asarray(found["W_dec"], np.float64)


def unit(rows: np.ndarray) -> np.ndarray:
  """Brings rows to length one; rows of zeros stay.

  Args:
    rows: [n, d].

  Returns:
    [n, d] float64.
  """
  length = np.linalg.norm(rows, axis=-1, keepdims=True)
  return np.asarray(rows, np.float64) / np.where(length > 0, length, 1.0)


def encode(trained: Trained, x: np.ndarray) -> Encoded:
  """Sends inputs through a dictionary, some at a time.

  Args:
    trained: the model.
    x: [n, dim] activations.

  Returns:
    `Encoded`; an exact zero is no activation.

  Raises:
    InputError: a bottleneck that is no dictionary, or inputs of another width.
  """
  count, width = directions(trained).shape
  x = np.asarray(x)
  if x.ndim != 2 or x.shape[1] != width:
    raise InputError(
      f"inputs have shape {list(x.shape)}, and the dictionary is of activations [n, {width}]: they "
      "are of another layer or width."
    )
  parts, values = [], []
  for first in range(0, len(x), _ROWS):
    outputs = trained.forward(x[first : first + _ROWS])
    parts.append(_sparse(outputs, count))
    values.append(np.asarray(outputs["code"]))
  return Encoded(sparse.vstack(parts).tocsr(), np.concatenate(values))


def _sparse(outputs: Mapping[str, Any], count: int) -> sparse.csr_array:
  if "latents" in outputs:
    found = sparse.csr_array(np.asarray(outputs["latents"]))
  elif "indices" in outputs and "activations" in outputs:
    columns, values = np.asarray(outputs["indices"]), np.asarray(outputs["activations"])
    rows = np.repeat(np.arange(len(columns)), columns.shape[1])
    found = sparse.csr_array((values.ravel(), (rows, columns.ravel())), shape=(len(columns), count))
  else:
    raise InputError(
      "the model gives neither 'latents' nor 'indices' and 'activations' of a dictionary, only "
      f"{', '.join(sorted(outputs))}."
    )
  found.eliminate_zeros()
  return found


def inner(trained: Trained) -> str:
  """The source whose inputs the dictionary is trained on, as it is called by itself.

  Args:
    trained: the model.

  Returns:
    E.g. "activations:FOLDER" of "autoencode:activations:FOLDER".
  """
  return str(trained.config["data"]["source"]).removeprefix("autoencode:")


def labelled(trained: Trained, split: str, who: str) -> tuple[np.ndarray, np.ndarray]:
  """Inputs of a split and their labels, which an autoencoder's own source does not have.

  Args:
    trained: the model.
    split: its name.
    who: the assessor, for the message.

  Returns:
    (x [n, dim], y [n] int).

  Raises:
    InputError: the source has no labels.
  """
  found = trained.data(inner(trained), split)
  y = np.asarray(found["y"])
  if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or len(np.unique(y)) < 2:
    raise InputError(f"{who}: '{inner(trained)}' has no labels of at least two classes.")
  return np.asarray(found["x"]).reshape(len(y), -1), y.astype(np.int64)


def has_origin(trained: Trained) -> bool:
  """Whether a dictionary's activations are of a run that can be opened.

  Args:
    trained: the dictionary.

  Returns:
    False for data that are no activation store, and for a store of any function's values.
  """
  return bool(_stored(trained).get("notes", {}).get("run"))


def _stored(trained: Trained) -> Mapping[str, Any]:
  """What the activation store of a dictionary's data says of itself; {} for other data."""
  kind, _, argument = inner(trained).partition(":")
  if kind != "activations":
    return {}
  places = pathlib.Path(trained.data_dir or default_data_dir())
  return store.read_index(files.locate(kind, argument.partition(":")[0], places))


def origin(trained: Trained, run: str, layer: str) -> Origin:
  """Opens the model whose activations a dictionary is trained on.

  Args:
    trained: the dictionary.
    run: folder of the run; "" takes what the activation store says.
    layer: its layer; "" likewise.

  Returns:
    `Origin`.

  Raises:
    InputError: no store to ask, or a run whose parameters are not those that the store is of.
  """
  if trained.open is None:
    raise InputError("this program cannot open another run's model.")
  index = _stored(trained)
  notes: Mapping[str, str] = index.get("notes", {})
  run, layer = run or notes.get("run", ""), layer or index.get("origin", {}).get("layer", "")
  if not run or not layer:
    raise InputError(
      f"'{inner(trained)}' does not say which run and layer its activations are of; give run= and "
      "layer= to the assessor."
    )
  tapped = trained.open(run)
  if index and index["origin"]["model"] != tapped.fingerprint:
    raise InputError(
      f"the activation store is of a model with fingerprint {index['origin']['model'][:12]}, and "
      f"{run} now has {tapped.fingerprint[:12]}: it is another model, or was trained on. Write "
      "the store again, or name the run that it is of."
    )
  if index and index["origin"]["layer"] != layer:
    raise InputError(f"the store is of layer '{index['origin']['layer']}', asked for is '{layer}'.")
  return Origin(tapped, layer, notes.get("source", ""), index.get("positions", 1))
