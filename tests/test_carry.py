"""Results are carried over to code that compiles to the same program, and to no other."""

import sys

import jax.numpy as jnp
import pytest

from ibjax.core.config import resolved
from ibjax.programs import network, supervised
from tests.helpers import ROOT, load_config

sys.path.insert(0, str(ROOT / "scripts"))

import carry


@pytest.fixture(scope="module")
def config():
  return resolved(load_config("configs/variational/vib_mnist.py", "smoke"))


@pytest.fixture
def restored(monkeypatch):
  """`carry.lowered` takes out what was added since; the rest of the suite keeps it."""
  for module, name in carry.ADDED:
    monkeypatch.setattr(sys.modules[module], name, getattr(sys.modules[module], name))


def test_the_text_tells_a_change_of_arithmetic_from_none(config, restored, monkeypatch):
  before = carry.lowered(config, carry.ADDED)
  assert carry.lowered(config, carry.ADDED) == before
  short = {key: value for key, value in config.items() if key not in ("views", "assess")}
  assert carry.lowered(short, carry.ADDED) == before, (
    "a config from before those keys is the same program"
  )
  combine = supervised.combine

  def heavier(terms, mask):
    (minimised, minimax), metrics = combine(terms, mask)
    return (1.5 * minimised, minimax), metrics

  monkeypatch.setattr(supervised, "combine", heavier)
  after = carry.lowered(config, carry.ADDED)
  assert {name for name in before if before[name] != after[name]} == {"step"}


def test_a_value_that_is_computed_and_not_used_is_not_in_the_text(config, restored, monkeypatch):
  before = carry.lowered(config, carry.ADDED)
  tile = network._tile
  monkeypatch.setattr(network, "_tile", lambda x, samples: (jnp.sin(x), tile(x, samples))[1])
  assert carry.lowered(config, carry.ADDED) == before


def description(step="a", **modules):
  names = {name.replace("__", "."): value for name, value in modules.items()}
  return {"code": "x", "modules": names, "lowered": {"step": step}}


def test_what_stops_a_result_from_being_carried():
  traced, host = "ibjax__objectives__vib", "ibjax__estimators__ksg"
  same = description(**{traced: "1", host: "1"})
  assert carry.differences(same, description(**{traced: "2", host: "1"})) == []
  assert carry.differences(same, description(step="b", **{traced: "1", host: "1"})) == ["step"]
  assert carry.differences(same, description(**{traced: "1", host: "2"})) == [
    "ibjax.estimators.ksg"
  ]
  assert carry.differences(same, description(**{traced: "1"})) == ["ibjax.estimators.ksg"]
  measured = {**description(**{traced: "1"}), "lowered": {"sections": "a"}}
  other = {**description(**{traced: "2"}), "lowered": {"sections": "a"}}
  assert carry.differences(measured, other) == ["ibjax.objectives.vib"]
  hyper = "ibjax__programs__hyper"
  measured = {**description(**{hyper: "1"}), "lowered": {"sections": "a"}}
  other = {**description(**{hyper: "2"}), "lowered": {"sections": "a"}}
  assert carry.differences(measured, other) == []
  assert carry.differences(measured, {**other, "lowered": {"sections": "b"}}) == ["sections"]
