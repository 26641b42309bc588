"""`ibjax launch [flags] -- VERB ...`: runs a verb as a Slurm job, on clouds, or as processes here.

Nothing is submitted without --go; what would run is written to be read first.
"""

from __future__ import annotations

import datetime
import json
import pathlib
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

from ibjax.cluster import cloud, heartbeat, local, slurm, supervisor
from ibjax.core import files
from ibjax.core.errors import ConfigError, WorkdirError, unknown
from ibjax.train.records import prepare_workdir
from ibjax.verbs import flags as flags_lib
from ibjax.verbs import launch_flags

# What may be launched, and whether it may be several processes.
VERBS = {"train": True, "eval": False, "sweep": False, "table": False}
# Options of a job by the names they have here too.
SAME = (
  *("name", "nodes", "tasks_per_node", "array", "requeues", "time", "partition", "account", "qos"),
  *("constraint", "gpus_per_node", "gres", "mem", "cpus_per_task", "exclusive"),
)
JOINS = (*supervisor.FLAGS, "process_id")


def run(argv: Sequence[str]) -> int:
  """Launches; see `ibjax launch --help`.

  Args:
    argv: the arguments after the verb: its flags, "--", and the verb to run with its own.

  Returns:
    0 when what was asked for is written, submitted or done; with --backend=local the exit code of
    `ibjax.cluster.local.run`.

  Raises:
    IbjaxError: bad input; nothing was submitted or started.
  """
  own, inner = launch_flags.split(argv)
  values = launch_flags.define()
  if flags_lib.wants_help("launch", values, own, config=False):
    print("  -- VERB [its flags]      what runs, e.g. -- train --config=FILE.py --workdir=FOLDER")
    return 0
  flags_lib.no_positional("launch", flags_lib.parse(values, "launch", own))
  launch_flags.check(values)
  options = flags_lib.given(values)
  workdir = _check_inner(inner)
  run_backend: dict[str, Callable[..., int]] = {
    "slurm": _slurm,
    "local": _local,
    "print": _print,
    "tpu": _tpu,
    "gke": _gke,
  }
  return run_backend[options["backend"]](options, inner, workdir)


def _check_inner(inner: Sequence[str]) -> pathlib.Path:
  """Checks the command to launch; returns its workdir."""
  if not inner:
    raise ConfigError(
      "`ibjax launch` needs what to run after a lone --, e.g. `ibjax launch --backend=slurm "
      "--nodes=2 -- train --config=configs/variational/vib_mnist.py --workdir=runs/vib`."
    )
  if inner[0] not in VERBS:
    raise ConfigError(unknown("verb to launch", inner[0], VERBS))
  for item in inner[1:]:
    name = item.lstrip("-").partition("=")[0]
    if item.startswith("-") and name in JOINS:
      raise ConfigError(f"{item}: `ibjax launch` joins the processes itself; leave it out.")
  if inner[0] in ("train", "sweep"):
    path, changes = flags_lib.config_path(inner), flags_lib.overrides(inner)
    # A mistyped config is told here, not by a job that has waited a night.
    config = [] if path is None else [f"--config={path}"]
    flags_lib.load_config(inner[0], flags.FlagValues(), [*config, *(f"--{one}" for one in changes)])
  folder = _value(inner, "workdir")
  if not folder:
    raise ConfigError(f"`ibjax launch -- {inner[0]}` needs --workdir=FOLDER after the verb.")
  return pathlib.Path(folder)


def _value(inner: Sequence[str], name: str) -> str:
  """The value of a flag of the inner command; "" when it is not there."""
  found = ""
  for item, following in zip(inner, [*inner[1:], ""]):
    flag, equals, value = item.partition("=")
    if flag in (f"--{name}", f"-{name}"):
      found = value if equals else following
  return found


def _command(
  options: Mapping[str, Any], inner: Sequence[str], default: str, tasks: int
) -> list[str]:
  """What each process runs, joined to the others when there are any."""
  if tasks > 1 and not VERBS[inner[0]]:
    raise ConfigError(
      f"`ibjax {inner[0]}` is one process, and {tasks} were asked for. Launch it with one node and "
      "one task" + (", or use `ibjax table --launch=slurm`." if inner[0] == "table" else ".")
    )
  program = options["program"].split() or default.split("\0")
  return [*program, *inner, *(["--distributed"] if tasks > 1 else [])]


def _this_python() -> str:
  return "\0".join([sys.executable, "-m", "ibjax.main"])


def _job(options: Mapping[str, Any], inner: Sequence[str], workdir: pathlib.Path) -> slurm.Request:
  tasks = options["nodes"] * options["tasks_per_node"]
  if options["array"] and inner[0] != "table":
    raise ConfigError(
      f"--array={options['array']}: its tasks would all {inner[0]} in {workdir}. An array is for "
      "`ibjax table`; many runs of a config are `ibjax sweep`, or `ibjax train --population`."
    )
  return slurm.Request(
    command=tuple(_command(options, inner, _this_python(), tasks)),
    folder=workdir.absolute(),
    directory=pathlib.Path(options["directory"]).absolute(),
    grace_s=options["grace"],
    extra=tuple(options["sbatch"]),
    setup=tuple(options["setup"]),
    **{name: options[name] for name in SAME},
  )


def _slurm(options: Mapping[str, Any], inner: Sequence[str], workdir: pathlib.Path) -> int:
  text = slurm.render(_job(options, inner, workdir))
  prepare_workdir(workdir)
  record, script = workdir / "launch.json", workdir / "launch.sbatch"
  before = _launched(record)
  if options["go"]:
    _check_ended(before.get("job_id", ""), workdir)
    # Perhaps the script was given to sbatch by hand.
    for job_id in sorted({str(beat.get("job")) for beat in heartbeat.read_well(workdir)}):
      _check_ended(job_id, workdir)
  files.write_text(script, text)
  print(f"script       {script}")
  used = {name: options[name] for name, by in launch_flags.READ_BY.items() if "slurm" in by}
  about = {"command": list(inner), "options": used}
  files.write_json(record, about | before)
  if not options["go"]:
    print("nothing was submitted; read it, then run this again with --go, or sbatch it yourself")
    return 0
  job_id = slurm.submit(script)
  when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  files.write_json(record, about | {"job_id": job_id, "submitted": when})
  print(f"job          {job_id}")
  print(f"state        ibjax status {shlex.quote(str(workdir))}")
  return 0


def _launched(record: pathlib.Path) -> dict[str, str]:
  """The job that this workdir was launched as before: {"job_id", "submitted"}, or {}."""
  if not record.exists():
    return {}
  try:
    found = json.loads(record.read_text(encoding="utf-8"))
    return {key: str(found[key]) for key in ("job_id", "submitted") if key in found}
  except (OSError, ValueError, TypeError) as error:
    raise WorkdirError(
      f"{record} is not a record of `ibjax launch`: {error}; move it away."
    ) from error


def _check_ended(job_id: str, workdir: pathlib.Path) -> None:
  """Two jobs must not train in one folder."""
  if not job_id:
    return
  last = slurm.state(job_id)
  if not slurm.ended(last):
    raise ConfigError(
      f"job {last['job_id']}, launched for {workdir} before, is {last['state']}; wait for it, or "
      f"`scancel {last['job_id']}` first."
    )


def _processes(
  options: Mapping[str, Any], inner: Sequence[str], workdir: pathlib.Path
) -> local.Request:
  count = options["processes"]
  if count < 1:
    raise ConfigError(f"--backend=local needs --processes=N, at least 1; found {count}.")
  _command(options, inner, "", count)
  return local.Request(
    command=(*(options["program"].split() or _this_python().split("\0")), *inner),
    processes=count,
    folder=workdir / heartbeat.FOLDER,
    devices=options["devices_per_process"],
    grace_s=options["grace"],
  )


def _local(options: Mapping[str, Any], inner: Sequence[str], workdir: pathlib.Path) -> int:
  request = _processes(options, inner, workdir)
  prepare_workdir(workdir)
  return local.run(request)


def _print(options: Mapping[str, Any], inner: Sequence[str], workdir: pathlib.Path) -> int:
  if not options["processes"]:
    print(slurm.render(_job(options, inner, workdir)), end="")
    return 0
  request = _processes(options, inner, workdir)
  set_ = [f"{name}={shlex.quote(value)}" for name, value in local.environment(request).items()]
  for number, command in enumerate(local.commands(request)):
    output = f" >>{shlex.quote(str(local.log_path(request, number)))} 2>&1" if number else ""
    print(" ".join([*set_, shlex.join(command)]) + output + " &")
  print("wait")
  return 0


def _tpu(options: Mapping[str, Any], inner: Sequence[str], workdir: pathlib.Path) -> int:
  _need(options, "zone")
  _need_absolute(workdir)
  request = cloud.Tpu(
    # How many hosts the slice has, its own metadata say.
    command=tuple(_command(options, inner, "ibjax", 2)),
    name=options["name"],
    zone=options["zone"],
    directory=options["directory"] or "ibjax",
    project=options["project"],
    setup=tuple(options["setup"]),
  )
  print(cloud.render_tpu(request), end="")
  return 0


def _gke(options: Mapping[str, Any], inner: Sequence[str], workdir: pathlib.Path) -> int:
  _need(options, "image", "claim")
  _need_absolute(workdir)
  mount = pathlib.PurePosixPath(options["mount"])
  if not workdir.is_relative_to(mount):
    raise ConfigError(
      f"--workdir={workdir} is not below --mount={mount}, which all pods share; each pod would "
      "have a folder of its own."
    )
  request = cloud.Gke(
    command=tuple(_command(options, inner, "ibjax", options["nodes"])),
    image=options["image"],
    claim=options["claim"],
    mount=mount,
    directory=options["directory"] or "/ibjax",
    name=options["name"],
    processes=options["nodes"],
    requeues=options["requeues"],
    grace_s=options["grace"],
    gpus=options["gpus"],
    tpus=options["tpu_chips"],
    accelerator=options["tpu_accelerator"],
    topology=options["tpu_topology"],
    setup=tuple(options["setup"]),
  )
  print(cloud.render_gke(request), end="")
  return 0


def _need(options: Mapping[str, Any], *names: str) -> None:
  for name in names:
    if not options[name]:
      about = launch_flags.STRINGS[name][1]
      raise ConfigError(f"--backend={options['backend']} needs --{name}=...: {about}")


def _need_absolute(workdir: pathlib.Path) -> None:
  if not workdir.is_absolute():
    raise ConfigError(
      f"--workdir={workdir} must be an absolute path there, on a file system that all hosts share."
    )
