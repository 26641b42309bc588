"""SAELens's BatchTopK on the toy of experiments/sparse_recovery, scored as ours are.

    python scripts/bench/recovery_peer.py --python PEER/bin/python [--rates 3e-4 2e-3]

PEER is an environment of its own with sae-lens 6.54 and torch. The peer is given
the training rows of the same planted source, as many updates of as many rows as our recipe makes,
and its own trainer: Adam, clipping, its auxiliary loss; at a rate other than its default 3e-4 the
rate falls by a cosine, as in our recipe. Its decoder and its latents on the test rows come back and
are measured by our assessors.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

from ibjax.core.types import Trained
from ibjax.data import source as source_lib
from ibjax.evaluators.dictionary_use import dictionary_use
from ibjax.evaluators.feature_recovery import feature_recovery

SOURCE = "planted:superposition:features=128,dim=64,l0=4"
STEPS, BATCH, LATENTS, K = 6400, 1024, 128, 4.0
SHOWN = ("mmcs", "mcc", "fvu", "dead", "uniqueness_frac", "f1", "l0")

WORKER = """
import sys
import numpy as np, torch
from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
torch.set_num_threads(1)
given = np.load(sys.argv[1])
steps, batch, latents = (int(given[name]) for name in ("steps", "batch", "latents"))
rate, seed = float(sys.argv[3]), int(sys.argv[4])
torch.manual_seed(seed)
x = torch.from_numpy(given["train"])
def rows():
  while True:
    order = torch.randperm(len(x))
    for first in range(0, len(x) - batch + 1, batch):
      yield x[order[first:first + batch]]
sae = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(
  d_in=x.shape[1], d_sae=latents, k=float(given["k"]), device="cpu", apply_b_dec_to_input=True))
more = {} if rate == 3e-4 else dict(lr_scheduler_name="cosineannealing", lr_end=rate / 1000)
config = SAETrainerConfig(total_training_samples=steps * batch, train_batch_size_samples=batch,
  lr=rate, device="cpu", logger=LoggingConfig(log_to_wandb=False), **more)
SAETrainer(config, sae, rows()).fit()
with torch.no_grad():
  z = torch.cat([sae.encode(part) for part in torch.from_numpy(given["test"]).split(batch)])
  out = sae.decode(z)
np.savez(sys.argv[2], z=z.numpy(), out=out.numpy(), W_dec=sae.W_dec.detach().numpy())
"""


def main() -> None:
  """Trains and scores the peer; prints a line per run and the means."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--python", required=True)
  parser.add_argument("--rates", type=float, nargs="+", default=[3e-4, 2e-3])
  parser.add_argument("--seeds", type=int, default=3)
  options = parser.parse_args()
  source = source_lib.load(SOURCE)
  data = {name: part.read(np.arange(part.n)) for name, part in source.splits.items()}
  with tempfile.TemporaryDirectory() as folder:
    given = pathlib.Path(folder) / "toy.npz"
    rows = {name: part["x"] for name, part in data.items()}
    np.savez(given, **rows, steps=STEPS, batch=BATCH, latents=LATENTS, k=K)
    for rate in options.rates:
      found = []
      for seed in range(options.seeds):
        out = pathlib.Path(folder) / "out.npz"
        command = [options.python, "-c", WORKER, str(given), str(out), str(rate), str(seed)]
        env = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
          raise SystemExit(done.stderr[-3000:])
        found.append(score(np.load(out), data["test"]))
        print(json.dumps({"rate": rate, "seed": seed, **found[-1]}), flush=True)
      mean = {name: round(float(np.mean([one[name] for one in found])), 4) for name in SHOWN}
      print(json.dumps({"rate": rate, "mean": mean}), flush=True)


def score(peer: np.lib.npyio.NpzFile, test: dict[str, np.ndarray]) -> dict[str, float]:
  """Our measures of a peer's dictionary."""
  z, out = iter([peer["z"]] * 2), peer["out"]

  def whole(x: np.ndarray) -> dict[str, np.ndarray]:
    assert len(x) == len(out)
    return {"latents": next(z), "code": out}

  trained = Trained(
    data=lambda name, split: test,
    forward=whole,
    gradient=lambda x, y: None,
    value_range=None,
    num_classes=0,
    label_probs=np.zeros(0),
    seed=0,
    config={"data": {"source": f"autoencode:{SOURCE}"}},
    params={"bottleneck": {"W_dec": peer["W_dec"]}},
  )
  measured = {**dictionary_use()(trained), **feature_recovery()(trained)}
  return {name: round(measured[name], 4) for name in SHOWN}


if __name__ == "__main__":
  main()
