"""The PyTorch side of the benchmarks: a process that trains on request, one JSON line each way.

It runs in an environment of its own and imports nothing of ibjax. Commands on standard input:

  {"do": "open", "name": "eager", "adam": "fused", "compile": false}    -> {"ok": true}
  {"do": "run", "name": "eager", "steps": 100}                   -> {"seconds": 1.9}
  {"do": "losses", "name": "eager", "steps": 5, "restart": true} -> {"losses": [...]}

Usage: python torch_worker.py FILE.npz  (as written by common.py)
"""

import itertools
import json
import os
import sys
import time

import numpy as np
import torch
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def mlp(sizes, activation, activate_out):
  """Linear layers with an activation between them, and after the last if asked."""
  layers = []
  for index, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
    layers.append(nn.Linear(n_in, n_out))
    if activate_out or index < len(sizes) - 2:
      layers.append(ACTIVATIONS[activation]())
  return nn.Sequential(*layers)


class Classifier(nn.Module):
  """Encoder and linear decoder, cross-entropy."""

  def __init__(self, problem):
    super().__init__()
    sizes, activation = problem["sizes"].tolist(), str(problem["activation"])
    self.encoder = mlp(sizes, activation, bool(problem["activate_out"]))
    self.decoder = nn.Linear(*problem["shape"].tolist())

  def forward(self, x, y):
    """Returns the loss."""
    return nn.functional.cross_entropy(self.decoder(self.encoder(x)), y)


class Vib(Classifier):
  """Encoder to means and scales, one sample of the code, linear decoder."""

  def __init__(self, problem):
    super().__init__(problem)
    self.shift, self.beta = float(problem["shift"]), float(problem["beta"])

  def forward(self, x, y):
    """Returns the loss: cross-entropy plus beta times KL(N(mean, scale^2) || N(0, 1))."""
    mean, raw = self.encoder(x).chunk(2, dim=1)
    scale = nn.functional.softplus(raw + self.shift)
    code = torch.addcmul(mean, scale, torch.randn_like(mean))
    distortion = nn.functional.cross_entropy(self.decoder(code), y)
    rate = mean.square() + scale.square() - 2.0 * scale.log() - 1.0
    return distortion + (0.5 * self.beta / x.shape[0]) * rate.sum()


class Contestant:
  """One way of running the step: which Adam, and whether torch.compile takes the model."""

  def __init__(self, problem, adam, compiled):
    torch.manual_seed(0)
    self.problem, self.position = problem, 0
    device = str(problem["device"])
    self.model = (Vib if problem["sampled"] else Classifier)(problem).to(device)
    self.start()
    # "fused": one pass over memory a tensor; "foreach": a list of tensors an operation.
    how = {adam: True} if adam in ("fused", "foreach") else {"foreach": False, "fused": False}
    self.adam = torch.optim.Adam(
      self.model.parameters(), lr=float(problem["learning_rate"]), eps=1e-8, **how
    )
    self.loss = torch.compile(self.model) if compiled else self.model
    self.x, self.y, self.rows = (
      torch.from_numpy(problem[name]).to(device) for name in ("x", "y", "rows")
    )
    self.y, self.rows = self.y.long(), self.rows.long()
    self.low, self.high = problem["value_range"].tolist()

  def start(self):
    """Puts the initial parameters in: those of the JAX side."""
    linear = [m for m in self.model.encoder if isinstance(m, nn.Linear)] + [self.model.decoder]
    with torch.no_grad():
      for index, layer in enumerate(linear):
        layer.weight.copy_(torch.from_numpy(self.problem[f"kernel_{index}"].T))
        layer.bias.copy_(torch.from_numpy(self.problem[f"bias_{index}"]))

  def step(self):
    """Makes one update and returns the loss, not read back."""
    rows = self.rows[self.position % len(self.rows)]
    self.position += 1
    x = self.x.index_select(0, rows)
    if not x.is_floating_point():
      x = x.float().mul_((self.high - self.low) / 255.0).add_(self.low)
    y = self.y.index_select(0, rows)
    loss = self.loss(x, y)
    self.adam.zero_grad(set_to_none=True)
    loss.backward()
    self.adam.step()
    return loss


def main():
  """Answers commands until standard input ends."""
  with np.load(sys.argv[1]) as file:
    problem = {name: file[name] for name in file.files}
  if str(problem["device"]) == "cuda" and not torch.cuda.is_available():
    problem["device"] = np.array("cpu")
  torch.set_num_threads(os.cpu_count())
  torch.set_flush_denormal(True)  # as XLA does
  contestants = {}
  reply(
    {
      "torch": torch.__version__.split("+")[0],
      "threads": torch.get_num_threads(),
      "device": str(problem["device"]),
      "numpy": np.__version__,
    }
  )
  for line in sys.stdin:
    command = json.loads(line)
    name = command["name"]
    try:
      if command["do"] == "open":
        contestants[name] = Contestant(problem, command["adam"], command["compile"])
        contestants[name].step()  # compiles here, and only here, where it can fail
        contestants[name] = Contestant(problem, command["adam"], command["compile"])
        reply({"ok": True})
      elif command["do"] == "close":
        del contestants[name]
        reply({"ok": True})
      elif command["do"] == "losses":
        reply({"losses": [contestants[name].step().item() for _ in range(command["steps"])]})
      else:
        began = time.perf_counter()
        for _ in range(command["steps"]):
          loss = contestants[name].step()
        loss.item()
        reply({"seconds": time.perf_counter() - began})
    except Exception as error:  # torch.compile fails in many ways; the other side decides
      reply({"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]})


def reply(message):
  """Writes one line."""
  print(json.dumps(message), flush=True)


if __name__ == "__main__":
  main()
