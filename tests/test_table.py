"""`ibjax table`: a paper's table from one command, with every cell's provenance."""

from __future__ import annotations

import concurrent.futures
import csv
import json
import math
import pathlib
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ibjax.core.config import config_hash
from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.programs import hyper
from ibjax.report import experiment as experiment_lib
from ibjax.report import results as results_lib
from ibjax.report import table_figures
from ibjax.report.selection import least
from ibjax.train import loop
from ibjax.verbs import record, table, table_work
from tests.helpers import ROOT, VIB, environment

CEB = "configs/variational/ceb_mnist.py"

RUNS = f"""
BUDGETS = {{
  "quick": dict(seeds=(0, 1, 2), overrides={{"train.duration": "1 epochs"}}),
  "full": dict(seeds=(0, 1, 2, 3)),
}}
BETAS = (1e-3, 1e-2, 1e-1)
CELLS = tuple(
  dict(id=f"vib/beta={{beta:g}}", config="{VIB}:smoke", overrides={{"objective.beta": beta}})
  for beta in BETAS
) + tuple(
  dict(id=f"ceb/beta={{beta:g}}", config="{CEB}:smoke", overrides={{"objective.beta": beta}})
  for beta in BETAS
) + (dict(id="wide", config="{VIB}:smoke", overrides={{"bottleneck.dim": 16}}, budgets=("full",)),)
"""

TABLE = """
import numpy as np

def line(rate):
  return 0.2 / (1 + np.asarray(rate))

def derive(row, config):
  return {"gap": row["test/err_frac"] - config["objective"]["beta"]}

TABLES = (
  dict(
    name="errors", title="Test error", caption="Of a tiny set.",
    columns=(
      dict(key="test/err_frac", header="error", unit="%", scale=100, digits=2,
           lower_is_better=True),
      dict(key="test/rate_nats", header="rate", unit="nats", digits=1),
      dict(key="gap", header="gap", digits=3),
    ),
    rows=(
      dict(label="VIB, beta = 1e-3", cell="vib/beta=0.001", paper="vib"),
      dict(label="VIB, beta = 1e-1", cell="vib/beta=0.1"),
      dict(label="CEB, beta = 1e-1", cell="ceb/beta=0.1", paper="ceb"),
      dict(label="VIB at 5 nats", curve=("vib/*",), at=5.0),
      dict(label="VIB - CEB at 5 nats", curve=("vib/*",), minus=("ceb/*",), at=5.0),
      dict(label="Wide", cell="wide"),
    ),
  ),
)
"""
FIGURES = (
  TABLE
  + """
FIGURES = (
  dict(
    name="rate", title="Error against rate",
    x=dict(key="test/rate_nats", label="rate, nats", log=True),
    y=(dict(key="test/err_frac", label="test error, %", scale=100),
       dict(key="gap", label="gap")),
    series=(dict(label="VIB", cells=("vib/*",)), dict(label="CEB", cells=("ceb/*",))),
    exact=dict(label="exact", curve=line),
  ),
  dict(
    name="beta", title="Error against beta",
    x=dict(config="objective.beta", label="beta", log=True),
    y=(dict(key="test/err_frac", label="test error, %", scale=100),),
    series=(dict(label="VIB", cells=("vib/*",)),),
  ),
)
"""
)

PAPER = {
  "title": "A deep <bottleneck>",
  "authors": "Somebody et al.",
  "year": 2017,
  "url": "https://arxiv.org/abs/1612.00410",
  "rows": {
    "vib": {"source": "table 1, row 4", "values": {"test/err_frac": {"value": 1.13}}},
    "ceb": {
      "source": "table 2",
      "values": {"test/err_frac": {"value": 6.0, "sd": 5.0, "n": 5}},
    },
  },
}


def make(folder, runs=RUNS, shown=TABLE, paper=PAPER):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "README.md").write_text("# Tiny\n")
  (folder / "runs.py").write_text(textwrap.dedent(runs))
  (folder / "table.py").write_text(textwrap.dedent(shown))
  (folder / "paper.json").write_text(json.dumps(paper))
  return folder


@pytest.fixture
def folder(tmp_path):
  return make(tmp_path / "experiments" / "tiny")


@pytest.fixture
def drawn(tmp_path):
  """The same with figures, which take their time."""
  return make(tmp_path / "experiments" / "tiny", shown=FIGURES)


class Fake:
  """Trains nothing: writes what a run would, from its config; says what it was asked."""

  def __init__(self):
    self.groups, self.diverged = [], set()
    self.stop_after = self.stop_inside = None  # groups, runs of a group

  def __call__(self, group, data_dir):
    if self.stop_after is not None and len(self.groups) >= self.stop_after:
      raise loop.Stopped()
    self.groups.append(group)
    for number, run in enumerate(group.runs):
      if number == self.stop_inside:
        raise loop.Stopped()
      if (run.folder / "result.json").exists():
        continue
      run.folder.mkdir(parents=True, exist_ok=True)
      row = self.row(run)
      manifest = {
        "config": run.config,
        "config_hash": run.config_hash,
        "code": run.code,
        "data": {"name": "digits", "fingerprint": run.fingerprint},
        "versions": {"jax": "0.10.0"},
        "commit": "0123456789abcdef",
        "devices": ["cpu:0 cpu"],
        "started": "2026-01-01T00:00:00+00:00",
      }
      (run.folder / "manifest.json").write_text(json.dumps(manifest))
      (run.folder / "result.json").write_text(json.dumps(row))

  def row(self, run):
    beta, vib = run.config["objective"]["beta"], run.cell.startswith("vib")
    noise = np.random.default_rng(run.seed).normal(0, 0.001)
    rate = (0.6 if vib else 0.4) / beta**0.6
    row = {"objective": "x", "seed": run.seed, "step": 10}
    row |= {"test/err_frac": 0.2 / (1 + rate) + noise, "test/rate_nats": rate}
    if run.name in self.diverged:
      row |= {"diverged_at_step": 7, "test/err_frac": 0.9}
    return row


@pytest.fixture
def fake(monkeypatch):
  return install(Fake(), monkeypatch)


def install(runner, monkeypatch):
  """Has groups trained by a stand-in."""
  monkeypatch.setattr(table_work, "train_group", runner)

  def key(config):
    traced = hyper.traced(config)
    flat = {k: v for k, v in _flat(config) if k not in traced}
    return config_hash(flat)

  monkeypatch.setattr(table_work, "group_key", key)
  return runner


def _flat(config, prefix=""):
  for key, value in config.items():
    if isinstance(value, dict):
      yield from _flat(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def verb(folder, *flags):
  return table.run([str(folder), f"--workdir={folder.parent.parent / 'runs'}", *flags])


def lines(folder):
  return [json.loads(text) for text in (folder / "results.jsonl").read_text().splitlines()]


def cells(folder, budget="quick"):
  with open(folder / budget / "table.csv") as file:
    return {(row["row"], row["metric"]): row for row in csv.DictReader(file)}


# From cells to a table.


def test_one_command_makes_the_table_and_all_beside_it(drawn, fake):
  folder = drawn
  assert verb(folder) == 0
  names = {path.name for path in (folder / "quick").iterdir()}
  assert names == {"table.md", "table.csv", "table.tex", "report.html"} | {
    f"{figure}.{kind}" for figure in ("rate", "beta") for kind in ("png", "svg")
  }
  assert len(lines(folder)) == 18
  # Two programs (VIB and CEB); the betas and seeds of each are one population.
  assert [len(group.runs) for group in fake.groups] == [9, 9]
  found = cells(folder)
  values = [
    row["result"]["test/err_frac"] for row in lines(folder) if row["cell"] == "ceb/beta=0.1"
  ]
  ours = found["CEB, beta = 1e-1", "test/err_frac"]
  assert float(ours["mean"]) == pytest.approx(100 * np.mean(values))
  assert ours["n"] == "3" and ours["test"] == "Welch t" and float(ours["p"]) > 0.05
  theirs = found["VIB, beta = 1e-3", "test/err_frac"]
  assert theirs["test"] == "one-sample t" and float(theirs["p"]) < 0.05
  text = (folder / "quick" / "table.md").read_text()
  assert "Student t 95%" in text and "n = 3" in text and "Not part of this budget: Wide" in text


def test_a_rows_number_is_derived_from_its_run_and_config(folder, fake):
  verb(folder)
  own = [row["result"] for row in lines(folder) if row["cell"] == "vib/beta=0.1"]
  wanted = np.mean([row["test/err_frac"] for row in own]) - 0.1
  assert float(cells(folder)["VIB, beta = 1e-1", "gap"]["mean"]) == pytest.approx(wanted)


def test_methods_are_compared_at_an_equal_rate(folder, fake):
  verb(folder)
  at, difference = (
    cells(folder)[label, "test/err_frac"] for label in ("VIB at 5 nats", "VIB - CEB at 5 nats")
  )
  own = {}
  for name in ("vib", "ceb"):
    rows = [row["result"] for row in lines(folder) if row["cell"].startswith(name)]
    for seed in (0, 1, 2):
      points = sorted((r["test/rate_nats"], r["test/err_frac"]) for r in rows if r["seed"] == seed)
      x, y = zip(*points)
      own[name, seed] = 100 * np.interp(math.log(5), np.log(x), y)
  assert float(at["mean"]) == pytest.approx(np.mean([own["vib", s] for s in (0, 1, 2)]))
  gaps = [own["vib", s] - own["ceb", s] for s in (0, 1, 2)]
  assert float(difference["mean"]) == pytest.approx(np.mean(gaps))
  assert difference["test"] == "paired t"
  rate = cells(folder)["VIB at 5 nats", "test/rate_nats"]
  assert float(rate["mean"]) == 5.0 and float(rate["sd"]) == 0.0


BEST = TABLE.replace(
  'curve=("vib/*",), at=5.0', 'best=("vib/*",), by="validation/nll_nats"', 1
).replace("VIB at 5 nats", "VIB, beta by validation", 1)


def test_validation_data_choose_a_run_of_each_seed(tmp_path, fake, monkeypatch):
  folder = make(tmp_path / "experiments" / "tiny", shown=BEST)
  plain = fake.row

  def row(run):  # seed 0 is best at 0.1 by validation, seed 1 at 0.001; by test it is 0.001
    beta = run.config["objective"]["beta"]
    return {**plain(run), "validation/nll_nats": beta if run.seed else 1 - beta}

  monkeypatch.setattr(fake, "row", row)
  assert verb(folder) == 0
  chosen = {0: 0.1, 1: 0.001, 2: 0.001}
  errors = {
    line["seed"]: line["result"]["test/err_frac"]
    for line in lines(folder)
    if line["cell"] == f"vib/beta={chosen[line['seed']]:g}"
  }
  found = cells(folder)["VIB, beta by validation", "test/err_frac"]
  assert int(found["n"]) == 3
  np.testing.assert_allclose(float(found["mean"]), 100 * np.mean(list(errors.values())), rtol=1e-4)
  assert errors[0] > 1.2 * errors[1]  # so the best test value would have been another
  text = (folder / "quick" / "table.md").read_text()
  assert "Chosen per seed by the least validation/nll_nats." in text


def test_runs_without_the_metric_choose_nothing():
  rows = [
    {"seed": 1, "v": 2.0, "b": 0},
    {"seed": 0, "v": float("nan"), "b": 1},
    {"seed": 0, "b": 2},
    {"seed": 1, "v": 2.0, "b": 3},
    {"seed": 2, "v": -1.0, "b": 4},
  ]
  assert [row["b"] for row in least(rows, "v")] == [0, 4]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (("validation/nll_nats", "test/nll_nats"), "Test data choose nothing"),
    ((', by="validation/nll_nats"', ""), r"best=\(...\) goes with by='validation/METRIC'"),
    (('best=("vib/*",)', 'cells=("vib/*",)'), r"best=\(...\) goes with by="),
    (('best=("vib/*",)', 'best=("vip/*",)'), "unknown cell 'vip"),
  ],
)
def test_a_choice_by_anything_but_validation_is_refused(tmp_path, change, message):
  assert change[0] in BEST
  make(tmp_path / "experiments" / "tiny", shown=BEST.replace(*change))
  with pytest.raises(ConfigError, match=message):
    experiment_lib.load(tmp_path / "experiments" / "tiny")


def test_every_line_says_where_it_comes_from_and_its_config_exists(folder, fake):
  verb(folder)
  for line in lines(folder):
    assert set(results_lib.KEYS) <= set(line)
    assert (pathlib.Path(line["config_file"].partition(":")[0])).is_file()
    assert f"config.seed={line['seed']}" in line["overrides"]
    assert line["command"].startswith("ibjax train --config=")
    assert line["command"].endswith(f"--workdir=runs/tiny/quick/{line['cell']}/seed={line['seed']}")
    manifest = folder.parent.parent / "runs" / "quick" / line["cell"] / f"seed={line['seed']}"
    config = json.loads((manifest / "manifest.json").read_text())["config"]
    assert config_hash(config) == line["config_hash"]
    assert config["train"]["duration"] == "1 epochs"  # the budget's override
  page = (folder / "quick" / "report.html").read_text()
  for line in lines(folder):
    assert line["config_hash"] in page and line["command"] in page.replace("&#x27;", "'")
  assert "A deep &lt;bottleneck&gt;" in page and "<bottleneck>" not in page
  assert not re.search(r"(src|href)=\"(?!data:|#|https://arxiv)", page)


def test_rows_of_every_table_are_cells(folder):
  experiment = experiment_lib.load(folder)
  for shown in experiment.tables:
    for row in shown.rows:
      assert {*row.cells, *row.minus} <= set(experiment.cells)


def test_again_runs_nothing_and_changes_no_byte(drawn, fake):
  folder = drawn
  verb(folder)
  before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
  fake.groups.clear()
  assert verb(folder) == 0
  assert verb(folder, "--check") == 0
  assert fake.groups == []
  after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
  assert before == {path: after[path] for path in before}


def test_only_and_budget_choose_what_runs(folder, fake):
  assert verb(folder, "--only=vib/*1,wide", "--budget=full") == 0
  assert {line["cell"] for line in lines(folder)} == {
    *("vib/beta=0.001", "vib/beta=0.01", "vib/beta=0.1", "wide"),
  }
  assert {line["seed"] for line in lines(folder)} == {0, 1, 2, 3}
  assert verb(folder, "--check", "--budget=full", "--only=vib/*") == 0
  assert verb(folder, "--check", "--budget=full") == table.EXIT_INCOMPLETE


def test_dry_run_shows_groups_and_runs_nothing(folder, fake, capsys):
  assert verb(folder, "--dry_run", "--budget=full") == 0
  out = capsys.readouterr().out
  assert "group 1 of 3: 12 members" in out and "group 3 of 3: 4 members" in out
  assert "28 runs to make, 0 there" in out
  assert fake.groups == [] and not (folder / "results.jsonl").exists()


@pytest.mark.parametrize(("kind", "words"), [("t", "Student t 95%"), ("bootstrap", "bootstrap")])
def test_the_interval_is_stated(folder, fake, kind, words):
  verb(folder, f"--interval={kind}")
  for name in ("table.md", "table.tex", "report.html"):
    assert (
      words.replace("%", "\\%" if name.endswith("tex") else "%")
      in (folder / "quick" / name).read_text()
    )


# Several cells of one setting, pooled: a draw of the data each.

DRAWN = f"""
BUDGETS = {{"quick": dict(seeds=(0, 1)), "full": dict(seeds=(0, 1, 2))}}
CELLS = tuple(
  dict(id=f"vib/beta={{beta:g}}/draw={{draw}}", config="{VIB}:smoke", seeds=(draw,),
       overrides={{"objective.beta": beta, "data.source": f"toy:moons:seed={{draw}}"}},
       budgets=("quick", "full") if draw < 2 else ("full",))
  for beta in (1e-3, 1e-1) for draw in (0, 1, 2)
)
"""
POOLED = """
TABLES = (
  dict(
    name="errors", title="Test error",
    columns=(dict(key="test/err_frac", header="error", unit="%", scale=100),),
    rows=(
      dict(label="low", cells=("vib/beta=0.001/*",), paper="vib"),
      dict(label="high", cells=("vib/beta=0.1/draw=0", "vib/beta=0.1/draw=[12]")),
    ),
  ),
)
FIGURES = (
  dict(
    name="beta", title="Error against beta",
    x=dict(config="objective.beta", label="beta", log=True),
    y=(dict(key="test/err_frac", label="test error, %", scale=100),),
    series=(
      dict(label="VIB", points=(("vib/beta=0.1/*",), ("vib/beta=0.001/*",))),
      dict(label="first draw", cells=("vib/*/draw=0",)),
    ),
  ),
)
"""
ONE_PAPER_ROW = {**PAPER, "rows": {"vib": PAPER["rows"]["vib"]}}


@pytest.fixture
def draws(tmp_path):
  return make(tmp_path / "experiments" / "drawn", DRAWN, POOLED, ONE_PAPER_ROW)


def test_a_pooled_rows_mean_is_over_the_runs_of_its_cells(draws, fake):
  for budget, n in (("quick", 2), ("full", 3)):
    assert verb(draws, f"--budget={budget}") == 0
    for label, beta in (("low", "0.001"), ("high", "0.1")):
      own = [
        100 * line["result"]["test/err_frac"]
        for line in lines(draws)
        if line["budget"] == budget and f"beta={beta}/" in line["cell"]
      ]
      row = cells(draws, budget)[label, "test/err_frac"]
      assert len(own) == n and row["n"] == str(n)
      assert float(row["mean"]) == pytest.approx(np.mean(own))
      assert float(row["sd"]) == pytest.approx(np.std(own, ddof=1))
      assert row["cells"].count(f"vib/beta={beta}/draw=") == 3
    text = (draws / budget / "table.md").read_text()
    assert f"interval over runs (n = {n})" in text and "over seeds" not in text
    assert f"over runs (n = 1 to {n})" in (draws / budget / "report.html").read_text()


def test_a_run_missing_of_a_pool_is_counted(draws, fake):
  verb(draws, "--only=*draw=0")
  assert "1 of 2 missing" in (draws / "quick" / "table.md").read_text()


def test_a_point_pools_its_cells_and_a_series_of_cells_does_not(draws, fake):
  verb(draws)
  experiment = experiment_lib.load(draws)
  rows = {}
  for line in lines(draws):
    rows.setdefault(line["cell"], []).append(line["result"])
  folder = draws.parent.parent / "runs" / "quick"
  configs = {
    cell: json.loads((folder / cell / f"seed={some[0]['seed']}" / "manifest.json").read_text())[
      "config"
    ]
    for cell, some in rows.items()
  }
  figure = experiment.figures[0]
  pooled, single = (
    table_figures.points(series, figure.x, figure.y[0], rows, configs, "t")
    for series in figure.series
  )
  assert [point.x.mean for point in pooled] == [1e-3, 1e-1]
  assert [point.y.n for point in pooled] == [2, 2] and [point.y.n for point in single] == [1, 1]
  own = [100 * rows[f"vib/beta=0.001/draw={draw}"][0]["test/err_frac"] for draw in (0, 1)]
  assert pooled[0].y.mean == pytest.approx(np.mean(own))


BAD_POOLS = {
  "two settings": (
    dict(shown=POOLED.replace('("vib/beta=0.001/*",), paper', '("vib/*/draw=[01]",), paper')),
    "row 'low' pools the cells 'vib/beta=0.001/draw=0' and 'vib/beta=0.1/draw=0', which are "
    r"different settings:\n  objective.beta: 0.001 -> 0.1",
  ),
  "two settings in a figure": (
    dict(shown=POOLED.replace('("vib/beta=0.1/*",), ("vib/beta=0.001/*",)', '("vib/*",),')),
    "series 'VIB' pools the cells",
  ),
  "a run twice": (
    dict(runs=DRAWN.replace("moons:seed={draw}", "moons").replace("(draw,)", "(0,)")),
    "'vib/beta=0.001/draw=1 seed=0' is the same run as 'vib/beta=0.001/draw=0 seed=0'",
  ),
  "a cell in two points": (
    dict(shown=POOLED.replace('("vib/beta=0.001/*",))', '("vib/*/draw=1",))')),
    "two cells are named 'vib/beta=0.1/draw=1'",
  ),
  "points and cells": (
    dict(shown=POOLED.replace("points=(", "cells=('vib/*',), points=(", 1)),
    r"series\[0\]: give either cells",
  ),
  "no points": (
    dict(shown=POOLED.replace('(("vib/beta=0.1/*",), ("vib/beta=0.001/*",))', "()")),
    r"series\[0\]: points is empty",
  ),
  "cell and cells": (
    dict(shown=POOLED.replace('label="low", ', 'label="low", cell="vib/beta=0.1/draw=0", ')),
    r"rows\[0\]: give either cell=.* found cell and cells",
  ),
  "cells at a rate": (
    dict(shown=POOLED.replace(', paper="vib"', ", at=5.0")),
    r"rows\[0\]: 'at' goes with curve=\(...\), not with cells=",
  ),
  "a pattern without a cell": (
    dict(shown=POOLED.replace("draw=[12]", "draw=[34]")),
    r"rows\[1\]: unknown cell",
  ),
}


@pytest.mark.parametrize("name", BAD_POOLS)
def test_pools_that_mean_nothing_are_refused(tmp_path, fake, name):
  changes, message = BAD_POOLS[name]
  given = dict(runs=DRAWN, shown=POOLED, paper={**PAPER, "rows": {}}) | changes
  given["shown"] = given["shown"].replace(', paper="vib"', "")
  folder = make(tmp_path / "experiments" / "drawn", **given)
  with pytest.raises(ConfigError, match=f"(?s){message}"):
    verb(folder)
  assert fake.groups == []


# Continuing, and what is out of date.


def test_stopped_in_the_second_group_and_continued(folder, fake, capsys):
  fake.stop_after = 1
  assert verb(folder) == loop.EXIT_STOPPED
  assert "the same command continues" in capsys.readouterr().out
  assert {line["cell"].split("/")[0] for line in lines(folder)} == {"vib"}
  assert verb(folder, "--check") == table.EXIT_INCOMPLETE
  assert "missing  ceb/beta=0.1 seed=2" in capsys.readouterr().out
  assert "3 of 3 missing" in (folder / "quick" / "table.md").read_text()
  fake.stop_after = None
  assert verb(folder) == 0
  assert [len(group.runs) for group in fake.groups] == [9, 9] and len(lines(folder)) == 18


def test_finished_runs_that_are_not_recorded_are_just_recorded(folder, fake):
  verb(folder)
  (folder / "results.jsonl").unlink()
  fake.groups.clear()
  assert verb(folder) == 0
  assert fake.groups == [] and len(lines(folder)) == 18


def test_a_group_that_continues_has_the_members_it_had(folder, fake):
  """What is finished of a group is recorded at a stop, and stays a member when it continues."""
  fake.stop_inside = 2
  assert verb(folder) == loop.EXIT_STOPPED
  assert len(lines(folder)) == 2
  fake.stop_inside = None
  assert verb(folder) == 0
  first, again = fake.groups[:2]
  assert again.home == first.home and again.runs == first.runs and len(again.runs) == 9
  assert len(lines(folder)) == 18


def stale(folder, capsys):
  assert verb(folder, "--check") == table.EXIT_INCOMPLETE
  return capsys.readouterr().out


def test_another_config_makes_a_cell_stale_and_it_runs_again(folder, fake, capsys):
  verb(folder)
  (folder / "runs.py").write_text(RUNS.replace('"1 epochs"', '"2 epochs"'))
  capsys.readouterr()
  assert "stale    vib/beta=0.1 seed=2 (another config)" in stale(folder, capsys)
  row = cells(folder)["VIB, beta = 1e-1", "test/err_frac"]
  assert (row["n"], row["mean"], row["stale"]) == ("0", "", "3")
  assert verb(folder) == 0
  assert len(lines(folder)) == 36  # the old lines are kept
  assert cells(folder)["VIB, beta = 1e-1", "test/err_frac"]["n"] == "3"
  kept = folder.parent.parent / "runs" / "quick" / "vib" / "beta=0.1" / ".seed=2.old1"
  assert (kept / "result.json").is_file()


def test_other_code_makes_its_cells_stale(folder, fake, capsys, monkeypatch):
  verb(folder)
  capsys.readouterr()
  real = table.plan.__globals__["code_version"]

  def changed(config):
    return real(config) if "ceb" in str(config) else "0" * 12

  monkeypatch.setitem(table.plan.__globals__, "code_version", changed)
  out = stale(folder, capsys)
  assert "stale    vib/beta=0.1 seed=0 (another code)" in out and "ceb" not in out
  fake.groups.clear()
  assert verb(folder) == 0
  assert len(fake.groups) == 1 and len(lines(folder)) == 27


def test_other_data_make_cells_stale_and_absent_data_are_said(folder, fake, capsys, monkeypatch):
  verb(folder)
  capsys.readouterr()
  scope = table.plan.__globals__
  monkeypatch.setitem(scope, "_fingerprint", lambda spec, data_dir, needed: "other")
  assert "(another data)" in stale(folder, capsys)
  monkeypatch.setitem(scope, "_fingerprint", lambda spec, data_dir, needed: None)
  assert verb(folder, "--check") == 0
  assert "data not checked: 'digits'" in capsys.readouterr().out


def test_check_needs_no_data_and_a_run_does(folder, fake, tmp_path, capsys):
  (folder / "runs.py").write_text(
    RUNS.replace('"1 epochs"}', '"1 epochs", "data.source": "tfds:fashion_mnist:3.0.1"}')
  )
  where = f"--data_dir={tmp_path / 'nowhere'}"
  assert verb(folder, "--check", where) == table.EXIT_INCOMPLETE
  assert "data not checked: 'tfds:fashion_mnist:3.0.1'" in capsys.readouterr().out
  with pytest.raises(Exception, match="fashion_mnist"):
    verb(folder, where)
  assert fake.groups == []


def test_diverged_runs_are_said_and_not_in_the_mean(folder, fake):
  fake.diverged = {"vib/beta=0.001 seed=1"}
  assert verb(folder) == 0
  row = cells(folder)["VIB, beta = 1e-3", "test/err_frac"]
  good = [x["result"] for x in lines(folder) if x["cell"] == "vib/beta=0.001" and x["seed"] != 1]
  assert float(row["mean"]) == pytest.approx(100 * np.mean([g["test/err_frac"] for g in good]))
  assert (row["n"], row["diverged"]) == ("2", "1")
  text = (folder / "quick" / "table.md").read_text()
  assert "1 of 3 diverged" in text and "1 diverged run is not in the means" in text
  assert verb(folder, "--check") == 0  # it is a result, not a gap
  fake.groups.clear()
  verb(folder)
  assert fake.groups == []


# The results file.


def test_half_a_line_is_noticed_kept_aside_and_made_again(folder, fake, capsys):
  verb(folder)
  path = folder / "results.jsonl"
  whole = path.read_bytes()
  half = whole.splitlines()[-1][:100]
  torn = b"".join(whole.splitlines(keepends=True)[:-1]) + half
  path.write_bytes(torn)
  capsys.readouterr()
  assert verb(folder, "--check") == table.EXIT_INCOMPLETE
  assert "half a line" in capsys.readouterr().out and path.read_bytes() == torn
  fake.groups.clear()
  assert verb(folder) == 0  # the run is finished in its folder: it is only recorded again
  assert "half a line" in capsys.readouterr().out and fake.groups == []
  assert (folder / "results.jsonl.damaged").read_bytes() == half + b"\n"
  assert len(lines(folder)) == 18 and path.read_bytes().startswith(torn[: -len(half)])


def test_a_whole_last_line_without_its_newline_counts(folder, fake):
  verb(folder)
  path = folder / "results.jsonl"
  path.write_bytes(path.read_bytes().rstrip(b"\n"))
  assert verb(folder, "--check") == 0
  verb(folder, "--budget=full", "--only=wide")
  assert len(lines(folder)) == 22


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda text: text.replace('"schema": 1', '"schema": 9', 1), "line 1: its schema is 9"),
    (lambda text: "{}\n" + text, "line 1: its schema is None"),
    (lambda text: text.replace('"cell"', '"sell"', 1), "line 1, key 'cell'"),
    (lambda text: text.replace("{", "", 1), "line 1, is not JSON"),
  ],
)
def test_a_damaged_or_foreign_file_is_refused_and_left(folder, fake, change, message):
  verb(folder)
  path = folder / "results.jsonl"
  path.write_text(change(path.read_text()))
  before = path.read_bytes()
  fake.groups.clear()
  for flags in ((), ("--check",)):
    with pytest.raises(ConfigError, match=re.escape(message)):
      verb(folder, *flags)
  assert path.read_bytes() == before and fake.groups == []


def test_appending_nothing_that_lacks_a_key(tmp_path):
  path = tmp_path / "results.jsonl"
  with pytest.raises(ConfigError, match="key 'cell'"):
    record.append(path, [{"schema": 1}])
  assert not path.exists()
  with pytest.raises(WorkdirError, match="nowhere"):
    record.append(tmp_path / "nowhere" / "results.jsonl", [])


def test_results_of_a_cell_that_is_gone_are_mentioned(folder, fake, capsys):
  verb(folder)
  (folder / "results.jsonl").write_text(
    (folder / "results.jsonl").read_text().replace("vib/beta=0.01", "vib/old")
  )
  verb(folder, "--check")
  assert "results of 'vib/old', which is no cell any more" in capsys.readouterr().out


# Bad input: one clear message, and nothing runs.

BAD = {
  "a config that is not there": (
    dict(runs=RUNS.replace("ceb_mnist.py", "ceb_mnits.py")),
    r"runs.py, cell 'ceb/beta=0.001'.*Did you mean 'configs/variational/ceb_mnist.py'",
  ),
  "a variant that is not there": (dict(runs=RUNS.replace(":smoke", ":smok")), "'smok'.*'smoke'"),
  "two cells of one id": (
    dict(runs=RUNS.replace("{beta:g}", "x")),
    r"two cells are named 'vib/beta=x' \(numbers 0 and 1",
  ),
  "an unknown key of a config": (
    dict(runs=RUNS.replace("objective.beta", "objective.beat")),
    "cell 'vib/beta=0.001'.*'beat'.*'beta'",
  ),
  "a value of the wrong type": (
    dict(runs=RUNS.replace('{"bottleneck.dim": 16}, budgets=("full",)', '{"bottleneck.dim": "a"}')),
    "cell 'wide'",
  ),
  "a seed among the overrides": (
    dict(runs=RUNS.replace('"train.duration": "1 epochs"', '"seed": 3')),
    r"BUDGETS\['quick'\], overrides: 'seed'",
  ),
  "an unknown key of a cell": (
    dict(runs=RUNS.replace("overrides={", "overides={", 2)),
    "unknown key 'overides'. Did you mean 'overrides'",
  ),
  "no cells": (dict(runs=RUNS + "\nCELLS = ()"), "CELLS is empty"),
  "no budgets": (dict(runs=RUNS + "\nBUDGETS = {}"), "BUDGETS is empty"),
  "CELLS misspelt": (dict(runs="BUDGETS = {}\nCELS = ()"), "no CELLS.*'CELS'"),
  "seeds twice": (dict(runs=RUNS.replace("(0, 1, 2)", "(0, 1, 1)")), "'seeds'.*different"),
  "an id that leaves the folder": (
    dict(runs=RUNS.replace('id="wide"', 'id="../wide"')),
    "the id becomes a folder",
  ),
  "an unknown budget of a cell": (
    dict(runs=RUNS.replace('("full",)', '("ful",)')),
    "unknown budget 'ful'. Did you mean 'full'",
  ),
  "a file that fails": (dict(runs=RUNS + "\n1 / 0"), r"runs.py, line \d+: ZeroDivisionError"),
  "a file that is no Python": (dict(runs="BUDGETS ="), "runs.py, line 1: SyntaxError"),
  "training code": (
    dict(shown="import optax\n" + TABLE),
    "table.py imports optax: an experiment holds no training code",
  ),
  "a row of an unknown cell": (
    dict(shown=TABLE.replace('cell="wide"', 'cell="wid"')),
    r"rows\[5\]: unknown cell 'wid'. Did you mean 'wide'",
  ),
  "a pattern without a cell": (dict(shown=TABLE.replace("ceb/*", "cebb/*")), "unknown cell"),
  "a row without what it shows": (
    dict(shown=TABLE.replace(', cell="wide"', "")),
    r"rows\[5\]: give either cell",
  ),
  "a curve without a rate": (
    dict(shown=TABLE.replace('curve=("vib/*",), at=5.0', 'curve=("vib/*",)')),
    "needs at=RATE",
  ),
  "a label twice": (dict(shown=TABLE.replace("Wide", "VIB at 5 nats")), "two rows are named"),
  "an unknown key of a column": (
    dict(shown=TABLE.replace("digits=3", "digit=3")),
    r"columns\[2\]: unknown key 'digit'. Did you mean 'digits'",
  ),
  "a row that paper.json lacks": (
    dict(shown=TABLE.replace('paper="vib"', 'paper="vip"')),
    "unknown row of paper.json 'vip'. Did you mean 'vib'",
  ),
  "an axis the config lacks": (
    dict(shown=FIGURES.replace('config="objective.beta"', 'config="objective.bets"')),
    "figure 'beta', x: unknown number.*Did you mean 'objective.beta'",
  ),
  "a metric of paper.json that is no column": (
    dict(paper=json.loads(json.dumps(PAPER).replace("test/err_frac", "test/er_frac"))),
    r"rows\['vib'\].*'test/er_frac'.*'test/err_frac'",
  ),
  "a number that is a text": (
    dict(paper=json.loads(json.dumps(PAPER).replace("1.13", '"1.13"'))),
    "key 'value': found '1.13', expected a finite number",
  ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named_before_anything_runs(tmp_path, fake, name):
  changes, message = BAD[name]
  folder = make(tmp_path / "experiments" / "tiny", **changes)
  (folder / "results.jsonl").write_text("")
  with pytest.raises(ConfigError, match=f"(?s){message}"):
    verb(folder)
  assert fake.groups == [] and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--only=vibb/*", "unknown cell in --only 'vibb/\\*'"),
    ("--budget=quik", "unknown budget.*'quik'. Did you mean 'quick'"),
    ("--interval=z", "unknown interval 'z'"),
    ("--chek", "Did you mean '--check'"),
  ],
)
def test_bad_flags_are_named(folder, fake, flag, message):
  with pytest.raises(ConfigError, match=message):
    verb(folder, flag)
  assert fake.groups == []


def test_a_folder_that_is_none_is_named(folder):
  with pytest.raises(ConfigError, match="no experiment .*tinny'. Did you mean .*tiny'"):
    verb(folder.with_name("tinny"))
  (folder / "paper.json").unlink()
  with pytest.raises(ConfigError, match=r"it has no paper.json"):
    verb(folder)
  with pytest.raises(ConfigError, match="needs one experiment"):
    table.run([])


def test_a_metric_that_no_run_wrote_is_named_and_results_are_kept(folder, fake):
  verb(folder)
  (folder / "table.py").write_text(TABLE.replace('key="test/err_frac"', 'key="test/er_frac"', 1))
  (folder / "paper.json").write_text(json.dumps({**PAPER, "rows": {}}))
  text = (folder / "table.py").read_text().replace(', paper="vib"', "").replace(', paper="ceb"', "")
  # The wide row waits for the full budget, so the quick one is complete without it.
  (folder / "table.py").write_text(text)
  before = (folder / "results.jsonl").read_bytes()
  with pytest.raises(ConfigError, match="'test/er_frac'. Did you mean 'test/err_frac'"):
    verb(folder, "--check")
  with pytest.raises(ConfigError, match="'test/er_frac'"):
    verb(folder)
  assert (folder / "results.jsonl").read_bytes() == before


def test_a_published_row_that_is_not_shown_is_a_warning(folder, fake, capsys):
  (folder / "table.py").write_text(TABLE.replace(', paper="ceb"', ""))
  assert verb(folder) == 0
  assert "warning:" in (out := capsys.readouterr().out) and "no table row shows 'ceb'" in out


def test_derive_that_fails_says_for_which_run(folder, fake):
  verb(folder)
  (folder / "table.py").write_text(TABLE.replace('row["test/err_frac"]', 'row["nothing"]'))
  with pytest.raises(ConfigError, match="derive, for vib/beta=0.001 seed=0: KeyError: 'nothing'"):
    verb(folder, "--check")


def test_a_table_is_made_without_jax(folder, fake):
  """On a machine that only shows results: neither the report nor the verb loads jax."""
  verb(folder)
  code = (
    "import sys; from ibjax.verbs import table\n"
    f"assert table.run([{str(folder)!r}, '--check']) == 0\n"
    "assert not {'jax', 'flax', 'orbax'} & set(sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr


def test_the_real_population_makes_a_table(tmp_path):
  """No fake: a tiny experiment trained, and its row equal to what its run folder says."""
  pytest.importorskip("ibjax.train.population")
  runs = f"""
  BUDGETS = {{"quick": dict(seeds=(0, 1), overrides={{"train.duration": "20 steps"}})}}
  CELLS = tuple(
    dict(id=f"vib/{{beta:g}}", config="{VIB}:smoke", overrides={{"objective.beta": beta}})
    for beta in (1e-3, 1e-1)
  )
  """
  shown = """
  TABLES = (dict(
    name="t", title="T", columns=(dict(key="test/err_frac", header="error", scale=100),),
    rows=(dict(label="a", cell="vib/0.001"), dict(label="b", cell="vib/0.1")),
  ),)
  """
  folder = make(tmp_path / "experiments" / "real", runs, shown, {**PAPER, "rows": {}})
  assert verb(folder) == 0
  assert len(lines(folder)) == 4
  for line in lines(folder):
    run = tmp_path / "runs" / "quick" / line["cell"] / f"seed={line['seed']}"
    assert json.loads((run / "result.json").read_text()) == line["result"]
  assert verb(folder, "--check") == 0


def test_lines_added_at_the_same_time_are_all_kept_and_none_is_there_twice(folder, fake):
  fake.stop_after = 1
  verb(folder)
  path = folder / "results.jsonl"
  some = lines(folder)
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    seeds = [*range(10, 40), *range(10, 40)]
    added = pool.map(lambda seed: len(record.append(path, [{**some[0], "seed": seed}])), seeds)
    assert sum(added) == 30
  assert sorted(line["seed"] for line in lines(folder)[len(some) :]) == list(range(10, 40))
