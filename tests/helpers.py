"""Small runs, in this process or by the real binary."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ibjax.core.config import resolved
from ibjax.train import loop, records
from ibjax.train.setup import Setup, build

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIGS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "configs").rglob("*.py"))
VIB = "configs/variational/vib_mnist.py"


def load_config(path: str, variant: str = "") -> Any:
  """Loads a config file of the project as a ConfigDict."""
  spec = importlib.util.spec_from_file_location("config_under_test", ROOT / path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(variant)


def tiny(path: str = VIB, **overrides: Any) -> dict[str, Any]:
  """A resolved smoke config; overrides are written objective__beta=1e-2."""
  config = load_config(path, "smoke")
  for key, value in overrides.items():
    with config.unlocked():
      config.update_from_flattened_dict({key.replace("__", "."): value})
  return resolved(config)


def tiny_setup(devices: int = 1, data_dir: Any = None, path: str = VIB, **overrides: Any) -> Setup:
  """Builds a tiny run on the first so many virtual devices."""
  return build(tiny(path, **overrides), data_dir, jax.devices()[:devices])


def train(setup: Setup, workdir: pathlib.Path) -> list[dict[str, Any]]:
  """Trains in this process; returns the metric lines without wall-clock values."""
  workdir.mkdir(parents=True, exist_ok=True)
  _, lines, _ = loop.train(setup, workdir)
  lines.close()
  return records.comparable(records.read_lines(workdir / "metrics.jsonl"))


def final_state(setup: Setup, workdir: pathlib.Path) -> Any:
  """Trains in this process; returns the state on the host."""
  workdir.mkdir(parents=True, exist_ok=True)
  state, lines, _ = loop.train(setup, workdir)
  lines.close()
  return jax.device_get(state)


def same(a: Any, b: Any) -> bool:
  """Whether two trees are equal bit for bit."""
  leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in leaves)


def environment(devices: int = 1) -> dict[str, str]:
  """Environment of the real binary in a test; what is compiled is shared (see conftest.py)."""
  env = {**os.environ, "JAX_PLATFORMS": "cpu"}
  env["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
  env["PYTHONPATH"] = str(ROOT)
  return env


def command(*arguments: str) -> list[str]:
  """The command line of the real binary."""
  return [sys.executable, "-m", "ibjax.main", *arguments]


def ibjax(
  *arguments: str, devices: int = 1, timeout: float = 300, cwd: pathlib.Path = ROOT
) -> subprocess.CompletedProcess:
  """Runs the real binary to its end."""
  return subprocess.run(
    command(*arguments),
    env=environment(devices),
    cwd=cwd,
    timeout=timeout,
    capture_output=True,
    text=True,
    stdin=subprocess.DEVNULL,
  )


def flags(config: str, workdir: pathlib.Path, overrides: Sequence[str] = ()) -> list[str]:
  """The flags of a training run."""
  return [f"--config={config}", f"--workdir={workdir}", *(f"--config.{o}" for o in overrides)]
