"""Scores of novelty and what is measured with them, against closed forms and other libraries."""

import types

import jax
import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import norm
from sklearn import metrics

from ibjax.core.errors import InputError
from ibjax.evaluators import novelty
from ibjax.evaluators.corruptions import SIZES, corrupt, corruptions
from ibjax.evaluators.misclassification import misclassification
from ibjax.evaluators.outside import outside
from ibjax.evaluators.ranking import ranking
from ibjax.train.assessing import assessor
from ibjax.train.setup import build
from tests.helpers import tiny

RNG = np.random.default_rng(0)


def model(data, forward, num_classes=3, value_range=(-1.0, 1.0)):
  """A `Trained` as far as assessors look at it."""
  return types.SimpleNamespace(
    data=lambda name, split: data[name, split],
    forward=forward,
    num_classes=num_classes,
    value_range=value_range,
    seed=0,
  )


def linear(x):
  """Codes are the inputs, logits twice the first three of them."""
  logits = 2.0 * x[:, :3]
  return {"code": x, "logits": logits, "prediction": log_softmax(logits, axis=-1)}


def gaussians(shift=0.0, n=400, d=4, seed=0):
  rng = np.random.default_rng(seed)
  y = rng.integers(0, 3, n)
  x = rng.normal(size=(n, d)) + shift
  x[np.arange(n), y] += 3.0
  return {"x": x.astype(np.float32), "y": y}


def toy(**keywords):
  data = {
    ("", "train"): gaussians(seed=1),
    ("", "test"): gaussians(seed=2),
    ("far:a-b", "test"): gaussians(shift=-8.0, seed=3),
    ("flat", "test"): {"x": np.zeros((5, 2)), "y": np.zeros(5, int)},
  }
  return model(data, linear, **keywords)


@pytest.mark.parametrize("decimals", [8, 1, 0])  # without ties, with some, with mostly ties
def test_ranking_equals_scikit_learns(decimals):
  high, low = (RNG.normal(loc, 1.0, n).round(decimals) for loc, n in ((0.7, 150), (0.0, 230)))
  found = ranking(high, low)
  truth, score = np.repeat([1, 0], [150, 230]), np.concatenate([high, low])
  assert found["auroc_frac"] == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-12)
  assert found["aupr_frac"] == pytest.approx(
    metrics.average_precision_score(truth, score), abs=1e-12
  )
  pairs = (high[:, None] > low).mean() + 0.5 * (high[:, None] == low).mean()
  assert found["auroc_frac"] == pytest.approx(pairs, abs=1e-12)
  kept = [t for t in np.unique(low) if np.mean(low <= t) >= 0.95]
  assert found["fpr95_frac"] == np.mean(high <= min(kept))


def test_ranking_at_its_ends():
  assert ranking([2.0, 3.0], [0.0, 1.0]) == {"auroc_frac": 1.0, "fpr95_frac": 0.0, "aupr_frac": 1.0}
  assert ranking([1.0], [1.0, 1.0]) == {
    "auroc_frac": 0.5,
    "fpr95_frac": 1.0,
    "aupr_frac": pytest.approx(1 / 3),
  }
  assert ranking([np.inf], [0.0])["auroc_frac"] == 1.0
  with pytest.raises(InputError, match="row 1 is NaN"):
    ranking([0.0, np.nan], [0.0])
  with pytest.raises(InputError, match=r"n > 0"):
    ranking([], [0.0])


def test_a_likelihood_ratio_of_two_gaussians_has_its_closed_form():
  # Scores N(delta, 1) against N(0, 1): AUROC = Phi(delta / sqrt 2).
  high, low = RNG.normal(1.2, 1.0, 40_000), RNG.normal(0.0, 1.0, 40_000)
  found = ranking(high, low)
  assert found["auroc_frac"] == pytest.approx(norm.cdf(1.2 / np.sqrt(2)), abs=0.006)
  assert found["fpr95_frac"] == pytest.approx(norm.cdf(norm.ppf(0.95) - 1.2), abs=0.012)


def test_mahalanobis_of_known_gaussians_is_chi_squared_and_ranks_by_its_closed_form():
  # One class N(mu, A A'), outside N(mu, 4 A A'): the score is d chi^2 of 2 dimensions, whose tails
  # are exponential, so AUROC = 4 / (4 + 1).
  a = np.array([[2.0, 0.0], [1.5, 0.5]])
  inside, outside_, fit_to = (
    scale * RNG.normal(size=(20_000, 2)) @ a.T + 7.0 for scale in (1.0, 2.0, 1.0)
  )
  reference = novelty.fit(fit_to, None, neighbours=1)
  own, other = (
    novelty.scores({"code": z}, ("mahalanobis",), reference)["mahalanobis"]
    for z in (inside, outside_)
  )
  assert own.mean() == pytest.approx(2.0, rel=0.03)
  assert ranking(other, own)["auroc_frac"] == pytest.approx(0.8, abs=0.01)


def test_mahalanobis_is_to_the_nearest_class_by_the_shared_covariance():
  code = RNG.normal(size=(300, 3)) @ RNG.normal(size=(3, 3))
  labels = RNG.integers(0, 4, 300)
  z = RNG.normal(size=(20, 3))
  reference = novelty.fit(code, labels)
  means = np.stack([code[labels == c].mean(0) for c in range(4)])
  shared = np.cov((code - means[labels]).T, bias=True)
  expected = [min((row - m) @ np.linalg.solve(shared, row - m) for m in means) for row in z]
  found = novelty.scores({"code": z}, ("mahalanobis",), reference)["mahalanobis"]
  np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_direction_without_spread_does_not_count():
  code = np.concatenate([RNG.normal(size=(50, 2)), np.zeros((50, 1))], axis=1)
  found = novelty.scores(
    {"code": np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])},
    ("mahalanobis",),
    novelty.fit(code, None, neighbours=1),
  )["mahalanobis"]
  assert np.isfinite(found).all() and found[0] == pytest.approx(found[1])


def test_components_are_those_of_largest_variance():
  code = RNG.normal(size=(500, 3)) * [10.0, 5.0, 0.1] + 3.0
  z = RNG.normal(size=(10, 3))
  kept = novelty.fit(code, None, components=2, neighbours=1)
  alone = novelty.fit(code[:, :2], None, neighbours=1)
  for name in ("mahalanobis", "neighbours"):
    a = novelty.scores({"code": z * 10}, (name,), kept)[name]
    b = novelty.scores({"code": z[:, :2] * 10}, (name,), alone)[name]
    if name == "mahalanobis":
      np.testing.assert_allclose(a, b, rtol=0.05)
    else:
      assert not np.allclose(a, b)  # of unit length about another centre


@pytest.mark.parametrize("normalise", [False, True])
def test_neighbours_are_at_their_distance(normalise):
  code, z = RNG.normal(size=(60, 5)), RNG.normal(size=(7, 5))
  reference = novelty.fit(code, None, neighbours=4, normalise=normalise)
  if normalise:
    code, z_unit = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (code, z))
  expected = np.sort(np.linalg.norm((z_unit if normalise else z)[:, None] - code, axis=-1))[:, 3]
  found = novelty.scores({"code": z}, ("neighbours",), reference)["neighbours"]
  np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_scores_of_predictions_are_their_formulas():
  logits = np.array([[0.0, 0.0, 0.0, 0.0], [np.log(9.0), 0.0, 0.0, -np.inf]])
  logits[1, 3] = -1e30
  outputs = {"logits": logits, "prediction": log_softmax(logits, axis=-1), "rate": np.ones(2)}
  found = novelty.scores(outputs, ("confidence", "entropy", "energy", "rate"))
  p = np.array([9.0, 1.0, 1.0]) / 11.0
  np.testing.assert_allclose(found["confidence"], [np.log(4), -np.log(9 / 11)])
  np.testing.assert_allclose(found["entropy"], [np.log(4), -np.sum(p * np.log(p))])
  np.testing.assert_allclose(found["energy"], [-np.log(4), -np.log(11)])
  np.testing.assert_array_equal(found["rate"], [1.0, 1.0])


def test_outside_inputs_are_told_apart_and_none_is_chance():
  found = outside(sources=("far:a-b", ""), neighbours=5)(toy())
  assert set(found) == {
    f"{source}_{score}_{measure}"
    for source in ("far_a_b", "")
    for score in ("confidence", "entropy", "energy", "mahalanobis", "neighbours")
    for measure in ("auroc_frac", "fpr95_frac", "aupr_frac")
  }
  assert found["far_a_b_mahalanobis_auroc_frac"] > 0.999
  assert found["far_a_b_energy_auroc_frac"] > 0.999
  assert all(v == 0.5 for k, v in found.items() if k.startswith("_") and "auroc" in k)


def test_the_models_own_errors_are_found():
  trained = toy()
  found = misclassification(neighbours=5)(trained)
  test = trained.data("", "test")
  wrong = linear(test["x"])["prediction"].argmax(-1) != test["y"]
  expected = metrics.roc_auc_score(wrong, -linear(test["x"])["prediction"].max(-1))
  assert found["confidence_auroc_frac"] == pytest.approx(expected, abs=1e-9)
  assert 0.7 < expected < 1.0
  right = model({("", "test"): {"x": test["x"], "y": test["x"][:, :3].argmax(-1)}}, linear)
  assert misclassification(scores=("confidence",))(right) == {}


def test_what_does_not_fit_is_explained():
  with pytest.raises(InputError, match=r"'rate' is computed from 'rate', which a bottleneck with"):
    outside(sources=("far:a-b",), scores=("rate",))(toy())
  with pytest.raises(InputError, match=r"inputs of 'flat' have shape \[2\]"):
    outside(sources=("flat",), neighbours=5)(toy())
  with pytest.raises(InputError, match="Did you mean 'energy'|energy"):
    outside(scores=("enrgy",))
  with pytest.raises(InputError, match="names no data set"):
    outside(sources=())
  with pytest.raises(InputError, match="needs classes"):
    misclassification()(toy(num_classes=0))
  with pytest.raises(InputError, match=r"neighbours is 50, expected a number in \[1, 9\]"):
    novelty.fit(np.zeros((9, 2)), None)


def images(n=40):
  return RNG.uniform(0.2, 0.8, size=(n, 12, 12, 1))


@pytest.mark.parametrize("name", SIZES)
def test_corruptions_are_harder_with_severity_and_the_same_for_a_seed(name):
  x = images()
  moved = [corrupt(x, name, severity) for severity in range(1, 6)]
  sizes = [np.abs(m - x).mean() for m in moved]
  assert min(sizes) > 0
  if name not in ("shift", "rotation"):  # of white noise these change as much at any size
    assert sizes == sorted(sizes)
  assert all(m.min() >= 0 and m.max() <= 1 and m.dtype == np.float32 for m in moved)
  np.testing.assert_array_equal(moved[2], corrupt(x, name, 3))


def test_corruptions_are_their_formulas():
  x = images()
  noise = corrupt(np.full((50, 20, 20, 1), 0.5), "noise", 1) - 0.5
  assert noise.std() == pytest.approx(0.08, rel=0.03)
  mean = x.mean(axis=(1, 2, 3), keepdims=True)
  np.testing.assert_allclose(corrupt(x, "contrast", 3), mean + 0.3 * (x - mean), rtol=1e-5)
  np.testing.assert_allclose(
    corrupt(x, "blur", 4).mean(axis=(1, 2, 3)), x.mean(axis=(1, 2, 3)), rtol=1e-4
  )
  dot = np.zeros((8, 25, 25, 1))
  dot[:, 12, 12] = 1.0
  where = {tuple(np.argwhere(image[..., 0])[0]) for image in corrupt(dot, "shift", 1)}
  assert where <= {(12 + a, 12 + b) for a in (-1, 1) for b in (-1, 1)}  # 4% of 25 pixels
  bar = np.zeros((8, 25, 25, 1))
  bar[:, 12, 4:21] = 1.0
  turned = corrupt(bar, "rotation", 5)[..., 0]
  for image in turned:
    rows, columns = np.nonzero(image > 0.2)
    assert abs(rows.mean() - 12) < 0.3 and abs(columns.mean() - 12) < 0.3
    slope = np.linalg.eigh(np.cov(rows, columns))[1][:, -1]
    assert np.degrees(np.arctan(abs(slope[0] / slope[1]))) == pytest.approx(50.0, abs=2.0)


def test_corruption_errors_are_averages_over_severities():
  x = np.zeros((30, 6, 6, 1), np.float32)
  x[:, 0, 0, 0] = np.linspace(-1.0, 0.9, 30)

  def bright(x):
    logits = np.stack([np.zeros(len(x)), 10.0 * x[:, 0, 0, 0]], axis=-1)
    return {"prediction": log_softmax(logits, axis=-1)}

  trained = model({("", "test"): {"x": x, "y": (x[:, 0, 0, 0] > 0).astype(int)}}, bright, 2)
  found = corruptions(names=("brightness", "contrast"), severities=(1, 5))(trained)
  assert found["clean_err_frac"] == 0.0
  # In [-1, 1] brightness adds 0.2 and 1.0: wrong are the dark ones that come above 0.
  value = x[:, 0, 0, 0]
  expected = np.mean([np.mean((value <= 0) & (value + step > 0)) for step in (0.2, 1.0)])
  assert found["brightness_err_frac"] == pytest.approx(expected)
  assert found["mean_err_frac"] == pytest.approx(
    (found["brightness_err_frac"] + found["contrast_err_frac"]) / 2
  )
  with pytest.raises(InputError, match="inputs stored as floats"):
    corruptions()(trained.__class__(**{**vars(trained), "value_range": None}))


def test_a_run_is_assessed_by_its_config():
  config = tiny("configs/uncertainty/dab_mnist.py", eval__samples=2)
  room = "ibjax.evaluators"
  config["assess"] = {
    "ood": dict(fn=f"{room}.outside:outside", sources=["digits"], neighbours=5),
    "errors": dict(fn=f"{room}.misclassification:misclassification", scores=["distance"]),
    "corrupt": dict(fn=f"{room}.corruptions:corruptions", names=["contrast"], severities=[5]),
  }
  setup = build(config, None, jax.devices()[:1])
  found = assessor(setup)(config, setup.runner.init(setup.hyper))
  assert {k: v for k, v in found["ood"].items() if "auroc" in k} == {
    f"digits_{score}_auroc_frac": 0.5 for score in novelty.SCORES
  }
  assert 0 < found["errors"]["distance_auroc_frac"] < 1
  assert found["corrupt"]["mean_err_frac"] == found["corrupt"]["contrast_err_frac"] > 0.5
