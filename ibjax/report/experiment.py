"""An experiment: which runs a paper's tables and figures are made of, as data, strictly checked.

A folder `experiments/<paper>/` holds `README.md`, and the files below. It holds no training code.

`runs.py` says what is run:

    BUDGETS = {
      "quick": dict(seeds=(0, 1), overrides={"train.duration": "1 epochs"}),
      "full": dict(seeds=(0, 1, 2, 3, 4)),
    }
    CELLS = (
      dict(
        id="vib/beta=1e-3",                          # also the name of its folder of runs
        config="configs/variational/vib_mnist.py",   # or "...py:full"
        overrides={"objective.beta": 1e-3},          # optional; as --config.objective.beta=1e-3
        seeds=(0, 1, 2),                             # optional; instead of the budget's
        budgets=("full",),                           # optional; all when left out
        budget_overrides={"quick": {"eval.samples": 1}},   # optional
      ),
    )

Later ones win: the cell's overrides, the budget's, the cell's own for that budget.

`table.py` says what is shown:

    TABLES = (
      dict(
        name="errors", title="Test error", caption="...",     # the caption is optional
        columns=(
          dict(key="test/err_frac", header="error", unit="%", scale=100, digits=2,
               lower_is_better=True),
        ),
        rows=(
          dict(label="VIB", cell="vib/beta=1e-3", paper="vib"),
          # The runs of several cells pooled, which differ in the data (a draw each) and seed only:
          dict(label="VIB on few examples", cells=("few/vib/draw=*",)),
          # The method at an equal rate, interpolated per seed between its cells:
          dict(label="VIB at 20 nats", curve=("vib/*",), at=20.0),
          # The difference of two such, paired by seed and tested against zero:
          dict(label="VIB - CEB at 20 nats", curve=("vib/*",), minus=("ceb/*",), at=20.0),
          # Of each seed the run with the least value of a validation metric:
          dict(label="VIB, beta by validation", best=("vib/*",), by="validation/nll_nats"),
        ),
      ),
    )
    FIGURES = (
      dict(
        name="errors", title="Error against rate", caption="...",
        x=dict(key="test/rate_nats", label="rate, nats", log=True),   # or config="objective.beta"
        y=(dict(key="test/err_frac", label="test error, %", scale=100),),   # a panel each
        series=(
          dict(label="VIB", cells=("vib/*",)),          # a point per cell
          dict(label="on few examples", points=(        # or per group of cells, pooled as in a row
            ("few/vib/beta=0.1/draw=*",), ("few/vib/beta=1/draw=*",),
          )),
        ),
        exact=dict(label="exact", curve=function),   # optional: x values -> y values, of panel 1
      ),
    )

    PLANES = (   # optional: information planes of runs with `config.plane`, means over seeds
      dict(name="plane", title="...", panels=(
        dict(label="tanh", cell="tanh", estimator="binned"),
      )),
      dict(name="rank", title="...", panels=(   # or a quantity of each layer over the steps
        dict(label="tanh", cell="tanh", over_steps="/relative", of="rank/"),
      )),
    )

    CORRELATIONS = (   # optional: over the runs of a cell, or of several, cells=("vib/*",)
      dict(
        name="generalisation", title="...", key="test/err_frac", label="test error",
        columns=(dict(key="plane/binned/layer_1/i_xt_compression_nats", header="layer 1"),),
        rows=(dict(label="tanh", cell="tanh"),),
      ),
    )

    def derive(row, config):   # optional: further metrics of a run, from its row and config
      return {"gap": row["test/loss_nats"] - exact(config["objective"]["beta"])}

A column's `scale` and `unit` are for showing (unit "%" with scale 100), `paper` is the key in
paper.json where that is not the metric's own. `at` is a rate in the unit of `rate`
("test/rate_nats" when left out). Where several cells stand, they may be patterns.

A pooled row's n is the number of its runs. Data of another draw are another data set, so each draw
is a cell; give the draws different seeds, by which rows with `minus` are paired.

`paper.json` holds what was published, in the unit that the column shows:

    {"title": "...", "authors": "...", "year": 2017, "url": "...",
     "rows": {"vib": {"source": "table 1, row 4",
                      "values": {"test/err_frac": {"value": 1.13, "sd": 0.05, "n": 5}}}}}

"sd" (over runs) and "n" only where the paper gives them. `results.jsonl` holds one line per
finished run; see `ibjax.report.results`.
"""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import importlib.util
import json
import pathlib
import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from ibjax.core.errors import ConfigError, IbjaxError, nearest, unknown
from ibjax.report import shown as shown_lib
from ibjax.report.schema import among, fields, fits, unique
from ibjax.report.shown import Figure, Paper, Table
from ibjax.report.table_correlations import Correlations, correlations
from ibjax.report.table_planes import PlaneFigure, plane_figures

# What would make an experiment train by itself; what a paper needs more than a config becomes a
# method file of the package, where everybody can use it.
TRAINING = ("ibjax.train", "ibjax.programs", "ibjax.verbs", "flax", "optax", "orbax")

_ID = re.compile(r"[\w.=+,-]+(/[\w.=+,-]+)*")


@dataclasses.dataclass(frozen=True)
class Budget:
  """How much is spent: seeds, and overrides of every cell."""

  seeds: tuple[int, ...]
  overrides: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Cell:
  """One setting, run over seeds; the fields are those of `CELLS`."""

  id: str
  config: str
  overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  seeds: tuple[int, ...] | None = None
  budgets: tuple[str, ...] | None = None
  budget_overrides: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A folder of an experiment, read and checked.

  Attributes:
    folder: where it is.
    budgets: name -> budget.
    cells: id -> cell, in the order written.
    tables: the tables.
    figures: the figures.
    planes: the figures of information planes.
    correlations: the tables of correlations.
    derive: `derive(row, config) -> {metric: value}`; {} when table.py has none.
    paper: what was published.
    warnings: what is odd but no error, one sentence each.
  """

  folder: pathlib.Path
  budgets: Mapping[str, Budget]
  cells: Mapping[str, Cell]
  tables: tuple[Table, ...]
  figures: tuple[Figure, ...]
  derive: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, float]]
  paper: Paper
  warnings: tuple[str, ...]
  planes: tuple[PlaneFigure, ...] = ()
  correlations: tuple[Correlations, ...] = ()

  @property
  def name(self) -> str:
    """The folder's name."""
    return self.folder.resolve().name

  def budget(self, name: str) -> Budget:
    """One budget.

    Args:
      name: its name.

    Returns:
      The budget.

    Raises:
      ConfigError: there is none of that name; names the nearest one.
    """
    if name not in self.budgets:
      raise ConfigError(unknown(f"budget of {self.folder}", name, self.budgets))
    return self.budgets[name]

  def seeds(self, cell: str, budget: str) -> tuple[int, ...]:
    """The seeds of a cell under a budget.

    Args:
      cell: its id.
      budget: the budget's name.

    Returns:
      Seeds; () when the cell is not part of that budget.
    """
    found = self.cells[cell]
    if found.budgets is not None and budget not in found.budgets:
      return ()
    return found.seeds if found.seeds is not None else self.budgets[budget].seeds

  def overrides(self, cell: str, budget: str) -> dict[str, Any]:
    """What is changed in a cell's config under a budget, seed aside.

    Args:
      cell: its id.
      budget: the budget's name.

    Returns:
      Dotted key -> value.
    """
    found = self.cells[cell]
    own = found.budget_overrides.get(budget, {})
    return {**found.overrides, **self.budgets[budget].overrides, **own}


def load(folder: pathlib.Path) -> Experiment:
  """Reads and checks an experiment's files.

  Args:
    folder: e.g. experiments/vib.

  Returns:
    The experiment.

  Raises:
    ConfigError: a file is missing or fails, a key is missing or unknown, a value does not fit,
      two names are equal, or a name points at nothing; says in which file and where.
  """
  _check_folder(folder)
  runs, table = folder / "runs.py", folder / "table.py"
  names = _execute(runs, ("BUDGETS", "CELLS"), ())
  budgets = _budgets(f"{runs}: BUDGETS", names["BUDGETS"])
  cells = _cells(f"{runs}: CELLS", names["CELLS"], budgets)
  names = _execute(table, ("TABLES",), ("FIGURES", "PLANES", "CORRELATIONS", "derive"))
  paper = shown_lib.read_paper(folder / "paper.json", _json(folder / "paper.json"))
  tables = shown_lib.tables(f"{table}: TABLES", names["TABLES"], list(cells), paper)
  figures = shown_lib.figures(f"{table}: FIGURES", names.get("FIGURES", ()), list(cells))
  if not tables and not figures:
    raise ConfigError(f"{table}: TABLES and FIGURES are empty; there is nothing to make.")
  planes = plane_figures(f"{table}: PLANES", names.get("PLANES", ()), list(cells))
  related = correlations(f"{table}: CORRELATIONS", names.get("CORRELATIONS", ()), list(cells))
  derive = fits(f"{table}: derive", names.get("derive", lambda row, config: {}), "function")
  warnings = shown_lib.unused(folder / "paper.json", paper, tables)
  return Experiment(
    folder, budgets, cells, tables, figures, derive, paper, tuple(warnings), planes, related
  )


def select(cells: Mapping[str, Any], patterns: str) -> list[str]:
  """Chooses cells by patterns.

  Args:
    cells: by id.
    patterns: "GLOB[,GLOB]"; "" is all.

  Returns:
    Ids in the order of `cells`.

  Raises:
    ConfigError: a pattern fits no cell; names the nearest id.

  Example:
    >>> from ibjax.report.experiment import select
    >>> select({"vib/1": None, "vib/2": None, "ceb/1": None}, "vib/*")
    ['vib/1', 'vib/2']
  """
  wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()] or ["*"]
  for pattern in wanted:
    if not any(fnmatch.fnmatchcase(cell, pattern) for cell in cells):
      raise ConfigError(unknown("cell in --only", pattern, cells))
  return [cell for cell in cells if any(fnmatch.fnmatchcase(cell, p) for p in wanted)]


def _check_folder(folder: pathlib.Path) -> None:
  if not folder.is_dir():
    there = sorted(str(p.parent) for p in folder.parent.glob("*/runs.py"))
    guess = nearest(str(folder), there)
    hint = f" Did you mean '{guess}'?" if guess else ""
    has = f" There are: {', '.join(there)}." if there else ""
    raise ConfigError(f"there is no experiment '{folder}'.{hint}{has}")
  for name in ("README.md", "runs.py", "table.py", "paper.json"):
    if not (folder / name).is_file():
      raise ConfigError(
        f"{folder} is not an experiment: it has no {name}. An experiment holds README.md, runs.py, "
        "table.py and paper.json; ibjax/report/experiment.py says what stands in them."
      )


def _execute(path: pathlib.Path, needed: tuple[str, ...], may: tuple[str, ...]) -> dict[str, Any]:
  """The public names of a Python file of an experiment."""
  spec = importlib.util.spec_from_file_location(f"ibjax_experiment_{path.stem}", path)
  assert spec is not None and spec.loader is not None  # the file exists and ends in .py
  module = importlib.util.module_from_spec(spec)
  try:
    _check_imports(path)
    spec.loader.exec_module(module)
  except IbjaxError:
    raise
  except Exception as error:
    line = getattr(error, "lineno", None) or next(
      (
        f.lineno for f in traceback.extract_tb(error.__traceback__)[::-1] if f.filename == str(path)
      ),
      None,
    )
    raise ConfigError(f"{path}, line {line}: {type(error).__name__}: {error}.") from error
  found = vars(module)
  for name in needed:
    if name not in found:
      guess = nearest(name, [n for n in found if not n.startswith("_")])
      hint = f" Did you mean it by '{guess}'?" if guess else ""
      raise ConfigError(f"{path} has no {name}.{hint}")
  return {name: found[name] for name in (*needed, *may) if name in found}


def _check_imports(path: pathlib.Path) -> None:
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
      names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
      if any(f"{name}.".startswith(f"{training}.") for training in TRAINING):
        raise ConfigError(
          f"{path} imports {name}: an experiment holds no training code. Write what it needs as a "
          "method of ibjax, and name that in a config."
        )


def _json(path: pathlib.Path) -> Any:
  try:
    return json.loads(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ConfigError(f"{path} is not JSON: {error}.") from None


def _overrides(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
  for key, value in given.items():
    if key == "seed":
      raise ConfigError(f"{where}: 'seed' is not overridden; name the seeds by seeds=(...).")
    simple = value if isinstance(value, (tuple, list)) else (value,)
    if not all(isinstance(item, (str, int, float, bool)) for item in simple):
      raise ConfigError(
        f"{where}: {key}={value!r} cannot be written on a command line; expected a text, a number, "
        "True, False or a tuple of them."
      )
  return dict(given)


def _budgets(where: str, given: Any) -> dict[str, Budget]:
  budgets = {}
  for name, entry in fits(where, given, "mapping").items():
    here = f"{where}['{name}']"
    found = fields(here, entry, {"seeds": "seeds"}, {"overrides": "mapping"})
    budgets[name] = Budget(
      tuple(found["seeds"]), _overrides(f"{here}, overrides", found.get("overrides", {}))
    )
    if not re.fullmatch(r"[\w-]+", name):
      raise ConfigError(f"{here}: the name becomes a folder; use letters, digits, - and _ only.")
  if not budgets:
    raise ConfigError(f"{where} is empty; name at least one, e.g. dict(quick=dict(seeds=(0, 1))).")
  return budgets


def _cells(where: str, given: Any, budgets: Mapping[str, Budget]) -> dict[str, Cell]:
  cells = []
  optional = {
    "overrides": "mapping",
    "seeds": "seeds",
    "budgets": "texts",
    "budget_overrides": "mapping",
  }
  for number, entry in enumerate(fits(where, given, "sequence")):
    name = f" ('{entry['id']}')" if isinstance(entry, Mapping) and "id" in entry else ""
    here = f"{where}[{number}]{name}"
    found = fields(here, entry, {"id": "text", "config": "text"}, optional)
    if not _ID.fullmatch(found["id"]) or re.search(r"(^|/)(\.|seed=)", found["id"]):
      raise ConfigError(
        f"{here}: the id becomes a folder; use letters, digits and . _ = + , - / only, and no part "
        "that begins with '.' or 'seed=' (each seed gets a folder of that name in it)."
      )
    own = found.get("budget_overrides", {})
    for budget in (*found.get("budgets", ()), *own):
      among(here, "budget", budget, budgets)
    for key in ("seeds", "budgets"):
      if key in found:
        found[key] = tuple(found[key])
    found["overrides"] = _overrides(f"{here}, overrides", found.get("overrides", {}))
    found["budget_overrides"] = {
      budget: _overrides(f"{here}, budget_overrides['{budget}']", fits(here, values, "mapping"))
      for budget, values in own.items()
    }
    cells.append(Cell(**found))
  if not cells:
    raise ConfigError(f"{where} is empty; an experiment has at least one cell.")
  unique(where, "cells", [cell.id for cell in cells])
  return {cell.id: cell for cell in cells}
