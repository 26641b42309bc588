"""One PyTorch library's TopK sparse autoencoder, trained on demand; run by sae.py, not by hand.

Reads commands as JSON lines on stdin: {"do": "run", "steps": n}. Each library takes its own whole
step, as its trainer does: sparsify with Adam, the decoder's unit norm and the projection of its
gradients; dictionary_learning's `TopKTrainer.update`; SAELens's training pass with its counters of
dead latents, clipping and Adam. No latent counts as dead, so that none computes an auxiliary loss.
"""

import json
import sys
import time

import numpy as np
import torch


def sparsify(d, m, k, rate):
  """sparsify's step."""
  from sparsify import SparseCoder, SparseCoderConfig

  sae = SparseCoder(d, SparseCoderConfig(num_latents=m, k=k))
  adam = torch.optim.Adam(sae.parameters(), lr=rate)

  def step(x):
    sae.set_decoder_norm_to_unit_norm()
    loss = sae(x).fvu
    loss.backward()
    sae.remove_gradient_parallel_to_decoder_directions()
    adam.step()
    adam.zero_grad()
    return loss

  return step


def dictionary_learning(d, m, k, rate):
  """dictionary_learning's step."""
  from dictionary_learning.trainers.top_k import TopKTrainer

  trainer = TopKTrainer(
    steps=10**6,
    activation_dim=d,
    dict_size=m,
    k=k,
    layer=0,
    lm_name="",
    lr=rate,
    device="cpu",
    warmup_steps=1,
  )
  return lambda x: trainer.update(1, x)


def saelens(d, m, k, rate):
  """SAELens's step, dense, as by default."""
  from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
  from sae_lens.saes.sae import TrainStepInput

  sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=d, d_sae=m, k=k, device="cpu"))
  adam = torch.optim.Adam(sae.parameters(), lr=rate)
  idle, frequency = torch.zeros(m), torch.zeros(m)

  def step(x):
    out = sae.training_forward_pass(
      TrainStepInput(
        sae_in=x,
        coefficients={},
        dead_neuron_mask=idle > 1000,
        n_training_steps=1,
        is_logging_step=False,
      )
    )
    with torch.no_grad():
      firing = out.feature_acts.bool().float()
      idle.add_(1)
      idle[firing.sum(-2).bool()] = 0
      frequency.add_(firing.sum(0))
    out.loss.backward()
    torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
    adam.step()
    adam.zero_grad()
    return out.loss

  return step


def main():
  """Serves one library until stdin ends."""
  problem, name = np.load(sys.argv[1]), sys.argv[2]
  x = torch.from_numpy(problem["x"])
  m, k, batch = (int(problem[key]) for key in ("latents", "k", "batch"))
  torch.manual_seed(0)
  # Libraries write to stdout as they are imported, which is ours to answer on.
  answers, sys.stdout = sys.stdout, sys.stderr
  step = globals()[name](x.shape[1], m, k, float(problem["rate"]))

  def answer(**values):
    print(json.dumps(values), file=answers, flush=True)

  answer(torch=torch.__version__, device="cpu", threads=torch.get_num_threads())
  at = 0
  for line in sys.stdin:
    steps = json.loads(line)["steps"]
    began, processor = time.perf_counter(), time.process_time()
    for _ in range(steps):
      first = at % (len(x) // batch) * batch
      loss = step(x[first : first + batch])
      at += 1
    seconds = {"seconds": time.perf_counter() - began, "processor": time.process_time() - processor}
    answer(**seconds, loss=float(torch.as_tensor(loss).detach()))


if __name__ == "__main__":
  main()
