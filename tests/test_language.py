"""The language program and its sources: every token once, resumes, populations, devices."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import source as source_lib
from ibjax.data.feed import read_all
from ibjax.data.sources.finite_state import machine_of
from ibjax.train import loop
from ibjax.train.setup import build_population
from tests.helpers import agree, tiny, tiny_setup, train

SMOKE = "configs/language/decoder_shakespeare.py"
SHORT = dict(
  path=SMOKE,
  decoder__layers=1,
  train__duration="12 steps",
  eval__every="6 steps",
  checkpoint__every="6 steps",
)
TEXT = "to be, or not to be, that is the question: " * 12


@pytest.fixture(scope="module")
def text(tmp_path_factory):
  path = tmp_path_factory.mktemp("text") / "a.txt"
  path.write_text(TEXT)
  return path


def test_a_text_in_windows_has_every_target_once(text):
  found = source_lib.load(f"text:{text}:window=10,test=0.25,validation=0.1")
  place = {name: i for i, name in enumerate(found.class_names)}
  tokens = np.array([place[character] for character in TEXT])
  assert sorted(found.class_names) == list(found.class_names)
  start = 0
  for split in ("train", "validation", "test"):
    arrays = read_all(found.splits[split])
    assert arrays["x"].shape[1:] == (10,) and arrays["x"].dtype == np.int32
    counted = arrays["y"] >= 0
    targets = arrays["y"][counted]
    np.testing.assert_array_equal(targets, tokens[start + 1 : start + 1 + len(targets)])
    inside = counted[:, :-1] & counted[:, 1:]
    np.testing.assert_array_equal(arrays["x"][:, 1:][inside], arrays["y"][:, :-1][inside])
    start += len(targets) + 1
  assert start == len(TEXT)


def test_overlapping_windows_train_and_rare_characters_are_one_token(text):
  few = source_lib.load(f"text:{text}:window=10,stride=4,least=20")
  assert few.class_names[-1] == "\ufffd" and few.num_classes < len(set(TEXT))
  x = read_all(few.splits["train"])["x"]
  np.testing.assert_array_equal(x[0, 4:], x[1, :-4])
  other = source_lib.load(f"text:{text}:window=10,stride=5,least=20")
  assert few.fingerprint != other.fingerprint


def test_a_text_of_other_characters_is_another_one(text, tmp_path):
  (tmp_path / "moved").write_text("".join(chr(ord(character) + 1) for character in TEXT))
  one, other = (source_lib.load(f"text:{path}:window=10") for path in (text, tmp_path / "moved"))
  rows = np.arange(5)
  np.testing.assert_array_equal(
    one.splits["train"].read(rows)["x"], other.splits["train"].read(rows)["x"]
  )
  assert one.fingerprint != other.fingerprint


def test_texts_that_cannot_be_trained_on_are_said(text, tmp_path):
  with pytest.raises(DataError, match="too few for a window of 500"):
    source_lib.load(f"text:{text}:window=500")
  with pytest.raises(DataError, match="IBJAX_DATA_DIR"):
    source_lib.load("text:tinyshakespeare", tmp_path)
  with pytest.raises(ConfigError, match="stride"):
    source_lib.load(f"text:{text}:strid=5")
  (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00 abc" * 100)
  with pytest.raises(DataError, match="UTF-8"):
    source_lib.load(f"text:{tmp_path / 'b.txt'}")


def test_walks_follow_the_edges_of_their_machine():
  name = "finite_state:states=30,successors=3,window=17,n=200,n_test=50"
  made, found = machine_of(name), source_lib.load(name)
  arrays = read_all(found.splits["train"])
  tokens = np.concatenate([arrays["x"][:, :1], arrays["y"]], axis=1)
  walks = made.parse(tokens)
  assert walks.shape == (200, 8) and (tokens[:, 0] == 10).all()
  assert made.adjacency()[walks[:, :-1], walks[:, 1:]].all()
  assert len(np.unique(walks[:, 0])) == 30  # a uniform start
  np.testing.assert_array_equal(made.write(walks), tokens[:, :17])
  other = source_lib.load(f"{name},sample=1")
  assert not np.array_equal(read_all(other.splits["train"])["x"], arrays["x"])
  np.testing.assert_array_equal(
    read_all(other.splits["test"])["x"], read_all(found.splits["test"])["x"]
  )
  assert (machine_of(f"{name},seed=1").edges != made.edges).any()
  broken = tokens.copy()
  broken[0, 1:3] = (3, 0)  # 30 is no state
  broken[1, 1] = 10
  assert made.parse(broken)[0, 0] == -1 and made.parse(broken)[1, 0] == -1


def test_evaluation_is_the_mean_over_all_tokens_whatever_the_batches(text):
  source = f"text:{text}:window=16"
  found = []
  for size in (1, 3):
    setup = tiny_setup(data__source=source, data__batch_size=4, eval__batch_size=size, **SHORT)
    state = setup.runner.init(setup.hyper)
    found.append(loop.evaluate(setup, state, setup.eval_feed("test")))
  test = read_all(setup.splits["test"])
  logits = setup.program.forward(state, jnp.asarray(test["x"]), 0, setup.hyper)["logits"]
  log_probs = np.asarray(jax.nn.log_softmax(logits), np.float64)
  counted = test["y"] >= 0
  assert not counted.all()
  nll = -np.take_along_axis(log_probs, np.maximum(test["y"], 0)[..., None], -1)[..., 0][counted]
  for values in found:
    np.testing.assert_allclose(values["nll_nats"], nll.mean(), rtol=1e-5)
    np.testing.assert_allclose(values["bits_per_token"], nll.mean() / math.log(2), rtol=1e-5)
  token_nll = loop.predictions(setup, state, "test")["token_nll_nats"]
  np.testing.assert_allclose(token_nll[counted], nll, rtol=1e-4)
  assert not token_nll[~counted].any()


def test_a_run_that_stops_goes_on_bit_for_bit(tmp_path, monkeypatch):
  # With a codebook that revives its dead codes, before and after the stop.
  codes = dict(
    sites=("block_*/mlp",), bottleneck__patience=2, bottleneck__codes=64, bottleneck__k=1
  )
  codes["bottleneck__fn"] = "ibjax.bottlenecks.codebook_features:codebook_features"
  setup = tiny_setup(**SHORT, **codes)
  straight = train(setup, tmp_path / "straight")
  saved = loop._chunks

  def half(start, total, *rest):
    yield from (chunk for chunk in saved(start, total, *rest) if chunk[0] < 6 or start >= 6)

  monkeypatch.setattr(loop, "_chunks", half)
  train(setup, tmp_path / "stopped")  # ends after the checkpoint of step 6
  again = train(setup, tmp_path / "stopped")
  assert again == straight
  dead = [line["dead_frac"] for line in straight if line["split"] == "test"]
  assert dead and dead[-1] < 1.0


def test_two_devices_are_one(tmp_path):
  found = [train(tiny_setup(n, **SHORT), tmp_path / str(n)) for n in (1, 2)]
  agree(*found)


def test_a_member_of_a_population_is_its_solo_run(tmp_path):
  configs = [tiny(optimizer__learning_rate=rate, **SHORT) for rate in (0.01, 0.003)]
  together = build_population(configs, devices=jax.devices()[:1])
  feed = together.train_feed()
  state = together.runner.init(together.hyper)
  table = next(feed.tables(iter([(0, 5)])))
  state = together.runner.run(state, feed.data, table, np.int32(5), together.hyper)
  solo = tiny_setup(optimizer__learning_rate=0.003, **SHORT)
  own = solo.train_feed()
  alone = solo.runner.run(
    solo.runner.init(solo.hyper),
    own.data,
    next(own.tables(iter([(0, 5)]))),
    np.int32(5),
    solo.hyper,
  )
  members = jax.device_get(state.params)
  for leaf, expected in zip(jax.tree.leaves(members), jax.tree.leaves(alone.params), strict=True):
    np.testing.assert_allclose(leaf[1], expected, rtol=1e-3, atol=1e-5)
    assert np.abs(leaf[0] - leaf[1]).max() > 1e-3  # the other learns faster


@pytest.mark.parametrize(
  ("overrides", "said"),
  [
    (dict(data__source="digits"), "reads windows of tokens"),
    (dict(data__validation=5), "share tokens"),
    (dict(eval__samples=2), "config.eval.samples=1"),
    (dict(sites=("block_9/mlp",)), "block_9/mlp"),
  ],
)
def test_what_does_not_fit_is_said_before_training(overrides, said):
  with pytest.raises(ConfigError, match=said):
    tiny_setup(path=SMOKE, **overrides)
