"""--mesh=AXIS:N,... of `ibjax train`: a short form of config.mesh, and a mesh nobody has."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import flags

from ibjax.core.errors import ConfigError, unknown
from ibjax.train.mesh import AXES

EXAMPLE = "write --mesh=AXIS:DEVICES, e.g. --mesh=data:64,model:8"


def define(values: flags.FlagValues) -> None:
  """Defines the flag.

  Args:
    values: flags; --mesh is added.
  """
  text = "Devices along each axis, e.g. data:64,model:8; with --dry_run more than there are."
  flags.DEFINE_string("mesh", "", text, flag_values=values)


def parse(text: str) -> dict[str, int]:
  """Reads "data:64,model:8".

  Args:
    text: axes of the mesh and their devices.

  Returns:
    Axis -> devices, in the order written.

  Raises:
    ConfigError: an unknown axis (names the nearest), one given twice, or no positive number.

  Example:
    >>> from ibjax.verbs.mesh_flag import parse
    >>> parse("data:64,model:8")
    {'data': 64, 'model': 8}
  """
  sizes: dict[str, int] = {}
  for part in text.split(","):
    axis, separator, number = (piece.strip() for piece in part.partition(":"))
    if not separator:
      raise ConfigError(f"--mesh={text}: '{part}' has no number of devices; {EXAMPLE}.")
    if axis not in AXES:
      raise ConfigError(unknown("mesh axis", axis, AXES, f"W{EXAMPLE[1:]}."))
    if axis in sizes:
      raise ConfigError(f"--mesh={text} names the axis '{axis}' twice.")
    if not number.isdecimal() or int(number) < 1:
      raise ConfigError(
        f"--mesh={text}: '{number}' is no number of devices for '{axis}'; {EXAMPLE}."
      )
    sizes[axis] = int(number)
  return sizes


def spelled_out(argv: Sequence[str]) -> list[str]:
  """Writes --mesh as the overrides of config.mesh that it stands for, and keeps it.

  Args:
    argv: the arguments after the verb.

  Returns:
    The arguments, with --config.mesh.AXIS=N after the last --mesh.

  Raises:
    ConfigError: as `parse`; an axis that is also given as --config.mesh.AXIS.
  """
  items = list(argv)
  for i in reversed(range(len(items))):
    name, separator, text = items[i].partition("=")
    if name not in ("--mesh", "-mesh"):
      continue
    after = i + 1 if separator else i + 2
    sizes = parse(text if separator else "".join(items[i + 1 : i + 2]))
    for axis in sizes:
      key = f"--config.mesh.{axis}"
      if any(item.partition("=")[0] == key for item in items):
        raise ConfigError(f"the axis '{axis}' is given by --mesh and by {key}; remove one.")
    return [*items[:after], *(f"--config.mesh.{a}={n}" for a, n in sizes.items()), *items[after:]]
  return items


def stand_in(config: Mapping[str, Any], options: Mapping[str, Any]) -> None:
  """Makes as many virtual CPU devices as the mesh of a dry run has.

  Compiling for a mesh needs devices by number alone: nothing is computed on them. It must come
  before JAX has started its devices. Without --mesh, and for a real run, nothing is done.

  Args:
    config: the resolved config.
    options: the parsed flags of `ibjax train`.

  Raises:
    ConfigError: several processes were asked for, a population axis without a population, or
      JAX has other devices already.
  """
  if not options["mesh"] or not options["dry_run"]:
    return
  joined = options.get("coordinator") or options.get("distributed")
  if joined or (options.get("num_processes") or 1) > 1:
    raise ConfigError(
      "--dry_run --mesh compiles in one process for all devices; leave out the flags that join "
      "processes (--coordinator, --num_processes, --process_id, --distributed)."
    )
  sizes = config["mesh"]
  if sizes["population"] > 1 and not (options["population"] or config.get("population")):
    raise ConfigError(
      f"--mesh asks for {sizes['population']} devices along 'population', and there is one run; "
      'name the members, e.g. --population="seed=0,1,2,3", or use the axis data.'
    )
  count = math.prod(size for size in sizes.values() if size > 0)
  # What decomposes matrices asks for this on several CPU devices; here nothing is computed.
  os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
  try:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)
  except RuntimeError:  # JAX has its devices already
    pass
  if len(jax.devices()) != count:
    raise ConfigError(
      f"--dry_run --mesh needs {count} virtual devices, and JAX has started with "
      f"{len(jax.devices())}; run it as a command of its own."
    )
