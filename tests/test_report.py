"""Reports: rows, pictures and the page, held to synthetic run folders."""

from __future__ import annotations

import html
import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ibjax.core import files
from ibjax.core.errors import WorkdirError
from ibjax.report import page, plots, row, runs
from ibjax.report.reconstructions import draw_reconstructions

RESULT = {
  "step": 300,
  "seed": 3,
  "objective": "vib",
  "train_s": 70.1,
  "steps_per_s": 45.25,
  "test/err_frac": 0.0128,
  "test/err_1sample_frac": 0.0151,
  "test/rate_nats": 21.375,
  "test/distortion_nats": 0.0553,
  "test/i_yz_lower_nats": 2.2451,
  "test/nll_nats": 0.047931,
}
RATES = ("rate_nats", "distortion_nats", "i_yz_lower_nats", "err_1sample_frac")


def make_run(
  path: pathlib.Path,
  *,
  steps=(100, 200, 300),
  rate=True,
  finished=True,
  mistakes=5,
  dim=16,
  n=200,
  command="ibjax train --config=configs/variational/vib_mnist.py",
) -> pathlib.Path:
  """Writes a run folder like the trainer's, small."""
  path.mkdir(parents=True)
  rng = np.random.default_rng(0)
  objective = {"fn": "ibjax.objectives.variational.vib:vib", "beta": 0.001}
  if not rate:
    objective = {"fn": "ibjax.objectives.supervised.deterministic:deterministic"}
  manifest = {
    "config": {"seed": 3, "objective": objective, "model": {"hidden": [32, 32]}},
    "config_hash": "ab12cd",
    "overrides": ["config.objective.beta=0.001"],
    "command": command,
    "commit": "0123abc",
    "versions": {"jax": "0.10.0"},
    "devices": ["cpu:0"],
    "data": {"name": "digits", "fingerprint": "f00d", "n_train": 1000, "n_test": n},
  }
  (path / "manifest.json").write_text(json.dumps(manifest))
  lines = []
  for step in steps:
    values = {"err_frac": 10.0 / step, "rate_nats": 30.0 - 0.01 * step, "nll_nats": 20.0 / step}
    values |= {"distortion_nats": 25.0 / step, "loss_nats": 26.0 / step}
    if not rate:
      values = {name: value for name, value in values.items() if name not in RATES}
    lines += [{"step": step, "split": split, **values} for split in ("train", "test")]
  (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  if finished:
    result = {k: v for k, v in RESULT.items() if rate or k.removeprefix("test/") not in RATES}
    result["objective"] = "vib" if rate else "deterministic"
    (path / "result.json").write_text(json.dumps(result))
  label = rng.integers(0, 10, n).astype(np.int32)
  prediction = label.copy()
  prediction[:mistakes] = (label[:mistakes] + 1) % 10
  confidence = rng.uniform(0.5, 1.0, n).astype(np.float32)
  arrays = {"label": label, "prediction": prediction, "confidence": confidence}
  if dim == 2:
    arrays["latent"] = rng.normal(size=(n, 2)).astype(np.float32)
    arrays["latent_log_scale"] = np.full((n, 2), -1.0, np.float32)
  np.savez(path / "predictions.npz", **arrays)
  np.savez(
    path / "confusions.npz",
    images=rng.integers(0, 256, (mistakes, 8, 8)).astype(np.uint8),
    label=label[:mistakes],
    prediction=prediction[:mistakes],
    confidence=confidence[:mistakes],
    class_names=np.array([str(k) for k in range(10)]),
  )
  return path


def test_reconstructions_are_drawn_of_images_alone(tmp_path):
  def drawn(shape, source="autoencode:digits", width=64):
    folder = make_run(tmp_path / f"{len(list(tmp_path.iterdir()))}")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["data"]["x_shape"] = shape
    manifest["config"]["data"] = {"source": source}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    x = np.linspace(0.0, 1.0, 30 * width).reshape(30, width)
    np.savez(folder / "predictions.npz", target=x, prediction=x)
    return draw_reconstructions(runs.read_run(folder))

  figure = drawn([8, 8, 1])
  shown = [ax.images[0].get_array() for ax in figure.axes if ax.images]
  assert len(shown) == 48 and shown[0].shape == (8, 8)  # 24 pairs, as they are stored: upright
  np.testing.assert_allclose(1.0 - shown[1], np.linspace(0.0, 1.0, 30 * 64)[64:128].reshape(8, 8))
  assert drawn([4, 5, 3], width=60).axes[0].images[0].get_array().shape == (4, 5, 3)
  # Activations of 64 numbers are no picture of 8 by 8; labels are not reconstructed.
  assert drawn([64]) is None and drawn([8, 8, 1], source="digits") is None


def check_picture(file: pathlib.Path, width: float, height: float) -> None:
  """Decodes the picture and checks its size in inches and that there is something on it."""
  with Image.open(io.BytesIO(file.read_bytes())) as image:
    image.load()
    assert image.size == (round(width * plots.DPI), round(height * plots.DPI))
    pixels = np.asarray(image.convert("L"), np.float64)
  assert pixels.std() > 5.0, "nearly blank"
  assert (pixels == 255.0).mean() > 0.4, "no paper left"


def test_row_shows_result_in_its_units(tmp_path):
  header, values, *rest = row.format_row(runs.read_run(make_run(tmp_path / "a"))).split("\n")
  cells = dict(zip(re.split(r"\s{2,}", header), values.split(), strict=True))
  assert not rest
  assert cells["method"] == "vib" and cells["data"] == "digits"
  assert cells["beta"] == "0.001" and cells["seed"] == "3"
  assert cells["test err %"] == "1.28" and cells["1-sample err %"] == "1.51"
  assert float(cells["rate nats"]) == pytest.approx(21.375, rel=1e-3)
  assert float(cells["rate bits"]) == pytest.approx(21.375 / np.log(2.0), rel=1e-3)
  assert cells["steps"] == "300" and cells["time s"] == "70.1"


def test_row_columns_are_aligned(tmp_path):
  header, values = row.format_row(runs.read_run(make_run(tmp_path / "a"))).split("\n")
  above = [match.span() for match in re.finditer(r"\S+(?: \S+)*", header)]
  below = [match.span() for match in re.finditer(r"\S+", values)]
  for k, (name, value) in enumerate(zip(above, below, strict=True)):
    # Words share where they begin, numbers where they end.
    assert name[0] == value[0] if k < 2 else name[1] == value[1], header[slice(*name)]


def test_row_of_a_baseline_has_no_rate(tmp_path):
  text = row.format_row(runs.read_run(make_run(tmp_path / "a", rate=False)))
  assert "rate" not in text and "beta" not in text and "I(Y;Z)" not in text
  assert "deterministic" in text and "1.28" in text and "NLL nats" in text


def test_row_of_an_unfinished_run_says_so(tmp_path):
  text = row.format_row(runs.read_run(make_run(tmp_path / "a", finished=False)))
  assert text.split("\n")[-1].startswith("unfinished") and "300" in text.split("\n")[-1]
  assert "3.33" in text.split("\n")[1]


def test_curve_rises_and_keeps_the_last_writing_of_a_step():
  lines = tuple(
    {"step": step, "split": "train", "loss_nats": value}
    for step, value in ((1, 4.0), (3, 9.0), (2, 3.0), (2, 2.5), (3, float("nan")))
  )
  steps, values = runs.Run(pathlib.Path("."), {}, {}, lines).curve("train", "loss_nats")
  np.testing.assert_array_equal(steps, [1, 2, 3])
  np.testing.assert_array_equal(values, [4.0, 2.5, np.nan])


@pytest.mark.parametrize("torn", ['{"step": 400, "split": "tr', '{"step": 400}', "\xff{"])
def test_torn_last_line_is_ignored(tmp_path, torn, recwarn):
  folder = make_run(tmp_path / "a")
  whole = runs.read_run(folder).lines
  with open(folder / "metrics.jsonl", "ab") as file:
    file.write(torn.encode("latin-1"))
  assert runs.read_run(folder).lines == whole and len(whole) == 6
  assert not recwarn.list


def test_damaged_line_in_the_middle_warns(tmp_path):
  folder = make_run(tmp_path / "a")
  text = (folder / "metrics.jsonl").read_text()
  (folder / "metrics.jsonl").write_text('{"step": 1, "spl\n' + text)
  with pytest.warns(UserWarning, match="line 1"):
    assert len(runs.read_run(folder).lines) == 6


def test_folders_that_are_no_run_are_refused_with_a_reason(tmp_path):
  with pytest.raises(WorkdirError, match="does not exist"):
    runs.read_run(tmp_path / "missing")
  make_run(tmp_path / "sweep" / "seed_0")
  with pytest.raises(WorkdirError, match=r"no manifest\.json.*Did you mean.*seed_0"):
    runs.read_run(tmp_path / "sweep")
  (tmp_path / "file").write_text("x")
  with pytest.raises(WorkdirError, match="is a file"):
    page.write_page(tmp_path / "file")
  (tmp_path / "sweep" / "seed_0" / "manifest.json").write_text("{")
  with pytest.raises(WorkdirError, match="damaged"):
    runs.read_run(tmp_path / "sweep" / "seed_0")


def test_pictures_of_a_full_run(tmp_path):
  folder = make_run(tmp_path / "a", dim=2)
  pictures = plots.make_pictures(folder)
  assert list(pictures) == ["rate_distortion", "latents", "confusions"]
  check_picture(pictures["rate_distortion"], 6.4, 6.0)
  check_picture(pictures["latents"], 5.6, 5.6)
  check_picture(pictures["confusions"], 10.8, 4.9)
  assert not list(folder.glob(".*")), "a partial file was left behind"


def test_pictures_are_the_same_bytes_again(tmp_path):
  folder = make_run(tmp_path / "a", dim=2)
  first = {name: file.read_bytes() for name, file in plots.make_pictures(folder).items()}
  again = {name: file.read_bytes() for name, file in plots.make_pictures(folder).items()}
  assert first == again


def test_baseline_has_one_panel_less(tmp_path):
  pictures = plots.make_pictures(make_run(tmp_path / "a", rate=False))
  assert list(pictures) == ["rate_distortion", "confusions"]
  check_picture(pictures["rate_distortion"], 6.4, 4.25)


def test_one_line_no_mistakes_still_draws(tmp_path):
  pictures = plots.make_pictures(make_run(tmp_path / "a", steps=(100,), mistakes=0, dim=2))
  assert len(pictures) == 3
  check_picture(pictures["rate_distortion"], 6.4, 6.0)
  check_picture(pictures["confusions"], 4.8, 4.9)


def test_confusion_matrix_counts_every_example(tmp_path):
  folder = make_run(tmp_path / "a", mistakes=7, n=150)
  figure = plots.draw_confusions(runs.read_run(folder))
  matrix = figure.subfigs[-1].axes[0]
  assert sum(int(text.get_text()) for text in matrix.texts) == 150
  wrong = [int(t.get_text()) for t in matrix.texts if t.get_position()[0] != t.get_position()[1]]
  assert sum(wrong) == 7


def test_arrays_that_are_missing_or_damaged_leave_pictures_out(tmp_path):
  folder = make_run(tmp_path / "a", dim=2)
  (folder / "confusions.npz").unlink()
  (folder / "predictions.npz").write_bytes(b"PK\x03\x04 torn")
  with pytest.warns(UserWarning, match=r"predictions\.npz"):
    assert list(plots.make_pictures(folder)) == ["rate_distortion"]


def test_pickled_arrays_are_not_opened(tmp_path):
  folder = make_run(tmp_path / "a")
  np.savez(folder / "predictions.npz", label=np.array([{"code": "runs"}], dtype=object))
  with pytest.warns(UserWarning, match=r"predictions\.npz"):
    assert runs.read_arrays(runs.read_run(folder), "predictions.npz") == {}


@pytest.mark.parametrize("shape", [(4, 64), (4, 8, 8, 1), (4, 8, 8, 3)])
def test_images_of_every_layout(tmp_path, shape):
  folder = make_run(tmp_path / "a", mistakes=4)
  with np.load(folder / "confusions.npz") as arrays:
    arrays = dict(arrays)
  arrays["images"] = np.random.default_rng(1).normal(size=shape).astype(np.float32)
  np.savez(folder / "confusions.npz", **arrays)
  grid = plots.draw_confusions(runs.read_run(folder)).subfigs[0]
  assert sum(len(ax.images) for ax in grid.axes) == 4


def test_page_stands_alone_and_shows_the_result(tmp_path):
  file = page.write_page(make_run(tmp_path / "a", dim=2))
  text = file.read_text(encoding="utf-8")
  assert file.name == "report.html"
  sources = re.findall(r"""(?:src|href|action|data)\s*=\s*["']([^"']*)""", text)
  assert len(sources) == 3 and all(source.startswith("data:image/png") for source in sources)
  assert not re.search(r"url\(|@import|<link|<iframe", text)
  for value in RESULT.values():
    assert f"<dd>{value}</dd>" in text
  for shown in ("1.28", "30.84", "ab12cd", "0123abc", "f00d", "cpu:0", "0.10.0"):
    assert shown in text
  assert html.escape("ibjax train --config=configs/variational/vib_mnist.py") in text


def test_page_escapes_what_the_files_say(tmp_path):
  evil = "</code><script>alert('x')</script><img src=\"https://example.org/x.png\">"
  folder = make_run(tmp_path / "a", command=evil)
  manifest = json.loads((folder / "manifest.json").read_text())
  manifest["config"][evil] = evil
  manifest["config"]["objective"]["fn"] = manifest["data"]["name"] = evil
  manifest["overrides"] = manifest["devices"] = [evil]
  manifest["versions"] = {evil: evil}
  manifest[evil] = evil
  (folder / "manifest.json").write_text(json.dumps(manifest))
  line = {"step": 400, "split": "test", evil: 1.0}
  with open(folder / "metrics.jsonl", "a") as out:
    out.write(json.dumps(line))
  (folder / "result.json").write_text(json.dumps({evil: evil, "objective": evil + "$x_$"}))
  text = page.write_page(folder).read_text(encoding="utf-8")
  assert text.count("<script>") == 1 and evil not in text
  assert "<img src=" not in text and text.count(html.escape(evil)) >= 10


def test_page_of_a_run_that_has_only_begun(tmp_path):
  folder = tmp_path / "a"
  folder.mkdir()
  (folder / "manifest.json").write_text('{"config": {"objective": {"fn": "a.b:vib"}}}')
  text = page.write_page(folder).read_text(encoding="utf-8")
  assert "unfinished" in text and "<h1>vib" in text
  make_run(tmp_path / "b", finished=False)
  assert "at step 300" in page.write_page(tmp_path / "b").read_text(encoding="utf-8")


def test_long_or_unusual_class_names_are_text_not_formulas(tmp_path):
  folder = make_run(tmp_path / "a", dim=2)
  with np.load(folder / "confusions.npz") as arrays:
    arrays = dict(arrays)
  arrays["class_names"] = np.array([f"$\\bad_{k}{{$ T-shirt/top" for k in range(10)])
  np.savez(folder / "confusions.npz", **arrays)
  assert len(plots.make_pictures(folder)) == 3


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / "out.png").mkdir()
  with pytest.raises(WorkdirError, match=r"out\.png"):
    files.write_bytes(tmp_path / "out.png", b"x")
  assert [file.name for file in tmp_path.iterdir()] == ["out.png"]


def test_report_imports_neither_jax_nor_pyplot(tmp_path):
  code = (
    "import sys, ibjax.report.page as page; page.write_page(sys.argv[1]);"
    "print({'jax', 'matplotlib.pyplot'} & sys.modules.keys())"
  )
  command = [sys.executable, "-c", code, str(make_run(tmp_path / "a", dim=2))]
  done = subprocess.run(command, check=True, capture_output=True, text=True)
  assert done.stdout.strip() == "set()"
