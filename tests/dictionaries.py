"""Dictionaries and models whose answers are known, for the assessors of dictionaries."""

from __future__ import annotations

import numpy as np

from ibjax.core.types import Tapped, Trained
from ibjax.data import feed
from ibjax.data import source as source_lib


def trained(
  rows, encode, *, source="npz:none.npz", data=None, opened=None, sparse=False
) -> Trained:
  """A dictionary with the given decoder and encoder; `data` {(name, split): arrays} or sources."""
  rows = np.asarray(rows, np.float32)

  def forward(x):
    z = np.asarray(encode(np.asarray(x)), np.float32)
    found = {"code": z @ rows}
    if not sparse:
      return {**found, "latents": z}
    order = np.argsort(-np.abs(z), axis=1)
    return {**found, "indices": order, "activations": np.take_along_axis(z, order, axis=1)}

  def read(name, split):
    if data is not None:
      return data[name, split]
    return feed.read_all(source_lib.load(name or source).splits[split])

  return Trained(
    data=read,
    forward=forward,
    gradient=lambda x, y: None,
    value_range=None,
    num_classes=0,
    label_probs=np.zeros(0),
    seed=0,
    config={"data": {"source": source}, "bottleneck": {"fn": "a dictionary"}},
    params={"bottleneck": {"W_dec": rows}},
    open=None if opened is None else lambda folder: opened,
  )


def exact(rows):
  """The encoder that gives back the activations of independent rows."""
  inverse = np.linalg.pinv(np.asarray(rows, np.float64))

  def encode(x):
    z = np.asarray(x, np.float64) @ inverse
    return np.where(np.abs(z) > 1e-3, z, 0.0)

  return encode


def tapped(weights, x, y, *, fingerprint="f", layer="h") -> Tapped:
  """A linear model: the layer is the input, the outputs are x @ weights."""
  return Tapped(
    fingerprint=fingerprint,
    layers=(layer,),
    data=lambda name, split: {"x": x, "y": y},
    capture=lambda x, layer: x,
    outputs=lambda x, layer="", value=None: (x if value is None else value) @ weights,
    source="given",
    targets=np.ndim(y) == 2 and np.issubdtype(np.asarray(y).dtype, np.floating),
    names=(),
  )
