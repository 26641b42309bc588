"""Several processes of one run on this machine, as a scheduler would run them on many."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from ibjax.cluster import heartbeat, offspring
from ibjax.cluster.watch import EXIT_BAD_INPUT, EXIT_STOPPED
from ibjax.core.errors import ClusterError, ConfigError

POLL_S = 0.1
_COUNT = re.compile(r"--xla_force_host_platform_device_count=\d+")


@dataclasses.dataclass(frozen=True)
class Request:
  """Processes of one run.

  Attributes:
    command: what each process runs, as words, without the flags that join them.
    processes: how many.
    folder: where the output of all but process 0 goes.
    devices: virtual CPU devices of each process; 0 leaves the devices as they are.
    grace_s: seconds that processes have to save before they are killed.
  """

  command: tuple[str, ...]
  processes: int
  folder: pathlib.Path
  devices: int = 0
  grace_s: int = 120


def commands(request: Request) -> list[list[str]]:
  """The command line of each process; one alone is joined to nothing.

  Args:
    request: the processes.

  Returns:
    Words of each, in the order of their numbers; the coordinator's port is free now.

  Raises:
    ConfigError: a number out of range.
  """
  for name, least in (("processes", 1), ("devices", 0), ("grace_s", 0)):
    if getattr(request, name) < least:
      raise ConfigError(f"{name}={getattr(request, name)} must be at least {least}.")
  if request.processes == 1:
    return [list(request.command)]
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  join = [f"--coordinator=127.0.0.1:{port}", f"--num_processes={request.processes}"]
  return [
    [*request.command, *join, f"--process_id={number}"] for number in range(request.processes)
  ]


def environment(request: Request) -> dict[str, str]:
  """What the processes' environment has beside this one's.

  Args:
    request: the processes.

  Returns:
    Variable -> value.
  """
  if not request.devices:
    return {}
  others = _COUNT.sub("", os.environ.get("XLA_FLAGS", "")).split()
  count = f"--xla_force_host_platform_device_count={request.devices}"
  return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": " ".join([*others, count])}


def log_path(request: Request, number: int) -> pathlib.Path:
  """Where a process's output goes.

  Args:
    request: the processes.
    number: of a process other than 0, whose output is this one's.

  Returns:
    The file.
  """
  return heartbeat.log_of(request.folder, number)


def run(request: Request) -> int:
  """Runs the processes to their end. SIGTERM and Ctrl-C are passed on, so that all save.

  When one fails the others are told to stop, and killed when the grace is over.

  Args:
    request: the processes.

  Returns:
    0 when all are done; 2 when one found bad input; 75 when one was stopped with all saved; else
    the exit code of the first that failed, 128 + n when signal n ended it.

  Raises:
    ClusterError: a process cannot be started.
  """
  processes: list[subprocess.Popen[bytes]] = []
  with _noticing() as noticed:
    try:
      for number, command in enumerate(commands(request)):
        processes.append(_start(request, number, command))
      return _watch(request, processes, noticed)
    finally:
      for process in processes:
        with contextlib.suppress(ProcessLookupError):
          os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(request: Request, number: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
  path = log_path(request, number)
  try:
    with contextlib.ExitStack() as stack:
      output = None
      if number:
        path.parent.mkdir(parents=True, exist_ok=True)
        output = stack.enter_context(open(path, "ab"))
      # A session of its own, so that Ctrl-C on the terminal reaches it once, as our SIGTERM.
      return subprocess.Popen(
        command,
        env={**os.environ, **offspring.environment(), **environment(request)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if number else None,
        start_new_session=True,
      )
  except OSError as error:
    raise ClusterError(f"cannot start process {number}: {error.strerror or error}.") from error


def _watch(
  request: Request, processes: Sequence[subprocess.Popen[bytes]], noticed: list[str]
) -> int:
  codes: dict[int, int] = {}  # in the order of their ends
  deadline, told, killed = float("inf"), False, False
  while len(codes) < len(processes):
    for number, process in enumerate(processes):
      if number not in codes and process.poll() is not None:
        codes[number] = process.returncode
        _tell_end(request, number, process.returncode)
    failed = any(code not in (0, EXIT_STOPPED) for code in codes.values())
    if not told and (failed or noticed):
      told, deadline = True, time.monotonic() + request.grace_s
      _signal(processes, signal.SIGTERM)
    if not killed and (len(noticed) > 1 or time.monotonic() > deadline):
      killed = True
      _say("killing the processes that are left; what they had saved is kept")
      _signal(processes, signal.SIGKILL)
    time.sleep(POLL_S)
  return exit_code(list(codes.values()))


def exit_code(codes: Sequence[int]) -> int:
  """What the end of all processes means.

  Args:
    codes: return codes in the order in which the processes ended; -n for signal n.

  Returns:
    0, 2, 75, or the first failure, as `run` says.
  """
  for known in (EXIT_BAD_INPUT, EXIT_STOPPED):
    if known in codes:
      return known
  first = next((code for code in codes if code), 0)
  return 128 - first if first < 0 else first


def _tell_end(request: Request, number: int, code: int) -> None:
  if code in (0, EXIT_STOPPED):
    return
  how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
  where = f"; it said: {log_path(request, number)}" if number else ""
  _say(f"process {number} {how}{where}")


def _signal(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
  for process in processes:
    if process.poll() is None:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextlib.contextmanager
def _noticing() -> Iterator[list[str]]:
  """Collects the names of the stop signals that come; the second one kills."""
  names: list[str] = []
  before: Mapping[int, object] = {
    number: signal.signal(number, lambda n, _: names.append(signal.Signals(n).name))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
  }
  try:
    yield names
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)  # type: ignore[arg-type]


def _say(text: str) -> None:
  print(f"launch: {text}", file=sys.stderr, flush=True)
