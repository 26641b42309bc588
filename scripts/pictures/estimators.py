"""Draws the pictures of docs/estimators.md: one for each way in which an estimate can mislead.

Every curve is computed here, by the estimators of the package or by a bound at its best critic:

    python scripts/pictures/estimators.py [NAME ...]

writes docs/images/estimators_NAME.png; without names it draws them all (about 2 minutes).
"""

from __future__ import annotations

import math
import pathlib
import sys

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from scipy import stats

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from ibjax.data.synthetic import find
from ibjax.estimators.base import bounds, catalogue
from ibjax.report.style import INK, SOFT, TEST, TRAIN, style

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs/images"
THIRD = "#117733"


def axes(title, x, y):
  """A figure with one plot: the finding as its title, axes with units."""
  figure, ax = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
  style(ax)
  ax.tick_params(labelsize=8.5)
  figure.suptitle(title, fontsize=10.5, color=INK, x=0.02, ha="left", fontweight="bold")
  ax.set_xlabel(x, fontsize=9, color=SOFT)
  ax.set_ylabel(y, fontsize=9, color=SOFT)
  return figure, ax


def label(ax, x, y, text, colour, **keywords):
  """Words beside a curve, instead of a legend."""
  ax.annotate(
    text,
    (x, y),
    xytext=keywords.pop("offset", (6, 0)),
    textcoords="offset points",
    color=colour,
    fontsize=8.5,
    va=keywords.pop("va", "center"),
    **keywords,
  )


def truth_line(ax, x, y, text="exact", **keywords):
  """The exact value, dashed."""
  ax.plot(x, y, "--", color=INK, lw=1.1)
  label(ax, x[-1], y[-1], text, INK, **keywords)


def estimator(text):
  """An estimator by its name on the command line."""
  return catalogue.find(text)[1]


def nats(made, x, y=None, seed=0):
  """The number alone."""
  return float(made.value(x, y, None, jax.random.key(seed)).nats)


def gaussian_pair(total, d, n, seed=0):
  """x and y of d independent pairs that share `total` nats."""
  rho = math.sqrt(1.0 - math.exp(-2.0 * total / d))
  return find(f"gaussian:d={d},rho={rho:.9f}").draw(n, seed)


def log_ratio(total, d, x, y):
  """log p(x, y) / p(x) p(y) of all pairs [n, n], exact for `gaussian_pair`."""
  rho = math.sqrt(1.0 - math.exp(-2.0 * total / d))
  cross = x @ y.T
  squares = np.sum(x**2, 1)[:, None] + np.sum(y**2, 1)[None]
  return total + (rho * cross - 0.5 * rho**2 * squares) / (1.0 - rho**2)


def negative():
  figure, ax = axes(
    "Of independent samples, half the estimates are below zero",
    "KSG estimate of I = 0 (nats), 200 draws of n = 200",
    "draws",
  )
  ksg = estimator("ksg")
  values = [nats(ksg, *find("gaussian:d=1,rho=0").draw(200, seed)) for seed in range(200)]
  counts, edges, bars = ax.hist(values, bins=21, color=TRAIN, alpha=0.35)
  for bar, left, right in zip(bars, edges[:-1], edges[1:]):
    if left + right < 0:
      bar.set(color=TEST, alpha=0.75)
  ax.axvline(0.0, color=INK, lw=1.1, ls="--")
  below = np.mean(np.array(values) < 0)
  top = counts.max()
  ax.text(
    edges[0], top * 0.95, f"{below:.0%} below zero:\nnoise, not an error", color=TEST, fontsize=9
  )
  spread = np.std(values)
  label(ax, 0.0, top * 1.02, "exact", INK)
  ax.set_ylim(0, top * 1.1)
  ax.text(
    edges[-1],
    top * 0.95,
    f"standard deviation\n{spread:.3f} nats",
    color=TRAIN,
    fontsize=9,
    ha="right",
  )
  return figure


def above_entropy():
  figure, ax = axes(
    "A label treated as a number: more than its entropy",
    "distance of the two class means (standard deviations)",
    "nats",
  )
  distances = np.linspace(0.5, 10.0, 12)
  gaussian, ross = estimator("gaussian"), estimator("ross")
  found = {"gaussian": [], "ross": []}
  for distance in distances:
    rng = np.random.default_rng(0)
    y = np.arange(2000) % 2
    x = rng.normal(size=(2000, 1)) + distance * y[:, None]
    found["gaussian"].append(nats(gaussian, x, y[:, None].astype(float)))
    found["ross"].append(nats(ross, x, y))
  grid = np.linspace(-8.0, 18.0, 4001)
  exact = []
  for distance in distances:
    p = 0.5 * stats.norm.pdf(grid) + 0.5 * stats.norm.pdf(grid - distance)
    entropy = -np.sum(p * np.log(np.maximum(p, 1e-300))) * (grid[1] - grid[0])
    exact.append(entropy - 0.5 * math.log(2 * math.pi * math.e))
  limit = math.log(2)
  ax.axhspan(limit, 2.0, color=TEST, alpha=0.08, lw=0)
  ax.axhline(limit, color=SOFT, lw=0.8)
  ax.text(
    13.3, limit + 0.03, "H(Y) = ln 2: no information is above", color=SOFT, fontsize=8.5, ha="right"
  )
  ax.plot(distances, found["gaussian"], color=TEST, lw=1.8)
  ax.plot(distances, found["ross"], color=TRAIN, lw=1.8)
  ax.plot(distances, exact, "--", color=INK, lw=1.1)
  label(ax, distances[-1], found["gaussian"][-1], "Gaussian\n(label as number)", TEST)
  label(ax, distances[-1], limit, "Ross, and exact", TRAIN, offset=(6, -9))
  ax.set(ylim=(0, 1.75), xlim=(0.3, 13.4))
  ax.set_xticks([2, 4, 6, 8, 10])
  return figure


def log_k():
  figure, ax = axes(
    "InfoNCE never says more than ln K, K rows of a batch",
    "exact information (nats)",
    "InfoNCE at its best critic (nats)",
  )
  totals = np.linspace(0.5, 10.0, 14)
  truth_line(ax, totals, totals, offset=(4, -2))
  for k, colour in ((16, TEST), (128, THIRD), (1024, TRAIN)):
    values = []
    for total in totals:
      batches = []
      for seed in range(max(1, 2048 // k)):
        x, y = gaussian_pair(total, 4, k, seed)
        batches.append(float(bounds.info_nce(jnp.asarray(log_ratio(total, 4, x, y)))))
      values.append(np.mean(batches))
    ax.plot(totals, values, color=colour, lw=1.8)
    ax.axhline(math.log(k), color=colour, lw=0.8, ls=":")
    label(ax, totals[-1], math.log(k), f"ln {k} = {math.log(k):.2f}", colour, offset=(4, 5))
  ax.set(xlim=(0, 12.2), ylim=(0, 10.3))
  ax.set_xticks(range(0, 11, 2))
  return figure


def scale():
  figure, ax = axes(
    "In other units, the same samples give another number",
    "factor by which one of the two columns of x is multiplied",
    "nats",
  )
  factors = 10.0 ** np.linspace(-2, 2, 17)
  x, y = find("gaussian:d=2,rho=0.7").draw(1000, 0)
  for text, shown, colour in (
    ("ksg:transform=none", "KSG, columns as they are", TEST),
    ("ksg", "KSG, standardised", TRAIN),
  ):
    made = estimator(text)
    values = [nats(made, x * np.array([factor, 1.0]), y) for factor in factors]
    ax.plot(factors, values, color=colour, lw=1.8)
    label(ax, factors[-1], values[-1], shown, colour)
  exact = find("gaussian:d=2,rho=0.7").nats
  ax.axhline(exact, color=INK, lw=1.1, ls="--")
  label(ax, factors[-1], exact, "exact", INK, offset=(6, -7))
  ax.set_xscale("log")
  ax.set(xlim=(0.01, 30000), ylim=(0, 0.8))
  ax.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
  ax.minorticks_off()
  return figure


def dimension():
  figure, ax = axes(
    "In more columns, nearest neighbours find less\nof the same information",
    "columns of x, and of y",
    "nats",
  )
  dims = (1, 2, 3, 5, 8, 12, 18, 25)
  ksg = estimator("ksg")
  for n, colour in ((1000, TEST), (10000, TRAIN)):
    values = []
    for d in dims:
      values.append(nats(ksg, *gaussian_pair(1.0, d, n)))
    ax.plot(dims, values, "o-", color=colour, lw=1.8, ms=3.5)
    label(ax, dims[-1], values[-1], f"KSG, n = {n:,}", colour, offset=(7, 3 if n > 1000 else -3))
  truth_line(ax, dims, [1.0] * len(dims), offset=(7, 0))
  ax.set(xlim=(0, 33), ylim=(-0.05, 1.15))
  ax.set_xticks([1, 5, 10, 15, 20, 25])
  return figure


def bins():
  figure, ax = axes(
    "The binned I(X;T) of a deterministic layer\ntracks the number of bins, up to ln n",
    "bins of each unit",
    "I(X;T) (nats)",
  )
  n, rng = 1000, np.random.default_rng(0)
  x = rng.normal(size=(n, 10))
  edges = (2, 3, 4, 6, 9, 13, 19, 28, 41)
  for units, colour in ((1, TEST), (2, THIRD), (5, TRAIN)):
    layer = np.tanh(x @ rng.normal(size=(10, units)) / math.sqrt(10))
    values = [nats(estimator(f"fixed_bins:edges={count + 1}"), layer) for count in edges]
    ax.plot(edges, values, "o-", color=colour, lw=1.8, ms=3.5)
    label(
      ax, edges[-1], values[-1], f"{units} unit{'s' if units > 1 else ''}", colour, offset=(7, -6)
    )
  ax.axhline(math.log(n), color=SOFT, lw=0.8)
  ax.text(
    2,
    math.log(n) + 0.1,
    f"ln n = {math.log(n):.2f}: every row in a bin of its own",
    color=SOFT,
    fontsize=8.5,
  )
  ax.set_xscale("log")
  ax.set(xlim=(1.9, 62), ylim=(0, 7.8))
  ax.set_xticks([2, 5, 10, 20, 40], ["2", "5", "10", "20", "40"])
  ax.minorticks_off()
  return figure


def bootstrap():
  draws, n, resamples = 40, 500, 60
  task, ksg = find("gaussian:d=1,rho=0.6"), estimator("ksg")
  lows, highs = {"own": [], "bootstrap": []}, {"own": [], "bootstrap": []}
  for seed in range(draws):
    x, y = task.draw(n, seed)
    found = ksg(x, y)
    lows["own"].append(found.lower)
    highs["own"].append(found.upper)
    rng = np.random.default_rng(seed)
    again = []
    for _ in range(resamples):
      rows = rng.integers(0, n, n)
      again.append(nats(ksg, x[rows], y[rows]))
    low, high = np.quantile(again, [0.025, 0.975])
    lows["bootstrap"].append(low)
    highs["bootstrap"].append(high)
  figure, ax = axes(
    "A bootstrap of KSG misses the truth:\nrows drawn twice are their own neighbours",
    f"{draws} draws of n = {n}, each with its 95% interval",
    "nats",
  )
  for start, (kind, shown, colour) in enumerate(
    (("own", "the interval given here", TRAIN), ("bootstrap", "bootstrap", TEST))
  ):
    at = np.arange(draws) + start * (draws + 8)
    low, high = np.array(lows[kind]), np.array(highs[kind])
    hits = int(np.sum((low <= task.nats) & (task.nats <= high)))
    ax.vlines(at, low, high, color=colour, lw=2.0)
    text = f"{shown}:\ncovers in {hits} of {draws}"
    above = start == 0
    ax.text(
      at.mean(),
      max(high) + 0.06 if above else min(low) - 0.06,
      text,
      color=colour,
      fontsize=9,
      ha="center",
      va="bottom" if above else "top",
    )
  ax.plot([-2, 2 * draws + 9], [task.nats] * 2, "--", color=INK, lw=1.1)
  label(ax, 2 * draws + 9, task.nats, "exact", INK)
  ax.set_xticks([])
  ax.set(xlim=(-2, 2 * draws + 20), ylim=(0, None))
  return figure


def club():
  figure, ax = axes(
    "CLUB is an upper bound, and far above the truth,\neven with the exact conditional",
    "exact information (nats), 5 + 5 columns",
    "nats",
  )
  totals = np.linspace(0.25, 6.0, 12)
  upper, leave = [], []
  for total in totals:
    x, y = gaussian_pair(total, 5, 2000)
    scores = jnp.asarray(log_ratio(total, 5, x, y))
    upper.append(float(bounds.club(scores)))
    leave.append(float(bounds.l1_out(scores)))
  truth_line(ax, totals, totals)
  ax.plot(totals, upper, color=TEST, lw=1.8)
  ax.plot(totals, leave, color=TRAIN, lw=1.8)
  label(ax, totals[-1], upper[-1], "CLUB", TEST)
  label(ax, totals[-1], leave[-1], "leave-one-out", TRAIN, offset=(6, 8))
  ax.set(xlim=(0, 7.4))
  ax.set_xticks(range(7))
  return figure


def variance():
  figure, ax = axes(
    "Without a ceiling the variance explodes: NWJ and DV\n"
    "at their best critic; each dot is a batch of 64",
    "exact information (nats), 20 + 20 columns",
    "nats",
  )
  totals, lowest, least = (1, 2, 4, 6, 8, 10), -13.0, 0.0
  ax.plot(totals, totals, "--", color=INK, lw=1.1)
  rng = np.random.default_rng(0)
  for place, (bound, shown, colour) in enumerate(
    (
      (lambda scores: bounds.nwj(scores + 1.0), "NWJ", TEST),
      (bounds.dv, "DV (MINE)", THIRD),
      (bounds.info_nce, "InfoNCE", TRAIN),
    )
  ):
    run = jax.jit(bound)
    for total in totals:
      values = np.array(
        [
          float(run(jnp.asarray(log_ratio(total, 20, *gaussian_pair(total, 20, 64, seed)))))
          for seed in range(120)
        ]
      )
      at = total + (place - 1) * 0.42 + rng.uniform(-0.13, 0.13, len(values))
      ax.plot(at, np.maximum(values, lowest), ".", ms=3, color=colour, alpha=0.45, mew=0)
      far, least = values < lowest, min(least, values.min())
      ax.plot(at[far], np.full(far.sum(), lowest), "v", ms=5, color=colour, mew=0)
    label(ax, 10.7, (6.5, 12.5, 4.1)[place], shown, colour)
  label(ax, 10.7, 9.6, "exact", INK)
  ax.text(4.6, lowest - 0.2, f"lower still, to {least:.0f}", color=TEST, fontsize=8.5, ha="right")
  ax.set(xlim=(0.2, 13.2), ylim=(lowest - 0.8, 15))
  ax.set_xticks(totals)
  return figure


def saturation():
  figure, ax = axes(
    "Pairwise bounds stop at ln n: from there on\nthey count samples, not information",
    "standard deviation of the noise added to the layer",
    "I(X;T) of one Gaussian unit (nats)",
  )
  deviations = 10.0 ** np.linspace(-3, 0.5, 22)
  exact = 0.5 * np.log1p(1.0 / deviations**2)
  ax.plot(deviations, exact, "--", color=INK, lw=1.1)
  label(ax, deviations[1], exact[1], "exact", INK, offset=(7, 4), ha="left")
  for n, colour in ((100, TEST), (1000, TRAIN)):
    x = np.random.default_rng(0).normal(size=(n, 1))
    values = {
      bound: [nats(estimator(f"pairwise:variance={s**2:.9g},bound={bound}"), x) for s in deviations]
      for bound in ("upper", "lower")
    }
    ax.fill_between(deviations, values["lower"], values["upper"], color=colour, alpha=0.25, lw=0)
    ax.plot(deviations, values["upper"], color=colour, lw=1.4)
    ax.plot(deviations, values["lower"], color=colour, lw=1.4)
    ax.axhline(math.log(n), color=colour, lw=0.8, ls=":")
    ax.text(
      deviations[-1],
      math.log(n) + 0.1,
      f"ln {n} = {math.log(n):.2f}",
      color=colour,
      fontsize=8.5,
      ha="right",
    )
  ax.set_xscale("log")
  ax.set_xticks([0.001, 0.01, 0.1, 1], ["0.001", "0.01", "0.1", "1"])
  ax.minorticks_off()
  ax.set(ylim=(0, 7.8))
  return figure


PICTURES = {
  build.__name__: build
  for build in (
    negative,
    above_entropy,
    log_k,
    scale,
    dimension,
    bins,
    bootstrap,
    club,
    variance,
    saturation,
  )
}


def main(names):
  """Draws the named pictures, or all."""
  FOLDER.mkdir(exist_ok=True)
  for name in names or PICTURES:
    path = FOLDER / f"estimators_{name}.png"
    figure = PICTURES[name]()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
  main(sys.argv[1:])
