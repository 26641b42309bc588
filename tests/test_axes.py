"""Axes of a sweep: text to axes to points, and every mistake in them."""

import collections
import math

import numpy as np
import pytest

from ibjax.core.axes import parse_axes, points, to_text, typed
from ibjax.core.draws import Range, sampled, unique
from ibjax.core.errors import ConfigError
from ibjax.programs.hyper import static_key
from tests.helpers import VIB, load_config, tiny

MIXED = (
  "encoder.hidden=(32,),(64, 64),();bottleneck.dim=4,8;objective.beta=1e-3,1,0.1;"
  "train.duration=2 steps,'10';bottleneck.prior=standard;train.remat=true,False"
)


def test_lists_keep_tuples_and_strings_whole():
  axes = dict(parse_axes(MIXED))
  assert axes["encoder.hidden"] == ((32,), (64, 64), ())
  assert axes["train.duration"] == ("2 steps", "10")
  assert axes["bottleneck.prior"] == ("standard",)
  assert dict(parse_axes("a='x;y,z',\"it's\";b=pkg.mod:f")) == {
    "a": ("x;y,z", "it's"),
    "b": ("pkg.mod:f",),
  }


@pytest.mark.parametrize(
  "text",
  [
    MIXED,
    "a=1e-4:1e-1:log;b=8:64:int;c=8:64:log:int;d=-0.5:0.5",
    "a='x;y,z',\"it's\",'','1e-3','None',\"('\";b=None,True,1,1.0",
    r"a='a\\',b;b='\n'",
  ],
)
def test_text_survives_a_round_trip(text):
  axes = parse_axes(text)
  again = parse_axes(to_text(axes))
  assert repr(again) == repr(axes)  # repr tells 1, 1.0 and True apart


def test_a_grid_is_the_product_and_its_last_axis_changes_fastest():
  axes = parse_axes(MIXED)
  found = points(axes)
  assert len(found) == math.prod(len(values) for _, values in axes) == len(unique(found))
  assert [p["train.remat"] for p in found[:4]] == ["true", False, "true", False]
  for key, values in axes:  # every value is equally often there
    assert set(collections.Counter(p[key] for p in found).values()) == {len(found) // len(values)}


def test_zip_pairs_the_values():
  found = points(parse_axes("a=1,2,3;b=x,x,z"), "zip")
  assert found == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 3, "b": "z"}]


def strata(axis, values, count):
  """The stratum of each value on its axis, by the inverse of the axis' scale."""
  if not isinstance(axis, Range):
    return None
  low, high = axis.low, axis.high
  scale = np.log if axis.log else np.asarray
  fractions = (scale(values) - scale(low)) / (scale(high) - scale(low))
  return np.floor(fractions * count + 1e-9).astype(int)


def test_a_latin_hypercube_has_one_point_in_each_stratum_of_each_axis():
  count = 24
  axes = parse_axes("a=1e-4:1e-1:log;b=-2:3;c=1:24:int;d=x,y,z")
  found = sampled(axes, "lhs", count, seed=3)
  for key, axis in axes[:2]:
    assert sorted(strata(axis, [p[key] for p in found], count)) == list(range(count))
  assert sorted(p["c"] for p in found) == list(range(1, 25))
  assert collections.Counter(p["d"] for p in found) == {"x": 8, "y": 8, "z": 8}
  # Independent draws leave strata empty: what the hypercube is for.
  drawn = sampled(axes, "random", count, seed=3)
  assert len(set(strata(axes[0][1], [p["a"] for p in drawn], count))) < count


@pytest.mark.parametrize("kind", ["random", "lhs"])
def test_seeds_reproduce(kind):
  axes = parse_axes("a=1e-4:1e-1:log;b=x,y,z;c=1:9:int")
  assert sampled(axes, kind, 10, seed=1) == sampled(axes, kind, 10, seed=1)
  assert sampled(axes, kind, 10, seed=1) != sampled(axes, kind, 10, seed=2)


@pytest.mark.parametrize("kind", ["random", "lhs"])
def test_draws_stay_within_bounds_and_are_spread_as_the_scale_says(kind):
  axes = parse_axes("a=1e-4:1e-1:log;b=8:64:int;c=1:1000:int:log;d=0:1")
  found = sampled(axes, kind, 4000, seed=0)
  for key, axis in axes:
    values = [p[key] for p in found]
    assert axis.low <= min(values) and max(values) <= axis.high
    assert all(type(v) is (int if axis.integer else float) for v in values)
  # Half of a log range lies below the geometric mean of its bounds, of a linear one below theirs.
  below = {k: np.mean([p[k] < m for p in found]) for k, m in zip("abd", (10**-2.5, 36.5, 0.5))}
  np.testing.assert_allclose([below[k] for k in "abd"], 0.5, atol=0.03)
  assert {p["b"] for p in found} == set(range(8, 65))
  # k has the chance log((k + 1) / k) / log(1001).
  ones = np.mean([p["c"] == 1 for p in found])
  np.testing.assert_allclose(ones, math.log(2) / math.log(1001), atol=0.02)


def test_bounds_of_a_range_are_exact():
  ends = np.array([0.0, np.nextafter(1.0, 0.0)])
  assert Range(8, 64, log=True, integer=True).at(ends) == [8, 64]
  assert Range(7, 343, log=True, integer=True).at(ends) == [7, 343]
  assert Range(3, 4, log=True, integer=True).at(ends) == [3, 4]  # rounding reaches 5
  assert Range(-2, 1, integer=True).at(np.arange(8) / 8) == [-2, -2, -1, -1, 0, 0, 1, 1]
  assert Range(1e-4, 0.1, log=True).at(ends)[0] == 1e-4
  assert Range(1e-4, 0.1, log=True).at(ends)[1] <= 0.1


def test_values_get_the_types_of_the_config():
  config = load_config(VIB, "smoke")
  axes = dict(typed(parse_axes(MIXED), config))
  assert repr(axes["objective.beta"]) == "(0.001, 1.0, 0.1)"
  assert axes["train.remat"] == (True, False)
  assert dict(typed(parse_axes("train.clip_norm=None,1"), config)) == {
    "train.clip_norm": (None, 1.0)
  }
  ranges = parse_axes("objective.beta=1:10:int;bottleneck.dim=1:4:int")
  assert typed(ranges, config) == ranges


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("", "empty sweep"),
    (" ; ", "empty sweep"),
    ("objective.beta=", "axis of length zero"),
    ("objective.beta", "has no values"),
    ("=1,2", "is not an axis"),
    ("objective beta=1", "is not an axis"),
    ("seed=1;seed=2", "'seed' is given twice"),
    ("seed=1,,2", "has an empty value"),
    ("encoder.hidden=(32,(64,64)", "never closed"),
    ("encoder.hidden=32)", "closes nothing"),
    ("encoder.hidden=(32]", "closes nothing"),
    ("train.duration='2 steps", "never closed"),
    ("encoder.hidden=[32,64]", "write a tuple"),
    ("a=1e-1:1e-4", "from a smaller to a larger"),
    ("a=1:1", "from a smaller to a larger"),
    ("a=0:1:log", "must start above 0"),
    ("a=0.5:4:int", "whole numbers"),
    ("a=1:4:lgo", "Did you mean 'log'"),
    ("a=1:4:log:log", "twice"),
    ("a=1:4,8", "a range stands alone"),
  ],
)
def test_text_that_is_no_sweep(text, message):
  with pytest.raises(ConfigError, match="(?i)" + message.replace("(", r"\(")):
    parse_axes(text)


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("objective.bta=1", "Did you mean 'objective.beta'"),
    ("objective=1", "'objective' is a section; its keys: .*objective.beta"),
    ("objective.beta=small", "is a float; its axis has 'small', a str"),
    ("objective.beta=True", "is a float; its axis has True, a bool"),
    ("objective.beta=1e999", "not a finite number"),
    ("seed=0.5", "is a int; its axis has 0.5, a float"),
    ("seed=True", "is a int"),
    ("encoder.hidden=32", r"Write a tuple: \(32,\)"),
    ("train.duration=10", "Write it in quotes: '10'"),
    ("train.ema=None", "can keep a None"),
    ("bottleneck.dim=8:64", "write 8:64:int"),
    ("train.duration=1:2", "which the range 1.0:2.0 is not"),
  ],
)
def test_axes_that_do_not_fit_the_config(text, message):
  with pytest.raises(ConfigError, match=message):
    typed(parse_axes(text), load_config(VIB, "smoke"))


def test_points_that_cannot_be_made():
  with pytest.raises(ConfigError, match=r"'a' is a range \(0.1:0.2\), and a grid needs a list"):
    points(parse_axes("a=0.1:0.2"))
  with pytest.raises(ConfigError, match="'a' has 2 values, 'b' has 3"):
    points(parse_axes("a=1,2;b=1,2,3"), "zip")
  with pytest.raises(ConfigError, match="the point a=1, b=x is there twice"):
    points(parse_axes("a=1,2,1;b=x,y"))
  with pytest.raises(ConfigError, match="Did you mean 'product'"):
    points(parse_axes("a=1"), "prodct")
  with pytest.raises(ConfigError, match="length zero"):
    points([("a", ())])
  with pytest.raises(ConfigError, match="empty sweep"):
    points([])
  with pytest.raises(ConfigError, match="empty sweep"):
    sampled(parse_axes("a=1:2"), "lhs", 0, seed=0)
  with pytest.raises(ConfigError, match="at least 0"):
    sampled(parse_axes("a=1:2"), "lhs", 1, seed=-1)
  with pytest.raises(ConfigError, match="kind of draw 'lhd'"):
    sampled(parse_axes("a=1:2"), "lhd", 1, seed=0)


def test_what_one_program_can_train_has_one_static_key():
  base = static_key(tiny())
  assert len(base) == 12
  for same in (dict(seed=3), dict(objective__beta=0.5), dict(optimizer__learning_rate=0.1)):
    assert static_key(tiny(**same)) == base
  for other in (
    dict(bottleneck__dim=3),
    dict(encoder__hidden=(8,)),
    dict(train__clip_norm=1.0),
    dict(train__duration="2 steps"),
    dict(data__value_range=(0.0, 1.0)),
  ):
    assert static_key(tiny(**other)) != base
