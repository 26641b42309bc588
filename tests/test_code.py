"""The version of a method's code changes with what it computes, and with nothing else."""

from __future__ import annotations

import pathlib

import pytest

import ibjax
from ibjax.core import code
from tests.helpers import tiny

PACKAGE = pathlib.Path(ibjax.__file__).parent


@pytest.fixture
def copy(tmp_path, monkeypatch):
  """A copy of the package's sources that may be edited; `code` looks there."""
  root = tmp_path / "ibjax"
  for path in PACKAGE.rglob("*.py"):
    target = root / path.relative_to(PACKAGE)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(path.read_text())
  monkeypatch.setattr(ibjax, "__file__", str(root / "__init__.py"))
  return root


def edit(root, path, old, new):
  text = (root / path).read_text()
  assert old in text, (path, old)
  (root / path).write_text(text.replace(old, new, 1))


def test_the_modules_are_what_the_config_names_and_what_those_import():
  found = code.modules(tiny(), PACKAGE)
  assert {
    "ibjax.objectives.variational.vib",  # named
    "ibjax.models.mlp",
    "ibjax.programs.supervised",  # the program
    "ibjax.programs.update",  # imported by it
    "ibjax.objectives.distortion",
    "ibjax.core.schedules",
    "ibjax.core.rng",
  } <= set(found)
  assert "ibjax.objectives.variational.ceb" not in found
  assert not [n for n in found if n.split(".")[1] in ("report", "train", "verbs", "data")]
  assert "ibjax.core.errors" not in found and found == sorted(found)


@pytest.mark.parametrize(
  "path", ["objectives/variational/vib.py", "programs/update.py", "core/rng.py"]
)
def test_a_change_of_the_code_changes_it(copy, path):
  before = code.code_version(tiny())
  edit(copy, path, "\nimport", "\nX = 1\nimport")
  assert code.code_version(tiny()) != before


@pytest.mark.parametrize(
  ("path", "old", "new"),
  [
    ("objectives/variational/vib.py", "def vib", "# a remark\n\n\ndef vib"),
    ("objectives/variational/vib.py", '"""', '"""Another word. '),
    ("objectives/variational/vib.py", "CASES = ", "CASES = () + "),
    ("objectives/variational/vib.py", "CASES = ", 'NO_TRUTHS = "words"\n\nCASES = '),
    ("objectives/variational/ceb.py", "def ceb", "X = 1\n\n\ndef ceb"),  # another method
    ("core/errors.py", "def nearest", "X = 1\n\n\ndef nearest"),
    ("report/page.py", "def render", "X = 1\n\n\ndef render"),
  ],
)
def test_words_tests_and_other_methods_do_not_change_it(copy, path, old, new):
  before = code.code_version(tiny())
  edit(copy, path, old, new)
  assert code.code_version(tiny()) == before


def test_hyperparameters_are_the_configs_business():
  assert code.code_version(tiny()) == code.code_version(tiny(objective__beta=0.5))
  other = tiny("configs/variational/ceb_mnist.py")
  assert code.code_version(tiny()) != code.code_version(other)


def test_normal_form_tells_values_and_docstrings_apart():
  assert code.normalised("f('a')") != code.normalised("f('b')")
  assert code.normalised("x = 1") != code.normalised("x = 1.0") != code.normalised("x = True")
  assert code.normalised('def f():\n  "text"\n  return 1') == code.normalised(
    "def f():\n    return 1"
  )
  assert code.normalised("x = None") != code.normalised("x: int")


def test_what_surrounds_an_estimate_is_not_what_makes_it(copy):
  config = {"estimator": {"fn": "ibjax.estimators.neighbours.ksg:ksg"}}
  before = code.code_version(config)
  edit(copy, "estimators/base/warn.py", "def cheap(", "NEW = 1\n\n\ndef cheap(")
  edit(copy, "estimators/base/intervals.py", "SUBSETS = 10", "SUBSETS = 11")
  assert code.code_version(config) == before
  (copy / "estimators/base/neighbours.py").open("a").write("\nNEW = 1\n")
  assert code.code_version(config) != before
