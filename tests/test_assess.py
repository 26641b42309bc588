"""Measuring a trained model at the end: solo, in a population, and what is asked for wrongly."""

import json

import numpy as np
import pytest

from ibjax.core.config import resolved
from ibjax.core.errors import ConfigError, DataError
from ibjax.train import loop
from ibjax.train.assessing import assessor
from ibjax.train.population import Member, train_members
from ibjax.train.setup import build
from tests.helpers import load_config, tiny

ATTACKS = {"fn": "ibjax.evaluators.attacks:attacks", "epsilons": (0.1,), "examples": 100}


def config(seed=0, **assess):
  c = resolved(load_config("configs/variational/vib_mnist.py", "smoke"))
  c["seed"] = seed
  c["train"]["duration"] = "1 epochs"
  c["assess"] = assess
  return json.loads(json.dumps(c))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A solo run's state and setup."""
  setup = build(config(attacks=ATTACKS))
  state, lines, _ = loop.train(setup, tmp_path_factory.mktemp("solo"))
  lines.close()
  return setup, state


def test_a_member_is_assessed_as_its_solo_run(trained, tmp_path, monkeypatch):
  import ibjax.evaluators.attacks as module

  setup, state = trained
  folders, original = [], module.attacks

  def watched(**keywords):
    assess = original(**keywords)
    return lambda model: folders.append(model.folder) or assess(model)

  monkeypatch.setattr(module, "attacks", watched)
  solo = assessor(setup)(setup.config, state)["attacks"]
  assert solo and all(np.isfinite(value) for value in solo.values())
  members = [
    Member(config(seed, attacks=ATTACKS), tmp_path / f"m{seed}", {"command": ""}) for seed in (0, 1)
  ]
  train_members(members, tmp_path)
  assert folders == [None, *(member.folder for member in members)]
  rows = [json.loads((member.folder / "result.json").read_text()) for member in members]
  for name, value in solo.items():
    np.testing.assert_allclose(rows[0][f"attacks/{name}"], value, atol=0.02)  # examples near a tie
  assert any(rows[0][f"attacks/{name}"] != rows[1][f"attacks/{name}"] for name in solo)


def test_what_an_assessor_sees(trained):
  setup, state = trained
  seen = {}

  def look(model):
    seen["model"] = model
    return {}

  import ibjax.evaluators.attacks as module

  original, module.attacks = module.attacks, lambda **keywords: look
  try:
    assessor(setup)(setup.config, state)
  finally:
    module.attacks = original
  model = seen["model"]
  data = model.data("", "test")
  found = model.forward(data["x"])
  n = len(data["y"])
  assert found["prediction"].shape == (n, 10) and found["rate"].shape == (n,)
  np.testing.assert_allclose(np.exp(found["prediction"]).sum(-1), 1.0, rtol=1e-5)
  np.testing.assert_array_equal(found["code"], found["mean"])
  # A step along the gradient raises each example's own loss, and moves no other's.
  x, y = data["x"][:64], data["y"][:64]
  slope = model.gradient(x, y)
  step = 1e-3 / np.maximum(np.linalg.norm(slope.reshape(64, -1), axis=1), 1e-9)
  moved = x + step.reshape(-1, *[1] * (x.ndim - 1)) * slope
  loss = lambda rows: -model.forward(rows)["prediction"][np.arange(64), y]
  change = loss(moved) - loss(x)
  wanted = 1e-3 * np.linalg.norm(slope.reshape(64, -1), axis=1)
  np.testing.assert_allclose(change, wanted, rtol=0.1, atol=1e-5)
  with pytest.raises(ConfigError, match="unknown split"):
    model.data("", "tests")


@pytest.mark.parametrize(
  ("assess", "error", "match"),
  [
    ({"test": ATTACKS}, ConfigError, "names of the run's own"),
    ({"a": {**ATTACKS, "epsilon": 0.1}}, ConfigError, "Did you mean 'epsilons'"),
    (
      {"a": {"fn": "ibjax.evaluators.outside:outside", "sources": ("nowhere",)}},
      ConfigError,
      "nowhere",
    ),
    (
      {"a": {"fn": "ibjax.evaluators.outside:outside", "sources": ("npz:missing.npz",)}},
      DataError,
      "missing.npz",
    ),
  ],
)
def test_mistakes_are_found_before_training(assess, error, match):
  with pytest.raises(error, match=match):
    build(config(**assess))


def test_a_gradient_that_the_program_has_not_is_missed_before_training():
  language = tiny("configs/language/decoder_shakespeare.py", assess={"edge": ATTACKS})
  with pytest.raises(ConfigError, match=r"config\.assess\.edge needs the gradient"):
    build(language)
