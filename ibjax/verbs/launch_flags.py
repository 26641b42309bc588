"""The flags of `ibjax launch`: what each means, and which backends read it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from absl import flags

from ibjax.core.errors import ConfigError, unknown

Backends = tuple[str, ...]
BACKENDS: Backends = ("slurm", "local", "print", "tpu", "gke")
# Flag -> (default, what it is, the backends that read it).
JOB, ANY = ("slurm", "print"), BACKENDS
CLOUD = ("tpu", "gke")
STRINGS: dict[str, tuple[str, str, Backends]] = {
  "backend": (
    "print",
    f"Where it runs: {', '.join(BACKENDS)}; print shows, and writes nothing.",
    ANY,
  ),
  "program": ("", "What starts ibjax there; this Python with slurm, `ibjax` on clouds.", ANY),
  "name": ("ibjax", "Name of the job; with tpu, of the TPU.", (*JOB, *CLOUD)),
  "directory": ("", "Folder in which it starts; this one with slurm.", (*JOB, *CLOUD)),
  "partition": ("", "Slurm's partition.", JOB),
  "account": ("", "Slurm's account.", JOB),
  "qos": ("", "Slurm's quality of service.", JOB),
  "constraint": ("", "Features that the nodes must have.", JOB),
  "time": ("", "Time limit, as Slurm writes it: 90, 2:00:00, 1-12.", JOB),
  "gpus_per_node": ("", "GPUs of a node: 8, or a100:8.", JOB),
  "gres": ("", "Other generic resources of a node.", JOB),
  "mem": ("", "Memory of a node, e.g. 64G.", JOB),
  "array": ("", "Tasks of a job array, e.g. 0-7 or 0-7%4; for tables.", JOB),
  "zone": ("", "Zone of the TPU.", ("tpu",)),
  "project": ("", "Project of the TPU.", ("tpu",)),
  "image": ("", "The container's image.", ("gke",)),
  "claim": ("", "PersistentVolumeClaim that all pods share, with the workdir.", ("gke",)),
  "mount": ("/shared", "Where the claim is mounted.", ("gke",)),
  "tpu_accelerator": ("", "GKE's name of the TPU.", ("gke",)),
  "tpu_topology": ("", "Topology of the slice, e.g. 4x4.", ("gke",)),
}
INTEGERS: dict[str, tuple[int, str, Backends]] = {
  "nodes": (1, "Nodes; with gke, pods.", (*JOB, "gke")),
  "tasks_per_node": (1, "Processes on each node.", JOB),
  "cpus_per_task": (0, "Processors of each process.", JOB),
  "requeues": (20, "How often the job may run again after a stop.", (*JOB, "gke")),
  "grace": (120, "Seconds to save before the end.", (*JOB, "local", "gke")),
  "processes": (0, "Processes on this machine.", ("local", "print")),
  "devices_per_process": (0, "Virtual CPU devices of each process.", ("local", "print")),
  "gpus": (0, "GPUs of a pod.", ("gke",)),
  "tpu_chips": (0, "TPU chips of a pod.", ("gke",)),
}
LISTS: dict[str, tuple[str, Backends]] = {
  "setup": (
    "Line of shell before the command, e.g. 'module load cuda'; may repeat.",
    (*JOB, *CLOUD),
  ),
  "sbatch": ("One more option of sbatch, e.g. --mail-type=END; may repeat.", JOB),
}
BOOLS: dict[str, tuple[str, Backends]] = {
  "go": ("Submit, with --backend=slurm; without it the script is only written.", ("slurm",)),
  "exclusive": ("Nodes for this job alone.", JOB),
}
READ_BY: dict[str, Backends] = {
  name: row[-1]
  for table in (STRINGS, INTEGERS, LISTS, BOOLS)
  for name, row in cast(dict[str, tuple[Any, ...]], table).items()
}


def define() -> flags.FlagValues:
  """Defines the flags of `ibjax launch`.

  Returns:
    The flags, to be parsed.
  """
  values = flags.FlagValues()
  for name, (text, about, _) in STRINGS.items():
    flags.DEFINE_string(name, text, about, flag_values=values)
  for name, (number, about, _) in INTEGERS.items():
    flags.DEFINE_integer(name, number, about, flag_values=values)
  for name, (about, _) in LISTS.items():
    flags.DEFINE_multi_string(name, [], about, flag_values=values)
  for name, (about, _) in BOOLS.items():
    flags.DEFINE_bool(name, False, about, flag_values=values)
  return values


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Splits a command line of `ibjax launch` at its "--".

  Args:
    argv: the arguments after the verb.

  Returns:
    (its own flags, whose names may be written with "-" for "_"; the command after the "--").
  """
  items = list(argv)
  end = items.index("--") if "--" in items else len(items)
  own = [
    re.sub(r"^--?[\w-]+", lambda m: "--" + m[0].lstrip("-").replace("-", "_"), item)
    if item.startswith("--")
    else item
    for item in items[:end]
  ]
  return own, items[end + 1 :]


def check(values: flags.FlagValues) -> None:
  """Refuses an unknown backend, and a flag that the backend would not read.

  Args:
    values: the flags, parsed.

  Raises:
    ConfigError: there is such a one.
  """
  backend = str(values["backend"].value)
  if backend not in BACKENDS:
    raise ConfigError(unknown("--backend", backend, BACKENDS))
  for name, backends in READ_BY.items():
    if values[name].present and backend not in backends:
      raise ConfigError(
        f"--{name} says nothing to --backend={backend}; it is for {', '.join(backends)}."
      )
