"""What a compiled step sends between devices, held to programs whose collectives are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ibjax.core.errors import InputError
from ibjax.train import collectives, dry_run
from ibjax.train.collectives import Collective
from ibjax.train.setup import build_population
from tests.helpers import tiny, tiny_setup

P = PartitionSpec
ROWS, COLUMNS = 16, 24
BYTES = 4 * ROWS * COLUMNS


def compiled(function, devices, inside, outside, shape=(ROWS, COLUMNS)):
  """Reads a program of one axis over so many devices, written per device."""
  mesh = jax.make_mesh(
    (devices,), ("x",), devices=jax.devices()[:devices], axis_types=(AxisType.Auto,)
  )
  mapped = jax.shard_map(function, mesh=mesh, in_specs=inside, out_specs=outside, check_vma=False)
  text = jax.jit(mapped).lower(jax.ShapeDtypeStruct(shape, jnp.float32)).compile().as_text()
  return collectives.read(text)


@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize(
  "kind, function, inside, outside, payload, factor",
  [
    (
      "all-reduce",
      lambda x: lax.psum(x, "x"),
      P(),
      P(),
      lambda n: BYTES,
      lambda n: 2 * (n - 1) / n,
    ),
    (
      "all-gather",
      lambda x: lax.all_gather(x, "x", tiled=True),
      P("x"),
      P(),
      lambda n: BYTES,
      lambda n: (n - 1) / n,
    ),
    (
      "reduce-scatter",
      lambda x: lax.psum_scatter(x, "x", tiled=True),
      P(),
      P("x"),
      lambda n: BYTES,
      lambda n: (n - 1) / n,
    ),
    (
      "all-to-all",
      lambda x: lax.all_to_all(x, "x", 1, 0, tiled=True),
      P("x"),
      P(None, "x"),
      lambda n: BYTES // n,
      lambda n: (n - 1) / n,
    ),
    (
      "collective-permute",
      lambda x: lax.ppermute(x, "x", [(0, 1), (1, 0)]),
      P("x"),
      P("x"),
      lambda n: BYTES // n,
      lambda n: 1.0,
    ),
  ],
)
def test_each_kind_has_its_known_bytes(kind, function, inside, outside, payload, factor, devices):
  traffic = compiled(function, devices, inside, outside)
  (found,) = traffic.collectives
  group = 2 if kind == "collective-permute" else devices
  assert found == Collective(kind, payload(devices), group)
  assert found.sent() == pytest.approx(factor(devices) * payload(devices), rel=1e-12)
  assert traffic.total(kind) == traffic.total() == (1, payload(devices), found.sent())


def test_a_loop_multiplies_where_its_length_is_known():
  def known(x):
    return lax.fori_loop(0, 5, lambda i, x: lax.psum(x, "x") * 0.1, x)

  def unknown(x):
    return lax.while_loop(lambda x: jnp.sum(x) > 1, lambda x: lax.psum(x, "x") * 0.1, x)

  traffic = compiled(known, 2, P(), P())
  assert traffic.collectives == (Collective("all-reduce", BYTES, 2, times=5),)
  assert traffic.loops == (5,) and traffic.total()[:2] == (5, 5 * BYTES)
  traffic = compiled(unknown, 2, P(), P())
  assert traffic.collectives == (Collective("all-reduce", BYTES, 2, counted=False),)
  assert traffic.loops == (None,)


def test_of_two_branches_the_one_that_sends_more_counts():
  def either(x):
    big, small = (lambda x: lax.psum(x, "x")), (lambda x: lax.psum(x[0], "x") + x)
    return lax.cond(x[0, 0] > 0, small, big, x)

  assert compiled(either, 2, P(), P()).collectives == (Collective("all-reduce", BYTES, 2),)


@pytest.mark.parametrize("devices", [2, 8])
def test_a_sharded_weight_is_gathered_and_its_gradient_summed(devices):
  mesh = jax.make_mesh(
    (devices,), ("x",), devices=jax.devices()[:devices], axis_types=(AxisType.Auto,)
  )
  rows = NamedSharding(mesh, P("x"))
  weights = jax.ShapeDtypeStruct((COLUMNS, 64), jnp.float32, sharding=rows)
  inputs = jax.ShapeDtypeStruct((ROWS, COLUMNS), jnp.float32, sharding=rows)

  def loss(weights, inputs):
    return jnp.sum(jnp.tanh(inputs @ weights) ** 2)

  step = jax.jit(jax.grad(loss), out_shardings=rows).lower(weights, inputs).compile()
  traffic = collectives.read(step.as_text())
  size = 4 * COLUMNS * 64
  assert traffic.total("all-gather") == (1, size, size * (devices - 1) / devices)
  # CPUs have no reduce-scatter of their own making: the gradient is summed everywhere, then cut.
  assert traffic.total("all-reduce")[:2] == (1, size)
  assert {c.group for c in traffic.collectives} == {devices}


MODULE = """HloModule step, is_scheduled=true, replica_count=1, num_partitions=8

%sum (a: f32[], b: f32[]) -> f32[] {{
  ROOT %add = f32[] add(%a, %b)
}}

%wrapped (p: bf16[4,6]) -> bf16[32,6] {{
  ROOT %inner = bf16[32,6]{{1,0}} all-gather(%p), replica_groups=[1,8]<=[8], dimensions={{0}}
}}

ENTRY %main (p: f32[4,6]) -> f32[4,6] {{
  %p = f32[4,6]{{1,0:T(8,128)}} parameter(0)
{lines}
}}
"""


@pytest.mark.parametrize(
  "lines, expected",
  [
    (
      "  %s = f32[4,6]{1,0} all-reduce-start(%p), replica_groups=[2,4]<=[8], to_apply=%sum\n"
      "  ROOT %d = f32[4,6]{1,0} all-reduce-done(%s)",
      Collective("all-reduce", 96, 4),
    ),
    (
      "  %s = (f32[4,6]{1,0}, f32[8,6]{1,0}) all-gather-start(%p), replica_groups={{0,1},{2,3}}\n"
      "  ROOT %d = f32[8,6]{1,0} all-gather-done((f32[4,6]{1,0}, f32[8,6]{1,0}) %s)",
      Collective("all-gather", 192, 2),
    ),
    (
      "  %s = ((bf16[4,6]{1,0}), bf16[32,6]{1,0}) async-start(%p), calls=%wrapped\n"
      "  ROOT %d = bf16[32,6]{1,0} async-done(%s), calls=%wrapped",
      Collective("all-gather", 384, 8),
    ),
    (
      "  ROOT %r = (f32[4,6]{1,0}, /*index=1*/f8e4m3fn[3]{0}, s4[3]{0}, pred[5]{0}) "
      "all-reduce(%p, %p, %p, %p), replica_groups={}, to_apply=%sum",
      Collective("all-reduce", 96 + 3 + 2 + 5, 8),
    ),
    (
      "  ROOT %r = f32[2,6]{1,0} reduce-scatter(%p), "
      "replica_groups=mesh['a'=4,'b'=2] {'b'}, to_apply=%sum",
      Collective("reduce-scatter", 96, 2),
    ),
    (
      "  ROOT %r = f32[4,6]{1,0} all-to-all(%p), replica_groups=mesh['a'=4,'b'=2] {'a':(1)2,'b'}",
      Collective("all-to-all", 96, 4),
    ),
    ("  ROOT %r = f32[4,6] all-reduce(%p), replica_groups={{0},{1}}, to_apply=%sum", None),
  ],
)
def test_forms_of_other_backends(lines, expected):
  text = MODULE.replace("{{", "{").replace("}}", "}").replace("{lines}", lines)
  assert collectives.read(text).collectives == (() if expected is None else (expected,))


@pytest.mark.parametrize("text", ["", "ROOT %r = f32[2] add(%a, %b)"])
def test_what_is_no_program_is_an_error(text):
  with pytest.raises(InputError, match="no ENTRY"):
    collectives.read(text)


def test_an_unknown_form_of_groups_is_an_error():
  line = "  ROOT %r = f32[4,6] all-reduce(%p), replica_groups=ring, to_apply=%sum"
  with pytest.raises(InputError, match="ring"):
    collectives.read(MODULE.replace("{{", "{").replace("}}", "}").replace("{lines}", line))


def parameters(setup):
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(setup.solo.params))


def test_a_vib_on_split_data_sums_its_gradient_and_its_metrics():
  setup = tiny_setup(8)
  traffic = dry_run.step_cost(setup).traffic
  metrics = len(jax.tree.leaves(setup.abstract.acc))
  _, payload, sent = traffic.total("all-reduce")
  assert traffic.total()[1] == payload  # nothing but sums
  # Every metric is a sum and a count, of which XLA may send a copy to each of its users.
  assert 4 * parameters(setup) + 4 <= payload <= 4 * (parameters(setup) + 2 * metrics)
  assert sent == pytest.approx(2 * 7 / 8 * payload, rel=1e-12)
  assert {c.group for c in traffic.collectives} == {8}


def members(population, data):
  config = tiny(mesh__population=population, mesh__data=data)
  configs = [{**config, "seed": seed} for seed in range(8)]
  return build_population(configs, None, jax.devices()[: population * data], "vmap")


@pytest.mark.slow
def test_members_on_devices_of_their_own_send_nothing():
  setup = members(8, 1)
  found = dry_run.step_cost(setup)
  assert found.traffic.collectives == ()
  kernels = [leaf.size for leaf in jax.tree.leaves(setup.solo.params) if len(leaf.shape) == 2]
  first = setup.solo.params["encoder"]["dense_0"]["kernel"].size
  # Forward, weight gradients, and input gradients of all but the first layer, of one member.
  products = 2 * setup.config["data"]["batch_size"] * (3 * sum(kernels) - first)
  assert products < found.flops < 1.5 * products


@pytest.mark.very_slow
def test_the_update_that_is_counted_is_the_one_that_is_made():
  setup = members(4, 2)
  feed = setup.train_feed()
  table = next(feed.tables(iter([(0, 1)])))
  rows = np.asarray(table["rows"])[:, 0]
  batch = {name: np.asarray(value)[rows] for name, value in feed.data.items()}
  batch["mask"] = np.ones(rows.shape, bool)
  run = setup.runner
  ran = run.run(run.init(setup.hyper), feed.data, table, np.int32(1), setup.hyper)
  made = run.step(run.init(setup.hyper), batch, setup.hyper)
  for a, b in zip(jax.tree.leaves(ran), jax.tree.leaves(made), strict=True):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_members_whose_data_are_split_sum_their_gradients():
  setup = members(4, 2)
  _, payload, _ = dry_run.step_cost(setup).traffic.total("all-reduce")
  assert payload == pytest.approx(2 * 4 * parameters(setup), rel=0.01)  # two members a device
