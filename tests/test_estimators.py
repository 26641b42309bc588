"""Every estimator, found by discovery, keeps the contract, its known answers and its claims."""

import functools
import inspect
import json
import math
import subprocess
import sys

import jax
import numpy as np
import pytest

from ibjax.core.errors import IbjaxError, InputError
from ibjax.core.estimate import Estimate
from ibjax.data import synthetic
from ibjax.estimators.base import samples
from tests import estimators
from tests.estimators import (
  METHODS,
  built,
  claimed,
  compiled,
  draw,
  factory,
  module,
  nats,
  short,
  tiny,
)
from tests.helpers import ROOT, environment

each = pytest.mark.parametrize("name", METHODS, ids=short)
INFORMATION = ("mutual_information", "conditional_mutual_information")


def truths(what):
  """All truths; of methods that train for each, only the first is looked at by default."""
  found = []
  for name in METHODS:
    for i, truth in enumerate(getattr(module(name), what, ())):
      trains = what == "TRUTHS" and i and built(name, truth.hyper).needs_key
      marks = (pytest.mark.very_slow,) if trains else ()
      found.append(pytest.param(name, truth, id=f"{short(name)}-{i}-{truth.task}", marks=marks))
  return found


def claims():
  return [
    pytest.param(name, claim, id=f"{short(name)}-{claim}")
    for name in METHODS
    for claim in built(name, claimed(name)).invariances
  ]


def kinds(estimator):
  """Pairs (position, kind) of what the estimator takes."""
  found = (estimator.x, estimator.y, estimator.z)
  return [(i, k.removesuffix("?")) for i, k in enumerate(found) if k != "none"]


def changed(given, position, array):
  return tuple(array if i == position else a for i, a in enumerate(given))


def codes(estimate):
  return {note.code for note in estimate.warnings}


# The contract.


@each
def test_one_file_one_factory_with_defaults_a_source_and_answers(name):
  build = factory(name)
  assert build.__module__ == name
  for parameter in inspect.signature(build).parameters.values():
    assert parameter.default is not parameter.empty, f"{parameter.name} has no default"
  assert "Source:" in inspect.getdoc(build)
  estimator = build()
  assert estimator.name == short(name)
  cases, truths = module(name).CASES, getattr(module(name), "TRUTHS", ())
  assert cases and all(case.source for case in cases)
  if estimator.quantity in (*INFORMATION, "entropy"):
    assert truths or module(name).NO_TRUTHS, "no task with an exact value, and not said why"
  if estimator.interval != "none":
    assert len({truth.task for truth in module(name).COVERAGE}) >= 10


# Known answers.


@functools.cache
def of_case(name, number):
  """A case's estimate by the road a user takes, operation by operation."""
  case = module(name).CASES[number]
  return built(name, case.hyper)(**case.inputs(), key=jax.random.key(0))


@pytest.mark.parametrize(
  ("name", "number"),
  [
    pytest.param(name, i, id=f"{short(name)}-{case.name}")
    for name in METHODS
    for i, case in enumerate(getattr(module(name), "CASES", ()))
  ],
)
def test_case(name, number):
  case, found = module(name).CASES[number], of_case(name, number)
  for key, expected in case.expected.items():
    value = getattr(found, key) if hasattr(found, key) else found.diagnostics[key]
    # One nat's float32 resolution: cases that are zero in exact arithmetic.
    np.testing.assert_allclose(value, expected, rtol=case.rtol, atol=1e-6, err_msg=key)


@functools.lru_cache(maxsize=4)  # tasks are shared, and drawing them can cost more than estimating
def drawn(task, n, seed=0):
  return synthetic.find(task).draw(n, seed)


def exact(truth):
  task = synthetic.find(truth.task)
  return task.nats if truth.key == "nats" else task.entropies[truth.key]


def of_key(key, x, y, *z):
  """The arrays of a truth: all for information, one (or both, joined) for an entropy."""
  if key == "nats":
    return x, y, *z
  if key == "xy":
    return (np.concatenate([np.reshape(a, (len(a), -1)) for a in (x, y)], axis=1),)
  return (x if key == "x" else y,)


def noise(found, truth):
  """How far above a lower bound's expectation a fair draw may be, nats.

  Where the estimator has no standard error: three of the mean log density ratio's, whose variance
  is at most about the information itself for the tasks here, and at least 1.
  """
  if math.isfinite(found.stderr):
    return 3.0 * found.stderr
  return 3.0 * math.sqrt(max(1.0, truth) / found.n)


@pytest.mark.parametrize(("name", "truth"), truths("TRUTHS"))
def test_truth(name, truth):
  estimator = built(name, truth.hyper)
  found = estimator(*of_key(truth.key, *drawn(truth.task, truth.n)), key=jax.random.key(0))
  expected = exact(truth)
  low, high = expected - truth.tolerance, expected + truth.tolerance
  if found.bound == "lower":
    high = min(high, expected + noise(found, expected))
  if found.bound == "upper":
    low = max(low, expected - noise(found, expected))
  assert low <= found.nats <= high, f"{found.nats:.4f}, exact {expected:.4f}: {found.warnings}"


def covered(name, truth, draws):
  """In which share of independent draws the interval holds the exact value."""
  estimator, expected, hits = built(name, truth.hyper), exact(truth), 0
  for seed in range(draws):
    arrays = synthetic.find(truth.task).draw(truth.n, 1000 + seed)
    found = estimator(*of_key(truth.key, *arrays), key=jax.random.key(seed))
    hits += found.lower <= expected <= found.upper
  return hits / draws


@pytest.mark.very_slow
@pytest.mark.parametrize(("name", "truth"), truths("COVERAGE"))
def test_intervals_cover_the_truth_as_often_as_they_say(name, truth):
  assert 0.90 <= covered(name, truth, 200) <= 0.99


CHEAP = [
  pytest.param(name, id=short(name))
  for name in METHODS
  if built(name).interval != "none" and not built(name).needs_key
]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHEAP)
def test_intervals_cover_the_truth_small(name):
  # 40 draws of a true 95% cover 33 or more in 999 of 1000 trials.
  assert covered(name, module(name).COVERAGE[0], 40) >= 33 / 40


# Claims.


def transformed(claim, given):
  """The samples after a change that the claim says does not matter."""
  rng = np.random.default_rng(1)
  if claim == "rows":
    order = rng.permutation(len(given[0]))
    return tuple(None if a is None else a[order] for a in given)
  if claim == "swap":
    return (given[1], given[0], given[2])

  def one(array, position):
    if array is None or array.dtype.kind == "i":
      return array
    d = array.shape[1]
    if claim == "translation":
      return array + 30.0 * (1 + position)
    if claim == "scale":
      return array * (64.0, 1 / 64, 4.0)[position]  # exact: what is equal stays equal
    if claim == "affine":
      turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
      return array @ (turn * np.linspace(0.5, 2.0, d)) + 3.0
    return np.arcsinh(3.0 * array) if position else array**3 + array  # "monotone"

  return tuple(one(array, position) for position, array in enumerate(given))


@pytest.mark.parametrize(("name", "claim"), claims())
def test_claimed_invariance(name, claim):
  estimator = built(name, claimed(name))
  given = draw(estimator)
  value, tolerance = nats(estimator, given), 1e-3
  if estimator.needs_key:  # what is fitted to other bits: the same but for its noise
    tolerance += 2.0 * max(abs(nats(estimator, given, seed) - value) for seed in (1, 2))
  found = nats(estimator, transformed(claim, given))
  np.testing.assert_allclose(found, value, rtol=1e-3, atol=tolerance)


@each
def test_a_key_decides_everything_random(name):
  estimator = built(name, tiny(name))
  given = draw(estimator)
  first = nats(estimator, given)
  assert math.isfinite(first)
  assert nats(estimator, given) == first
  if short(name) not in estimators.CHOOSERS:
    assert (nats(estimator, given, seed=1) != first) == estimator.needs_key


@each
def test_it_traces_where_it_says_so(name):
  case = module(name).CASES[0]
  estimator = built(name, case.hyper)
  if not estimator.jittable:
    pytest.skip("its algorithm does not compile")
  found = compiled(estimator)(**case.inputs(), key=jax.random.key(0))
  np.testing.assert_allclose(found.nats, of_case(name, 0).nats, rtol=1e-4, atol=1e-5)


@each
def test_blocks_need_not_divide_the_samples(name):
  hyper = estimators.small_blocks(name)
  if hyper is None:
    pytest.skip("it works in one piece")
  estimator = built(name, hyper)
  given = draw(estimator)
  whole = nats(built(name, tiny(name)), given)
  np.testing.assert_allclose(nats(estimator, given), whole, rtol=1e-5, atol=1e-5)


def test_one_and_eight_devices_give_the_same_value():
  assert len(jax.devices()) == 8
  done = subprocess.run(
    [sys.executable, "-m", "tests.estimators"],
    env=environment(devices=1),
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  alone = json.loads(done.stdout)
  assert alone["devices"] == 1 and set(alone["values"]) == set(METHODS)
  found = estimators.values()
  assert found == pytest.approx(alone["values"], rel=1e-5, abs=1e-6)


# Bad input: an error that teaches, or a stated warning; never a silent number.


def warned(estimator, given, *wanted):
  """Whether it refuses with an error that teaches, or warns of one of these codes."""
  try:
    found = estimator(*given, key=jax.random.key(0))
  except IbjaxError:
    return True
  assert isinstance(found, Estimate)
  assert math.isfinite(found.nats) or "not_finite" in codes(found)
  return bool(codes(found) & set(wanted))


@each
def test_what_is_no_number_is_refused(name):
  estimator = built(name)
  given = draw(estimator)
  for position, _ in kinds(estimator):
    for bad in (np.nan, np.inf):
      spoiled = np.array(given[position], np.float64)
      spoiled.reshape(-1)[7] = bad
      with pytest.raises(InputError, match="not finite at row"):
        estimator(*changed(given, position, spoiled))
    with pytest.raises(InputError, match="expected numbers"):
      estimator(*changed(given, position, given[position].astype(str)))
    with pytest.raises(InputError, match="shape"):
      estimator(*changed(given, position, np.zeros((9, 2, 2))))


@each
def test_lengths_that_do_not_fit_are_refused(name):
  estimator = built(name)
  given = draw(estimator)
  if len(kinds(estimator)) > 1:
    for position, _ in kinds(estimator):
      with pytest.raises(InputError, match="rows"):
        estimator(*changed(given, position, given[position][:-1]))
  few = tuple(None if a is None else a[: estimator.min_n - 1] for a in given)
  with pytest.raises(InputError, match="samples|shape"):
    estimator(*few)


@each
def test_arrays_too_few_or_too_many_are_refused(name):
  estimator = built(name)
  given = draw(estimator)
  for position, kind in enumerate((estimator.x, estimator.y, estimator.z)):
    if kind == "none":
      with pytest.raises(InputError, match="takes no"):
        estimator(*changed(given, position, np.zeros(estimators.N)))
    elif not kind.endswith("?"):
      with pytest.raises(InputError, match="needs"):
        estimator(*changed(given, position, None))


@each
def test_labels_are_whole_numbers(name):
  estimator = compiled(built(name, tiny(name)))
  given = draw(estimator)
  positions = [i for i, kind in kinds(estimator) if kind == "labels"]
  if not positions:
    pytest.skip("it takes no labels")
  found = estimator(*given, key=jax.random.key(0))
  for i in positions:
    floats = estimator(*changed(given, i, given[i].astype(float)), key=jax.random.key(0))
    assert "float_labels" in codes(floats)
    assert floats.nats == found.nats
    with pytest.raises(InputError, match="integer labels"):
      estimator(*changed(given, i, given[i] + 0.5))
    assert warned(estimator, changed(given, i, np.zeros_like(given[i])), "single_class")


@each
def test_constant_columns_and_duplicate_rows_are_told(name):
  estimator = compiled(built(name, tiny(name)))
  given = draw(estimator)
  real = [i for i, kind in kinds(estimator) if kind != "labels"]
  if not real:
    pytest.skip("labels have classes, not columns")
  first, *others = real
  assert warned(estimator, changed(given, first, np.ones_like(given[first])), "constant")
  some = given
  for i in others:
    some = changed(some, i, np.stack([given[i][:, 0], np.full(len(given[i]), 3.0)], axis=1))
  if others:
    assert warned(estimator, some, "constant")
  half = estimators.N // 2 + 1
  twice = tuple(None if a is None else np.concatenate([a[:half], a[: half - 1]]) for a in given)
  assert warned(estimator, twice, "ties")


@each
def test_more_columns_than_rows_are_told(name):
  estimator = compiled(built(name, tiny(name)))
  if all(kind == "labels" for _, kind in kinds(estimator)):
    pytest.skip("labels have one column")
  n = max(12, estimator.min_n)
  wide = draw(estimator, n, n + 3)
  if estimators.fitted(name):  # the warning comes with the check, before anything is fitted
    assert "wide" in {note.code for note in samples.check(estimator, *wide)[1]}
  else:
    assert warned(estimator, wide, "wide")
