"""Mean planes and correlations of an experiment: what is written, drawn and refused."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from scipy import stats

from ibjax.core.errors import ConfigError, WorkdirError
from ibjax.report import table_correlations, table_planes
from ibjax.report.compare_page import write_compare_page
from ibjax.report.plane import Planes, draw_over_steps
from ibjax.report.results import Planned
from ibjax.report.runs import read_run
from ibjax.report.statistics import correlation

NAMES = ["binned/layer_1/i_xt_nats", "binned/layer_1/i_ty_nats", "rank/dense_0/relative"]
ASKED = (
  dict(
    name="plane", title="Plane", panels=(dict(label="tanh", cell="a/tanh", estimator="binned"),)
  ),
  dict(
    name="rank",
    title="Rank",
    panels=(dict(label="tanh", cell="a/tanh", over_steps="/relative", of="rank/"),),
  ),
)


def run(folder: pathlib.Path, seed: int, steps=(0, 1, 10)) -> Planned:
  """A finished run with a plane of its own."""
  folder = folder / f"seed={seed}"
  folder.mkdir(parents=True)
  (folder / "manifest.json").write_text("{}")
  (folder / "result.json").write_text(json.dumps({"step": 10}))
  values = np.arange(len(steps) * 3.0).reshape(-1, 3) + seed
  np.savez(folder / "plane.npz", layers=["out"], step=steps, names=NAMES, values=values)
  return Planned("a/tanh", "full", seed, {}, f"hash{seed}", "c.py", (), "", "code", None, folder)


@pytest.fixture
def runs(tmp_path):
  return [run(tmp_path / "runs", seed) for seed in (0, 2)]


@pytest.fixture
def experiment(tmp_path):
  folder = tmp_path / "experiment"
  (folder / "full").mkdir(parents=True)
  return folder


def figures():
  return table_planes.plane_figures("table.py: PLANES", ASKED, ["a/tanh"])


def test_the_mean_plane_is_kept_and_drawn_without_the_runs(experiment, runs):
  table_planes.collect(experiment, "full", figures(), runs)
  with np.load(experiment / "planes" / "full" / "a--tanh.npz") as kept:
    assert kept["n"] == 2
    np.testing.assert_array_equal(kept["values"], np.arange(9.0).reshape(3, 3) + 1.0)
  for one in runs:
    (one.folder / "plane.npz").unlink()
  written = table_planes.write(experiment, "full", figures(), runs)
  assert list(written) == ["plane", "rank"]
  for path, caption in written.values():
    assert path.stat().st_size > 5_000 and caption == "Means over 2 runs of each cell."


def test_planes_of_other_code_say_so(experiment, runs):
  table_planes.collect(experiment, "full", figures(), runs)
  changed = [dataclasses.replace(one, code="other") for one in runs]
  _, caption = table_planes.write(experiment, "full", figures(), changed)["plane"]
  assert "1 of 1 panels are of runs whose config or code changed since" in caption


def test_a_cell_that_is_not_complete_keeps_its_old_plane(experiment, runs):
  table_planes.collect(experiment, "full", figures(), runs)
  path = table_planes.path_of(experiment, "full", "a/tanh")
  before = path.read_bytes()
  (runs[0].folder / "result.json").unlink()
  np.savez(runs[1].folder / "plane.npz", layers=["out"], step=[0], names=NAMES, values=[[9, 9, 9]])
  table_planes.collect(experiment, "full", figures(), runs)
  assert path.read_bytes() == before


def test_planes_of_other_steps_have_no_mean(experiment, runs, tmp_path):
  other = run(tmp_path / "runs", 3, steps=(0, 1, 20))
  with pytest.raises(WorkdirError, match="other step"):
    table_planes.collect(experiment, "full", figures(), [*runs, other])


def test_the_page_of_many_runs_shows_their_mean(runs, tmp_path):
  page = write_compare_page([read_run(one.folder) for one in runs], tmp_path / "page.html")
  assert "Layers through training" in page.read_text()
  (runs[0].folder / "plane.npz").unlink()
  page = write_compare_page([read_run(one.folder) for one in runs], tmp_path / "page.html")
  assert "Layers through training" not in page.read_text()


def test_gradients_are_shown_over_the_norm_of_the_weights():
  columns = {
    "gradient/dense_0/mean_norm": np.array([2.0, 4.0]),
    "gradient/dense_0/weight_norm": np.array([4.0, 16.0]),
  }
  planes = Planes(("out",), np.array([0, 1]), columns, {})
  figure = draw_over_steps([(planes, "gradient/", "")], "/mean_norm", "")
  (line,) = figure.axes[0].lines
  assert line.get_ydata().tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
  ("panel", "message"),
  [
    (dict(label="x", cell="a/tahn", estimator="binned"), "Did you mean 'a/tanh'"),
    (dict(label="x", cell="a/tanh"), "either estimator or over_steps"),
    (dict(label="x", cell="a/tanh", over_steps="/rank"), "over_steps"),
  ],
)
def test_a_panel_that_does_not_fit_says_why(panel, message):
  with pytest.raises(ConfigError, match=message):
    table_planes.plane_figures("table.py: PLANES", [dict(ASKED[0], panels=(panel,))], ["a/tanh"])


def test_an_estimator_without_a_plane_says_which_there_are(experiment, runs):
  asked = [dict(ASKED[0], panels=(dict(label="x", cell="a/tanh", estimator="kde"),))]
  found = table_planes.plane_figures("table.py: PLANES", asked, ["a/tanh"])
  table_planes.collect(experiment, "full", found, runs)
  with pytest.raises(ConfigError, match="it has binned"):
    table_planes.write(experiment, "full", found, runs)


def test_a_correlation_is_scipys():
  rng = np.random.default_rng(0)
  a = rng.normal(size=30)
  b = 0.5 * a + rng.normal(size=30)
  found, known = correlation(a, b), stats.pearsonr(a, b)
  ends = known.confidence_interval(0.95)
  np.testing.assert_allclose([found.mean, found.low, found.high], [known.statistic, *ends])
  assert np.isnan(correlation([1.0, 1.0], [1.0, 2.0]).mean)


def test_a_table_of_correlations(tmp_path):
  asked = dict(name="general", title="T", key="acc", label="accuracy", caption="Of tanh.")
  asked |= dict(columns=(dict(key="c", header="layer 1"),), rows=(dict(label="tanh", cell="tanh"),))
  (table,) = table_correlations.correlations("CORRELATIONS", [asked], ["tanh"])
  rows = [dict(acc=float(i), c=float(i % 3)) for i in range(8)] + [dict(acc=1.0)]
  paths = table_correlations.write(tmp_path, [table], {"tanh": rows})
  text, numbers = (path.read_text() for path in paths)
  r = stats.pearsonr([row["acc"] for row in rows[:8]], [row["c"] for row in rows[:8]]).statistic
  assert f"| tanh | {r:.2f} [" in text and "n = 8" in text and "Of tanh." in text
  assert repr(float(r))[:8] in numbers
  assert "layer 1" in table_correlations.section(table, {"tanh": rows})
  with pytest.raises(ConfigError, match="Did you mean 'tanh'"):
    table_correlations.correlations(
      "CORRELATIONS", [asked | dict(rows=(dict(label="x", cell="tahn"),))], ["tanh"]
    )


def test_a_table_of_correlations_over_several_cells(tmp_path):
  asked = dict(name="all", title="T", key="gap", label="the gap")
  asked |= dict(columns=(dict(key="c", header="c"),))
  both = asked | dict(rows=(dict(label="all", cells=("w/*",)), dict(label="first", cell="w/1")))
  (table,) = table_correlations.correlations("CORRELATIONS", [both], ["w/1", "w/2", "x"])
  rng = np.random.default_rng(0)
  rows = {
    cell: [dict(gap=g, c=c) for g, c in rng.normal(size=(9, 2))] for cell in ("w/1", "w/2", "x")
  }
  found = table_correlations.values(table, rows)
  pooled = [(row["gap"], row["c"]) for cell in ("w/1", "w/2") for row in rows[cell]]
  assert found["all", "c"].mean == pytest.approx(stats.pearsonr(*zip(*pooled)).statistic)
  assert (found["all", "c"].n, found["first", "c"].n) == (18, 9)
  text, numbers = (path.read_text() for path in table_correlations.write(tmp_path, [table], rows))
  assert "over runs (n = 9–18)" in text and "all,w/*,c,gap," in numbers
  for rows, message in (
    ((dict(label="x", cell="x", cells=("x",)),), "give either"),
    ((dict(label="x", cells=("y/*",)),), "unknown cell 'y/"),
    ((dict(label="x", cell="x"), dict(label="x", cell="w/1")), "labels"),
  ):
    with pytest.raises(ConfigError, match=message):
      table_correlations.correlations("CORRELATIONS", [asked | dict(rows=rows)], ["w/1", "x"])
