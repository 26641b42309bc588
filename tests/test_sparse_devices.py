"""Sparse autoencoders over a mesh, and many of them in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ibjax.bottlenecks.sparse import linear, selection
from ibjax.bottlenecks.sparse.top_k import top_k
from ibjax.core.errors import ConfigError, InputError
from ibjax.train import collectives
from ibjax.train.mesh import make_mesh
from ibjax.train.population import Member, train_members
from ibjax.train.setup import build
from ibjax.train.warm_start import take_over, warm_state
from tests.helpers import agree, final_state, same, tiny, tiny_setup, train

RECIPE = "configs/sparse/dictionary_planted.py"
SHORT = dict(
  data__source="autoencode:planted:superposition:features=16,dim=8,l0=2,n=256,n_test=64",
  data__batch_size=64,
  bottleneck__dim=8,
  bottleneck__latents=16,
  bottleneck__k=3,
  bottleneck__dead_after=2,
  train__duration="12 steps",
  train__steps_per_dispatch=4,
  train__log_every="4 steps",
  eval__every="12 steps",
  eval__batch_size=64,
  checkpoint__every="12 steps",
)
SPREAD = ((r"bottleneck/(W_enc|W_dec|b_enc|idle|density)$", ("model",)), (".*", ()))


def mesh_of(data, model):
  sizes = dict(population=1, data=data, model=model)
  return make_mesh(sizes, jax.devices()[: data * model])


def placed(mesh, x, *axes):
  return jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes)))


@pytest.mark.parametrize(("data", "model"), [(1, 2), (1, 4), (2, 4), (1, 8)])
def test_the_sharded_top_k_is_that_of_one_device_ties_and_all(data, model):
  rng = np.random.default_rng(0)
  n, latents, k = 16, 64, 9  # with 8 devices k is above what a device has
  for scores in (rng.normal(size=(n, latents)), rng.integers(0, 4, size=(n, latents))):
    scores = jnp.asarray(scores, jnp.float32)
    mesh = mesh_of(data, model)
    there = placed(mesh, scores, "data", "model")
    compiled = jax.jit(lambda s, m=mesh: selection.top_k(s, k, m)).lower(there).compile()
    values, indices = compiled(there)
    one, which = jax.lax.top_k(scores, k)
    assert np.array_equal(values, one) and np.array_equal(indices, which)
  traffic = collectives.read(compiled.as_text())
  sent = sorted((c.kind, c.payload) for c in traffic.collectives)
  winners = 4 * (n // data) * model * min(k, latents // model)  # bytes of a value or an index each
  assert sent == [("all-gather", winners)] * 2


def test_gradients_over_a_mesh_are_those_of_one_device():
  keys = jax.random.split(jax.random.key(0), 5)
  x, g = (jax.random.normal(key, (8, 6)) for key in keys[:2])
  encoder, decoder = (jax.random.normal(key, (16, 6)) for key in keys[2:4])
  bias = jax.random.normal(keys[4], (16,))

  def loss(mesh):
    def value(x, encoder, bias, decoder):
      scores = jax.lax.stop_gradient(x @ encoder.T + bias)
      values, at = selection.top_k(scores, 3, mesh)
      z = jax.nn.relu(linear.encode_at(values, at, x, encoder, bias, mesh))
      out = linear.decode_at(z, at, decoder, mesh)
      return jnp.sum(jnp.square(out - g)) + jnp.sum(z)

    return jax.jit(jax.value_and_grad(value, (0, 1, 2, 3)))

  expected = loss(None)(x, encoder, bias, decoder)
  mesh = mesh_of(2, 4)
  rows = (placed(mesh, a, "model") for a in (encoder, bias, decoder))
  compiled = loss(mesh).lower(placed(mesh, x, "data"), *rows).compile()
  rows = (placed(mesh, a, "model") for a in (encoder, bias, decoder))
  found = compiled(placed(mesh, x, "data"), *rows)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)
  largest = max(c.payload for c in collectives.read(compiled.as_text()).collectives)
  assert largest < 4 * 8 * 16  # bytes of all activations [n, latents], had they been exchanged


@pytest.fixture(scope="module")
def one(tmp_path_factory):
  return train(tiny_setup(1, path=RECIPE, **SHORT), tmp_path_factory.mktemp("one"))


def test_a_run_over_a_mesh_is_that_of_one_device(one, tmp_path):
  setup = tiny_setup(8, path=RECIPE, mesh__data=2, mesh__model=4, sharding=SPREAD, **SHORT)
  spec = setup.abstract.params["bottleneck"]["W_dec"].sharding.spec
  assert tuple(spec) == ("model",)
  # Adam divides by roots of small sums, so rounding grows for some steps.
  agree(one, train(setup, tmp_path), rtol=2e-3)


def test_what_a_run_over_a_mesh_sends_is_no_batch_of_activations():
  setup = tiny_setup(8, path=RECIPE, mesh__data=1, mesh__model=8, sharding=SPREAD, **SHORT)
  batch = {
    "x": jax.ShapeDtypeStruct((64, 8), jnp.float32),
    "y": jax.ShapeDtypeStruct((64, 8), jnp.float32),
    "mask": jax.ShapeDtypeStruct((64,), bool),
  }
  text = setup.runner.step.lower(setup.abstract, batch, setup.hyper).compile().as_text()
  gathered = [c.payload for c in collectives.read(text).collectives if c.kind == "all-gather"]
  # Winners are [64, 8 devices x 2 latents each]: here as large as all activations would be, but
  # of `aux_k` and the code alike; nothing larger is gathered.
  assert gathered and max(gathered) <= 4 * 64 * 8 * 2


def test_latents_that_do_not_divide_over_the_mesh_are_refused():
  with pytest.raises(InputError, match="18 latents do not divide over the 4 devices"):
    top_k(dim=4, latents=18, k=2, mesh=mesh_of(1, 4))
  with pytest.raises(ConfigError, match="do not divide over the 4 devices"):
    tiny_setup(4, path=RECIPE, mesh__data=1, mesh__model=4, **{**SHORT, "bottleneck__latents": 18})


def test_k_width_and_seed_are_members_of_one_program(tmp_path, monkeypatch):
  found = jax.devices()[:1]
  monkeypatch.setattr(jax, "devices", lambda *a: found)
  chosen = [
    Member(
      tiny(RECIPE, **SHORT, bottleneck__keep=keep, bottleneck__used=used, seed=seed),
      tmp_path / f"{keep}-{used}-{seed}",
      {},
    )
    for keep, used, seed in ((1.0, 16.0, 0), (3.0, 16.0, 1), (3.0, 12.0, 0))
  ]
  train_members(chosen, tmp_path)
  for member, most in zip(chosen, (1.0, 3.0, 3.0)):
    setup = build(member.config, devices=found)
    state = final_state(setup, member.folder)  # as the population left it
    codes = jax.jit(setup.program.forward)(state, jnp.ones((4, 8)), 0, setup.hyper)
    assert int(state.step) == 12
    assert float(jnp.sum(codes["activations"] > 0, axis=1).max()) <= most
    assert int(codes["indices"].max()) < member.config["bottleneck"]["used"]
  alone = final_state(setup, tmp_path / "alone")
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.params, alone.params
  )


@pytest.mark.parametrize(
  ("name", "k", "least"), [("feature_choice", 0.5, 32), ("batch_top_k", 0.05, 20)]
)
def test_a_microbatch_too_small_for_its_budget_is_refused_before_a_run(name, k, least):
  fn = f"ibjax.bottlenecks.sparse.{name}:{name}"
  config = tiny(RECIPE, **{**SHORT, "bottleneck__fn": fn})
  config["bottleneck"]["k"] = k
  build(config, None, jax.devices()[:1])
  config["train"]["accumulate"] = 4
  with pytest.raises(ConfigError, match=rf"at least {least} examples.*accumulate=4"):
    build(config, None, jax.devices()[:1])


def test_feature_choice_starts_from_a_finished_run_of_mutual_choice(tmp_path):
  def setup(name, **more):
    fn = f"ibjax.bottlenecks.sparse.{name}:{name}"
    return tiny_setup(path=RECIPE, **{**SHORT, "bottleneck__fn": fn, **more})

  first = final_state(setup("mutual_choice"), tmp_path / "mutual")
  (tmp_path / "mutual" / "result.json").write_text("{}")
  second = setup("feature_choice", warm_start="mutual")
  given = warm_state(second, second.config, tmp_path / "feature")
  state = take_over(second.runner.init(second.hyper), given)
  assert same((state.params, state.states), (first.params, first.states))
  own = state.states["bottleneck"]["own"]
  theta = own["total"] / own["weight"]  # one threshold for all, with which evaluation starts
  assert float(theta.min()) == float(theta.max()) > 0.0 and float(own["density"].max()) > 0.0
  table = next(iter(second.train_feed().tables(iter([(0, 4)]))))
  state = second.runner.run(state, second.train_feed().data, table, np.int32(4), second.hyper)
  assert int(state.step) == 4 and int(state.bad_step) == -1
