"""A peer's side of the benchmark of estimators: a process that works on request.

It runs in an environment of its own and imports nothing of ibjax. Commands on standard input, one
JSON line each way:

  {"do": "ksg", "name": "npeet_plus"}             -> {"seconds": 1.9, "nats": 0.59}
  {"do": "info_nce", "name": "plain", "steps": 100}  -> {"seconds": 0.7}

Usage: python estimator_worker.py FILE.npz  (as written by estimators.py)
"""

import importlib.metadata
import json
import math
import sys
import time

import numpy as np

PACKAGES = ("torch", "torch-mist", "latentmi", "npeet-plus", "infomeasure", "scikit-learn", "numpy")


def npeet_plus(x, y, k):
  """KSG of npeet_plus, which counts in bits unless told otherwise."""
  from npeet_plus import mi

  return mi(x, y, k=k, base=math.e)


def latentmi(x, y, k):
  """KSG of latentmi, without its compression."""
  from latentmi import ksg

  return np.mean(ksg.mi(x, y, k=k, base=math.e))  # it gives a value per row


def infomeasure(x, y, k):
  """KSG of infomeasure, whose own noise is switched off."""
  import infomeasure as im

  return im.mutual_information(x, y, approach="ksg", k=k, noise_level=0, base="e")


KSG = {f.__name__: f for f in (npeet_plus, latentmi, infomeasure)}


class Torch:
  """InfoNCE with a joint critic of hidden layers 16 and 8, trained by Adam on batches of 256."""

  def __init__(self, x, y, batch):
    import torch

    self.torch, self.batch = torch, batch
    torch.manual_seed(0)
    self.x, self.y = (torch.as_tensor(a, dtype=torch.float32) for a in (x, y))
    nn = torch.nn
    d = x.shape[1] + y.shape[1]
    self.net = nn.Sequential(
      nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1)
    )
    self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=True)

  def plain(self, x, y):
    """Scores of all pairs of a batch, each pair a row."""
    n = len(x)
    pairs = self.torch.cat([x[:, None].expand(-1, n, -1), y[None].expand(n, -1, -1)], dim=-1)
    return self.net(pairs.reshape(n * n, -1)).reshape(n, n)

  def split(self, x, y):
    """The same, the first layer computed once a row and not once a pair."""
    n, first, dx = len(x), self.net[0], x.shape[1]
    a = x @ first.weight[:, :dx].T + first.bias
    b = y @ first.weight[:, dx:].T
    return self.net[1:]((a[:, None] + b[None]).reshape(n * n, -1)).reshape(n, n)

  def run(self, name, steps):
    """Makes so many updates; returns seconds."""
    scores, torch, n = getattr(self, name), self.torch, len(self.x)
    began, order, at = time.perf_counter(), None, n
    for _ in range(steps):
      if at + self.batch > n:
        order, at = torch.randperm(n), 0
      rows = order[at : at + self.batch]
      at += self.batch
      found = scores(self.x[rows], self.y[rows])
      loss = -(found.diagonal() - found.logsumexp(1)).mean()
      self.optimizer.zero_grad()
      loss.backward()
      self.optimizer.step()
    return time.perf_counter() - began


def mist(x, y, batch, steps):
  """The trainer of torch-mist with its InfoNCE and the same critic; returns seconds."""
  import torch
  from torch_mist.estimators import infonce
  from torch_mist.utils.train import train_mi_estimator

  torch.manual_seed(0)
  estimator = infonce(x_dim=x.shape[1], y_dim=y.shape[1], hidden_dims=[16, 8], critic_type="joint")
  data = {"x": torch.as_tensor(x).float(), "y": torch.as_tensor(y).float()}
  began = time.perf_counter()
  train_mi_estimator(
    estimator, data, valid_data=data, batch_size=batch, max_iterations=steps, verbose=False
  )
  return time.perf_counter() - began


def versions():
  """Package -> version, of those that are here."""
  found = {}
  for name in PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  if "torch" in found:
    import torch

    found["threads"] = torch.get_num_threads()
  return found


def main():
  """Answers until its input ends."""
  problem = np.load(sys.argv[1])
  x, y, k, batch = problem["x"], problem["y"], int(problem["k"]), int(problem["batch"])
  say = lambda **values: print(json.dumps(values), flush=True)  # noqa: E731
  say(versions=versions())
  torch_loop = None
  out, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
  for text in sys.stdin:
    command, answer = json.loads(text), {}
    try:
      if command["do"] == "ksg":
        began = time.perf_counter()
        nats = float(KSG[command["name"]](x, y, k))
        answer = {"nats": nats, "seconds": time.perf_counter() - began}
      elif command["name"] == "torch-mist":
        answer = {"seconds": mist(x, y, batch, command["steps"])}
      else:
        torch_loop = torch_loop or Torch(x, y, batch)
        answer = {"seconds": torch_loop.run(command["name"], command["steps"])}
    except Exception as error:
      answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
  main()
