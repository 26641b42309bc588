"""Claims on work in a shared folder: one holder at a time, taken over once when it is gone."""

from __future__ import annotations

import concurrent.futures
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from ibjax.cluster import presence, shared, sightings
from ibjax.cluster.claims import Claims, Lost, lock, unit_name
from ibjax.core.errors import WorkdirError
from tests.helpers import ROOT, environment

LONG = 1000.0  # no sign is given, nor waited for, within a test


class Clock:
  """The reader's monotonic clock."""

  def __init__(self):
    self.now = 0.0

  def monotonic(self):
    return self.now


@pytest.fixture
def clock(monkeypatch):
  own = Clock()
  monkeypatch.setattr(sightings.time, "monotonic", own.monotonic)
  return own


@pytest.fixture
def elsewhere(monkeypatch):
  """Claims made from here on are of another machine: whether their process lives is not seen."""
  real = presence.about
  monkeypatch.setattr(presence, "about", lambda: {**real(), "host": "node7", "boot": "another"})


def claims(folder, lost=None, **given):
  note = (lambda *found: None) if lost is None else lambda *found: lost.append(found)
  return Claims(folder, **{"lost_after": LONG, "on_loss": note, **given})


def holder_file(folder):
  (own,) = folder.glob("holder-*")
  return own


def script(body, *arguments):
  """Starts a process that has the claims at hand."""
  text = "import os, pathlib, sys, time\nfrom ibjax.cluster.claims import Claims, lock\n" + body
  return subprocess.Popen(
    [sys.executable, "-c", text, *map(str, arguments)],
    env=environment(),
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def ended(process, timeout=120):
  stdout, stderr = process.communicate(timeout=timeout)
  return process.returncode, stdout, stderr


# One holder at a time.


def test_one_holds_until_it_gives_up(tmp_path):
  with claims(tmp_path) as one, claims(tmp_path) as other:
    assert one.take(["a"]) and one.take(["a"]) and not other.take(["a"])
    assert other.holder("a")["pid"] == os.getpid() and other.holder("b") == {}
    assert other.take(["b"])
    one.release(["a"])
    assert other.holder("a") == {} and other.take(["a"]) and not one.take(["a"])
  with claims(tmp_path) as third:  # all were released at the end of their context
    assert third.take(["a", "b"])


def test_several_units_are_taken_all_or_none(tmp_path):
  with claims(tmp_path) as one, claims(tmp_path) as other:
    assert one.take(["b"])
    assert not other.take(["c", "a", "b"])
    assert one.take(["a", "c"])  # the other one let go of "a", and had not come to "c"


def test_nothing_piles_up(tmp_path):
  with claims(tmp_path) as one:
    for _ in range(20):
      assert one.take(["a"])
      one.confirm()
      one.release(["a"])
    assert len(list(tmp_path.iterdir())) == 2
  assert [path.name for path in tmp_path.iterdir()] == ["a.000040.free"]


RACE = """
folder, done = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
while not (done / "go").exists():
  time.sleep(0.001)
with Claims(folder) as claims:
  for unit in map(str, range(40)):
    if not claims.take([unit]):
      continue
    if not (done / unit).exists():
      os.close(os.open(done / f"inside-{unit}", os.O_CREAT | os.O_EXCL))  # fails for a second one
      time.sleep(0.001)
      with open(done / unit, "a") as file:
        file.write(f"{os.getpid()}\\n")
      os.unlink(done / f"inside-{unit}")
    claims.release([unit])
"""


def test_processes_that_race_do_each_unit_once(tmp_path):
  done = tmp_path / "done"
  done.mkdir()
  processes = [script(RACE, tmp_path / "claims", done) for _ in range(4)]
  (done / "go").touch()
  for process in processes:
    code, _, error = ended(process)
    assert code == 0, error
  (done / "go").unlink()
  lines = {path.name: path.read_text().splitlines() for path in done.iterdir()}
  assert set(lines) == {str(number) for number in range(40)}  # and no "inside" is left
  assert all(len(found) == 1 for found in lines.values())


# Taken over.

HOLD = """
with Claims(pathlib.Path(sys.argv[1]), lost_after=float(sys.argv[2])) as claims:
  assert claims.take(["a"])
  print("held", flush=True)
  time.sleep(600)
"""


def test_a_killed_holder_of_this_machine_is_followed_at_once_and_by_one(tmp_path):
  process = script(HOLD, tmp_path, LONG)
  try:
    assert process.stdout.readline() == "held\n"
    with claims(tmp_path) as early:
      assert not early.take(["a"]) and early.holder("a")["pid"] == process.pid
  finally:
    process.kill()
  ended(process)
  won = race(tmp_path, takers=8)
  assert sum(won) == 1
  assert [path.name for path in tmp_path.iterdir()] == ["a.000002.free"]  # nothing of the dead one


def race(folder, takers):
  ready = threading.Barrier(takers)

  def one(_):
    with claims(folder) as own:
      ready.wait()
      won = own.take(["a"])
      ready.wait()  # nobody has given it up before the last has tried
      return won

  with concurrent.futures.ThreadPoolExecutor(takers) as pool:
    return list(pool.map(one, range(takers)))


def test_a_silent_holder_of_another_machine_is_followed_in_time_and_by_one(
  tmp_path, clock, elsewhere
):
  gone = claims(tmp_path)
  gone.__enter__()
  assert gone.take(["a"])
  takers = [claims(tmp_path) for _ in range(6)]
  for taker in takers:
    taker.__enter__()
  try:
    for clock.now in range(0, 1000, 400):
      assert not any(taker.take(["a"]) for taker in takers)
    clock.now = LONG
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
      assert sum(pool.map(lambda taker: taker.take(["a"]), takers)) == 1
    with pytest.raises(Lost, match=f"taken over by process {os.getpid()} on node7"):
      gone.confirm()
  finally:
    for taker in (*takers, gone):
      taker.__exit__()


@pytest.mark.parametrize("skew_h", [-30, 0, 30])
def test_a_holder_is_judged_by_changes_not_by_its_clock(tmp_path, clock, elsewhere, skew_h):
  with claims(tmp_path) as one:
    assert one.take(["a"])
    own = holder_file(tmp_path)
    with claims(tmp_path) as other:
      for beat in range(8):  # its signs bear the time of a clock that is hours away
        stamp = int((time.time() + 3600 * skew_h + beat) * 1e9)
        os.utime(own, ns=(stamp, stamp))
        clock.now += 0.45 * LONG
        assert not other.take(["a"])
      assert other.alive("a")
      clock.now += 0.45 * LONG
      assert not other.take(["a"])
      clock.now += 0.45 * LONG
      assert not other.take(["a"])
      clock.now += 0.45 * LONG  # more than LONG since the last sign
      assert other.take(["a"])


def test_a_reader_that_was_away_itself_takes_nothing_over(tmp_path, clock, elsewhere):
  """All of a machine suspended and woken: who looks first must not think the others gone."""
  with claims(tmp_path) as one, claims(tmp_path) as other:
    assert one.take(["a"]) and not other.take(["a"])
    clock.now += 10 * LONG
    assert not other.take(["a"])
    clock.now += 0.4 * LONG
    assert not other.take(["a"])


def test_a_holder_with_seldom_signs_is_waited_for(tmp_path, clock, elsewhere):
  with claims(tmp_path, lost_after=8000.0) as one, claims(tmp_path, lost_after=1000.0) as other:
    assert one.take(["a"])  # a sign every 1000 s
    while clock.now < 3999:
      assert not other.take(["a"])
      clock.now += 400
    clock.now = 4000.0
    assert other.take(["a"])


def test_signs_are_given_while_the_holder_works(tmp_path, elsewhere):
  with claims(tmp_path, lost_after=0.4) as one, claims(tmp_path, lost_after=0.4) as other:
    assert one.take(["a"])
    began = time.monotonic()
    while not other.alive("a") or time.monotonic() < began + 1:
      assert not other.take(["a"]) and time.monotonic() < began + 120
      time.sleep(0.05)


@pytest.mark.parametrize("content", [b"", b'{"host": "no', b"[1]", b"\xff\xfe"])
def test_a_torn_claim_is_nobodys_and_is_taken_over_in_time(tmp_path, clock, content):
  (tmp_path / "a.000007").write_bytes(content)
  with claims(tmp_path) as own:
    assert not own.take(["a"]) and own.holder("a") == {}
    for clock.now in (400.0, 800.0):
      assert not own.take(["a"])
    clock.now = LONG
    assert own.take(["a"])
  assert presence.describe({}) == "a process that did not say who it is"


def test_a_holder_that_slept_learns_that_its_claim_is_gone(tmp_path, clock, elsewhere):
  lost = []
  with claims(tmp_path, lost) as one, claims(tmp_path) as other:
    assert one.take(["a"]) and one.take(["b"])
    for clock.now in (0.0, 400.0, 800.0, LONG):
      took = other.take(["a"])
    assert took
    with pytest.raises(Lost):
      one.confirm()
    ((unit, holder),) = lost
    assert unit == "a" and holder["host"] == "node7"
    one.confirm()  # of what is left, "b"
    other.confirm()
    one.release(["a"])
    assert not one.take(["a"])


SLEEPER = """
with Claims(pathlib.Path(sys.argv[1]), lost_after=1.0) as claims:
  assert claims.take(["a"])
  print("held", flush=True)
  time.sleep(float(sys.argv[3]))
  claims.confirm()
  pathlib.Path(sys.argv[2]).write_text("recorded")
"""


@pytest.mark.parametrize("seconds", [0.0, 600.0])  # it wakes where it confirms, or while it works
def test_a_suspended_holder_ends_before_it_records_anything(tmp_path, seconds):
  record = tmp_path / "record"
  body = SLEEPER.replace("time.sleep", "os.kill(os.getpid(), 19); time.sleep")
  process = script(body, tmp_path / "claims", record, seconds)
  try:
    assert process.stdout.readline() == "held\n"
    with claims(tmp_path / "claims", lost_after=1.0) as own:
      give_up = time.monotonic() + 120
      while not own.take(["a"]):
        assert time.monotonic() < give_up
        time.sleep(0.05)
      process.send_signal(signal.SIGCONT)
      code, _, error = ended(process)
      own.confirm()
  finally:
    process.kill()
  assert code == 75 and not record.exists()
  assert f"the claim on a was taken over by process {os.getpid()} on " in error
  assert "Traceback" not in error


def test_an_old_listing_takes_nothing(tmp_path, monkeypatch):
  """A file server's listing may be of a while ago: the generation it shows last is long gone."""
  with claims(tmp_path) as one, claims(tmp_path) as other:
    for _ in range(3):
      assert one.take(["a"])
      one.release(["a"])
    assert one.take(["a"])
    real, first = other._tops, [{"a": (1, True)}]
    monkeypatch.setattr(other, "_tops", lambda: first.pop() if first else real())
    assert not other.take(["a"])
    assert [path.name for path in tmp_path.glob("a.*")] == ["a.000004"]
    one.confirm()


def test_a_reply_that_was_lost_is_told_by_the_files_identity(tmp_path):
  own, other, name = tmp_path / "own", tmp_path / "other", tmp_path / "name"
  shared.create(own, b"1")
  shared.create(other, b"1")
  assert shared.link(own, name) and shared.link(own, name) and not shared.link(other, name)


def test_claims_removed_by_hand_are_lost(tmp_path):
  lost = []
  with claims(tmp_path / "claims", lost, lost_after=0.2) as own:
    assert own.take(["a"])
    for path in (tmp_path / "claims").iterdir():
      path.unlink()
    give_up = time.monotonic() + 120
    while not lost:
      assert time.monotonic() < give_up
      time.sleep(0.02)
    assert lost == [("a", {})]


# Presence.


def test_a_process_has_ended_only_when_that_is_certain():
  own = presence.about()
  assert own["pid"] == os.getpid() and not presence.ended(own)
  assert presence.ended({**own, "began": "1"})  # the number was given to another process since
  process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
  state, began = presence._process(process.pid)
  other = {**own, "pid": process.pid, "began": began}
  assert state and not presence.ended(other)
  process.kill()
  give_up = time.monotonic() + 120
  while not presence.ended(other):  # dead, though nobody has waited for it yet
    assert time.monotonic() < give_up
  process.communicate()
  assert presence.ended(other)
  for unsure in ({"boot": "x"}, {"boot": ""}, {"pids": ""}, {"pids": "pid:[1]"}, {"pid": None}):
    assert not presence.ended({**other, **unsure})
  assert not presence.ended({})


# What goes wrong.


@pytest.mark.parametrize(
  ("number", "words"),
  [
    (errno.ENOSPC, "No space left on device. Free some space"),
    (errno.EDQUOT, "quota exceeded. Free some space"),
    (errno.EPERM, "no hard links"),
    (errno.EACCES, "Permission denied"),
  ],
)
def test_a_file_system_that_refuses_is_named_and_nothing_is_lost(
  tmp_path, monkeypatch, number, words
):
  def refuse(*_):
    raise OSError(number, os.strerror(number))

  with claims(tmp_path) as one, claims(tmp_path) as other:
    assert one.take(["a"])
    one.release(["a"])
    with monkeypatch.context() as patch:
      patch.setattr(os, "link", refuse)
      with pytest.raises(WorkdirError, match=f"(?i){words}") as error:
        other.take(["a"])
      assert str(tmp_path) in str(error.value)
    assert one.take(["a"])
  with monkeypatch.context() as patch:
    patch.setattr(os, "fsync", refuse)
    with pytest.raises(WorkdirError, match=f"(?i){words}"), claims(tmp_path):
      pass
  assert [path.name for path in tmp_path.iterdir()] == ["a.000002.free"]


def test_a_claim_that_cannot_be_given_up_ends_with_its_process(tmp_path, monkeypatch, clock):
  with monkeypatch.context() as patch:
    patch.setattr(presence, "about", lambda: {"boot": "another"})
    with claims(tmp_path) as one:
      assert one.take(["a"])
      patch.setattr(type(tmp_path), "rename", lambda *_: (_ for _ in ()).throw(OSError()))
  with claims(tmp_path) as other:
    for clock.now in (0.0, 400.0, 800.0):
      assert not other.take(["a"])
    clock.now = LONG
    assert other.take(["a"])


def test_names_are_files_and_differ(tmp_path):
  texts = ["vib/beta=0.1 seed=1", "vib/beta=0.1 seed=2", "a" * 300, "a" * 299 + "b", "é/..", ""]
  names = [unit_name(text) for text in texts]
  assert len(set(names)) == len(texts)
  with claims(tmp_path) as own:
    assert own.take(names)
    own.confirm()


# A lock.

COUNT = """
folder, path = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
for _ in range(25):
  with lock(folder, "count"):
    path.write_text(str(int(path.read_text()) + 1))
"""


def test_a_lock_lets_one_in_at_a_time(tmp_path):
  (tmp_path / "count").write_text("0")
  processes = [script(COUNT, tmp_path / "claims", tmp_path / "count") for _ in range(3)]
  for process in processes:
    code, _, error = ended(process)
    assert code == 0, error
  assert (tmp_path / "count").read_text() == "75"


def test_a_lock_that_stays_is_given_up_and_its_holder_named(tmp_path):
  with claims(tmp_path) as own:
    assert own.take(["a"])
    where = f"process {os.getpid()} on .* has held {tmp_path / 'a'}"
    with pytest.raises(WorkdirError, match=where), lock(tmp_path, "a", give_up=0.2):
      pass
  with lock(tmp_path, "a", give_up=0.2):
    assert json.loads(holder_file(tmp_path).read_text())["pid"] == os.getpid()
