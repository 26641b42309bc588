"""Examples per second of the VIB training step: ibjax, a bare JAX loop, and PyTorch.

  python scripts/bench/train_step.py --rounds=15 --seconds=2 --write

All contestants train the same model from the same initial weights on the same batches of MNIST,
held in memory, with Adam, on the CPU:

- ibjax: a `Setup` of configs/variational/vib_mnist.py; dispatches and tables as in the trainer.
- bare: the same mathematics by hand, one `jax.jit` of a `lax.scan`, and nothing else: no check
  for a bad loss, no metrics but the loss, no hyperparameters that could change.
- PyTorch: its eager loop with the fastest of its Adams, and with torch.compile besides, in a
  process of an environment of its own (.venv-bench, made here on first use).

They take turns in one run, in a new random order each round, one at a time; a round's ratio is
between turns that are seconds apart. Medians over the rounds are reported, with quartiles. First
of all their losses are compared, or the race would not be one.
"""

from __future__ import annotations

import argparse
import dataclasses
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
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from configs.variational import vib_mnist  # noqa: E402
from ibjax.core.config import resolved  # noqa: E402
from ibjax.train import setup as setup_lib  # noqa: E402

TORCH = "2.13.0"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- train_step:begin -->", "<!-- train_step:end -->"
DEPTH = 50  # steps per dispatch, the default of a config
EMA = 0.999
CHECKED = 20  # steps whose losses are compared


@dataclasses.dataclass(frozen=True)
class Size:
  """One network: hidden widths, width of the code, examples per batch."""

  hidden: tuple[int, ...]
  dim: int
  batch: int
  aim: float

  def __str__(self) -> str:
    return f"{'-'.join(map(str, (784, *self.hidden)))}-2x{self.dim}, batch {self.batch}"


SIZES = {"paper": Size((1024, 1024), 256, 100, 1.5), "small": Size((64, 64), 16, 128, 4.0)}


def build(size: Size, ema: float | None) -> setup_lib.Setup:
  """Builds the run, as the binary would."""
  config = vib_mnist.get_config()
  with config.unlocked():
    config.data.batch_size = size.batch
    config.encoder.hidden = size.hidden
    config.bottleneck.dim = size.dim
    config.optimizer = dict(fn="optax:adam", learning_rate=1e-4)
    config.schedule = dict(fn="ibjax.core.schedules:constant")
    config.train.ema = ema
    config.train.steps_per_dispatch = DEPTH
    config.train.duration = "100000 epochs"
  return setup_lib.build(resolved(config), devices=jax.devices()[:1])


class Ibjax:
  """The trainer's inner loop over `Setup`: its tables, its dispatches, its look at `bad_step`."""

  def __init__(self, setup: setup_lib.Setup):
    self.setup, self.feed = setup, setup.train_feed()
    self.state = setup.runner.init(setup.hyper)
    self.tables = self.feed.tables(self._chunks())
    jax.block_until_ready(self.state)

  @staticmethod
  def _chunks() -> Iterator[tuple[int, int]]:
    step = 0
    while True:
      yield step, DEPTH
      step += DEPTH

  def __call__(self, steps: int) -> float:
    began = time.perf_counter()
    for _ in range(0, steps, DEPTH):
      table = next(self.tables)
      self.state = self.setup.runner.run(
        self.state, self.feed.data, table, np.int32(DEPTH), self.setup.hyper
      )
      if int(self.state.bad_step) >= 0:
        raise RuntimeError("the loss became NaN or infinite")
    return time.perf_counter() - began

  def losses(self, steps: int) -> list[float]:
    """The losses of the first steps, one dispatch each, of a run of its own."""
    state, values, before = self.setup.runner.init(self.setup.hyper), [], 0.0
    tables = self.feed.tables((step, 1) for step in range(steps))
    for table in tables:
      state = self.setup.runner.run(state, self.feed.data, table, np.int32(1), self.setup.hyper)
      total = float(state.acc["loss_nats"][0]) / self.setup.config["data"]["batch_size"]
      values.append(total - before)
      before = total
    return values


def bare_step(setup: setup_lib.Setup) -> Callable[..., Any]:
  """The step by hand: `step(carry, rows, data) -> (carry, loss)`."""
  config = setup.config
  low, high = config["data"]["value_range"]
  shift, beta = config["bottleneck"]["scale_shift"], config["objective"]["beta"]
  rate, ema_decay = config["optimizer"]["learning_rate"], config["train"]["ema"]
  b1, b2, eps = 0.9, 0.999, 1e-8
  depth = len(config["encoder"]["hidden"])
  fold = jax.random.fold_in
  root = fold(jax.random.key(config["seed"]), zlib.crc32(b"step"))

  def loss_fn(params, x, y, key):
    for i in range(depth + 1):
      layer = params["encoder"][f"dense_{i}"]
      x = x @ layer["kernel"] + layer["bias"]
      x = jax.nn.relu(x) if i < depth else x
    mean, raw = jnp.split(x, 2, axis=-1)
    scale = jax.nn.softplus(raw + shift)
    code = mean + scale * jax.random.normal(key, mean.shape)
    layer = params["decoder"]["dense_0"]
    logits = code @ layer["kernel"] + layer["bias"]
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
    divergence = 0.5 * jnp.square(mean) + 0.5 * jnp.square(scale) - jnp.log(scale) - 0.5
    return -jnp.mean(picked) + beta * jnp.mean(jnp.sum(divergence, axis=-1))

  def step(carry, rows, data):
    count, params, m, v, ema = carry
    x = data["x"][rows].reshape(rows.shape[0], -1).astype(jnp.float32)
    x = x * ((high - low) / 255.0) + low
    key = fold(fold(root, count), zlib.crc32(b"bottleneck"))
    loss, grads = jax.value_and_grad(loss_fn)(params, x, data["y"][rows], key)
    t = (count + 1).astype(jnp.float32)
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
    c1, c2 = 1 - b1**t, 1 - b2**t
    params = jax.tree.map(
      lambda p, m, v: p - rate * (m / c1) / (jnp.sqrt(v / c2) + eps), params, m, v
    )
    if ema_decay is not None:
      decay = jnp.minimum(ema_decay, (t) / (9.0 + t))
      ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, ema, params)
    return (count + 1, params, m, v, ema), loss

  return step


class Bare:
  """One `jax.jit` of a `lax.scan` over all steps of a turn; rows lie ready on the device."""

  def __init__(self, setup: setup_lib.Setup, data: Any, rows: np.ndarray):
    self.setup, self.data, self.rows = setup, data, rows
    step = bare_step(setup)

    @functools.partial(jax.jit, donate_argnums=0)
    def run(carry, data, rows):
      return jax.lax.scan(lambda carry, r: step(carry, r, data), carry, rows)

    self.run, self.carry, self.tables = run, self._start(), {}
    self.compiled: dict[int, Any] = {}

  def _start(self) -> Any:
    params = self.setup.runner.init(self.setup.hyper).params
    params = {name: params[name] for name in ("encoder", "decoder")}
    zeros = lambda: jax.tree.map(jnp.zeros_like, params)  # noqa: E731
    ema = () if self.setup.config["train"]["ema"] is None else jax.tree.map(jnp.copy, params)
    return jax.block_until_ready((jnp.int32(0), params, zeros(), zeros(), ema))

  def __call__(self, steps: int) -> float:
    if steps not in self.tables:
      repeats = -(-steps // len(self.rows))
      self.tables[steps] = jnp.asarray(np.tile(self.rows, (repeats, 1))[:steps])
      lowered = self.run.lower(self.carry, self.data, self.tables[steps])
      self.compiled[steps] = lowered.compile()
    run = self.compiled[steps]
    began = time.perf_counter()
    self.carry, losses = run(self.carry, self.data, self.tables[steps])
    jax.block_until_ready((self.carry, losses))
    return time.perf_counter() - began

  def losses(self, steps: int) -> list[float]:
    """The losses of the first steps of a run of its own."""
    rows = jnp.asarray(self.rows[:steps])
    return np.asarray(self.run(self._start(), self.data, rows)[1]).tolist()


class Worker:
  """The process that runs PyTorch."""

  def __init__(self, python: pathlib.Path, problem: pathlib.Path):
    script = pathlib.Path(__file__).with_name("torch_worker.py")
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    self.process = subprocess.Popen(
      [str(python), str(script), str(problem)],
      env=env,
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
    )
    self.about = self._read()

  def _read(self) -> dict[str, Any]:
    line = self.process.stdout.readline()
    if not line:
      raise SystemExit("train_step: the PyTorch process ended; its message is above.")
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
      raise SystemExit(f"train_step: PyTorch failed: {answer['error']}")
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
  """Writes what the worker needs: data, batches, initial weights, constants."""
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
    shift=config["bottleneck"]["scale_shift"],
    beta=config["objective"]["beta"],
    learning_rate=config["optimizer"]["learning_rate"],
    value_range=config["data"]["value_range"],
    **arrays,
  )


def check(name: str, found: list[float], expected: list[float], tolerance: float) -> str:
  """Compares losses; returns the largest relative difference as text, or ends the program."""
  worst = float(np.max(np.abs(np.array(found) / np.array(expected) - 1.0)))
  if not worst <= tolerance:
    raise SystemExit(
      f"train_step: {name} is not the same model: its losses differ by {worst:.2%}, "
      f"more than {tolerance:.2%}.\n  {found}\n  {expected}"
    )
  return f"{worst:.1e}"


def alternate(
  contestants: dict[str, Callable[[int], float]], rounds: int, seconds: float
) -> dict[str, np.ndarray]:
  """Lets contestants take turns; returns the steps per second of each in each round."""
  steps = {}
  for name, run in contestants.items():
    run(DEPTH)  # the first turn compiles
    rate = DEPTH / run(DEPTH)
    steps[name] = max(1, round(rate * seconds / DEPTH)) * DEPTH
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
      raise SystemExit(f"train_step: PyTorch failed: {answer['error']}")
  rates = alternate(
    {kind: functools.partial(worker.run, kind) for kind in kinds}, 5, min(seconds, 0.5)
  )
  say("PyTorch's Adams: " + ", ".join(f"{k} {np.median(r):.1f} steps/s" for k, r in rates.items()))
  best = max(kinds, key=lambda kind: float(np.median(rates[kind])))
  for kind in kinds:
    worker.ask(do="close", name=kind)
  worker.ask(do="open", name="eager", adam=best, compile=False)
  return best


def race(name: str, size: Size, rounds: int, seconds: float) -> dict[str, Any]:
  """Runs one size; returns its figures."""
  plain, averaged = Ibjax(build(size, None)), Ibjax(build(size, EMA))
  data = plain.feed.data
  rows = np.concatenate(
    [
      np.asarray(table["rows"])
      for table in plain.feed.tables((step, DEPTH) for step in range(0, 12 * DEPTH, DEPTH))
    ]
  )
  bare, bare_averaged = Bare(plain.setup, data, rows), Bare(averaged.setup, data, rows)
  reference = plain.losses(CHECKED)
  differences = {
    "bare": check("the bare loop", bare.losses(CHECKED), reference, 1e-3),
    "bare_ema": check(
      "the bare loop", bare_averaged.losses(CHECKED), averaged.losses(CHECKED), 1e-3
    ),
  }
  contestants: dict[str, Callable[[int], float]] = {
    "ibjax": plain,
    "bare": bare,
    "ibjax_ema": averaged,
    "bare_ema": bare_averaged,
  }
  python = torch_python()
  with tempfile.TemporaryDirectory() as folder:
    problem = pathlib.Path(folder) / "problem.npz"
    write_problem(problem, plain.setup, data, rows)
    worker = Worker(python, problem)
  try:
    adam = fastest_adam(worker, seconds)
    losses = worker.ask(do="losses", name="eager", steps=CHECKED)["losses"]
    # Its noise is drawn by another generator.
    differences["eager"] = check("PyTorch", losses, reference, 0.05)
    contestants["eager"] = functools.partial(worker.run, "eager")
    answer = worker.ask(do="open", name="compiled", adam=adam, compile=True)
    if "error" in answer:
      say(f"torch.compile does not work here: {answer['error']}")
    else:
      contestants["compiled"] = functools.partial(worker.run, "compiled")
    rates = alternate(contestants, rounds, seconds)
  finally:
    worker.close()
  load = os.getloadavg()[0]
  figures = {
    "name": name,
    "size": size,
    "load": load,
    "adam": adam,
    "rates": rates,
    "about": worker.about,
  }
  return figures | {"differences": differences}


def say(message: str) -> None:
  """Tells what goes on, on stderr."""
  print(f"train_step: {message}", file=sys.stderr, flush=True)


def ratio(rates: dict[str, np.ndarray], a: str, b: str) -> str:
  """Median of the rounds' ratios of a to b, with quartiles."""
  low, middle, high = np.percentile(rates[a] / rates[b], (25, 50, 75))
  return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def cpu_name() -> str:
  """The model of the processor."""
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:
    return platform.machine()
  found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
  return found.group(1).strip() if found else platform.machine()


def report(results: list[dict[str, Any]], command: str) -> str:
  """The section of the page."""
  about = results[0]["about"]
  labels = {
    "ibjax": "ibjax",
    "bare": "bare JAX loop",
    "ibjax_ema": "ibjax, averaged weights",
    "bare_ema": "bare JAX loop, averaged weights",
    "compiled": "PyTorch, torch.compile",
  }
  lines = [
    f"Measured {datetime.date.today().isoformat()} with `{command}`",
    f"on {cpu_name()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
    f"jax {jax.__version__}, PyTorch {about['torch']} ({about['threads']} threads), "
    f"numpy {np.__version__}"
    + (f", XLA_FLAGS={flags}" if (flags := os.environ.get("XLA_FLAGS")) else "")
    + ".",
  ]
  for result in results:
    rates, size, differences = result["rates"], result["size"], result["differences"]
    labels["eager"] = f"PyTorch, eager, {result['adam']} Adam"
    rounds = len(rates["ibjax"])
    lines += [
      "",
      f"### {size}",
      "",
      f"Medians of {rounds} rounds, quartiles in brackets; load average at the end "
      f"{result['load']:.1f}.",
      "",
      "| | steps/s | best round | examples/s | times PyTorch eager |",
      "|---|---:|---:|---:|---:|",
    ]
    for name, values in rates.items():
      low, middle, high = np.percentile(values, (25, 50, 75))
      lines.append(
        f"| {labels[name]} | {middle:.1f} ({low:.1f} to {high:.1f}) "
        f"| {values.max():.1f} | {middle * size.batch:,.0f} | {ratio(rates, name, 'eager')} |"
      )
    lines += [
      "",
      f"ibjax to PyTorch eager: {ratio(rates, 'ibjax', 'eager')}, aim {size.aim}. "
      f"ibjax to the bare loop: {ratio(rates, 'ibjax', 'bare')}, with averaged weights "
      f"{ratio(rates, 'ibjax_ema', 'bare_ema')}, aim 0.95.",
      f"Largest relative difference from ibjax's loss in the first {CHECKED} steps: "
      f"bare {differences['bare']}, PyTorch {differences['eager']} (other noise).",
    ]
  return "\n".join(lines)


def write(section: str) -> None:
  """Puts the section between the page's markers."""
  text = PAGE.read_text()
  before, _, rest = text.partition(BEGIN)
  _, marker, after = rest.partition(END)
  if not marker:
    raise SystemExit(f"train_step: {PAGE.name} lacks the markers {BEGIN} and {END}.")
  PAGE.write_text(f"{before}{BEGIN}\n\n{section}\n\n{END}{after}")


def main() -> None:
  """Parses flags, races, prints, and writes the page if asked."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant")
  parser.add_argument("--seconds", type=float, default=2.0, help="length of one turn, about")
  parser.add_argument("--sizes", default=",".join(SIZES), help=f"of {', '.join(SIZES)}")
  parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
  flags = parser.parse_args()
  names = flags.sizes.split(",")
  if unknown := [name for name in names if name not in SIZES]:
    parser.error(f"unknown size {unknown[0]}; known: {', '.join(SIZES)}")
  results = []
  for name in names:
    say(f"size '{name}': {SIZES[name]}")
    results.append(race(name, SIZES[name], flags.rounds, flags.seconds))
  script = pathlib.Path(__file__).resolve().relative_to(ROOT)
  section = report(results, " ".join(["python", str(script), *sys.argv[1:]]))
  print(section)
  if flags.write:
    write(section)


if __name__ == "__main__":
  main()
