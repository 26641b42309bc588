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
import functools
import os
import pathlib
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import common
import jax
import jax.numpy as jnp
import numpy as np
from common import CHECKED, DEPTH, check, ratio, say

from configs.variational import vib_mnist
from ibjax.core.config import resolved
from ibjax.train import setup as setup_lib

EMA = 0.999


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


def race(name: str, size: Size, rounds: int, seconds: float) -> dict[str, Any]:
  """Runs one size; returns its figures."""
  plain, averaged = common.Loop(build(size, None)), common.Loop(build(size, EMA))
  data, rows = plain.feed.data, plain.rows(12)
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
  python = common.torch_python()
  with tempfile.TemporaryDirectory() as folder:
    problem = pathlib.Path(folder) / "problem.npz"
    common.write_problem(problem, plain.setup, data, rows)
    worker = common.Worker(python, problem)
  try:
    adam = common.fastest_adam(worker, seconds)
    losses = worker.ask(do="losses", name="eager", steps=CHECKED)["losses"]
    # Its noise is drawn by another generator.
    differences["eager"] = check("PyTorch", losses, reference, 0.05)
    contestants["eager"] = functools.partial(worker.run, "eager")
    answer = worker.ask(do="open", name="compiled", adam=adam, compile=True)
    if "error" in answer:
      say(f"torch.compile does not work here: {answer['error']}")
    else:
      contestants["compiled"] = functools.partial(worker.run, "compiled")
    rates = common.alternate(contestants, rounds, seconds)
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


def report(results: list[dict[str, Any]]) -> str:
  """The section of the page."""
  labels = {
    "ibjax": "ibjax",
    "bare": "bare JAX loop",
    "ibjax_ema": "ibjax, averaged weights",
    "bare_ema": "bare JAX loop, averaged weights",
    "compiled": "PyTorch, torch.compile",
  }
  lines = common.conditions(results[0]["about"])
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
  section = report(results)
  print(section)
  if flags.write:
    common.write(section, "train_step")


if __name__ == "__main__":
  main()
