"""A sweep: each point a process, continued by the same command, no failure hidden."""

import concurrent.futures
import json
import signal
import subprocess
import sys
import time

import pytest

from ibjax import main
from ibjax.cluster import presence
from ibjax.cluster.claims import FOLDER
from ibjax.core.config import config_hash
from ibjax.core.errors import WorkdirError
from ibjax.report.ranking import ranking
from ibjax.train import jobs as jobs_lib
from ibjax.train import plan
from ibjax.train.loop import StopSignal
from ibjax.verbs import sweep
from tests.helpers import ROOT, VIB, command, environment

AXES = "optimizer.learning_rate=1e30,0.01,0.02"
FOLDERS = [f"{i}-learning_rate={rate}" for i, rate in enumerate(("1e+30", "0.01", "0.02"))]


def arguments(workdir, axes=AXES, *more):
  return [
    "sweep",
    f"--config={VIB}:smoke",
    f"--workdir={workdir}",
    f"--axes={axes}",
    "--config.data.validation=100",
    "--config.train.duration=300 steps",
    "--config.train.log_every=5 steps",
    "--config.train.steps_per_dispatch=5",
    "--config.checkpoint.every=100 steps",
    *more,
  ]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
  """Stopped by Ctrl-C in its second run, then continued to the end; the first point diverges."""
  workdir = tmp_path_factory.mktemp("sweep") / "runs"
  process = subprocess.Popen(
    command(*arguments(workdir)),
    env=environment(),
    cwd=ROOT,
    stdin=subprocess.DEVNULL,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  log = workdir / FOLDERS[1] / "log.txt"
  give_up = time.monotonic() + 240
  while not (log.exists() and "  train  " in log.read_text()):
    assert process.poll() is None and time.monotonic() < give_up, process.communicate()
    time.sleep(0.02)
  process.send_signal(signal.SIGINT)
  stdout, stderr = process.communicate(timeout=120)
  stopped = subprocess.CompletedProcess([], process.returncode, stdout, stderr)
  had = sorted(path.name for path in workdir.iterdir() if path.is_dir() and path.name[0] != ".")
  saved = [int(path.name) for path in (workdir / FOLDERS[1] / "checkpoints").iterdir()]
  done = subprocess.run(
    command(*arguments(workdir)), env=environment(), cwd=ROOT, capture_output=True, text=True
  )
  return workdir, stopped, (had, saved), done


def test_ctrl_c_lets_the_run_save_and_starts_no_other(swept):
  _, stopped, (had, saved), _ = swept
  assert stopped.returncode == 75, stopped.stderr
  assert had == FOLDERS[:2]
  assert len(saved) == 1 and 0 < saved[0] < 300 and saved[0] % 5 == 0
  assert "SIGINT: all is saved; the same command continues" in stopped.stderr
  assert "Traceback" not in stopped.stderr
  states = [line.split("  ")[-1].strip() for line in stopped.stdout.splitlines()[1:4]]
  assert states == ["unfinished, step 0", f"unfinished, step {saved[0]}", "not begun"]


def test_the_same_command_continues_what_was_stopped(swept):
  workdir, _, (_, saved), done = swept
  assert (
    f"continuing from the checkpoint of step {saved[0]}"
    in (workdir / FOLDERS[1] / "log.txt").read_text()
  )
  for folder in FOLDERS[1:]:
    result = json.loads((workdir / folder / "result.json").read_text())
    manifest = json.loads((workdir / folder / "manifest.json").read_text())
    assert result["step"] == 300
    assert manifest["config"]["optimizer"]["learning_rate"] == float(folder.partition("=")[2])
    assert manifest["command"].startswith("ibjax train ")
    assert plan.finished(workdir / folder, config_hash(manifest["config"]))
    assert not plan.finished(workdir / folder, "0" * 12)
  assert "[2/3 done, 0:00 left] done: " + FOLDERS[2] in done.stderr


def test_a_failing_run_is_reported_and_the_others_go_on(swept):
  _, _, _, done = swept
  assert done.returncode == 1
  assert f"failed (exit code 2): {FOLDERS[0]}" in done.stderr
  assert "    error: the loss became NaN or infinite at step" in done.stderr  # the log's last line
  assert "1 of 3 runs failed:" in done.stderr and f"{FOLDERS[0]}/log.txt" in done.stderr
  assert "Traceback" not in done.stderr


def test_the_table_is_sorted_by_validation_and_hints_at_what_comes_next(swept):
  workdir, _, _, done = swept
  header, *rows = done.stdout.splitlines()[:4]
  assert header.split()[:3] == ["run", "validation/err", "%"]
  results = {
    folder: json.loads((workdir / folder / "result.json").read_text())["validation/err_frac"]
    for folder in FOLDERS[1:]
  }
  assert [row.split()[0] for row in rows] == [*sorted(results, key=results.get), FOLDERS[0]]
  for row in rows[:2]:
    assert row.split()[1] == f"{100 * results[row.split()[0]]:.2f}"
  assert f"ibjax report {workdir}" in done.stdout
  # The learning rate is traced: one program could train all three.
  assert 'ibjax train --population="optimizer.learning_rate=1e+30,0.01,0.02"' in done.stderr


def test_finished_runs_are_not_started_again(swept, monkeypatch):
  started, checked = [], []

  def check_configs(configs, data_dir, stop):
    checked.extend(configs)
    return {"train", "validation", "test"}

  def run_jobs(jobs, *rest):
    started.extend(job.name for job in jobs)
    return []

  monkeypatch.setattr(jobs_lib, "check_configs", check_configs)
  monkeypatch.setattr(jobs_lib, "run_jobs", run_jobs)
  monkeypatch.chdir(ROOT)
  assert main.main(arguments(swept[0])) == 0
  assert started == checked == FOLDERS[:1]


@pytest.mark.parametrize(
  ("axes", "more", "lines"),
  [
    (
      "optimizer.learning_rate=1e30,0.01",
      (),
      ["axes.optimizer.learning_rate: '1e+30,0.01,0.02' -> '1e+30,0.01'"],
    ),
    (AXES + ";seed=1", (), ["axes.seed: (absent) -> '1'"]),
    (AXES, ("--kind=lhs",), ["kind: 'grid' -> 'lhs'", "points: None -> 20", "seed: None -> 0"]),
    (AXES, ("--config.seed=3",), ["config.seed: 0 -> 3"]),
  ],
)
def test_another_sweep_in_the_same_folder_is_refused(swept, axes, more, lines, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  before = (swept[0] / "sweep.json").read_bytes()
  assert main.main(arguments(swept[0], axes, *more)) == 2
  error = capsys.readouterr().err
  assert "holds another sweep" in error and "--workdir" in error
  for line in lines:
    assert line in error
  assert (swept[0] / "sweep.json").read_bytes() == before


def test_a_point_that_cannot_be_built_stops_the_sweep_before_it_starts(
  tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(ROOT)
  axes = "bottleneck.prior=standard,standart"
  assert main.main(arguments(tmp_path / "runs", axes)) == 2
  error = capsys.readouterr().err
  assert "1-prior=standart: " in error and "Did you mean 'standard'" in error
  assert [path.name for path in (tmp_path / "runs").iterdir()] == []


@pytest.mark.parametrize(
  ("more", "message"),
  [
    (["--axes=objective.bta=1"], "Did you mean 'objective.beta'"),
    (["--axes="], "an empty sweep"),
    (["--axes=data.validation=1,2"], "fixed by --config.data.validation too"),
    (["--metric=test/err_frac"], "selection uses validation data"),
    (["--points=4"], "a grid draws nothing"),
    (["--seed=4"], "The seed of the runs is --config.seed"),
    (["--kind=gird"], "Did you mean 'grid'"),
    (["--axes=objective.beta=0:1"], "--kind=random or --kind=lhs"),
    (["--kind=lhs", "--points=0"], "an empty sweep"),
    (["--jobs=0"], "at least 1"),
    (["--wrkdir=x"], "Did you mean '--workdir'"),
  ],
)
def test_mistakes_are_named_before_anything_is_made(more, message, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  assert main.main(arguments(tmp_path / "runs", AXES, *more)) == 2
  assert message in capsys.readouterr().err
  assert not (tmp_path / "runs").exists()


def test_a_metric_without_validation_data_is_refused(tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(jobs_lib, "check_configs", lambda *_: {"train", "test"})
  metric = "--metric=validation/nll_nats"
  assert main.main(arguments(tmp_path / "runs", AXES, metric)) == 2
  assert "set --config.data.validation" in capsys.readouterr().err


def test_a_stop_before_the_first_run_starts_nothing(tmp_path, capsys, monkeypatch):
  assert jobs_lib.check_configs({}, None, StopSignal("SIGTERM")) is None
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(jobs_lib, "check_configs", lambda *_: None)
  assert main.main(arguments(tmp_path / "runs")) == 75
  assert "nothing was started" in capsys.readouterr().err
  assert [path.name for path in (tmp_path / "runs").iterdir()] == []


def test_a_dry_run_shows_the_points_and_writes_nothing(tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(jobs_lib, "check_configs", lambda *_: {"train", "test"})
  axes = "encoder.hidden=(8,),(8,4);objective.beta=1e-3:1e-1:log;train.remat=true,false"
  more = ("--kind=lhs", "--points=4", "--seed=2", "--dry_run")
  assert main.main(arguments(tmp_path / "runs", axes, *more)) == 0
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 5 and lines[-1].startswith("4 points")
  assert all("--config.encoder.hidden=(8," in line for line in lines[:4])
  assert sum("--config.train.remat=true" in line for line in lines) == 2
  assert not (tmp_path / "runs").exists()


# The plan.


def test_folders_are_numbered_short_and_fit_every_file_system():
  values = {"encoder.fn": "a.b:c/d", "decoder.fn": "x", "optimizer.learning_rate": 1 / 3}
  (point,) = plan.name_points([values])
  assert point.folder == "0-encoder.fn=a.b_c_d,decoder.fn=x,learning_rate=0.3333"
  many = plan.name_points([{"train.duration": "é" * 300}] * 11)
  names = [point.folder for point in many]
  assert len(set(names)) == 11 and names == sorted(names)
  assert all(len(name.encode()) <= 120 for name in names)


def test_what_is_on_record_is_what_continues(tmp_path):
  points = plan.name_points([{"encoder.hidden": (8, 4), "a": None, "b": True, "c": 0.1 + 0.2}])
  plan.write(tmp_path, {"kind": "grid"}, points, {"command": "..."})
  assert plan.read_or_make(tmp_path, {"kind": "grid"}, []) == points
  flags = ["--config.encoder.hidden=(8, 4)", "--config.b=true", "--config.c=0.30000000000000004"]
  assert points[0].overrides() == flags
  (tmp_path / "sweep.json").write_text("{")
  with pytest.raises(WorkdirError, match="sweep.json is damaged"):
    plan.read_or_make(tmp_path, {}, [])
  (tmp_path / "manifest.json").write_text("{}")
  with pytest.raises(WorkdirError, match="holds a run"):
    plan.read_or_make(tmp_path, {}, [])


def test_sweeps_of_one_folder_share_its_points_and_make_each_once(tmp_path, capsys, monkeypatch):
  """Three processes, as it were, at once; each point is a shell that takes its time."""
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(jobs_lib, "check_configs", lambda *_: {"train", "validation", "test"})
  monkeypatch.setattr(plan, "finished", lambda folder, hash_: (folder / "result.json").exists())

  def job(workdir, point, argv, data_dir):
    folder = workdir / point.folder
    script = f"cd {folder}; mkdir only && sleep 0.3 && rmdir only && echo x >> made"
    script += " && echo '{}' > manifest.json && echo '{}' > result.json"
    return jobs_lib.Job(point.folder, ("sh", "-c", script), folder / "log.txt")

  monkeypatch.setattr(sweep, "_job", job)
  monkeypatch.setattr(sweep, "format_row", lambda run: "")
  monkeypatch.setattr(sweep, "ranking", lambda folders, metric: "")
  line = arguments(tmp_path, "seed=0,1,2,3,4,5", "--jobs=2")[1:]
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    codes = list(pool.map(lambda _: sweep.run(line), range(3)))
  assert codes == [0, 0, 0]
  made = sorted(tmp_path.glob("*-seed=*/made"))
  assert len(made) == 6 and all(path.read_text() == "x\n" for path in made)
  assert all(path.name.endswith(".free") for path in (tmp_path / FOLDER).iterdir())
  assert "by another process: " in capsys.readouterr().err


def test_a_point_that_another_process_runs_is_left_to_it(tmp_path):
  answers = {"a": [jobs_lib.HELD] * 9, "b": [jobs_lib.WAIT, jobs_lib.HELD], "c": [jobs_lib.DONE]}
  jobs = [shell(tmp_path, name, "true") for name in "abcd"]
  found = jobs_lib.run_jobs(
    jobs,
    1,
    StopSignal(),
    lambda outcome: None,
    lambda text: None,
    lambda job: answers[job.name].pop(0) if job.name in answers else jobs_lib.START,
  )
  assert [outcome.job.name for outcome in found] == ["d"]  # a and b were seen to be held


def test_a_sweeps_array_runs_the_sweep_in_every_task(tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  monkeypatch.setattr(jobs_lib, "check_configs", lambda *_: {"train", "validation", "test"})
  workdir = tmp_path / "runs"
  more = ("--launch", "print", "--parallel=9", "--sbatch=--gpus-per-node=1")
  assert main.main(arguments(workdir, AXES, *more)) == 0
  text = capsys.readouterr().out
  assert "#SBATCH --array=0-2\n" in text and "#SBATCH --gpus-per-node=1\n" in text
  words = text.replace("\\\n", " ").split()
  assert "sweep" in words and f"--axes={AXES}" in words and f"--workdir={workdir}" in words
  assert not {"--launch", "print", "--parallel=9"} & set(words) and not (workdir / "0").exists()
  assert main.main(arguments(workdir, AXES, "--launch=slurm", "--parallel=2")) == 0
  (script,) = workdir.glob(".workers/array.sh")
  assert f"sbatch {script}" in capsys.readouterr().out and "--array=0-1" in script.read_text()
  assert main.main(arguments(workdir, AXES, "--launch=locl")) == 2
  assert "unknown launch 'locl'" in capsys.readouterr().err


def pids(log):
  return [int(line) for line in log.read_text().splitlines() if line.isdecimal()]


def test_the_runs_of_a_killed_sweep_end_with_it(tmp_path):
  """So that nobody writes to the folders that the next sweep claims."""
  run = "import os, time; from ibjax.cluster import offspring; offspring.heed()\n"
  run += "print(os.getpid(), flush=True); time.sleep(600)"
  body = (
    "import pathlib, sys, time; from ibjax.train import jobs\n"
    f"log, run = pathlib.Path('{tmp_path}/log'), {run!r}\n"
    "jobs._start(jobs.Job('a', (sys.executable, '-c', run), log)); time.sleep(600)"
  )
  process = subprocess.Popen([sys.executable, "-c", body], env=environment(), cwd=ROOT)
  log, give_up = tmp_path / "log", time.monotonic() + 240
  while not (log.exists() and log.read_text().endswith("\n") and pids(log)):
    assert process.poll() is None and time.monotonic() < give_up
    time.sleep(0.02)
  (pid,) = pids(log)
  about = {**presence.about(), "pid": pid, "began": presence._process(pid)[1]}
  assert not presence.ended(about)
  process.kill()
  process.wait()
  while not presence.ended(about):
    assert time.monotonic() < give_up
    time.sleep(0.02)


# The processes.


def shell(folder, name, script):
  return jobs_lib.Job(name, ("sh", "-c", script), folder / name / "log.txt")


def run_jobs(jobs, parallel, ended=lambda outcome: None, stop=None):
  outcomes = jobs_lib.run_jobs(jobs, parallel, stop or StopSignal(), ended, lambda text: None)
  return [(outcome.job.name, outcome.state) for outcome in outcomes]


def test_jobs_run_so_many_at_a_time(tmp_path):
  # Each waits, for 20 s at most, for the other one to have begun.
  wait = "touch {0}/{1}; for i in $(seq 200); do [ -e {0}/{2} ] && exit 0; sleep 0.1; done; exit 1"
  pair = [
    shell(tmp_path, "a", wait.format(tmp_path, "a.on", "b.on")),
    shell(tmp_path, "b", wait.format(tmp_path, "b.on", "a.on")),
  ]
  assert sorted(run_jobs(pair, 2)) == [("a", "done"), ("b", "done")]
  # Each fails when another is there already.
  alone = "mkdir {0}/only && sleep 0.2 && rmdir {0}/only"
  several = [shell(tmp_path, name, alone.format(tmp_path)) for name in "cde"]
  assert run_jobs(several, 1) == [("c", "done"), ("d", "done"), ("e", "done")]


def test_a_job_ends_as_its_code_says(tmp_path):
  scripts = {"a": "exit 3", "b": "kill -9 $$", "c": "exit 75", "d": "kill -15 $$", "e": "true"}
  outcomes = []
  jobs = [shell(tmp_path, name, script) for name, script in scripts.items()]
  found = run_jobs(jobs, 1, outcomes.append)
  assert found == list(zip("abcde", ("failed", "failed", "stopped", "failed", "done")))
  assert [o.reason() for o in outcomes[:2]] == ["exit code 3", "killed by SIGKILL"]


def test_a_stop_is_passed_on_and_waited_for(tmp_path):
  stop = StopSignal()
  saves = "trap 'sleep 0.3; touch saved; exit 75' TERM; touch {0}/up; while :; do sleep 0.05; done"
  jobs = [
    shell(tmp_path, "a", f"cd {tmp_path}; {saves.format(tmp_path)}"),
    shell(tmp_path, "b", f"while [ ! -e {tmp_path}/up ]; do sleep 0.05; done"),
    shell(tmp_path, "c", "true"),
  ]

  def ended(outcome):
    stop.name = "SIGTERM"  # b has ended, so a listens

  assert run_jobs(jobs, 2, ended, stop)[1:] == [("a", "stopped")]
  assert (tmp_path / "saved").exists() and not (tmp_path / "c").exists()


def test_output_of_a_job_is_kept_over_its_starts(tmp_path):
  for text in ("first", "second"):
    job = shell(tmp_path, "a", f"echo {text}; echo; echo oops >&2")
    run_jobs([job], 1)
  lines = job.log.read_text().splitlines()
  assert [line for line in lines if line and line[0] != "#"] == ["first", "oops", "second", "oops"]
  assert jobs_lib.last_lines(job.log, 2) == ["second", "oops"]
  assert jobs_lib.last_lines(tmp_path / "none", 2) == []


def test_a_log_that_cannot_be_written_is_an_error(tmp_path):
  (tmp_path / "a").write_text("")
  with pytest.raises(WorkdirError, match="cannot start a"):
    run_jobs([shell(tmp_path, "a", "true")], 1)


# The table.


def write_run(folder, **result):
  folder.mkdir()
  (folder / "manifest.json").write_text(json.dumps({"config": {}, "data": {"name": "digits"}}))
  if result:
    result = {key.replace("__", "/"): value for key, value in result.items()}
    (folder / "result.json").write_text(json.dumps(result))


def test_runs_are_ranked_by_validation_only_and_diverged_ones_not_at_all(tmp_path):
  folders = [tmp_path / name for name in ("a", "b", "c", "d", "e", "f")]
  write_run(folders[0], validation__err_frac=0.2, test__err_frac=0.01)
  write_run(folders[1], validation__err_frac=0.1, test__err_frac=0.5)
  write_run(folders[2], validation__err_frac=0.05, diverged_at_step=7)
  write_run(folders[3])
  write_run(folders[5], step=3)
  (folders[5] / "manifest.json").write_text("{")
  lines = ranking(folders, "validation/err_frac").splitlines()
  assert [line[0] for line in lines[1:7]] == ["b", "a", "c", "d", "e", "f"]
  assert lines[3].endswith("diverged at step 7") and lines[4].endswith("unfinished, step 0")
  assert lines[5].endswith("not begun") and lines[6].endswith("unreadable")
  assert lines[7] == "sorted by validation/err_frac, lowest first"


def test_runs_that_cannot_be_ranked_stay_in_order_and_it_says_why(tmp_path):
  folders = [tmp_path / name for name in ("a", "b")]
  assert "no run is finished" in ranking(folders, "validation/err_frac")
  write_run(folders[0], test__err_frac=0.2)
  write_run(folders[1], test__err_frac=0.1)
  lines = ranking(folders, "validation/err_frac").splitlines()
  assert [line[0] for line in lines[1:3]] == ["a", "b"]
  assert "no validation data" in lines[3] and "--config.data.validation" in lines[3]
  (folders[0] / "result.json").write_text('{"validation/err_frac": 0.1}')
  assert "Did you mean 'validation/err_frac'" in ranking(folders, "validation/er_frac")
