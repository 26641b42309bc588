"""One self-contained HTML page about a run, which a browser opens from disk, offline."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ibjax.core.files import write_text
from ibjax.report import codes, features
from ibjax.report.page_style import SCRIPT, STYLE
from ibjax.report.plots import make_pictures
from ibjax.report.row import Cell, bits, data_name, method_name, number, percent, row_cells
from ibjax.report.runs import Run, is_number, read_run

PICTURES = {
  "rate_distortion": (
    "Training",
    "Dots: the test split. A thin line is single batches, the bold one over it their running "
    "mean. Where H(Y) is marked: what a code would pay that kept the label and nothing else.",
  ),
  "plane": (
    "Information plane",
    "Each number is a layer, in the order of the computation; colour is the training step. The "
    "dashed line is the most that any code of that I(X;T) can know of the label. Below: what else "
    "was tracked, layer by layer.",
  ),
  "latents": ("The code", "Where the encoder puts each test example, coloured by its true class."),
  "reconstructions": (
    "Reconstructions",
    "Test images, and below each what the decoder makes of its code.",
  ),
  "confusions": (
    "Mistakes",
    "The mistakes of which the model was most sure, and a count of every test example: colour "
    "for the mistakes, grey for what is right.",
  ),
}
SPLITS = ("train", "validation", "test")
SPARK_WIDTH, SPARK_HEIGHT, SPARK_POINTS = 240, 56, 240


def write_page(workdir: str | os.PathLike) -> pathlib.Path:
  """Writes `report.html` into a run folder, and the pictures that it shows.

  Args:
    workdir: a run folder, finished or not.

  Returns:
    The page. It needs no other file and no network.

  Raises:
    WorkdirError: not a run folder, or it cannot be written to.
  """
  run = read_run(workdir)
  pictures = make_pictures(workdir)
  page = run.path / "report.html"
  write_text(page, render(run, pictures))
  return page


def render(run: Run, pictures: Mapping[str, pathlib.Path]) -> str:
  """Builds the page.

  Args:
    run: the run.
    pictures: PNG files by name, as `make_pictures` returns them.

  Returns:
    The HTML. Whatever comes from the run's files is escaped.
  """
  described = features.read(run.path)
  data = data_name(run)
  title = method_name(run) + (f" on {data}" if data else "")
  sections = (
    _header(run, title),
    _cards(run),
    _section("Result", _row_table(row_cells(run)) + _all_values(run)),
    _command(run),
    _pictures(pictures),
    features.section(described) if described else "",
    codes.section(run.path),
    _sparks(run),
    _config(run),
    _provenance(run),
  )
  body = "\n".join(section for section in sections if section)
  if not described:
    return document(title, body)
  return document(title, body, STYLE + features.style(), SCRIPT + features.script())


def document(title: str, body: str, style: str = STYLE, script: str = SCRIPT) -> str:
  """Builds a page of its own from what stands on it.

  Args:
    title: the page's title, as text.
    body: the HTML of its main part, everything in it escaped.
    style: its style sheet.
    script: its one script.

  Returns:
    The HTML.
  """
  script_hash = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  # The policy makes the promise binding: nothing is fetched, and no script runs but ours.
  policy = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    f"script-src 'sha256-{script_hash}'"
  )
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="color-scheme" content="light dark">\n'
    f"<title>{_e(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n"
    + body
    + f"\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
  )


def _e(value: Any) -> str:
  return html.escape(str(value), quote=True)


def _show(value: Any) -> str:
  """A value from a JSON file: text as it is, anything else as JSON."""
  return _e(value if isinstance(value, str) else json.dumps(value))


def _section(title: str, body: str) -> str:
  return f"<section>\n<h2>{_e(title)}</h2>\n{body}\n</section>" if body else ""


def _header(run: Run, title: str) -> str:
  if run.finished:
    state = '<span class="chip done">finished</span>'
  else:
    state = '<span class="chip open">unfinished</span>'
  facts = [
    _e(run.manifest[key])
    for key in ("config_file", "config_hash", "started")
    if key in run.manifest
  ]
  note = (
    ""
    if run.finished
    else f'<p class="note">This run has not finished. The numbers are the last ones recorded, at '
    f"step {run.step:,}.</p>"
  )
  return (
    f"<header>\n<h1>{_e(title)} {state}</h1>\n"
    f'<p class="facts">{" · ".join(facts)}</p>\n{note}</header>'
  )


def _cards(run: Run) -> str:
  values = {key: float(value) for key, value in run.values.items() if is_number(value)}
  cards = []
  if (wrong := values.get("test/err_frac")) is not None:
    data = run.manifest.get("data")
    n = data.get("n_test") if isinstance(data, Mapping) else None
    count = ""
    tokens = "sites" in run.manifest.get("config", {})  # each of a window counts
    if isinstance(n, int) and math.isfinite(wrong) and not tokens:
      count = f"{round(wrong * n):,} of {n:,} wrong"
    cards.append(("Test error", percent(wrong), "%", count))
  if (mse := values.get("test/mse")) is not None and mse >= 0:
    cards.append(("Test RMSE", number(math.sqrt(mse)), "", "of the average prediction"))
  if (rate := values.get("test/rate_nats")) is not None:
    cards.append(("Rate", bits(rate), "bits", f"{number(rate)} nats per example"))
  if (kept := values.get("test/i_yz_lower_nats")) is not None:
    cards.append(("I(Y;Z) at least", bits(kept), "bits", f"{number(kept)} nats of the label"))
  if (nll := values.get("test/nll_nats")) is not None:
    cards.append(("Test NLL", number(nll), "nats", "average prediction"))
  if (seconds := values.get("train_s")) is not None:
    speed = values.get("steps_per_s")
    cards.append(("Training", *_duration(seconds), f"{number(speed)} steps per s" if speed else ""))
  body = "".join(
    f'<div class="card"><div class="name">{_e(name)}</div>'
    f'<div class="big">{_e(big)}<small> {_e(unit)}</small></div>'
    f'<div class="small">{_e(small)}</div></div>\n'
    for name, big, unit, small in cards
  )
  return f'<div class="cards">\n{body}</div>' if cards else ""


def _duration(seconds: float) -> tuple[str, str]:
  if seconds < 120:
    return f"{seconds:.1f}", "s"
  return (f"{seconds / 60:.1f}", "min") if seconds < 7200 else (f"{seconds / 3600:.1f}", "h")


def _row_table(cells: Sequence[Cell]) -> str:
  head, row = "", ""
  for cell in cells:
    side = "word" if cell.is_text else "num"
    head += f'<th class="{side}" title="{_e(cell.meaning)}">{_e(cell.header)}</th>'
    row += f'<td class="{side}">{_e(cell.text)}</td>'
  meanings = "".join(f"<dt>{_e(cell.header)}</dt><dd>{_e(cell.meaning)}</dd>" for cell in cells)
  return (
    f'<div class="wide"><table class="row"><thead><tr>{head}</tr></thead>'
    f"<tbody><tr>{row}</tr></tbody></table></div>\n"
    f"<details><summary>What the columns mean</summary><dl>{meanings}</dl></details>"
  )


def _all_values(run: Run) -> str:
  items = "".join(
    f"<dt>{_e(key)}</dt><dd>{_show(value)}</dd>" for key, value in sorted(run.values.items())
  )
  return f"\n<details><summary>Every number, unrounded</summary><dl>{items}</dl></details>"


def _command(run: Run) -> str:
  command = run.manifest.get("command")
  if not command:
    return ""
  return _section(
    "Make it again",
    f'<div class="command"><pre><code id="command">{_e(command)}</code></pre>'
    '<button type="button" id="copy">Copy</button></div>',
  )


def _pictures(pictures: Mapping[str, pathlib.Path]) -> str:
  figures = []
  for name, (title, caption) in PICTURES.items():
    if name in pictures:
      content = base64.b64encode(pictures[name].read_bytes()).decode()
      figures.append(
        f'<figure class="{name}"><h2>{_e(title)}</h2>'
        f'<img alt="{_e(title)}: {_e(caption)}" src="data:image/png;base64,{content}">'
        f"<figcaption>{_e(caption)}</figcaption></figure>"
      )
  return f'<div class="figures">\n{"".join(figures)}\n</div>' if figures else ""


def _sparks(run: Run) -> str:
  """A small curve for every metric, its splits over each other."""
  names = dict.fromkeys(name for split in SPLITS for name in run.names(split))
  sparks = "".join(_spark(run, name) for name in sorted(names))
  body = f'<div class="sparks">\n{sparks}</div>' if sparks else ""
  return _section("Every metric over training", body)


def _spark(run: Run, name: str) -> str:
  curves = {}
  for split in SPLITS:
    steps, values = run.curve(split, name)
    finite = np.isfinite(values)
    if finite.any():
      curves[split] = steps[finite], values[finite]
  if not curves:
    return ""
  low = min(values.min() for _, values in curves.values())
  high = max(values.max() for _, values in curves.values())
  last = max(int(steps[-1]) for steps, _ in curves.values())
  paths, ends = "", ""
  for split, (steps, values) in curves.items():
    keep = np.unique(np.linspace(0, len(steps) - 1, SPARK_POINTS).astype(int))
    x = steps[keep] / max(last, 1) * (SPARK_WIDTH - 6) + 3
    y = SPARK_HEIGHT - 4 - (values[keep] - low) / ((high - low) or 1) * (SPARK_HEIGHT - 8)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
    paths += f'<polyline class="{split}" points="{points}"/>'
    paths += f'<circle class="{split}" cx="{x[-1]:.1f}" cy="{y[-1]:.1f}" r="2.2"/>'
    ends += f' <span class="{split}">{split} {_e(number(float(values[-1])))}</span>'
  return (
    f'<div class="spark"><div class="name">{_e(name)}</div>'
    f'<svg viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" role="img" aria-label="{_e(name)}">'
    f"<title>{_e(name)}: {_e(number(low))} to {_e(number(high))}, to step {last:,}</title>{paths}"
    f'</svg><div class="ends">{ends}</div></div>\n'
  )


def _config(run: Run) -> str:
  if not run.config:
    return ""
  overrides = run.manifest.get("overrides") or []
  changed = {str(text).partition("=")[0].lstrip("-") for text in overrides}
  note = '<p class="small">Marked: changed on the command line.</p>' if changed else ""
  return _section(
    "Config", note + f'<div class="tree">{_tree(run.config, "config", changed)}</div>'
  )


def _tree(config: Mapping[str, Any], path: str, changed: set[str]) -> str:
  leaves, branches = "", ""
  for key, value in config.items():
    here = f"{path}.{key}"
    if isinstance(value, Mapping) and value:
      branches += (
        f"<details open><summary>{_e(key)}</summary>{_tree(value, here, changed)}</details>"
      )
    else:
      mark = ' class="changed"' if here in changed else ""
      leaves += f"<dt{mark}>{_e(key)}</dt><dd{mark}>{_show(value)}</dd>"
  return (f"<dl>{leaves}</dl>" if leaves else "") + branches


def _provenance(run: Run) -> str:
  elsewhere = ("config", "command")
  items = ""
  for key, value in run.manifest.items():
    if key in elsewhere or value in (None, [], {}, ""):
      continue
    if isinstance(value, Mapping):
      shown = "<br>".join(f"<b>{_e(name)}</b> {_show(entry)}" for name, entry in value.items())
    elif isinstance(value, list):
      shown = "<br>".join(_show(entry) for entry in value)
    else:
      shown = _show(value)
    items += f"<dt>{_e(key.replace('_', ' '))}</dt><dd>{shown}</dd>"
  return _section("Where it comes from", f"<dl>{items}</dl>" if items else "")
