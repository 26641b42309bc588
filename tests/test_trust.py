"""The trust report finds what is wrong with an estimator, and nothing where nothing is."""

import math

import jax
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.core.estimate import Note, Value
from ibjax.estimators.base import samples, warn
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.trust import trust


def gaussian_nats(x, y):
  c = np.corrcoef(np.hstack([x, y]).T)
  d = x.shape[1]
  parts = (np.linalg.slogdet(block)[1] for block in (c[:d, :d], c[d:, d:], c))
  in_x, in_y, in_both = parts
  return 0.5 * (in_x + in_y - in_both)


def plug_in_nats(x, y):
  both = warn.label_entropy(x * (y.max() + 1) + y)
  return warn.label_entropy(x) + warn.label_entropy(y) - both


def toy(nats, **fields):
  """An estimator of one line; `nats(x, y)`, or `nats(x, y, key)` with needs_key."""

  def value(x, y, z, key):
    return Value(nats(x, y, key) if fields.get("needs_key") else nats(x, y))

  return Estimator(name="toy", value=value, no_interval="a toy", **fields)


def channel(n=1000, d=2, rho=0.6):
  rng = np.random.default_rng(0)
  x = rng.normal(size=(n, d))
  return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(n, d))


def labels(n=2000, k=3):
  rng = np.random.default_rng(0)
  x = rng.integers(0, k, n)
  return x, np.where(rng.random(n) < 0.7, x, rng.integers(0, k, n))


def codes(estimate):
  return {note.code for note in estimate.warnings}


def test_a_sound_estimator_passes_every_check():
  found = trust(toy(gaussian_nats), *channel())
  assert codes(found) == set()
  wanted = {"scale", "affine", "not_converged", "independence", "data_processing", "additivity"}
  assert set(found.diagnostics["checks"]) == wanted
  expected, doubled = found.diagnostics["checks"]["additivity"]
  assert doubled == pytest.approx(expected, rel=0.1) and expected > 0.8
  before, after = found.diagnostics["checks"]["data_processing"]
  assert 0.1 < after < 0.7 * before


def test_a_sound_estimator_of_labels_passes_every_check():
  found = trust(toy(plug_in_nats, x="labels", y="labels"), *labels())
  assert codes(found) == set()
  wanted = {"not_converged", "independence", "data_processing", "additivity"}
  assert set(found.diagnostics["checks"]) == wanted
  before, after = found.diagnostics["checks"]["data_processing"]
  assert after < 0.6 * before


def shifted(amount):
  return lambda x, y: gaussian_nats(x, y) + amount(x, y)


@pytest.mark.parametrize(
  ("code", "broken"),
  [
    ("scale", toy(shifted(lambda x, y: 0.3 * np.std(x)))),
    ("affine", toy(lambda x, y: sum(gaussian_nats(x[:, [i]], y[:, [i]]) for i in range(2)))),
    ("data_processing", toy(shifted(lambda x, y: np.var(y)))),
    ("additivity", toy(lambda x, y: gaussian_nats(x[:, :2], y[:, :2]))),
    ("independence", toy(shifted(lambda x, y: 0.3))),
    ("not_converged", toy(shifted(lambda x, y: 200.0 / len(x)))),
    (
      "seed",
      toy(
        lambda x, y, key: gaussian_nats(x, y) + 0.3 * float(jax.random.normal(key)), needs_key=True
      ),
    ),
  ],
)
def test_each_failure_is_told_with_its_numbers(code, broken):
  found = trust(broken, *channel())
  (note,) = (note for note in found.warnings if note.code == code)
  expected, again = found.diagnostics["checks"][code]
  assert f"{again:.3f}" in note.text and note.text.endswith(".")
  assert abs(expected - again) > 0.05


def test_a_claimed_invariance_is_not_tried_again():
  found = trust(toy(gaussian_nats, invariances=("affine",)), *channel())
  assert not {"scale", "affine"} & set(found.diagnostics["checks"])
  found = trust(toy(gaussian_nats, invariances=("scale",)), *channel())
  assert "affine" in found.diagnostics["checks"] and "scale" not in found.diagnostics["checks"]


def test_what_the_estimator_refuses_is_left_out():
  found = trust(toy(gaussian_nats, min_n=600), *channel())
  assert set(found.diagnostics["checks"]) == {
    "scale",
    "affine",
    "independence",
    "data_processing",
  }

  def refuses(x, y):
    if x.shape[1] > 2:
      raise InputError("two columns at most")
    return gaussian_nats(x, y)

  found = trust(toy(refuses), *channel())
  assert "additivity" not in found.diagnostics["checks"]
  assert "independence" in found.diagnostics["checks"]


def test_re_estimates_use_few_rows_of_many():
  seen = []

  def counted(x, y):
    seen.append(len(x))
    return gaussian_nats(x, y)

  found = trust(toy(counted), *channel(n=4000), rows=500)
  assert found.n == 4000 and seen[0] == 4000 and max(seen[1:]) == 500
  assert codes(found) == set()
  with pytest.raises(InputError, match="at least 20"):
    trust(toy(counted), *channel(), rows=3)


def test_measures_of_dependence_are_asked_for_independence_alone():
  found = trust(toy(gaussian_nats, quantity="dependence"), *channel())
  assert "independence" in found.diagnostics["checks"]
  assert not {"additivity", "data_processing"} & set(found.diagnostics["checks"])
  entropy = toy(lambda x, y: np.log(np.std(x)), y="none", quantity="entropy")
  assert "checks" not in trust(entropy, channel()[0]).diagnostics


def warnings(value, x, y, y_kind="real", **fields):
  return codes(toy(lambda x, y: value, y=y_kind, **fields)(x, y))


def test_values_that_cannot_be_are_told():
  x, _ = channel(n=200, d=1)
  y = labels(n=200)[1]
  assert warnings(1.2, x, y, y_kind="labels") == {"above_entropy"}
  assert warnings(1.2, x, y, y_kind="labels", bounded_by_entropy=False) == set()
  assert warnings(warn.label_entropy(y), x, y, y_kind="labels") == set()
  assert warnings(math.log(200) + 0.1, x, x) == {"above_log_n"}
  assert warnings(-0.5, x, x) == {"negative"}
  assert warnings(-0.05, x, x) == set()  # within 2/sqrt(200)
  assert warnings(math.nan, x, x) == {"not_finite"}
  assert warnings(-0.5, x, x, quantity="entropy") == set()


def test_the_noise_of_a_small_negative_value_is_its_own():
  def value(x, y, z, key):
    return Value(np.float64(-0.05), stderr=np.float64(0.01))

  precise = Estimator(name="toy", value=value, interval="own")
  assert codes(precise(*channel(n=200, d=1))) == {"negative"}


def test_near_a_ceiling_is_told():
  def value(x, y, z, key):
    return Value(np.float64(3.9), extra={"ceiling_nats": np.log(64)})

  found = Estimator(name="toy", value=value, no_interval="a toy")(*channel())
  (note,) = found.warnings
  assert note.code == "near_ceiling" and "4.159" in note.text


def test_few_samples_and_sparse_classes_are_told():
  x, y = channel(n=100, d=3)
  assert warnings(0.1, x, y) == {"few_samples"}
  assert warnings(0.1, x[:, :1], np.arange(100) // 4, y_kind="labels") == {"sparse_classes"}
  assert warnings(0.1, x[:, :1], np.arange(100) // 5, y_kind="labels") == set()


def check(**kinds):
  given = {name: array for name, (array, _) in kinds.items()}
  fields = {name: kind for name, (_, kind) in kinds.items()}
  return samples.check(toy(gaussian_nats, **fields), given.get("x"), given.get("y"), None)


def test_labels_are_numbered_from_zero_without_gaps():
  (x, y, z), notes = check(x=(np.array([7, -2, 7, 90]), "labels"), y=(np.arange(4.0), "labels"))
  assert x.tolist() == [1, 0, 1, 2] and x.dtype == np.int64 and z is None
  assert y.tolist() == [0, 1, 2, 3] and [note.code for note in notes] == ["float_labels"]
  for bad in (np.array([0.0, 1.5, 2.0]), np.array([0.0, 1e300, 2.0]), np.eye(3)):
    with pytest.raises(InputError, match="integer labels"):
      check(x=(bad, "labels"), y=(np.arange(3), "labels"))


@pytest.mark.parametrize(
  "rows",
  [
    np.random.default_rng(0).normal(size=(50, 3)),
    np.random.default_rng(0).integers(0, 3, size=(500, 6)).astype(float),
    np.zeros((9, 2)),
    np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0]]),
  ],
)
def test_distinct_rows_are_counted(rows):
  assert samples.distinct_rows(rows) == len(np.unique(rows, axis=0))


def test_a_warning_is_told_once():
  found = toy(gaussian_nats)(*channel(n=60, d=3))
  note = Note("few_samples", next(n.text for n in found.warnings if n.code == "few_samples"))
  assert found.with_notes((note,)).warnings == found.warnings
