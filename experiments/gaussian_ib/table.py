"""What is shown: how far the learned curve is from the exact one."""

import functools

import numpy as np

from ibjax.data.sources.gaussian import parse
from ibjax.exact import gaussian_ib as exact

BETAS = (0.95, 0.8, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02)


@functools.cache
def problem(argument=""):
  """The data's exact solution."""
  return exact.gaussian_ib(*parse(argument).covariances())


def curve(rates):
  """Exact I(Z;Y) at each rate, nats."""
  return exact.curve(problem(), np.maximum(np.asarray(rates, np.float64), 0.0))


def derive(row, config):
  """The exact optimum of a run's beta, and the gaps of what was learned to the exact curve."""
  solved = problem(config["data"]["source"].partition(":")[2])
  rate, label = exact.informations(solved, 1.0 / config["objective"]["beta"])
  learned = row["test/rate_nats"]
  on_curve = float(exact.curve(solved, np.array(max(learned, 0.0))))
  # What VIB minimises, at the optimum and as learned, both without the constant H(Y).
  beta = config["objective"]["beta"]
  best, found = beta * rate - label, beta * learned - row["test/i_yz_lower_nats"]
  return {
    "exact_rate_nats": rate,
    "exact_i_yz_nats": label,
    "gap_nats": on_curve - row["test/i_yz_lower_nats"],
    "excess_nats": found - best,
  }


TABLES = (
  dict(
    name="gap",
    title="VIB against the exact Gaussian information bottleneck",
    caption=(
      "Gap: exact I(Z;Y) at the learned rate, less the learned lower bound. Excess: the loss less "
      "its exact minimum at this beta. All on 200,000 test rows, whose own sampling error (0.003 "
      "nats in I(Z;Y), shared by all seeds) is not in the interval. Beta is the price of a nat of "
      "rate; directions come in at 0.9025, 0.64, 0.36 and 0.09."
    ),
    columns=(
      dict(key="test/rate_nats", header="I(Z;X) at most", unit="nats", digits=3),
      dict(key="exact_rate_nats", header="exact I(Z;X)", unit="nats", digits=3),
      dict(key="test/i_yz_lower_nats", header="I(Z;Y) at least", unit="nats", digits=3),
      dict(key="exact_i_yz_nats", header="exact I(Z;Y)", unit="nats", digits=3),
      dict(key="gap_nats", header="gap", unit="nats", digits=4),
      dict(key="excess_nats", header="excess loss", unit="nats", digits=4),
    ),
    rows=tuple(dict(label=f"beta = {beta:g}", cell=f"beta={beta:g}") for beta in BETAS),
  ),
)

FIGURES = (
  dict(
    name="curve",
    title="Learned and exact information curve",
    x=dict(key="test/rate_nats", label="I(Z;X), nats"),
    y=(dict(key="test/i_yz_lower_nats", label="I(Z;Y), nats"),),
    series=(dict(label="VIB, linear encoder", cells=("beta=*",)),),
    exact=dict(label="exact", curve=curve),
  ),
  dict(
    name="gap",
    title="Gap to the exact curve",
    x=dict(key="test/rate_nats", label="I(Z;X), nats"),
    y=(dict(key="gap_nats", label="gap, nats"),),
    series=(dict(label="VIB, linear encoder", cells=("beta=*",)),),
  ),
)
