"""Arrays of Slurm: tasks that run one command, and share its work by claims."""

from __future__ import annotations

import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from ibjax.cluster import slurm
from ibjax.core.errors import ConfigError, WorkdirError, unknown
from ibjax.core.files import write_text

WORKERS = ".workers"  # beside the runs: logs of what was launched, and the script of the array
FLAGS = ("launch", "parallel", "sbatch", "go")


def define(values: flags.FlagValues, launches: Sequence[str]) -> None:
  """Defines the flags of a verb whose work can be shared.

  Args:
    values: the verb's flags; `FLAGS` are added.
    launches: the values of --launch.
  """
  text = f"Share the work between processes: {', '.join(launches)} (shows slurm's script)."
  flags.DEFINE_string("launch", "", text, flag_values=values)
  text = "How many processes --launch starts, or tasks of Slurm's array."
  flags.DEFINE_integer("parallel", 2, text, flag_values=values)
  text = 'Options of sbatch: --sbatch="--partition=gpu --gpus-per-node=1 --time=8:00:00".'
  flags.DEFINE_string("sbatch", "", text, flag_values=values)
  flags.DEFINE_bool("go", False, "With --launch=slurm: submit the script.", flag_values=values)


def check(options: Mapping[str, Any], launches: Sequence[str]) -> None:
  """Raises unless the flags fit each other.

  Args:
    options: the verb's flags.
    launches: the values of --launch.

  Raises:
    ConfigError: they do not.
  """
  if options["launch"] not in ("", *launches):
    raise ConfigError(unknown("launch", options["launch"], launches))
  if options["parallel"] < 1:
    raise ConfigError(f"--parallel={options['parallel']} must be at least 1.")
  for flag, unset in (("go", False), ("sbatch", "")):
    if options[flag] != unset and options["launch"] not in ("slurm", "print"):
      raise ConfigError(f"--{flag} is for --launch=slurm.")


def tasks(wanted: int, there: int, what: str) -> int:
  """How many tasks are worth starting.

  Args:
    wanted: as asked for.
    there: units that are left to claim.
    what: the units, for the message.

  Returns:
    The lower number; says so when it is not the one asked for.
  """
  if there < wanted:
    print(f"{there} {what} are left to claim, so as many tasks suffice", file=sys.stderr)
  return min(wanted, there)


def without(argv: Sequence[str]) -> list[str]:
  """A command line without the flags of launching: what each task runs.

  Args:
    argv: the arguments after the verb.

  Returns:
    The others.
  """
  found, skip = [], False
  for word in argv:
    name, equals, _ = word.lstrip("-").partition("=")
    if skip:
      skip = False
    elif word.startswith("-") and name in FLAGS:
      skip = not equals and name != "go"
    else:
      found.append(word)
  return found


def launch(
  command: Sequence[str], parallel: int, folder: pathlib.Path, options: Mapping[str, Any]
) -> None:
  """Shows or writes the script of an array, and submits it where that is asked for.

  Args:
    command: what each task runs.
    parallel: how many tasks.
    folder: where script and logs go; made when absent.
    options: the verb's flags.

  Raises:
    ConfigError: --sbatch has what cannot be passed on.
    WorkdirError: the script cannot be written.
    ClusterError: there is no Slurm here, or it refuses the job.
  """
  folder = folder.absolute()
  request = slurm.Request(
    command=tuple(command),
    folder=folder,
    directory=pathlib.Path.cwd(),
    array=f"0-{parallel - 1}",
    **_asked_of_sbatch(options["sbatch"]),
  )
  script = slurm.render(request)
  if options["launch"] == "print":
    print(script, end="")
    return
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise WorkdirError(f"cannot make {folder}: {error.strerror or error}.") from error
  path = folder / "array.sh"
  write_text(path, script)
  print(f"script   {path}")
  if not options["go"]:
    print(f"review it, then: sbatch {shlex.quote(str(path))}  (or add --go to this command)")
    return
  print(f"array    {slurm.submit(path)}, {parallel} tasks; logs {folder}/slurm-*.log")


def _asked_of_sbatch(text: str) -> dict[str, Any]:
  """Options of sbatch as fields of a request; what it has no field for is passed on as it is."""
  fields = {field.name: field.type for field in dataclasses.fields(slurm.Request)}
  fields = {name: kind for name, kind in fields.items() if kind in ("str", "int", "bool")}
  found: dict[str, Any] = {"extra": ()}
  for word in shlex.split(text):
    key, equals, value = word.removeprefix("--").partition("=")
    name = {"job-name": "name"}.get(key, key.replace("-", "_"))
    if not word.startswith("--"):
      raise ConfigError(f"--sbatch: found '{word}'; write its options as --name=value.")
    if name in ("array", "nodes", "tasks_per_node", "ntasks", "ntasks_per_node"):
      raise ConfigError(f"--sbatch: {word} is what --parallel decides: a task is one process.")
    if name not in fields:
      found["extra"] += (word,)
    elif fields[name] == "int":
      if not value.isdigit():
        raise ConfigError(f"--sbatch: --{key}={value} must be a whole number.")
      found[name] = int(value)
    else:
      found[name] = value if fields[name] == "str" else True
    if name in fields and fields[name] != "bool" and not equals:
      raise ConfigError(f"--sbatch: {word} needs a value, --{key}=VALUE.")
  return found
