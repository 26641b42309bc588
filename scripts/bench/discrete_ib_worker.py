"""A peer's side of the benchmark of the discrete bottleneck: a process that works on request.

It runs in an environment of its own and imports nothing of ibjax. One command, one JSON line:

  python discrete_ib_worker.py FILE.npz embo 1e-3   -> {"seconds": 36.1, "cpu_seconds": ..., ...}
  python discrete_ib_worker.py FILE.npz dit-ba      -> the same, of dit's Blahut-Arimoto
  python discrete_ib_worker.py FILE.npz dit-sp      -> of dit's optimiser, at one beta

FILE.npz has joint [kx, ky], betas [b] (Tishby's, natural units), restarts and processes.
"""

import importlib.metadata
import json
import math
import resource
import sys
import time

import numpy as np


def embo(problem, rtol):
  """The curve of embo, whose betas are too large by 1 / log 2: its divergence is in bits."""
  from embo.core import InformationBottleneck

  betas = problem["betas"] * math.log(2.0)
  joint = problem["joint"]
  np.random.seed(0)
  rate, kept, _, used, *_ = InformationBottleneck.IB(
    joint.sum(1),
    joint.sum(0),
    (joint / joint.sum(1, keepdims=True)).T,
    minbeta=betas[0],
    maxbeta=betas[-1],
    numbeta=len(betas),
    iterations=100 if rtol >= 1e-3 else 10_000,
    restarts=int(problem["restarts"]),
    processes=int(problem["processes"]),
    ensure_monotonic_bound=False,
    rtol=rtol,
  )
  return np.array(used) / math.log(2.0), np.array(rate), np.array(kept)


def dit_ba(problem):
  """One restart a beta of dit's Blahut-Arimoto iteration."""
  from dit.rate_distortion.blahut_arimoto import blahut_arimoto_ib

  found = [blahut_arimoto_ib(p_xy=problem["joint"], beta=beta)[1] for beta in problem["betas"]]
  rate, kept = [], []
  for joint in found:  # [x, y, t]
    rate.append(bits(joint.sum(axis=1)))
    kept.append(bits(joint.sum(axis=0)))
  return problem["betas"], np.array(rate), np.array(kept)


def dit_sp(problem):
  """dit's optimiser at the middle beta alone."""
  from dit import Distribution
  from dit.rate_distortion.information_bottleneck import InformationBottleneck

  joint, beta = problem["joint"], float(problem["betas"][len(problem["betas"]) // 2])
  outcomes = [(x, y) for x in range(joint.shape[0]) for y in range(joint.shape[1])]
  dist = Distribution(outcomes, joint.reshape(-1).tolist())
  bottleneck = InformationBottleneck(dist=dist, beta=beta, rvs=[[0], [1]])
  bottleneck.optimize()
  found = bottleneck.construct_joint(bottleneck._optima)
  return np.array([beta]), *(
    np.array([value(found)]) for value in (bottleneck.complexity, bottleneck.relevance)
  )


def bits(joint):
  """Mutual information of a table, bits."""
  independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
  used = joint > 0
  return float(np.sum(joint[used] * np.log2(joint[used] / independent[used])))


def main():
  """Solves and prints."""
  problem = np.load(sys.argv[1])
  name = sys.argv[2]
  package = name.partition("-")[0]
  began = time.perf_counter()
  if name == "embo":
    found = embo(problem, float(sys.argv[3]))
  else:
    found = {"dit-ba": dit_ba, "dit-sp": dit_sp}[name](problem)
  seconds = time.perf_counter() - began
  used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
  answer = {
    "seconds": seconds,
    "cpu_seconds": sum(u.ru_utime + u.ru_stime for u in used),
    "betas": found[0].tolist(),
    "rate_nats": (found[1] * math.log(2.0)).tolist(),
    "relevance_nats": (found[2] * math.log(2.0)).tolist(),
    "version": f"{package} {importlib.metadata.version(package)}, numpy {np.__version__}",
  }
  print(json.dumps(answer))


if __name__ == "__main__":
  main()
