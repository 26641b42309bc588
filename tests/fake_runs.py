"""Run folders as the trainer writes them, with plausible numbers and no training."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ibjax.core.config import config_hash

BETAS = (1e-4, 1e-3, 1e-2, 1e-1, 0.5)
LABEL_NATS = math.log(10.0)
FN = "ibjax.objectives.variational"


def fake_run(
  path: pathlib.Path,
  *,
  method: str = "vib",
  beta: float = 1e-3,
  seed: int = 0,
  data: str = "mnist",
  steps: int = 600,
  stop: int | None = None,
  diverged: bool = False,
  config: dict[str, Any] | None = None,
) -> pathlib.Path:
  """Writes one run folder; `stop` leaves it unfinished there, `diverged` ended by a NaN."""
  path.mkdir(parents=True)
  rng = np.random.default_rng([seed, round(1e6 * beta), len(method)])
  resolved = {
    "seed": seed,
    "data": {"source": data, "batch_size": 200},
    "objective": {"fn": f"{FN}.{method}:{method}", "beta": beta},
    "optimizer": {"fn": "optax:adam", "learning_rate": 5e-4},
    **(config or {}),
  }
  if method == "cross_entropy":
    del resolved["objective"]["beta"]
  manifest = {
    "config": resolved,
    "config_hash": config_hash(resolved),
    "config_file": f"configs/variational/{method}_{data}.py",
    "command": (
      f"ibjax train --config=configs/variational/{method}_{data}.py --workdir=runs/{path.name} "
      f"--config.objective.beta={beta:g} --config.seed={seed}"
    ),
    "data": {"name": data, "fingerprint": "f00d"},
  }
  (path / "manifest.json").write_text(json.dumps(manifest, indent=2))
  end = stop or (steps // 2 if diverged else steps)
  lines = list(_lines(method, beta, rng, steps, end))
  (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  if stop is None:
    result = {"objective": method, "data": data, "seed": seed, "beta": beta}
    result |= {"config_hash": manifest["config_hash"], "batch_scope": "global"}
    for line in lines:
      result |= {f"{line['split']}/{k}": v for k, v in line.items() if k not in ("step", "split")}
    result |= {"step": end, "train_s": float(rng.uniform(70, 120))}
    if diverged:
      result["diverged_at_step"] = end
    (path / "result.json").write_text(json.dumps(result, indent=2))
  return path


def _lines(
  method: str, beta: float, rng: np.random.Generator, steps: int, end: int
) -> Iterator[dict[str, Any]]:
  """Metric lines: the rate falls with beta, the distortion rises near collapse."""
  scale = 1.0 if method == "vib" else 0.45
  rate = scale * 2.6 * math.log1p(40.0 / beta) * math.exp(-1.6 * beta) * rng.normal(1, 0.02)
  floor = (0.045 + 0.9 * beta**1.3 * scale) * rng.normal(1, 0.06)
  wrong = (0.0135 + 0.06 * beta**1.5 * scale) * rng.normal(1, 0.05)
  for step in range(steps // 20, end + 1, steps // 20):
    left = math.exp(-6.0 * step / steps)
    for split in ("train", "test") if step % (steps // 10) == 0 else ("train",):
      wobble = rng.normal(1, 0.05 if split == "train" else 0.01)
      distortion = (floor + (LABEL_NATS - floor) * left) * wobble
      values = {"err_frac": (wrong + 0.88 * left) * wobble, "nll_nats": 0.9 * distortion}
      values |= {"loss_nats": distortion}
      if method != "cross_entropy":
        rate_now = rate * (1 + 1.5 * left) * wobble
        values |= {
          "distortion_nats": distortion,
          "rate_nats": rate_now,
          "i_xz_upper_nats": rate_now,
          "i_yz_lower_nats": LABEL_NATS - distortion,
          "loss_nats": distortion + beta * rate_now,
        }
      yield {"step": step, "split": split, **values}


def fake_sweep(
  home: pathlib.Path, betas=BETAS, seeds=range(3), methods=("vib", "ceb"), **options: Any
) -> list[pathlib.Path]:
  """Writes betas x seeds x methods; folder names as METHOD_BETA_SEED."""
  return [
    fake_run(home / f"{m}_{b:g}_{s}", method=m, beta=b, seed=s, **options)
    for m in methods
    for b in betas
    for s in seeds
  ]
