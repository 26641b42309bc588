"""Rules that lay the state over the mesh: training is the same, no device holds it whole."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from jax.sharding import PartitionSpec

from ibjax.core.errors import ConfigError
from ibjax.train import checkpoint
from ibjax.train import setup as setup_lib
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.mesh import LEAST, make_mesh, state_shardings
from ibjax.train.setup import build, build_population
from ibjax.verbs.flags import load_config
from tests.helpers import VIB, agree, same, tiny, tiny_setup, train

SHORT = dict(train__duration="8 steps", train__log_every="4 steps", eval__every="8 steps")
SHORT |= dict(eval__samples=2, encoder__hidden=(96, 64))
BOTH = dict(mesh__data=4, mesh__model=2, sharding=("largest:data+model:64",))


def spec(shape, rules, name="w", **sizes):
  """The spec that rules give an array of a shape."""
  mesh = make_mesh({"population": 1, "data": 4, "model": 2, **sizes}, jax.devices())
  tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32)}
  return tuple(state_shardings(tree, rules, mesh)[name].spec)


@pytest.mark.parametrize(
  ("shape", "rule", "expected"),
  [
    ((64, 128), "largest:data", (None, "data")),
    ((128, 64), "largest:data", ("data", None)),
    ((128, 128), "largest:data", ("data", None)),  # the first of equals
    ((64, 126), "largest:data", ("data", None)),  # 126 does not divide by 4
    ((64, 126), "largest:model", (None, "model")),
    ((81, 126), "largest:data", (None, None)),  # nothing divides
    ((64, 128), "largest:data+model", ("model", "data")),
    ((64, 128), "largest:model+data", ("data", "model")),
    ((8192,), "largest:data+model", ("data",)),  # one dimension has room for one axis
    ((64, 63), "largest:data", ()),  # one element short
    ((64, 63), "largest:data:4032", ("data", None)),
    ((), "largest:data:0", ()),
    ((0, 4), "largest:data:0", (None, "data")),
  ],
)
def test_the_largest_dimension_that_divides_is_cut(shape, rule, expected):
  assert LEAST == 64 * 64
  assert spec(shape, ((".*", rule),)) == expected
  assert spec(shape, (rule,)) == expected  # alone, a rule for all arrays


def test_the_first_rule_that_is_found_decides():
  rules = (("special", (None, "model")), ("plain", ()), "largest:data")
  assert spec((64, 128), rules, "special") == (None, "model")
  assert spec((64, 128), rules, "plain") == ()
  assert spec((64, 128), rules, "other") == (None, "data")
  # An axis of one device cuts nothing, and leaves its place to the other.
  assert spec((64, 128), ("largest:data+model",), data=1, model=8) == (None, "model")


@pytest.mark.parametrize(
  "rule",
  [
    "largest:dta",
    "largest:population",
    "largest:data+data",
    "largest:data:many",
    "data",
    (".*", "data"),
    (".*",),
    ((".*", ()), ()),
  ],
)
def test_what_is_no_rule_is_told_how_one_is_written(rule):
  with pytest.raises(ConfigError, match="A rule is a pair.*'largest:data'"):
    spec((64, 128), (rule,))


@pytest.mark.parametrize(
  ("text", "rules"),
  [
    ("largest:data:64", ("largest:data:64",)),
    ("largest:data+model:64", ("largest:data+model:64",)),
    ("(('kernel$', 'largest:data:64'),)", (("kernel$", "largest:data:64"),)),
  ],
)
def test_a_rule_can_be_given_on_the_command_line(text, rules):
  given = [f"--config={VIB}:smoke", f"--config.sharding={text}"]
  config = load_config("train", flags.FlagValues(), given)
  assert config["sharding"] == tiny(sharding=rules)["sharding"]
  setup = build(config, devices=jax.devices())
  specs = [leaf.sharding.spec for leaf in jax.tree.leaves(setup.abstract.params)]
  assert any("data" in one for one in specs)


def test_statistics_and_averages_lie_as_their_parameter_and_can_be_cut_alone():
  state = tiny_setup(8, train__ema=0.9, **{**SHORT, **BOTH}).abstract
  where = lambda tree: jax.tree.map(lambda leaf: leaf.sharding.spec, tree)
  for tree in (state.opt_state[0].mu, state.opt_state[0].nu, state.ema):
    assert where(tree) == where(state.params)
  assert where(state.params)["encoder"]["dense_1"]["kernel"] == PartitionSpec("data", "model")
  alone = tiny_setup(8, **SHORT, sharding=(("^opt_state/", "largest:data:64"),)).abstract
  assert not any(jax.tree.leaves(jax.tree.map(tuple, where(alone.params))))
  assert "data" in alone.opt_state[0].mu["encoder"]["dense_1"]["kernel"].sharding.spec


@pytest.mark.parametrize("rule", ["both", "statistics"])
def test_training_on_shards_is_training(tmp_path, rule):
  overrides = BOTH if rule == "both" else dict(sharding=(("^opt_state/", "largest:data:64"),))
  sharded = train(tiny_setup(8, **{**SHORT, **overrides}), tmp_path / "sharded")
  agree(train(tiny_setup(1, **SHORT), tmp_path / "one"), sharded)


def population(strategy="", **overrides):
  configs = [tiny(seed=seed, **{**SHORT, "mesh__population": 2, **overrides}) for seed in (0, 1, 2)]
  return build_population(configs, devices=jax.devices(), strategy=strategy)


def trained(setup):
  """The population's state after a dispatch, and the metrics summed in it."""
  feed = setup.train_feed()
  table = next(feed.tables(iter([(0, 8)])))
  state = setup.runner.init(setup.hyper)
  state = setup.runner.run(state, feed.data, table, np.int32(8), setup.hyper)
  return state, setup.runner.read(state.acc)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("strategy", "axes", "rule", "local"),
  [
    ("loop", (2, 4, 1), "largest:data:64", (2, 24, 64)),
    ("vmap", (4, 1, 2), "largest:model:64", (1, 48, 64)),
    ("loop", (1, 4, 2), "largest:data+model:64", (3, 24, 32)),
  ],
)
def test_a_population_on_shards_is_the_population(strategy, axes, rule, local):
  mesh = dict(zip(("mesh__population", "mesh__data", "mesh__model"), axes))
  state, found = trained(population(strategy, **mesh, sharding=(rule,)))
  kernel = state.params["encoder"]["dense_1"]["kernel"]
  assert {shard.data.shape for shard in kernel.addressable_shards} == {local}
  _, whole = trained(population(strategy, **mesh))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, whole)


def test_a_population_on_three_axes_is_refused_and_never_chosen():
  with pytest.raises(ConfigError, match="population=2, data=2, model=2.*two of the axes at most"):
    population(mesh__data=2, mesh__model=2)
  chosen = population(mesh__population=1, mesh__data=-1, mesh__model=2).mesh.shape
  assert (chosen["population"], chosen["data"]) == (1, 4)


def compiled_bytes(function, *arguments):
  """What a device holds while a compiled function runs."""
  memory = function.lower(*arguments).compile().memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    + memory.temp_size_in_bytes
    - memory.alias_size_in_bytes
  )


def bytes_of(tree):
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_nothing_around_a_checkpoint_holds_the_state_whole():
  wide = {**SHORT, "encoder__hidden": (1024, 512)}
  setup = tiny_setup(8, **{**wide, "sharding": ("largest:data:64",)})
  whole, leaves = bytes_of(setup.abstract), jax.tree.leaves(setup.abstract)
  part = sum(np.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in leaves)
  assert part < whole / 7
  structure = jax.tree.structure(setup.abstract)
  copy, digest = checkpoint._compiled(structure, tuple(x.sharding for x in leaves), None)
  assert compiled_bytes(copy, setup.abstract) < 2.2 * part
  assert compiled_bytes(digest, setup.abstract) < 2.2 * part
  assert compiled_bytes(setup.runner.init, setup.hyper) < whole / 2
  # Of a population: one member is read and written without those of other devices.
  setup = population(**{**wide, "mesh__population": 4, "mesh__data": 2})
  member, rows = bytes_of(setup.solo), 1  # 3 members on 4 devices
  assert setup.abstract.params["encoder"]["dense_1"]["kernel"].shape[0] == 4
  number = np.int32(2)
  assert compiled_bytes(setup.runner.pick, setup.abstract, number) < (rows + 2.2) * member
  own = setup.solo
  assert compiled_bytes(setup.runner.put, setup.abstract, own, number) < (rows + 2.2) * member
  assert compiled_bytes(setup.runner.load, setup.abstract) < (rows + 2.2) * member


def test_members_are_picked_and_put_bit_for_bit():
  setup = population(mesh__data=4)
  state = setup.runner.init(setup.hyper)
  host = jax.tree.map(np.asarray, state)
  odd = np.float32([-0.0, np.nan, np.inf, 1e-42])
  for member in range(3):
    found = jax.device_get(setup.runner.pick(state, np.int32(member)))
    assert same(found, jax.tree.map(lambda x, i=member: x[i], host))
  own = jax.device_get(setup.runner.pick(state, np.int32(1)))
  own.params["decoder"]["dense_0"]["bias"] = np.resize(odd, 10)
  placed = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), own, setup.solo)
  changed = setup.runner.put(state, placed, np.int32(1))
  bias = jax.device_get(setup.runner.pick(changed, np.int32(1))).params["decoder"]["dense_0"][
    "bias"
  ]
  assert bias.tobytes() == np.resize(odd, 10).tobytes()
  for member in (0, 2):
    found = jax.device_get(setup.runner.pick(changed, np.int32(member)))
    assert same(found, jax.tree.map(lambda x, i=member: x[i], host))


@pytest.mark.parametrize(("first", "then"), [(2, 8), (8, 1), (4, 2)])
def test_a_stored_population_opens_where_its_members_fill_up_otherwise(tmp_path, first, then):
  """Members on so many devices of the population axis: 3 are stored as 4, 8, ... of them."""
  setup = population(mesh__population=first, mesh__data=8 // first)
  state = setup.runner.init(setup.hyper)
  keeper = Checkpoints(tmp_path, keep=1, best="", report=print, rows=3)
  keeper.save(5, state)
  keeper.close()
  other = population(mesh__population=then, mesh__data=8 // then)
  keeper = Checkpoints(tmp_path, keep=1, best="", report=print, rows=3, read_only=True)
  step, found = keeper.restore(other.abstract)
  keeper.close()
  found = other.runner.load(found)
  assert step == 5 and found.step.shape == (-(-3 // then) * then,)
  rows = [0, 1, 2] + [0] * (found.step.shape[0] - 3)
  wanted = jax.tree.map(lambda x: np.asarray(x)[np.arange(3)][rows], state)
  assert same(found, wanted)


def test_the_digest_leaves_out_the_rows_that_fill_up():
  x = jax.random.normal(jax.random.key(0), (4, 3))
  other = x.at[3].set(0.0)
  assert np.array_equal(checkpoint.digest([x], 3), checkpoint.digest([other], 3))
  assert np.array_equal(checkpoint.digest([x], 3), checkpoint.digest([x[:3]]))
  assert not np.array_equal(checkpoint.digest([x], 4), checkpoint.digest([other], 4))


def test_what_does_not_divide_says_what_would_before_data_are_loaded(monkeypatch):
  monkeypatch.setattr(setup_lib.source_lib, "load", lambda *a: pytest.fail("data were loaded"))
  with pytest.raises(ConfigError, match=r"56 or 64 would work.*config.mesh.data=1, 2, 4, with"):
    tiny_setup(8, data__batch_size=60)
  with pytest.raises(ConfigError, match=r"eval.batch_size=100 .* 104 would work.*data=1, 2, 4, w"):
    tiny_setup(8, eval__batch_size=100)


def test_a_split_of_fewer_examples_than_processes_is_refused():
  devices = np.array([types.SimpleNamespace(process_index=i // 2) for i in range(6)])
  mesh = types.SimpleNamespace(devices=devices)
  splits = {"train": types.SimpleNamespace(n=9), "test": types.SimpleNamespace(n=2)}
  with pytest.raises(ConfigError, match="'test' of 's' has 2 examples.*3 processes.*1 to 2 proc"):
    setup_lib._check_shares(types.SimpleNamespace(name="s"), splits, mesh)
