"""The information plane: what is captured, that it changes nothing, and that it survives a kill."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.core.config import defaults, resolved
from ibjax.core.errors import ConfigError
from ibjax.data.order import permutation
from ibjax.models.capture import recording
from ibjax.models.noisy_conv import noisy_conv
from ibjax.models.scaled_mlp import scaled_mlp
from ibjax.programs import plane as plane_lib
from ibjax.programs.penalized_adam import penalized_adam
from ibjax.report.page import write_page
from ibjax.report.plane import mean_arrays, planes_of
from ibjax.train import loop, records
from ibjax.train.population import Member, train_members
from ibjax.train.setup import build
from tests.helpers import train

MLP = "ibjax.models.scaled_mlp:scaled_mlp"
BINS = "ibjax.estimators.binning.fixed_bins:fixed_bins"


def resolve(**overrides):
  """The tanh network 12-10-7-5-4-3-2 for a few steps; overrides are written plane__points=3."""
  c = defaults()
  c.data.source, c.data.batch_size = "twelve_bit", 512
  c.encoder = dict(fn=MLP, hidden=(10, 7, 5, 4), activation="tanh", activate_out=True, gain=1.0)
  c.bottleneck.dim = 3
  c.decoder = dict(fn=MLP, hidden=(), gain=1.0)
  c.train.duration, c.train.steps_per_dispatch, c.train.log_every = "12 steps", 4, "3 steps"
  c.eval.every, c.eval.batch_size, c.eval.samples = "6 steps", 4096, 1
  c.checkpoint.every = "5 steps"
  c.plane.fn, c.plane.points, c.plane.steps = "ibjax.programs.plane:plane", 3, (7,)
  c.plane.layers = ("encoder/dense_[1-9].in", "bottleneck.out", "prediction")
  c.plane.estimators.binned = dict(fn=BINS, edges=30)
  c.plane.gradient_batches, c.plane.rank_examples = 2, 2
  c.plane.rank_layers = ("encoder/dense_[04].out",)
  c.update_from_flattened_dict({key.replace("__", "."): v for key, v in overrides.items()})
  return resolved(c)


def one(**overrides):
  return build(resolve(**overrides), None, jax.devices()[:1])


def arrays(folder):
  with np.load(folder / "plane.npz") as found:
    return {name: found[name] for name in found.files}


def equal(a, b):
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  folder = tmp_path_factory.mktemp("plane") / "run"
  lines = train(one(), folder)
  return folder, lines


def test_what_is_captured_is_a_forward_pass_by_hand():
  model = scaled_mlp(hidden=(4, 3), out=2, activation="tanh", activate_out=True)
  x = jax.random.normal(jax.random.key(0), (5, 6))
  params, state = model.init(jax.random.key(1), x)
  with recording() as record:
    model.apply(params, state, x, key=None, train=False)
  layers = [params[f"dense_{i}"] for i in range(3)]
  hidden = x
  for i, layer in enumerate(layers):
    np.testing.assert_allclose(record[f"dense_{i}.in"], hidden, rtol=1e-6)
    before = hidden @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(record[f"dense_{i}.out"], before, rtol=1e-5)
    hidden = jnp.tanh(before)
  np.testing.assert_allclose(record[".out"], hidden, rtol=1e-6)


def test_the_initial_weights_have_their_scale_and_the_cut():
  for fan, size in (("fan_in", 400), ("fan_out", 100)):
    model = scaled_mlp(hidden=(), out=100, fan=fan, gain=2.0)
    kernel = model.init(jax.random.key(0), jnp.zeros((1, 400)))[0]["dense_0"]["kernel"]
    scale = 2.0 / np.sqrt(size)
    assert np.abs(kernel).max() <= 2 * scale
    # The standard deviation of a normal distribution cut at two of its own.
    assert abs(np.std(kernel) / scale - 0.8796) < 0.01


def test_the_noise_is_there_in_evaluation_and_in_proportion():
  model = noisy_conv(channels=(2,), out=3, noise=0.1)
  x = jax.random.uniform(jax.random.key(0), (400, 6, 6, 1))
  params, state = model.init(jax.random.key(1), x)
  with recording() as record:
    model.apply(params, state, x, key=jax.random.key(2), train=False)
  ratio = np.asarray(record["conv_0.in"] / x) - 1.0
  assert abs(ratio.mean()) < 0.005 and abs(ratio.std() - 0.1) < 0.005
  quiet, _ = model.apply(params, state, x, key=None, train=False)
  loud, _ = model.apply(params, state, x, key=jax.random.key(2), train=False)
  assert not np.allclose(quiet, loud)


def test_the_gradients_are_those_of_the_batches(straight):
  setup = one(plane__fn="")
  params = setup.program.init(setup.hyper).params
  tracked = arrays(straight[0])
  values = dict(zip(tracked["names"].tolist(), tracked["values"][0].tolist()))
  size = setup.config["data"]["batch_size"]
  order = permutation(0, 0, setup.splits["train"].n).astype(np.int64)
  found = []
  for rows in (order[:size], order[size : 2 * size]):
    data = setup.splits["train"].read(rows)

    def loss(params, data=data):
      hidden = data["x"]
      for i in range(5):
        layer = params["encoder"][f"dense_{i}"]
        hidden = jnp.tanh(hidden @ layer["kernel"] + layer["bias"])
      last = params["decoder"]["dense_0"]
      logits = hidden @ last["kernel"] + last["bias"]
      return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(logits, data["y"]))

    found.append(jax.grad(loss)(params))
  for component, layer in (("encoder", "dense_0"), ("encoder", "dense_3"), ("decoder", "dense_0")):
    each = np.stack([g[component][layer]["kernel"] for g in found])
    name = f"gradient/{component}/{layer}"
    mean, std = np.linalg.norm(each.mean(0)), np.linalg.norm(each.std(0, ddof=1))
    np.testing.assert_allclose(values[f"{name}/mean_norm"], mean, rtol=1e-4)
    np.testing.assert_allclose(values[f"{name}/std_norm"], std, rtol=1e-4)
    np.testing.assert_allclose(values[f"{name}/snr"], mean / std, rtol=1e-4)
    weights = np.linalg.norm(params[component][layer]["kernel"])
    np.testing.assert_allclose(values[f"{name}/weight_norm"], weights, rtol=1e-5)


def test_an_l2_penalty_is_the_gradient_of_the_penalty():
  params = {
    "encoder": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)},
    "decoder": {"kernel": jnp.ones((3, 1))},
  }
  x = jax.random.normal(jax.random.key(0), (4, 2))

  def loss(params, l2):
    hidden = jnp.tanh(x @ params["encoder"]["kernel"] + params["encoder"]["bias"])
    fit = jnp.mean(jnp.square(hidden @ params["decoder"]["kernel"]))
    return fit + 0.5 * l2 * jnp.sum(jnp.square(params["encoder"]["kernel"]))

  penalized, plain = penalized_adam(0.1, l2=0.3), optax.adam(0.1)
  a, b = params, params
  state_a, state_b = penalized.init(a), plain.init(b)
  for _ in range(4):
    updates, state_a = penalized.update(jax.grad(loss)(a, 0.0), state_a, a)
    a = optax.apply_updates(a, updates)
    updates, state_b = plain.update(jax.grad(loss)(b, 0.3), state_b, b)
    b = optax.apply_updates(b, updates)
  jax.tree.map(lambda p, q: np.testing.assert_allclose(p, q, rtol=1e-5), a, b)


def test_the_steps_are_those_asked_for_and_training_is_the_same(straight, tmp_path):
  folder, lines = straight
  assert arrays(folder)["step"].tolist() == [0, 1, 3, 7, 12]
  assert lines == train(one(plane__fn=""), tmp_path / "off")
  assert not (tmp_path / "off" / "plane.npz").exists()


def test_twelve_bits_at_the_start(straight):
  found = arrays(straight[0])
  first = dict(zip(found["names"].tolist(), found["values"][0].tolist()))
  bits = np.log(2)
  assert found["h_x_nats"] == pytest.approx(12 * bits)
  assert found["h_y_nats"] == pytest.approx(0.99916 * bits, abs=1e-5)
  x = [first[f"binned/layer_{i}/i_xt_nats"] for i in range(1, 7)]
  y = [first[f"binned/layer_{i}/i_ty_nats"] for i in range(1, 7)]
  # Ten units tell nearly all words apart, and every layer before the output fewer than the last.
  assert 11 * bits < x[0] <= 12 * bits + 1e-6
  assert x[:5] == sorted(x[:5], reverse=True)
  assert all(0 <= b <= found["h_y_nats"] + 1e-6 and b <= a for a, b in zip(x, y))
  assert [first[f"rank/encoder/dense_{i}/relative"] for i in (0, 4)] == [10, 3]


def test_the_curve_is_the_exact_one_where_it_is_known(straight):
  found = arrays(straight[0])
  h_y, h_x = float(found["h_y_nats"]), float(found["h_x_nats"])
  np.testing.assert_allclose(found["curve"], [[0, h_y, h_x], [0, h_y, h_y]])
  y = np.array([0, 1, 0, 1])
  noisy = plane_lib.examples(np.zeros((4, 1)), y)  # one input, two labels: no function
  config = {"data": {"source": "twelve_bit"}}
  assert "curve" not in plane_lib.limits(config, noisy)
  gaussian = plane_lib.limits(
    {"data": {"source": "gaussian:dx=1,dy=1,rho=0.6"}},
    plane_lib.examples(np.arange(4.0)[:, None], np.zeros((4, 1))),
  )["curve"]
  # Closed form of one pair: I(T;Y) = -1/2 ln(1 - rho^2 (1 - exp(-2 R))).
  expected = -0.5 * np.log(1 - 0.36 * (1 - np.exp(-2 * gaussian[0])))
  np.testing.assert_allclose(gaussian[1], expected, atol=1e-6)


def test_a_member_has_the_plane_of_its_solo_run(straight, tmp_path, monkeypatch):
  devices = jax.devices()[:1]
  monkeypatch.setattr(jax, "devices", lambda *a: devices)
  members = [Member(resolve(seed=seed), tmp_path / f"seed={seed}", {}) for seed in (0, 1)]
  train_members(members, tmp_path)
  own, other = arrays(tmp_path / "seed=0"), arrays(tmp_path / "seed=1")
  solo = arrays(straight[0])
  counted = [name.startswith("binned/") for name in solo["names"]]
  np.testing.assert_array_equal(own["values"][:, counted], solo["values"][:, counted])
  np.testing.assert_allclose(own["values"], solo["values"], rtol=1e-4)
  assert not np.allclose(own["values"], other["values"])
  mean = mean_arrays([member.folder for member in members])
  assert mean["n"] == 2
  np.testing.assert_allclose(mean["values"], (own["values"] + other["values"]) / 2)


def test_killed_and_continued_has_the_straight_runs_plane(straight, tmp_path, monkeypatch):
  folder = tmp_path / "run"

  class Killed(Exception):
    pass

  def killed(self, step, *rest):
    if step == 12:
      raise Killed
    return track(self, step, *rest)

  track = records.Records.track
  with monkeypatch.context() as patch:
    patch.setattr(records.Records, "track", killed)
    with pytest.raises(Killed):
      train(one(), folder)
  # The checkpoint is of step 10: what is on disk is the plane up to there.
  assert arrays(folder)["step"].tolist() == [0, 1, 3, 7]
  found = arrays(folder)
  found["step"] = np.append(found["step"], 11)  # as if a later plane had been written
  found["values"] = np.concatenate([found["values"], found["values"][-1:]])
  np.savez(folder / "plane.npz", **found)
  assert train(one(), folder) == straight[1]
  equal(arrays(folder), arrays(straight[0]))


def test_the_row_holds_last_largest_and_compression(straight):
  found = arrays(straight[0])
  row = plane_lib.summary(found["names"].tolist(), found["values"])
  name = "binned/layer_6/i_xt"
  column = found["values"][:, found["names"].tolist().index(f"{name}_nats")]
  assert row[f"{name}_nats"] == column[-1] and row[f"{name}_max_nats"] == column.max()
  assert row[f"{name}_compression_nats"] == column.max() - column[-1]
  rank = found["values"][:, found["names"].tolist().index("rank/encoder/dense_0/relative")]
  assert row["rank/encoder/dense_0/relative_first"] == rank[0]
  lines = records.Records(straight[0], step=12, active=False)
  assert lines.last["plane"] == row


def test_the_plane_is_drawn_and_stands_on_the_page(straight):
  folder = straight[0]
  (folder / "manifest.json").write_text("{}")
  page = write_page(folder).read_text()
  assert (folder / "plane.png").stat().st_size > 10_000
  assert "Information plane" in page
  assert planes_of(arrays(folder)).estimators() == ["binned"]


@pytest.mark.parametrize(
  ("key", "value", "message"),
  [
    ("plane__layers", ("encoder/dens_1.in",), "Did you mean 'encoder/dense_1.in'"),
    ("plane__splits", ("tset",), "Did you mean 'test'"),
    ("plane__gradient_batches", 1, "has no spread"),
    ("plane__gradient_batches", 99, "holds 6 batches"),
    ("plane__estimators", {"binned": {"fn": BINS, "inputs": "vals"}}, "Did you mean 'values'"),
    ("plane__rank_examples", -1, "at least 0"),
    ("plane__rank_tolerance", 0.0, "above 0"),
    ("train__remat", True, "remat=True hides"),
    ("plane__estimators__binned__fn", "optax:adam", "no argument|argument of optax:adam"),
    ("plane__estimators", {"binned": {"fn": BINS, "of": ("z",)}}, "expected ('x',)"),
  ],
)
def test_a_plane_that_cannot_be_says_why(key, value, message):
  with pytest.raises(ConfigError) as error:
    one(**{key: value})
  assert any(part in str(error.value) for part in message.split("|")), error.value


def test_steps_due():
  config = {"plane": {"fn": "x", "points": 0, "steps": [5, 50]}}
  assert plane_lib.due(config, 10) == (0, 5, 10)
  assert plane_lib.due({"plane": {"fn": "", "points": 9, "steps": []}}, 10) == ()
  assert plane_lib.due({}, 10) == ()
  assert list(loop._chunks(0, 10, 4, (6, 100), (0, 5, 10))) == [(0, 4), (4, 1), (5, 1), (6, 4)]
