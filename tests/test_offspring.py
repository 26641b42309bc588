"""Processes that end with the one that started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ibjax.cluster import offspring
from tests.helpers import environment

CHILD = "import time; from ibjax.cluster import offspring; offspring.heed(); {}time.sleep(600)"
PARENT = """
import os, subprocess, sys, time
from ibjax.cluster import offspring
child = subprocess.Popen(
  [sys.executable, "-c", sys.argv[1]],
  env={**os.environ, **offspring.environment()}, stdout=subprocess.PIPE, text=True,
)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def gone(pid):
  try:
    with open(f"/proc/{pid}/stat") as file:
      return file.read().rpartition(")")[2].split()[0] == "Z"
  except FileNotFoundError:
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_child_is_killed_with_its_parent():
  code = CHILD.format("print('ready', flush=True); ")
  parent = subprocess.Popen(
    [sys.executable, "-c", PARENT, code], stdout=subprocess.PIPE, text=True, env=environment()
  )
  child = int(parent.stdout.readline())
  try:
    assert not gone(child)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 60
    while not gone(child):
      assert time.monotonic() < until
      time.sleep(0.02)
  finally:
    if not gone(child):
      os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_child_whose_parent_is_gone_already_ends():
  nobody = subprocess.Popen(["true"])
  nobody.wait()
  env = {**environment(), offspring.PARENT: str(nobody.pid)}
  done = subprocess.run([sys.executable, "-c", CHILD.format("")], env=env, timeout=120)
  assert done.returncode == 128 + signal.SIGKILL


def test_what_nobody_asked_for_lives_on(monkeypatch):
  monkeypatch.delenv(offspring.PARENT, raising=False)
  offspring.heed()
  monkeypatch.setenv(offspring.PARENT, "no number")
  offspring.heed()
  assert offspring.PARENT not in os.environ  # the children of this one are their own
