"""The device mesh, and where each array of the state lives on it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ibjax.core.errors import ConfigError
from ibjax.core.resolver import resolve
from ibjax.core.types import Tree

AXES = ("population", "data", "model")
# An automatic rule leaves smaller arrays whole: what they would save is less than their messages.
LEAST = 4096
_LARGEST = re.compile(r"largest:(?P<axes>data|model|data\+model|model\+data)(:(?P<least>\d+))?")


def make_mesh(sizes: Mapping[str, int], devices: Sequence[Any] | None = None) -> Mesh:
  """Makes the mesh of a config.

  Args:
    sizes: {"population", "data", "model"} -> devices along the axis; one may be -1, the rest.
    devices: all of the processes' devices when None.

  Returns:
    A mesh with the axes population, data and model, all of them automatic.

  Raises:
    ConfigError: the sizes do not multiply to the number of devices.

  Example:
    >>> from ibjax.train.mesh import make_mesh
    >>> make_mesh({"population": 1, "data": -1, "model": 1}).axis_names
    ('population', 'data', 'model')
  """
  devices = jax.devices() if devices is None else devices
  shape = [sizes[axis] for axis in AXES]
  asked = ", ".join(f"{axis}={sizes[axis]}" for axis in AXES)
  known = math.prod(size for size in shape if size != -1)
  if any(size == 0 or size < -1 for size in shape) or shape.count(-1) > 1:
    raise ConfigError(f"config.mesh ({asked}): sizes are positive, and at most one is -1.")
  if -1 in shape and len(devices) % known == 0:
    shape[shape.index(-1)] = len(devices) // known
  if math.prod(shape) != len(devices):
    raise ConfigError(
      f"config.mesh ({asked}) does not fit the {len(devices)} devices there are; "
      "the sizes must multiply to that number, and -1 takes the rest."
    )
  axis_types = (AxisType.Auto,) * len(AXES)
  return jax.make_mesh(tuple(shape), AXES, devices=devices, axis_types=axis_types)


def check_batch(batch_size: int, accumulate: int, mesh: Mesh) -> None:
  """Raises ConfigError, with the numbers that would work, unless a batch divides evenly.

  Args:
    batch_size: `config.data.batch_size`.
    accumulate: microbatches per update.
    mesh: the device mesh.

  Raises:
    ConfigError: the batch does not divide by data devices times microbatches.
  """
  over = mesh.shape["data"] * accumulate
  if batch_size % over:
    below, above = batch_size // over * over, -(-batch_size // over) * over
    works = " or ".join(str(size) for size in (below, above) if size > 0)
    raise ConfigError(
      f"config.data.batch_size={batch_size} does not divide over {mesh.shape['data']} devices of "
      f"the data axis times {accumulate} microbatches; {works} would work."
      f"{_axes_that_divide(batch_size // accumulate, mesh) if batch_size % accumulate == 0 else ''}"
    )


def check_eval_batch(batch_size: int, mesh: Mesh) -> None:
  """Raises ConfigError unless an evaluation batch divides over the data axis.

  Args:
    batch_size: `config.eval.batch_size`.
    mesh: the device mesh.

  Raises:
    ConfigError: it does not; names the next size that would work.
  """
  over = mesh.shape["data"]
  if batch_size % over:
    raise ConfigError(
      f"config.eval.batch_size={batch_size} does not divide over {over} devices of the data "
      f"axis; {-(-batch_size // over) * over} would work.{_axes_that_divide(batch_size, mesh)}"
    )


def _axes_that_divide(batch_size: int, mesh: Mesh) -> str:
  """Which data axes the devices there are could have that divide a batch, as a sentence."""
  sizes = [n for n in range(1, mesh.size + 1) if mesh.size % n == 0 and batch_size % n == 0]
  counts = ", ".join(str(size) for size in sizes)
  return f" So would config.mesh.data={counts}, with the rest of {mesh.size} on other axes."


def spread(config: Mapping[str, Any], mesh: Mesh) -> Mapping[str, Any]:
  """Tells a bottleneck over which devices its parameters and its batch lie, if it asks for that.

  Args:
    config: the resolved config.
    mesh: the device mesh.

  Returns:
    The config itself where one device holds both, or for a bottleneck without a keyword "mesh";
    else one that hands the mesh to it.
  """
  section = config.get("bottleneck", {})
  if mesh.shape["data"] * mesh.shape["model"] == 1 or "fn" not in section:
    return config
  if "mesh" not in inspect.signature(resolve(section["fn"])).parameters:
    return config
  return {**config, "bottleneck": {**section, "mesh": mesh}}


def path_name(path: tuple[Any, ...]) -> str:
  """Writes a pytree path as "params/encoder/dense_0/kernel".

  Args:
    path: keys as `jax.tree_util.tree_map_with_path` gives them.

  Returns:
    Keys, field names and indices, joined by slashes.
  """
  names = []
  for entry in path:
    for attribute in ("key", "name", "idx"):
      if hasattr(entry, attribute):
        names.append(str(getattr(entry, attribute)))
        break
  return "/".join(names)


def state_shardings(abstract: Tree, rules: Sequence[Any], mesh: Mesh) -> Tree:
  """Chooses where each array of the state lives.

  Args:
    abstract: the state as shapes and dtypes.
    rules: (regular expression, axes) pairs; the first that is found in an array's path
      ("params/encoder/dense_0/kernel") decides, and an array that none is found in has a copy on
      every device. Axes name a mesh axis or None per dimension, from the first on; () keeps a
      copy on every device. "largest:data" puts the axis on the largest dimension that divides
      over it, "largest:data+model" the first axis on the largest and the next on the largest that
      is left; arrays of fewer than `LEAST` elements ("largest:data:100" sets 100), or without
      such a dimension, stay whole. In place of a pair, "largest:..." alone holds for all arrays.
      Optimiser statistics and averages hold the parameter's path in theirs, so one rule places
      them alike.
    mesh: the device mesh.

  Returns:
    A tree of `NamedSharding`.

  Raises:
    ConfigError: a rule that is none, names an unknown axis, more dimensions than the array has,
      or does not divide it.
  """
  compiled = [_rule(rule) for rule in rules]

  def choose(path, leaf):
    name = path_name(path)
    for pattern, axes in compiled:
      if pattern.search(name):
        if isinstance(axes, str):
          return NamedSharding(mesh, PartitionSpec(*_largest(leaf.shape, axes, mesh)))
        _check_axes(name, leaf.shape, axes, mesh)
        return NamedSharding(mesh, PartitionSpec(*axes))
    return NamedSharding(mesh, PartitionSpec())

  return jax.tree_util.tree_map_with_path(choose, abstract)


def _rule(rule: Any) -> tuple[re.Pattern, tuple[Any, ...] | str]:
  """Reads one rule of `config.sharding`; raises ConfigError unless it is one."""
  if _is_automatic(rule):
    rule = (".*", rule)
  pair = isinstance(rule, (tuple, list)) and len(rule) == 2 and isinstance(rule[0], str)
  if not pair or not (isinstance(rule[1], (tuple, list)) or _is_automatic(rule[1])):
    raise ConfigError(
      f"config.sharding: {rule!r} is no rule. A rule is a pair (regular expression, axes), whose "
      "axes are a tuple such as (None, 'model'), or 'largest:data', 'largest:model', "
      "'largest:data+model', with ':NUMBER' behind it for the fewest elements of an array that "
      "is cut; 'largest:data' alone is a rule for all arrays."
    )
  pattern, axes = rule
  try:
    return re.compile(pattern), axes if isinstance(axes, str) else tuple(axes)
  except re.error as error:
    raise ConfigError(f"config.sharding: {pattern!r} is no regular expression: {error}") from None


def _is_automatic(axes: Any) -> bool:
  return isinstance(axes, str) and _LARGEST.fullmatch(axes) is not None


def _largest(shape: tuple[int, ...], rule: str, mesh: Mesh) -> list[str | None]:
  """The axes of a "largest:..." rule, each on the largest dimension left that divides over it."""
  match = _LARGEST.fullmatch(rule)
  assert match is not None  # `_rule` has looked
  placed: list[str | None] = [None] * len(shape)
  if math.prod(shape) < (int(match["least"]) if match["least"] else LEAST):
    return []
  for axis in match["axes"].split("+"):
    over = mesh.shape[axis]
    free = [i for i, size in enumerate(shape) if placed[i] is None and size and size % over == 0]
    if over > 1 and free:
      placed[max(free, key=lambda i: shape[i])] = axis
  return placed


def _check_axes(name: str, shape: tuple[int, ...], axes: tuple[Any, ...], mesh: Mesh) -> None:
  if len(axes) > len(shape):
    raise ConfigError(
      f"config.sharding: the rule for {name} names {len(axes)} dimensions, but its shape is "
      f"{list(shape)}. Make the regular expression match only the arrays that have them."
    )
  for size, axis in zip(shape, axes):
    if axis is None:
      continue
    if axis not in mesh.shape:
      raise ConfigError(f"config.sharding: unknown mesh axis '{axis}' for {name}; known: {AXES}.")
    if size % mesh.shape[axis]:
      raise ConfigError(
        f"config.sharding: {name} has a dimension of {size}, which does not divide over the "
        f"{mesh.shape[axis]} devices of axis '{axis}'."
      )


def processes(mesh: Mesh) -> int:
  """How many processes have devices of a mesh.

  Args:
    mesh: the device mesh.

  Returns:
    At least 1.
  """
  return len({device.process_index for device in mesh.devices.flat})


def describe(mesh: Mesh) -> str:
  """One line about the mesh: axes, devices, processes.

  Args:
    mesh: the device mesh.

  Returns:
    Text without a trailing newline.
  """
  axes = " x ".join(f"{axis}={mesh.shape[axis]}" for axis in AXES)
  kinds = sorted({device.device_kind for device in mesh.devices.flat})
  return f"{axes}: {mesh.size} device(s) ({', '.join(kinds)}), {processes(mesh)} process(es)"
