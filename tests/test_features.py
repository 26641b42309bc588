"""The feature browser: what is described of a dictionary, and what a real browser makes of it."""

import json

import numpy as np
import pytest

from ibjax.core.errors import WorkdirError
from ibjax.data import source as source_lib
from ibjax.data.sources import planted
from ibjax.data.store import Part
from ibjax.data.store_write import write as write_store
from ibjax.main import main
from ibjax.report import features as report
from ibjax.report.page import write_page
from ibjax.train.features import _effects as effects
from ibjax.train.features import features
from tests.browser import Browser, executable
from tests.dictionaries import tapped
from tests.fake_runs import fake_run

HOSTILE = '</script><img src=x onerror="boom()">'


def latent(number, density, token, near, **more):
  tokens = [*"the k", token, *"ng "]
  acts = [0.0] * len(tokens)
  acts[5] = 2.0 * density
  return {
    "id": number,
    "density": density,
    "mean": 1.5,
    "max": 10.0 - number,
    "near": near,
    "top": [{"value": 2.0, "row": 7, "tokens": tokens, "acts": acts, "at": 5}],
    **more,
  }


def described():
  effect = {"up": [["\n", 3.25], ["Q", 1.0]], "down": [["e", -2.0]]}
  return {
    "source": "autoencode:activations:x",
    "split": "test",
    "layer": "block_0.out",
    "kind": "text",
    "step": 10,
    "rows": 1000,
    "latents": 12,
    "dead": 9,
    "densities": {"edges": [-2.0, -1.0, 0.0], "counts": [1, 2]},
    "images": {},
    "features": [
      latent(0, 0.05, "zebra", [[5, 0.5], [11, 0.25]], effect=effect),
      latent(5, 0.5, HOSTILE, [[0, 0.5]]),
      latent(7, 0.125, "i", [[0, -0.1]]),
    ],
  }


# What is described.


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A dictionary of 12 planted directions, trained for a moment."""
  folder = tmp_path_factory.mktemp("run") / "sae"
  source = "autoencode:planted:superposition:features=12,dim=8,l0=2,n=2048,n_test=1024"
  keys = {
    "data.source": source,
    "bottleneck.dim": 8,
    "bottleneck.latents": 12,
    "bottleneck.k": 2,
    "train.duration": "3 epochs",
    "eval.every": "3 epochs",
    "checkpoint.every": "3 epochs",
  }
  overrides = [f"--config.{key}={value}" for key, value in keys.items()]
  config = "--config=configs/sparse/dictionary_planted.py:smoke"
  assert main(["train", config, f"--workdir={folder}", *overrides]) == 0
  return folder, source


def test_latents_are_described_as_they_are(run):
  folder, source = run
  found = features(folder, examples=500, top=3)
  from ibjax.train.assessing import viewer
  from ibjax.train.tap import open_run

  setup, state, _ = open_run(folder)
  trained = viewer(setup)(setup.config, state)
  x = source_lib.load(source).splits["test"].read(np.arange(500))["x"]
  out = trained.forward(x)
  z = np.zeros((500, 12))
  np.put_along_axis(z, out["indices"], out["activations"], axis=1)
  rows = trained.params["bottleneck"]["W_dec"]
  rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
  truth = planted.truth(planted.argument_of(source)).dictionary
  assert found["dead"] == (z == 0).all(axis=0).sum() and found["rows"] == 500
  assert [f["id"] for f in found["features"]] == np.flatnonzero((z != 0).any(axis=0)).tolist()
  for one in found["features"]:
    i = one["id"]
    active = z[:, i] != 0
    assert one["density"] == pytest.approx(active.mean())
    assert one["mean"] == pytest.approx(z[active, i].mean(), rel=1e-5)
    best = np.argsort(-z[:, i], kind="stable")[:3]
    assert [e["row"] for e in one["top"]] == best[: active.sum()].tolist()
    cosines = rows @ rows[i]
    cosines[i] = -2
    assert one["near"][0] == [int(cosines.argmax()), pytest.approx(cosines.max(), abs=1e-5)]
    assert one["truth"][0][0] == int((truth @ rows[i]).argmax())
  few = features(folder, examples=500, most=2)
  densest = sorted(found["features"], key=lambda f: -f["density"])[:2]
  assert [f["id"] for f in few["features"]] == sorted(f["id"] for f in densest)


def test_a_dictionary_whose_latents_are_all_dead_moves_nothing():
  x = np.ones((4, 3), np.float32)
  found = effects(tapped(np.ones((3, 5)), x, np.zeros(4)), "h", x, np.zeros((0, 3)))
  assert found.shape == (0, 5)


def test_verb_puts_the_latents_on_the_page(run, tmp_path, capsys):
  folder, _ = run
  assert main(["features", str(folder), "--examples=500", "--top=2"]) == 0
  assert "report.html  (" in capsys.readouterr().out
  page = (folder / "report.html").read_text()
  assert 'id="feature-data"' in page and "Latents</h2>" in page
  assert main(["features", str(folder), "--examples=-5"]) == 2
  assert "examples is -5" in capsys.readouterr().err
  assert main(["features"]) == 2 and "needs one folder" in capsys.readouterr().err
  assert main(["features", str(tmp_path)]) == 2 and "holds no run" in capsys.readouterr().err


def test_data_are_where_the_verb_is_told(tmp_path):
  x = np.random.default_rng(0).normal(size=(256, 8)).astype(np.float32)
  part = Part(256, lambda rows: {"x": x[rows], "y": rows % 2})
  origin = {"model": "m", "layer": "l", "data": "d"}
  names = dict(num_classes=2, class_names=("even", "odd"))
  write_store(tmp_path / "data" / "made", dict(train=part, test=part), origin=origin, **names)
  keys = {
    "data.source": "autoencode:activations:made",
    "data.batch_size": 64,
    "bottleneck.dim": 8,
    "bottleneck.latents": 12,
    "bottleneck.k": 2,
    "bottleneck.keep": 2.0,
    "train.duration": "1 epochs",
    "eval.every": "1 epochs",
    "checkpoint.every": "1 epochs",
  }
  overrides = [f"--config.{key}={value}" for key, value in keys.items()]
  config = "--config=configs/sparse/top_k_activations.py:smoke"
  place = f"--data_dir={tmp_path / 'data'}"
  assert main(["train", config, f"--workdir={tmp_path / 'run'}", place, *overrides]) == 0
  assert main(["features", str(tmp_path / "run"), place]) == 0
  found = json.loads((tmp_path / "run" / "features.json").read_text())["features"]
  assert {name for one in found for name, _ in one["classes"]} == {"even", "odd"}


# The page.


def page_of(folder, content):
  fake_run(folder)
  report.write(folder, content)
  return write_page(folder)


def test_page_escapes_what_the_model_says_and_a_damaged_file_is_named(tmp_path):
  page = page_of(tmp_path / "run", described())
  assert HOSTILE not in page.read_text()
  for text, match in (("{", "cannot be read"), ("{}", "no description of latents")):
    (tmp_path / "run" / report.FILE).write_text(text)
    with pytest.raises(WorkdirError, match=match):
      write_page(tmp_path / "run")
  with pytest.raises(ValueError, match="not JSON compliant"):
    report.write(tmp_path, {"a": float("nan")})


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
  if executable() is None:
    pytest.skip("no chromium on the path")
  page = page_of(tmp_path_factory.mktemp("page") / "run", described())
  with Browser() as browser:
    browser.open(page)
    yield browser


def listed(browser):
  return browser.run("[...document.querySelectorAll('#latent-rows li')].map((r) => r.dataset.id)")


def detail(browser):
  return browser.run("document.getElementById('latent').innerText")


def test_page_lists_latents_by_density_and_shows_the_first(opened):
  assert listed(opened) == ["5", "7", "0"]
  assert detail(opened).startswith("Latent 5") and "active in 50% of rows" in detail(opened)
  assert opened.run("document.querySelectorAll('#latent-histogram rect').length") == 2
  assert opened.run("document.querySelectorAll('#latent img').length") == 0
  opened.choose("#latent-order", "max")
  assert listed(opened) == ["0", "5", "7"]
  opened.choose("#latent-order", "density")


@pytest.mark.parametrize(
  ("query", "wanted"),
  [
    ("zebra", ["0"]),
    ("ZEB", ["0"]),
    ("Q", ["0"]),
    ("7", ["7"]),
    ("nothing", []),
    ("", ["5", "7", "0"]),
  ],
)
def test_search_is_by_number_context_and_effect(opened, query, wanted):
  opened.type("#latent-query", query)
  assert listed(opened) == wanted
  assert opened.run("document.getElementById('latent-count').textContent") == f"{len(wanted)} of 3"


def test_neighbours_lead_on_and_keys_go_through_the_list(opened):
  opened.type("#latent-query", "zebra")
  text = detail(opened)
  assert text.startswith("Latent 0") and "\u21b5 3.25" in text and "e -2" in text
  assert opened.run("document.querySelectorAll('.near button').length") == 1  # 11 is not described
  opened.click(".near button")
  assert detail(opened).startswith("Latent 5") and listed(opened) == ["5", "7", "0"]
  opened.click("#latent-rows li", 0)
  opened.run("document.getElementById('latent-rows').focus()")
  opened.key("ArrowDown", 40)
  assert detail(opened).startswith("Latent 7")
  marked = "document.querySelector('#latent-rows [aria-selected=true]').dataset.id"
  assert opened.run(marked) == "7"
  shade = "document.querySelector('.context .on').style.getPropertyValue('--a')"
  assert float(opened.run(shade)) == pytest.approx(0.25 / 3.0)


def test_page_asks_for_nothing_and_complains_of_nothing(opened):
  assert [url for url in opened.requests() if not url.startswith(("file:", "data:"))] == []
  assert opened.complaints() == []
  assert (
    json.loads(opened.run("document.getElementById('feature-data').textContent"))["rows"] == 1000
  )
