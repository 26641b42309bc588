"""Memory and bytes written of each process that saves and restores a sharded state.

  python scripts/bench/sharded_checkpoint.py --processes=2 --gib=2

Starts so many processes on this machine, a CPU device each, joined over loopback with gloo. The
state is a network's parameters and Adam's two averages, of so many GiB in all, laid out by
`config.sharding=largest:data`. Every process makes it, saves it, drops it and restores it with the
trainer's own functions, and reports the highest resident memory of each stage (the kernel's mark,
reset between stages) above what it held before there was a state. `--replicated` keeps a copy in
every process instead, for comparison; it needs the whole state several times over.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))
WIDTH = 64  # of the inputs, the embedded digits
GIB = 2**30


def main() -> None:
  """Parses the flags; starts the processes, or is one of them."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--processes", type=int, default=2)
  parser.add_argument("--gib", type=float, default=2.0, help="size of the state, in all")
  parser.add_argument("--replicated", action="store_true", help="a whole copy in every process")
  parser.add_argument("--folder", help="where the checkpoint goes; a temporary folder if absent")
  parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.worker:
    print(json.dumps(work(**options.worker)), flush=True)
    return
  with tempfile.TemporaryDirectory(dir=options.folder) as folder:
    show(start(options, folder), options)


def start(options: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
  """Starts the processes and waits for them; returns what each reports."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_NUM_CPU_DEVICES": "1"}
  shared = {"gib": options.gib, "folder": folder, "port": port, "count": options.processes}
  shared["rule"] = "" if options.replicated else "largest:data"
  running = [
    subprocess.Popen(
      [sys.executable, __file__, f"--worker={json.dumps({**shared, 'number': i})}"],
      env=env,
      stdout=subprocess.PIPE,
      text=True,
    )
    for i in range(options.processes)
  ]
  try:
    outputs = [process.communicate(timeout=3600)[0] for process in running]
  finally:
    for process in running:
      process.kill()
  if any(process.returncode for process in running):
    raise SystemExit(f"exit codes {[process.returncode for process in running]}")
  return [json.loads(output.splitlines()[-1]) for output in outputs]


def work(gib: float, folder: str, port: int, count: int, number: int, rule: str) -> dict[str, Any]:
  """One process: makes, saves and restores its part of the state.

  Returns:
    Bytes of the state, held, written; and per stage the peak above the beginning and the seconds.
  """
  import jax

  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.distributed.initialize(f"127.0.0.1:{port}", count, number)

  from ibjax.train.checkpoint import Checkpoints
  from ibjax.train.setup import build
  from tests.helpers import tiny

  # Two layers; 12 bytes a weight with Adam's averages. Multiples of 512 divide over any processes.
  wide = 16384
  narrow = round(gib * GIB / 12 / wide / 512 + 0.5) * 512
  sharding = (rule,) if rule else ((".*", ()),)
  setup = build(tiny(encoder__hidden=(narrow, wide), train__ema=None, sharding=sharding))
  keeper = Checkpoints(pathlib.Path(folder) / "checkpoints", keep=1, best="", report=print)
  stages: dict[str, dict[str, float]] = {}
  settle()
  before = memory("VmRSS")

  def stage(name: str, function: Any) -> Any:
    settle()
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is the present, from here on
    began = time.monotonic()
    result = jax.block_until_ready(function())
    peak = memory("VmHWM") - before
    stages[name] = {"seconds": time.monotonic() - began, "peak": peak}
    return result

  def init() -> Any:
    # Averages of zero would be packed to nothing; so they are drawn, each device its own part.
    def draw(state: Any) -> Any:
      leaves, structure = jax.tree.flatten(state.opt_state)
      keys = jax.random.split(jax.random.key(0), len(leaves))
      drawn = [
        jax.random.uniform(key, leaf.shape) if leaf.ndim else leaf
        for key, leaf in zip(keys, leaves)
      ]
      return state._replace(opt_state=jax.tree.unflatten(structure, drawn))

    shardings = jax.tree.map(lambda leaf: leaf.sharding, setup.abstract)
    return jax.jit(draw, donate_argnums=0, out_shardings=shardings)(setup.runner.init(setup.hyper))

  def save() -> None:
    keeper.save(1, state)
    keeper.wait()

  state = stage("init", init)
  held = sum(s.data.nbytes for leaf in jax.tree.leaves(state) for s in leaf.addressable_shards)
  whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
  stage("save", save)
  del state
  step, state = stage("restore", lambda: keeper.restore(setup.abstract))
  assert step == 1  # and its digest was that of what was saved, or it would have been refused
  keeper.close()
  own = pathlib.Path(folder) / "checkpoints" / "1" / "state" / f"ocdbt.process_{number}"
  written = sum(file.stat().st_size for file in own.rglob("*") if file.is_file())
  return {"whole": whole, "held": held, "written": written, "before": before, "stages": stages}


def settle() -> None:
  """Gives freed memory back, so that the next stage starts from what is in use."""
  import ctypes

  gc.collect()
  ctypes.CDLL(None).malloc_trim(0)


def memory(name: str) -> int:
  """A value of /proc/self/status, in bytes."""
  with open("/proc/self/status", encoding="ascii") as file:
    found = dict(line.split(":", 1) for line in file)
  return int(found[name].split()[0]) * 1024


def show(reports: list[dict[str, Any]], options: argparse.Namespace) -> None:
  """Prints the table."""
  whole = reports[0]["whole"]
  kind = "a copy in every process" if options.replicated else "largest:data"
  print(f"state {whole / GIB:.2f} GiB in all, {len(reports)} processes, {kind}\n")
  names = list(reports[0]["stages"])
  peaks = " | ".join(f"peak of {name}, GiB" for name in names)
  print(f"| process | before, GiB | holds, GiB | wrote, GiB | {peaks} |")
  print("|---:|---:|---:|---:|" + "---:|" * len(names))
  for number, report in enumerate(reports):
    cells = [report["before"], report["held"], report["written"]]
    cells += [report["stages"][name]["peak"] for name in names]
    print(f"| {number} | " + " | ".join(f"{cell / GIB:.2f}" for cell in cells) + " |")
  total = sum(report["written"] for report in reports)
  most = max(report["stages"][name]["peak"] for report in reports for name in ("save", "restore"))
  held = max(report["held"] for report in reports)
  print(
    f"\nwritten {total / GIB:.2f} GiB together; peaks are above the memory before. The highest of "
    f"save and restore is {most / GIB:.2f} GiB, {most / held:.1f} times what a process holds; with "
    f"the whole state in each process it would be {most / held * whole / GIB:.2f} GiB."
  )
  for name in names:
    seconds = max(report["stages"][name]["seconds"] for report in reports)
    print(f"{name}: {seconds:.1f} s")


if __name__ == "__main__":
  main()
