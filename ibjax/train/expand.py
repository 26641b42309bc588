"""From axes to the members of a population: which runs, in which folders, starting from what."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ibjax.core import axes as axes_lib
from ibjax.core.draws import Axis
from ibjax.core.errors import ConfigError, unknown
from ibjax.train.plan import Point, name_points
from ibjax.train.population import Member

MEMBERS = "members"


def member_points(
  axes: Sequence[Axis], pairing: str = "product", continuation: str = ""
) -> list[tuple[Point, str]]:
  """Lists the members that axes span.

  Args:
    axes: (key, values), typed as the config's keys.
    pairing: "product" or "zip".
    continuation: the axis along which each member starts from the one before it; "" for none.

  Returns:
    (the member's folder and values, the name of the folder it starts from or "").

  Raises:
    ConfigError: an axis of length zero, unequal lengths to pair, a value twice, a continuation
      along no axis.

  Example:
    >>> from ibjax.train.expand import member_points
    >>> found = member_points([("objective.beta", (0.1, 1.0))], continuation="objective.beta")
    >>> [(point.folder, start) for point, start in found]
    [('0-beta=0.1', ''), ('1-beta=1', '0-beta=0.1')]
  """
  named = name_points(axes_lib.points(axes, pairing))
  if not continuation:
    return [(point, "") for point in named]
  keys = [key for key, _ in axes]
  if continuation not in keys:
    hint = "Continuation goes along an axis of the population, usually objective.beta."
    raise ConfigError(unknown("axis", continuation, keys, hint))
  before: dict[tuple[Any, ...], str] = {}
  found = []
  for point in named:
    # With product axes, the members that agree in all else; paired axes are one line.
    rest = tuple(point.values[key] for key in keys if key != continuation)
    line = rest if pairing == "product" else ()
    found.append((point, before.get(line, "")))
    before[line] = point.folder
  return found


def make_members(
  found: Sequence[tuple[Point, str]],
  workdir: pathlib.Path,
  resolve: Callable[[list[str]], Mapping[str, Any]],
  about: Callable[[list[str], pathlib.Path], Mapping[str, Any]],
) -> list[Member]:
  """Resolves every member's config.

  Args:
    found: as `member_points` gives it.
    workdir: the population's folder.
    resolve: gives the resolved config of overrides, ["--config.seed=1", ...].
    about: gives what the manifest tells besides, from the overrides and the member's folder.

  Returns:
    The members, in the order of the points.

  Raises:
    ConfigError: a value that a config does not take.
  """
  members = []
  for point, start in found:
    flags = [*point.overrides(), *([f"--config.warm_start={start}"] if start else [])]
    folder = workdir / MEMBERS / point.folder
    members.append(Member(resolve(flags), folder, about(flags, folder)))
  return members


def use_cores(members: int) -> None:
  """Gives each core its part of a population, where the devices are CPUs.

  XLA makes one device of a host's cores; a population goes faster when each core trains members
  of its own. Nothing is changed when a number of devices was asked for, or after JAX has started.

  Args:
    members: size of the population.
  """
  asked = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if asked or "JAX_NUM_CPU_DEVICES" in os.environ:
    return
  try:
    jax.config.update("jax_num_cpu_devices", max(1, min(members, len(os.sched_getaffinity(0)))))
  except RuntimeError:  # JAX has its devices already
    return
