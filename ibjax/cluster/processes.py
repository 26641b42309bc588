"""Joins the processes of a run, and sees that they are of one mind before the first step."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import platform
import secrets
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

import ibjax
from ibjax.cluster import heartbeat, shared, supervisor
from ibjax.cluster.heartbeat import Heartbeat
from ibjax.core.config import difference
from ibjax.core.errors import ConfigError, WorkdirError

# Flags beside the config that shape what is computed.
SHARED_FLAGS = (
  *("population", "pairing", "continuation", "chunk", "strategy"),
  *("allow_config_change", "lost_after"),
)
SHARED_S = 90.0  # an NFS client may take a minute to see a new file
# JAX ends a process itself when it hears nothing of another; ours speaks first, and names it.
MARGIN_S = 60


def define_flags(values: flags.FlagValues) -> None:
  """Defines the flags that join several processes to one run.

  Args:
    values: flags; these are added.
  """
  flags.DEFINE_bool(
    "distributed",
    False,
    "Join the processes that the cluster started, as JAX finds them: a Slurm step, a TPU pod, "
    "Kubernetes, Open MPI.",
    flag_values=values,
  )
  flags.DEFINE_string("coordinator", None, "host:port of process 0.", flag_values=values)
  flags.DEFINE_integer("num_processes", 1, "Processes of this run.", flag_values=values)
  flags.DEFINE_integer("process_id", 0, "Number of this process.", flag_values=values)
  flags.DEFINE_integer(
    "join_timeout", 300, "Seconds to wait for the other processes.", flag_values=values
  )
  flags.DEFINE_float(
    "lost_after",
    60.0,
    "Seconds without a heartbeat after which another process is lost.",
    flag_values=values,
  )


def join(options: Mapping[str, Any]) -> None:
  """Joins the other processes, when there are any; must come before JAX sees its devices.

  Args:
    options: the parsed flags, of which those of `define_flags` are read.

  Raises:
    ConfigError: several processes without a coordinator, a number out of range, no cluster found,
      a port in use, a coordinator that does not answer.
  """
  count, number, address = options["num_processes"], options["process_id"], options["coordinator"]
  for name in ("join_timeout", "lost_after"):
    if options[name] <= 0:
      raise ConfigError(f"--{name}={options[name]:g} must be greater than 0 seconds.")
  if options["distributed"]:
    if address or count != 1:
      raise ConfigError("--distributed finds the other processes; leave out --coordinator.")
    _connect(options, None, None, None)
    return
  if count == 1 and not address:
    return
  if count < 1:
    raise ConfigError(f"--num_processes={count} must be at least 1.")
  if not address or not 0 <= number < count:
    raise ConfigError(
      f"--num_processes={count} needs --coordinator=HOST:PORT (of process 0) and "
      f"--process_id in 0..{count - 1}, another one for each process."
    )
  host, _, port = address.rpartition(":")
  if not host or not port.isdigit() or not 0 < int(port) < 65536:
    raise ConfigError(
      f"--coordinator={address} must be HOST:PORT, e.g. {socket.gethostname()}:5123."
    )
  if number:
    _await_coordinator(host.strip("[]"), int(port), options["join_timeout"])
  else:
    _check_port(int(port))
  _connect(options, address, count, number)


def _check_port(port: int) -> None:
  """Sees that process 0 can listen: where it cannot, JAX 0.10 may end in a segmentation fault."""
  family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
  with socket.socket(family) as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      probe.bind(("", port))
      probe.listen()
    except OSError as error:
      raise ConfigError(
        f"process 0 cannot listen on port {port} ({error.strerror or error}): another program uses "
        "it, perhaps a run that is still ending. Choose another --coordinator=HOST:PORT, the same "
        "for all processes."
      ) from None


def _await_coordinator(host: str, port: int, timeout: float) -> None:
  until, last = time.monotonic() + timeout, ""
  while time.monotonic() < until:
    try:
      socket.create_connection((host, port), timeout=5).close()
      return
    except OSError as error:
      last = error.strerror or str(error)
      time.sleep(0.5)
  raise ConfigError(
    f"the coordinator {host}:{port} (process 0) did not answer for {timeout:g} s ({last}). Is "
    "process 0 started, the host's name right, and the port open between the hosts? "
    "--join_timeout=SECONDS waits longer."
  )


def _connect(
  options: Mapping[str, Any], address: str | None, count: int | None, number: int | None
) -> None:
  supervisor.tell(
    stage="joining",
    coordinator=address or "the address that the cluster gives",
    timeout=options["join_timeout"],
    **({} if count is None else {"process": number, "of": count}),
  )
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  # Its handler of SIGTERM would swallow the signal until ours is set, before the first step.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
      address,
      count,
      number,
      initialization_timeout=options["join_timeout"],
      heartbeat_timeout_seconds=int(options["lost_after"] + MARGIN_S),
    )
  except ValueError as error:
    raise ConfigError(
      "--distributed found no cluster: this is no Slurm step (srun), TPU pod, Kubernetes job or "
      f"Open MPI run ({error}). Start it there, e.g. by `ibjax launch`, or give --coordinator, "
      "--num_processes and --process_id."
    ) from None
  except RuntimeError as error:
    raise ConfigError(
      f"the processes did not join: {str(error).splitlines()[0]}. Were all started, with the same "
      "--num_processes? Is the coordinator's port free on its host? (--join_timeout="
      f"{options['join_timeout']})"
    ) from None
  supervisor.tell(stage="joined")


def exchange(value: Any) -> list[Any]:
  """Gives every process what each one says.

  Args:
    value: anything JSON can hold.

  Returns:
    The values of all processes, by process; the same list in each.
  """
  if jax.process_count() == 1:
    return [value]
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  lengths = multihost_utils.process_allgather(np.array(len(text), np.int32))
  padded = np.zeros(int(lengths.max()), np.uint8)
  padded[: len(text)] = text
  rows = np.asarray(multihost_utils.process_allgather(padded))
  return [json.loads(bytes(row[:size])) for row, size in zip(rows, lengths)]


def agree(
  config: Mapping[str, Any], workdir: pathlib.Path, found: Any, options: Mapping[str, Any]
) -> str:
  """Raises unless all processes were started with the same config, code and folder.

  Args:
    config: the resolved config.
    workdir: the run's folder, which exists. From here on, processes but the first print to files in
      its "heartbeats".
    found: what this process found of the run in its folder; the same in all.
    options: the parsed flags, of which `SHARED_FLAGS` are compared.

  Returns:
    A text that only this start of the run has, the same in all processes.

  Raises:
    ConfigError: processes differ in config, code, versions; names which, and in what.
    WorkdirError: they found different runs in the folder.
  """
  mine = {
    "config": config,
    "flags": {name: options[name] for name in SHARED_FLAGS},
    "code": {"ibjax": _package_digest()},
    "versions": {"python": platform.python_version(), "jax": jax.__version__},
    "numerics": {"float": str(jax.dtypes.canonicalize_dtype(float)), "on": jax.default_backend()},
    "found": found,
    "host": socket.gethostname(),
    "workdir": str(workdir.absolute()),
    "token": secrets.token_hex(8),
  }
  if jax.process_count() == 1:
    return str(mine["token"])
  folder, number = workdir / heartbeat.FOLDER, jax.process_index()
  with shared.doing(f"cannot write the heartbeats {folder}"):
    folder.mkdir(parents=True, exist_ok=True)
    if number and heartbeat.SUPERVISED in os.environ:
      _redirect(heartbeat.log_of(folder, number))
  # Once for meeting, so that the clocks are read at one time.
  multihost_utils.sync_global_devices("ibjax_agree")
  every = exchange({**mine, "clock": time.time()})
  warnings = compare(every)
  if number == 0:
    for text in warnings:
      print(f"warning: {text}", file=sys.stderr)
  return str(every[0]["token"])


def compare(every: Sequence[Mapping[str, Any]]) -> list[str]:
  """Compares what the processes of a run say of themselves.

  Args:
    every: by process, {"config", "flags", "code", "versions", "numerics", "found", "host",
      "workdir", "clock" (seconds)}.

  Returns:
    Warnings: clocks that differ.

  Raises:
    ConfigError: processes differ in config, code, versions; names which, and in what.
    WorkdirError: they found different runs in the folder.
  """
  first, warnings = every[0], []
  for number, other in enumerate(every):
    who = f"process {number} ({other['host']}) and process 0 ({first['host']})"
    if lines := difference(first["config"], other["config"]):
      shown = "\n  ".join(lines[:10])
      raise ConfigError(
        f"{who} were started with different configs:\n  {shown}\n"
        "Start all processes with the same command; nothing was trained."
      )
    if first["flags"] != other["flags"]:
      raise ConfigError(
        f"{who} were started with different flags: {other['flags']} and {first['flags']}. Start "
        "all processes with the same command; nothing was trained."
      )
    for kind, means in (("code", "code of ibjax"), ("versions", "versions"), ("numerics", "JAX")):
      if first[kind] != other[kind]:
        raise ConfigError(
          f"{who} have different {means}: {other[kind]} and {first[kind]}. Install the same on all "
          "hosts; nothing was trained."
        )
    if first["found"] != other["found"]:
      raise WorkdirError(_not_shared(who, first, other, "found different runs in it"))
    skew = other["clock"] - first["clock"]
    if abs(skew) > heartbeat.SKEW_S:
      warnings.append(
        f"the clock of process {number} ({other['host']}) is {skew:+.0f} s off process 0's. Times "
        "in logs and heartbeats will not agree; nothing else depends on them."
      )
  return warnings


def _not_shared(who: str, first: Mapping[str, Any], other: Mapping[str, Any], how: str) -> str:
  return (
    f"the workdir is not shared: {who} {how} ({other['workdir']} and {first['workdir']}). All "
    "processes of a run need the same folder, on a file system that all hosts mount; give "
    "--workdir an absolute path on it."
  )


def begin(workdir: pathlib.Path, session: str, options: Mapping[str, Any]) -> Heartbeat:
  """Starts this process's heartbeat, and sees that all processes see each other's.

  Args:
    workdir: the run's folder, which exists.
    session: what `agree` returned.
    options: the parsed flags, of which --lost_after and --join_timeout are read.

  Returns:
    The heartbeat, begun; the caller ends it by leaving its context.

  Raises:
    WorkdirError: a process does not see another's heartbeat: the folder is not shared.
  """
  number, of = jax.process_index(), jax.process_count()
  lost_after, timeout = options["lost_after"], options["join_timeout"]
  beat = Heartbeat(workdir, number, of, session=session, period=min(5.0, lost_after / 6))
  if of == 1:
    return beat
  with shared.doing(f"cannot write the heartbeats {beat.folder}"):
    heartbeat.write(
      heartbeat.path_of(beat.folder, number),
      {"process": number, "of": of, "session": session, "state": "starting"},
    )
  seen: list[int] = []
  until = time.monotonic() + min(SHARED_S, timeout)
  while len(seen) < of and time.monotonic() < until:
    each = [heartbeat.read(heartbeat.path_of(beat.folder, other)) for other in range(of)]
    seen = [i for i, one in enumerate(each) if one is not None and one.get("session") == session]
    time.sleep(0.05 if len(seen) < of else 0)
  mine = {"seen": seen, "host": socket.gethostname(), "workdir": str(workdir.absolute())}
  every = exchange(mine)
  for one, report in enumerate(every):
    missing = [other for other in range(of) if other not in report["seen"]]
    if missing:
      who = f"process {one} ({report['host']}) and process {missing[0]}"
      who += f" ({every[missing[0]]['host']})"
      how = "do not see each other's files"
      raise WorkdirError(_not_shared(who, every[missing[0]], report, how))
  if heartbeat.SUPERVISED in os.environ:
    sys.excepthook = functools.partial(_brief, heartbeat.log_of(beat.folder, number))
  supervisor.tell(
    stage="running",
    folder=str(beat.folder.absolute()),
    process=number,
    of=of,
    session=session,
    lost_after=lost_after,
  )
  return beat


def _brief(path: pathlib.Path, kind: Any, error: BaseException, trace: Any) -> None:
  """Shows a failed collective as a line: another process ended, and the supervisor names it."""
  if isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error):
    with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as log:
      traceback.print_exception(kind, error, trace, file=log)
    print(f"{str(error).splitlines()[0]} (all of it: {path})", file=sys.stderr, flush=True)
    return
  sys.__excepthook__(kind, error, trace)


def _redirect(path: pathlib.Path) -> None:
  """Sends what this process prints to a file: process 0 alone speaks on the terminal."""
  sys.stdout.flush()
  sys.stderr.flush()
  file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
  os.dup2(file, 1)
  os.dup2(file, 2)
  os.close(file)


def _package_digest() -> str:
  root = pathlib.Path(ibjax.__file__).parent
  digest = hashlib.sha256()
  for path in sorted(root.rglob("*.py")):
    digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
  return digest.hexdigest()[:16]
