"""The page over many runs: what it computes in Python, and what a real browser makes of it."""

from __future__ import annotations

import json
import math
import pathlib
import re
import shlex

import numpy as np
import pytest
from scipy import stats

from ibjax.core.errors import WorkdirError
from ibjax.main import main
from ibjax.report import compare, compare_curves, compare_find, compare_page, runs
from tests.browser import Browser, executable
from tests.fake_runs import BETAS, LABEL_NATS, fake_run, fake_sweep


def comparison(*folders: pathlib.Path) -> compare.Comparison:
  return compare.compare([runs.read_run(folder) for folder in folders])


def blob(page: pathlib.Path) -> dict:
  text = page.read_text(encoding="utf-8")
  (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
  return json.loads(data)


# Which runs there are.


def test_runs_are_found_once_wherever_they_are_named(tmp_path):
  fake_run(tmp_path / "b" / "deep" / "one")
  fake_run(tmp_path / "a")
  # A run's own folders are not searched, and links that lead up end (they would double for ever).
  (tmp_path / "a" / "checkpoints" / "5").mkdir(parents=True)
  (tmp_path / "a" / "checkpoints" / "5" / "manifest.json").write_text("{}")
  for name in ("up", "up again"):
    (tmp_path / "b" / name).symlink_to(tmp_path, target_is_directory=True)
  found = compare_find.find_runs([tmp_path, tmp_path / "b", tmp_path / "a"])
  assert [run.path.name for run in found.runs] == ["a", "one"] and not found.notes


def test_damaged_folders_are_named_and_left_out(tmp_path):
  fake_run(tmp_path / "good")
  for name, text in (("torn", "{"), ("foreign", '{"name": "an app"}'), ("list", "[]")):
    (tmp_path / name).mkdir()
    (tmp_path / name / "manifest.json").write_text(text)
  fake_run(tmp_path / "result")
  (tmp_path / "result" / "result.json").write_text("half")
  fake_run(tmp_path / "line")
  (tmp_path / "line" / "metrics.jsonl").write_text("half\n{}\n")
  found = compare_find.find_runs([tmp_path])
  assert [run.path.name for run in found.runs] == ["good", "line"]
  assert len(found.notes) == 5
  for name in ("torn", "foreign", "list", "result", "line"):
    assert any(f"/{name}" in note for note in found.notes)


def test_places_without_runs_are_explained(tmp_path):
  fake_run(tmp_path / "sweeps" / "a")
  (tmp_path / "nothing").mkdir()
  with pytest.raises(WorkdirError, match=r"does not exist.*Did you mean.*sweeps"):
    compare_find.find_runs([tmp_path / "sweep"])
  with pytest.raises(WorkdirError, match=r"holds a manifest\.json.*ibjax train"):
    compare_find.find_runs([tmp_path / "nothing"])
  with pytest.raises(WorkdirError, match=r"is a file.*Did you mean its folder"):
    compare_find.find_runs([tmp_path / "sweeps" / "a" / "manifest.json"])
  (tmp_path / "sweeps" / "a" / "manifest.json").write_text("{")
  with pytest.raises(WorkdirError, match=r"every folder.*damaged"):
    compare_find.find_runs([tmp_path])


# What differs, and who belongs together.


def test_differing_keys_are_those_that_are_not_one_value():
  configs = [
    {"seed": 0, "a.x": 1, "a.y": 1.0, "b": [1, 2], "c": True},
    {"seed": 1, "a.x": 1.0, "a.y": 2.0, "b": [1, 2], "c": 1},
    {"seed": 2, "a.x": 1, "a.y": 1.0, "b": [1, 2], "c": True, "only": None},
  ]
  assert compare.differing(configs) == ("a.y", "c", "only", "seed")
  assert compare.differing(configs[:1]) == ()


def test_groups_partition_the_runs_by_everything_but_the_seed(tmp_path):
  compared = comparison(*fake_sweep(tmp_path, betas=BETAS[:3], seeds=range(2)))
  assert compared.keys == ("objective.fn", "objective.beta", "seed")
  assert compared.columns == ("objective.beta", "seed")  # fn says what the method says
  groups, names = compare.split(compared)
  assert len(set(names)) == len(names) == 6
  for one, group in zip(compared.rows, groups, strict=True):
    for other, its in zip(compared.rows, groups, strict=True):
      alike = (one.method, one.config["objective.beta"]) == (
        other.method,
        other.config["objective.beta"],
      )
      assert (group == its) == alike
    assert names[group] == f"{one.method} beta={one.config['objective.beta']:g}"
  by_method, names = compare.split(compared, ("seed", "objective.beta"))
  assert names == ["vib", "ceb"] and by_method == [0] * 6 + [1] * 6
  by_beta, names = compare.split(compared, ("seed", "method"))
  assert by_beta == [0, 0, 1, 1, 2, 2] * 2 and names[0] == "mnist beta=0.0001"


def test_equal_names_of_two_families_stay_apart(tmp_path):
  other = {"objective": {"fn": "ibjax.objectives.other.vib:vib", "beta": 1e-3}}
  compared = comparison(fake_run(tmp_path / "a"), fake_run(tmp_path / "b", config=other))
  assert "objective.fn" in compared.columns
  assert len(compare.split(compared)[1]) == 2


def test_short_names_are_the_shortest_that_tell_apart():
  assert compare.short_names(["a.x.dim", "b.dim", "objective.beta", "seed"]) == {
    "a.x.dim": "x.dim",
    "b.dim": "b.dim",
    "objective.beta": "beta",
    "seed": "seed",
  }


def test_status_of_every_end_a_run_can_have(tmp_path):
  fake_run(tmp_path / "done")
  fake_run(tmp_path / "open", stop=300)
  fake_run(tmp_path / "member", diverged=True)
  fake_run(tmp_path / "alone", stop=300)
  (tmp_path / "alone" / "diverged" / "310").mkdir(parents=True)
  fake_run(tmp_path / "recovered", stop=300)
  (tmp_path / "recovered" / "diverged" / "200").mkdir(parents=True)
  rows = {name: compare.make_row(runs.read_run(tmp_path / name)) for name in _names(tmp_path)}
  assert {name: (row.status, row.step) for name, row in rows.items()} == {
    "done": ("finished", 600),
    "open": ("unfinished", 300),
    "member": ("diverged", 300),
    "alone": ("diverged", 310),
    "recovered": ("unfinished", 300),
  }
  assert rows["open"].final["test/err_frac"] > 0  # the last one recorded


def _names(folder: pathlib.Path) -> list[str]:
  return [child.name for child in folder.iterdir()]


def test_quantiles_cover_the_mean_as_often_as_they_say():
  quantiles = compare.student_quantiles(5)
  rng = np.random.default_rng(0)
  for n in (2, 3, 5):
    x = rng.normal(size=(40_000, n))
    half = quantiles[n - 2] * x.std(axis=1, ddof=1) / math.sqrt(n)
    assert np.mean(np.abs(x.mean(axis=1)) < half) == pytest.approx(0.95, abs=0.005)


def test_label_entropy_only_where_labels_are_classes(tmp_path):
  compared = comparison(fake_run(tmp_path / "a"), fake_run(tmp_path / "b", data="digits"))
  found = compare_page.label_entropies(compared.rows)
  assert found == {"mnist": pytest.approx(LABEL_NATS), "digits": pytest.approx(LABEL_NATS)}
  (row,) = comparison(tmp_path / "a").rows
  assert compare_page.label_entropies([row]) != {}
  del row.final["test/err_frac"]
  assert compare_page.label_entropies([row]) == {}


def test_curves_are_thinned_on_the_steps_of_their_group(tmp_path):
  folders = fake_sweep(tmp_path, betas=BETAS[:1], methods=("vib",), steps=2000)
  folders.append(fake_run(tmp_path / "half", beta=BETAS[0], seed=9, steps=2000, stop=1000))
  rows = comparison(*folders).rows
  (whole,) = compare_curves.thinned_curves(rows, [0] * 4)["train/rate_nats"]
  assert whole["steps"] == list(range(100, 2001, 100))
  assert whole["runs"][3][10:] == [None] * 10 and None not in whole["runs"][0]
  steps, values = rows[1].run.curve("train", "rate_nats")
  np.testing.assert_allclose(whole["runs"][1], values, rtol=1e-4)
  fewest = compare_curves.FEWEST
  compare_curves.FEWEST = 5
  try:
    (thin,) = compare_curves.thinned_curves(rows, [0] * 4, budget=1)["train/rate_nats"]
  finally:
    compare_curves.FEWEST = fewest
  assert len(thin["steps"]) == 5 and {thin["steps"][0], thin["steps"][-1]} == {100, 2000}
  assert set(thin["steps"]) <= set(steps.tolist())


# The page as text.

EVIL = "</script><!--<script>alert('x')</script><img src=x onerror=alert(1)>\u2028"


def test_page_escapes_what_the_files_say(tmp_path):
  folder = fake_run(tmp_path / "ev#il %20 a:b", config={EVIL: EVIL, "deep": {EVIL: [EVIL]}})
  manifest = json.loads((folder / "manifest.json").read_text())
  manifest["command"] = manifest["data"]["name"] = EVIL
  (folder / "manifest.json").write_text(json.dumps(manifest))
  result = json.loads((folder / "result.json").read_text())
  result |= {"objective": EVIL, EVIL: 1.0, "test/nan": math.nan, "test/inf": math.inf}
  (folder / "result.json").write_text(json.dumps(result))
  found = compare_find.find_runs([tmp_path, fake_run(tmp_path / "other")])
  page = compare_page.write_compare_page(found.runs, tmp_path / "p.html", EVIL, [EVIL])
  text = page.read_text(encoding="utf-8")
  assert "<img" not in text and "<!--" not in text and text.count("</script>") == 2
  data = blob(page)
  assert {run["command"] for run in data["runs"]} >= {EVIL}
  assert {run["method"] for run in data["runs"]} == {EVIL, "vib"}
  (evil,) = (run for run in data["runs"] if run["method"] == EVIL)
  assert evil["href"] == "./ev%23il%20%2520%20a%3Ab/manifest.json"
  assert evil["final"][EVIL] == 1.0 and not {"test/nan", "test/inf"} & evil["final"].keys()


def test_page_asks_for_nothing_from_outside(tmp_path):
  folder = fake_run(tmp_path / "a")
  page = compare_page.write_compare_page([runs.read_run(folder)], tmp_path / "p.html")
  text = page.read_text(encoding="utf-8")
  assert "default-src 'none'" in text and "unsafe" not in text
  assert not re.search(r"""url\(|@import|<link|<iframe|\ssrc=|\sstyle=|\son\w+=""", text)
  assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}


def test_page_of_nothing_or_in_no_folder_is_refused(tmp_path):
  with pytest.raises(WorkdirError, match="no run"):
    compare_page.write_compare_page([], tmp_path / "p.html")
  run = runs.read_run(fake_run(tmp_path / "a"))
  with pytest.raises(WorkdirError, match="does not exist"):
    compare_page.write_compare_page([run], tmp_path / "no" / "p.html")
  with pytest.raises(WorkdirError, match="is a folder"):
    compare_page.write_compare_page([run], tmp_path)


def test_verb_writes_above_the_runs_and_never_over_their_own_page(tmp_path, capsys):
  fake_run(tmp_path / "s" / "a")
  (tmp_path / "s" / "a" / "report.html").write_text("of the run alone")
  assert main(["report", str(tmp_path / "s" / "a"), "--title=One run"]) == 0
  page = tmp_path / "s" / "report.html"
  assert str(page) in capsys.readouterr().out and "<h1>One run</h1>" in page.read_text()
  assert (tmp_path / "s" / "a" / "report.html").read_text() == "of the run alone"
  fake_run(tmp_path / "s" / "b", seed=1)
  (tmp_path / "s" / "c").mkdir()
  (tmp_path / "s" / "c" / "manifest.json").write_text("{")
  assert main(["report", str(tmp_path), f"--out={tmp_path / 'all.html'}"]) == 0
  said = capsys.readouterr()
  assert "(2 runs)" in said.out and "/c is left out" in said.err
  assert "/c is left out" in (tmp_path / "all.html").read_text()
  assert blob(tmp_path / "all.html")["runs"][0]["href"] == "./s/a/manifest.json"


def test_verb_without_folders_says_what_it_needs(tmp_path, capsys):
  assert main(["report"]) == 2
  assert "needs folders" in capsys.readouterr().err
  assert main(["report", str(tmp_path)]) == 2
  assert "found no run" in capsys.readouterr().err
  assert main(["report", str(tmp_path), "--uot=x"]) == 2
  assert "--out" in capsys.readouterr().err


# The page in a browser.


@pytest.fixture(scope="module")
def browser():
  if executable() is None:
    pytest.skip("no chromium, chromium-browser or google-chrome on the path")
  with Browser() as opened:
    yield opened


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
  """5 betas x 3 seeds x 2 methods, a baseline, an unfinished and a diverged run."""
  home = tmp_path_factory.mktemp("sweep")
  fake_sweep(home)
  fake_run(home / "base", method="cross_entropy")
  fake_run(home / "open", beta=0.5, seed=7, stop=300)
  fake_run(home / "bad", method="ceb", beta=0.1, seed=8, diverged=True)
  found = compare_find.find_runs([home])
  return compare_page.write_compare_page(found.runs, home / "report.html")


@pytest.fixture
def opened(browser, sweep):
  browser.open(sweep)
  yield browser
  assert browser.complaints() == []
  # The page itself and nothing else.
  assert browser.requests() == [sweep.as_uri()]


def column(browser, key):
  script = (
    "(() => { const heads = [...document.querySelectorAll('#runs th')];"
    f"const k = heads.findIndex((h) => h.dataset.key === {json.dumps(key)});"
    "return [...document.querySelectorAll('#runs tbody tr')].map((r) => r.cells[k].textContent);"
    "})()"
  )
  return browser.run(script)


def tip(browser):
  return browser.run(
    "(() => { const t = document.getElementById('tip');return t.hidden ? null : t.innerText; })()"
  )


def count(browser, selector):
  return browser.run(f"document.querySelectorAll({json.dumps(selector)}).length")


def head(key):
  return f"#runs th[data-key='{key}'] button"


def test_headers_sort_numbers_and_words_and_keep_ties(opened):
  assert count(opened, "#runs tbody tr") == 33
  opened.click(head("test/err_frac"))
  values = [float(value) for value in column(opened, "test/err_frac")]
  assert values == sorted(values) and len(values) == 33
  opened.click(head("test/err_frac"))
  values = [float(value) for value in column(opened, "test/err_frac")]
  assert values == sorted(values, reverse=True)
  state = "document.querySelector(\"#runs th[data-key='test/err_frac']\").ariaSort"
  assert opened.run(state) == "descending"
  opened.click(head("method"))
  assert opened.run(state) == "none"
  methods = column(opened, "method")
  assert methods == sorted(methods)
  # Stable: within a method the falling order of before is kept.
  ceb = [float(e) for m, e in zip(methods, column(opened, "test/err_frac")) if m == "ceb"]
  assert ceb == sorted(ceb, reverse=True)
  # Numbers by size, not as text, and what has none last both ways.
  for falling in (False, True):
    opened.click(head("test/rate_nats"))
    *rates, none = column(opened, "test/rate_nats")
    assert none == "–" and sorted(rates) != sorted(rates, key=float)
    assert [float(rate) for rate in rates] == sorted(map(float, rates), reverse=falling)


def test_table_sorts_from_the_keyboard(opened):
  opened.run(f"document.querySelector({json.dumps(head('seed'))}).focus()")
  opened.key("Enter", 13, "\r")
  seeds = [int(seed) for seed in column(opened, "seed")]
  assert seeds == sorted(seeds)
  # The header keeps the focus, so that the next press turns the order round.
  opened.key("Enter", 13, "\r")
  seeds = [int(seed) for seed in column(opened, "seed")]
  assert seeds == sorted(seeds, reverse=True)


@pytest.mark.parametrize(
  ("query", "wanted"),
  [
    ("", 33),
    ("beta=0.01", 6),
    ("objective.beta=1e-2", 6),
    ("--config.objective.beta=1e-2 method=vib", 3),
    ("beta=0.01,0.1 seed=0", 4),
    ("beta!=0.01", 27),
    ("seed>0 seed<=2 method=ceb", 10),
    ("status=diverged", 1),
    ("ceb_0.5", 3),
    ("batch_size=200", 33),
    ("batch_size=100", 0),
    ("rate_nats>1e9", 0),
    ("nonsense=3", 0),
  ],
)
def test_filter_acts_on_table_count_and_plots(opened, query, wanted):
  opened.type("#query", query)
  rows = opened.run("[...document.querySelectorAll('#runs tbody tr')].map((r) => +r.dataset.run)")
  assert len(rows) == wanted
  assert opened.run("document.getElementById('count').textContent") == f"{wanted} of 33 runs"
  for figure in ("final", "plane", "distortion"):
    drawn = opened.run(
      f"[...document.querySelectorAll('#{figure} a.pt')].map((p) => +p.dataset.run)"
    )
    # The baseline has neither a beta nor a rate.
    base = opened.run(
      "[...document.querySelectorAll('#runs tbody tr')].filter((r) =>"
      "r.textContent.includes('cross_entropy')).map((r) => +r.dataset.run)"
    )
    assert sorted(drawn) == sorted(set(rows) - set(base))
  hint = opened.run("document.getElementById('hint').textContent")
  assert ("nonsense" in hint and "objective.beta" in hint) == (query == "nonsense=3")


def test_selects_narrow_and_clear_widens(opened):
  options = "document.querySelector(\"#selects select[data-key='objective.beta']\").options"
  shown = opened.run(f"[...{options}].map((o) => o.textContent)")
  assert shown == ["any", "(none)", *(f"{beta:g}" for beta in BETAS)]
  value = opened.run(f"[...{options}].find((o) => o.textContent === '0.1').value")
  opened.choose("#selects select[data-key='objective.beta']", value)
  assert count(opened, "#runs tbody tr") == 7
  opened.choose("#selects select[data-key='method']", "2")
  assert set(column(opened, "method")) == {"vib"} and count(opened, "#runs tbody tr") == 3
  opened.click("#clear")
  assert count(opened, "#runs tbody tr") == 33


def test_hovering_a_point_tells_the_run(opened):
  opened.type("#query", "ceb_0.001_0")
  opened.hover("#plane a.pt")
  data = opened.run("JSON.parse(document.getElementById('data').textContent)")
  (run,) = (run for run in data["runs"] if run["name"] == "ceb_0.001_0")
  text = tip(opened)
  for shown in (run["name"], run["method"], run["config"]["objective.beta"][0], run["command"]):
    assert shown in text
  assert f"{run['final']['test/rate_nats']:#.4g} nats" in text
  link = opened.run("document.querySelector('#plane a.pt').getAttribute('href')")
  assert link == run["href"] == f"./{run['name']}/manifest.json"
  opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
  assert tip(opened) is None
  opened.click("#clear")
  # The same from the keyboard: one stop a plot, arrows along it.
  assert count(opened, "#plane a.pt[tabindex='0']") == 1
  opened.run("document.querySelector(\"#plane a.pt[tabindex='0']\").focus()")
  first = tip(opened)
  opened.key("ArrowRight", 39)
  assert first and tip(opened) and tip(opened) != first


def test_bits_are_nats_over_log_two(opened):
  nats = [float(v) for v in column(opened, "test/rate_nats") if v != "–"]
  errors = column(opened, "test/err_frac")
  opened.click("input[value='bits']")
  bits = [float(v) for v in column(opened, "test/rate_nats") if v != "–"]
  np.testing.assert_allclose(bits, np.array(nats) / math.log(2), rtol=1e-3)
  assert column(opened, "test/err_frac") == errors
  assert "rate bits" in opened.run("document.querySelector('#runs thead').textContent")
  assert "H(Y) = 3.322" in opened.run("document.querySelector('#plane .plot').textContent")
  opened.hover("#plane a.pt", 4)
  assert " bits" in tip(opened) and " nats" not in tip(opened)


def test_intervals_are_students_over_the_finished_seeds(opened, sweep):
  rows = comparison(*sorted(p.parent for p in sweep.parent.glob("*/manifest.json"))).rows
  opened.type("#query", "method=ceb")
  expected = []
  for beta in BETAS:
    values = [
      100 * row.final["test/err_frac"]
      for row in rows
      if row.method == "ceb" and row.config["objective.beta"] == beta and row.status == "finished"
    ]
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    expected.append((np.mean(values), (high - low) / 2))
  assert count(opened, "#final .bar95") == len(expected)
  for number, (mean, half) in enumerate(expected):
    opened.hover("#final .bar95 .hit", number)
    text = tip(opened)
    assert re.search(rf"mean of 3\s+{mean:.2f} %", text), text
    assert re.search(rf"95% interval\s+± {half:.2f} %", text), text


def test_curves_average_the_seeds_of_a_group(opened, sweep):
  opened.type("#query", "method=vib beta=0.01")
  opened.choose("#curve-metric", "test/rate_nats")
  assert count(opened, "#training .line") == 1
  rows = comparison(*(sweep.parent / f"vib_0.01_{s}" for s in range(3))).rows
  last = [row.run.curve("test", "rate_nats")[1][-1] for row in rows]
  # At the right end of the line.
  x, y = opened.run(
    "(() => { const p = document.querySelector('#training .line .mean');"
    "p.scrollIntoView({block: 'center'}); const q = p.getPointAtLength(p.getTotalLength())"
    ".matrixTransform(p.getScreenCTM()); return [q.x, q.y]; })()"
  )
  opened.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
  assert "step" in tip(opened) and "600" in tip(opened)
  assert f"{np.mean(last):#.4g} nats" in tip(opened)


def test_every_axis_and_metric_draws(opened):
  axes = opened.run("[...document.getElementById('axis').options].map((o) => o.value)")
  assert axes == ["objective.beta", "method"]
  for axis in axes:
    opened.choose("#axis", axis)
    for metric in opened.run(
      "[...document.getElementById('final-metric').options].map((o) => o.value)"
    ):
      opened.choose("#final-metric", metric)
      assert count(opened, "#final a.pt") > 0, metric
  for metric in opened.run(
    "[...document.getElementById('curve-metric').options].map((o) => o.value)"
  ):
    opened.choose("#curve-metric", metric)
    assert count(opened, "#training .line") > 0, metric
  broken = (
    "[...document.querySelectorAll('svg *')].filter((e) => [...e.attributes].some((a) =>"
    "/NaN|Infinity|undefined/.test(a.value))).length"
  )
  assert opened.run(broken) == 0


def test_command_is_shown_and_copied(opened):
  data = opened.run("JSON.parse(document.getElementById('data').textContent)")
  number = opened.run("+document.querySelector('#runs tbody tr').dataset.run")
  opened.click("#runs tbody .cmd button")
  assert opened.run("document.querySelector('#runs tbody .cmd button').textContent") == "Copied"
  assert opened.run("getSelection().toString()") == data["runs"][number]["command"]
  assert shlex.split(data["runs"][number]["command"])[:2] == ["ibjax", "train"]


def test_clicking_a_point_opens_its_manifest(browser, sweep):
  browser.open(sweep)
  wanted = browser.run("document.querySelectorAll('#distortion a.pt')[3].href.baseVal")
  browser.events = []
  browser.click("#distortion a.pt", 3)
  assert browser.followed() == (sweep.parent / wanted).as_uri()
  assert json.loads(browser.run("document.body.innerText"))["config"]


def _bare(path: pathlib.Path) -> pathlib.Path:
  path.mkdir()
  (path / "manifest.json").write_text('{"config": {"objective": {"fn": "a.b:vib"}, "seed": 0}}')
  return path


@pytest.mark.parametrize("kind", ["one", "bare", "baselines", "zero", "mixed", "evil"])
def test_sets_of_every_kind_draw_without_complaint(browser, tmp_path, kind):
  if kind == "one":
    fake_run(tmp_path / "a")
  if kind in ("bare", "mixed"):
    _bare(tmp_path / "bare")
  if kind == "baselines":
    for seed in range(3):
      fake_run(tmp_path / f"b{seed}", method="cross_entropy", seed=seed)
  if kind == "zero":
    for beta in (0.0, 1e-3, 1e-1):
      fake_run(
        tmp_path / f"v{beta}",
        beta=beta or 1e-6,
        config={"objective": {"fn": "x:vib", "beta": beta}},
      )
  if kind == "mixed":
    fake_run(tmp_path / "a", data="digits", diverged=True)
    fake_run(tmp_path / "b", method="cross_entropy", stop=30)
    fake_run(tmp_path / "c", config={"encoder": {"hidden": [8, 8], "act": "relu"}})
  if kind == "evil":
    fake_run(tmp_path / "e", config={EVIL: EVIL})
    fake_run(tmp_path / EVIL.replace("/", "_"), seed=1, config={EVIL: "2"})
  found = compare_find.find_runs([tmp_path])
  browser.open(compare_page.write_compare_page(found.runs, tmp_path / "p.html"))
  assert count(browser, "#runs tbody tr") == len(found.runs)
  broken = (
    "[...document.querySelectorAll('svg *')].filter((e) => [...e.attributes].some((a) =>"
    "/NaN|Infinity|undefined/.test(a.value))).length"
  )
  assert browser.run(broken) == 0
  if kind == "zero":
    ticks = browser.run("[...document.querySelectorAll('#final .tick')].map((t) => t.textContent)")
    assert {"0", "0.001", "0.1"} <= set(ticks)
  if kind == "baselines":
    assert browser.run("document.getElementById('plane').hidden")
    assert count(browser, "#final a.pt") == 3
  assert browser.complaints() == [] and len(browser.requests()) == 1
