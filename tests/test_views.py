"""Views of an example in the program: their order, what is scored, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core import rng
from ibjax.core.config import resolved
from ibjax.core.errors import ConfigError
from ibjax.programs.views import count_views, make_views
from ibjax.train.setup import build
from tests.helpers import load_config

NOISE = {"fn": "ibjax.views.gaussian_noise:gaussian_noise"}


def config(objective="ibjax.objectives.representation.vicreg:vicreg", **views):
  c = resolved(load_config("configs/variational/vib_mnist.py", "smoke"))
  c["objective"] = {"fn": objective}
  c["bottleneck"] = {"fn": "ibjax.bottlenecks.identity:identity", "dim": 8}
  c["views"] = views
  return c


def test_views_are_view_major_and_each_has_its_own_noise():
  c = config(**NOISE, count=3)
  x = jnp.arange(8.0).reshape(4, 2) * 100.0
  found = make_views(c, {}, x, rng.root_key(0)).reshape(3, 4, 2)
  np.testing.assert_allclose(found, jnp.broadcast_to(x, found.shape), atol=20.0)
  assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[1], found[2])


def test_losses_are_of_views_and_scores_of_the_input_as_it_is():
  setup = build(config(**NOISE, count=2))
  program, hyper = setup.program, setup.hyper
  state = program.init(hyper)
  rows = setup.splits["test"].read(np.arange(64))
  batch = {**rows, "mask": np.ones(64, bool)}
  metrics = jax.jit(program.evaluate)(state, batch, np.int32(0), hyper)
  plain = build(config("ibjax.objectives.supervised.cross_entropy:cross_entropy", fn="", count=1))
  wanted = jax.jit(plain.program.evaluate)(state, batch, np.int32(0), plain.hyper)
  for name in ("err_frac", "nll_nats"):
    np.testing.assert_allclose(metrics[name], wanted[name], rtol=1e-5)
  assert float(metrics["loss_nats"][1]) == 128.0, "two views of 64 examples"


def test_a_probe_moves_the_decoder_and_nothing_else():
  c = config("ibjax.objectives.supervised.cross_entropy:cross_entropy", fn="", count=1)
  c["train"]["probe"] = True
  c["train"]["ema"] = None
  setup = build(c)
  state = setup.program.init(setup.hyper)
  batch = {**setup.splits["train"].read(np.arange(64)), "mask": np.ones(64, bool)}
  after = jax.jit(setup.program.step)(state, batch, setup.hyper)
  same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), state.params, after.params)
  assert all(jax.tree.leaves(same["encoder"])) and not any(jax.tree.leaves(same["decoder"]))


def test_a_coupled_objective_is_evaluated_on_one_code_of_each_example():
  c = config("ibjax.objectives.variational.nonlinear_ib:nonlinear_ib", fn="", count=1)
  c["bottleneck"] = {"fn": "ibjax.bottlenecks.gaussian:gaussian", "dim": 4}
  c["train"]["ema"] = None
  found = {}
  for samples in (1, 3):
    c["eval"]["samples"] = samples
    setup = build(c)
    state = setup.program.init(setup.hyper)
    batch = {**setup.splits["test"].read(np.arange(32)), "mask": np.ones(32, bool)}
    found[samples] = jax.jit(setup.program.evaluate)(state, batch, np.int32(0), setup.hyper)
  assert float(found[3]["distortion_nats"][1]) == 32.0
  np.testing.assert_array_equal(found[1]["err_frac"][1], found[3]["err_frac"][1])
  # The mixture is of the means, which all codes of an example share.
  name = "pairwise_upper_nats"
  one, three = (float(value[name][0] / value[name][1]) for value in found.values())
  np.testing.assert_allclose(three, one, rtol=1e-5)


@pytest.mark.parametrize(
  ("given", "match"),
  [
    (config(fn="", count=2), "config.views.fn is empty"),
    (config(**NOISE, count=0), "at least 1"),
    (config(**NOISE, count=1), "compares 2 views"),
    (config(**{**NOISE, "scales": 1.0}, count=2), "argument"),
  ],
)
def test_views_that_cannot_be_are_refused_before_training(given, match):
  with pytest.raises(ConfigError, match=match):
    build(given)


def test_several_codes_of_several_views_are_refused():
  c = config(**NOISE, count=2)
  c["train"]["samples"] = 2
  with pytest.raises(ConfigError, match="train.samples"):
    count_views(c)
