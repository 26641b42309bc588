"""What each latent of a trained dictionary answers to: the content of the feature browser."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import sparse

from ibjax.core import checks
from ibjax.core.errors import ConfigError
from ibjax.core.types import Tapped, Trained
from ibjax.data import source as source_lib
from ibjax.data.sources import planted
from ibjax.evaluators.dictionaries import (
  directions,
  encode,
  has_origin,
  inner,
  origin,
  unit,
)
from ibjax.train.assessing import viewer
from ibjax.train.tap import open_run

_NEAREST = 6
_BEFORE, _AFTER = 40, 12  # tokens shown around the one that a latent answers to
_EFFECTS = 6
_EFFECT_ROWS = 2048  # examples times latents sent through the model together
_PIXELS = 56


class Shown(NamedTuple):
  """What examples look like.

  Attributes:
    kind: "text", "image" or "label".
    positions: rows of an example.
    x: [examples, positions] tokens, or [examples, height, width(, channels)] floats.
    names: of the tokens or classes.
    labels: [rows] classes; () where there are none.
  """

  kind: str
  positions: int
  x: np.ndarray
  names: tuple[str, ...]
  labels: np.ndarray


def features(
  run: str | os.PathLike,
  *,
  split: str = "test",
  examples: int = 20_000,
  top: int = 8,
  most: int = 512,
  effect_examples: int = 0,
  data_dir: str | os.PathLike | None = None,
) -> dict[str, Any]:
  """Describes the latents of a run that trained a dictionary.

  Of the latents that are active on the split, the `most` that are active most often are described
  in full: how often and how much they are active, the examples in which most, the latents whose
  directions are nearest, and what adding them to the layer does to the model's outputs, where the
  activations are of a run's model. Of a planted source, also the true directions nearest.

  Args:
    run: the run's folder.
    split: of its source.
    examples: rows looked at, the first so many; 0 takes all.
    top: examples shown of each latent.
    most: latents described.
    effect_examples: examples that effects are averaged over; 0 takes 2 windows of text, or 32.
    data_dir: where prepared data sets live.

  Returns:
    What `ibjax.report.features.write` takes: JSON values.

  Raises:
    ConfigError: no run, or one that trained no dictionary.
    InputError: the model that the activations are of is gone or another one now.
  """
  for name, value in dict(top=top, most=most).items():
    checks.at_least(name, value, 1)
  for name, value in dict(examples=examples, effect_examples=effect_examples).items():
    checks.at_least(name, value, 0)
  setup, state, step = open_run(run, data_dir)
  if setup.program.forward is None:
    raise ConfigError(f"{run} has no model with a dictionary.")
  trained = viewer(setup)(setup.config, state)
  rows = directions(trained)
  data = trained.data(inner(trained), split)
  tapped, layer, source, shown = _shown(trained, data, split)
  n = len(data["x"]) if not examples else min(examples, len(data["x"]))
  n = max(n // shown.positions, 1) * shown.positions  # whole examples
  latents = encode(trained, np.asarray(data["x"])[:n].reshape(n, -1)).latents.tocsc()
  counts = np.diff(latents.indptr)
  order = np.argsort(-counts, kind="stable")
  chosen = np.sort(order[counts[order] > 0][:most])
  means = np.array([_column(latents, i)[1].mean() for i in chosen])
  effects = None
  if tapped is not None and not tapped.targets:
    scaled = means[:, None] * rows[chosen]
    number = effect_examples or (2 if shown.kind == "text" else 32)
    x = np.asarray(tapped.data(source, split)["x"])[:number]
    effects = _effects(tapped, layer, x, scaled)
  images: dict[str, str] = {}
  found = []
  for k, i in enumerate(chosen):
    at, values = _column(latents, i)
    feature = {
      "id": int(i),
      "density": len(at) / n,
      "mean": float(means[k]),
      "max": float(values.max()),
      "near": _near(rows, int(i)),
      "top": [
        _example(shown, latents, int(i), *pair, images) for pair in _top(at, values, shown, top)
      ],
    }
    if len(shown.labels) and shown.kind != "text":
      feature["classes"] = _classes(shown, at, values)
    if effects is not None:
      feature["effect"] = _words(effects[k], shown.names)
    if (truth := _truth(trained)) is not None:
      cosines = unit(truth) @ unit(rows[int(i)][None])[0]
      feature["truth"] = [[int(j), float(cosines[j])] for j in np.argsort(-cosines)[:3]]
    found.append(feature)
  return {
    "source": setup.config["data"]["source"],
    "split": split,
    "layer": layer,
    "kind": shown.kind,
    "step": step,
    "rows": n,
    "latents": len(rows),
    "dead": int((counts == 0).sum()),
    "densities": _histogram(counts / n),
    "images": images,
    "features": found,
  }


def _shown(
  trained: Trained, data: Mapping[str, Any], split: str
) -> tuple[Tapped | None, str, str, Shown]:
  """The model that the activations are of, its layer and source, and what its examples are."""
  y = np.asarray(data["y"])
  labels = y if y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else np.zeros(0, np.int64)
  if not has_origin(trained):
    # Of a store of any function's values nobody can say what the examples look like.
    x = np.asarray(data["x"])
    kind = "image" if x.ndim in (3, 4) and min(x.shape[1:3]) > 3 else "label"
    return None, "", "", Shown(kind, 1, x, _names(trained), labels)
  tapped, layer, source, positions = origin(trained, "", "")
  x = np.asarray(tapped.data(source, split)["x"])
  if np.issubdtype(x.dtype, np.integer) and x.ndim == 2 and x.shape[1] == positions:
    return tapped, layer, source, Shown("text", positions, x, tapped.names, labels)
  kind = "image" if x.ndim in (3, 4) and min(x.shape[1:3]) > 3 else "label"
  return tapped, layer, source, Shown(kind, positions, x, tapped.names, labels)


def _names(trained: Trained) -> tuple[str, ...]:
  return source_lib.load(inner(trained), trained.data_dir).class_names


def _truth(trained: Trained) -> np.ndarray | None:
  if not inner(trained).startswith("planted:"):
    return None
  return planted.truth(planted.argument_of(inner(trained))).dictionary


def _column(latents: sparse.csc_array, i: int) -> tuple[np.ndarray, np.ndarray]:
  part = slice(latents.indptr[i], latents.indptr[i + 1])
  return latents.indices[part], latents.data[part].astype(np.float64)


def _near(rows: np.ndarray, i: int) -> list[list[float]]:
  cosines = unit(rows) @ unit(rows[i][None])[0]
  cosines[i] = -np.inf
  order = np.argsort(-cosines)[:_NEAREST]
  return [[int(j), float(cosines[j])] for j in order if np.isfinite(cosines[j])]


def _top(at: np.ndarray, values: np.ndarray, shown: Shown, top: int) -> list[tuple[int, float]]:
  """(row, activation) of the examples in which a latent is most active, one row of each."""
  found: dict[int, tuple[int, float]] = {}
  for k in np.argsort(-values, kind="stable"):
    example = int(at[k]) // shown.positions
    found.setdefault(example, (int(at[k]), float(values[k])))
    if len(found) == top:
      break
  return list(found.values())


def _example(
  shown: Shown,
  latents: sparse.csc_array,
  i: int,
  row: int,
  value: float,
  images: dict[str, str],
) -> dict[str, Any]:
  number, place = divmod(row, shown.positions)
  entry: dict[str, Any] = {"value": value, "row": row}
  if shown.kind == "text":
    first, last = max(place - _BEFORE, 0), min(place + _AFTER + 1, shown.positions)
    window = np.arange(number * shown.positions + first, number * shown.positions + last)
    at, values = _column(latents, i)
    acts = np.zeros(len(window))
    inside = np.isin(at, window)
    acts[at[inside] - window[0]] = values[inside]
    entry["tokens"] = [shown.names[t] for t in shown.x[number, first:last]]
    entry["acts"] = [round(float(a), 4) for a in acts]
    entry["at"] = place - first
  elif shown.kind == "image":
    images.setdefault(str(number), _thumbnail(shown.x[number]))
    entry["image"] = str(number)
  if len(shown.labels) and shown.kind != "text":
    entry["label"] = shown.names[int(shown.labels[row])]
  return entry


def _thumbnail(x: np.ndarray) -> str:
  x = x[..., 0] if x.ndim == 3 and x.shape[-1] == 1 else x
  low, high = float(x.min()), float(x.max())
  pixels = np.uint8(255 * (x - low) / (high - low)) if high > low else np.zeros(x.shape, np.uint8)
  picture = Image.fromarray(pixels)
  size = max(1, _PIXELS // picture.height)
  picture = picture.resize((picture.width * size, picture.height * size), Image.Resampling.NEAREST)
  content = io.BytesIO()
  picture.save(content, format="png")
  return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def _classes(shown: Shown, at: np.ndarray, values: np.ndarray) -> list[list[Any]]:
  """Which share of a latent's activation each class has; the largest three."""
  total = np.bincount(shown.labels[at], weights=np.abs(values), minlength=len(shown.names))
  share = total / max(total.sum(), 1e-30)
  return [[shown.names[k], float(share[k])] for k in np.argsort(-share)[:3] if share[k] > 0]


def _effects(tapped: Tapped, layer: str, x: np.ndarray, steps: np.ndarray) -> np.ndarray:
  """[latents, c]: by how much the logits rise on average when a latent is added to the layer.

  Less the mean over the classes: probabilities do not change with what all logits have in common.
  """
  given, plain = tapped.capture(x, layer), tapped.outputs(x)
  rows, found = max(1, _EFFECT_ROWS // len(x)), []
  if given.ndim == 3 and given.shape[1] > 1:
    rows = max(1, rows // given.shape[1])
  for first in range(0, len(steps), rows):
    part = steps[first : first + rows]
    wide = part.reshape(len(part), *[1] * (given.ndim - 1), -1)
    value = (given[None] + wide).reshape(-1, *given.shape[1:])
    many = np.concatenate([x] * len(part))
    rise = tapped.outputs(many, layer, value).reshape(len(part), *plain.shape) - plain[None]
    mean = rise.reshape(len(part), -1, plain.shape[-1]).mean(axis=1)
    found.append(mean - mean.mean(axis=1, keepdims=True))
  return np.concatenate(found) if found else np.zeros((0, plain.shape[-1]))


def _words(effect: np.ndarray, names: Sequence[str]) -> dict[str, list[list[Any]]]:
  order = np.argsort(-effect)
  most = min(_EFFECTS, len(order) // 2)
  up, down = order[:most], order[::-1][:most]
  return {
    "up": [[names[i], float(effect[i])] for i in up],
    "down": [[names[i], float(effect[i])] for i in down],
  }


def _histogram(density: np.ndarray) -> dict[str, list[float]]:
  alive = np.log10(density[density > 0])
  edges = np.linspace(-5.0, 0.0, 26)
  return {
    "edges": edges.tolist(),
    "counts": np.histogram(np.maximum(alive, -5.0), edges)[0].tolist(),
  }
