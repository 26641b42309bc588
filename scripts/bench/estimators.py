"""Estimators against peers: KSG, steps of InfoNCE, and the memory of work on all pairs.

Usage: python scripts/bench/estimators.py [--rounds=5] [--seconds=2] [--parts=ksg,info_nce,memory]
         [--environments=FOLDER] [--write]

Each peer has an environment of its own, FOLDER/.venv-bench-NAME (FOLDER is the checkout unless
told), which is made when it is not there. A peer that cannot be installed or fails is named so.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import common
import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core.resolver import resolve
from ibjax.estimators.base import bounds
from ibjax.estimators.base.fit import fit
from ibjax.estimators.base.networks import joint_critic
from ibjax.estimators.neighbours.ksg import ksg

N, D, K, RHO = 10_000, 5, 5, 0.6
BATCH, GRAIN = 256, 200  # rows of a batch; updates of one call of the compiled program
PEERS = {
  "npeet_plus": "npeet-plus==0.2.0",
  "latentmi": "latentmi==0.1.3",
  "infomeasure": "infomeasure==0.6.3",
  "torch": f"torch=={common.TORCH}",
  "torch-mist": "torch-mist==0.2.17 pandas<3 numpy<2",  # it imports pandas without asking
}
PARTS = ("ksg", "info_nce", "memory")
# What is measured of memory: method -> how it is called.
MEMORY = {
  "neighbours.ksg:ksg": dict(search="tiles"),
  "kernel.hsic:hsic": {},
  "kernel.matrix_renyi:matrix_renyi": {},
  "spectral.diffusion_spectral_entropy:diffusion_spectral_entropy": {},
}
MEMORY_N = 30_000
LONGEST = 400  # seconds of a measurement of memory


def environment(folder: pathlib.Path, name: str) -> pathlib.Path | None:
  """The Python of a peer's environment; None, said, when it cannot be made."""
  home = folder / f".venv-bench-{name}"
  python = home / "bin" / "python"
  if python.exists():
    return python
  common.say(f"making {home.name}")
  subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
  pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
  if subprocess.run([*pip, *PEERS[name].split()]).returncode:
    common.say(f"{name} cannot be installed here")
    return None
  return python


class Peer:
  """A peer's process."""

  def __init__(self, python: pathlib.Path, problem: pathlib.Path):
    script = pathlib.Path(__file__).with_name("estimator_worker.py")
    self.process = subprocess.Popen(
      [str(python), str(script), str(problem)],
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
    )
    self.versions = json.loads(self.process.stdout.readline())["versions"]

  def ask(self, **command):
    """Sends a command and waits for its answer."""
    self.process.stdin.write(json.dumps(command) + "\n")
    self.process.stdin.flush()
    return json.loads(self.process.stdout.readline())

  def close(self) -> None:
    """Ends the process."""
    self.process.stdin.close()
    self.process.wait(60)


def sample() -> tuple[np.ndarray, np.ndarray]:
  """Correlated Gaussians, D columns each, N rows."""
  rng = np.random.default_rng(0)
  x, noise = rng.standard_normal((2, N, D))
  return x, RHO * x + np.sqrt(1 - RHO**2) * noise


def ours_ksg(x, y) -> tuple[float, float]:
  """Seconds and nats of our KSG."""
  estimator = ksg(k=K, transform="none")
  began = time.perf_counter()
  nats = float(estimator.value(x, y).nats)
  return time.perf_counter() - began, nats


@functools.partial(jax.jit, static_argnames="steps")
def _train(x, y, key, steps):
  critic = joint_critic((16, 8))

  def loss(params, batch, key):
    return -bounds.info_nce(critic.apply(params, *batch))

  held = (x[:BATCH], y[:BATCH])
  return fit(
    loss,
    critic.init(key, x.shape[1], y.shape[1]),
    (x, y),
    held,
    key=key,
    steps=steps,
    batch_size=BATCH,
    check_every=100,
    patience=steps,
  ).params


def ours_info_nce(x, y, steps: int) -> float:
  """Makes so many updates, a multiple of GRAIN; returns seconds."""
  began = time.perf_counter()
  for i in range(steps // GRAIN):
    jax.block_until_ready(_train(x, y, jax.random.key(i), GRAIN))
  return time.perf_counter() - began


def section_ksg(peers, rounds: int) -> list[str]:
  """KSG at N rows of D + D columns."""
  x, y = sample()
  runs = {"ibjax": lambda: ours_ksg(x, y)}
  notes = []
  for name in ("npeet_plus", "latentmi", "infomeasure"):
    if name not in peers:
      notes.append(f"{name} could not be installed.")
      continue
    answer = peers[name].ask(do="ksg", name=name)
    if "error" in answer:
      notes.append(f"{name} fails: {answer['error']}.")
      continue
    runs[name] = lambda name=name: tuple(
      peers[name].ask(do="ksg", name=name)[key] for key in ("seconds", "nats")
    )
  seconds = {name: [] for name in runs}
  nats = {}
  for _ in range(rounds):
    for name, run in runs.items():
      taken, nats[name] = run()
      seconds[name].append(taken)
  times = {name: np.array(values) for name, values in seconds.items()}
  rival = min((name for name in times if name != "ibjax"), key=lambda name: np.median(times[name]))
  lines = ["| | seconds | times ibjax | nats |", "|---|---:|---:|---:|"]
  for name, values in times.items():
    ratio = common.spread(values / times["ibjax"])
    lines.append(f"| {name} | {common.spread(values)} | {ratio} | {nats[name]:.6f} |")
  faster = common.spread(times[rival] / times["ibjax"])
  return [
    f"### KSG, n = {N:,}, {D} + {D} columns, k = {K}",
    "",
    f"Medians of {rounds} rounds, quartiles in brackets; exact value "
    f"{-0.5 * D * np.log(1 - RHO**2):.4f} nats. scikit-learn's `mutual_info_regression` takes one "
    "column against one, so it has no part here.",
    "",
    *lines,
    "",
    f"The fastest peer, {rival}, takes {faster} times as long as ibjax; aim 1.3.",
    *notes,
  ]


def section_info_nce(peers, rounds: int, length: float) -> list[str]:
  """Updates per second of InfoNCE."""
  x, y = (jnp.asarray(a, jnp.float32) for a in sample())
  runs = {"ibjax": functools.partial(ours_info_nce, x, y)}
  grains, notes = {"ibjax": GRAIN}, []
  names = {"plain": "torch", "split": "torch", "torch-mist": "torch-mist"}
  for name, home in names.items():
    answer = peers[home].ask(do="info_nce", name=name, steps=10) if home in peers else {"error": ""}
    if "error" in answer:
      notes.append(f"{name} cannot be run: {answer['error'] or 'it could not be installed'}.")
      continue
    grains[name] = 10
    runs[name] = lambda steps, name=name, home=home: peers[home].ask(
      do="info_nce", name=name, steps=steps
    )["seconds"]
  rates = common.alternate(runs, rounds, length, grains)
  shown = {
    "ibjax": "ibjax",
    "plain": "PyTorch, a plain loop",
    "split": "PyTorch, first layer once a row",
    "torch-mist": "torch-mist, its trainer",
  }
  base = "plain" if "plain" in rates else "ibjax"
  lines = ["| | steps/s | times the plain loop |", "|---|---:|---:|"]
  for name, values in rates.items():
    ratio = common.ratio(rates, name, base)
    lines.append(f"| {shown[name]} | {common.spread(values, 1)} | {ratio} |")
  return [
    f"### InfoNCE, batch {BATCH}, joint critic 16-8, {D} + {D} columns",
    "",
    f"Medians of {rounds} rounds, quartiles in brackets. A step scores {BATCH} x {BATCH} pairs. "
    "ibjax looks at its validation rows every 100 steps, which is counted; the PyTorch loops only "
    "train.",
    "",
    *lines,
    "",
    f"ibjax to the plain loop: {common.ratio(rates, 'ibjax', base)}, aim 2.",
    *notes,
  ]


def child(method: str, n: int) -> None:
  """Prints the peak memory of one estimate, in bytes, beyond what the process had before."""
  factory = resolve(f"ibjax.estimators.{method}")
  estimator = factory(**MEMORY[method])
  rng = np.random.default_rng(0)
  x, noise = rng.standard_normal((2, n, D))
  y = RHO * x + noise if estimator.y != "none" and not estimator.y.endswith("?") else None
  estimator.value(x[:64], None if y is None else y[:64], None, jax.random.key(0))
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  began = time.perf_counter()
  jax.block_until_ready(estimator.value(x, y, None, jax.random.key(0)).nats)
  seconds = time.perf_counter() - began
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  print(json.dumps({"bytes": 1024 * (after - before), "seconds": seconds}))


def section_memory(n: int) -> list[str]:
  """Peak memory of the estimators that work on all pairs."""
  dense = 8 * n * n / 2**30
  lines = ["| | peak, MiB | seconds | one n-by-n array, times that |", "|---|---:|---:|---:|"]
  notes = []
  for method in MEMORY:
    name = method.partition(":")[2]
    command = [sys.executable, __file__, f"--child={method}", f"--n={n}"]
    try:
      done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
      notes.append(f"{name} takes more than {LONGEST} s here, and was stopped.")
      continue
    if done.returncode:
      notes.append(f"{name} could not be measured: {done.stderr.strip().splitlines()[-1]}")
      continue
    found = json.loads(done.stdout.splitlines()[-1])
    mib = found["bytes"] / 2**20
    lines.append(
      f"| {name} | {mib:,.0f} | {found['seconds']:.1f} | {1024 * dense / max(mib, 1e-9):,.0f} |"
    )
  return [
    f"### Memory at n = {n:,}, {D} columns",
    "",
    "Peak of resident memory during one estimate, beyond that of the process before it. A single "
    f"n-by-n array of doubles takes {dense:.2f} GiB by arithmetic; an implementation that keeps "
    "the pairs holds at least one of them (a kernel or distance matrix), HSIC two and matrix Renyi "
    "three. It was not run, so that the machine need not have that much.",
    "",
    *lines,
    *(["", *notes] if notes else []),
  ]


def main() -> None:
  """Measures, prints, and writes the page when asked."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--seconds", type=float, default=2.0)
  parser.add_argument("--parts", default=",".join(PARTS))
  parser.add_argument("--environments", type=pathlib.Path, default=common.ROOT)
  parser.add_argument("--write", action="store_true")
  parser.add_argument("--child", default="")
  parser.add_argument("--n", type=int, default=MEMORY_N)
  options = parser.parse_args()
  if options.child:
    child(options.child, options.n)
    return
  parts = options.parts.split(",")
  if unknown := set(parts) - set(PARTS):
    raise common.fail(f"unknown parts {sorted(unknown)}; known: {', '.join(PARTS)}.")
  needed = {
    "ksg": ("npeet_plus", "latentmi", "infomeasure"),
    "info_nce": ("torch", "torch-mist"),
    "memory": (),
  }
  x, y = sample()
  with tempfile.TemporaryDirectory() as folder:
    problem = pathlib.Path(folder) / "problem.npz"
    np.savez(problem, x=x, y=y, k=K, batch=BATCH)
    for part in parts:
      peers = {}
      for name in needed[part]:
        python = environment(options.environments, name)
        if python is not None:
          peers[name] = Peer(python, problem)
      if part == "ksg":
        lines = section_ksg(peers, options.rounds)
      elif part == "info_nce":
        lines = section_info_nce(peers, options.rounds, options.seconds)
      else:
        lines = section_memory(options.n)
      for peer in peers.values():
        peer.close()
      text = "\n".join([*lines, "", *conditions({n: p.versions for n, p in peers.items()})])
      print(text, flush=True)
      if options.write:
        common.write(text, f"estimators-{part}")


def conditions(peers) -> list[str]:
  """Lines that tell when, how and on what was measured; `peers` is name -> their versions."""
  lines = [
    f"Measured {datetime.date.today().isoformat()} with "
    f"`python scripts/bench/estimators.py {' '.join(sys.argv[1:])}`",
    f"on {common.cpu_name()}, {os.cpu_count()} cores, load average at the end "
    f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}, jax {jax.__version__}, numpy "
    f"{np.__version__}.",
  ]
  for name, versions in peers.items():
    lines.append(f"{name}: {', '.join(f'{key} {value}' for key, value in versions.items())}.")
  return lines


if __name__ == "__main__":
  main()
