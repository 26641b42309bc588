"""Heartbeats and the watch over them: what is said, what is believed, and when."""

import json
import os
import subprocess
import sys
import time

import pytest

from ibjax.cluster import heartbeat
from ibjax.cluster.heartbeat import Heartbeat
from ibjax.cluster.watch import GRACE_S, Watch
from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.main import main
from ibjax.verbs import status
from tests.helpers import environment


def put(folder, process, state="training", step=0, session="s", **more):
  folder.mkdir(exist_ok=True)
  beat = {"process": process, "of": 3, "session": session, "host": f"node{process}", "pid": 10}
  heartbeat.write(
    heartbeat.path_of(folder, process), {**beat, "state": state, "step": step, **more}
  )


class Clock:
  def __init__(self):
    self.now = 1000.0

  def __call__(self):
    return self.now

  def run(self, watch, seconds):
    """Looks every second; returns what the last look found."""
    for _ in range(seconds):
      self.now += 1
      found = watch.look()
    return found


def test_a_heartbeat_has_always_as_many_bytes_and_is_written_in_place(tmp_path):
  path = heartbeat.path_of(tmp_path, 3)
  put(tmp_path, 3, why="x" * 5000)
  inode = path.stat().st_ino
  assert path.stat().st_size == heartbeat.BYTES
  assert heartbeat.read(path)["why"].endswith("...")
  put(tmp_path, 3, step=7)
  assert path.stat().st_ino == inode and path.stat().st_size == heartbeat.BYTES
  assert heartbeat.read(path)["step"] == 7


@pytest.mark.parametrize("content", [b"", b'{"process": 1, "sta', b"[]", b"\xff\xfe", b"{}"])
def test_half_a_heartbeat_is_no_news(tmp_path, content):
  put(tmp_path, 1)
  clock = Clock()
  watch = Watch(tmp_path, 0, 2, "s", 10, clock)
  assert watch.look() is None
  heartbeat.path_of(tmp_path, 1).write_bytes(content)
  assert heartbeat.read(heartbeat.path_of(tmp_path, 1)) is None
  assert clock.run(watch, 9) is None
  assert "process 1 of 3 (host node1, pid 10, step 0) is lost" in clock.run(watch, 2).text


def test_life_is_judged_by_change_and_not_by_clocks(tmp_path):
  clock = Clock()
  watch = Watch(tmp_path, 0, 2, "s", 10, clock)
  for beat, said in enumerate(["1999-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00"] * 5):
    put(tmp_path, 1, step=beat, time=said)
    assert clock.run(watch, 8) is None
  verdict = clock.run(watch, 4)
  assert verdict.process == 1 and verdict.code == 75 and "11 s" in verdict.text


def test_an_earlier_start_says_nothing(tmp_path):
  clock = Clock()
  put(tmp_path, 1, state="died", session="before", why="killed by SIGKILL")
  watch = Watch(tmp_path, 0, 2, "s", 10, clock)
  assert watch.look() is None
  put(tmp_path, 1, state="died", why="killed by SIGKILL")
  assert watch.look().text.endswith("is gone (killed by SIGKILL)")


def test_what_died_is_named_before_what_ended_because_of_it(tmp_path):
  clock = Clock()
  put(tmp_path, 1, state="aborted", why="killed by SIGABRT")
  put(tmp_path, 2)
  watch = Watch(tmp_path, 0, 3, "s", 10, clock)
  assert clock.run(watch, 8) is None  # another may be the cause
  put(tmp_path, 2, state="died", why="killed by SIGKILL")
  assert watch.look().process == 2
  assert clock.run(watch, 8).process == 2  # though process 1 has been silent for longer


def test_ends_that_are_explained(tmp_path):
  clock = Clock()
  put(tmp_path, 1, state="finished")
  put(tmp_path, 2, state="failed", why="DataError: no such file")
  watch = Watch(tmp_path, 0, 3, "s", 1000, clock)
  assert watch.look() is None  # it may fail here too, and then says so itself
  verdict = clock.run(watch, int(GRACE_S) + 1)
  assert verdict.code == 2 and "no such file" in verdict.text
  assert watch.all_over()


def test_the_first_that_is_left_speaks(tmp_path):
  clock = Clock()
  watch = Watch(tmp_path, 2, 3, "s", 10, clock)
  put(tmp_path, 0)
  put(tmp_path, 1)
  watch.look()
  assert not watch.speaks()
  put(tmp_path, 0, state="died")
  watch.look()
  assert not watch.speaks()  # process 1 does
  clock.run(watch, 11)
  assert watch.speaks()


def test_a_node_that_is_lost_with_several_processes_is_named_by_one_that_is_left(tmp_path):
  """They were not heard of last at one moment, and the later one of them must not be waited for."""
  clock = Clock()
  watches = [Watch(tmp_path, own, 4, "s", 60, clock) for own in (2, 3)]
  beats = {0: 5, 1: 8}  # when each was heard of last
  verdicts = [None, None]
  for second in range(100):
    clock.now += 1
    for other in range(4):
      if second <= beats.get(other, 1000):
        put(tmp_path, other, step=second)
    verdicts = [watch.look() for watch in watches]
    if any(verdicts):
      break
  assert [verdict.process for verdict in verdicts] == [0, 0]
  assert [watch.speaks() for watch in watches] == [True, False]


def test_one_that_was_suspended_itself_does_not_think_the_others_lost(tmp_path):
  clock = Clock()
  put(tmp_path, 1)
  watch = Watch(tmp_path, 0, 2, "s", 60, clock)
  clock.run(watch, 5)
  clock.now += 5000
  assert watch.look() is None
  assert "is lost" in clock.run(watch, 61).text


def test_a_thread_says_how_far_a_run_is(tmp_path):
  path = heartbeat.path_of(tmp_path / heartbeat.FOLDER, 0)
  with Heartbeat(tmp_path, session="s", period=0.05) as beat:
    assert heartbeat.read(path)["state"] == "starting"
    beat.pulse(5, 10, 2.5)
    until = time.monotonic() + 60
    while heartbeat.read(path)["step"] != 5 and time.monotonic() < until:
      time.sleep(0.01)
    said = heartbeat.read(path)
    assert (said["state"], said["total"], said["steps_per_s"]) == ("training", 10, 2.5)
    assert said["pid"] == os.getpid()
    beat.end("finished")
  assert heartbeat.read(path)["state"] == "finished"


@pytest.mark.parametrize(
  "error, state",
  [(WorkdirError("a full disk"), "failed"), (ValueError("gloo"), "aborted")],
)
def test_an_error_is_the_last_word(tmp_path, error, state):
  with pytest.raises(type(error)), Heartbeat(tmp_path, period=60):
    raise error
  said = heartbeat.read(heartbeat.path_of(tmp_path / heartbeat.FOLDER, 0))
  assert said["state"] == state and str(error) in said["why"]


def test_a_heartbeat_that_cannot_be_written_is_told_once_and_harms_nothing(tmp_path, capsys):
  (tmp_path / heartbeat.FOLDER).write_text("a file in its place")
  with Heartbeat(tmp_path, period=0.01) as beat:
    time.sleep(0.1)
    beat.end("finished")
  assert capsys.readouterr().err.count("cannot be written") == 1


def test_a_full_file_system_takes_the_next_beat(tmp_path):
  """A limit on the size of files stands for a quota: what is there may be written over."""
  put(tmp_path, 0, step=1)
  code = (
    "import pathlib, resource, signal, sys; from ibjax.cluster import heartbeat as h\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (h.BYTES, h.BYTES))\n"
    "path = h.path_of(pathlib.Path(sys.argv[1]), 0)\n"
    "h.write(path, {**h.read(path), 'step': 2})"
  )
  subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment())
  assert heartbeat.read(heartbeat.path_of(tmp_path, 0))["step"] == 2


def test_status_shows_each_process(tmp_path, capsys):
  folder = tmp_path / heartbeat.FOLDER
  put(folder, 0, step=50, total=200, steps_per_s=2.0, started="2026-01-01", session="s")
  put(folder, 1, step=40, total=200, steps_per_s=2.0, started="2026-01-01", session="s")
  assert main(["status", str(tmp_path)]) == 0
  shown = capsys.readouterr().out
  assert "step 50 of 200 (25 %), 1:15 left" in shown
  assert "0 of 3" in shown and "node1" in shown
  old = time.time() - 500
  os.utime(heartbeat.path_of(folder, 1), (old, old))
  heartbeat.path_of(folder, 2).write_text('{"proce')
  assert main(["status", str(tmp_path)]) == status.EXIT_TROUBLE
  shown = capsys.readouterr().out
  assert "SILENT (training)" in shown and "half written" in shown


def test_status_tells_of_a_clock_that_is_off(tmp_path, capsys):
  put(tmp_path / heartbeat.FOLDER, 0, time="2020-01-01T00:00:00+00:00")
  main(["status", str(tmp_path)])
  assert "off that of the file system" in capsys.readouterr().out


def test_status_finds_the_runs_below_and_their_jobs(tmp_path, capsys):
  for name in ("a", "b"):
    (tmp_path / name).mkdir()
    put(tmp_path / name / heartbeat.FOLDER, 0)
  (tmp_path / "a" / "launch.json").write_text(json.dumps({"job_id": "999999"}))
  main(["status", str(tmp_path)])
  shown = capsys.readouterr().out
  assert f"{tmp_path / 'a'}:" in shown and f"{tmp_path / 'b'}:" in shown
  assert "Slurm job 999999" in shown


def test_status_without_a_run(tmp_path):
  with pytest.raises(WorkdirError, match="nothing was started there"):
    status.run([str(tmp_path)])
  with pytest.raises(WorkdirError, match="no folder"):
    status.run([str(tmp_path / "absent")])
  with pytest.raises(ConfigError, match="needs the folder"):
    status.run([])
