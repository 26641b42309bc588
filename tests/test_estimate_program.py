"""The program `estimate`: an estimator on tasks of known information, as a run and in a table."""

import json
import math
import textwrap

import numpy as np
import pytest

from ibjax.core.code import normalised
from ibjax.core.config import config_hash, defaults, measures, measuring, resolved
from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.core.types import Measurement
from ibjax.data import synthetic
from ibjax.main import main
from ibjax.programs.estimate import estimate, summarize
from ibjax.report import results as results_lib
from ibjax.train import loop, measure
from tests.helpers import ROOT

COPULA = "ibjax.estimators.parametric.student_copula:student_copula"
TASKS = "gaussian:rho=0.6;bmi:half_cube-1v1-normal-0.75;bmi:student-identity-2-2-1"
FLAGS = (
  f"--config={ROOT / 'configs/estimation/benchmark.py'}",
  f"--config.data.tasks={TASKS}",
  f"--config.estimator.fn={COPULA}",
  "--config.data.n=300",
)


def config(**changes):
  made = measuring()
  made.estimator.fn = COPULA
  made.data.tasks = TASKS
  made.data.n = 300
  for key, value in changes.items():
    made.update_from_flattened_dict({key.replace("__", "."): value})
  return resolved(made)


# What is measured.


def test_it_measures_the_estimator_on_the_rescaled_sample_of_each_task():
  from ibjax.estimators.parametric.student_copula import student_copula

  measurement = estimate(config(seed=3))
  assert measurement.method == "student_copula"
  assert list(measurement.parts) == TASKS.split(";")
  for name in measurement.parts:
    task = synthetic.find(name)
    x, y = task.draw(300, 3)
    found = measurement.measure(name)
    assert found["nats"] == student_copula()(x, y).nats  # which no rescaling changes
    assert found["error_nats"] == found["nats"] - task.nats
    assert (
      found["estimate_s"] > 0 and found["cpu_s"] > 0 and "covered" not in found
    )  # it offers no interval


class Seen:
  """An estimator that says what it was given."""

  def __init__(self, interval=(math.nan, math.nan)):
    self.given, self.interval = [], interval

  def __call__(self, x, y, *, key):
    from ibjax.core.estimate import Estimate

    self.given.append((x, y))
    return Estimate(0.5, *self.interval, 0.0, len(x), {"warnings": ()})

  name, quantity, x, y, min_n = "seen", "mutual_information", "real", "real", 2


@pytest.fixture
def seen(monkeypatch):
  made = Seen()
  monkeypatch.setattr("ibjax.programs.estimate.bind", lambda section: made)
  return made


def test_columns_are_rescaled_unless_told_otherwise(seen):
  name = "bmi:half_cube-1v1-normal-0.75"
  estimate(config()).measure(name)
  estimate(config(data__rescale=False)).measure(name)
  for x, raw, drawn in zip(*seen.given, synthetic.find(name).draw(300, 0)):
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(x.std(0), 1, rtol=1e-12)
    np.testing.assert_array_equal(raw, drawn)


@pytest.mark.parametrize(("high", "covered"), [(0.3, 1.0), (0.2, 0.0), (math.nan, None)])
def test_an_interval_covers_or_does_not(seen, high, covered):
  seen.interval = (0.1, high)
  found = estimate(config()).measure("gaussian:rho=0.6")  # 0.2231 nats
  assert found.get("covered") == covered


def test_the_row_averages_over_tasks_and_keeps_each():
  row = summarize(
    {
      "a": {"nats": 1.0, "error_nats": 0.3, "covered": 1.0, "estimate_s": 1.0, "cpu_s": 1.0},
      "b": {"nats": 2.0, "error_nats": -0.5, "covered": 0.0, "estimate_s": 3.0},
      "c": {"failed": "why"},
    }
  )
  expected = {
    **{"tasks": 3, "failed": 1, "mae_nats": 0.4, "worst_nats": 0.5, "bias_nats": -0.1},
    **{"rmse_nats": math.sqrt(0.17), "covered_frac": 0.5, "estimate_s": 2.0, "cpu_s": 1.0},
    **{"nats/a": 1.0, "nats/b": 2.0, "error_nats/a": 0.3, "error_nats/b": -0.5},
    **{"covered/a": 1.0, "covered/b": 0.0},
  }
  assert row == pytest.approx(expected)


def test_a_failure_is_recorded_and_enters_no_average():
  measurement = estimate(config(data__tasks="bmi:multinormal-dense-25-25-0.5", data__n=40))
  found = measurement.measure(measurement.parts[0])
  assert "more than 51 samples" in found["failed"] and "nats" not in found
  assert measurement.summarize({measurement.parts[0]: found}) == {"tasks": 1, "failed": 1}


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(data__tasks="bmi:1v1-norml-0.75"), "Did you mean 'bmi:1v1-normal-0.75'"),
    (dict(data__tasks="bmy:*"), "unknown tasks 'bmy:*'"),
    (dict(data__tasks=" ; "), "is empty"),
    (dict(data__n=3), "must be at least 8"),
    (dict(estimator__fn=COPULA + "s"), "Did you mean 'student_copula'"),
  ],
)
def test_what_cannot_be_measured_is_refused_at_once(changes, message):
  with pytest.raises(ConfigError) as error:
    estimate(config(**changes))
  assert message in str(error.value)


def test_an_estimator_of_something_else_is_refused(seen):
  seen.quantity = "entropy"
  with pytest.raises(ConfigError, match="estimates entropy"):
    estimate(config())


def test_patterns_name_tasks_once():
  parts = estimate(config(data__tasks="bmi:*;gaussian;bmi:1v1-*")).parts
  assert len(parts) == 41 and len(set(parts)) == 41 and "gaussian" in parts


# As a run.


def run(workdir, *more):
  return main(["train", *FLAGS, f"--workdir={workdir}", *more])


def test_a_run_has_a_manifest_a_row_and_a_page(tmp_path, capsys):
  assert run(tmp_path / "run") == 0
  shown = capsys.readouterr().out
  assert "MAE nats" in shown and "student_copula" in shown and "report.html" in shown
  folder = tmp_path / "run"
  manifest = json.loads((folder / "manifest.json").read_text())
  row = json.loads((folder / "result.json").read_text())
  assert row["config_hash"] == manifest["config_hash"] == config_hash(manifest["config"])
  assert manifest["data"]["n"] == 300 and len(manifest["data"]["fingerprint"]) == 64
  assert len(manifest["code"]) == 12 and manifest["command"].startswith("ibjax train --config=")
  errors = [row[f"error_nats/{name}"] for name in TASKS.split(";")]
  assert row["mae_nats"] == pytest.approx(np.mean(np.abs(errors))) and row["mae_nats"] < 0.1
  page = (folder / "report.html").read_text()
  assert "MAE nats" in page and "half_cube" in page
  before = (folder / "result.json").read_bytes()
  assert run(folder) == 0 and "finished" in capsys.readouterr().out
  assert (folder / "result.json").read_bytes() == before


def test_a_stopped_run_goes_on_where_it_was(tmp_path, monkeypatch):
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  measure.run(config(), *made(whole))
  asked = []

  def counted(config):
    real = estimate(config)
    return real._replace(measure=lambda part: (asked.append(part), real.measure(part))[1])

  monkeypatch.setattr(measure, "resolve", lambda name: counted)
  monkeypatch.setattr(measure.StopSignal, "seen", lambda self: len(asked) == 2)
  with pytest.raises(loop.Stopped):
    measure.run(config(), *made(parts))
  assert not (parts / "result.json").exists()
  with open(parts / measure.LINES, "a") as file:
    file.write('{"part": "bmi:stu')  # as a kill in the middle of a write leaves it
  monkeypatch.setattr(measure.StopSignal, "seen", lambda self: False)
  measure.run(config(), *made(parts))
  assert asked == TASKS.split(";")  # each once

  def untimed(folder):
    row = json.loads((folder / "result.json").read_text())
    return {key: value for key, value in row.items() if not key.endswith("_s")}

  assert untimed(parts) == untimed(whole)


def made(workdir):
  return workdir, {"config_file": "x.py", "overrides": [], "command": "ibjax train"}


def test_parts_of_other_code_are_measured_again(tmp_path, capsys):
  workdir, about = made(tmp_path / "run")
  measure.run(config(), workdir, about)
  manifest = json.loads((workdir / "manifest.json").read_text())
  (workdir / "manifest.json").write_text(json.dumps({**manifest, "code": "0" * 12}))
  measure.run(config(), workdir, about)
  assert "continuing" not in capsys.readouterr().err
  assert json.loads((workdir / "manifest.json").read_text())["code"] == manifest["code"]


def test_a_damaged_line_is_told(tmp_path):
  workdir, about = made(tmp_path / "run")
  measure.run(config(), workdir, about)
  lines = (workdir / measure.LINES).read_text().splitlines()
  (workdir / measure.LINES).write_text("\n".join(["{", *lines[1:]]))
  (workdir / "result.json").unlink()
  with pytest.raises(WorkdirError, match="line 1, is damaged"):
    measure.run(config(), workdir, about)


def test_what_does_not_fit_a_measuring_run_is_refused(tmp_path, capsys):
  assert run(tmp_path / "run") == 0
  assert run(tmp_path / "run", "--config.seed=1") == 2
  assert run(tmp_path / "population", "--population=seed=0,1") == 2
  assert "measures" in capsys.readouterr().err
  assert main(["eval", f"--workdir={tmp_path / 'run'}"]) == 2
  assert "has no model to look at" in capsys.readouterr().err


def test_dry_run_names_the_parts_and_writes_nothing(tmp_path, capsys):
  assert run(tmp_path / "run", "--dry_run") == 0
  shown = capsys.readouterr().out
  assert all(name in shown for name in TASKS.split(";")) and not (tmp_path / "run").exists()


def test_what_measures_and_what_trains():
  assert measures(resolved(measuring())) and not measures(resolved(defaults()))


def test_known_answers_are_no_part_of_a_results_identity():
  plain = "def f():\n  return 1\n"
  kept = plain + "CASES = (1,)\nTRUTHS = (2,)\nCOVERAGE = TRUTHS\n"
  assert normalised(kept) == normalised(plain) != normalised(plain + "OTHER = (2,)\n")


# In a table.

RUNS = f"""
BUDGETS = {{
  "quick": dict(seeds=(0, 1), overrides={{"data.n": 200}}), "full": dict(seeds=(0, 1, 2)),
}}
CELLS = tuple(
  dict(
    id=f"copula/n={{n}}", config="configs/estimation/benchmark.py",
    overrides={{"estimator.fn": "{COPULA}", "data.n": n, "data.tasks": "gaussian;bmi:1v1-n*"}},
    budget_overrides={{"quick": {{"data.n": n}}}},
  )
  for n in (100, 200)
)
"""
TABLE = """
TABLES = (
  dict(
    name="table", title="Error",
    columns=(dict(key="mae_nats", header="MAE", unit="nats", digits=3, lower_is_better=True),
             dict(key="error_nats/gaussian", header="gaussian", digits=3)),
    rows=tuple(dict(label=f"n = {n}", cell=f"copula/n={n}") for n in (100, 200)),
  ),
)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  made = tmp_path / "experiments" / "tiny"
  made.mkdir(parents=True)
  (made / "README.md").write_text("# Tiny\n")
  (made / "runs.py").write_text(textwrap.dedent(RUNS))
  (made / "table.py").write_text(textwrap.dedent(TABLE))
  paper = {"title": "T", "authors": "A", "year": 2023, "url": "https://arxiv.org/", "rows": {}}
  (made / "paper.json").write_text(json.dumps(paper))
  return made


def table(folder, *flags):
  return main(["table", str(folder), f"--workdir={folder.parent / 'runs'}", *flags])


def test_a_table_runs_what_is_missing_and_nothing_twice(folder, capsys):
  assert table(folder, "--dry_run") == 0
  assert "4 runs to make" in capsys.readouterr().out
  assert table(folder) == 0
  lines = results_lib.read(folder / "results.jsonl").lines
  assert [(line["cell"], line["seed"]) for line in lines] == [
    (f"copula/n={n}", seed) for n in (100, 200) for seed in (0, 1)
  ]
  text = (folder / "quick" / "table.md").read_text()
  mean = np.mean([line["result"]["mae_nats"] for line in lines[:2]])
  assert f"{mean:.3f}" in text and "n = 200" in text
  before = (folder / "results.jsonl").read_bytes()
  assert table(folder) == 0 and table(folder, "--check") == 0
  assert (folder / "results.jsonl").read_bytes() == before


def test_results_of_other_tasks_are_stale(folder, monkeypatch):
  assert table(folder) == 0
  real = estimate

  def other(config):
    made = real(config)
    return Measurement(*(made._replace(data={**made.data, "fingerprint": "0" * 64})))

  monkeypatch.setattr("ibjax.verbs.table_plan.resolve", lambda name: other)
  assert table(folder, "--check") == 1
