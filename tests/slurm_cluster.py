"""A private Slurm for tests; what it is stands in scripts/slurm_cluster.py."""

from __future__ import annotations

import contextlib
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ibjax.cluster import slurm
from tests.helpers import ROOT

EXIT_MISSING = 69
READY_S = 400.0  # the program tries three times, and says why it failed


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
  """Runs a Slurm of two nodes; skips the test where Slurm is not installed.

  Yields:
    The environment variables by which Slurm's programs find it.
  """
  # A socket's path must be short, which pytest's folders are not.
  with tempfile.TemporaryDirectory(prefix="ibjax-slurm-", ignore_cleanup_errors=True) as folder:
    process = subprocess.Popen(
      [sys.executable, str(ROOT / "scripts/slurm_cluster.py"), folder],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    try:
      said = _until_ready(process)
      if process.poll() == EXIT_MISSING:
        pytest.skip(said.strip())
      assert process.poll() is None and "ready:" in said, f"Slurm did not start: {said}"
      yield {"SLURM_CONF": str(pathlib.Path(folder).resolve() / "slurm.conf")}
    finally:
      process.terminate()
      process.wait(timeout=120)


def _until_ready(process: subprocess.Popen[str]) -> str:
  lines: queue.Queue[str] = queue.Queue()
  assert process.stdout is not None
  stream = process.stdout

  def read() -> None:
    for line in stream:
      lines.put(line)
    lines.put("")

  threading.Thread(target=read, daemon=True).start()
  said, deadline = "", time.monotonic() + READY_S
  while time.monotonic() < deadline:
    with contextlib.suppress(queue.Empty):
      line = lines.get(timeout=1)
      said += line
      if not line:
        process.wait(timeout=60)
        return said
      if line.startswith("ready:"):
        return said
  return said


def wait_for_state(job_id: str, states: tuple[str, ...], seconds: float = 600.0) -> dict[str, Any]:
  """Polls a job until its state is one of these; fails, saying what it was, when it is not.

  Args:
    job_id: the job's number; SLURM_CONF must be in this process's environment.
    states: as Slurm names them, e.g. ("COMPLETED", "FAILED").
    seconds: how long to wait.

  Returns:
    The job's only task, as `slurm.state` gives it.
  """
  deadline = time.monotonic() + seconds
  while (found := slurm.state(job_id))["state"] not in states:
    assert time.monotonic() < deadline, f"job {job_id} is {found}; expected {states}"
    time.sleep(0.2)
  return found["tasks"][0]


def alive(folder: pathlib.Path) -> list[str]:
  """The commands of processes that were started with a cluster's configuration."""
  wanted, found = f"SLURM_CONF={folder}/slurm.conf".encode(), []
  for path in pathlib.Path("/proc").glob("[0-9]*"):
    with contextlib.suppress(OSError):
      if int(path.name) != os.getpid() and wanted in (path / "environ").read_bytes().split(b"\0"):
        found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
  return found
