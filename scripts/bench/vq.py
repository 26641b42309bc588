"""Vectors per second of a vector quantiser in training: ibjax, vector-quantize-pytorch, dm-haiku.

  python scripts/bench/vq.py --torch_python=PYTHON --haiku_python=PYTHON --rounds=9 --write

All quantise the same 16,384 vectors of 64 by 1,024 codes, on the CPU, in one step: the forward pass
in training with the moving averages of the codebook, and the gradient by the vectors of the mean
squared value plus commitment. ibjax looks for dead codes besides, and revives them, which the
others do not by default. Both PYTHONs are of environments of their own, one with torch==2.13.0 and
vector-quantize-pytorch, one with jax and dm-haiku; what lacks is left out.

They take turns in one run, in a new random order each round, one at a time; a round's ratio is
between turns that are seconds apart. Medians over the rounds, with quartiles.
"""

from __future__ import annotations

import argparse
import functools
import os
import pathlib
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait do not spin

import common
import jax
import jax.numpy as jnp
import numpy as np
from common import say

from ibjax.bottlenecks.vq import vq

VECTORS, WIDTH, CODES = 16_384, 64, 1_024


def ours(x: np.ndarray, gradient: str) -> Callable[[int], float]:
  """The step of ibjax; the codebook starts from standard normals, as the others' does."""
  channel = vq(dim=WIDTH, codes=CODES, gradient=gradient, start="normal")
  params, state = channel.init(jax.random.key(0))
  rows, kept = jnp.asarray(x), {"state": state}

  @jax.jit
  def step(state, rows, number):
    def loss(rows):
      key = jax.random.fold_in(jax.random.key(0), number)
      code, new = channel.apply(params, state, rows, key=key, train=True)
      value = jnp.mean(jnp.square(code.value)) + 0.25 * jnp.mean(code.aux["commitment"]) / WIDTH
      return value, new

    return jax.grad(loss, has_aux=True)(rows)

  def run(steps: int) -> float:
    began = time.perf_counter()
    for number in range(steps):
      slope, kept["state"] = step(kept["state"], rows, number)
    float(slope[0, 0])
    return time.perf_counter() - began

  return run


def main() -> None:
  """Measures, prints, and writes the page."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--torch_python", default="")
  parser.add_argument("--haiku_python", default="")
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--seconds", type=float, default=1.0)
  parser.add_argument("--write", action="store_true")
  arguments = parser.parse_args()
  x = np.random.default_rng(0).normal(size=(VECTORS, WIDTH)).astype(np.float32)
  runs = {"ibjax, rotation": ours(x, "rotation")}
  runs["ibjax, straight through"] = ours(x, "straight_through")
  workers, versions = [], [f"jax {jax.__version__}"]
  with tempfile.TemporaryDirectory() as folder:
    problem = pathlib.Path(folder) / "problem.npz"
    np.savez(problem, x=x, codes=CODES)
    for library, python in (
      ("lucidrains", arguments.torch_python),
      ("haiku", arguments.haiku_python),
    ):
      if not python:
        say(f"{library}: no environment given; left out")
        continue
      worker = common.Worker(pathlib.Path(python), problem, library, script="vq_worker.py")
      workers.append(worker)
      called = {"lucidrains": "vector-quantize-pytorch", "haiku": "dm-haiku"}[library]
      versions.append(f"{called} {worker.about['version']}")
      for name in worker.about["names"]:
        runs[f"{called}, {name}"] = functools.partial(worker.run, name)
    before = os.getloadavg()[0]
    grains = dict.fromkeys(runs, 1)
    rates = common.alternate(runs, arguments.rounds, arguments.seconds, grains)
    for worker in workers:
      worker.close()
  first = next(iter(rates))
  lines = ["| | vectors per second | ibjax (rotation) over it |", "|---|---|---|"]
  for name, values in rates.items():
    over = common.ratio(rates, first, name)
    lines.append(f"| {name} | {common.spread(VECTORS * values, 0)} | {over} |")
  command = " ".join(["python scripts/bench/vq.py", f"--rounds={arguments.rounds}"])
  lines += [
    "",
    f"Measured with `{command} --seconds={arguments.seconds:g} --torch_python=... "
    f"--haiku_python=...` on {common.cpu_name()}, {os.cpu_count()} cores; {', '.join(versions)}. "
    f"Medians over {arguments.rounds} rounds, with quartiles. Load average {before:.1f} at the "
    f"start and {os.getloadavg()[0]:.1f} at the end (the benchmark by itself makes about 2).",
  ]
  section = "\n".join(lines)
  print(section)
  if arguments.write:
    common.write(section, "vq")


if __name__ == "__main__":
  main()
