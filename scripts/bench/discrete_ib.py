"""The discrete bottleneck against dit and embo: a whole curve, and how low its Lagrangian gets.

Usage: python scripts/bench/discrete_ib.py [--rounds=3] [--size=64] [--betas=100] [--restarts=16]
         [--limit=900] [--environments=FOLDER] [--write]

Two tables: a random one, whose optimum is reached in few iterations, and a discretised Gaussian
pair, where iterations converge slowly. Each peer has an environment of its own,
FOLDER/.venv-bench-NAME (FOLDER is the checkout unless told), made when it is not there. A
contestant that does not end within the limit (seconds) is named so.
"""

from __future__ import annotations

import argparse
import datetime
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
import numpy as np

from ibjax.exact.discrete_ib import discrete_ib
from ibjax.exact.joint import critical_beta

PEERS = {"embo": "embo==1.1.0", "dit": "dit==2.3"}
# Contestant -> (environment, arguments of the worker). embo's own tolerance is 1e-3.
RUNS = {
  "embo": ("embo", ("embo", "1e-3")),
  "embo, tolerance 1e-6": ("embo", ("embo", "1e-6")),
  "dit, Blahut-Arimoto, 1 restart": ("dit", ("dit-ba",)),
  "dit, optimiser, 1 beta": ("dit", ("dit-sp",)),
}
OURS = {"ibjax": 1e-6, "ibjax, tolerance 1e-9": 1e-9}


def tables(size: int) -> dict[str, np.ndarray]:
  """The two tables, [size, size]."""
  rng = np.random.default_rng(0)
  random = rng.dirichlet(np.full(size * size, 0.1)).reshape(size, size)
  grid = np.linspace(-3.0, 3.0, size)
  square = grid[:, None] ** 2 - 1.8 * grid[:, None] * grid + grid**2
  gaussian = np.exp(-square / (2.0 * (1.0 - 0.9**2)))
  return {"random, Dirichlet 0.1": random, "Gaussian, correlation 0.9": gaussian / gaussian.sum()}


def cpu() -> float:
  """Seconds of all cores that this process has used."""
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime


def ours(joint, betas, restarts: int, tolerance: float) -> dict:
  """Solves the curve."""
  began, before = time.perf_counter(), cpu()
  solved = discrete_ib(joint, betas, restarts=restarts, tolerance=tolerance)
  return {
    "seconds": time.perf_counter() - began,
    "cpu_seconds": cpu() - before,
    "betas": betas,
    "rate_nats": solved.rate_nats,
    "relevance_nats": solved.relevance_nats,
  }


def environment(folder: pathlib.Path, name: str) -> pathlib.Path | None:
  """The Python of a peer's environment; None, said, when it cannot be made."""
  python = folder / f".venv-bench-{name}" / "bin" / "python"
  if not python.exists():
    common.say(f"making {python.parent.parent.name}")
    subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.run([*pip, *PEERS[name].split()]).returncode:
      common.say(f"{name} cannot be installed here")
      return None
  return python


def peer(python: pathlib.Path, problem: pathlib.Path, arguments, limit: float) -> dict:
  """Runs a peer's process once; {"error": ...} when it fails or does not end."""
  script = pathlib.Path(__file__).with_name("discrete_ib_worker.py")
  command = [str(python), str(script), str(problem), *arguments]
  # One thread of linear algebra a process: more of them are slower on tables of this size.
  env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
  try:
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=limit)
  except subprocess.TimeoutExpired:
    return {"error": f"not done after {limit:.0f} s"}
  if done.returncode:
    return {"error": (done.stderr.strip().splitlines() or ["it failed"])[-1]}
  return json.loads(done.stdout.splitlines()[-1])


def excess(answer: dict, best: dict[float, float]) -> np.ndarray:
  """How far each beta's Lagrangian I(X;T) - beta I(T;Y) is above the best that any found."""
  betas = np.round(np.array(answer["betas"]), 6)
  reached = np.array(answer["rate_nats"]) - betas * np.array(answer["relevance_nats"])
  return reached - np.array([best[beta] for beta in betas])


def measure(joint, options, environments) -> list[str]:
  """One table's rows of the report."""
  betas = np.linspace(1.0, 10.0, options.betas)
  answers: dict[str, list[dict]] = {name: [] for name in (*OURS, *RUNS)}
  first = ours(joint, betas, options.restarts, 1e-6)["seconds"]
  with tempfile.TemporaryDirectory() as folder:
    problem = pathlib.Path(folder) / "problem.npz"
    np.savez(problem, joint=joint, betas=betas, restarts=options.restarts, processes=os.cpu_count())
    for turn in range(options.rounds):
      for name, tolerance in OURS.items():
        answers[name].append(ours(joint, betas, options.restarts, tolerance))
      for name, (home, arguments) in RUNS.items():
        failed = any("error" in answer for answer in answers[name])
        if environments[home] is None or failed:
          continue
        answers[name].append(peer(environments[home], problem, arguments, options.limit))
        common.say(f"round {turn + 1}, {name}: {answers[name][-1].get('seconds', 'failed')}")
  found = {name: [a for a in given if "error" not in a] for name, given in answers.items()}
  best: dict[float, float] = {}
  for answer in (a for given in found.values() for a in given):
    for beta, rate, kept in zip(answer["betas"], answer["rate_nats"], answer["relevance_nats"]):
      key = round(float(beta), 6)
      best[key] = min(best.get(key, np.inf), rate - key * kept)
  base = np.array([a["seconds"] for a in found["ibjax"]])
  lines = [
    "| | seconds | times ibjax | CPU seconds | Lagrangian above the best: mean | worst, nats |",
    "|---|---:|---:|---:|---:|---:|",
  ]
  for name, given in answers.items():
    if not found[name]:
      reason = given[0]["error"] if given else "could not be installed"
      lines.append(f"| {name} | {reason} | | | | |")
      continue
    seconds = np.array([a["seconds"] for a in found[name]])
    over = excess(found[name][-1], best)
    ratio = common.spread(seconds / base[: len(seconds)], 1)
    used = np.median([a["cpu_seconds"] for a in found[name]])
    lines.append(
      f"| {name} | {common.spread(seconds)} | {ratio} | {used:.2f} | {over.mean():.1e} | "
      f"{over.max():.1e} |"
    )
  versions = sorted({a["version"] for given in found.values() for a in given if "version" in a})
  lines += ["", f"ibjax's first call, compilation included: {first:.1f} s. {'; '.join(versions)}."]
  return lines


def main() -> None:
  """Measures and prints; with --write into the page."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--size", type=int, default=64)
  parser.add_argument("--betas", type=int, default=100)
  parser.add_argument("--restarts", type=int, default=16)
  parser.add_argument("--limit", type=float, default=900.0)
  parser.add_argument("--environments", type=pathlib.Path, default=common.ROOT)
  parser.add_argument("--write", action="store_true")
  options = parser.parse_args()
  environments = {name: environment(options.environments, name) for name in PEERS}
  lines = [
    f"### The discrete information bottleneck: {options.betas} betas from 1 to 10, a table of "
    f"{options.size} by {options.size}, {options.restarts} restarts",
    "",
    f"Medians of {options.rounds} rounds, quartiles in brackets. embo works with as many processes "
    "as there are cores, and is asked at beta log 2, which is what it calls beta; its own stopping "
    "rule is a relative change of 1e-3 and 100 iterations. The Lagrangian I(X;T) - beta I(T;Y) is "
    "compared with the lowest that any of them reached at that beta.",
  ]
  for name, joint in tables(options.size).items():
    lines += [
      "",
      f"Table: {name}; the trivial code is stable up to {critical_beta(joint):.3f}.",
      "",
    ]
    lines += measure(joint, options, environments)
  lines += [
    "",
    f"Measured {datetime.date.today().isoformat()} with "
    f"`python scripts/bench/discrete_ib.py {' '.join(sys.argv[1:])}`",
    f"on {common.cpu_name()}, {os.cpu_count()} cores, load average at the end "
    f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}, jax {jax.__version__}, numpy "
    f"{np.__version__}.",
  ]
  text = "\n".join(lines)
  print(text, flush=True)
  if options.write:
    common.write(text, "discrete-ib")


if __name__ == "__main__":
  main()
