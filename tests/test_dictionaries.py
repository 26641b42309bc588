"""Assessors of dictionaries, on dictionaries whose scores are known."""

import numpy as np
import pytest
from scipy.special import betainc

from ibjax.core.errors import ConfigError, DataError, InputError
from ibjax.data import source as source_lib
from ibjax.data.sources import planted
from ibjax.data.store import Part
from ibjax.data.store_write import write
from ibjax.evaluators.absorption import absorption
from ibjax.evaluators.dictionaries import has_origin
from ibjax.evaluators.dictionary_use import dictionary_use
from ibjax.evaluators.feature_recovery import feature_recovery
from ibjax.evaluators.loss_recovered import loss_recovered
from ibjax.evaluators.ontology import ontology
from ibjax.evaluators.outside_latents import outside_latents
from ibjax.evaluators.sparse_probing import sparse_probing
from ibjax.evaluators.steering import steering
from tests.dictionaries import exact, tapped, trained

FLAT = "superposition:features=12,dim=16,l0=2,low=0.2,n=500,n_test=400"
TREE = "hierarchy:features=12,dim=200,l0=3,low=1,n=500,n_test=2000"


def of(argument, rows, encode, **options):
  return trained(rows, encode, source=f"autoencode:planted:{argument}", **options)


# What a dictionary explains, and what of it is used.


@pytest.mark.parametrize("sparse", [False, True])
def test_the_true_dictionary_is_recovered_perfectly(sparse):
  rows = planted.truth(FLAT).dictionary
  order = np.random.default_rng(0).permutation(12)
  # Of another order and length: neither is part of what was planted.
  given = rows[order] * np.linspace(0.5, 3.0, 12)[:, None]
  found = feature_recovery()(of(FLAT, given, exact(given), sparse=sparse))
  for name in ("mmcs", "mcc", "uniqueness_frac", "recovered_frac", "precision", "recall", "f1"):
    assert found[name] == pytest.approx(1.0, abs=1e-6), name
  used = dictionary_use()(of(FLAT, given, exact(given), sparse=sparse))
  y = source_lib.load(f"planted:{FLAT}").splits["test"].read(np.arange(400))["y"]
  assert used["l0"] == pytest.approx((y > 0).sum() / 400)
  assert used["fvu"] == pytest.approx(0.0, abs=1e-8) and used["dead"] == 0
  assert used["norm_ratio"] == pytest.approx(1.0, rel=1e-5)


def test_a_random_dictionary_scores_what_random_directions_score():
  argument = "superposition:features=300,dim=16,l0=2,n=10,n_test=10"
  rows = np.random.default_rng(1).normal(size=(60, 16))
  found = feature_recovery()(of(argument, rows, lambda x: np.zeros((len(x), 60))))
  # A cosine in d dimensions has P(c <= t) = 1/2 + sign(t) I(t^2; 1/2, (d - 1)/2) / 2.
  t = np.linspace(-1.0, 1.0, 20001)
  below = 0.5 + 0.5 * np.sign(t) * betainc(0.5, 7.5, t**2)
  expected = 1.0 - np.trapezoid(below**60, t)
  assert found["mmcs"] == pytest.approx(expected, abs=0.015)
  assert found["f1"] == 0.0 and found["recovered_frac"] < 0.05


def test_copies_lower_uniqueness_and_missing_directions_the_cosines():
  rows = planted.truth(FLAT).dictionary
  half = np.concatenate([rows[:6], rows[:6]])
  found = feature_recovery()(of(FLAT, half, exact(half)))
  assert found["uniqueness_frac"] == 0.5 and found["recovered_frac"] == 0.5
  cosines = rows.astype(float) @ rows[:6].T.astype(float)
  assert found["mmcs"] == pytest.approx(cosines.max(axis=1).mean(), abs=1e-5)
  more = np.concatenate([rows, rows])
  found = feature_recovery()(of(FLAT, more, exact(more)))
  assert found["mcc"] == pytest.approx(1.0, abs=1e-6) and found["uniqueness_frac"] == 0.5


def test_dead_and_dense_latents_and_their_densities_are_counted():
  x = np.random.default_rng(2).normal(size=(1000, 3)).astype(np.float32)
  active = np.zeros((1000, 5))
  active[:, 1], active[:5, 2], active[:50, 3], active[:500, 4] = 1.0, 2.0, 1.0, -1.0
  data = {("", "test"): {"x": x, "y": x}}
  model = trained(np.zeros((5, 3)), lambda rows: active, data=data)
  found = dictionary_use(dense_above=0.4)(model)
  assert (found["dead"], found["dense"], found["l0"]) == (1, 2, 1.555)
  shares = [found[f"density_to_{name}_frac"] for name in ("1e-4", "1e-3", "1e-2", "1e-1", "1")]
  assert shares == [0, 0, 0.2, 0.2, 0.4] and found["dead_frac"] == 0.2
  # Nothing is explained by zeros; the mean explains none of the variance.
  expected = np.sum(x**2, dtype=float) / np.sum((x - x.mean(axis=0)) ** 2, dtype=float)
  assert found["fvu"] == pytest.approx(expected, rel=1e-6) and found["norm_ratio"] == 0
  halved = trained(0.5 * np.eye(3), lambda rows: rows, data=data)
  found = dictionary_use()(halved)
  assert found["norm_ratio"] == pytest.approx(0.5) and found["fvu"] == pytest.approx(
    0.25 * expected, rel=1e-5
  )


# Absorption.


def test_absorption_is_found_where_it_is_and_nowhere_else():
  truth = planted.truth(TREE)
  rows, parent = truth.dictionary, truth.parent
  child = parent >= 0
  true = exact(rows)
  found = absorption()(of(TREE, rows, true))
  assert found == {"absorbed_frac": 0.0, "missed_frac": 0.0, "alone_missed_frac": 0.0}

  absorbing = rows.copy()
  absorbing[child] += rows[parent[child]]

  def absorbed(x):
    z = true(x)
    silent = np.zeros_like(z, bool)
    for number in np.flatnonzero(child):
      silent[:, parent[number]] |= z[:, number] != 0
    return np.where(silent, 0.0, z)

  model = of(TREE, absorbing, absorbed)
  assert dictionary_use()(model)["fvu"] < 1e-8  # a perfect reconstruction, with fewer latents
  found = absorption()(model)
  assert found == {"absorbed_frac": 1.0, "missed_frac": 1.0, "alone_missed_frac": 0.0}

  def silent(x):
    return np.where(child, true(x), 0.0)

  found = absorption(least=0.9)(of(TREE, rows, silent))
  assert (found["missed_frac"], found["alone_missed_frac"]) == (1.0, 1.0)
  assert found["absorbed_frac"] < 0.05
  with pytest.raises(InputError, match="have no parents"):
    absorption()(of(FLAT, rows, true))
  with pytest.raises(InputError, match="cannot be matched to 12"):
    absorption()(of(TREE, rows[:5], exact(rows[:5])))


# Labels: probes and ontologies.


def labelled(n=600, classes=4, width=12, seed=0):
  rng = np.random.default_rng(seed)
  y = rng.integers(0, classes, n)
  z = (np.arange(classes) == y[:, None]) * rng.uniform(0.5, 1.0, (n, 1))
  z = np.concatenate(
    [z, rng.uniform(0.0, 1.0, (n, width - classes)) * (rng.random((n, 1)) < 0.5)], 1
  )
  turn = np.linalg.qr(np.random.default_rng(9).normal(size=(width, width)))[0]
  return {"x": (z @ turn).astype(np.float32), "y": y.astype(np.int32)}, turn


def test_one_latent_tells_its_class_where_no_coordinate_does():
  (train, turn), (test, _) = labelled(), labelled(seed=1)
  data = {("given", "train"): train, ("given", "test"): test}
  model = trained(turn, exact(turn), source="autoencode:given", data=data)
  found = sparse_probing(ks=(1, 3), classes=3)(model)
  assert found["k1_auroc_frac"] == 1.0 and found["k1_balanced_acc_frac"] == 1.0
  assert found["input_k1_auroc_frac"] < 0.97 and found["input_all_auroc_frac"] > 0.99
  # A dictionary that does not answer to the classes is at chance.
  noise = trained(
    turn, lambda x: np.random.default_rng(3).random((len(x), 12)), source="given", data=data
  )
  assert sparse_probing(ks=(1,))(noise)["k1_auroc_frac"] == pytest.approx(0.5, abs=0.06)
  with pytest.raises(InputError, match="k=13 is more"):
    sparse_probing(ks=(13,))(model)
  flat = {key: {**value, "y": np.zeros(600, np.int32)} for key, value in data.items()}
  with pytest.raises(InputError, match="has no labels of at least two classes"):
    sparse_probing()(trained(turn, exact(turn), source="given", data=flat))


def test_probes_of_a_split_in_order_of_its_classes_are_refused():
  (train, turn), (test, _) = labelled(), labelled(seed=1)
  order = np.argsort(train["y"], kind="stable")
  train = {name: value[order] for name, value in train.items()}
  data = {("given", "train"): train, ("given", "test"): test}
  model = trained(turn, exact(turn), data=data, source="given")
  with pytest.raises(InputError, match="first 50 examples of the split 'train' are all of one"):
    sparse_probing(ks=(1,), examples=50)(model)
  # Some of the classes: those that are not there are not probed.
  assert sparse_probing(ks=(1,), examples=200, classes=4)(model)


def test_ontology_by_hand():
  paths = ("animal/cat", "animal/dog", "vehicle")
  y = np.array([0, 0, 1, 1, 2, 2], np.int32)
  z = np.array(
    [
      [3, 1, 1, 0.0],  # a cat latent, one of animals, one of everything, one of too few examples
      [2, 2, 0, 1],
      [1, 3, 0, 0],
      [0, 4, 2, 0],
      [0, 0, 3, 0],
      [0, 0, 0, 0],
    ]
  )
  data = {("given", "test"): {"x": np.eye(6, dtype=np.float32), "y": y}}
  model = trained(np.zeros((4, 6)), lambda x: np.asarray(x) @ z, source="given", data=data)
  found = ontology(paths=paths, top=2)(model)
  # Most active: cats 0, 0; dogs 1, 1; a vehicle and a dog, whose common kind is the root.
  assert found["active_latents"] == 3 and found["lca_height"] == pytest.approx((0 + 0 + 2) / 3)
  assert found["coverage_frac"] == 2 / 4 and found["class_coverage_frac"] == 2 / 3
  found = ontology(paths=paths, top=3)(model)  # 0, 0, 1 and 1, 1, 0: animals; then everything
  assert found["lca_height"] == pytest.approx((1 + 1 + 2) / 3) and found["coverage_frac"] == 1 / 4
  with pytest.raises(InputError, match="label 2 has no path"):
    ontology(paths=paths[:2])(model)


# A layer in a model.


def spliced(rows, encode, **options):
  rng = np.random.default_rng(5)
  x, y = rng.normal(size=(200, 6)).astype(np.float32), rng.integers(0, 6, 200)
  return trained(rows, encode, source="given", opened=tapped(4.0 * np.eye(6), x, y, **options))


def test_loss_is_recovered_by_the_identity_and_lost_with_zeros():
  assess = loss_recovered(run="r", layer="h")
  found = assess(spliced(np.eye(6), lambda x: x))
  assert found["recovered_frac"] == pytest.approx(1.0) and found["kl_nats"] == pytest.approx(0.0)
  assert found["loss_zero"] == pytest.approx(np.log(6)) and found["loss"] != found["loss_zero"]
  found = assess(spliced(np.eye(6), lambda x: 0.0 * x))
  assert found["recovered_frac"] == pytest.approx(0.0) and found["kl_nats"] > 0.5


def test_steering_by_the_class_s_own_latent_moves_all_and_noise_does_not():
  assess = steering(run="r", layer="h", strength=100.0, classes=6)
  found = assess(spliced(np.eye(6), lambda x: np.maximum(x, 0.0)))
  assert found["moved_frac"] == 1.0 and found["random_moved_frac"] < 0.6
  assert found["log_prob_gain_nats"] > 1.0


def test_steering_says_nothing_of_a_model_that_answers_with_one_class():
  x = np.ones((20, 6), np.float32)
  opened = tapped(np.eye(6)[:, [0] * 6] * np.arange(6), x, np.zeros(20, np.int64))
  found = steering(run="r", layer="h")(
    trained(np.eye(6), lambda x: x, source="given", opened=opened)
  )
  assert len(found) == 4 and np.isnan(list(found.values())).all()


def test_a_store_of_any_function_is_of_no_run(tmp_path):
  origin = {"model": "f", "layer": "h", "data": "d"}
  part = Part(4, lambda rows: {"x": np.eye(6, dtype=np.float32)[rows]})
  for name, notes in (("any", {}), ("run", {"run": "r", "source": ""})):
    write(tmp_path / name, {"train": part, "test": part}, origin=origin, notes=notes)
  sources = [f"autoencode:activations:{tmp_path / name}" for name in ("any", "run")]
  sources.append(f"autoencode:planted:{FLAT}")
  found = [has_origin(trained(np.eye(6), lambda x: x, source=source)) for source in sources]
  assert found == [False, True, False]


def test_a_store_below_the_data_folder_that_was_given_is_found(tmp_path):
  origin = {"model": "f", "layer": "h", "data": "d"}
  part = Part(4, lambda rows: {"x": np.eye(6, dtype=np.float32)[rows]})
  notes = {"run": "r", "source": ""}
  write(tmp_path / "made", {"train": part, "test": part}, origin=origin, notes=notes)
  model = trained(np.eye(6), lambda x: x, source="autoencode:activations:made")
  assert has_origin(model._replace(data_dir=tmp_path))
  with pytest.raises(DataError, match="there is no"):
    has_origin(model)


def test_a_store_of_another_model_is_not_spliced(tmp_path):
  origin = {"model": "f", "layer": "h", "data": "d"}
  part = Part(4, lambda rows: {"x": np.eye(6, dtype=np.float32)[rows]})
  write(tmp_path, {"train": part, "test": part}, origin=origin, notes={"run": "r", "source": ""})

  def model(**options):
    return spliced(np.eye(6), lambda x: x, **options)._replace(
      config={"data": {"source": f"autoencode:activations:{tmp_path}"}, "bottleneck": {}}
    )

  assert loss_recovered()(model())["recovered_frac"] == pytest.approx(1.0)
  with pytest.raises(InputError, match="is another model, or was trained on"):
    loss_recovered()(model(fingerprint="g"))
  with pytest.raises(InputError, match="the store is of layer 'h', asked for is 'k'"):
    loss_recovered(layer="k")(model())
  with pytest.raises(InputError, match="does not say which run"):
    loss_recovered()(spliced(np.eye(6), lambda x: x))


# What is outside, and what is no dictionary.


def test_what_lies_outside_the_dictionary_is_told_by_its_residual():
  rng = np.random.default_rng(6)
  inside = lambda n: np.concatenate([rng.normal(size=(n, 3)), np.zeros((n, 3))], 1)
  data = {("", "train"): {"x": inside(300)}, ("", "test"): {"x": inside(200)}}
  data["other", "test"] = {"x": rng.normal(size=(200, 6))}
  data["same", "test"] = {"x": inside(200)}
  model = trained(np.eye(6)[:3], lambda x: x[:, :3], data=data)
  found = outside_latents(sources=("other", "same"))(model)
  assert found["other_residual_auroc_frac"] == 1.0
  assert found["same_neighbours_auroc_frac"] == pytest.approx(0.5, abs=0.1)
  assert found["same_l0_auroc_frac"] == 0.5
  data["wide", "test"] = {"x": np.zeros((9, 7))}
  with pytest.raises(InputError, match="another layer or width"):
    outside_latents(sources=("wide",))(model)


def test_some_classes_of_a_source():
  whole = source_lib.load("digits")
  some = source_lib.load("classes:8,1-2:digits")
  assert some.num_classes == 3 and some.class_names == ("1", "2", "8")
  for split in ("train", "test"):
    all_y = whole.splits[split].read(np.arange(whole.splits[split].n))
    found = some.splits[split].read(np.arange(some.splits[split].n))
    rows = np.isin(all_y["y"], (1, 2, 8))
    np.testing.assert_array_equal(found["x"], all_y["x"][rows])
    np.testing.assert_array_equal(np.array([1, 2, 8])[found["y"]], all_y["y"][rows])
  np.testing.assert_array_equal(
    some.train_labels, some.splits["train"].read(np.arange(some.splits["train"].n))["y"]
  )
  for text, match in (
    ("9-10:digits", "there are 0..9"),
    ("a:digits", "no class"),
    ("1", "no source"),
    ("0-99999999999:digits", "there are 0..9"),
    ("0-3:finite_state:n=50,n_test=10,window=8", "label at every position"),
  ):
    with pytest.raises(ConfigError, match=match):
      source_lib.load(f"classes:{text}")


def test_a_bottleneck_without_a_dictionary_says_so():
  model = trained(np.eye(2), lambda x: x, data={("", "test"): {"x": np.eye(2)}})
  with pytest.raises(InputError, match="has no dictionary"):
    dictionary_use()(model._replace(params={"bottleneck": {}}))
  with pytest.raises(ConfigError, match="no known dictionary"):
    feature_recovery()(model)
