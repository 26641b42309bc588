"""A table's work shared by several processes: each run is made once, whoever is killed."""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from ibjax.cluster import presence
from ibjax.cluster.claims import FOLDER, Claims
from ibjax.core.errors import ConfigError, DataError, WorkdirError
from ibjax.verbs import record, table_launch, table_work
from tests.helpers import ROOT, VIB, command, environment
from tests.slurm_cluster import cluster
from tests.test_table import PAPER, Fake, install, lines, make, verb

QUICK = "--lost_after=0.8"


@pytest.fixture
def folder(tmp_path):
  return make(tmp_path / "experiments" / "tiny")


@pytest.fixture
def fake(monkeypatch):
  return install(Fake(), monkeypatch)


def home(folder):
  return folder.parent.parent / "runs" / "quick"


def made(some):
  """Which runs groups were trained of, sorted."""
  return sorted(run.name for group in some.groups for run in group.runs)


def free(folder):
  """Whether every claim was given up, and its holders' files are gone."""
  return all(path.name.endswith(".free") for path in (home(folder) / FOLDER).iterdir())


@pytest.mark.parametrize("unit", ["program", "cell", "run"])
def test_a_unit_says_what_is_trained_together(folder, fake, unit):
  assert verb(folder, f"--claim={unit}") == 0
  sizes = {"program": [9] * 2, "cell": [3] * 6, "run": [1] * 18}[unit]
  assert [len(group.runs) for group in fake.groups] == sizes
  assert len({group.home for group in fake.groups}) == len(sizes)
  assert len(lines(folder)) == 18 and free(folder)


class Slow(Fake):
  """Takes its time, so that others come meanwhile; notices when a run is made by two at once."""

  def __init__(self):
    super().__init__()
    self.inside, self.twice = set(), []

  def __call__(self, group, data_dir):
    names = {run.name for run in group.runs}
    self.twice += sorted(names & self.inside)
    self.inside |= names
    time.sleep(0.05)
    super().__call__(group, data_dir)
    self.inside -= names


@pytest.fixture
def slow(monkeypatch):
  return install(Slow(), monkeypatch)


def at_once(folder, *calls):
  ready = threading.Barrier(len(calls))

  def one(flags):
    ready.wait()
    return verb(folder, *flags)

  with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
    return list(pool.map(one, calls))


def test_workers_that_start_at_once_make_each_run_once(folder, slow):
  codes = at_once(folder, *[("--worker", "--claim=run", QUICK)] * 4)
  assert codes == [0] * 4 and slow.twice == []
  names = made(slow)
  assert len(names) == 18 and len(set(names)) == 18
  assert len(lines(folder)) == 18 and free(folder)
  assert (folder / "quick" / "table.md").is_file()  # by the last of them


def test_commands_that_ask_for_overlapping_parts_make_each_run_once(folder, slow):
  calls = [("--only=vib/*",), (), ("--claim=cell",), ("--only=*0.1", "--claim=run")]
  assert at_once(folder, *calls) == [0] * 4
  assert slow.twice == [] and len(lines(folder)) == 18
  assert len({(line["cell"], line["seed"]) for line in lines(folder)}) == 18


def test_a_worker_leaves_what_another_holds_and_a_command_waits_for_it(
  folder,
  fake,
  capsys,
):
  names = [table_work.unit_name(f"ceb/beta=0.1 seed={seed}") for seed in (0, 1, 2)]
  with Claims(home(folder) / FOLDER, lost_after=0.8) as other:
    assert other.take(names[:1])
    assert verb(folder, "--worker", QUICK) == 0
    out = capsys.readouterr().out
    assert f"group 2 of 2 is claimed by process {os.getpid()} on " in out
    assert "nothing is left to claim; others train 1 of 2 groups" in out
    assert "9 runs are left to others" in out
    assert len(lines(folder)) == 9 and not (folder / "quick").exists()
    threading.Timer(0.5, lambda: other.release(names)).start()
    assert verb(folder, QUICK) == 0
  assert len(lines(folder)) == 18 and [len(group.runs) for group in fake.groups] == [9, 9]


def test_what_a_lost_process_held_is_taken_up(folder, fake, monkeypatch):
  real = presence.about
  with monkeypatch.context() as patch:
    patch.setattr(presence, "about", lambda: {**real(), "boot": "another machine"})
    lost = Claims(home(folder) / FOLDER, lost_after=1000, on_loss=lambda *found: None)
    lost.__enter__()
  assert lost.take([table_work.unit_name("ceb/beta=0.1 seed=0")])
  holder = next((home(folder) / FOLDER).glob("holder-*"))
  about = json.loads(holder.read_text())
  holder.write_text(json.dumps({**about, "beat_s": 0.1}))  # it would be missed after 0.8 s
  assert verb(folder, "--worker", QUICK) == 0
  assert len(lines(folder)) == 18
  lost.__exit__()


def test_an_error_of_one_group_leaves_the_others_to_be_made(
  folder,
  fake,
  monkeypatch,
  capsys,
):
  def train(group, data_dir):
    if group.runs[0].cell.startswith("vib"):
      raise DataError("the data are damaged")
    fake(group, data_dir)

  monkeypatch.setattr(table_work, "train_group", train)
  with pytest.raises(DataError, match="the data are damaged"):
    verb(folder, "--worker", QUICK)
  assert "group 1 of 2 failed: the data are damaged" in capsys.readouterr().out
  assert len(lines(folder)) == 9 and free(folder)
  with pytest.raises(DataError):  # a plain command stops at the first
    verb(folder)
  assert free(folder)


def test_sigterm_where_nothing_trains_gives_the_claims_up(
  folder,
  fake,
  monkeypatch,
):
  def train(group, data_dir):  # while its program is built, say
    try:
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(60)
    except Exception:
      raise AssertionError("taken for a failure") from None

  monkeypatch.setattr(table_work, "train_group", train)
  assert verb(folder) == 75
  assert free(folder) and not (folder / "results.jsonl").exists()


def test_a_run_that_another_process_finished_meanwhile_is_not_made_again(folder, fake):
  """Between looking and claiming: another one made it, recorded it and gave it up."""
  real = Claims.take
  done = []

  def take(self, units):
    if not done and len(list(units)) == 9:
      done.append(units)
      with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Claims, "take", real)
        assert verb(folder, "--only=vib/*") == 0
    return real(self, units)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Claims, "take", take)
    assert verb(folder) == 0
  assert [len(group.runs) for group in fake.groups] == [9, 9] and len(lines(folder)) == 18


# The results file.


def test_a_write_that_fails_leaves_the_file_as_it_was(folder, fake, monkeypatch):
  verb(folder)
  path = folder / "results.jsonl"
  before, some = path.read_bytes(), lines(folder)[0]

  def full(handle):
    raise OSError(28, "No space left on device")

  with monkeypatch.context() as patch:
    real = os.fsync
    patch.setattr(os, "fsync", lambda handle: full(handle) if _is(handle, path) else real(handle))
    with pytest.raises(WorkdirError, match=f"{path}: No space left on device. It is as it was"):
      record.append(path, [{**some, "seed": 77}])
  assert path.read_bytes() == before
  assert len(record.append(path, [{**some, "seed": 77}, some])) == 1
  assert path.read_bytes().startswith(before) and len(lines(folder)) == 19


def _is(handle, path):
  return os.fstat(handle).st_ino == path.stat().st_ino


def test_half_a_line_of_a_killed_process_is_kept_aside_before_the_next(folder, fake):
  verb(folder)
  path = folder / "results.jsonl"
  whole, some = path.read_bytes(), lines(folder)[0]
  path.write_bytes(whole + b'{"schema": 1, "ce')
  record.append(path, [{**some, "seed": 77}])
  assert len(lines(folder)) == 19 and path.read_bytes().startswith(whole)
  assert (folder / "results.jsonl.damaged").read_bytes() == b'{"schema": 1, "ce\n'
  assert record.set_aside(path) is None


# Launching.


def test_a_script_for_slurm_is_shown_or_written(folder, fake, capsys):
  flags = ("--parallel=4", "--claim=cell", "--sbatch=--partition=long --time=2:00:00 --nice=5")
  assert verb(folder, "--launch=print", *flags) == 0
  text = capsys.readouterr().out
  assert "#SBATCH --array=0-3" in text and "#SBATCH --partition=long" in text
  assert "#SBATCH --time=2:00:00" in text and "#SBATCH --nice=5" in text
  words = text.replace("\\\n", " ").split()
  assert {"--worker", "--claim=cell", "--budget=quick"} <= set(words) and str(folder) in words
  assert verb(folder, "--launch=slurm", *flags) == 0
  out = capsys.readouterr().out
  path = home(folder) / table_launch.WORKERS / "array.sh"
  assert f"review it, then: sbatch {path}" in out and path.read_text() == text
  assert fake.groups == [] and not (folder / "results.jsonl").exists()
  assert verb(folder, "--launch=print", "--parallel=40") == 0
  shown = capsys.readouterr()
  assert "--array=0-1\n" in shown.out and "2 groups (see --claim) are left" in shown.err
  verb(folder)
  assert verb(folder, "--launch=slurm", "--go") == 0  # nothing is left: no job, only the tables
  assert "sbatch" not in capsys.readouterr().out


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--launch=slrm"], "unknown launch 'slrm'. Did you mean 'slurm'"),
    (["--launch=local", "--parallel=0"], "--parallel=0 must be at least 1"),
    (["--launch=local", "--go"], "--go is for --launch=slurm"),
    (["--launch=local", "--worker"], "leave one away"),
    (["--launch=slurm", "--sbatch=-p long"], "found '-p'; write its options as --name=value"),
    (["--launch=slurm", "--sbatch=--nodes=2"], "--nodes=2 is what --parallel decides"),
    (["--launch=slurm", "--sbatch=--mem"], "--mem needs a value"),
    (["--launch=slurm", "--sbatch=--cpus-per-task=two"], "must be a whole number"),
    (["--claim=sell"], "unknown claim 'sell'. Did you mean 'cell'"),
    (["--lost_after=0"], "--lost_after=0 must be more than 0"),
  ],
)
def test_flags_that_do_not_fit_are_named(folder, fake, flags, message):
  with pytest.raises(ConfigError, match=message):
    verb(folder, *flags)
  assert fake.groups == []


def test_workers_that_fail_are_an_error_and_killed_ones_are_started_again(tmp_path, capfd):
  how = table_work.How(tmp_path, tmp_path / "results.jsonl", None, lost_after=0.2)
  left = iter([3, 3, 1, 0, 0, 0])
  killed = f"test -e {tmp_path}/again && exit 0; touch {tmp_path}/again; kill -9 $$"
  table_launch._local(["sh", "-c", killed], 1, how, lambda: next(left))
  assert "worker 0 failed (killed by SIGKILL); 3 runs are left" in capfd.readouterr().err
  with pytest.raises(WorkdirError, match="(?s)exit code 2, and 5 runs have no result.*oh no"):
    table_launch._local(["sh", "-c", "echo oh no; exit 2"], 1, how, lambda: 5)
  with pytest.raises(WorkdirError, match="exit code 75, and 5 runs"):  # it gets nowhere
    table_launch._local(["sh", "-c", "exit 75"], 2, how, lambda: 5)


def test_a_launcher_waits_for_what_others_make_however_long(tmp_path, capfd):
  how = table_work.How(tmp_path, tmp_path / "results.jsonl", None, lost_after=0.05)
  counts = [2] * 30
  table_launch._local(["true"], 1, how, lambda: counts.pop() if counts else 0)
  assert capfd.readouterr().err.count("2 runs are made by other processes; waiting") >= 5


# For real.

RUNS = f"""
BUDGETS = {{"quick": dict(seeds=(0, 1), overrides={{"train.duration": "60 steps"}})}}
CELLS = tuple(
  dict(id=f"vib/{{width}}", config="{VIB}:smoke", overrides={{"bottleneck.dim": width}})
  for width in (2, 3, 4)
)
"""
SHOWN = """
TABLES = (dict(
  name="t", title="T", columns=(dict(key="test/err_frac", header="error", scale=100),),
  rows=tuple(dict(label=str(width), cell=f"vib/{width}") for width in (2, 3, 4)),
),)
"""
CLOCKS = ("_s", "_ms", "_per_s")


def numbers(folder):
  """(cell, seed) -> row of each line, without what a clock says."""
  found = [
    ((line["cell"], line["seed"]), {k: v for k, v in line["result"].items() if _plain(k)})
    for line in lines(folder)
  ]
  assert len(dict(found)) == len(found), "a run has two lines"
  return dict(found)


def _plain(key):
  return not key.endswith(CLOCKS)


def start(folder, *flags):
  return subprocess.Popen(
    command("table", str(folder), f"--workdir={folder.parent.parent / 'runs'}", *flags),
    env=environment(),
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def real(folder):
  return make(folder / "experiments" / "real", RUNS, SHOWN, {**PAPER, "rows": {}})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
  """The table, made by one command that nothing disturbed."""
  made_by_one = real(tmp_path_factory.mktemp("plain"))
  process = start(made_by_one, "--claim=cell")
  output, _ = process.communicate(timeout=600)
  assert process.returncode == 0, output
  assert len(numbers(made_by_one)) == 6
  return made_by_one


def same_table(shared, plain, logs):
  """Asserts that each cell was trained by one process, once, with the undisturbed one's numbers."""
  assert numbers(shared) == numbers(plain)
  text = "".join(path.read_text() for path in logs)
  assert text.count(" members in one program") == 3, text
  page = (plain / "quick" / "table.md").read_text()
  assert (shared / "quick" / "table.md").read_text() == page
  assert free(shared)


@pytest.mark.slow
def test_two_launchers_at_once_make_the_table_of_an_undisturbed_one(tmp_path, plain):
  shared = real(tmp_path)
  both = [start(shared, "--claim=cell", "--launch=local", "--parallel=1") for _ in range(2)]
  outputs = [process.communicate(timeout=600)[0] for process in both]
  assert [process.returncode for process in both] == [0, 0], outputs
  same_table(shared, plain, (home(shared) / table_launch.WORKERS).glob("*.log"))


@pytest.mark.slow
def test_two_arrays_of_slurm_at_once_make_the_table_of_an_undisturbed_one(
  tmp_path, plain, monkeypatch
):
  shared = real(tmp_path)
  flags = ("--claim=cell", "--launch=slurm", "--parallel=2", "--go", "--sbatch=--cpus-per-task=1")
  with cluster() as variables:
    for name, value in {**environment(), **variables}.items():
      monkeypatch.setenv(name, value)
    other = start(shared, *flags)
    assert verb(shared, *flags) == 0  # both write the script, and submit an array each
    output, _ = other.communicate(timeout=600)
    assert other.returncode == 0 and re.search(r"^array +\d+, 2 tasks", output, re.M), output
    give_up = time.monotonic() + 600
    while (waits := squeue()) and time.monotonic() < give_up:
      time.sleep(0.5)
    logs = list((home(shared) / table_launch.WORKERS).glob("slurm-*.log"))
    text = "".join(path.read_text() for path in logs)
    assert not waits and len(logs) == 4, f"{waits}\n{text}"
  same_table(shared, plain, logs)


def squeue():
  done = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, timeout=120)
  assert done.returncode == 0, done.stderr
  return done.stdout
