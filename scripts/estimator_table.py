"""Rewrites the table of docs/estimators.md: one line for every estimator there is.

Usage: python scripts/estimator_table.py
"""

import inspect
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ibjax.estimators.base import catalogue  # noqa: E402

PAGE = ROOT / "docs" / "estimators.md"
START, END = "<!-- estimators -->", "<!-- end of estimators -->"
HEAD = ("name", "takes", "gives", "bound", "interval", "what it does")


def table() -> str:
  """The table in Markdown, families after one another."""
  lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
  for name, factory in catalogue.factories().items():
    made = factory()
    kinds = ((letter, getattr(made, letter)) for letter in "xyz")
    takes = "; ".join(_kind(letter, kind) for letter, kind in kinds if kind != "none")
    does = (inspect.getdoc(factory) or "").partition("\n")[0].replace("|", "\\|")
    gives = made.quantity.replace("_", " ")
    bound = "" if made.bound == "neither" else made.bound
    interval = "" if made.interval == "none" else made.interval
    lines.append(f"| `{name}` | {takes} | {gives} | {bound} | {interval} | {does} |")
  return "\n".join(lines)


def page(text: str) -> str:
  """The page with today's table between its marks."""
  before, _, rest = text.partition(START)
  _, _, after = rest.partition(END)
  return f"{before}{START}\n{table()}\n{END}{after}"


def _kind(letter: str, kind: str) -> str:
  may_lack = " or nothing" if kind.endswith("?") else ""
  return f"{letter} {kind.removesuffix('?')}{may_lack}"


if __name__ == "__main__":
  PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
