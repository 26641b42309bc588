#!/usr/bin/env python
"""Kills the workers of a table at random moments, and compares what comes out with a quiet table.

  python scripts/soak.py --folder=/tmp/soak --kills=25 --seed=0

A tiny experiment of 12 cells is made twice: once by one process that nobody disturbs, and once by
several workers (`ibjax table --worker`) that are killed: most by SIGKILL, some by SIGTERM, some
suspended until another has taken their cell over, and woken again. What has ended is started again,
as a scheduler's requeue does. Pauses are drawn so that the kills last as long as the table does; a
worker that holds a cell is hit three times as often as one that starts or ends. The seed repeats
the draws; where in its work a process then is depends on the machine. Should the table be complete
before the last kill, another one is begun. A second soak in the same folder compares with the quiet
table that is there. Prints the figures; exits with 1 when a cell has not exactly one result, or
another than the quiet table's.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = {"SIGKILL": 0.7, "SIGTERM": 0.2, "SIGSTOP": 0.1}
POLL_S = 0.02
CELLS = 12
RUNS = """
BUDGETS = {{"quick": dict(seeds=(0,), overrides={{
  "train.duration": "{steps} steps", "train.log_every": "25 steps", "eval.every": "100 steps",
  "checkpoint.every": "50 steps", "train.steps_per_dispatch": 5,
}})}}
CELLS = tuple(
  dict(id=f"vib/dim={{dim}}/beta={{beta:g}}", config="configs/variational/vib_mnist.py:smoke",
       overrides={{"bottleneck.dim": dim, "objective.beta": beta, "encoder.hidden": (32,)}})
  for dim in (2, 3, 4) for beta in (1e-3, 1e-2, 1e-1, 1.0)
)
"""
TABLE = """
TABLES = (dict(
  name="errors", title="Errors", columns=(dict(key="test/err_frac", header="error", scale=100),),
  rows=tuple(
    dict(label=f"{dim}, {beta:g}", cell=f"vib/dim={dim}/beta={beta:g}")
    for dim in (2, 3, 4) for beta in (1e-3, 1e-2, 1e-1, 1.0)
  ),
),)
"""


@dataclasses.dataclass
class Worker:
  """One worker, with the log that all its starts share."""

  number: int
  process: subprocess.Popen
  log: pathlib.Path
  starts: int = 1
  wakes: float | None = None  # when it is woken at the latest, while it is suspended
  lost: frozenset[str] = frozenset()  # what it held when it was suspended


@dataclasses.dataclass
class Figures:
  """What happened in a soak."""

  kills: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  holding: int = 0  # kills of a worker that held a cell
  starts: int = 0
  codes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
  taken_s: list[float] = dataclasses.field(default_factory=list)
  begun: int = 0  # how often the training of a cell was begun or gone on with
  continued: int = 0
  noticed: int = 0
  quiet_s: float = 0.0
  tables: int = 0
  wall_s: float = 0.0
  faults: list[str] = dataclasses.field(default_factory=list)


def make(folder: pathlib.Path, steps: int) -> pathlib.Path:
  """Makes the experiment in a folder of its own; returns it."""
  experiment = folder / "experiments" / "soak"
  experiment.mkdir(parents=True)
  (experiment / "README.md").write_text("# Soak\n")
  (experiment / "runs.py").write_text(RUNS.format(steps=steps))
  (experiment / "table.py").write_text(TABLE)
  (experiment / "paper.json").write_text(
    json.dumps({"title": "Soak", "authors": "-", "year": 2026, "url": "https://x.org", "rows": {}})
  )
  return experiment


def start(folder: pathlib.Path, log: pathlib.Path, *flags: str) -> subprocess.Popen:
  """Starts `ibjax table` on the experiment of a folder."""
  command = [sys.executable, "-m", "ibjax.main", "table", str(folder / "experiments" / "soak")]
  command += [f"--workdir={folder / 'runs'}", "--claim=cell", *flags]
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "JAX_NUM_CPU_DEVICES": "1"}
  # One thread each: threads of several workers would wait for each other on a few cores.
  env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
  # Compiled programs are kept, so that a worker's life is not all compiling.
  env.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder.parent / "compiled"))
  env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  env["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
  with open(log, "ab") as file:
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT)


def quiet(folder: pathlib.Path, steps: int) -> float:
  """Makes the table undisturbed, unless it is there; returns the seconds that it took."""
  took = folder / "seconds.json"
  if took.is_file():
    return json.loads(took.read_text())
  make(folder, steps)
  began = time.monotonic()
  process = start(folder, folder / "log")
  if process.wait() != 0:
    raise SystemExit(f"the quiet table failed: {(folder / 'log').read_text()}")
  seconds = time.monotonic() - began
  took.write_text(json.dumps(seconds))
  return seconds


class Claims:
  """What a table's claims look like from outside: which process holds which unit."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder / "runs" / "quick" / ".claims"
    self._pids: dict[str, int] = {}

  def held(self) -> dict[str, tuple[str, int]]:
    """Returns unit -> (its claim's name, the holder's pid)."""
    found = {}
    names = sorted(os.listdir(self._folder)) if self._folder.is_dir() else []
    for name in names:
      unit, _, generation = name.rpartition(".")
      if name.startswith(("holder-", "tables")) or not generation.isdigit():
        continue
      if name not in self._pids:
        try:
          self._pids[name] = json.loads((self._folder / name).read_text())["pid"]
        except (OSError, ValueError):
          continue  # given up a moment ago
      found[unit] = name, self._pids[name]
    return found


def disturb(
  folder: pathlib.Path,
  kills: int,
  cell_s: float,
  rng: random.Random,
  figures: Figures,
  options: argparse.Namespace,
) -> int:
  """Makes a table with workers that are killed; returns how many kills were left over."""
  make(folder, options.steps)
  claims = Claims(folder)
  flags = ("--worker", f"--lost_after={options.lost_after}")
  workers = []
  for number in range(options.workers):
    log = folder / f"worker-{number}.log"
    workers.append(Worker(number, start(folder, log, *flags), log))
  figures.tables += 1
  figures.starts += len(workers)
  left, waiting = kills, {}  # waiting: unit -> (claim of the victim, when it was hit)
  began = time.monotonic()
  due = began + rng.uniform(0, 2) * cell_s * CELLS / kills
  give_up = time.monotonic() + options.limit_s
  while workers:
    now = time.monotonic()
    if now > give_up:
      figures.faults.append(f"not complete after {options.limit_s:.0f} s")
      break
    held = claims.held()
    for unit, (claim, since) in list(waiting.items()):
      if unit in held and held[unit][0] != claim:
        figures.taken_s.append(now - since)
        del waiting[unit]
    if left and now >= due:
      done = sum(len(found) for found in found_in(folder).values())
      # As long as cells take so far, the kills that are left fill the time of those that are left.
      each = (now - began + cell_s) / (done + 1)
      due = now + rng.uniform(0, 2) * each * (CELLS - done) / left
      kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
      holders = {pid for _, pid in held.values()}
      weights = [3 if worker.process.pid in holders else 1 for worker in workers]
      victim = rng.choices(workers, weights)[0]
      if victim.process.poll() is None and victim.wakes is None:
        own = {u: c for u, (c, pid) in held.items() if pid == victim.process.pid}
        victim.process.send_signal(getattr(signal, kind))
        left -= 1
        figures.kills[kind] += 1
        figures.holding += bool(own)
        if kind == "SIGSTOP":
          victim.wakes, victim.lost = now + 20 * options.lost_after, frozenset(own)
        waiting |= {unit: (claim, now) for unit, claim in own.items()}
        count = sum(figures.kills.values())
        print(f"{kind} {count}: worker {victim.number}, {', '.join(own) or 'no cell'}", flush=True)
    for worker in list(workers):
      taken = worker.lost and not worker.lost & waiting.keys()
      if worker.wakes is not None and (taken or now >= worker.wakes):
        worker.process.send_signal(signal.SIGCONT)
        worker.wakes = None
      code = worker.process.poll()
      if code is None:
        continue
      figures.codes[code] += 1
      if code == 0:  # nothing is left to claim
        workers.remove(worker)
      elif code in (75, -signal.SIGKILL, -signal.SIGTERM):  # what a scheduler starts again
        worker.process = start(folder, worker.log, *flags)
        worker.starts += 1
        figures.starts += 1
      else:
        figures.faults.append(f"worker {worker.number} ended with {code}, see {worker.log}")
        workers.remove(worker)
    time.sleep(POLL_S)
  for worker in workers:
    worker.process.kill()
    worker.process.wait()
  text = "".join(path.read_text() for path in folder.glob("worker-*.log"))
  figures.begun += len(re.findall(r"^group \d+ of \d+: 1 runs of 1 cells$", text, re.MULTILINE))
  figures.continued += text.count("continuing from the checkpoint")
  figures.noticed += text.count("was taken over by")
  return left


def compare(folder: pathlib.Path, reference: pathlib.Path) -> list[str]:
  """Says where a table differs from the reference: in results, metric lines, states or tables."""
  faults = []
  ours, theirs = (found_in(path) for path in (folder, reference))
  for cell in sorted(theirs):
    count = len(ours.get(cell, []))
    if count != 1:
      faults.append(f"{cell} has {count} results")
    elif ours[cell] != theirs[cell]:
      names = [name for name, value in theirs[cell][0].items() if ours[cell][0].get(name) != value]
      faults.append(f"{cell} has another result: {', '.join(names)}")
  faults += [f"{cell} is no cell" for cell in ours.keys() - theirs.keys()]
  tables = [path / "experiments" / "soak" / "quick" / "table.md" for path in (folder, reference)]
  if not tables[0].is_file() or tables[0].read_bytes() != tables[1].read_bytes():
    faults.append("the table is another one")
  left = [path.name for path in (folder / "runs" / "quick" / ".claims").iterdir()]
  if held := [name for name in left if not name.endswith(".free") and "holder" not in name]:
    faults.append(f"claims are left: {', '.join(held)}")
  return faults


def found_in(folder: pathlib.Path) -> dict[str, list[dict[str, Any]]]:
  """Cell -> what each of its results says, without what a clock measured."""
  found: dict[str, list[dict[str, Any]]] = collections.defaultdict(list)
  path = folder / "experiments" / "soak" / "results.jsonl"
  for text in path.read_text().splitlines() if path.is_file() else []:
    line = json.loads(text)
    run = folder / "runs" / "quick" / line["cell"] / f"seed={line['seed']}"
    (about,) = run.glob("checkpoints/*/about/metadata")
    metrics = [untimed(json.loads(one)) for one in (run / "metrics.jsonl").read_text().splitlines()]
    found[line["cell"]].append(
      {
        **untimed(line["result"]),
        "hashes": (line["config_hash"], line["code"]),
        "metric lines": metrics,
        "digest of the final state": json.loads(about.read_text()),
      }
    )
  return found


def untimed(row: dict[str, Any]) -> dict[str, Any]:
  """A row or metric line without its wall-clock values."""
  return {key: value for key, value in row.items() if not key.endswith(("_s", "_ms", "_per_s"))}


def soak(options: argparse.Namespace) -> Figures:
  """Makes the quiet table, then disturbed ones until all kills are spent; returns the figures."""
  figures, rng = Figures(), random.Random(options.seed)
  folder = options.folder.resolve()
  figures.quiet_s = quiet(folder / "quiet", options.steps)
  print(f"seed {options.seed}; the quiet table took {figures.quiet_s:.0f} s", flush=True)
  left, began = options.kills, time.monotonic()
  while left and not figures.faults:
    own = folder / f"disturbed-{len(list(folder.glob('disturbed-*')))}"
    left = disturb(own, left, figures.quiet_s / CELLS, rng, figures, options)
    figures.faults += compare(own, folder / "quiet")
  figures.wall_s = time.monotonic() - began
  return figures


def show(figures: Figures, options: argparse.Namespace) -> None:
  """Prints the figures."""
  kinds = ", ".join(f"{count} {kind}" for kind, count in figures.kills.items())
  taken = sorted(figures.taken_s)
  codes = ", ".join(f"{count} of {code}" for code, count in sorted(figures.codes.items()))
  cells = figures.tables * CELLS
  print(
    f"seed           {options.seed}, {options.workers} workers, lost after {options.lost_after:g} s"
  )
  print(f"kills          {sum(figures.kills.values())}: {kinds}; {figures.holding} hit a held cell")
  print(f"tables         {figures.tables} of {CELLS} cells, each compared with the quiet one")
  print(f"workers        started {figures.starts} times; exit codes: {codes}")
  print(
    f"cells          {cells}, begun {figures.begun} times: {figures.begun - cells} taken up again"
  )
  print(f"               {figures.continued} of these from a checkpoint")
  if taken:
    print(f"claimed again  {len(taken)}, after {taken[len(taken) // 2]:.1f} s (median) to", end="")
    print(f" {taken[-1]:.1f} s: when a worker that is left looks for work, or the next has started")
  print(f"woken          {figures.noticed} found their claim taken, and recorded nothing")
  each = figures.wall_s / figures.tables
  print(
    f"time           {each:.0f} s a table; the quiet one, by one process, {figures.quiet_s:.0f} s"
  )
  print(
    "equal          " + ("; ".join(figures.faults) or "every cell once, bit for bit the quiet one")
  )


def main() -> int:
  """Runs the soak; returns 0 when every cell ended once and as in the quiet table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--folder", type=pathlib.Path, required=True, help="holds all of it")
  parser.add_argument("--kills", type=int, default=25)
  parser.add_argument("--workers", type=int, default=3)
  parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
  parser.add_argument("--steps", type=int, default=400, help="of each cell")
  parser.add_argument("--lost_after", type=float, default=6.0)
  parser.add_argument("--limit_s", type=float, default=3600.0, help="for one table")
  options = parser.parse_args()
  figures = soak(options)
  show(figures, options)
  return int(bool(figures.faults))


if __name__ == "__main__":
  raise SystemExit(main())
