"""The batch scope: global is one device's value on any mesh, per device the mean of the parts."""

import functools
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.code import code_version
from ibjax.core.config import config_hash
from ibjax.core.errors import ConfigError
from ibjax.programs.scope import mean, scoped
from ibjax.programs.supervised import supervised
from ibjax.train.setup import build, build_population
from tests import scopes
from tests.helpers import ended, free_port, started, tiny, tiny_setup

NCE = "configs/representation/info_nce_mnist.py"
HSIC = dict(fn="ibjax.objectives.kernel.hsic_regularizer:hsic_regularizer")
each = pytest.mark.parametrize("name", scopes.coupled(), ids=scopes.short)
some = pytest.mark.parametrize("name", scopes.sloped(), ids=scopes.short)
# Inverting a kernel matrix of condition 1e5 loses that many digits of float32.
LOOSE = {"hsic_bottleneck": 1e-3, "hsic_regularizer": 1e-3}

over, mean_of_parts = functools.cache(scopes.over), functools.cache(scopes.mean_of_parts)


def agree(found, wanted, name, rtol=1e-5):
  """Compares trees to a relative tolerance, of gradients relative to the largest of them all."""
  rtol = LOOSE.get(scopes.short(name), rtol)
  found, wanted = dict(found), dict(wanted)
  slopes, right = found.pop("gradients", {}), wanted.pop("gradients", {})
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, 1e-6), found, wanted)
  size = max((np.max(np.abs(leaf)) for leaf in jax.tree.leaves(right)), default=0.0)
  limit = 10 * rtol * size
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 0.0, limit), slopes, right)


@each
def test_the_global_value_over_eight_devices_is_that_of_one(name):
  names = scopes.coupled()
  agree(over(8, "global", names)[name], over(1, "global", names)[name], name)


@each
def test_the_value_per_device_is_the_mean_of_the_parts(name):
  names = scopes.coupled()
  agree(over(8, "device", names)[name], mean_of_parts(names)[name], name)


@pytest.mark.slow
@some
def test_gradients_in_both_scopes(name):
  names = scopes.sloped()
  agree(over(8, "global", names, True)[name], over(1, "global", names, True)[name], name)
  agree(over(8, "device", names, True)[name], mean_of_parts(names, True)[name], name)


@pytest.mark.very_slow
@each
def test_gradients_of_all_in_both_scopes(name):
  names = scopes.coupled()
  agree(over(8, "global", names, True)[name], over(1, "global", names, True)[name], name)
  agree(over(8, "device", names, True)[name], mean_of_parts(names, True)[name], name)


def test_the_scopes_are_two_objectives():
  names = scopes.coupled()
  whole, parts = over(8, "global", names), over(8, "device", names)
  nce = next(name for name in names if scopes.short(name) == "info_nce")
  # Among 2 * 29 - 1 candidates, and among 2 * 4 - 1 or fewer.
  assert whole[nce]["metrics"]["contrast_nats"] > parts[nce]["metrics"]["contrast_nats"] + 1.0
  wrapped = next(name for name in names if scopes.short(name) == "target_rate")
  assert np.isfinite(parts[wrapped]["state"]["controller"]["closest"])


@pytest.mark.slow
def test_two_processes_of_four_devices_agree_with_one(tmp_path):
  coordinator, out = f"127.0.0.1:{free_port()}", tmp_path / "values.json"
  arguments = [sys.executable, "-m", "tests.scopes", str(out), coordinator, "2"]
  with started([[*arguments, str(i)] for i in range(2)], devices=4) as running:
    codes = ended(running, timeout=900)
    assert codes == [0, 0], "\n".join(one.output() for one in running)
  told = json.loads(out.read_text())
  assert told["devices"] == 8 and told["processes"] == 2
  assert told["estimates"] == pytest.approx(scopes.estimates(), rel=1e-5, abs=1e-6)
  names, sloped = scopes.coupled(), scopes.sloped()
  for scope in ("global", "device"):
    alone = {
      scope: scopes.summaries(over(8, scope, names)),
      f"{scope}, gradients": scopes.summaries(over(8, scope, sloped, True)),
    }
    for kind, wanted in alone.items():
      for name, values in wanted.items():
        rtol = LOOSE.get(name, 1e-4)
        np.testing.assert_allclose(told["values"][kind][name], values, rtol, 1e-4, err_msg=name)


# In a run.


def settings(**more):
  small = dict(data__batch_size=32, eval__batch_size=32, encoder__hidden=(8,), mesh__data=4)
  return {"path": NCE, "batch_scope": "device", **small, **more}


def on_one_device(config, setup):
  """The same program, its parts one batch of parts on one device."""
  section = config["objective"]
  parts = dict(fn="ibjax.programs.scope:per_part", of=section["fn"], parts=config["mesh"]["data"])
  return supervised({**config, "objective": {**section, **parts}}, None, setup.spec)


@functools.cache
def stepped(devices, over_mesh=True, **more):
  """The state after one update of a run with two microbatches, from the same start and batch."""
  setup = tiny_setup(devices, **settings(train__accumulate=2, **more))
  program = setup.program if over_mesh else on_one_device(setup.config, setup)
  batch = {**setup.splits["train"].read(np.arange(32)), "mask": np.ones(32, bool)}
  rows = jax.NamedSharding(setup.mesh, jax.P("data"))

  def update(batch, hyper):
    return program.step(program.init(hyper), jax.lax.with_sharding_constraint(batch, rows), hyper)

  return jax.device_get(jax.jit(update, compiler_options=scopes.COMPILER)(batch, setup.hyper))


def close(found, wanted):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, 1e-4, 1e-6),
    (found.params, found.acc),
    (wanted.params, wanted.acc),
  )


def test_an_update_over_the_mesh_is_that_of_the_parts_on_one_device():
  close(stepped(4), stepped(4, over_mesh=False))


def test_parameters_may_be_sharded_over_the_model_axis():
  rules = ((r"params/encoder/dense_0/kernel$", (None, "model")), (r".*", ()))
  close(stepped(8, mesh__model=2, sharding=rules), stepped(4))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["loop", pytest.param("vmap", marks=pytest.mark.very_slow)])
def test_a_population_evaluates_each_member_on_its_parts(strategy):
  given = {key: value for key, value in settings().items() if key != "path"}
  configs = [
    tiny(NCE, **{**given, "mesh__data": 2, "mesh__population": 2, "seed": seed}) for seed in (0, 1)
  ]
  setup = build_population(configs, devices=jax.devices()[:4], strategy=strategy)
  batch = {**setup.splits["train"].read(np.arange(32)), "mask": np.ones(32, bool)}
  state = setup.runner.init(setup.hyper)
  found = setup.runner.read(setup.runner.evaluate(state, batch, np.int32(0), setup.hyper))
  one = on_one_device(configs[1], setup)
  own = {name: value[1] for name, value in setup.hyper.items()}
  wanted = jax.jit(lambda h: one.evaluate(one.init(h), batch, np.int32(0), h))(own)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, 1e-4, 1e-5), found, wanted)


# What is refused.


@pytest.mark.parametrize(
  ("more", "wanted"),
  [
    (dict(batch_scope="devise"), r"batch_scope.*'devise'.*device"),
    (dict(mesh__data=-1), r"mesh\.data=-1 leaves it to the machine.*mesh\.data=4"),
    (dict(data__batch_size=4), r"part of 1 example.*batch_size=8 .*mesh\.data=2"),
    (
      dict(data__batch_size=16, train__accumulate=4),
      r"times 4 microbatches.*batch_size=32 .*mesh\.data=2",
    ),
    (dict(train__samples=2, views__fn="", views__count=1, objective=HSIC), r"train\.samples=1"),
    (dict(eval__batch_size=4), r"eval\.batch_size=4.*eval\.batch_size=8 .*mesh\.data=2"),
  ],
)
def test_a_scope_that_does_not_fit_is_refused(more, wanted):
  with pytest.raises(ConfigError, match=wanted):
    tiny_setup(4, **settings(**more))


def test_an_objective_of_single_examples_has_any_scope():
  config = tiny(batch_scope="device")
  assert build(config, devices=jax.devices()[:4]).config["batch_scope"] == "device"


def test_one_part_is_the_whole_batch():
  setup = tiny_setup(1, **settings(mesh__data=1))
  assert scoped(setup.config, setup.mesh) is setup.config


def test_the_scope_is_part_of_the_hash_of_config_and_code():
  whole, parts = tiny(NCE), tiny(NCE, batch_scope="device")
  assert config_hash(whole) != config_hash(parts)
  assert code_version(whole) != code_version(parts)


def test_decompositions_on_several_devices_of_a_cpu_need_one_thread_each(monkeypatch):
  path = "configs/representation/mcr2_mnist.py"
  tiny_setup(2, path=path)  # conftest.py sets one thread
  for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    monkeypatch.delenv(name, raising=False)
  tiny_setup(1, path=path)
  with pytest.raises(ConfigError, match="mcr2 decomposes matrices.*OPENBLAS_NUM_THREADS=1"):
    tiny_setup(2, path=path)


def test_a_part_without_examples_counts_for_nothing():
  """The last evaluation batch may leave whole parts empty."""
  values = jnp.array([jnp.nan, 1.0, 3.0])
  assert float(mean(values, jnp.array([0.0, 0.25, 0.75]))) == 2.5
