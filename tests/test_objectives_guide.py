"""docs/objectives.md is what the docstrings, the configs and the tables say today."""

import sys

import pytest

from tests.helpers import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

import objective_gallery as gallery_lib

MODULES = gallery_lib.objectives()


def test_the_page_is_up_to_date():
  text = gallery_lib.PAGE.read_text(encoding="utf-8")
  assert gallery_lib.page(text) == text, "run python scripts/objective_gallery.py"


@pytest.mark.parametrize("name", MODULES)
def test_every_objective_says_when_to_use_it_and_has_a_config(name):
  entry = gallery_lib.entry(name, MODULES[name], {})
  assert "**When**: Use it" in entry
  assert "**Configs**: [" in entry
