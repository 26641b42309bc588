"""Whole optimiser steps of a TopK sparse autoencoder, against three PyTorch libraries.

Usage: OMP_WAIT_POLICY=PASSIVE python scripts/bench/sae.py [--rounds 9] [--environments FOLDER]

Width 512, 8,192 latents, k = 32, batch 4,096, float32: this project's trainer (its compiled step on
data that lie on the device, the decoder's rows at unit length) and sparsify, dictionary_learning
and SAELens, each in an environment of its own, in turns. Writes the section "sae" of
docs/benchmarks.md unless --print is given.
"""

import argparse
import functools
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import common
import jax
import numpy as np

from ibjax.core import config as base
from ibjax.train import setup as setup_lib

PACKAGES = {
  "sparsify": "eai-sparsify==1.3.3",
  "dictionary_learning": "dictionary-learning==0.1.0",
  "saelens": "sae-lens==6.54.12",
}
WIDTH, LATENTS, K, BATCH, RATE = 512, 8192, 32, 4096, 1e-3
STEPS = 2  # of a turn


def python_of(folder: pathlib.Path, name: str) -> pathlib.Path:
  """The Python of a library's environment, which is made when it is not there."""
  python = folder / name / "bin" / "python"
  if not python.exists():
    common.say(f"making {folder / name} (some minutes)")
    subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, f"torch=={common.TORCH}", PACKAGES[name]], check=True)
    # Comes along for another build of torch, and then cannot be imported; nothing here needs it.
    subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", "torchvision"], check=True)
  return python


def ours() -> common.Loop:
  """This project's run: the recipe of configs/sparse at the benchmark's size."""
  c = base.defaults()
  planted = f"features=1024,dim={WIDTH},l0={K},n={2 * BATCH},n_test={BATCH}"
  c.data.source = f"autoencode:planted:superposition:{planted}"
  c.data.batch_size = BATCH
  c.encoder = dict(fn="ibjax.models.identity:identity")
  c.decoder = dict(fn="ibjax.models.identity:identity")
  c.bottleneck = dict(fn="ibjax.bottlenecks.sparse.top_k:top_k", dim=WIDTH, latents=LATENTS, k=K)
  c.bottleneck.dead_after = 10**6
  c.objective = dict(fn="ibjax.objectives.sparse.dictionary:dictionary")
  c.optimizer = dict(fn="ibjax.programs.unit_rows_adam:unit_rows_adam", learning_rate=RATE)
  c.schedule = dict(fn="ibjax.core.schedules:constant")
  c.train.steps_per_dispatch = 2
  c.eval.batch_size, c.eval.samples = BATCH, 1
  return common.Loop(setup_lib.build(base.resolved(c)))


def turn(worker: common.Worker) -> tuple[float, float]:
  """Lets a library make its steps; returns (seconds, processor seconds)."""
  answer = worker.ask(do="run", steps=STEPS)
  return answer["seconds"], answer["processor"]


def own_turn(loop: common.Loop) -> tuple[float, float]:
  """Makes this project's steps; returns (seconds, processor seconds)."""
  began = time.process_time()
  return loop(STEPS), time.process_time() - began


def main() -> None:
  """Measures, and writes the section."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--environments", type=pathlib.Path, default=common.ROOT / ".venv-bench-sae")
  parser.add_argument("--against", nargs="+", choices=list(PACKAGES), default=list(PACKAGES))
  parser.add_argument("--print", action="store_true", help="print the section, write nothing")
  asked = parser.parse_args()
  os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # spinning threads would take the cores of the others
  loop = ours()
  x = loop.setup.splits["train"].read(np.arange(2 * BATCH))["x"]
  with tempfile.TemporaryDirectory() as folder:
    problem = pathlib.Path(folder) / "problem.npz"
    np.savez(problem, x=x, latents=LATENTS, k=K, batch=BATCH, rate=RATE)
    workers = {
      name: common.Worker(
        python_of(asked.environments, name), problem, name, script="sae_worker.py"
      )
      for name in asked.against
    }
    contestants: dict[str, Callable[[], tuple[float, float]]]
    contestants = {"ibjax": functools.partial(own_turn, loop)}
    for name, worker in workers.items():
      contestants[name] = functools.partial(turn, worker)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    before, order = os.getloadavg()[0], list(contestants)
    for run in contestants.values():
      run()  # the first turn compiles, and allocates
    for number in range(asked.rounds):
      random.Random(number).shuffle(order)
      for name in order:
        taken[name].append(contestants[name]())
        found = ", ".join(f"{value / STEPS:.2f}" for value in taken[name][-1])
        common.say(f"round {number + 1}: {name} {found} s a step, of the wall and of the processor")
    load = (before, os.getloadavg()[0])
    about = next(iter(workers.values())).about
    for worker in workers.values():
      worker.close()
  steps = {name: np.array(found) / STEPS for name, found in taken.items()}  # [rounds, 2]
  lines = [
    *common.conditions(about),
    f"Load average {load[0]:.1f} before and {load[1]:.1f} after on {os.cpu_count()} cores; a "
    "turn by itself makes two: above that other work went on, and the seconds of a step are those "
    "of a share of the machine. Processor seconds, of all threads, depend on it less. "
    f"{asked.rounds} rounds of {STEPS} steps each; medians, quartiles in brackets, and ratios of "
    "the turns of one round.",
    "",
    "| | s a step | tokens/s | ratio | processor s a step | ratio |",
    "| --- | --- | --- | --- | --- | --- |",
  ]
  for name, found in steps.items():
    wall, processor = found.T
    cells = [common.spread(wall), common.spread(BATCH / wall, 0)]
    cells += [common.spread(wall / steps["ibjax"][:, 0]), common.spread(processor)]
    cells += [common.spread(processor / steps["ibjax"][:, 1])]
    lines.append(f"| {name} | {' | '.join(cells)} |")
  section = "\n".join(lines)
  print(section)
  if not asked.print:
    common.write(section, "sae")


if __name__ == "__main__":
  jax.config.update("jax_platforms", "cpu")
  main()
