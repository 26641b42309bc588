"""Small runs, in this process or by the real binary."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

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


def agree(a: list[dict[str, Any]], b: list[dict[str, Any]], rtol: float = 1e-5) -> None:
  """Asserts that two runs wrote the same metric lines, their values to a relative tolerance."""
  assert [(x["step"], x["split"]) for x in a] == [(x["step"], x["split"]) for x in b]
  for x, y in zip(a, b):
    assert x.keys() == y.keys()
    for name in x:
      if isinstance(x[name], float):
        np.testing.assert_allclose(x[name], y[name], rtol=rtol, err_msg=f"{name} at {x['step']}")


def free_port() -> int:
  """A port of this machine that nothing listens on now."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    return probe.getsockname()[1]


@dataclasses.dataclass
class Started:
  """A process that a test started, and what it says: standard output and error together."""

  process: subprocess.Popen
  log: IO[str]

  def output(self) -> str:
    """What it has said so far."""
    with open(self.log.name, encoding="utf-8", errors="replace") as said:
      return said.read()


@contextlib.contextmanager
def started(
  commands: Sequence[Sequence[str]],
  devices: int = 1,
  env: dict[str, str] | None = None,
  cwd: pathlib.Path = ROOT,
) -> Iterator[list[Started]]:
  """Starts commands beside each other, `devices` CPU devices each; kills what is left at the end.

  They write to files, so that none waits for another's output to be read.
  """
  with contextlib.ExitStack() as stack:
    running: list[Started] = []
    try:
      for line in commands:
        log = stack.enter_context(tempfile.NamedTemporaryFile("w", encoding="utf-8"))
        process = subprocess.Popen(
          line,
          env={**environment(devices), **(env or {})},
          cwd=cwd,
          stdin=subprocess.DEVNULL,
          stdout=log,
          stderr=subprocess.STDOUT,
        )
        running.append(Started(process, log))
      yield running
    finally:
      for one in running:
        one.process.kill()  # does nothing to a process that ended and was waited for
        one.process.wait()


def until(condition: Any, running: Sequence[Started], timeout: float = 300) -> None:
  """Polls until a condition holds; fails, with what was said, if it never does."""
  deadline = time.monotonic() + timeout
  while not condition():
    assert time.monotonic() < deadline, "timed out\n" + "\n".join(x.output() for x in running)
    time.sleep(0.05)


def ended(running: Sequence[Started], timeout: float = 300) -> list[int]:
  """Waits until all have ended; returns their exit codes."""
  until(lambda: all(x.process.poll() is not None for x in running), running, timeout)
  return [x.process.returncode for x in running]


def joined(count: int, *arguments: str) -> list[list[str]]:
  """Command lines of the real binary as `count` processes of one run over loopback."""
  coordinator = f"--coordinator=127.0.0.1:{free_port()}"
  return [
    command(*arguments, coordinator, f"--num_processes={count}", f"--process_id={i}")
    for i in range(count)
  ]


def ibjax_joined(
  count: int, *arguments: str, devices: int = 1, timeout: float = 300, code: int = 0
) -> list[str]:
  """Runs the real binary as `count` connected processes to their end; returns what each said.

  Every process must end with the exit code `code`.
  """
  with started(joined(count, *arguments), devices) as running:
    codes = ended(running, timeout)
    outputs = [one.output() for one in running]
  assert codes == [code] * count, "\n".join(outputs)
  return outputs
