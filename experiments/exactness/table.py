"""What is shown: how far each objective ends from the exact curve, and from its own optimum."""

import functools
import importlib.util
import pathlib

import numpy as np

from ibjax.data.sources.discrete import parse
from ibjax.exact import discrete_ib as exact


def _runs():
  path = pathlib.Path(__file__).with_name("runs.py")
  spec = importlib.util.spec_from_file_location("ibjax_exactness_runs", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


RUNS = _runs()
NAMES = {
  "vib": "VIB, mixture prior",
  "vib_standard": "VIB, standard prior",
  "ceb": "CEB",
  "nonlinear_ib": "nonlinear IB",
  "squared_vib": "squared VIB",
  "cross_entropy": "cross-entropy",
  "hsic": "HSIC regulariser",
  "matrix_renyi": "matrix Renyi IB",
  "cauchy_schwarz": "Cauchy-Schwarz IB",
}
TITLES = {
  "random": "Random table, 8 by 4",
  "chain": "Two steps of a Markov chain, 6 by 6",
  "xor": "Noisy exclusive or, 4 by 2",
}
COLUMNS = (
  dict(key="exact/i_xz_nats", header="I(X;Z)", unit="nats", digits=3),
  dict(key="exact/i_yz_nats", header="I(Y;Z)", unit="nats", digits=3),
  dict(key="exact/gap_nats", header="gap", unit="nats", digits=4, lower_is_better=True),
  dict(key="exact/excess_nats", header="excess", unit="nats", digits=4),
)


@functools.cache
def solved(task):
  """The exact curve of a task."""
  counts = parse(RUNS.TASKS[task].partition(":")[2])
  return exact.discrete_ib(counts / counts.sum(), np.geomspace(1.0, 1e4, 200))


def curve(task, rates):
  """Exact I(Y;Z) at each I(X;Z), nats."""
  return exact.curve(solved(task), np.maximum(np.asarray(rates, np.float64), 0.0))


def rows(task):
  """A row for each cell of a task."""
  for method, (_, betas) in RUNS.METHODS.items():
    if not betas:
      yield dict(label=NAMES[method], cell=f"{task}/{method}")
    for beta in betas:
      label = f"{NAMES[method]}, beta = {beta:.3g}"
      yield dict(label=label, cell=f"{task}/{method}/beta={beta:.3g}")


TABLES = tuple(
  dict(
    name=task,
    title=title,
    caption=(
      "True informations of the trained encoder, by the exact density of its code. Gap: the exact "
      "curve at this I(X;Z), less I(Y;Z). Excess: the Lagrangian less its exact minimum, at the "
      "objective's own price of a nat, where it states one. Sampling error of each: below 0.002."
    ),
    columns=COLUMNS,
    rows=tuple(rows(task)),
  )
  for task, title in TITLES.items()
)

FIGURES = tuple(
  dict(
    name=f"plane_{task}",
    title=title,
    x=dict(key="exact/i_xz_nats", label="I(X;Z), nats"),
    y=(dict(key="exact/i_yz_nats", label="I(Y;Z), nats"),),
    series=tuple(
      dict(
        label=name, cells=(f"{task}/{method}/*" if RUNS.METHODS[method][1] else f"{task}/{method}",)
      )
      for method, name in NAMES.items()
    ),
    exact=dict(label="exact", curve=functools.partial(curve, task)),
  )
  for task, title in TITLES.items()
)
