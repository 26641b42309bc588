"""Configs, overrides, the resolver and durations: what is refused, and what the refusal says."""

import json
import pathlib

import jax
import numpy as np
import pytest
from absl import flags as absl_flags

from ibjax.core import config as base
from ibjax.core.duration import to_steps
from ibjax.core.errors import ConfigError, nearest
from ibjax.core.resolver import bind, resolve
from ibjax.core.schedules import annealed, constant, cosine, cyclic, linear, staircase
from ibjax.programs.hyper import traced
from ibjax.verbs.flags import load_config as load_from_flags
from tests.helpers import CONFIGS, ROOT, VIB, load_config, tiny

GOLDEN = pathlib.Path(__file__).parent / "golden"


def from_flags(*argv):
  return load_from_flags("train", absl_flags.FlagValues(), argv)


@pytest.mark.parametrize("path", CONFIGS)
@pytest.mark.parametrize("variant", base.VARIANTS)
def test_golden_resolved_config(path, variant):
  golden = GOLDEN / f"{pathlib.Path(path).stem}{'_' + variant if variant else ''}.json"
  found = base.resolved(load_config(path, variant))
  assert golden.exists(), f"run scripts/golden.py and review the new {golden.name}"
  assert found == json.loads(golden.read_text()), "run scripts/golden.py and review the diff"


@pytest.mark.parametrize("path", CONFIGS)
def test_config_docstring_says_paper_command_numbers_and_time(path):
  text = (ROOT / path).read_text().split('"""')[1]
  for needed in ("Paper:", f"ibjax train --config={path}", "5 seeds", "Time:", "±"):
    assert needed in text, f"{path} lacks {needed!r}"


def test_override_on_the_command_line(monkeypatch):
  monkeypatch.chdir(ROOT)
  config = from_flags(f"--config={VIB}:smoke", "--config.objective.beta=1e-2", "--config.seed=3")
  assert config["objective"]["beta"] == 1e-2
  assert config["seed"] == 3


@pytest.mark.parametrize(
  ("argument", "message"),
  [
    ("--config.objective.betta=1", "Did you mean 'beta'"),
    ("--config.objectve.beta=1", "Did you mean 'objective'"),
    ("--config.seed.x=1", "is a value; it has no key 'x'"),
    ("--config.objective.beta=abc", "abc"),
    ("--config.data.batch_size=1.5", "1.5"),
    ("--confg=x.py", "Did you mean '--config'"),
    ("extra", "did not expect 'extra'"),
  ],
)
def test_mistyped_command_line_names_the_nearest(monkeypatch, argument, message):
  monkeypatch.chdir(ROOT)
  with pytest.raises(ConfigError) as error:
    from_flags(f"--config={VIB}", argument)
  assert message in str(error.value)
  assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
  ("config", "message"),
  [
    ("configs/variational/vib_minst.py", "Did you mean 'configs/variational/vib_mnist.py'"),
    ("vib_mnist.py", "Did you mean 'configs/variational/vib_mnist.py'"),
    (f"{VIB}:smok", "Did you mean 'smoke'"),
  ],
)
def test_mistyped_config_path_or_argument_names_the_nearest(monkeypatch, config, message):
  monkeypatch.chdir(ROOT)
  with pytest.raises(ConfigError) as error:
    from_flags(f"--config={config}")
  assert message in str(error.value)
  assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
  ("path", "message"),
  [
    ("os:system", "refused"),
    ("subprocess:run", "refused"),
    ("ibjax.objectives.variational.vib", "write it as"),
    ("ibjax.objectives.variational.vibb:vib", "Did you mean 'ibjax.objectives.variational.vib'"),
    ("ibjax.objectives.variational.vib:vibb", "Did you mean 'vib'"),
    ("ibjax.objectives.variational.vib:_inputs", "unknown factory"),
  ],
)
def test_resolver_refuses_with_the_nearest_name(path, message):
  with pytest.raises(ConfigError, match="."):
    try:
      resolve(path)
    except ConfigError as error:
      assert message in str(error)
      raise


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (dict(bta=1.0), "Did you mean 'beta'"),
    (dict(beta="high"), "is a str, expected"),
    (dict(beta=True), "is a bool, expected"),
    (dict(beta=-1.0), "beta is -1"),
    (dict(beta=float("nan")), "beta is nan"),
  ],
)
def test_bind_checks_names_types_and_ranges(arguments, message):
  with pytest.raises(ConfigError) as error:
    bind(dict(fn="ibjax.objectives.variational.vib:vib", **arguments))
  assert message in str(error.value)


def test_bind_refuses_a_float_where_a_size_belongs():
  with pytest.raises(ConfigError, match="expected int"):
    bind(dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=2.5))


def test_nearest_needs_some_likeness():
  assert nearest("objectve", ["objective", "seed"]) == "objective"
  assert nearest("zzz", ["objective", "seed"]) is None


def test_config_hash_ignores_order_and_sees_values():
  a = {"x": 1, "y": {"z": 2}}
  assert base.config_hash(a) == base.config_hash({"y": {"z": 2}, "x": 1})
  assert base.config_hash(a) != base.config_hash({"x": 1, "y": {"z": 3}})
  assert base.difference(a, {"x": 1, "y": {"z": 3}}) == ["y.z: 2 -> 3"]


def test_floats_of_the_method_are_traced_and_sizes_are_not():
  hyper = traced(tiny())
  assert {"seed", "objective.beta", "optimizer.learning_rate", "train.ema"} <= set(hyper)
  assert "bottleneck.dim" not in hyper and "data.batch_size" not in hyper


@pytest.mark.parametrize(
  ("text", "steps"),
  [("10 epochs", 3000), ("1 epoch", 300), ("0.5 epochs", 150), ("7 steps", 7), ("401 examples", 3)],
)
def test_durations(text, steps):
  assert to_steps(text, batch_size=200, steps_per_epoch=300) == steps


@pytest.mark.parametrize(("text", "hint"), [("10 epochz", "epochs"), ("ten", "number and a unit")])
def test_bad_durations(text, hint):
  with pytest.raises(ConfigError, match=hint):
    to_steps(text, batch_size=200, steps_per_epoch=300)


def test_schedules_by_hand():
  step, total = np.arange(0, 101, 25), 100.0
  run = lambda schedule: [float(schedule(s, total)) for s in step]
  half = 0.5 * (1 + np.cos(np.pi * step / total))
  np.testing.assert_allclose(run(cosine(final=0.1)), 0.1 + 0.9 * half, rtol=1e-6)
  np.testing.assert_allclose(run(linear(final=0.5)), 1 - 0.5 * step / total, rtol=1e-6)
  np.testing.assert_allclose(run(staircase(0.5, 50)), [1, 1, 0.5, 0.5, 0.25], rtol=1e-6)
  np.testing.assert_allclose(run(constant(50)), [1 / 50, 26 / 50, 1, 1, 1], rtol=1e-6)


def test_rising_schedules_by_hand():
  step, total = np.arange(0, 101, 25), 100.0
  run = lambda schedule: [float(schedule(s, total)) for s in step]
  np.testing.assert_allclose(run(linear(initial=0.0, final=1.0)), step / total, rtol=1e-6)
  rise = 0.2 + 0.8 * 0.5 * (1 - np.cos(np.pi * step / total))
  np.testing.assert_allclose(run(cosine(initial=0.2, final=1.0)), rise, rtol=1e-6)
  np.testing.assert_allclose(run(annealed(25, 50, 0.1)), [0.1, 0.1, 0.55, 1, 1], rtol=1e-6)


def test_cyclic_schedule_is_the_papers_formula_for_lengths_that_do_not_divide():
  total, cycles, ratio = 103, 4, 0.6

  def paper(t):  # eq. 6 and 7, t from 1
    tau = np.mod(t - 1, np.ceil(total / cycles)) / (total / cycles)
    return min(1.0, tau / ratio)

  schedule = cyclic(cycles, ratio)
  found = [float(schedule(step, float(total))) for step in range(total)]
  np.testing.assert_allclose(found, [paper(t) for t in range(1, total + 1)], rtol=1e-5)
  starts = [step for step, value in enumerate(found) if value == 0]
  assert starts == [0, 26, 52, 78]
  np.testing.assert_allclose(
    [float(cyclic(cycles, ratio, 0.5)(s, 103.0)) for s in range(total)], 0.5 + 0.5 * np.array(found)
  )


def test_schedules_take_traced_values():
  traced_value = jax.jit(lambda final, step: cosine(final=final)(step, 10.0))(0.5, 10)
  np.testing.assert_allclose(traced_value, 0.5, rtol=1e-6)
