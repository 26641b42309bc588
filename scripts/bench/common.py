"""What the benchmarks share: the trainer's inner loop, PyTorch's process, turns, and the page."""

from __future__ import annotations

import datetime
import functools
import json
import os
import pathlib
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import numpy as np  # noqa: E402

from ibjax.train import setup as setup_lib  # noqa: E402

TORCH = "2.13.0"
PAGE = ROOT / "docs" / "benchmarks.md"
DEPTH = 50  # steps per dispatch, the default of a config
CHECKED = 20  # steps whose losses are compared


def say(message: str) -> None:
  """Tells what goes on, on stderr."""
  print(f"{pathlib.Path(sys.argv[0]).stem}: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> SystemExit:
  """The end of the program, with a message."""
  return SystemExit(f"{pathlib.Path(sys.argv[0]).stem}: {message}")


class Loop:
  """The trainer's inner loop over a `Setup` of a run or of a population.

  Its dispatches, its tables of rows (made while the devices work), its look at `bad_step`.
  """

  def __init__(self, setup: setup_lib.Setup):
    self.setup, self.feed = setup, setup.train_feed()
    self.depth = setup.config["train"]["steps_per_dispatch"]
    self.grain = self.depth * len(setup.configs)  # updates of one dispatch, of all members
    self.state = jax.block_until_ready(setup.runner.init(setup.hyper))
    self.tables = self.feed.tables(self._chunks())
    self.upcoming = next(self.tables)

  def _chunks(self) -> Iterator[tuple[int, int]]:
    step = 0
    while True:
      yield step, self.depth
      step += self.depth

  def __call__(self, steps: int) -> float:
    """Makes that many updates, counted over all members; returns seconds."""
    runner, count = self.setup.runner, np.int32(self.depth)
    began = time.perf_counter()
    for _ in range(0, steps, self.grain):
      self.state = runner.run(self.state, self.feed.data, self.upcoming, count, self.setup.hyper)
      self.upcoming = next(self.tables)
      if np.any(runner.read(self.state.bad_step) >= 0):
        raise fail("the loss became NaN or infinite.")
    return time.perf_counter() - began

  def losses(self, steps: int) -> list[float]:
    """The first losses of the first member, one dispatch each, of a run of its own."""
    runner, values, before = self.setup.runner, [], 0.0
    state = runner.init(self.setup.hyper)
    for table in self.feed.tables((step, 1) for step in range(steps)):
      state = runner.run(state, self.feed.data, table, np.int32(1), self.setup.hyper)
      total = float(np.ravel(runner.read(state.acc)["loss_nats"][0])[0])
      values.append((total - before) / self.setup.config["data"]["batch_size"])
      before = total
    return values

  def rows(self, dispatches: int) -> np.ndarray:
    """The rows of a run's first batches, [steps, batch]."""
    chunks = ((i * self.depth, self.depth) for i in range(dispatches))
    return np.concatenate([np.asarray(table["rows"]) for table in self.feed.tables(chunks)])


class Worker:
  """The process that runs another library."""

  def __init__(
    self, python: pathlib.Path, problem: pathlib.Path, *more: str, script: str = "torch_worker.py"
  ):
    path = pathlib.Path(__file__).with_name(script)
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    self.process = subprocess.Popen(
      [str(python), str(path), str(problem), *more],
      env=env,
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
    )
    self.about = self._read()

  def _read(self) -> dict[str, Any]:
    line = self.process.stdout.readline()
    if not line:
      raise fail("another library's process ended; its message is above.")
    return json.loads(line)

  def ask(self, **command: Any) -> dict[str, Any]:
    """Sends a command and waits for its answer."""
    self.process.stdin.write(json.dumps(command) + "\n")
    self.process.stdin.flush()
    return self._read()

  def run(self, name: str, steps: int) -> float:
    """Trains; returns seconds."""
    answer = self.ask(do="run", name=name, steps=steps)
    if "error" in answer:
      raise fail(f"PyTorch failed: {answer['error']}")
    return answer["seconds"]

  def close(self) -> None:
    """Ends the process."""
    self.process.stdin.close()
    self.process.wait(60)


def torch_python() -> pathlib.Path:
  """The Python of PyTorch's environment, which is made when it is not there."""
  folder = ROOT / ".venv-bench"
  python, stamp = folder / "bin" / "python", folder / "stamp"
  wanted = f"torch=={TORCH} numpy=={np.__version__}"
  if not (stamp.exists() and stamp.read_text() == wanted):
    say(f"making {folder.name} with {wanted} (some minutes)")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *wanted.split()], check=True)
    stamp.write_text(wanted)
  return python


def write_problem(path: pathlib.Path, setup: setup_lib.Setup, data: Any, rows: np.ndarray) -> None:
  """Writes what the worker needs: data, batches, network, initial weights, constants.

  Args:
    path: of the .npz file.
    setup: a run of an MLP encoder, a Gaussian or an identity bottleneck, a linear decoder.
    data: the feed's data.
    rows: [steps, batch], the rows of each batch.
  """
  config = setup.config
  params = jax.device_get(setup.runner.init(setup.hyper).params)
  layers = [*params["encoder"].values(), *params["decoder"].values()]
  arrays = {f"kernel_{i}": layer["kernel"] for i, layer in enumerate(layers)}
  arrays |= {f"bias_{i}": layer["bias"] for i, layer in enumerate(layers)}
  encoder = layers[: len(config["encoder"]["hidden"]) + 1]
  np.savez(
    path,
    x=np.asarray(data["x"]).reshape(len(data["y"]), -1),
    y=np.asarray(data["y"]),
    rows=rows,
    sizes=[encoder[0]["kernel"].shape[0], *(e["kernel"].shape[1] for e in encoder)],
    shape=[config["bottleneck"]["dim"], setup.spec.num_classes],
    activation=config["encoder"].get("activation", "relu"),
    activate_out=config["encoder"].get("activate_out", False),
    sampled="scale_shift" in config["bottleneck"],
    shift=config["bottleneck"].get("scale_shift", 0.0),
    beta=config["objective"].get("beta", 0.0),
    learning_rate=config["optimizer"]["learning_rate"],
    value_range=config["data"]["value_range"],
    device="cpu" if setup.mesh.devices.flat[0].platform == "cpu" else "cuda",
    **arrays,
  )


def check(name: str, found: list[float], expected: list[float], tolerance: float) -> str:
  """Compares losses; returns the largest relative difference as text, or ends the program."""
  worst = float(np.max(np.abs(np.array(found) / np.array(expected) - 1.0)))
  if not worst <= tolerance:
    raise fail(
      f"{name} is not the same model: its losses differ by {worst:.2%}, "
      f"more than {tolerance:.2%}.\n  {found}\n  {expected}"
    )
  return f"{worst:.1e}"


def alternate(
  contestants: Mapping[str, Callable[[int], float]],
  rounds: int,
  seconds: float,
  grains: Mapping[str, int] | None = None,
) -> dict[str, np.ndarray]:
  """Lets contestants take turns.

  Args:
    contestants: name -> `run(steps) -> seconds`.
    rounds: turns of each.
    seconds: length of a turn, about; a turn is at least one grain.
    grains: name -> what its steps are a multiple of; `DEPTH` where it lacks.

  Returns:
    Name -> steps per second in each round.
  """
  grains, steps = grains or {}, {}
  for name, run in contestants.items():
    grain = grains.get(name, DEPTH)
    run(grain)  # the first turn compiles
    rate = grain / run(grain)
    steps[name] = max(1, round(rate * seconds / grain)) * grain
    run(steps[name])
  rates: dict[str, list[float]] = {name: [] for name in contestants}
  order, shuffler = list(contestants), random.Random(0)
  for _ in range(rounds):
    shuffler.shuffle(order)
    for name in order:
      rates[name].append(steps[name] / contestants[name](steps[name]))
  return {name: np.array(values) for name, values in rates.items()}


def fastest_adam(worker: Worker, seconds: float) -> str:
  """Opens PyTorch's eager loop with each of its Adams; leaves the fastest open as "eager"."""
  kinds = ("fused", "foreach", "single")
  for kind in kinds:
    answer = worker.ask(do="open", name=kind, adam=kind, compile=False)
    if "error" in answer:
      raise fail(f"PyTorch failed: {answer['error']}")
  rates = alternate(
    {kind: functools.partial(worker.run, kind) for kind in kinds}, 5, min(seconds, 0.5)
  )
  say("PyTorch's Adams: " + ", ".join(f"{k} {np.median(r):.1f} steps/s" for k, r in rates.items()))
  best = max(kinds, key=lambda kind: float(np.median(rates[kind])))
  for kind in kinds:
    worker.ask(do="close", name=kind)
  worker.ask(do="open", name="eager", adam=best, compile=False)
  return best


def spread(values: np.ndarray, digits: int = 2) -> str:
  """Median, with quartiles."""
  low, middle, high = np.percentile(values, (25, 50, 75))
  return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def ratio(rates: Mapping[str, np.ndarray], a: str, b: str) -> str:
  """Median of the rounds' ratios of a to b, with quartiles."""
  return spread(rates[a] / rates[b])


def cpu_name() -> str:
  """The model of the processor."""
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:
    return platform.machine()
  found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
  return found.group(1).strip() if found else platform.machine()


def conditions(about: Mapping[str, Any]) -> list[str]:
  """Lines that tell when, how and on what was measured; `about` is what the worker says."""
  script = pathlib.Path(sys.argv[0]).resolve().relative_to(ROOT)
  device = jax.devices()[0]
  where = f"{cpu_name()}, {os.cpu_count()} cores"
  if device.platform != "cpu":
    where = f"{device.device_kind} ({len(jax.devices())} of them), {where}"
  flags = os.environ.get("XLA_FLAGS")
  return [
    f"Measured {datetime.date.today().isoformat()} with "
    f"`{' '.join(['python', str(script), *sys.argv[1:]])}`",
    f"on {where}; Python {platform.python_version()}, jax {jax.__version__}, "
    f"PyTorch {about['torch']} ({about['device']}, {about['threads']} threads), "
    f"numpy {np.__version__}" + (f", XLA_FLAGS={flags}" if flags else "") + ".",
  ]


def write(section: str, marker: str) -> None:
  """Puts a section between its markers on the page."""
  begin, end = f"<!-- {marker}:begin -->", f"<!-- {marker}:end -->"
  before, _, rest = PAGE.read_text().partition(begin)
  _, found, after = rest.partition(end)
  if not found:
    raise fail(f"{PAGE.name} lacks the markers {begin} and {end}.")
  PAGE.write_text(f"{before}{begin}\n\n{section}\n\n{end}{after}")
