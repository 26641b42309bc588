"""A small parent of each process of a run of many: it survives what its process does not.

When a process is lost, the others sit in a collective that never returns, or are ended from within
the runtime (SIGABRT, when the coordinator is lost) before Python could say a word. So the work is
done by a child of this process, which imports no JAX, passes signals on, watches the heartbeats of
the other processes (`watch.py`), ends the child when one is missing, and says which.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from ibjax.cluster import heartbeat, offspring
from ibjax.cluster.watch import EXIT_BAD_INPUT, EXIT_STOPPED, Verdict, Watch

FLAGS = ("distributed", "coordinator", "num_processes")
POLL_S = 0.25
# Exit codes of a child that has said itself what it ended for.
EXPLAINED = (0, EXIT_BAD_INPUT, EXIT_STOPPED, 130)


def wanted(argv: Sequence[str]) -> bool:
  """Whether a command line starts one process of several, and this is not its child yet.

  Args:
    argv: the verb and its arguments.

  Returns:
    True when it should be supervised.
  """
  if heartbeat.SUPERVISED in os.environ or {"--help", "-h"} & set(argv):
    return False
  names = {item.lstrip("-").partition("=")[0] for item in argv if item.startswith("-")}
  return argv[0] == "train" and bool(names & set(FLAGS))


def tell(**about: Any) -> None:
  """Tells this process's supervisor, if it has one, where the run is.

  Args:
    **about: "stage" and what belongs to it.
  """
  given = os.environ.get(heartbeat.SUPERVISED)
  if given is None:
    return
  with contextlib.suppress(OSError):  # the supervisor is gone, and this process with it
    os.write(int(given), (json.dumps(about) + "\n").encode())


def supervise(argv: Sequence[str]) -> int:
  """Runs `ibjax ARGV` as a child, to its end or until another process of the run is missing.

  Args:
    argv: the verb and its arguments.

  Returns:
    The child's exit code; 75 when another process was lost, so that the same command continues
    from the last checkpoint; 128 + n when signal n ended the child and no other is missing.
  """
  ours, theirs = os.pipe()
  os.set_blocking(ours, False)
  child: subprocess.Popen[bytes] | None = None
  early: list[int] = []

  def pass_on(number: int, frame: Any) -> None:
    if child is None:
      early.append(number)
    else:
      child.send_signal(number)

  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, pass_on)
  child = subprocess.Popen(
    [sys.executable, "-m", "ibjax.main", *argv],
    env={**os.environ, **offspring.environment(), heartbeat.SUPERVISED: str(theirs)},
    pass_fds=(theirs,),
    # A session of its own: Ctrl-C on the terminal reaches it once, through us.
    start_new_session=True,
  )
  os.close(theirs)
  for noticed in early:
    child.send_signal(noticed)
  heard = _Heard(ours)
  try:
    while (code := child.poll()) is None:
      heard.listen()
      verdict = heard.look()
      if verdict is not None:
        _end(child)
        return heard.leave(verdict.text, verdict.code)
      time.sleep(POLL_S)
    heard.listen()
    return _ended(code, heard)
  finally:
    _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
  if child.poll() is None:
    child.kill()  # it may sit in a collective, deaf to anything milder
    child.wait()


def _ended(code: int, heard: _Heard) -> int:
  if code in EXPLAINED:
    return code
  how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
  if heard.watch is None:
    if heard.stage == "joining" and -code not in (signal.SIGTERM, signal.SIGINT):
      print(f"error: {heard.joining()} It ended with {how}.", file=sys.stderr, flush=True)
      return 1
    print(f"error: it ended before the first step: {how}.", file=sys.stderr, flush=True)
    return code if code >= 0 else 128 - code
  # Aborts and exceptions may come from another's end; a kill is this process's own.
  collateral = code > 0 or code == -signal.SIGABRT
  heard.mark("aborted" if collateral else "died", how)
  until = time.monotonic() + heard.about["lost_after"] + 10
  while collateral and time.monotonic() < until:
    verdict = heard.look()
    if verdict is not None:
      return heard.leave(verdict.text, verdict.code)
    if heard.watch.all_over():
      break
    time.sleep(POLL_S)
  number, of = heard.about["process"], heard.about["of"]
  print(f"error: process {number} of {of} ended: {how}.", file=sys.stderr, flush=True)
  return code if code >= 0 else 128 - code


class _Heard:
  """What the child has told so far."""

  def __init__(self, pipe: int):
    self._pipe, self._rest = pipe, b""
    self.about: dict[str, Any] = {}
    self.stage = ""
    self.watch: Watch | None = None
    self._due = 0.0

  def listen(self) -> None:
    """Reads what the child has written."""
    try:
      self._rest += os.read(self._pipe, 65536)
    except BlockingIOError:
      return
    *lines, self._rest = self._rest.split(b"\n")
    for line in lines:
      self.about |= json.loads(line)
      self.stage = self.about["stage"]
    if self.stage == "running" and self.watch is None:
      names = ("process", "of", "session", "lost_after")
      self.watch = Watch(self._folder(), *(self.about[name] for name in names))

  def look(self) -> Verdict | None:
    """Looks at the other processes, more seldom where there are many: each look reads their files.

    Returns:
      What `Watch.look` finds; None in between.
    """
    now = time.monotonic()
    if self.watch is None or now < self._due:
      return None
    self._due = now + min(max(POLL_S, 0.02 * self.about["of"]), self.about["lost_after"] / 6)
    return self.watch.look()

  def _folder(self) -> pathlib.Path:
    return pathlib.Path(self.about["folder"])

  def joining(self) -> str:
    """Says that the processes did not find each other."""
    return (
      f"process {self.about.get('process', '?')} of {self.about.get('of', '?')} did not join the "
      f"others at {self.about.get('coordinator', '?')} (--join_timeout={self.about.get('timeout')}"
      ", in seconds). Were all started, with the same address and number of processes? Is the "
      "port free on the host of process 0, and open between the hosts?"
    )

  def mark(self, state: str, why: str) -> None:
    """Writes the last heartbeat in the child's place."""
    path = heartbeat.path_of(self._folder(), self.about["process"])
    beat = heartbeat.read(path)
    if beat is None or beat.get("session") != self.about["session"]:
      beat = {name: self.about[name] for name in ("process", "of", "session")}
    said = beat.get("state")
    if said in heartbeat.FINAL and (said != "aborted" or state == "aborted"):
      return  # it has said itself what it ended for
    with contextlib.suppress(OSError):  # it goes silent instead
      heartbeat.write(path, {**beat, "state": state, "why": why})

  def leave(self, text: str, code: int) -> int:
    """Marks this process stopped, lets one process say why, and returns the exit code."""
    assert self.watch is not None
    if self.watch.speaks():
      last = "The same command continues from the last checkpoint."
      print(
        f"error: {text}. The other processes stop, as they cannot go on without it."
        + (f" {last}" if code == EXIT_STOPPED else ""),
        file=sys.stderr,
        flush=True,
      )
    self.mark("stopped", text)
    return code
