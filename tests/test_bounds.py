"""Bounds as functions of scores: the exact critic of Gaussians gives what closed forms say."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import IbjaxError
from ibjax.estimators.base import bounds

RHO = 0.6
INFORMATION = -0.5 * math.log(1.0 - RHO**2)  # 0.223 nats
K = 400
BATCHES = 60


def log_ratio(x, y):
  """log p(x, y) / (p(x) p(y)) of all pairs, for unit Gaussians of correlation RHO."""
  x, y = x[:, None], y[None, :]
  kept = 1.0 - RHO**2
  return INFORMATION - (RHO**2 * (x**2 + y**2) - 2.0 * RHO * x * y) / (2.0 * kept)


def draw(key, k=K):
  a, b = jax.random.normal(key, (2, k))
  return a, RHO * a + math.sqrt(1.0 - RHO**2) * b


@functools.cache
def averages():
  """Mean over batches, and its standard error, of each bound at the exact critic."""

  def one(key):
    x, y = draw(key)
    r = log_ratio(x, y)
    log_q = r - 0.5 * (y**2 + math.log(2.0 * math.pi))
    joint = jnp.diagonal(r)
    return {
      "dv": bounds.dv(r),
      "dv, shifted": bounds.dv(r + 3.0),
      "nwj": bounds.nwj(r + 1.0),
      "nwj without the 1": bounds.nwj(r),
      "tuba": bounds.tuba(r + jnp.sin(y), jnp.sin(y)),
      "info_nce": bounds.info_nce(r + jnp.cos(x)[:, None]),
      "interpolated": bounds.interpolated(r, 0.0, 0.5),
      "interpolated at 0": bounds.interpolated(r + jnp.sin(y), jnp.sin(y), 0.0),
      "interpolated at 1": bounds.interpolated(r + jnp.cos(y), 0.0, 1.0),
      "smile": bounds.smile(r, 20.0),
      "flo": bounds.flo(r + jnp.cos(x)[:, None], joint),
      "club": bounds.club(log_q),
      "l1_out": bounds.l1_out(log_q),
    }

  found = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(0), BATCHES))
  return {
    name: (float(np.mean(v)), float(np.std(v, ddof=1)) / math.sqrt(BATCHES))
    for name, v in found.items()
  }


@pytest.mark.parametrize(
  ("name", "expected", "bias"),
  [
    # Unbiased at any k.
    ("nwj", INFORMATION, 0.0),
    ("tuba", INFORMATION, 0.0),
    ("interpolated at 0", INFORMATION, 0.0),
    ("flo", INFORMATION, 0.0),
    ("nwj without the 1", INFORMATION - math.exp(-1.0), 0.0),
    ("club", RHO**2 / (1.0 - RHO**2), 0.0),
    # Biased by a variance over k: below 2e-3 here.
    ("dv", INFORMATION, 2e-3),
    ("dv, shifted", INFORMATION, 2e-3),
    ("smile", INFORMATION, 2e-3),
    ("info_nce", INFORMATION, 3e-3),
    ("interpolated", INFORMATION, 3e-3),
    ("interpolated at 1", INFORMATION, 3e-3),
    ("l1_out", INFORMATION, 3e-3),
  ],
)
def test_value_at_the_exact_critic(name, expected, bias):
  mean, stderr = averages()[name]
  assert stderr < 0.02
  assert abs(mean - expected) < 4.0 * stderr + bias


def test_no_lower_bound_exceeds_the_information_with_another_critic():
  def one(key):
    x, y = draw(key)
    r = 0.5 * log_ratio(x, y) + 0.3 * jnp.sin(x)[:, None] * y
    return jnp.stack([
      bounds.dv(r), bounds.nwj(r + 1.0), bounds.info_nce(r), bounds.interpolated(r, 0.2, 0.5),
      bounds.flo(r, 0.7 * jnp.diagonal(r)),
    ])  # fmt: skip

  found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 20)).mean(0)
  assert (np.asarray(found) < INFORMATION - 0.01).all()


@pytest.mark.parametrize("k", [2, 7, 64])
def test_info_nce_never_exceeds_log_k(k):
  perfect = bounds.info_nce(1e4 * jnp.eye(k))
  np.testing.assert_allclose(perfect, math.log(k), rtol=1e-6)
  noisy = bounds.info_nce(10.0 * jax.random.normal(jax.random.key(k), (k, k)) + 50.0 * jnp.eye(k))
  assert noisy <= math.log(k) * (1.0 + 1e-6)


def scores(k=6):
  return jax.random.normal(jax.random.key(3), (k, k)) * 2.0


def dense_l1_out(log_q):
  k = len(log_q)
  total = 0.0
  for i in range(k):
    others = sum(math.exp(log_q[j, i]) for j in range(k) if j != i) / (k - 1)
    total += log_q[i, i] - math.log(others)
  return total / k


def dense_interpolated(f, log_a, alpha):
  k, joint, product = len(f), [], []
  for j in range(k):  # the anchor y_j
    for out in range(k):
      mean = np.mean([math.exp(f[i, j]) for i in range(k) if i != out])
      m = alpha * mean + (1.0 - alpha) * math.exp(log_a[j])
      if out == j:
        product += [math.exp(f[i, j]) / m for i in range(k) if i != j]
      else:
        joint.append(f[j, j] - math.log(m))
  return 1.0 + np.mean(joint) - np.mean(product)


def dense_flo(f, u):
  k, total = len(f), 0.0
  for i in range(k):
    ratio = np.mean([math.exp(f[i, j] - f[i, i]) for j in range(k) if j != i])
    total += u[i] + math.exp(-u[i]) * ratio
  return 1.0 - total / k


def off(f):
  return np.array([f[i, j] for i in range(len(f)) for j in range(len(f)) if i != j])


def test_bounds_equal_plain_loops():
  f, side = np.float64(scores()), np.linspace(-1.0, 1.0, 6)
  joint = np.diag(f).mean()
  clipped = np.mean(np.exp(np.clip(off(f), -1.5, 1.5)))
  minus = -np.mean(np.log1p(np.exp(-np.diag(f)))) - np.mean(np.log1p(np.exp(off(f))))
  pairs = {
    "dv": (bounds.dv(scores()), joint - math.log(np.mean(np.exp(off(f))))),
    "smile": (bounds.smile(scores(), 1.5), joint - math.log(clipped)),
    "jensen_shannon": (bounds.jensen_shannon(scores()), minus),
    "club": (bounds.club(scores()), joint - np.mean(off(f))),
    "l1_out": (bounds.l1_out(scores()), dense_l1_out(f)),
    "flo": (bounds.flo(scores(), jnp.asarray(side)), dense_flo(f, -side)),
    "interpolated": (
      bounds.interpolated(scores(), jnp.asarray(side), 0.3), dense_interpolated(f, side, 0.3),
    ),
  }  # fmt: skip
  for name, (found, expected) in pairs.items():
    np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)


def test_club_and_leave_one_out_of_one_conditional():
  # One random conditional, three rows: with normalised densities the two differ.
  log_q = jnp.array([[-1.0, -6.0, -4.0], [-5.0, -1.5, -3.0], [-7.0, -2.5, -0.5]])
  np.testing.assert_allclose(bounds.l1_out(log_q), dense_l1_out(np.float64(log_q)), rtol=1e-6)
  np.testing.assert_allclose(bounds.club(log_q), -1.0 + 27.5 / 6.0, rtol=1e-6)
  assert bounds.club(log_q) > bounds.l1_out(log_q)


def test_interpolation_keeps_its_digits_when_one_score_rules():
  f = np.zeros((4, 4))
  f[2, 1] = 40.0
  found = bounds.interpolated(jnp.asarray(f, jnp.float32), 0.0, 0.5)
  np.testing.assert_allclose(found, dense_interpolated(f, np.zeros(4), 0.5), rtol=1e-4)


NAMED = {
  "dv": bounds.dv,
  "smile": bounds.smile,
  "nwj": bounds.nwj,
  "tuba": lambda s: bounds.tuba(s, s[0] * 0.1),
  "info_nce": bounds.info_nce,
  "interpolated": lambda s: bounds.interpolated(s, s[0] * 0.1, 0.5),
  "interpolated, 0": lambda s: bounds.interpolated(s, 0.0, 0.0),
  "interpolated, 1": lambda s: bounds.interpolated(s, 0.0, 1.0),
  "jensen_shannon": bounds.jensen_shannon,
  "flo": lambda s: bounds.flo(s, s[0] * 0.1),
  "club": bounds.club,
  "l1_out": bounds.l1_out,
}


@pytest.mark.parametrize("name", NAMED)
def test_gradients_are_those_of_differences(name):
  function, at, direction = (
    jax.jit(NAMED[name]),
    scores(),
    jax.random.normal(jax.random.key(5), (6, 6)),
  )
  slope = jnp.sum(jax.grad(function)(at) * direction)
  h = 1e-2
  difference = (function(at + h * direction) - function(at - h * direction)) / (2.0 * h)
  np.testing.assert_allclose(slope, difference, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("name", NAMED)
def test_scores_must_be_square(name):
  with pytest.raises(IbjaxError, match="scores has shape"):
    NAMED[name](jnp.zeros((3, 4)))
