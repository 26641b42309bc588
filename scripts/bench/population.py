"""Steps per second of populations: ibjax, one member at a time, and PyTorch.

  python scripts/bench/population.py --rounds=9 --seconds=2 --write

Members of a population are runs that differ in their seed, and in beta where there is one; all
train with Adam on data held in memory. Counted are the updates of all members together:

- loop, vmap: a population as `ibjax train --population` trains it, on as many CPU devices as
  there are cores, with either strategy; dispatches and tables as in the trainer.
- solo: one member at a time, on one device, which computes with all cores.
- PyTorch: one member at a time in its eager loop, with the fastest of its Adams.

They take turns in one run, in a new random order each round, one at a time; a round's ratio is
between turns that are seconds apart. Medians over the rounds are reported, with quartiles. First
of all their losses are compared. The same run measures what the machine can do, for the roofline.

On an accelerator (JAX_PLATFORMS=cuda) the population is batched on all devices, without "loop".
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import common
import jax
import jax.numpy as jnp
import numpy as np
from common import CHECKED, check, ratio, say, spread
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from configs.supervised import deterministic_mnist
from configs.variational import vib_mnist
from ibjax.core.config import resolved
from ibjax.train import setup as setup_lib

FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class Net:
  """One network and its population.

  Attributes:
    widths: inputs, hidden layers, the encoder's output (twice the code of a VIB), classes.
    code: width of the code.
    batch: examples per batch.
    members: size of the population.
    depth: steps per dispatch.
    aim: times PyTorch.
  """

  widths: tuple[int, ...]
  code: int
  batch: int
  members: int
  depth: int
  aim: float

  @property
  def sampled(self) -> bool:
    """Whether it is a VIB."""
    return self.widths[-2] == 2 * self.code

  @property
  def layers(self) -> list[tuple[int, int]]:
    """(inputs, outputs) of each linear layer."""
    pairs = list(zip(self.widths[:-2], self.widths[1:-1]))
    return [*pairs, (self.code, self.widths[-1])]

  @property
  def products(self) -> list[tuple[int, int, int]]:
    """(m, k, n) of each matrix product of an update; no gradient of the inputs is needed."""
    shapes = []
    for i, (n_in, n_out) in enumerate(self.layers):
      shapes += [(self.batch, n_in, n_out), (n_in, self.batch, n_out)]
      shapes += [(self.batch, n_out, n_in)] if i else []
    return shapes

  @property
  def flops(self) -> int:
    """Of the matrix products of an update."""
    return sum(2 * m * k * n for m, k, n in self.products)

  @property
  def parameters(self) -> int:
    """Weights and biases."""
    return sum((n_in + 1) * n_out for n_in, n_out in self.layers)

  @property
  def state_bytes(self) -> int:
    """Traffic of weights, gradients and Adam's moments in an update.

    Weights are read forward, backward and by Adam, which writes them; gradients are written and
    read; two moments are read and written.
    """
    return FLOAT * self.parameters * (4 + 2 + 4)

  @property
  def batch_bytes(self) -> int:
    """Traffic of a batch: a layer's output is written, read twice, its gradient written and read.

    Of the inputs there is no gradient.
    """
    return FLOAT * self.batch * (2 * self.widths[0] + 5 * sum(self.widths[1:]))

  def __str__(self) -> str:
    code = f"-2x{self.code} (VIB)" if self.sampled else f"-{self.code}-{self.widths[-1]} (tanh)"
    return (
      f"{'-'.join(map(str, self.widths[:-2]))}{code}, batch {self.batch}, {self.members} members"
    )


NETS = {
  "tiny": Net((12, 10, 7, 5, 4, 3, 2), 3, 512, 64, 50, 15.0),
  "mid": Net((784, 64, 64, 32, 10), 16, 128, 32, 50, 6.0),
  "large": Net((784, 1024, 1024, 512, 10), 256, 100, 8, 10, 2.0),
}


def write_bits(path: pathlib.Path) -> None:
  """Writes the tiny network's data: all 4096 strings of 12 bits, and a fixed function of them."""
  x = (np.arange(4096)[:, None] >> np.arange(12)) & 1
  weights = np.random.default_rng(0).normal(size=(12, 6))
  y = (np.cos(x @ weights).sum(1) > 0).astype(np.int32)
  x = x.astype(np.float32)
  np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)


def configs(net: Net, folder: pathlib.Path) -> list[dict[str, Any]]:
  """The members' resolved configs."""
  betas = np.geomspace(1e-4, 1e-1, net.members).tolist()
  members = []
  for member in range(net.members):
    config = (vib_mnist if net.sampled else deterministic_mnist).get_config()
    with config.unlocked():
      config.seed = member
      config.data.batch_size = net.batch
      config.encoder.hidden = net.widths[1:-2]
      config.bottleneck.dim = net.code
      config.optimizer = dict(fn="optax:adam", learning_rate=1e-4)
      config.schedule = dict(fn="ibjax.core.schedules:constant")
      config.train.ema = None
      config.train.steps_per_dispatch = net.depth
      config.train.duration = "100000 epochs"
      if net.sampled:
        config.objective.beta = betas[member]
      else:
        config.encoder.activation, config.encoder.activate_out = "tanh", True
        config.data.source = f"npz:{folder / 'bits.npz'}"
    members.append(resolved(config))
  return members


def over_devices(pair: tuple[Callable, Callable], devices: int) -> Callable[[], float]:
  """Returns `run() -> seconds` of a (prepare, work) pair, on that many devices at a time."""
  mesh = Mesh(np.array(jax.devices()[:devices]), ("d",))
  spec = PartitionSpec("d")
  indices = jax.device_put(np.zeros(devices, np.float32), NamedSharding(mesh, spec))
  prepare, work = pair
  data = jax.block_until_ready(
    jax.jit(jax.shard_map(prepare, mesh=mesh, in_specs=spec, out_specs=spec))(indices)
  )
  compiled = jax.jit(jax.shard_map(work, mesh=mesh, in_specs=spec, out_specs=spec))
  jax.block_until_ready(compiled(data))

  def run() -> float:
    began = time.perf_counter()
    jax.block_until_ready(compiled(data))
    return time.perf_counter() - began

  return run


def products(shapes: list[tuple[int, int, int]], repeats: int) -> tuple[Callable, Callable]:
  """(operands, what multiplies them that many times); each product waits for its last one."""

  def prepare(index):
    zero = index[0]
    fill = lambda *shape: jnp.full(shape, 0.5) + zero  # noqa: E731
    return [(fill(m, k), fill(k, n)) for m, k, n in shapes]

  def work(operands):
    def body(_, lefts):
      outs = [left @ right for left, (_, right) in zip(lefts, operands)]
      # An element of the result goes into the operand, or XLA would multiply once.
      return [left.at[0, 0].set(out[0, 0]) for left, out in zip(lefts, outs)]

    return jax.lax.fori_loop(0, repeats, body, [left for left, _ in operands])

  return prepare, work


def machine(net: Net, rounds: int = 7) -> dict[str, float]:
  """What the machine can do: FLOP/s of products of 2048, and of the network's own; bytes/s."""
  devices = min(len(jax.devices()), net.members)
  square = over_devices(products([(2048, 2048, 2048)], 1), devices)
  repeats = max(1, round(2e9 / net.flops))
  own = over_devices(products(net.products, repeats), devices)
  length, passes = 2**26 // devices, 16  # floats on a device: 256 MiB in all
  # In place and many times, or the time would be that of getting new pages.
  halve = lambda x: jax.lax.fori_loop(0, passes, lambda _, x: 0.5 * x + 1.0, x)  # noqa: E731
  copy = over_devices((lambda i: jnp.zeros(length) + i[0], halve), devices)
  best = lambda run: min(run() for _ in range(rounds))  # noqa: E731
  return {
    "square": devices * 2 * 2048**3 / best(square),
    "own": devices * repeats * net.flops / best(own),
    "copy": devices * length * passes * 2 * FLOAT / best(copy),
  }


def race(net: Net, rounds: int, seconds: float) -> dict[str, Any]:
  """Runs one network; returns its figures."""
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    write_bits(folder / "bits.npz")
    members, devices = configs(net, folder), jax.devices()
    solo = common.Loop(setup_lib.build(members[0], devices=devices[:1]))
    strategies = ("loop", "vmap") if devices[0].platform == "cpu" else ("vmap",)
    loops = {
      strategy: common.Loop(setup_lib.build_population(members, None, devices, strategy))
      for strategy in strategies
    }
    reference = solo.losses(CHECKED)
    differences = {
      strategy: check(f"the population ({strategy})", loop.losses(CHECKED), reference, 1e-4)
      for strategy, loop in loops.items()
    }
    say("the losses of the populations agree")
    problem = folder / "problem.npz"
    common.write_problem(problem, solo.setup, solo.feed.data, solo.rows(600 // net.depth))
    worker = common.Worker(common.torch_python(), problem)
  try:
    adam = common.fastest_adam(worker, seconds)
    losses = worker.ask(do="losses", name="eager", steps=CHECKED)["losses"]
    # A VIB's noise is drawn by another generator.
    differences["eager"] = check("PyTorch", losses, reference, 0.05 if net.sampled else 1e-3)
    runs = {**loops, "solo": solo, "eager": functools.partial(worker.run, "eager")}
    grains = {name: loop.grain for name, loop in {**loops, "solo": solo}.items()}
    before = machine(net)
    rates = common.alternate(runs, rounds, seconds, grains)
    after = machine(net)
  finally:
    worker.close()
  return {
    "net": net,
    "load": os.getloadavg()[0],
    "adam": adam,
    "rates": rates,
    "differences": differences,
    "about": worker.about,
    "machine": {name: max(before[name], after[name]) for name in before},
  }


def roofline(result: dict[str, Any]) -> list[str]:
  """Lines that compare the rates with what the machine can do."""
  net, able = result["net"], result["machine"]
  traffic = net.state_bytes + net.batch_bytes
  lines = [
    "",
    f"An update is {net.flops / 1e6:,.2f} MFLOP in {len(net.products)} matrix products, and "
    f"{net.state_bytes / 1e6:,.3f} MB of weights, gradients and moments and "
    f"{net.batch_bytes / 1e6:,.3f} MB of the batch and its activations read and written. The same "
    f"run measured {able['square'] / 1e9:,.0f} GFLOP/s of 2048 x 2048 products, "
    f"{able['own'] / 1e9:,.1f} GFLOP/s of this network's own products alone, and "
    f"{able['copy'] / 1e9:,.1f} GB/s of reading and writing memory, on all devices at a time.",
    "",
    "| updates/s if there were only | | " + " | ".join(result["rates"]) + " |",
    "|---|---:|" + "---:|" * len(result["rates"]),
  ]
  roofs = {
    "products, at the rate of 2048 x 2048": able["square"] / net.flops,
    "products, at the rate of its own": able["own"] / net.flops,
    "reads and writes, from memory": able["copy"] / traffic,
  }
  for name, roof in roofs.items():
    shares = [f"{np.median(rates) / roof:.0%}" for rates in result["rates"].values()]
    lines.append(f"| {name} | {roof:,.0f} | {' | '.join(shares)} |")
  return lines


def report(results: list[dict[str, Any]]) -> str:
  """The section of the page."""
  labels = {
    "loop": "ibjax population, looped",
    "vmap": "ibjax population, batched",
    "solo": "ibjax, one at a time",
  }
  lines = common.conditions(results[0]["about"])
  lines[-1] = f"{lines[-1][:-1]}; {len(jax.devices())} JAX devices for the populations."
  for result in results:
    net, rates, differences = result["net"], result["rates"], result["differences"]
    labels["eager"] = f"PyTorch, eager, {result['adam']} Adam, one at a time"
    lines += [
      "",
      f"### {net}",
      "",
      f"Medians of {len(rates['solo'])} rounds, quartiles in brackets; load average at the end "
      f"{result['load']:.1f}.",
      "",
      "| | updates/s, all members | best round | times PyTorch | times one at a time |",
      "|---|---:|---:|---:|---:|",
    ]
    lines += [
      f"| {labels[name]} | {spread(values, 1)} | {values.max():,.1f} "
      f"| {ratio(rates, name, 'eager')} | {ratio(rates, name, 'solo')} |"
      for name, values in rates.items()
    ]
    first = "loop" if "loop" in rates else "vmap"
    lines += [
      "",
      f"The population to PyTorch: {ratio(rates, first, 'eager')}, aim {net.aim:g}; to one at a "
      f"time: {ratio(rates, first, 'solo')}, aim 1.",
      f"Largest relative difference from the solo run's loss in the first {CHECKED} steps: "
      + ", ".join(f"{name} {differences[name]}" for name in rates if name in differences)
      + (" (PyTorch's noise is another)." if net.sampled else "."),
      *roofline(result),
    ]
  return "\n".join(lines)


def main() -> None:
  """Parses flags, races, prints, and writes the page if asked."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rounds", type=int, default=9, help="turns of each contestant")
  parser.add_argument("--seconds", type=float, default=2.0, help="length of one turn, about")
  parser.add_argument("--only", default=",".join(NETS), help=f"of {', '.join(NETS)}")
  parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
  flags = parser.parse_args()
  names = flags.only.split(",")
  if unknown := [name for name in names if name not in NETS]:
    parser.error(f"unknown network {unknown[0]}; known: {', '.join(NETS)}")
  jax.config.update("jax_num_cpu_devices", os.cpu_count())
  results = []
  for name in names:
    say(f"network '{name}': {NETS[name]}")
    results.append(race(NETS[name], flags.rounds, flags.seconds))
  section = report(results)
  print(section)
  if flags.write:
    common.write(section, "population")


if __name__ == "__main__":
  main()
