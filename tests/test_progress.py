"""What a run says of its progress."""

from ibjax.train import progress as progress_lib
from ibjax.train.progress import Progress


def test_a_dispatch_that_takes_longer_than_a_stop_may_is_told_once(monkeypatch, capsys):
  now = [0.0]
  monkeypatch.setattr(progress_lib.time, "monotonic", lambda: now[0])
  progress = Progress(1000, True)
  for step, seconds in ((10, 300.0), (20, 10.0), (30, 50.0), (40, 50.0)):
    now[0] += seconds  # the first of them compiles
    progress.update(step)
  said = capsys.readouterr().err
  assert said.count("warning") == 1
  assert "10 steps in one dispatch take 50 s" in said and "steps_per_dispatch" in said


def test_every_process_tells_its_heartbeat(capsys):
  told = []
  progress = Progress(100, False, lambda *what: told.append(what))
  progress.update(10)
  progress.update(20)
  assert [what[:2] for what in told] == [(10, 100), (20, 100)] and told[1][2] > 0
  assert capsys.readouterr().err == ""
