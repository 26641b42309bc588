"""The final row of a run, for a terminal and for the page."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from ibjax.report.runs import Run, is_number

NATS_PER_BIT = math.log(2.0)


@dataclasses.dataclass(frozen=True)
class Cell:
  """One cell of the row.

  Attributes:
    header: name with its unit, for example "rate bits".
    text: the value as shown.
    meaning: one sentence for a reader who meets the name for the first time.
    is_text: True for words, which align left; numbers align right.
  """

  header: str
  text: str
  meaning: str
  is_text: bool = False


def number(value: float) -> str:
  """Writes a number with four significant digits.

  Args:
    value: any number.

  Returns:
    Text without an exponent where that stays readable.

  Example:
    >>> from ibjax.report.row import number
    >>> number(21.3), number(0.0479), number(123456.0)
    ('21.30', '0.04790', '123456')
  """
  if math.isfinite(value) and 1e3 <= abs(value) < 1e9:
    return f"{value:.0f}"
  return f"{value:#.4g}".rstrip(".")


def percent(fraction: float) -> str:
  """Writes a fraction as percent, without the sign: 0.0128 is "1.28".

  Args:
    fraction: 1.0 is all.

  Returns:
    Text with two decimals.
  """
  return f"{100.0 * fraction:.2f}"


def bits(nats: float) -> str:
  """Writes nats as bits.

  Args:
    nats: a quantity in nats.

  Returns:
    Text as `number` writes it.
  """
  return number(nats / NATS_PER_BIT)


# Header, key in the final row, how to write it, what it means.
MEASURED: tuple[tuple[str, str, Callable[[float], str], str], ...] = (
  (
    "test err %",
    "test/err_frac",
    percent,
    "Test examples classified wrongly.",
  ),
  (
    "1-sample err %",
    "test/err_1sample_frac",
    percent,
    "The same, from one random code per example instead of the average prediction.",
  ),
  (
    "test RMSE",
    "test/mse",
    lambda mse: number(math.sqrt(mse)),
    "Root of the mean squared error of the average prediction, per target dimension.",
  ),
  (
    "rate nats",
    "test/rate_nats",
    number,
    "Information the code pays for: the mean KL from encoder to marginal, an upper bound on "
    "I(X;Z).",
  ),
  ("rate bits", "test/rate_nats", bits, "The rate in bits."),
  (
    "residual nats",
    "test/residual_nats",
    number,
    "Information in the code that the label does not explain, an upper bound on I(X;Z|Y).",
  ),
  (
    "distortion nats",
    "test/distortion_nats",
    number,
    "Mean negative log-likelihood of the label or target given one code.",
  ),
  (
    "I(Y;Z) lower nats",
    "test/i_yz_lower_nats",
    number,
    "Information about the label or target that the code provably carries: H(Y) minus the "
    "distortion.",
  ),
  (
    "NLL nats",
    "test/nll_nats",
    number,
    "Negative log-likelihood of the average prediction on the test split.",
  ),
  (
    "ECE %",
    "test/ece_frac",
    percent,
    "Expected calibration error: the mean distance between confidence and accuracy, in 15 bins.",
  ),
  (
    "Brier",
    "test/brier",
    number,
    "Mean squared distance between predicted probabilities and label, from 0 to 2.",
  ),
  (
    "MAE nats",
    "mae_nats",
    number,
    "Mean over the tasks of the distance between estimate and exact value.",
  ),
  ("bias nats", "bias_nats", number, "Mean over the tasks of estimate less exact value."),
  (
    "covered %",
    "covered_frac",
    percent,
    "Tasks whose exact value lies in the estimate's interval.",
  ),
  ("tasks", "tasks", lambda value: f"{value:.0f}", "Tasks measured."),
  ("failed", "failed", lambda value: f"{value:.0f}", "Tasks without an estimate."),
  ("estimate s", "estimate_s", number, "Mean wall-clock time of an estimate."),
  ("steps", "step", lambda value: f"{value:.0f}", "Training steps taken."),
  ("time s", "train_s", lambda value: f"{value:.1f}", "Wall-clock time of training."),
)


def method_name(run: Run) -> str:
  """The method: the result's own word, else the tail of what the config names.

  Args:
    run: a run, finished or not.

  Returns:
    A word, e.g. "vib"; "run" when neither says.
  """
  for kind in ("objective", "estimator"):
    section = run.config.get(kind)
    named = section.get("fn", "") if isinstance(section, dict) else section or ""
    if found := run.result.get(kind) or str(named).rpartition(":")[2]:
      return str(found)
  return "run"


def data_name(run: Run) -> str:
  """The data set's name, or an empty text when the manifest does not say.

  Args:
    run: a run, finished or not.

  Returns:
    The name as the config gives it.
  """
  data = run.manifest.get("data")
  return str(data.get("name", "")) if isinstance(data, dict) else str(data or "")


def row_cells(run: Run) -> list[Cell]:
  """The cells of the final row; what the run did not record has no cell.

  Args:
    run: a run, finished or not; an unfinished one gives the last values measured.

  Returns:
    Cells in the order of the table.
  """
  values = run.values
  objective = run.config.get("objective")
  beta = objective.get("beta") if isinstance(objective, dict) else None
  seed = values.get("seed", run.config.get("seed"))
  cells = [
    Cell("method", method_name(run), "What was minimised, or what estimated.", is_text=True),
    Cell("data", data_name(run), "The data set.", is_text=True),
    Cell("beta", _short(values.get("beta", beta)), "Weight of the rate in the objective."),
    Cell("seed", _short(seed), "Seed of every random choice."),
  ]
  attacks = [
    (
      f"FGSM {name[1]} err %",
      name[0],
      percent,
      f"Test examples classified wrongly after one signed gradient step of {name[1]} of the range "
      "of a pixel.",
    )
    for key in values
    if (name := re.fullmatch(r"test/fgsm_(.+)_err_frac", key))
  ]
  for header, key, write, meaning in (*MEASURED[:-2], *attacks, *MEASURED[-2:]):
    if is_number(values.get(key)):
      cells.append(Cell(header, write(float(values[key])), meaning))
  return [cell for cell in cells if cell.text]


def format_row(run: Run) -> str:
  """The final row for a terminal: a header, the row, and a note if the run is unfinished.

  Args:
    run: a run, finished or not.

  Returns:
    Two or three lines without a trailing newline.

  Example:
    >>> import pathlib
    >>> from ibjax.report.row import format_row
    >>> from ibjax.report.runs import Run
    >>> result = {"objective": "vib", "step": 3000, "test/err_frac": 0.0128}
    >>> print(format_row(Run(pathlib.Path("."), {"data": {"name": "mnist"}}, result, ())))
    method  data   test err %  steps
    vib     mnist        1.28   3000
  """
  header, row = [], []
  for cell in row_cells(run):
    width = max(len(cell.header), len(cell.text))
    header.append(cell.header.ljust(width) if cell.is_text else cell.header.rjust(width))
    row.append(cell.text.ljust(width) if cell.is_text else cell.text.rjust(width))
  text = "  ".join(header).rstrip() + "\n" + "  ".join(row).rstrip()
  if not run.finished:
    text += f"\nunfinished: the last values recorded, at step {run.step}"
  return text


def _short(value: Any) -> str:
  if value is None:
    return ""
  return f"{value:g}" if is_number(value) else str(value)
