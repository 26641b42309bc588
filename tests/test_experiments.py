"""The committed experiments: their cells exist, and their tables are what their results say."""

import json
import pathlib
import shutil

import pytest

from ibjax.core.config import config_hash
from ibjax.main import main
from ibjax.report import experiment as experiment_lib
from ibjax.report import results as results_lib
from ibjax.verbs.table_plan import plan
from tests.helpers import ROOT

FOLDERS = sorted(path.parent for path in (ROOT / "experiments").glob("*/runs.py"))
BUDGETS = [
  (folder, budget.name)
  for folder in FOLDERS
  for budget in sorted(folder.iterdir())
  if (budget / "report.html").exists()
]


def test_there_are_experiments():
  assert {"vib_mnist", "ceb", "gaussian_ib", "half_bayes"} <= {folder.name for folder in FOLDERS}
  assert {folder for folder, _ in BUDGETS} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_result_is_of_a_cell_and_knows_where_it_comes_from(folder):
  experiment = experiment_lib.load(folder)
  results = results_lib.read(folder / "results.jsonl")
  assert results.lines and not results.torn
  for line in results.lines:
    assert line["cell"] in experiment.cells and line["budget"] in experiment.budgets
    assert line["config_hash"] == config_hash(line["config"]) == line["result"]["config_hash"]
    assert line["config"]["seed"] == line["seed"] == line["result"]["seed"]
    assert (
      len(line["commit"].removesuffix("+dirty")) == 40
      and line["data"]["fingerprint"]
      and line["code"]
    )
    assert (ROOT / line["config_file"].partition(".py")[0]).with_suffix(".py").exists()


@pytest.mark.parametrize(("folder", "budget"), BUDGETS, ids=str)
def test_the_tables_are_what_the_results_say(folder, budget, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  copy = tmp_path / "experiments" / folder.name
  shutil.copytree(folder, copy)
  for file in (copy / budget).iterdir():
    file.unlink()
  experiment = experiment_lib.load(copy)
  runs = plan(experiment, budget, pathlib.Path("runs"), None, need_data=False).runs
  lines = results_lib.read(copy / "results.jsonl").lines
  stale = [status for status in results_lib.statuses(lines, runs) if status.line is None]
  code = main(["table", str(copy), f"--budget={budget}", "--check"])
  assert code == (1 if stale else 0), capsys.readouterr()
  if stale:  # the method's code went on since; the numbers are still those of their commit
    pytest.skip(f"{len(stale)} of {len(runs)} runs are of other code: run the table again")
  for name in sorted(path.name for path in (folder / budget).glob("table*")):
    assert (copy / budget / name).read_text() == (folder / budget / name).read_text(), name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_readme_says_what_it_must(folder):
  text = (folder / "README.md").read_text()
  assert f"ibjax table experiments/{folder.name}" in text and "differ" in text
  assert json.loads((folder / "paper.json").read_text())["title"] in " ".join(text.split())
