"""Rewrites the gallery of docs/objectives.md: an entry for every objective there is.

Usage: python scripts/objective_gallery.py

All of it is read: from the docstrings, from the files in `configs/`, and from the committed tables
of `experiments/equal_rate`.
"""

from __future__ import annotations

import importlib
import inspect
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ibjax.core.lagrangian import FORMS  # noqa: E402
from ibjax.core.resolver import method_modules  # noqa: E402
from ibjax.core.scope import sees  # noqa: E402

PAGE = ROOT / "docs" / "objectives.md"
START, END = "<!-- gallery -->", "<!-- end of gallery -->"
FIGURE = ROOT / "experiments" / "equal_rate" / "full"


def objectives() -> dict[str, object]:
  """Every objective's module, by name, in order of family and name."""
  found = {}
  for name in method_modules("ibjax.objectives"):
    module = importlib.import_module(name)
    if hasattr(module, "CASES"):
      found[name.rpartition(".")[2]] = module
  return found


def passage(text: str, start: str) -> str:
  """What a docstring says from some words to the end of their paragraph; "" without them."""
  found = re.search(rf"(?:^|(?<=\s)){re.escape(start)}.*?(?=\n\s*\n|\Z)", text, re.DOTALL)
  return " ".join(found[0].split()) if found else ""


def entry(name: str, module: object, figure: dict[str, dict[str, str]]) -> str:
  """One objective's entry."""
  factory = getattr(module, name)
  text = inspect.getdoc(factory) or ""
  given, made = module.LAGRANGIAN, factory()
  form = f"`{given.form}`: {FORMS[given.form]}" if given.form in FORMS else "has no beta"
  if given.form in FORMS and given.penalty not in ("I(X;Z)", "I(X;Z|Y)"):
    form += f", with {given.penalty} in place of the information"
  views = f"; {made.views} views at least" if made.views > 1 else ""
  lines = [
    f"### {name}",
    "",
    text.partition("\n")[0],
    "",
    f"- **Minimises**: {passage(text, 'Formula:').removeprefix('Formula: ')}",
    f"- **Lagrangian**: {form}.",
    f"- **When**: {passage(text, 'Use it')}",
    f"- **Sees**: {sees(made.couples)}{views}.",
    f"- **Configs**: {', '.join(configs(module.__name__)) or 'none of its own'}.",
    f"- **At equal rate**: {place(name, figure)}",
    f"- **Source**: {passage(text, 'Source:').removeprefix('Source: ')}",
  ]
  return "\n".join(lines)


def configs(module: str) -> list[str]:
  """The config files that name an objective, as links."""
  factory = f"{module}:{module.rpartition('.')[2]}"
  return [
    f"[{path.stem}](../{path.relative_to(ROOT)})"
    for path in sorted((ROOT / "configs").rglob("*.py"))
    if factory in path.read_text(encoding="utf-8")
  ]


def place(name: str, figure: dict[str, dict[str, str]]) -> str:
  """An objective's row of the equal-rate table, in words."""
  if name not in figure:
    return "not in the figure."
  row = figure[name]
  shown = (f"{header} {row[header]}" for header in row if header != "label")
  return ", ".join(shown) + "."


def equal_rate() -> dict[str, dict[str, str]]:
  """The rows of the equal-rate table by the objective's name, header -> cell as shown."""
  path = FIGURE / "table_at_3_nats.md"
  if not path.exists():
    return {}
  rows = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in path.read_text(encoding="utf-8").splitlines()
    if line.startswith("|")
  ]
  head, found = rows[0], {}
  for cells in rows[2:]:
    found[cells[0].split(" ")[0].strip("`")] = dict(zip(head[1:], cells[1:]))
  return found


def gallery() -> str:
  """The overview and all entries, families after one another."""
  figure, modules = equal_rate(), objectives()
  lines = ["| objective | what it does | beta | sees |", "|---|---|---|---|"]
  for name, module in modules.items():
    made = getattr(module, name)()
    does = (inspect.getdoc(getattr(module, name)) or "").partition("\n")[0].replace("|", "\\|")
    together = "batch" if made.couples else "example"
    form = module.LAGRANGIAN.form
    lines.append(f"| [{name}](#{name}) | {does} | {'' if form == 'none' else form} | {together} |")
  family = ""
  for name, module in modules.items():
    if (own := module.__name__.split(".")[2]) != family:
      family = own
      about = importlib.import_module(f"ibjax.objectives.{family}").__doc__.partition("\n")[0]
      lines += ["", f"## {family.capitalize()}", "", about]
    lines += ["", entry(name, module, figure)]
  return "\n".join(lines)


def page(text: str) -> str:
  """The page with today's gallery between its marks."""
  before, _, rest = text.partition(START)
  _, _, after = rest.partition(END)
  return f"{before}{START}\n{gallery()}\n{END}{after}"


if __name__ == "__main__":
  PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
