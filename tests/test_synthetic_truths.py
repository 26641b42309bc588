"""Exact values of further tasks, each by a route of its own: quadrature, counting, inversion."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special, stats
from scipy.spatial import cKDTree

from ibjax.core.errors import InputError
from ibjax.data.synthetic import find, names, twelve_bit
from ibjax.data.synthetic import images as images_lib
from ibjax.data.synthetic.quadrature import normal_mixture_entropy

LOG2 = math.log(2)


def counted(*labels):
  """Frequencies of rows of labels, as a table."""
  table = np.zeros([int(column.max()) + 1 for column in labels])
  np.add.at(table, labels, 1.0 / len(labels[0]))
  return table


def entropy_of(p):
  p = p[p > 0]
  return -np.sum(p * np.log(p))


def information(table):
  """I(X;Y) of a table as the divergence from the product, I(X;Y|Z) as its mean over z."""
  if table.ndim == 3:
    weights = table.sum(axis=(0, 1))
    return sum(w * information(table[:, :, z] / w) for z, w in enumerate(weights) if w > 0)
  product = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
  seen = table > 0
  return float(np.sum(table[seen] * np.log(table[seen] / product[seen])))


# Every family.


FAMILIES = [name for name in names() if not name.startswith("bmi:")]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_task_says_of_its_draws(name):
  task = find(name)
  drawn = task.draw(60, seed=1)
  widths = [task.dx, task.dy] + ([] if task.dz is None else [task.dz])
  assert len(drawn) == len(widths)
  for letter, array, width in zip("xyz", drawn, widths):
    if width:
      assert array.shape == (60, width) and array.dtype == np.float64
      assert np.isfinite(array).all()
    else:
      assert array.shape == (60,) and array.dtype == np.int64
      assert array.min() >= 0 and array.max() < task.classes[letter]
  assert {letter for letter, width in zip("xyz", widths) if not width} == set(task.classes)
  assert (task.x_kind, task.y_kind) == tuple("real" if width else "labels" for width in widths[:2])
  for first, second in zip(drawn, find(name).draw(60, seed=1)):
    np.testing.assert_array_equal(first, second)
  if {"x", "y", "xy"} <= set(task.entropies) and task.dz is None:
    parts = task.entropies
    assert parts["x"] + parts["y"] - parts["xy"] == pytest.approx(task.nats, abs=1e-12)
  if task.x_shape:
    assert math.prod(task.x_shape) == task.dx


def neighbour_entropy(x, k=4):
  """Kozachenko and Leonenko's estimate, with boxes."""
  n, d = x.shape
  distance = cKDTree(x).query(x, k + 1, p=np.inf)[0][:, k]
  return special.digamma(n) - special.digamma(k) + d * np.mean(np.log(2 * distance))


def neighbour_information(x, y, k=4):
  """Kraskov, Stoegbauer and Grassberger's first estimate."""
  n = len(x)
  radius = cKDTree(np.hstack([x, y])).query(np.hstack([x, y]), k + 1, p=np.inf)[0][:, k]
  counts = [
    cKDTree(v).query_ball_point(v, np.nextafter(radius, 0), p=np.inf, return_length=True)
    for v in (x, y)
  ]
  return special.digamma(k) + special.digamma(n) - np.mean(sum(map(special.digamma, counts)))


SMOOTH = [
  *("additive", "bimodal_noise", "dense", "gamma_exponential:theta=2", "gamma_sum", "gaussian"),
  *("gamma_exponential:log=1", "gaussian_chain:d=2", "logistic", "pareto:theta=3", "weinman"),
  *("student:d=2,df=3,rho=0.5", "sparse:dx=2,dy=2", "noisy_layers:dx=2,first=t2,second=y,noise=1"),
]


@pytest.mark.parametrize("name", SMOOTH)
def test_entropies_and_information_by_neighbours(name):
  task = find(name)
  x, y = task.draw(5000)
  found = [neighbour_entropy(v) for v in (x, y)]
  assert found == pytest.approx([task.entropies["x"], task.entropies["y"]], abs=0.09)
  assert neighbour_information(x, y) == pytest.approx(task.nats, abs=0.06)


@pytest.mark.parametrize(
  "name", [name for name in names() if name.startswith("bmi:") and "1v1" in name]
)
def test_published_tasks_of_one_dimension_by_neighbours(name):
  task = find(name)
  assert neighbour_information(*task.draw(4000)) == pytest.approx(task.nats, abs=0.06)


@pytest.mark.parametrize(("d", "df"), [(1, 1.0), (3, 2.0), (4, 7.0)])
def test_student_entropy_by_scipy(d, df):
  task = find(f"student:d={d},df={df}")
  expected = stats.multivariate_t(np.zeros(d), np.eye(d), df=df).entropy()
  assert task.entropies["x"] == pytest.approx(expected, abs=1e-10)
  both = stats.multivariate_t(np.zeros(2 * d), np.eye(2 * d), df=df).entropy()
  assert task.entropies["xy"] == pytest.approx(both, abs=1e-10)


# Labels.


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_channels_by_their_formulas(p):
  lost = -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)
  assert find(f"bsc:p={p}").nats == pytest.approx(LOG2 - lost, abs=1e-14)
  assert find(f"bec:p={p}").nats == pytest.approx((1 - p) * LOG2, abs=1e-14)
  assert find(f"xor:p={p}").nats == pytest.approx(LOG2 - lost, abs=1e-14)
  assert find(f"xor_given:p={p}").nats == pytest.approx(LOG2 - lost, abs=1e-14)
  skewed = find(f"bsc:p={p},prior=0.3")
  output = 0.3 * (1 - p) + 0.7 * p
  assert skewed.nats == pytest.approx(stats.bernoulli(output).entropy() - lost, abs=1e-14)


@pytest.mark.parametrize(
  "name",
  [
    *("bsc:p=0.2,prior=0.3", "bec:p=0.3", "xor:p=0.05", "table", "table:kx=2,ky=5,seed=3"),
    *("xor_given:p=0.1", "table_given:seed=2", "table_chain", "table_chain:first=1,second=3"),
  ],
)
def test_labels_have_the_information_when_counted(name):
  task = find(name)
  table = counted(*task.draw(400_000))
  assert information(table) == pytest.approx(task.nats, abs=4e-3)
  pair = table.sum(axis=2) if table.ndim == 3 else table
  assert entropy_of(pair) == pytest.approx(task.entropies["xy"], abs=6e-3)
  assert entropy_of(pair.sum(axis=1)) == pytest.approx(task.entropies["x"], abs=6e-3)
  assert entropy_of(pair.sum(axis=0)) == pytest.approx(task.entropies["y"], abs=6e-3)


def test_exclusive_or_is_hidden_from_each_bit():
  x, y = find("xor").draw(1000)
  np.testing.assert_array_equal(y, (x >> 1) ^ (x & 1))
  x, y, z = find("xor_given").draw(100_000)
  np.testing.assert_array_equal(y, x ^ z)
  assert information(counted(x, y)) < 1e-3


# Chains.


@pytest.mark.parametrize(
  "family", ["table_chain:k=5,noise=0.4", "gaussian_chain:d=2,rho=0.9/0.8/0.7"]
)
def test_information_falls_along_a_chain_and_the_rows_are_shared(family):
  task = {
    (i, j): find(f"{family},first={i},second={j}") for i, j in itertools.combinations(range(4), 2)
  }
  for i, j, k in itertools.combinations(range(4), 3):
    assert task[i, k].nats < min(task[i, j].nats, task[j, k].nats)
    np.testing.assert_array_equal(task[i, j].draw(9, 2)[0], task[i, k].draw(9, 2)[0])
    np.testing.assert_array_equal(task[i, j].draw(9, 2)[1], task[j, k].draw(9, 2)[0])


def log_det_information(covariance, dx):
  parts = (covariance[:dx, :dx], covariance[dx:, dx:], covariance)
  x, y, xy = (np.linalg.slogdet(part)[1] for part in parts)
  return 0.5 * (x + y - xy)


@pytest.mark.parametrize(
  "name",
  [
    *("gaussian_chain:d=2,second=2", "noisy_layers", "noisy_layers:first=t2,second=y"),
    *("noisy_layers:first=x,second=y,noise=1", "noisy_layers:widths=4,first=t1,second=y,dx=3"),
  ],
)
def test_linear_layers_have_the_information_when_measured(name):
  task = find(name)
  covariance = np.cov(np.hstack(task.draw(300_000)).T)
  assert log_det_information(covariance, task.dx) == pytest.approx(task.nats, abs=0.02)


def test_the_first_layer_is_a_gaussian_channel():
  # W and the covariance of x by regression, which needs neither of the formulas.
  task = find("noisy_layers:dx=4,widths=3,noise=0.7")
  x, t = task.draw(400_000)
  weights = np.linalg.lstsq(x, t, rcond=None)[0]
  covariance = np.cov((x @ weights).T)
  nats = 0.5 * np.linalg.slogdet(np.eye(3) + covariance / 0.7**2)[1]
  assert task.nats == pytest.approx(nats, abs=0.01)
  assert np.std(t - x @ weights) == pytest.approx(0.7, rel=0.01)


def test_a_layer_sees_the_layer_before_and_nothing_else():
  x, t1 = find("noisy_layers:noise=0.7").draw(100_000)
  _, t2 = find("noisy_layers:noise=0.7,second=t2").draw(100_000)
  _, y = find("noisy_layers:noise=0.7,second=y").draw(100_000)
  for before, after in ((x, t1), (t1, t2), (x, y)):
    left = after - before @ np.linalg.lstsq(before, after, rcond=None)[0]
    np.testing.assert_allclose(np.cov(left.T), 0.49 * np.eye(left.shape[1]), atol=0.02)
  assert conditional_log_det(x, t2, t1) < 1e-3
  assert conditional_log_det(y, t1, x) < 1e-3


def test_layers_obey_data_processing():
  def nats(first, second):
    return find(f"noisy_layers:first={first},second={second}").nats

  assert nats("x", "t2") < nats("x", "t1")
  assert nats("t2", "y") < nats("t1", "y") < nats("x", "y")
  assert nats("t1", "y") == pytest.approx(nats("y", "t1"), abs=1e-12)


# Conditional tasks.


def conditional_log_det(x, y, z):
  """I(X;Y|Z) of Gaussians: the information of the residuals of x and y on z."""
  residuals = [v - z @ np.linalg.lstsq(z, v, rcond=None)[0] for v in (x, y)]
  return log_det_information(np.cov(np.hstack(residuals).T), x.shape[1])


@pytest.mark.parametrize(
  "name",
  ["gaussian_given:d=2,dz=2,rho=0.6/0.3", "gaussian_given:dx=1,dy=3,rho=0", "mediated"],
)
def test_gaussian_conditional_information(name):
  task = find(name)
  x, y, z = task.draw(300_000)
  assert conditional_log_det(x, y, z) == pytest.approx(task.nats, abs=3e-3)
  # What is not conditioned on is not the same: the common cause adds to it.
  joint = log_det_information(np.cov(np.hstack([x, y]).T), task.dx)
  assert joint > task.nats + 0.05


def test_mediated_without_z():
  alone, given = find("mediated:given=0"), find("mediated")
  x, y = alone.draw(200_000)
  assert -0.5 * math.log(1 - np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2) == pytest.approx(
    alone.nats, abs=3e-3
  )
  np.testing.assert_array_equal(x, given.draw(200_000)[0])


def test_switched_correlations():
  task = find("switched:rho=0.9/0.2/-0.7,offset=2")
  x, y, z = task.draw(300_000)
  found = [np.corrcoef(x[z == k, 0], y[z == k, 0])[0, 1] for k in range(3)]
  np.testing.assert_allclose(found, [0.9, 0.2, -0.7], atol=0.01)
  assert task.nats == pytest.approx(np.mean([-0.5 * math.log(1 - r**2) for r in (0.9, 0.2, 0.7)]))


# Mixtures.


def test_mixture_entropy_by_adaptive_quadrature():
  weights, means, scales = [0.2, 0.5, 0.3], [0.0, 1.5, 7.0], [1.0, 0.3, 2.0]

  def integrand(x):
    p = sum(w * stats.norm.pdf(x, m, s) for w, m, s in zip(weights, means, scales))
    return -p * math.log(p) if p > 0 else 0.0

  found = integrate.quad(integrand, -15, 35, points=[0, 1, 1.5, 2, 7], epsabs=1e-11, limit=500)[0]
  assert normal_mixture_entropy(weights, means, scales) == pytest.approx(found, abs=1e-9)
  far = normal_mixture_entropy([0.5, 0.5], [0.0, 1000.0], [1.0, 1.0])
  assert far == pytest.approx(LOG2 + 0.5 * math.log(2 * math.pi * math.e), abs=1e-12)


def test_classes_by_the_posterior_and_in_the_limits():
  # I(X;Y) = H(Y) - E H(Y|X), over drawn x with the exact posterior.
  task = find("classes:k=3,separation=2")
  x, y = task.draw(400_000)
  log_joint = stats.norm.logpdf(x, loc=2.0 * np.arange(3))
  posterior = special.softmax(log_joint, axis=1)
  assert np.mean(special.entr(posterior).sum(axis=1)) == pytest.approx(
    math.log(3) - task.nats, abs=3e-3
  )
  assert np.mean(np.argmax(posterior, axis=1) == y) > 0.7
  assert find("classes:k=5,separation=0").nats == pytest.approx(0, abs=1e-12)
  assert find("classes:k=5,separation=100").nats == pytest.approx(math.log(5), abs=1e-12)
  wide = find("classes:k=3,separation=2,d=4,rotate=1")
  assert wide.nats == task.nats
  x, y = wide.draw(100_000)
  centres = np.stack([x[y == k].mean(axis=0) for k in range(3)])
  np.testing.assert_allclose(np.linalg.norm(np.diff(centres, axis=0), axis=1), 2.0, atol=0.03)
  assert np.all(np.abs(centres[2] - centres[0]) > 0.05)


def test_bimodal_noise_by_quadrature():
  task = find("bimodal_noise:offset=1.5,scale=0.4")

  def noise(t):
    return 0.5 * (stats.norm.pdf(t, -1.5, 0.4) + stats.norm.pdf(t, 1.5, 0.4))

  grid = np.linspace(-11, 11, 881)
  step = grid[1] - grid[0]
  joint = stats.norm.pdf(grid)[:, None] * noise(grid[None] - grid[:, None])
  y = joint.sum(axis=0) * step
  ratio = special.xlogy(joint, noise(grid[None] - grid[:, None])) - special.xlogy(joint, y)
  assert task.nats == pytest.approx(ratio.sum() * step**2, abs=1e-9)
  x, y = task.draw(100_000)
  assert stats.kstest(np.abs(y - x)[:, 0], lambda t: stats.norm.cdf(t, 1.5, 0.4)).pvalue > 1e-4


@pytest.mark.parametrize("m", [1, 2, 5])
def test_uniform_steps_by_counting_cells(m):
  # y in cells of width 1 tells all that y tells of x.
  table = np.zeros((m, m + 1))
  for x in range(m):
    table[x, x : x + 2] = 0.5 / m
  assert find(f"uniform_steps:m={m}").nats == pytest.approx(information(table), abs=1e-12)
  x, y = find(f"uniform_steps:m={m},labels=1").draw(200_000)
  assert information(counted(x, np.floor(y[:, 0]).astype(int))) == pytest.approx(
    information(table), abs=3e-3
  )


@pytest.mark.parametrize("p", [0.0, 0.15, 0.6, 1.0])
def test_zero_inflated_poisson_by_quadrature(p):
  k = np.arange(120)

  def conditional(x):
    q = (1 - p) * stats.poisson.pmf(k, x)
    q[0] += p
    return q

  nodes, weights = np.polynomial.legendre.leggauss(200)
  root = 0.5 * (nodes + 1)  # x = 50 root^4: the entropy is not smooth at 0
  x = 50 * root**4
  w = 100 * root**3 * weights * np.exp(-x)
  table = np.array([conditional(value) for value in x]) * w[:, None]
  margin = table.sum(axis=0)
  nats = np.sum(special.xlogy(table, table / w[:, None]) - special.xlogy(table, margin))
  task = find(f"zero_inflated_poisson:p={p}")
  assert task.nats == pytest.approx(nats, abs=1e-8)
  assert task.entropies["y"] == pytest.approx(entropy_of(margin), abs=1e-8)
  # The closed form of the paper: right without inflation, above the truth with it.
  i = np.arange(1, 80)
  printed = (1 - p) * (2 * LOG2 - np.euler_gamma - np.sum(np.log(i) * 0.5**i))
  if p in (0.0, 1.0):
    assert task.nats == pytest.approx(printed, abs=1e-12)
  else:
    assert task.nats < printed - 0.02
  drawn, counts = task.draw(200_000)
  assert np.mean(counts == 0) == pytest.approx(p + (1 - p) / 2, abs=0.01)
  assert np.mean(counts) == pytest.approx(1 - p, abs=0.02)
  if p < 1:
    assert np.cov(drawn[:, 0], counts[:, 0])[0, 1] == pytest.approx(1 - p, abs=0.03)


def test_atoms_by_cells():
  task = find("atoms:rho=0.8,weight=0.6,flip=0.2")
  x, y = (column[:, 0] for column in task.draw(400_000))
  discrete = np.abs(x) == 1.0
  np.testing.assert_array_equal(discrete, np.abs(y) == 1.0)
  normals = np.corrcoef(x[~discrete], y[~discrete])[0, 1]
  signs = counted((x[discrete] > 0).astype(int), (y[discrete] > 0).astype(int))
  weight = np.mean(~discrete)
  nats = entropy_of(np.array([weight, 1 - weight])) + (1 - weight) * information(signs)
  nats -= weight * 0.5 * math.log(1 - normals**2)
  assert task.nats == pytest.approx(nats, abs=5e-3)


# Gamma families: the density on a grid of the logarithms.


def grid_information(log_density, low, high, count):
  """I(X;Y) by the trapezium rule on both axes; the margins are sums too."""
  grid = np.linspace(low, high, count)
  step = grid[1] - grid[0]
  log_p = log_density(grid[:, None], grid[None])
  p = np.exp(log_p)
  assert p.sum() * step**2 == pytest.approx(1.0, abs=1e-9)
  x, y = p.sum(axis=1, keepdims=True) * step, p.sum(axis=0, keepdims=True) * step
  entropies = [-np.sum(special.xlogy(v, v)) * step for v in (x, y)]
  nats = np.sum(p * log_p) * step**2 + sum(entropies)
  return nats, *entropies


@pytest.mark.parametrize("theta", [0.5, 1.0, 3.0])
def test_gamma_exponential_by_quadrature(theta):
  def log_density(u, v):  # of (log x, log y)
    return (theta + 1) * u + v - np.exp(u) - np.exp(u + v) - special.gammaln(theta)

  nats, x, y = grid_information(log_density, -50, 50, 1001)
  task = find(f"gamma_exponential:theta={theta},log=1")
  assert task.nats == pytest.approx(nats, abs=1e-8)
  assert task.entropies["x"] == pytest.approx(x, abs=1e-7)
  assert task.entropies["y"] == pytest.approx(y, abs=1e-7)
  x, y = find(f"gamma_exponential:theta={theta}").draw(100_000)
  assert stats.kstest(x[:, 0], stats.gamma(theta).cdf).pvalue > 1e-4
  assert stats.kstest(y[:, 0], stats.lomax(theta).cdf).pvalue > 1e-4
  assert stats.kstest((x * y)[:, 0], stats.expon.cdf).pvalue > 1e-4


@pytest.mark.parametrize("theta", [0.5, 1.0, 4.0])
def test_pareto_by_quadrature(theta):
  def log_density(u, v):
    tail = np.logaddexp(0.0, np.logaddexp(u, v))
    return math.log(theta * (theta + 1)) - (theta + 2) * tail + u + v

  nats, *_ = grid_information(log_density, -55, 55, 1001)
  task = find(f"pareto:theta={theta}")
  assert task.nats == pytest.approx(nats, abs=1e-8)
  x, y = task.draw(100_000)
  assert stats.kstest(y[:, 0], stats.lomax(theta).cdf).pvalue > 1e-4
  smaller = np.minimum(x, y)[:, 0]  # P(both > t) = (1 + 2 t)^-theta
  assert stats.kstest(2 * smaller, stats.lomax(theta).cdf).pvalue > 1e-4


def test_logistic_by_quadrature():
  def log_density(u, v):
    return LOG2 - u - v - 3 * np.logaddexp(0.0, np.logaddexp(-u, -v))

  nats, x, _ = grid_information(log_density, -40, 40, 801)
  task = find("logistic")
  assert (task.nats, task.entropies["x"]) == pytest.approx((nats, x), abs=1e-8)
  x, y = task.draw(100_000)
  assert stats.kstest(x[:, 0], stats.logistic.cdf).pvalue > 1e-4
  larger = np.maximum(x, y)[:, 0]  # P(both <= t) = 1 / (1 + 2 exp(-t))
  assert stats.kstest(larger - LOG2, stats.logistic.cdf).pvalue > 1e-4


@pytest.mark.parametrize("theta", [0.1, 0.4, 0.5, 0.5000001, 0.7, 3.0])
def test_weinman_by_quadrature(theta):
  # h(Y) of the sum of two exponentials of rates 2 and 1/theta, less h(Y|X).
  gap = 1 / theta - 2

  def density(y):
    risen = -math.expm1(-gap * y) / gap if gap else y
    return 2 / theta * math.exp(-2 * y) * risen

  def integrand(y):
    p = density(y)
    return -p * math.log(p) if p > 0 else 0.0

  pieces = [0, 0.05, 0.5, 2, 8, 40, 200]
  entropy = sum(
    integrate.quad(integrand, *ends, epsabs=1e-11, limit=200)[0]
    for ends in itertools.pairwise(pieces)
  )
  task = find(f"weinman:theta={theta}")
  assert task.nats == pytest.approx(entropy - 1 - math.log(theta), abs=1e-8)
  x, y = task.draw(100_000)
  assert stats.kstest(2 * x[:, 0], stats.expon.cdf).pvalue > 1e-4
  assert stats.kstest((y - x)[:, 0] / theta, stats.expon.cdf).pvalue > 1e-4


@pytest.mark.parametrize(("a", "b"), [(2.0, 1.0), (0.7, 3.0)])
def test_gamma_sum_by_the_entropies_of_scipy(a, b):
  task = find(f"gamma_sum:a={a},b={b}")
  assert task.nats == pytest.approx(stats.gamma(a + b).entropy() - stats.gamma(b).entropy())
  x, y = task.draw(100_000)
  assert stats.kstest(x[:, 0], stats.gamma(a).cdf).pvalue > 1e-4
  assert stats.kstest((y - x)[:, 0], stats.gamma(b).cdf).pvalue > 1e-4


# Images.


def normal_scores_information(u, v):
  """Information of uniform pairs with a Gaussian copula, from their normal scores."""
  scores = special.ndtri(np.hstack([u, v]))
  return log_det_information(np.cov(scores.T), u.shape[1])


def invert_blob(images, size):
  """Centres from the ratios of neighbouring pixels."""
  ticks = np.linspace(0, 1, size)
  rows = np.log(images.reshape(-1, size, size))
  slopes = [rows[:, 1, 0] - rows[:, 0, 0], rows[:, 0, 1] - rows[:, 0, 0]]
  # log p(1) - log p(0) = -10 (t1^2 - 2 t1 u)
  return np.stack([(s / 10 + ticks[1] ** 2) / (2 * ticks[1]) for s in slopes], axis=1)


def invert_elliptic(images, size):
  """The quadratic form from the logarithms of all pixels, and from it the five parameters."""
  ticks = np.linspace(0, 1, size)
  s, t = (v.reshape(-1) for v in np.meshgrid(ticks, ticks, indexing="ij"))
  design = np.stack([s * s, t * t, s * t, s, t, np.ones_like(s)], axis=1)
  c = np.linalg.lstsq(design, -np.log(images).T / 10, rcond=None)[0]
  a, b = np.sqrt(c[0]), np.sqrt(c[1])
  centres = [
    np.linalg.solve([[2 * c[0, i], c[2, i]], [c[2, i], 2 * c[1, i]]], -c[3:5, i])
    for i in range(images.shape[0])
  ]
  return np.column_stack([centres, a - 1, b - 1, (c[2] / (a * b) + 1) / 2])


def invert_rectangle(images, size):
  """The ends of both sides from the covered areas."""
  images, least = images.reshape(-1, size, size), 2 / size
  found = []
  for axis in (2, 1):
    profile = images.sum(axis=axis)
    profile = profile / profile.max(axis=1, keepdims=True)  # a side covers a pixel whole
    first = np.argmax(profile > 0, axis=1)
    low = (first + 1 - profile[np.arange(len(profile)), first]) / size
    high = low + profile.sum(axis=1) / size
    found += [1 - (1 - low / (1 - least)) ** 2, (high - low - least) / (1 - least - low)]
  return np.stack(found, axis=1)


@pytest.mark.parametrize(
  ("family", "draw", "parameters", "invert", "size"),
  [
    ("blob_images", images_lib.blob, 2, invert_blob, 16),
    ("elliptic_blob_images", images_lib.elliptic_blob, 5, invert_elliptic, 32),
    ("rectangle_images", images_lib.rectangle, 4, invert_rectangle, 32),
  ],
)
def test_images_determine_their_parameters(family, draw, parameters, invert, size):
  u = np.random.default_rng(0).uniform(0.01, 0.99, (200, parameters))
  images = draw(u, size).reshape(200, -1)
  assert images.min() >= 0 and images.max() <= 1
  np.testing.assert_allclose(invert(images, size), u, atol=1e-7)
  # So the information of the images is that of the parameters read off them.
  task = find(f"{family}:nats=3")
  x, y = task.draw(3000)
  read = [np.clip(invert(side, size), 1e-12, 1 - 1e-12) for side in (x, y)]
  assert normal_scores_information(*read) == pytest.approx(3.0, abs=0.15)
  assert task.nats == pytest.approx(3.0, abs=1e-12)
  for column in read[0].T:
    assert stats.kstest(column, "uniform").pvalue > 1e-4


# The twelve-bit task.


def test_twelve_bit_rule_counts():
  words, labels = twelve_bit.words(), twelve_bit.labels()
  assert words.shape == (4096, 12) and len(np.unique(words, axis=0)) == 4096
  assert words[1].tolist() == [0] * 11 + [1]
  assert labels.sum() == 2118
  assert find("twelve_bit").nats / LOG2 == pytest.approx(0.99916, abs=5e-6)
  assert find("twelve_bit").entropies["x"] == pytest.approx(12 * LOG2)


def test_the_vertices_are_those_of_an_icosahedron():
  # Built from the golden ratio: some order of its vertices has the neighbours written down.
  near = np.zeros((12, 12), bool)
  for vertex, others in enumerate(twelve_bit.NEIGHBOURS):
    near[vertex, list(others)] = True
  np.testing.assert_array_equal(near, near.T)
  values = np.sort(np.linalg.eigvalsh(near.astype(float)))
  golden = (1 + math.sqrt(5)) / 2
  corners = [
    np.roll([0, s, t * golden], shift) for shift in range(3) for s in (1, -1) for t in (1, -1)
  ]
  distance = np.linalg.norm(np.array(corners)[:, None] - np.array(corners)[None], axis=-1)
  np.testing.assert_allclose(
    values, np.linalg.eigvalsh(np.isclose(distance, 2).astype(float)), atol=1e-12
  )
  # Antipodes share no neighbour, and every vertex has one.
  assert sorted(itertools.chain(*twelve_bit.ANTIPODES)) == list(range(12))
  for i, j in twelve_bit.ANTIPODES:
    assert not near[i, j] and not np.any(near[i] & near[j])


def test_the_label_does_not_change_when_the_pattern_is_rotated():
  near = {(i, j) for i, others in enumerate(twelve_bit.NEIGHBOURS) for j in others}
  symmetries = []

  def extend(images):
    i = len(images)
    if i == 12:
      symmetries.append(images)
      return
    for candidate in set(range(12)) - set(images):
      if all(((i, j) in near) == ((candidate, images[j]) in near) for j in range(i)):
        extend([*images, candidate])

  extend([])
  assert len(symmetries) == 120
  words, labels = twelve_bit.words(), twelve_bit.labels()
  weights = 1 << np.arange(12)[::-1]
  for images in symmetries:
    np.testing.assert_array_equal(labels[words[:, images] @ weights], labels)


def test_twelve_bit_draws():
  x, y = find("twelve_bit").draw(5000)
  index, again = find("twelve_bit:as_labels=1").draw(5000)
  np.testing.assert_array_equal(
    y, twelve_bit.labels()[(x @ (1 << np.arange(12)[::-1])).astype(int)]
  )
  np.testing.assert_array_equal(again, twelve_bit.labels()[index])
  assert index.max() > 4000


# Values out of range.


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("bsc:p=1.5", "p is 1.5"),
    ("table:kx=0", "kx is 0"),
    ("table:concentration=0", "concentration is 0"),
    ("table_chain:first=2,second=2", "second is 2, expected a number at least 3"),
    ("classes:k=0", "k is 0"),
    ("classes:sigma=0", "sigma is 0"),
    ("uniform_steps:m=0", "m is 0"),
    ("zero_inflated_poisson:p=-1", "p is -1"),
    ("atoms:rho=1", "rho is 1"),
    ("mediated:rho_xz=1", "rho_xz is 1"),
    ("switched:rho=1/0", r"rho=1/0, expected numbers in \(-1, 1\)"),
    ("gaussian_given:dz=0", "dz is 0"),
    ("gaussian_chain:second=3", "second is 3"),
    ("gaussian_chain:rho=1", r"expected numbers in \(-1, 1\)"),
    ("noisy_layers:first=t3", "unknown first 't3'"),
    ("noisy_layers:second=x", "information with itself is infinite"),
    ("blob_images:size=2", "size is 2"),
    ("gamma_exponential:theta=0", "theta is 0"),
    ("weinman:theta=0", "theta is 0"),
    ("bimodal_noise:scale=0", "scale is 0"),
    ("twelve_bit:as_labels=2", "as_labels is 2"),
    ("bsc:then=asinh", "transforms are for pairs of real variables"),
    ("mediated:then=asinh", "without a z"),
  ],
)
def test_values_out_of_range_are_refused(name, message):
  with pytest.raises(InputError, match=message):
    find(name)
