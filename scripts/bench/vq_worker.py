"""Another library's vector quantiser: a process that runs on request, one JSON line each way.

It runs in an environment of its own and imports nothing of ibjax. The first argument is an .npz
file with "x" [n, d] and "codes", the second says which library. Commands on standard input:

  {"do": "run", "name": "EMA, rotation", "steps": 3} -> {"seconds": 0.8}

A step is one forward pass in training, its losses, the update of the codebook, and the gradient of
the mean squared value and losses by the input.
"""

import importlib.metadata
import json
import os
import sys
import time

import numpy as np


def lucidrains(x, codes):
  """vector-quantize-pytorch, its default and its straight-through form."""
  import torch
  from vector_quantize_pytorch import VectorQuantize

  torch.set_num_threads(os.cpu_count())
  given = torch.from_numpy(x)[None]

  def contestant(**options):
    torch.manual_seed(0)
    module = VectorQuantize(dim=x.shape[1], codebook_size=codes, **options)
    module.train()

    def run(steps):
      for _ in range(steps):
        rows = given.clone().requires_grad_(True)
        value, _, loss = module(rows)
        (value.square().mean() + loss.sum()).backward()
      return float(rows.grad[0, 0, 0])

    return run

  return {"EMA, rotation": contestant(), "EMA": contestant(rotation_trick=False)}


def haiku(x, codes):
  """dm-haiku's VectorQuantizerEMA, compiled."""
  import haiku as hk
  import jax
  import jax.numpy as jnp

  def forward(rows):
    module = hk.nets.VectorQuantizerEMA(x.shape[1], codes, commitment_cost=0.25, decay=0.99)
    found = module(rows, is_training=True)
    return jnp.mean(jnp.square(found["quantize"])) + found["loss"]

  transformed = hk.transform_with_state(forward)
  rows = jnp.asarray(x)
  params, state = transformed.init(jax.random.key(0), rows)
  kept = {"state": state}

  @jax.jit
  def step(state, rows):
    def loss(rows):
      return transformed.apply(params, state, None, rows)

    return jax.grad(loss, has_aux=True)(rows)

  def run(steps):
    for _ in range(steps):
      gradient, kept["state"] = step(kept["state"], rows)
    return float(gradient[0, 0])

  return {"EMA": run}


LIBRARIES = {"lucidrains": (lucidrains, "vector-quantize-pytorch"), "haiku": (haiku, "dm-haiku")}


def main():
  """Answers commands until standard input ends."""
  build, package = LIBRARIES[sys.argv[2]]
  with np.load(sys.argv[1]) as file:
    runs = build(file["x"], int(file["codes"]))
  print(json.dumps({"names": list(runs), "version": importlib.metadata.version(package)}))
  sys.stdout.flush()
  for line in sys.stdin:
    command = json.loads(line)
    began = time.perf_counter()
    runs[command["name"]](command["steps"])
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
  main()
