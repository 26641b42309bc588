"""Information planes of an experiment: the mean over a cell's runs, kept beside its results.

The planes of single runs stay in their run folders. What an experiment shows of them is the mean
over the seeds of a cell, in `planes/<budget>/<cell>.npz` of its folder: written by `ibjax table`
whenever all runs of the cell are at hand, and drawn from there.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ibjax.core.errors import ConfigError
from ibjax.core.files import write_bytes, write_npz
from ibjax.report import plane as plane_lib
from ibjax.report.plots import DPI
from ibjax.report.results import Planned
from ibjax.report.schema import among, fields, fits, unique


@dataclasses.dataclass(frozen=True)
class Panel:
  """One panel: a plane (`estimator`), or a quantity over the steps (`over_steps`, from `of`)."""

  label: str
  cell: str
  estimator: str = ""
  over_steps: str = ""
  of: str = ""


@dataclasses.dataclass(frozen=True)
class PlaneFigure:
  """Panels beside each other, all planes or all over the steps."""

  name: str
  title: str
  panels: tuple[Panel, ...]
  caption: str = ""


def plane_figures(where: str, given: Any, cells: Sequence[str]) -> tuple[PlaneFigure, ...]:
  """Checks `PLANES` of a table.py.

  Args:
    where: the file and name, for messages.
    given: what stands there.
    cells: ids of all cells.

  Returns:
    The figures.

  Raises:
    ConfigError: a key, a value or a name does not fit.
  """
  found = []
  for number, entry in enumerate(fits(where, given, "sequence")):
    here = f"{where}[{number}]"
    keys = {"name": "text", "title": "text", "panels": "sequence"}
    one = fields(here, entry, keys, {"caption": "words"})
    panels = []
    for k, panel in enumerate(one["panels"]):
      at = f"{here}, panels[{k}]"
      optional = {"estimator": "text", "over_steps": "text", "of": "text"}
      panel = fields(at, panel, {"label": "text", "cell": "text"}, optional)
      among(at, "cell", panel["cell"], cells)
      if ("estimator" in panel) == ("over_steps" in panel):
        raise ConfigError(f"{at}: give either estimator or over_steps.")
      if "over_steps" in panel:
        among(at, "over_steps", panel["over_steps"], [kind[0] for kind in plane_lib.OVER_STEPS])
      panels.append(Panel(**panel))
    if len({panel.over_steps for panel in panels}) != 1:
      raise ConfigError(f"{here}: its panels must all be planes, or all of one over_steps.")
    found.append(PlaneFigure(one["name"], one["title"], tuple(panels), one.get("caption", "")))
  unique(where, "planes", [one.name for one in found])
  return tuple(found)


def path_of(folder: pathlib.Path, budget: str, cell: str) -> pathlib.Path:
  """Where the mean plane of a cell is kept.

  Args:
    folder: the experiment's folder.
    budget: the budget's name.
    cell: the cell's id.

  Returns:
    The .npz file.
  """
  return folder / "planes" / budget / f"{cell.replace('/', '--')}.npz"


def collect(
  folder: pathlib.Path, budget: str, figures: Sequence[PlaneFigure], runs: Sequence[Planned]
) -> None:
  """Writes the mean planes of the cells whose runs are all at hand; the others stay as they are.

  Args:
    folder: the experiment's folder.
    budget: the budget's name.
    figures: what will be drawn.
    runs: the runs of that budget.

  Raises:
    WorkdirError: the runs of a cell have planes of other steps or quantities.
  """
  for cell in dict.fromkeys(panel.cell for figure in figures for panel in figure.panels):
    own = [run for run in runs if run.cell == cell]
    if not own or not all((run.folder / "result.json").is_file() for run in own):
      continue
    there = [run for run in own if (run.folder / plane_lib.FILE).is_file()]
    arrays = plane_lib.mean_arrays([run.folder for run in there])
    if arrays:
      path = path_of(folder, budget, cell)
      path.parent.mkdir(parents=True, exist_ok=True)
      write_npz(path, {**arrays, "runs": _identities(own)})


def _identities(runs: Sequence[Planned]) -> np.ndarray:
  return np.array(sorted(f"{run.config_hash} {run.code}" for run in runs))


def write(
  folder: pathlib.Path, budget: str, figures: Sequence[PlaneFigure], runs: Sequence[Planned]
) -> dict[str, tuple[pathlib.Path, str]]:
  """Draws every figure all of whose planes are there, as .png into the budget's folder.

  Args:
    folder: the experiment's folder.
    budget: the budget's name.
    figures: what is drawn.
    runs: the runs of that budget.

  Returns:
    Name -> (the file, its caption).

  Raises:
    ConfigError: a plane lacks what a panel asks for.
  """
  written = {}
  for asked in figures:
    paths = [path_of(folder, budget, panel.cell) for panel in asked.panels]
    if not all(path.is_file() for path in paths):
      continue
    panels, stale, counts = [], 0, set()
    for panel, path in zip(asked.panels, paths):
      with np.load(path, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
      own = _identities([run for run in runs if run.cell == panel.cell])
      stale += not np.array_equal(own, arrays["runs"])
      counts.add(int(arrays["n"]))
      planes = plane_lib.planes_of(arrays, int(arrays["n"]))
      _check(asked, panel, planes)
      panels.append((planes, panel.estimator or panel.of, panel.label))
    ending = asked.panels[0].over_steps
    figure = (
      plane_lib.draw_over_steps(panels, ending, asked.title)
      if ending
      else plane_lib.draw_panels(panels, asked.title)
    )
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    path = folder / budget / f"{asked.name}.png"
    write_bytes(path, content.getvalue())
    over = "–".join(str(n) for n in dict.fromkeys((min(counts), max(counts))))
    notes = [asked.caption.strip(), f"Means over {over} runs of each cell."]
    if stale:
      notes.append(
        f"{stale} of {len(panels)} panels are of runs whose config or code changed since."
      )
    written[asked.name] = (path, " ".join(note for note in notes if note))
  return written


def _check(asked: PlaneFigure, panel: Panel, planes: plane_lib.Planes) -> None:
  if panel.estimator and panel.estimator not in planes.estimators():
    there = ", ".join(planes.estimators()) or "none"
    raise ConfigError(
      f"PLANES '{asked.name}', panel '{panel.label}': the plane of '{panel.cell}' has no estimator "
      f"'{panel.estimator}' with I(X;T) and I(T;Y); it has {there}."
    )
