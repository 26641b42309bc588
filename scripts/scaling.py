"""Compiles updates for 1 to 512 devices that nobody has, and writes what they cost and send.

Usage: python scripts/scaling.py            compile all (half an hour on one core), write the page
       python scripts/scaling.py NAME ...   compile these workloads again
       python scripts/scaling.py --page     write the page from docs/scaling.json alone

The counts go to docs/scaling.json, and docs/scaling.md is written from them between its marks.
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import jax

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from scaling_page import page  # noqa: E402

from ibjax.core.config import resolved  # noqa: E402
from ibjax.train.collectives import KINDS  # noqa: E402
from ibjax.train.dry_run import state_bytes, step_cost  # noqa: E402
from ibjax.train.setup import Setup, build, build_population  # noqa: E402
from ibjax.verbs.flags import load_bare  # noqa: E402

COUNTS = tuple(2**power for power in range(10))
PAGE, DATA = ROOT / "docs" / "scaling.md", ROOT / "docs" / "scaling.json"
VIB = "configs/variational/vib_mnist.py"
INFO_NCE = "configs/representation/info_nce_mnist.py"
FIXED, EACH = 1024, 64  # rows of the whole batch; rows for each device
BETAS, SEEDS = 64, 64
ORDER = {kind: i for i, kind in enumerate(KINDS)}
# Weights over both axes as far as they divide: 784 pixels do not over 64 devices.
RULES = (
  (r"encoder/dense_0/kernel$", (None, "model")),
  (r"encoder/dense_1/kernel$", ("data", "model")),
  (r"encoder/dense_2/kernel$", ("model", "data")),
  (r"encoder/dense_[01]/bias$", ("model",)),
  (r".*", ()),
)


def _config(path: str, batch: int, **values: Any) -> dict[str, Any]:
  config = load_bare(str(ROOT / path))
  config.update_from_flattened_dict({"data.batch_size": batch, "eval.batch_size": 1024, **values})
  return resolved(config)


def _split(path: str, rows: Callable[[int], int]) -> Callable[[int], Setup]:
  def make(devices: int) -> Setup:
    config = _config(path, rows(devices), **{"mesh.data": devices})
    return build(config, devices=jax.devices()[:devices])

  return make


def _large(devices: int) -> Setup:
  model = min(8, devices)
  config = _config(
    VIB,
    EACH * devices,
    **{
      "mesh.data": devices // model,
      "mesh.model": model,
      "encoder.hidden": (8192, 8192),
      "sharding": RULES,
    },
  )
  return build(config, devices=jax.devices()[:devices])


def _population(devices: int) -> Setup:
  first = _config(VIB, 200, **{"mesh.population": devices, "mesh.data": 1})
  configs = [
    {
      **first,
      "seed": seed,
      "objective": {**first["objective"], "beta": 10.0 ** (-6 * i / (BETAS - 1))},
    }
    for i in range(BETAS)
    for seed in range(SEEDS)
  ]
  return build_population(configs, devices=jax.devices()[:devices], strategy="vmap")


# What a run is on so many devices, by the name of its table.
WORKLOADS: dict[str, Callable[[int], Setup]] = {
  "vib_fixed": _split(VIB, lambda devices: FIXED),
  "vib_growing": _split(VIB, lambda devices: EACH * devices),
  "vib_large": _large,
  "info_nce": _split(INFO_NCE, lambda devices: EACH * devices),
  "population": _population,
}


def row(name: str, devices: int) -> dict[str, Any]:
  """Compiles one update.

  Args:
    name: a key of `WORKLOADS`.
    devices: how many; JAX must have as many.

  Returns:
    Counts of a device: devices, batch, members, flops, bytes_accessed, state_bytes, parameters
    and, for each kind and group size of collectives, [kind, group, executions, payload bytes,
    bytes sent in a ring].
  """
  setup = WORKLOADS[name](devices)
  cost = step_cost(setup)
  sums: dict[tuple[str, int], list[int]] = {}
  for found in cost.traffic.collectives:
    entry = sums.setdefault((found.kind, found.group), [0, 0, 0])
    for i, value in enumerate((found.times, found.times * found.payload, round(found.sent()))):
      entry[i] += value
  return {
    "devices": devices,
    "mesh": {axis: int(size) for axis, size in setup.mesh.shape.items() if size > 1},
    "batch": setup.config["data"]["batch_size"],
    "members": len(setup.configs),
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(setup.solo.params)),
    "flops": cost.flops,
    "bytes_accessed": cost.bytes_accessed,
    "state_bytes": state_bytes(setup),
    "collectives": [
      [*key, *sums[key]] for key in sorted(sums, key=lambda key: (ORDER[key[0]], key))
    ],
  }


def main(names: list[str]) -> None:
  """Compiles the named workloads, all of them when none is named, and writes both files."""
  if names != ["--page"]:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", COUNTS[-1])
    if strangers := [name for name in names if name not in WORKLOADS]:
      raise SystemExit(f"unknown workload {strangers[0]}; known: {', '.join(WORKLOADS)}, --page")
    rows = json.loads(DATA.read_text(encoding="utf-8"))["rows"] if names else {}
    for name in names or WORKLOADS:
      rows[name] = []
      for devices in COUNTS:
        begun = time.perf_counter()
        rows[name].append(row(name, devices))
        print(f"{name} {devices}: {time.perf_counter() - begun:.1f} s", flush=True)
      DATA.write_text(as_json(rows, jax.__version__), encoding="utf-8")
  made = json.loads(DATA.read_text(encoding="utf-8"))
  PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


def as_json(rows: dict[str, Any], version: str) -> str:
  """Writes counts as JSON, a line for each row.

  Args:
    rows: rows by the name of their workload.
    version: of jax.

  Returns:
    The text of docs/scaling.json.
  """
  tables = (
    f'  "{name}": [\n' + ",\n".join(f"   {json.dumps(r)}" for r in rows[name]) + "\n  ]"
    for name in WORKLOADS
    if name in rows
  )
  return f'{{\n "jax": "{version}",\n "rows": {{\n' + ",\n".join(tables) + "\n }\n}\n"


if __name__ == "__main__":
  main(sys.argv[1:])
