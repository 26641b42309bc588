"""Classes that come in groups: the stream, the memory, what is forgotten, and the program."""

import collections
import json

import numpy as np
import pytest

from ibjax.core.config import resolved
from ibjax.core.errors import ConfigError, DataError, InputError
from ibjax.data import class_sequence, source
from ibjax.evaluators.forgetting import average_accuracy, forgetting, group_accuracies
from ibjax.programs import incremental as program
from ibjax.train import measure
from tests.helpers import load_config

TOY = "configs/key_value/incremental_toy.py"
TINY = dict(training__epochs=100, unlabelled__steps=100, recipe__bottleneck__key_steps=100)


def config(path=TOY, variant="", **changes):
  made = load_config(path, variant)
  for key, value in changes.items():
    made.update_from_flattened_dict({key.replace("__", "."): value})
  return resolved(made)


def row(made):
  found = program.incremental(made)
  return found.summarize({part: found.measure(part) for part in found.parts})


# The stream.


def test_groups_are_all_classes_once_and_the_seed_orders_them():
  orders = {class_sequence.class_groups(10, 2, seed, True) for seed in range(4)}
  assert len(orders) == 4
  for groups in orders:
    assert sorted(c for group in groups for c in group) == list(range(10))
    assert all(len(group) == 2 for group in groups)


def test_a_stream_is_of_one_group_at_a_time_and_each_pass_sees_an_example_once():
  labels = np.arange(60) % 6
  tables = class_sequence.stream(labels, ((4, 1), (0, 2), (3, 5)), 3, 10, seed=0)
  for group, table in zip(((4, 1), (0, 2), (3, 5)), tables):
    assert table.shape == (6, 10) and set(labels[table.ravel()]) == set(group)
    for pass_ in table.reshape(3, 20):
      assert len(set(pass_)) == 20
  again = class_sequence.stream(labels, ((4, 1), (0, 2), (3, 5)), 3, 10, seed=0)
  assert all(np.array_equal(a, b) for a, b in zip(tables, again))


def test_the_memory_is_an_even_sample_of_what_came():
  kept = collections.Counter()
  for seed in range(200):
    tables = [np.arange(40).reshape(4, 10), np.arange(40, 80).reshape(4, 10)]
    first, second = class_sequence.with_rehearsal(tables, 8, seed)
    assert np.array_equal(second[:, :10], tables[1])
    assert np.array_equal(first[0, 10:], first[0, :10])  # nothing came before the first batch
    for step, both in enumerate([*first, *second]):
      past = 10 * step
      assert not step or both[10:].max() < past  # only what came before
      assert len(set(both[10:])) <= 8 or not step
    kept.update(second[-1, 10:].tolist())
  # Of the 70 examples before the last batch each is drawn with the same probability.
  shares = np.array([kept[i] for i in range(70)]) / sum(kept.values())
  early, late = shares[:35].sum(), shares[35:].sum()
  assert abs(early - late) < 0.12 and shares.min() > 0


# What is forgotten.


def test_forgetting_and_average_accuracy_of_a_matrix_by_hand():
  by_class = np.array([[1.0, 0.5, 0.0, 0.0], [0.5, 0.5, 1.0, 0.8]])
  found = group_accuracies(by_class, np.array([10, 30, 10, 10]), ((0, 1), (2, 3)))
  np.testing.assert_allclose(found, [[0.625, 0.0], [0.5, 0.9]])
  np.testing.assert_allclose(forgetting(found), [0.125])
  np.testing.assert_allclose(average_accuracy(found), (0.625 + 0.7) / 2)
  assert len(forgetting(np.array([[0.7]]))) == 0 and average_accuracy(np.array([[0.7]])) == 0.7
  with pytest.raises(InputError, match="accuracy has shape"):
    forgetting(np.ones((2, 3)))


# The program, on the paper's eight Gaussians.


@pytest.mark.slow
def test_keys_and_values_keep_what_a_linear_probe_and_an_mlp_forget():
  keeps = row(config(**TINY))
  assert keeps["accuracy_frac"] > 0.97 and keeps["forgetting_frac"] < 0.03
  assert keeps["after_1_accuracy_frac"] <= 0.25  # the classes to come are not known yet
  forgets = row(config(variant="mlp", training__epochs=200))
  assert forgets["accuracy_frac"] < 0.5 and forgets["forgetting_frac"] > 0.5
  # Told all classes at once, it learns them: it is the order that makes it forget.
  at_once = dict(data__split_classes=8, training__epochs=200)
  assert row(config(variant="mlp", **at_once))["accuracy_frac"] > 0.9
  forgets = row(config(variant="linear", training__epochs=200))
  assert forgets["accuracy_frac"] < 0.5 and forgets["forgetting_frac"] > 0.4


def test_a_run_that_was_killed_goes_on_to_the_same_row(tmp_path):
  made = config(**TINY)
  measure.run(made, tmp_path, {"config_file": TOY, "overrides": [], "command": ""})
  straight = json.loads((tmp_path / "result.json").read_text())
  lines = (tmp_path / measure.LINES).read_text().splitlines(keepends=True)
  assert len(lines) == 4
  (tmp_path / measure.LINES).write_text("".join(lines[:2]) + lines[2][:20])
  (tmp_path / "result.json").unlink()
  measure.run(made, tmp_path, {"config_file": TOY, "overrides": [], "command": ""})
  assert json.loads((tmp_path / "result.json").read_text()) == straight
  assert (tmp_path / measure.LINES).read_text().splitlines(keepends=True) == lines


def test_unlabelled_steps_leave_parameters_as_they_start_and_move_keys():
  made = config(**TINY)
  found = program.incremental(made)
  learner = found.measure.__closure__
  learner = next(c.cell_contents for c in learner if isinstance(c.cell_contents, program._Learner))
  begun, fresh = learner._begin(), learner._functions["init"](learner._hyper)
  assert int(begun.step) == 0 and not np.any(begun.states["bottleneck"]["hits"])
  assert np.array_equal(begun.params["bottleneck"]["values"], fresh.params["bottleneck"]["values"])
  moved = begun.states["bottleneck"]["keys"] != fresh.states["bottleneck"]["keys"]
  assert np.asarray(moved).mean() > 0.9
  first = begun.states["bottleneck"]["keys"].copy()
  found.measure(found.parts[-1])
  assert np.array_equal(learner._state.states["bottleneck"]["keys"], first)  # frozen
  assert np.any(learner._state.states["bottleneck"]["hits"])


def test_methods_without_keys_train_on_the_same_examples():
  aside = dict(unlabelled__source="", unlabelled__examples=80, unlabelled__batch_size=80)
  small = dict(training__batch_size=20)
  with_keys = program.incremental(config(**TINY, **aside, **small))
  without = program.incremental(config(variant="mlp", **aside, **small))
  assert with_keys.data["n_train"] == without.data["n_train"] == 320
  assert with_keys.data["fingerprint"] == without.data["fingerprint"]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(data__split_classes=3), "8 classes cannot come 3 at a time.*1, 2, 4, 8"),
    (dict(training__batch_size=101), r"classes \[0, 1\] have 100 training examples, fewer than"),
    (dict(data__n=500), "config.data.n=500, and there are 400 examples"),
    (dict(unlabelled__batch_size=5000), "config.unlabelled.batch_size=5000, and there are 4000"),
    (dict(unlabelled__source="", unlabelled__examples=400), "examples=400, and there are 399"),
    (dict(unlabelled__source="digits"), r"has inputs \[8, 8, 1\].*from one encoder"),
    (dict(unlabelled__steps=7), "key_steps=1000, and config.unlabelled.steps=7"),
    (dict(training__rehearsal=-1), "config.training.rehearsal is -1"),
    (dict(recipe__bottleneck__width=3), "given 2 numbers an example, and 3 are wanted"),
    (dict(recipe__bottleneck__top_k=21), "top_k=21 keys cannot be fetched of 20"),
    (dict(data__tasks="toy:sine"), "real-valued targets"),
    (dict(data__tasks="eight_gaussians:n=12"), "n=12 must be a multiple of 8"),
  ],
)
def test_what_does_not_fit_is_said_before_measuring(changes, message):
  with pytest.raises((ConfigError, InputError), match=message):
    program.incremental(config(**changes))


# Its sources.


def test_eight_gaussians_are_where_the_paper_has_them():
  from ibjax.data.sources.eight_gaussians import MEANS

  train = source.load("eight_gaussians:n=4000").splits["train"].read(np.arange(4000))
  for c, mean in enumerate(MEANS):
    x = train["x"][train["y"] == c]
    assert len(x) == 500
    np.testing.assert_allclose(x.mean(0), mean, atol=0.006)
    np.testing.assert_allclose(x.std(0), 0.035, atol=0.004)
  square = source.load("eight_gaussians:n=4000,uniform=1").splits["train"].read(np.arange(4000))
  assert square["x"].min() >= 0 and square["x"].max() <= 1
  np.testing.assert_allclose(square["x"].std(0), 12**-0.5, atol=0.01)


def features(tmp_path, **changes):
  folder = tmp_path / "cifar10_effl0_features"
  folder.mkdir(exist_ok=True)
  arrays = dict(train=np.ones((20, 1280), np.float16), y_train=np.arange(20) % 10)
  arrays |= dict(test=np.ones((10, 1280), np.float16), y_test=np.arange(10))
  np.savez(folder / "features_fp16.npz", **{**arrays, **changes})
  return tmp_path


def test_features_are_read_and_wrong_ones_are_explained(tmp_path):
  with pytest.raises(DataError, match="there is no .*features_fp16.npz"):
    source.load("cifar10_effl0", tmp_path)
  found = source.load("cifar10_effl0", features(tmp_path))
  assert found.x_shape == (1280,) and found.num_classes == 10 and found.splits["test"].n == 10
  with pytest.raises(DataError, match=r"train has shape \[20, 512\], expected \[n, 1280\]"):
    source.load("cifar10_effl0", features(tmp_path, train=np.ones((20, 512))))
  broken = np.ones((20, 1280), np.float16)
  broken[3, 7] = np.nan
  with pytest.raises(DataError, match="NaN"):
    source.load("cifar10_effl0", features(tmp_path, train=broken))
  with pytest.raises(ConfigError, match="takes no argument"):
    source.load("cifar10_effl0:x", tmp_path)
  (tmp_path / "cifar10_effl0_features" / "features_fp16.npz").write_bytes(b"PK cut")
  with pytest.raises(DataError, match="is damaged"):
    source.load("cifar10_effl0", tmp_path)
