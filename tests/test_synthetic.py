"""Tasks with exact truth: the published 40, the grammar of names, truths by another route."""

from __future__ import annotations

import inspect
import itertools
import math
import pathlib
import re

import numpy as np
import pytest
from scipy import integrate, special, stats

from ibjax.core.errors import ConfigError, InputError
from ibjax.data.source import load
from ibjax.data.sources import synthetic as synthetic_source
from ibjax.data.synthetic import find, names, registry
from ibjax.data.synthetic import transforms as transforms_lib
from ibjax.verbs import data as data_verb
from ibjax.verbs import list as list_verb

# As published with Czyz et al. 2023; computed there in float32, so good to about 1e-7.
PUBLISHED = {
  "1v1-normal-0.75": 0.4133392866,
  "normal_cdf-1v1-normal-0.75": 0.4133392866,
  "1v1-additive-0.1": 1.7094379663,
  "1v1-additive-0.75": 0.3333333333,
  "1v1-bimodal-0.75": 0.4133392866,
  "wiggly-1v1-normal-0.75": 0.4133392866,
  "half_cube-1v1-normal-0.75": 0.4133392866,
  "student-identity-1-1-1": 0.2241714275,
  "asinh-student-identity-1-1-1": 0.2241714275,
  "swissroll_x-normal_cdf-1v1-normal-0.75": 0.4133392866,
  "multinormal-dense-2-2-0.5": 0.2938933325,
  "multinormal-dense-3-3-0.5": 0.4133392866,
  "multinormal-dense-5-5-0.5": 0.5928118328,
  "multinormal-dense-25-25-0.5": 1.2921837217,
  "multinormal-dense-50-50-0.5": 1.6242653743,
  "multinormal-sparse-2-2-2-2.0": 1.0216512475,
  "multinormal-sparse-3-3-2-2.0": 1.0216512475,
  "multinormal-sparse-5-5-2-2.0": 1.0216512475,
  "multinormal-sparse-25-25-2-2.0": 1.0216512475,
  "student-identity-2-2-1": 0.4319456220,
  "student-identity-2-2-2": 0.1931471806,
  "student-identity-3-3-2": 0.2909219227,
  "student-identity-3-3-3": 0.1787118531,
  "student-identity-5-5-2": 0.4481506769,
  "student-identity-5-5-3": 0.2985436227,
  "normal_cdf-multinormal-sparse-3-3-2-2.0": 1.0216512475,
  "normal_cdf-multinormal-sparse-5-5-2-2.0": 1.0216512475,
  "normal_cdf-multinormal-sparse-25-25-2-2.0": 1.0216512475,
  "half_cube-multinormal-sparse-3-3-2-2.0": 1.0216512475,
  "half_cube-multinormal-sparse-5-5-2-2.0": 1.0216512475,
  "half_cube-multinormal-sparse-25-25-2-2.0": 1.0216512475,
  "spiral-multinormal-sparse-3-3-2-2.0": 1.0216512475,
  "spiral-multinormal-sparse-5-5-2-2.0": 1.0216512475,
  "spiral-multinormal-sparse-25-25-2-2.0": 1.0216512475,
  "spiral-normal_cdf-multinormal-sparse-3-3-2-2.0": 1.0216512475,
  "spiral-normal_cdf-multinormal-sparse-5-5-2-2.0": 1.0216512475,
  "spiral-normal_cdf-multinormal-sparse-25-25-2-2.0": 1.0216512475,
  "asinh-student-identity-2-2-1": 0.4319456220,
  "asinh-student-identity-3-3-2": 0.2909219227,
  "asinh-student-identity-5-5-2": 0.4481506769,
}


def published_dims(name):
  """Reads the widths from a published id."""
  if "1v1" in name:
    return (2, 1) if "swissroll_x" in name else (1, 1)
  _, _, rest = re.sub("student-identity|multinormal-(dense|sparse)", "#", name).partition("#-")
  dx, dy, *_ = rest.split("-")
  return int(dx), int(dy)


# The published 40.


def test_all_forty_are_there_in_order():
  assert [name for name in names() if name.startswith("bmi:")] == [f"bmi:{k}" for k in PUBLISHED]
  assert len(PUBLISHED) == 40


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_task(name):
  task = find(f"bmi:{name}")
  assert task.id == f"bmi:{name}"
  assert task.nats == pytest.approx(PUBLISHED[name], abs=1e-7)
  x, y = task.draw(50, seed=3)
  assert (x.shape, y.shape) == ((50, task.dx), (50, task.dy))
  assert (task.dx, task.dy) == published_dims(name)
  assert x.dtype == y.dtype == np.float64
  assert np.isfinite(x).all() and np.isfinite(y).all()
  assert len(np.unique(x, axis=0)) == len(np.unique(y, axis=0)) == 50


def undone(name, x, y):
  """Columns of a published task's draws with its maps undone where they can be, and their law."""
  law = stats.norm.cdf
  if "student" in name:
    law = stats.t(int(name.rsplit("-", 1)[1])).cdf
  if "additive" in name:
    return [x[:, 0]], stats.uniform.cdf
  if name.startswith("asinh"):
    x, y = np.sinh(x), np.sinh(y)
  if name.startswith("half_cube"):
    x, y = (np.sign(v) * np.abs(v) ** (2 / 3) for v in (x, y))
  if name.startswith("wiggly"):
    grid = np.linspace(-9, 9, 200_001)
    wave_x = (
      grid + 0.4 * np.sin(grid) + 0.2 * np.sin(1.7 * grid + 1) + 0.03 * np.sin(3.3 * grid - 2.5)
    )
    wave_y = grid - 0.4 * np.sin(0.4 * grid) + 0.17 * np.sin(1.3 * grid + 3.5)
    wave_y += 0.02 * np.sin(4.3 * grid - 2.5)
    x, y = np.interp(x, wave_x, grid), np.interp(y, wave_y, grid)
  if "normal_cdf" in name:
    law = stats.uniform.cdf
  if "bimodal" in name:
    law = stats.uniform.cdf
    x = 0.3 * special.ndtr(x) + 0.7 * special.ndtr(x - 5)
    y = 0.5 * special.ndtr(y + 1) + 0.5 * special.ndtr(y - 3)
  if "swissroll" in name:
    x = (np.linalg.norm(x, axis=1, keepdims=True) * 21 / (1.5 * np.pi) - 1) / 2
  if "spiral" in name:
    for v, first in ((x, 0), (y, 1)):
      angle = -np.sum(v**2, axis=1) / v.shape[1]
      turned = (v[:, first] + 1j * v[:, first + 1]) * np.exp(1j * angle)
      v[:, first], v[:, first + 1] = turned.real, turned.imag
  return [*x.T[:5], *y.T[:5]], law


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_task_has_the_margins_of_its_construction(name):
  columns, law = undone(name, *find(f"bmi:{name}").draw(4000))
  assert min(stats.kstest(column, law).pvalue for column in columns) > 1e-4


# Names.


def test_every_family_is_a_task_with_its_defaults():
  for name in names():
    task = find(name)
    assert task.id == name and find(task.id).nats == task.nats
    assert task.nats >= 0 and task.source


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("gausian:d=2", "Did you mean 'gaussian'"),
    ("1v1-normal-0.75", "Did you mean 'bmi:1v1-normal-0.75'"),
    ("bmi:1v1-normal-0.7", "Did you mean 'bmi:1v1-normal-0.75'"),
    ("gaussian:rh=0.5", "Did you mean 'rho'"),
    ("gaussian:d=two", "d='two', expected a whole number"),
    ("gaussian:rho=a/b", "expected finite numbers joined by slashes"),
    ("additive:epsilon=x", "expected a finite number"),
    ("gaussian:then=spirl", "Did you mean 'spiral'"),
    ("gaussian:copes=2", "Did you mean 'copies'"),
    ("gaussian:d=1,d=2", "d is given twice"),
    ("sparse:strength=inf", "expected a finite number"),
    ("gaussian:d=2,rho=0.5/nan", "expected finite numbers"),
  ],
)
def test_wrong_names_name_the_nearest(name, message):
  with pytest.raises(ConfigError, match=message):
    find(name)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("gaussian:rho=1", r"expected one number in \(-1, 1\)"),
    ("gaussian:d=2,rho=0.1/0.2/0.3", "at most 2"),
    ("gaussian:d=-1", "dx is -1"),
    ("student:df=0", "df is 0"),
    ("additive:epsilon=-1", "epsilon is -1"),
    ("sparse:dx=2,pairs=3", "pairs is 3"),
    ("gaussian:copies=0", "copies is 0"),
    ("gaussian:pad=-1", "pad is -1"),
    ("bsc:copies=2", "copies are for pairs of real variables"),
    ("bsc:pad=2", "x is a label"),
    ("gaussian:then=spiral", "spiral takes a dx of at least 2, found 1"),
    ("gaussian:d=2,then=swissroll_x", "swissroll_x takes a dx of exactly 1, found 2"),
  ],
)
def test_values_out_of_range_are_refused(name, message):
  with pytest.raises(InputError, match=message):
    find(name)


def test_a_task_is_named_by_what_is_not_default():
  assert find("gaussian:rho=0.6,d=1").id == "gaussian:rho=0.6"
  assert find("gaussian:d=3,rho=0.9/0.5,then=spiral").id == "gaussian:d=3,rho=0.9/0.5,then=spiral"
  assert find("gaussian:then=asinh").id == "gaussian:then=asinh"


# Draws.


def test_draws_depend_on_the_seed_and_the_task_alone():
  task = find("gaussian:d=2")
  for first, second in zip(task.draw(5, 1), find("gaussian:d=2,rho=0.75").draw(5, 1)):
    np.testing.assert_array_equal(first, second)
  assert not np.allclose(task.draw(5, 1)[0], task.draw(5, 2)[0])
  assert not np.allclose(task.draw(5, 1)[0], find("gaussian:d=2,rho=0.5").draw(5, 1)[0])
  with pytest.raises(InputError, match="n must be at least 1"):
    task.draw(0)
  with pytest.raises(InputError, match="seed at least 0"):
    task.draw(1, -1)


# Gaussians, Student-t, additive noise.


def log_det_information(covariance, dx):
  parts = (covariance[:dx, :dx], covariance[dx:, dx:], covariance)
  x, y, xy = (np.linalg.slogdet(part)[1] for part in parts)
  return 0.5 * (x + y - xy)


@pytest.mark.parametrize(
  "name", ["gaussian:dx=2,dy=3,rho=0.8/-0.5", "gaussian:d=3,rotate=4", "dense:dx=3", "sparse:dy=4"]
)
def test_gaussian_samples_have_the_information(name):
  task = find(name)
  x, y = task.draw(400_000)
  covariance = np.cov(np.hstack([x, y]).T)
  assert log_det_information(covariance, task.dx) == pytest.approx(task.nats, abs=0.01)
  half_log = 0.5 * np.linalg.slogdet(covariance)[1]
  entropy = half_log + 0.5 * len(covariance) * math.log(2 * math.pi * math.e)
  assert entropy == pytest.approx(task.entropies["xy"], abs=0.01)
  assert task.entropies["x"] + task.entropies["y"] - task.entropies["xy"] == pytest.approx(
    task.nats
  )


def test_a_rotation_leaves_no_pair_alone():
  x, y = find("gaussian:d=3,nats=2,rotate=1").draw(20_000)
  correlations = np.corrcoef(np.hstack([x, y]).T)[:3, 3:]
  assert find("gaussian:d=3,nats=2,rotate=1").nats == pytest.approx(2.0)
  assert np.min(np.abs(correlations)) > 0.02


@pytest.mark.parametrize(("df", "rho"), [(1.0, 0.0), (3.0, 0.0), (3.0, 0.6)])
def test_student_truth_by_quadrature(df, rho):
  task = find(f"student:df={df:g},rho={rho:g}")
  joint = stats.multivariate_t([0, 0], [[1, rho], [rho, 1]], df=df)
  one = stats.t(df)

  # The trapezium rule after x = sinh(u), which brings the tails within reach.
  u = np.linspace(-25, 25, 1001)
  x, slope = np.sinh(u), np.cosh(u) * (u[1] - u[0])
  pairs = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
  ratio = joint.logpdf(pairs) - one.logpdf(x)[:, None] - one.logpdf(x)
  total = slope @ (joint.pdf(pairs) * ratio) @ slope
  assert task.nats == pytest.approx(total, abs=1e-8)


def test_student_draws_have_their_quantiles():
  x, y = find("student:d=2,df=3").draw(200_000)
  for column in (*x.T, *y.T):
    assert stats.kstest(column, stats.t(3).cdf).pvalue > 1e-4
  # The radius of a joint t is that of an F distribution: the scale is shared by x and y.
  radius = (np.sum(x**2, axis=1) + np.sum(y**2, axis=1)) / 4
  assert stats.kstest(radius, stats.f(4, 3).cdf).pvalue > 1e-4


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 0.75, 2.0])
def test_additive_truth_by_quadrature(epsilon):
  def minus_p_log_p(y):
    p = (min(1.0, y + epsilon) - max(0.0, y - epsilon)) / (2 * epsilon)
    return -p * math.log(p) if p > 0 else 0.0

  corners = sorted([-epsilon, epsilon, 1 - epsilon, 1 + epsilon])
  entropy = sum(
    integrate.quad(minus_p_log_p, low, high, epsabs=1e-12)[0]
    for low, high in itertools.pairwise(corners)
  )
  task = find(f"additive:epsilon={epsilon}")
  assert task.nats == pytest.approx(entropy - math.log(2 * epsilon), abs=1e-9)
  assert task.entropies["y"] == pytest.approx(entropy, abs=1e-9)


# Transforms.


@pytest.mark.parametrize("name", ["asinh", "half_cube", "wiggly", "normal_cdf"])
def test_maps_of_one_coordinate_increase(name):
  grid = np.linspace(-6, 6, 20_001)
  for side in (transforms_lib.TRANSFORMS[name].x, transforms_lib.TRANSFORMS[name].y):
    assert np.all(np.diff(side(grid)) > 0)


def test_bimodal_maps_the_uniform_to_its_mixtures():
  u = np.linspace(1e-9, 1 - 1e-9, 1001)[:, None]
  bimodal = transforms_lib.TRANSFORMS["bimodal"]
  x, y = bimodal.x(u), bimodal.y(u)
  phi = special.ndtr
  np.testing.assert_allclose(0.3 * phi(x) + 0.7 * phi(x - 5), u, rtol=1e-13)
  np.testing.assert_allclose(0.5 * phi(y + 1) + 0.5 * phi(y - 3), u, rtol=1e-13)
  assert np.all(np.diff(x[:, 0]) > 0)
  far = np.array([[1e-300], [1e-20], [1 - 1e-15]])
  assert 0.3 * phi(bimodal.x(far)[:2]) == pytest.approx(far[:2], rel=1e-10)
  assert bimodal.x(far)[2] == pytest.approx(5 - special.ndtri(1e-15 / 0.7), abs=0.05)
  assert np.isfinite(bimodal.y(np.array([[0.0], [1.0]]))).all()


def test_the_swiss_roll_never_meets_itself():
  u = np.linspace(0, 1, 500)[:, None]
  rolled = transforms_lib.TRANSFORMS["swissroll_x"].x(u)
  distance = np.linalg.norm(rolled[:, None] - rolled[None], axis=-1)
  # Windings lie pi / 21 x 3 apart or more; neighbours of the curve are nearer.
  far = np.abs(u - u.T) > 0.2
  assert distance[far].min() > 0.2
  radius = np.linalg.norm(rolled, axis=1)
  assert np.all(np.diff(radius) > 0)


@pytest.mark.parametrize("side", ["x", "y"])
def test_the_spiral_turns_one_plane_and_keeps_volumes(side):
  d, plane = 4, [0, 1] if side == "x" else [1, 2]
  turn = getattr(transforms_lib.TRANSFORMS["spiral"], side)
  point = np.random.default_rng(0).normal(size=(1, d))
  skew = np.zeros((d, d))
  skew[plane[0], plane[1]], skew[plane[1], plane[0]] = -1 / d, 1 / d
  angle = np.sum(point**2)
  # Another route: the matrix exponential of the definition, as its power series.
  expected, term = point.T.copy(), point.T.copy()
  for k in range(1, 40):
    term = angle / k * skew @ term
    expected = expected + term
  np.testing.assert_allclose(turn(point), expected.T, atol=1e-12)
  step = 1e-5
  jacobian = [(turn(point + step * e) - turn(point - step * e))[0] / (2 * step) for e in np.eye(d)]
  assert np.linalg.det(np.array(jacobian)) == pytest.approx(1.0, abs=1e-8)


def test_transforms_are_of_the_same_rows():
  x, y = find("gaussian:d=3").draw(20, 5)
  tx, ty = find("gaussian:d=3,then=half_cube/spiral").draw(20, 5)
  spiral = transforms_lib.TRANSFORMS["spiral"]
  np.testing.assert_allclose(tx, spiral.x(np.sign(x) * np.abs(x) ** 1.5), rtol=1e-12)
  np.testing.assert_allclose(ty, spiral.y(np.sign(y) * np.abs(y) ** 1.5), rtol=1e-12)
  assert find("gaussian:d=3,then=spiral").entropies == find("gaussian:d=3").entropies


@pytest.mark.parametrize(
  "then", ["asinh", "half_cube", "wiggly", "normal_cdf", "normal_cdf/bimodal"]
)
def test_entropies_of_transformed_normals(then):
  # In one dimension, of the density on the axis of the image: another route than mean slopes.
  task = find(f"gaussian:then={then}")
  z = np.sort(np.concatenate([np.linspace(-8, 8, 40_001), np.linspace(-0.01, 0.01, 40_001)]))
  middle = 0.5 * (z[1:] + z[:-1])
  mass = np.diff(special.ndtr(z))
  for side, letter in enumerate("xy"):
    image = z[:, None]
    for name in then.split("/"):
      each = transforms_lib.TRANSFORMS[name]
      image = (each.x, each.y)[side](image)
    seen = (mass > 0) & (np.diff(image[:, 0]) > 0) & (np.abs(middle) < 7.5)
    density = mass[seen] / np.diff(image[:, 0])[seen]
    entropy = -np.sum(mass[seen] * np.log(density))
    assert task.entropies[letter] == pytest.approx(entropy, abs=1e-5)
  assert task.entropies["x"] + task.entropies["y"] - task.entropies["xy"] == pytest.approx(
    task.nats
  )


def test_entropies_are_known_as_long_as_the_margins_are():
  assert find("gaussian:d=2,then=normal_cdf").entropies["x"] == pytest.approx(0, abs=1e-14)
  assert find("sparse:copies=2,then=normal_cdf").entropies["y"] == pytest.approx(0, abs=1e-14)
  assert find("gaussian:pad=3,then=normal_cdf").entropies["y"] == pytest.approx(0, abs=1e-14)
  spun = find("sparse:then=normal_cdf/spiral")
  assert spun.entropies == find("sparse:then=normal_cdf").entropies
  unknown = ["gaussian:then=asinh/asinh", "student:then=asinh", "sparse:then=spiral/normal_cdf"]
  unknown += ["gaussian:then=normal_cdf/swissroll_x", "noisy_layers:then=asinh"]
  for name in unknown:
    assert find(name).entropies == {}, name


def test_copies_add_up():
  one, three = find("dense:rho=0.3"), find("dense:rho=0.3,copies=3")
  assert three.id == "dense:rho=0.3,copies=3"
  x, y = three.draw(200_000)
  assert (x.shape[1], y.shape[1]) == (three.dx, three.dy) == (6, 6)
  covariance = np.cov(np.hstack([x, y]).T)
  assert three.nats == 3 * one.nats
  assert log_det_information(covariance, 6) == pytest.approx(three.nats, abs=0.01)
  assert three.entropies["xy"] == pytest.approx(3 * one.entropies["xy"])
  assert np.max(np.abs(covariance[:2, 2:6])) < 0.02


@pytest.mark.parametrize("name", ["dense:rho=0.3", "gaussian_given", "classes"])
def test_padding_is_noise_beside_the_same_rows(name):
  task, padded = find(name), find(f"{name}{',' if ':' in name else ':'}pad=2")
  before, after = task.draw(20_000, 1), padded.draw(20_000, 1)
  assert padded.nats == task.nats
  assert after[0].shape[1] == padded.dx == task.dx + 2
  np.testing.assert_array_equal(after[0][:, : task.dx], before[0])
  noise = [after[0][:, task.dx :]]
  if task.dy:
    np.testing.assert_array_equal(after[1][:, : task.dy], before[1])
    noise.append(after[1][:, task.dy :])
    assert after[1].shape[1] == padded.dy
  else:
    np.testing.assert_array_equal(after[1], before[1])
  covariance = np.cov(np.hstack([*noise, before[0]]).T)
  size = 2 * len(noise)
  np.testing.assert_allclose(covariance[:size, :size], np.eye(size), atol=0.05)
  np.testing.assert_allclose(covariance[:size, size:], 0, atol=0.06)
  if task.entropies:
    parts = padded.entropies
    added = math.log(2 * math.pi * math.e)
    assert parts["x"] == pytest.approx(task.entropies["x"] + added)
    assert parts["y"] == pytest.approx(task.entropies["y"] + (added if task.dy else 0))
    assert parts["x"] + parts["y"] - parts["xy"] == pytest.approx(task.nats)


def test_normal_cdf_refuses_to_lose_information():
  with pytest.raises(InputError, match="rounds to 0 or 1"):
    find("student:then=normal_cdf").draw(100_000)
  with pytest.raises(InputError, match="put normal_cdf before it"):
    find("gaussian:then=swissroll_x").draw(100)


# As data sets.


def rows(source, split):
  part = source.splits[split]
  read = part.read(np.arange(part.n))
  return read["x"], read["y"]


@pytest.mark.parametrize(
  "argument", ["gaussian:d=2,train=50,test=30,draw=4", "classes:train=20,k=3"]
)
def test_a_task_as_a_data_set(argument):
  source = load(f"synthetic:{argument}")
  task, values = synthetic_source.parse(argument)
  x, y = rows(source, "train")
  expected = task.draw(values["train"], values["draw"] + 1)
  np.testing.assert_array_equal(x, expected[0].astype(np.float32))
  np.testing.assert_array_equal(y, expected[1].astype(y.dtype))
  assert source.information_nats == task.nats
  if task.dy:
    assert source.target_entropy_nats == task.entropies["y"]
  else:
    assert (source.num_classes, y.dtype) == (3, np.int32)
  # Another seed: other training rows, the same test rows.
  other = load(f"synthetic:{argument},draw=9")
  assert other.fingerprint != source.fingerprint
  assert not np.array_equal(rows(other, "train")[0], x)
  np.testing.assert_array_equal(rows(other, "test")[0], rows(source, "test")[0])


def test_images_and_labels_as_inputs():
  images = load("synthetic:blob_images:nats=1,size=8,train=3,test=2")
  assert images.x_shape == (8, 8, 1) and images.information_nats == pytest.approx(1.0)
  words = load("synthetic:xor:train=40,test=2")
  x, y = rows(words, "train")
  assert words.x_shape == (4,) and words.num_classes == 2
  np.testing.assert_array_equal(x.sum(axis=1), 1)
  bits = np.argmax(x, axis=1)
  np.testing.assert_array_equal(y, (bits >> 1) ^ (bits & 1))
  assert load("synthetic:bmi:1v1-normal-0.75,train=5,test=4").splits["train"].n == 5


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("gausian", "Did you mean 'gaussian'"),
    ("gaussian:trian=3", "unknown key of task 'gaussian' 'trian'"),
    ("gaussian:train=0", "train='0', expected a whole number, at least 1"),
    ("xor:draw=-1", "draw='-1'"),
    ("mediated", "mediated has a z"),
    ("", "unknown family of tasks ''"),
  ],
)
def test_wrong_data_sets_are_refused(argument, message):
  with pytest.raises(ConfigError, match=message):
    load(f"synthetic:{argument}")


def test_no_family_takes_a_key_of_the_data_set():
  for build in registry.FAMILIES.values():
    assert not set(inspect.signature(build).parameters) & {
      *synthetic_source.DEFAULTS,
      *registry.EVERY,
    }


def test_twelve_bit_as_it_was_published():
  source = load("twelve_bit:split=contiguous")
  x, y = rows(source, "train")
  numbers = x @ (1 << np.arange(12)[::-1])
  np.testing.assert_array_equal(numbers, np.arange(3277))
  test_x, test_y = rows(source, "test")
  assert len(test_y) == 819 and np.all(test_x[:, :2] == 1)
  assert (np.mean(y), np.mean(test_y)) == pytest.approx((0.437, 0.836), abs=5e-4)
  assert source.information_nats / math.log(2) == pytest.approx(0.99916, abs=5e-6)


def test_twelve_bit_shuffled():
  source, other = load("twelve_bit"), load("twelve_bit:split=shuffled,seed=1")
  (x, y), (test_x, test_y) = rows(source, "train"), rows(source, "test")
  assert (len(y), len(test_y)) == (3277, 819)
  both = np.concatenate([x, test_x]) @ (1 << np.arange(12)[::-1])
  np.testing.assert_array_equal(np.sort(both), np.arange(4096))
  assert np.mean(test_y) == pytest.approx(np.mean(y), abs=0.06)
  assert source.fingerprint != other.fingerprint
  everything = rows(source, "all")
  np.testing.assert_array_equal(everything[0], rows(load("twelve_bit:split=contiguous"), "all")[0])
  labels = everything[1][both.astype(int)]
  np.testing.assert_array_equal(labels, np.concatenate([y, test_y]))


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("split=contigous", "Did you mean 'contiguous'"),
    ("sed=1", "Did you mean 'seed'"),
    ("seed=x", "expected a whole number"),
  ],
)
def test_wrong_splits_are_refused(argument, message):
  with pytest.raises(ConfigError, match=message):
    load(f"twelve_bit:{argument}")


def test_tasks_are_listed(capsys):
  assert list_verb.run(["tasks"]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[0] for line in lines[1:]] == names()
  assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines[1:])
  assert any("Keys: p, prior." in line for line in lines)


def test_data_info_says_the_information(capsys):
  assert data_verb.run(["info", "synthetic:bsc:p=0.1,train=20,test=10"]) == 0
  assert "I(X;Y) = 0.368064 nats, exact" in capsys.readouterr().out


def test_the_guide_names_every_family_and_every_map():
  text = (pathlib.Path(__file__).parent.parent / "docs/tasks.md").read_text()
  for name in (*registry.FAMILIES, *registry.EVERY, *transforms_lib.TRANSFORMS):
    assert re.search(rf"`{name}[`=]", text), f"docs/tasks.md lacks {name}"
  poisson = find("zero_inflated_poisson:p=0.15").nats
  assert f"{poisson:.4f} and not {0.85 * find('zero_inflated_poisson:p=0').nats:.4f}" in text
