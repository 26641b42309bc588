"""docs/estimators.md says what is there: every estimator, every warning, every picture."""

import ast
import importlib.util
import re

from ibjax.estimators.base import advice, catalogue
from tests.helpers import ROOT

PAGE = (ROOT / "docs/estimators.md").read_text()
IMAGES = ROOT / "docs/images"


def script(path):
  spec = importlib.util.spec_from_file_location(path.replace("/", "_"), ROOT / path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def section(title):
  return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_table_of_estimators_is_todays():
  page = script("scripts/estimator_table.py").page(PAGE)
  assert page == PAGE, "run python scripts/estimator_table.py"
  lines = section("Every estimator").splitlines()
  named = {match[1] for line in lines if (match := re.match(r"\| `(\w+)` \|", line))}
  assert named == set(catalogue.factories()) and named


def test_the_estimators_to_choose_from_exist():
  rows = [line for line in section("Which one").splitlines() if line.startswith("|")][2:]
  chosen = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
  assert len(chosen) > 8
  assert chosen <= set(catalogue.factories())


def test_every_warning_of_the_shared_code_is_explained():
  codes = set(advice.FAILURES)
  for name in ("samples", "warn"):
    tree = ast.parse((ROOT / f"ibjax/estimators/base/{name}.py").read_text())
    for node in ast.walk(tree):
      if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Note":
        codes.add(node.args[0].value)
  explained = set(re.findall(r"`(\w+)`", section("The warnings")))
  assert len(codes) > 15 and codes <= explained


def test_every_picture_is_there_shown_and_small():
  drawn = {f"estimators_{name}.png" for name in script("scripts/pictures/estimators.py").PICTURES}
  shown = re.findall(r"!\[[^\]]+\]\(images/(\w+\.png)\)", PAGE)
  assert len(shown) == len(set(shown)) and set(shown) == drawn
  for name in shown:
    assert 5_000 < (IMAGES / name).stat().st_size < 60_000, name
