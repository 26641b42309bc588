"""Reading and writing the layers of a trained run, and stores of what they give."""

import json

import jax
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError, InputError
from ibjax.data import feed, store
from ibjax.data import source as source_lib
from ibjax.data.sources import activations
from ibjax.main import main
from ibjax.train.activations import part, stream, write_run
from ibjax.train.tap import open_run, tap
from tests.helpers import tiny_setup

HIDDEN = "encoder/dense_1.in"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  folder = tmp_path_factory.mktemp("run") / "vib"
  config = "--config=configs/variational/vib_mnist.py:smoke"
  assert main(["train", config, f"--workdir={folder}", "--config.train.duration=20 steps"]) == 0
  setup, state, _ = open_run(folder)
  return folder, setup, state, tap(setup, state)


def by_hand(state, x):
  """The first hidden layer of the encoder, in float64."""
  first = jax.device_get(state.ema or state.params)["encoder"]["dense_0"]
  out = x.reshape(len(x), -1).astype(np.float64) @ first["kernel"] + first["bias"]
  return np.maximum(out, 0.0)


def test_a_layer_is_read_as_it_is_computed(run):
  _, _, state, tapped = run
  x = tapped.data("", "test")["x"][:70]  # not a whole number of batches
  hidden = tapped.capture(x, HIDDEN)
  np.testing.assert_allclose(hidden, by_hand(state, x), atol=1e-5)
  np.testing.assert_array_equal(tapped.capture(x[:3], HIDDEN), hidden[:3])
  assert "bottleneck.out" in tapped.layers and "decoder/dense_0.out" in tapped.layers


def test_what_is_written_into_a_layer_is_what_the_model_goes_on_with(run):
  _, _, state, tapped = run
  x = tapped.data("", "test")["x"][:70]
  plain, hidden = tapped.outputs(x), tapped.capture(x, HIDDEN)
  np.testing.assert_allclose(tapped.outputs(x, HIDDEN, hidden), plain, atol=1e-5)
  # Another example's hidden layer makes the model answer for that example.
  other = tapped.outputs(x, "decoder/dense_0.in", tapped.capture(x, "decoder/dense_0.in")[::-1])
  np.testing.assert_allclose(other, plain[::-1], atol=1e-5)
  code = np.zeros_like(tapped.capture(x, "bottleneck.out"))
  last = jax.device_get(state.ema or state.params)["decoder"]["dense_0"]
  found = tapped.outputs(x, "bottleneck.out", code)
  np.testing.assert_allclose(found, np.tile(last["bias"], (len(x), 1)), atol=1e-6)


def test_layers_of_a_language_model_have_positions():
  setup = tiny_setup(path="configs/language/decoder_shakespeare.py")
  tapped = tap(setup, jax.jit(setup.program.init)(setup.hyper))
  tokens = tapped.data("", "test")["x"][:5]
  plain = tapped.outputs(tokens)
  assert tokens.dtype == np.int32 and plain.shape == (5, 16, 11)
  for layer in (
    "block_0.out",
    "block_1/attention/heads.out",
  ):  # [n, t, w], [n, t, heads, w / heads]
    given = tapped.capture(tokens, layer)
    assert given.shape == (5, 16, 16)
    np.testing.assert_allclose(tapped.outputs(tokens, layer, given), plain, atol=1e-5)
    given[:, 9] += 1.0
    changed = np.abs(tapped.outputs(tokens, layer, given) - plain).max(axis=(0, 2))
    assert (changed[:9] < 1e-5).all() and changed[9] > 1e-3  # what comes before does not see it
  live = part(setup, tapped, "block_0.out", setup.splits["test"], 5).read(np.arange(5))
  np.testing.assert_array_equal(live["x"], tapped.capture(tokens, "block_0.out"))
  assert live["y"].shape == (5, 16) and live["y"].min() >= 0


def test_tokens_of_another_alphabet_or_none_are_not_given_to_a_language_model(
  monkeypatch, tmp_path
):
  setup = tiny_setup(path="configs/language/decoder_shakespeare.py")
  state = jax.jit(setup.program.init)(setup.hyper)
  monkeypatch.setattr("ibjax.train.activations.open_run", lambda *args: (setup, state, 0))
  (tmp_path / "text").write_text("abcdefghijk" * 60)
  np.savez(
    tmp_path / "a.npz",
    **{f"x_{s}": np.ones((4, 16)) for s in ("train", "test")},
    **{f"y_{s}": np.zeros(4, int) for s in ("train", "test")},
  )
  for source, told in (
    (f"text:{tmp_path / 'text'}:window=16", "of another alphabet"),
    (f"npz:{tmp_path / 'a.npz'}", "where it takes tokens"),
  ):
    with pytest.raises(ConfigError, match=told):
      write_run("run", "block_0.out", tmp_path / "s", source=source)
  assert not (tmp_path / "s").exists()


def test_a_window_that_reaches_behind_its_text_is_not_stored(tmp_path):
  (tmp_path / "text").write_text("abcdefghijk" * 60)
  setup = tiny_setup(
    path="configs/language/decoder_shakespeare.py",
    data__source=f"text:{tmp_path / 'text'}:window=16",
    data__batch_size=8,
  )
  tapped = tap(setup, jax.jit(setup.program.init)(setup.hyper))
  for name in ("train", "test"):
    split = setup.splits[name]
    y = split.read(np.arange(split.n))["y"]
    assert (y[:-1] >= 0).all() and (y[-1] < 0).any()
    found = part(setup, tapped, "block_0.out", split)
    assert found.examples == split.n - 1
    np.testing.assert_array_equal(found.read(np.arange(found.examples))["y"], y[:-1])


def test_a_store_holds_what_is_captured_directly(run, tmp_path, capsys):
  folder, setup, _, tapped = run
  told = ["data", "activations", str(folder), "--layer", HIDDEN, "--out", str(tmp_path / "s")]
  assert main([*told, "--examples", "300"]) == 0
  assert f"activations:{tmp_path / 's'}" in capsys.readouterr().out
  source = source_lib.load(f"activations:{tmp_path / 's'}:layer={HIDDEN}")
  origin = {"model": tapped.fingerprint, "layer": HIDDEN, "data": setup.source.fingerprint}
  parts = {name: part(setup, tapped, HIDDEN, setup.splits[name], 300) for name in ("train", "test")}
  live = activations.live("live", parts, origin=origin, num_classes=10)
  for name in parts:
    stored = feed.read_all(source.splits[name])
    raw = setup.splits[name].read(np.arange(300))
    low, high = setup.config["data"]["value_range"]
    x = raw["x"].astype(np.float32) / 255.0 * (high - low) + low
    np.testing.assert_allclose(stored["x"], by_hand(run[2], x), atol=1e-5)
    np.testing.assert_array_equal(stored["y"], raw["y"])
    rows = np.array([299, 5, 5, 130])
    np.testing.assert_allclose(
      live.splits[name].read(rows)["x"], stored["x"][rows], rtol=1e-5, atol=1e-6
    )
  blocks = list(stream(parts["test"], 128))
  assert [len(block["x"]) for block in blocks] == [128, 128, 44]
  np.testing.assert_allclose(
    np.concatenate([block["x"] for block in blocks]), stored["x"], rtol=1e-5, atol=1e-6
  )
  index = json.loads((tmp_path / "s" / store.INDEX).read_text())
  assert index["origin"] == origin and index["notes"]["run"] == str(folder.resolve())
  # The same folder for another layer is refused, and for the same one there is nothing to do.
  assert main([*told, "--examples", "300"]) == 0
  assert main([*told[:4], "decoder/dense_0.in", *told[5:], "--examples", "300"]) == 2


def test_layers_are_listed_and_mistakes_explained(run, tmp_path, capsys):
  folder, _, _, tapped = run
  assert main(["data", "activations", str(folder)]) == 0
  assert capsys.readouterr().out.split() == list(tapped.layers)
  x = tapped.data("", "test")["x"][:5]
  with pytest.raises(ConfigError, match="Did you mean 'encoder/dense_1.in'"):
    tapped.capture(x, "encoder/dens_1.in")
  with pytest.raises(InputError, match="another model, layer or width"):
    tapped.outputs(x, HIDDEN, np.zeros((5, 3)))
  told = ["data", "activations", str(folder), "--layer", HIDDEN]
  for flags, match in (
    ([], "needs --out DIR"),
    (["--out", str(tmp_path / "a"), "--splits", "trian"], "Did you mean 'train'"),
    (["--out", str(tmp_path / "a"), "--source", "toy:moons"], "inputs of 'toy:moons' have shape"),
    (["--outt", str(tmp_path / "a")], "Did you mean '--out'"),
  ):
    assert main([*told, *flags]) == 2
    assert match in capsys.readouterr().err
  for flags in (["--out", str(tmp_path / "a")], ["--dtype=float16"], ["--splits=test"]):
    assert main([*told[:3], *flags]) == 2
    assert "needs --layer LAYER" in capsys.readouterr().err
  with pytest.raises(ConfigError, match="holds no run"):
    open_run(tmp_path)


def test_a_diverged_model_is_found_by_its_activations(run, tmp_path):
  _, setup, state, _ = run
  bad = jax.tree.map(lambda leaf: leaf, jax.device_get(state))
  for params in (bad.params, bad.ema):
    if params:
      params["encoder"]["dense_0"]["bias"] = np.full_like(
        params["encoder"]["dense_0"]["bias"], np.nan
      )
  broken = {"train": part(setup, tap(setup, bad), HIDDEN, setup.splits["train"], 8)}
  origin = {"model": "broken", "layer": HIDDEN, "data": "mnist"}
  from ibjax.data.store_write import write

  with pytest.raises(DataError, match=r"layer 'encoder/dense_1.in'.*NaN or infinite"):
    write(tmp_path / "s", broken, origin=origin)
