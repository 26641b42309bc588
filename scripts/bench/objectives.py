"""Step time of each objective over plain cross-entropy, on one network and batch.

  python scripts/bench/objectives.py --rounds=9 --seconds=1

All train 784-1024-1024-2x256 (the VIB network of Alemi et al.) with a Gaussian bottleneck and a
linear decoder on MNIST, batch 256, with Adam, through the trainer's own loop; only the objective
differs. One that compares views is taken against cross-entropy on as many views, as each view is
one more input. They take turns in one run, in a new random order each round; a round's ratio is
between turns that are seconds apart. Medians over the rounds, with quartiles.

An objective that needs more than the network gives (another bottleneck, an adversary, a series)
is listed with what it says that it needs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import common
import jax
import numpy as np
from common import say

from configs.variational import vib_mnist
from ibjax.core.config import resolved
from ibjax.core.errors import IbjaxError
from ibjax.core.resolver import method_modules
from ibjax.train import setup as setup_lib

BATCH = 256
PLAIN = "ibjax.objectives.supervised.cross_entropy"


def build(module: str, views: int) -> setup_lib.Setup:
  """Builds a run of an objective."""
  config = vib_mnist.get_config()
  with config.unlocked():
    config.data.batch_size = BATCH
    config.bottleneck = dict(fn="ibjax.bottlenecks.gaussian:gaussian", dim=256)
    config.objective = dict(fn=f"{module}:{module.rpartition('.')[2]}")
    if views > 1:
      config.views = dict(fn="ibjax.views.gaussian_noise:gaussian_noise", count=views)
    config.train.ema = None
    config.train.duration = "100000 epochs"
    config.train.steps_per_dispatch = 10
  return setup_lib.build(resolved(config), devices=jax.devices()[:1])


def contestants(only: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
  """The objectives that run on the network, as loops, and why others do not."""
  loops, left = {}, {}
  for module in method_modules("ibjax.objectives"):
    name = module.rpartition(".")[2]
    factory = getattr(importlib.import_module(module), name, None)
    if not callable(factory) or not hasattr(importlib.import_module(module), "CASES"):
      continue
    if only and name not in (*only, "cross_entropy"):
      continue
    try:
      views = factory().views
      loops[name] = (common.Loop(build(module, views)), views)
      say(f"{name} compiled")
    except IbjaxError as error:
      left[name] = str(error).partition(". ")[0]
  for views in {views for _, views in loops.values()} - {1}:
    loops[f"cross_entropy of {views} views"] = (common.Loop(build(PLAIN, views)), views)
  return loops, left


def main() -> None:
  """Measures and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--steps", type=int, default=20, help="updates of one turn")
  parser.add_argument("--only", default="", help="names, separated by commas")
  options = parser.parse_args()
  loops, left = contestants(tuple(name for name in options.only.split(",") if name))
  for loop, _ in loops.values():
    loop(options.steps)  # compiled and warm
  times: dict[str, list[float]] = {name: [] for name in loops}
  for turn in range(options.rounds):
    order = list(loops)
    random.Random(turn).shuffle(order)
    for name in order:
      times[name].append(loops[name][0](options.steps) / options.steps)
    say(f"round {turn + 1} of {options.rounds}")
  print("| objective | step, ms | over cross-entropy |\n|---|---|---|")
  for name, (_, views) in loops.items():
    plain = times["cross_entropy" if views == 1 else f"cross_entropy of {views} views"]
    ratios = np.array(times[name]) / np.array(plain)
    low, middle, high = np.percentile(ratios, [25, 50, 75])
    print(
      f"| {name} | {1e3 * np.median(times[name]):.1f} | {middle:.2f} ({low:.2f} to {high:.2f}) |"
    )
  for name, why in left.items():
    print(f"| {name} | | {why} |")


if __name__ == "__main__":
  main()
