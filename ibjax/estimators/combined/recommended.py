"""The recommended default: a copula, what a learned critic finds beyond it, or neighbours."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from ibjax.core import checks, rng
from ibjax.core.estimate import Note, Truth, Value
from ibjax.core.types import Case
from ibjax.estimators.base import elliptical
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.fit import fit
from ibjax.estimators.base.networks import apply_mlp, init_mlp
from ibjax.estimators.neighbours.ksg import ksg
from ibjax.estimators.parametric.student_copula import check_rows, columns

Array = jax.Array
Tree = Any
FOLDS = 4
VALIDATION = 8  # one in so many rows of a training part decides when to stop
NEIGHBOURS = 4  # columns up to which neighbours are asked: their bias grows with the dimension
NEIGHBOURS_K = 5
SIGNIFICANT = 2.0  # standard errors
RADII = (1.0, 2.0)  # frequencies at which a row's squared length is shown to the critic


def recommended(
  steps: int = 400,
  batch_size: int = 512,
  width: int = 64,
  rank: int = 16,
  learning_rate: float = 2e-3,
  block_size: int = 2048,
) -> Estimator:
  """Makes the estimator to use when nothing is known of the data.

  Formula: every column is replaced by its normal scores, which leaves I(X;Y) as it is. T0 is the
  log density ratio of the fitted Gaussian or Student-t copula, and T = T0 + f(x) . h(y) + b(y) with
  learned f, h and b. Both are scored on rows that neither was fitted to (4 folds, so that every row
  is held out once) by InfoNCE in its symmetric form, a lower bound of I:
  B(T) = mean_i [T_ii - (1/2) ln mean_j exp(T_ij) - (1/2) ln mean_j exp(T_ji)]. Then

  1. copula: its own information, less the excess of the plug-in; or B(T0), where that is lower by
     more than two standard errors and what fitting costs, so that the copula is contradicted;
  2. correction: B(T) - B(T0) is added where it is above two standard errors of the paired rows;
  3. neighbours, for at most 4 columns in all: KSG of the normal scores (k = 5) is taken instead
     where it is larger and its local values exceed those of the bound by more than two standard
     errors of the paired rows: the bound and KSG both err low.

  Assumptions: independent rows; real columns without many ties. Use it as a first estimate, and
  look in the diagnostics for what carried it. Bias: near zero where a Gaussian or a Student-t
  copula holds, and in one and two dimensions; low where the dependence must be learned, the more so
  the fewer samples and the more columns there are: at 25 + 25 columns and 10,000 samples a critic
  finds nothing beyond the copula. What is learned is below ln(block_size). The rules look at the
  samples alone; the constants were set on the 40 tasks of Beyond Normal, most of which are
  Gaussian or Student-t behind monotone maps and so favour it: expect larger errors elsewhere.

  Args:
    steps: the most updates of the critic in each fold.
    batch_size: rows of a batch.
    width: of the two hidden layers of f and h.
    rank: width of f(x) and h(y).
    learning_rate: Adam's.
    block_size: rows that meet each other at a time in the held-out bound; bounds the memory.

  Returns:
    An `Estimator`. Diagnostics: "used" ("copula", "copula held out", "... + correction",
    "neighbours"), "copula_nats", "degrees_of_freedom", "held_out_copula_nats",
    "held_out_nats" (with the correction), "gain_nats" and "gain_stderr", and with few columns
    "neighbours_nats".

  Raises:
    InputError: sizes below 1; when called with n not above dx + dy + 1 in a fold.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.combined.recommended import recommended
    >>> x, noise = np.random.default_rng(0).standard_normal((2, 800, 2))
    >>> found = recommended(steps=20, width=8, rank=2, batch_size=128)(x, np.exp(x + noise))
    >>> str(found.diagnostics["used"]), bool(abs(found.nats - np.log(2)) < 0.1)  # ln(2)/2 a column
    ('copula', True)

  Source: the combination is this project's. Its parts: InfoNCE, van den Oord et al. 2018
  (arXiv:1807.03748), eq. 4; the copulas, see `student_copula`; KSG, see `ksg`.
  """
  for name, count in (("steps", steps), ("batch_size", batch_size), ("width", width)):
    checks.at_least(name, count, 1)
  checks.at_least("rank", rank, 1)
  checks.at_least("block_size", block_size, 2)
  checks.at_least("learning_rate", learning_rate, 0.0, strict=True)
  neighbours = ksg(k=NEIGHBOURS_K, transform="ranks")

  def value(x, y, z, key):
    x, y = columns(x), columns(y)
    n, dx, dy = len(x), x.shape[1], y.shape[1]
    nats: Any = 0.0
    if not dx or not dy:
      return Value(nats, extra={"used": "constant columns"})
    check_rows(n - -(-n // FOLDS), dx, dy)
    u = elliptical.levels(np.hstack([x, y]))
    copula = elliptical.fit(u, dx)
    nats = copula.nats - elliptical.excess(dx, dy, n)
    parts, order = _parts(n, block_size, key)
    data = _stack([_rows(elliptical.fit(u[rest], dx, copula.tail), u) for rest, _ in parts])
    with_g, without = _cross_fit(
      data,
      jnp.stack([rest for rest, _ in parts]),
      jnp.stack([test for _, test in parts]),
      rng.stream(key, "critic"),
      jnp.asarray(learning_rate, jnp.float32),
      jnp.float32(copula.tail),
      dx=dx,
      steps=steps,
      batch_size=batch_size,
      width=width,
      rank=rank,
      block=block_size,
    )
    local, anchor = (np.asarray(a, np.float64).ravel() for a in (with_g, without))
    held, noise = _mean(anchor)
    gain, gain_noise = _mean(local - anchor)
    loss = (
      0.5 * dx * dy / max(1, len(parts[0][0]) - dx - dy - 1)
    )  # of fitting to a part of the rows
    used = "copula"
    if nats - held > loss + SIGNIFICANT * noise:
      nats, used = held, "copula held out"
    corrected = gain > SIGNIFICANT * gain_noise
    if corrected:
      nats, used = nats + gain, f"{used} + correction"
    extra: dict[str, Any] = {
      "copula_nats": copula.nats - elliptical.excess(dx, dy, n),
      "degrees_of_freedom": 1.0 / copula.tail if copula.tail else np.inf,
      "held_out_copula_nats": held,
      "held_out_nats": held + gain,
      "gain_nats": gain,
      "gain_stderr": gain_noise,
    }
    notes: tuple[Note, ...] = ()
    found = local if corrected else anchor
    if dx + dy <= NEIGHBOURS:
      scores = special.ndtri(u)
      near = neighbours.value(scores[:, :dx], scores[:, dx:], None, key)
      extra["neighbours_nats"] = float(near.nats)
      more, more_noise = _mean(np.asarray(near.local, np.float64)[order] - found)
      if float(near.nats) > nats and more > SIGNIFICANT * more_noise:
        nats, used, found = float(near.nats), "neighbours", np.asarray(near.local)
    size = _sizes(len(parts[0][1]), block_size)[0]
    if used.endswith("correction") and nats > 0.85 * math.log(size):
      notes = (
        Note(
          "near_ceiling",
          f"{nats:.3f} nats are close to ln {size} = {math.log(size):.3f}, above which nothing can "
          "be learned with so many held-out rows; the information may be larger.",
        ),
      )
    extra["used"] = used
    stderr: Any = _mean(found)[1]
    return Value(nats, None, stderr, extra, notes)

  return Estimator(
    name="recommended",
    value=value,
    interval="none",
    no_interval=(
      "the spread of the rows is the sampling error of the chosen candidate, not its distance from "
      "the truth; stderr has it"
    ),
    invariances=("translation", "scale", "monotone"),
    needs_key=True,
    min_n=40,
  )


def _mean(values: np.ndarray) -> tuple[float, float]:
  """The mean and its standard error."""
  return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(len(values)))


def _parts(
  n: int, block: int, key: Array
) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
  """(rows to fit to, rows held out) of each fold, all of one size, and the held-out rows in order.

  A fold is a whole number of equal blocks, so a few rows may be held out of no fold.
  """
  order = np.asarray(jax.random.permutation(rng.stream(key, "folds"), n))
  size, blocks = _sizes(n // FOLDS, block)
  size *= blocks
  cut = [order[i * size : (i + 1) * size] for i in range(FOLDS)]
  rests = [np.concatenate([cut[j] for j in range(FOLDS) if j != i]) for i in range(FOLDS)]
  return list(zip(rests, cut)), np.concatenate(cut)


def _rows(copula: elliptical.Elliptical, u: np.ndarray) -> Tree:
  """What a batch of rows needs: both sides of T0, and what the critic sees of x and of y."""
  left, right = elliptical.sides(copula, u)
  scores = special.ndtri(u)
  dx = copula.dx
  rows = {
    "left": left,
    "right": right,
    "x": _shown(scores[:, :dx]),
    "y": _shown(scores[:, dx:]),
  }
  return jax.tree.map(lambda a: np.asarray(a, np.float32), rows)


def _shown(scores: np.ndarray) -> np.ndarray:
  """Scores with what a perceptron is slow to learn: their squared length and its waves."""
  d = scores.shape[1]
  square = np.sum(scores**2, axis=1, keepdims=True)
  waves = [f(k * square / d) for k in RADII for f in (np.sin, np.cos)]
  return np.hstack([scores, (square - d) / math.sqrt(2.0 * d), *waves])


def _stack(trees: list[Tree]) -> Tree:
  return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _anchor(left: Any, right: Any, dx: int, tail: Array) -> Array:
  """T0 of all pairs, without its constant, which InfoNCE does not see."""
  joint = left.joint[:, None] + right.joint[None] + 2.0 * left.vector @ right.vector.T
  dy = right.vector.shape[1]
  return (
    _exponent(left.own, dx, tail)[:, None]
    + _exponent(right.own, dy, tail)[None]
    - _exponent(joint, dx + dy, tail)
  )


def _exponent(form: Array, d: int, tail: Array) -> Array:
  heavy = tail > 0.0
  own = jnp.where(heavy, tail, 1.0)
  student = 0.5 * (1.0 / own + d) * jnp.log1p(own * jnp.maximum(form, 0.0))
  return jnp.where(heavy, student, 0.5 * form)


def _local(scores: Array) -> Array:
  """Symmetric InfoNCE, a value per row."""
  away = jax.nn.logsumexp(scores, 0) + jax.nn.logsumexp(scores, 1)
  return jnp.diagonal(scores) - 0.5 * away + math.log(len(scores))


def _sizes(rows: int, block: int) -> tuple[int, int]:
  """(rows of a block, number of blocks): the fewest equal blocks of at most `block` rows."""
  blocks = -(-rows // block)
  return rows // blocks, blocks


@functools.partial(jax.jit, static_argnames=("dx", "steps", "batch_size", "width", "rank", "block"))
def _cross_fit(
  data: Tree,
  rests: Array,
  tests: Array,
  key: Array,
  learning_rate: Array,
  tail: Array,
  *,
  dx: int,
  steps: int,
  batch_size: int,
  width: int,
  rank: int,
  block: int,
) -> tuple[Array, Array]:
  """Local values of the held-out rows, [folds, rows], with and without the correction."""
  check_every = max(1, min(20, steps))

  def scores(params, rows):
    a = apply_mlp(params["x"], rows["x"], jax.nn.silu)
    b = apply_mlp(params["y"], rows["y"], jax.nn.silu)
    correction = a @ b[:, :-1].T / math.sqrt(rank) + b[:, -1]
    return _anchor(rows["left"], rows["right"], dx, tail) + correction

  def one(given):
    own, rest, test, number = given
    start = rng.stream(key, "start", number)
    into, out = own["x"].shape[1], own["y"].shape[1]
    params = {
      "x": init_mlp(rng.stream(start, "x"), (into, width, width, rank)),
      "y": init_mlp(rng.stream(start, "y"), (out, width, width, rank + 1)),
    }
    params["y"][-1] = jax.tree.map(jnp.zeros_like, params["y"][-1])  # no correction at first
    take = lambda rows: jax.tree.map(lambda a: a[rows], own)  # noqa: E731
    held = len(rest) // VALIDATION
    fitted = fit(
      lambda params, batch, key: -jnp.mean(_local(scores(params, batch))),
      params,
      take(rest[held:]),
      take(rest[:held]),
      key=rng.stream(key, "fit", number),
      steps=steps,
      batch_size=batch_size,
      learning_rate=learning_rate,
      check_every=check_every,
      patience=5,
      clip_norm=5.0,
    )
    size, blocks = _sizes(len(test), block)

    def of_block(rows):
      return _local(scores(fitted.params, take(rows))), _local(
        _anchor(take(rows)["left"], take(rows)["right"], dx, tail)
      )

    cut = test[: size * blocks].reshape(blocks, size)
    return jax.tree.map(jnp.ravel, jax.lax.map(of_block, cut))

  return jax.lax.map(one, (data, rests, tests, jnp.arange(FOLDS)))


def _pair(n: int = 400):
  rng = np.random.default_rng(0)
  x, noise = rng.standard_normal((2, n, 2))
  return {"x": np.exp(x), "y": 0.8 * x + 0.6 * noise}


def _of_pair() -> float:
  """The Gaussian copula written out: log determinants of normal scores, and Wishart means."""
  given = _pair()
  n = len(given["x"])
  ranks = np.argsort(np.argsort(np.hstack(list(given.values())), axis=0), axis=0) + 0.5
  c = np.corrcoef(special.ndtri(ranks / n).T)
  det = np.linalg.det
  plug_in = 0.5 * math.log(det(c[:2, :2]) * det(c[2:, 2:]) / det(c))
  psi = [float(special.digamma((n - i) / 2)) for i in range(1, 5)]
  return plug_in - 0.5 * (psi[0] + psi[1] - psi[2] - psi[3])


_SMALL = {"steps": 20, "width": 8, "rank": 2, "batch_size": 128}
CASES = (
  Case(
    name="two Gaussian pairs behind an exponential",
    source="an independent computation: log determinants of normal scores less their Wishart means",
    hyper=_SMALL,
    inputs=_pair,
    expected={"nats": _of_pair(), "degrees_of_freedom": np.inf},
    rtol=1e-6,
  ),
  Case(
    name="a constant column carries nothing",
    source="by definition",
    hyper=_SMALL,
    inputs=lambda: {"x": np.ones((50, 1)), "y": np.arange(50.0)[:, None]},
    expected={"nats": 0.0},
    rtol=1e-6,
  ),
)
TRUTHS = (
  Truth("bmi:half_cube-multinormal-sparse-3-3-2-2.0", 2000, 0.1, _SMALL),
  Truth("bmi:1v1-additive-0.1", 2000, 0.15, _SMALL),
  Truth("bmi:spiral-multinormal-sparse-3-3-2-2.0", 2000, 0.35),
)
