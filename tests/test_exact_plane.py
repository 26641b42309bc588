"""Tables as data sets, and the true place of a trained code in the information plane."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from ibjax.core.errors import ConfigError, InputError
from ibjax.core.types import Trained
from ibjax.data.source import load
from ibjax.data.sources.discrete import parse
from ibjax.data.synthetic import find
from ibjax.evaluators.exact_plane import (
  exact_plane,
  partition_plane,
  place_on_curve,
  sample_plane,
  values_and_table,
)
from ibjax.exact.discrete_ib import discrete_ib
from ibjax.exact.joint import information, one_hot, place
from tests.helpers import tiny

SYMMETRIC = np.array([[0.45, 0.05], [0.05, 0.45]])


def table(seed=0, kx=6, ky=3):
  return np.random.default_rng(seed).dirichlet(np.full(kx * ky, 0.5)).reshape(kx, ky)


# The data.


def test_every_pair_stands_in_the_data_as_often_as_the_table_says():
  argument = "table:kx=5,ky=3,seed=2,rows=300"
  counts, source = parse(argument), load(f"discrete:{argument}")
  exact = find("table:kx=5,ky=3,seed=2").table
  assert counts.sum() == 300 and np.all(np.abs(counts - 300 * exact) < 1)
  for split in ("train", "test"):
    rows = source.splits[split].read(np.arange(300))
    x, joint = values_and_table(rows)
    np.testing.assert_array_equal(x.sum(axis=1), 1)
    order = x.argmax(axis=1)
    np.testing.assert_allclose(joint, counts[order] / 300)
  assert source.information_nats == pytest.approx(information(counts / 300), rel=1e-12)
  assert source.num_classes == 3 and source.x_shape == (5,)
  assert source.fingerprint != load("discrete:table:kx=5,ky=3,seed=3,rows=300").fingerprint


def test_a_table_of_round_numbers_is_kept_exactly():
  np.testing.assert_array_equal(parse("xor:p=0.05,rows=80"), [[19, 1], [1, 19], [1, 19], [19, 1]])
  assert parse("bsc").sum() == 1000


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("gaussian:d=2", "gaussian:d=2 is no table of two labels"),
    ("xor_given", "is no table of two labels"),
    ("table:kx=8,ky=4,rows=12", r"rows=12 are too few for x = \d.* Set rows to \d+"),
    ("bsc:rows=0", "rows='0', expected a whole number"),
    ("bsc:rows=1e3", "rows='1e3', expected a whole number"),
    ("bcs", "Did you mean 'bsc'"),
    ("bsc:q=0.1", "unknown key of task 'bsc'"),
  ],
)
def test_an_argument_that_does_not_fit_is_explained(argument, message):
  with pytest.raises(ConfigError, match=message):
    load(f"discrete:{argument}")


# The measurement.


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_sampled_informations_are_those_of_the_integral(scale):
  mean, log_scale = np.array([[-1.0], [1.0]]), np.full((2, 1), math.log(scale))

  def term(z):
    density = norm.pdf(z, mean[:, 0], scale)
    posterior = density / density.sum()
    noise_x = -np.sum(posterior * np.log(posterior))
    given = posterior @ (2 * SYMMETRIC)
    return density.mean() * np.array([noise_x, -np.sum(given * np.log(given))])

  # Where one density underflows the integrand is 0 to rounding.
  reach = min(1 + 8 * scale, 12 * scale)
  exact = [math.log(2) - quad(lambda z, i=i: term(z)[i], -reach, reach)[0] for i in (0, 1)]
  errors = []
  for seed in range(20):
    rng = np.random.default_rng(seed)
    plane = sample_plane(mean, log_scale, SYMMETRIC, 2000, rng)
    found = place_on_curve(plane, SYMMETRIC, None)
    assert found["i_xz_se_nats"] < 0.01
    errors.append((found["i_xz_nats"] - exact[0]) / found["i_xz_se_nats"])
    errors.append((found["i_yz_nats"] - exact[1]) / found["i_yz_se_nats"])
  assert np.max(np.abs(errors)) < 4.5 and 0.5 < np.std(errors) < 1.6  # the errors are honest


def test_no_gaussian_code_is_above_the_exact_curve():
  joint = table()
  for seed in range(6):
    rng = np.random.default_rng(seed)
    mean, log_scale = rng.normal(size=(6, 2)) * 2, rng.normal(size=(6, 2)) * 0.5
    found = place_on_curve(sample_plane(mean, log_scale, joint, 4000, rng), joint, 0.2)
    assert found["gap_nats"] > -4 * found["gap_se_nats"]
    assert found["excess_nats"] > -4 * found["excess_se_nats"]
    assert 0 < found["gap_se_nats"] < 0.01


def test_codes_far_apart_are_the_clustering_they_are():
  """Well separated clusters at the optimum of a beta have no gap and no excess there."""
  counts = parse("xor:p=0.05,rows=80")
  joint = counts / counts.sum()
  mean = np.array([[-50.0], [50.0], [50.0], [-50.0]])
  rng = np.random.default_rng(0)
  plane = sample_plane(mean, np.zeros((4, 1)), joint, 100, rng)
  for found in (
    place_on_curve(plane, joint, 0.01),
    place_on_curve(partition_plane(mean, joint), joint, 0.01),
  ):
    assert found["i_xz_nats"] == pytest.approx(math.log(2), abs=1e-9)
    assert found["i_yz_nats"] == pytest.approx(information(joint), abs=1e-9)
    assert found["gap_nats"] == pytest.approx(0.0, abs=1e-6)
    assert found["excess_nats"] == pytest.approx(0.0, abs=1e-6)
  # At another price the same code is too dear, by what the exact solver says.
  best = discrete_ib(joint, np.array([1 / 0.7])).lagrangian_nats[0] * 0.7
  excess = place_on_curve(plane, joint, 0.7)["excess_nats"]
  assert excess == pytest.approx(0.7 * math.log(2) - information(joint) - best, abs=1e-4)
  assert excess > 0.02


def test_a_code_without_noise_is_a_partition():
  joint, labels = table(), np.array([0, 1, 1, 2, 0, 3])
  code = np.array([[0.1, 2.0], [0.5, -1.0], [0.7, 0.2], [3.0, 3.0]])[labels]
  found = place_on_curve(partition_plane(code, joint), joint, None)
  plane = place(joint, one_hot(labels))
  assert found["i_xz_nats"] == pytest.approx(float(plane.rate_nats), abs=1e-12)
  assert found["i_yz_nats"] == pytest.approx(float(plane.relevance_nats), abs=1e-12)
  assert found["i_xz_se_nats"] == 0.0 and "excess_nats" not in found


def trained(forward, **objective):
  data = load("discrete:xor:p=0.05,rows=80").splits["train"].read(np.arange(80))
  return Trained(
    lambda name, split: data, forward, None, None, 2, None, 0, {"objective": objective}
  )


@pytest.mark.parametrize(
  ("fn", "beta", "price"),
  [
    ("variational.vib:vib", 0.3, 0.3),
    ("variational.ceb:ceb", 1.0, 0.5),  # -I(Y;Z) + I(X;Z|Y) = I(X;Z) - 2 I(Y;Z)
    ("supervised.cross_entropy:cross_entropy", None, None),
    ("representation.vicreg:vicreg", 0.3, None),
    ("variational.vib:vib", 0.0, None),
  ],
)
def test_the_excess_is_at_the_objectives_own_price(fn, beta, price):
  def forward(x):
    mean = np.where(x.argmax(axis=1)[:, None] % 3 > 0, 1.0, -1.0)
    return {"code": mean, "mean": mean, "log_scale": np.zeros_like(mean)}

  objective = {"fn": f"ibjax.objectives.{fn}"} | ({} if beta is None else {"beta": beta})
  found = exact_plane(samples=2000)(trained(forward, **objective))
  again = exact_plane(samples=2000)(trained(forward, **objective))
  assert found == again and ("excess_nats" in found) == (price is not None)
  if price is not None:
    joint = parse("xor:p=0.05,rows=80") / 80
    best = discrete_ib(joint, np.array([1 / price])).lagrangian_nats[0] * price
    expected = price * found["i_xz_nats"] - found["i_yz_nats"] - best
    assert found["excess_nats"] == pytest.approx(expected, abs=1e-4)


def test_data_that_cannot_be_summed_over_are_explained():
  with pytest.raises(InputError, match="x takes 300, more than 256"):
    values_and_table({"x": np.arange(300.0)[:, None], "y": np.zeros(300, int)})
  with pytest.raises(InputError, match=r"needs labels \[n\], and y has shape \[3, 2\]"):
    values_and_table({"x": np.zeros((3, 1)), "y": np.zeros((3, 2))})
  with pytest.raises(InputError, match="samples is 1"):
    exact_plane(samples=1)


def test_the_recipe_measures_itself():
  config = tiny("configs/variational/vib_discrete.py")
  assert config["assess"]["exact"]["samples"] == 200
  assert parse(config["data"]["source"].removeprefix("discrete:")).shape == (8, 4)
