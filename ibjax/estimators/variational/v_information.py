"""Predictive V-information: what a limited family of predictors can use of x to predict y.

Source: Xu et al. 2020, "A theory of usable information under computational constraints"
(arXiv:2002.10689).
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.estimate import Truth, Value
from ibjax.core.numerics import gaussian_log_prob
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.densities import make_density
from ibjax.estimators.base.fit import fit
from ibjax.estimators.base.networks import apply_mlp, init_mlp
from ibjax.estimators.base.splits import centre, permutation, split

Array = jax.Array
FAMILIES = ("linear", "mlp")
_FLOOR = 1e-6  # of a residual's variance, in units of the column's own


def v_information(
  family: str = "linear",
  sizes: tuple[int, ...] = (64, 64),
  classes: int | None = None,
  folds: int = 5,
  steps: int = 2000,
  batch_size: int = 256,
  learning_rate: Scalar = 3e-3,
) -> Estimator:
  """Subtracts the held-out surprise of y with x from that without x, both of one family.

  Formula: I_V(x -> y) = H_V(y | nothing) - H_V(y | x), H_V the least E[-log f(y)] over the
  family. "linear" with numbers: f = N(W x + b, S), S fitted: -log(1 - R^2) / 2 for one column
  of y, which is I(X;Y) where both are Gaussian. "linear" with labels: softmax(W x + b). "mlp":
  a perceptron gives the mean and the scale of each column of y, or the logits.

  Assumes nothing of the data: it is what this family can use, and depends on the family, on the
  direction and on x's form; processing x can raise it. Use it to compare representations for a
  stated reader; "linear" in many dimensions too, where mutual information cannot be measured.

  Bias: reported on rows held out from the fit, so it falls short of the family's best by the cost
  of fitting, about (parameters) / 2n nats, and can be negative; in-sample values would be above
  by as much. With labels it is at most I(X;Y) in expectation up to the error of H(Y); with
  numbers it may be above I(X;Y) when y is not Gaussian without x.

  Args:
    family: "linear" or "mlp".
    sizes: widths of the hidden layers of "mlp".
    classes: number of labels, 0 to classes - 1; None counts them, which a traced y does not allow.
    folds: parts of the cross-fit of "linear" with numbers, which has a closed form; the others
      report on a quarter of the rows.
    steps: the most updates of the others.
    batch_size: rows of a batch.
    learning_rate: Adam's; may be traced.

  Returns:
    An `Estimator` of quantity "dependence". "linear" offers an interval from the spread of the
    held-out gains; it was tested for numbers, and with labels holds for the fit that was found.

  Raises:
    InputError: an unknown family; fewer than two folds; more columns of x than "linear" can fit;
      labels without `classes` under `jax.jit`.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.variational.v_information import v_information
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 1))
    >>> y = 0.6 * x + 0.8 * rng.normal(size=(500, 1))  # R^2 = 0.36: 0.223 nats
    >>> abs(v_information()(x, y).nats - 0.223) < 0.06
    True

  Source: Xu et al. 2020 (arXiv:2002.10689), definitions 1 to 3; the held-out estimate is ours in
    place of their in-sample one.
  """
  checks.one_of("family", family, FAMILIES)
  checks.at_least("folds", folds, 2)
  if classes is not None:
    checks.at_least("classes", classes, 2)

  def value(x, y, z, key):
    del z
    if y.ndim == 2 and family == "linear":
      _enough(x, folds)
      local = _linear(centre(x), centre(y), key, folds=folds)
      return Value(jnp.mean(local), local=local, stderr=jnp.std(local, ddof=1) / math.sqrt(len(x)))
    if y.ndim == 2:
      y, count = centre(y), 0
    else:
      y, count = _labels(y, classes)
    local, best_step = _learnt(
      centre(x),
      y,
      key,
      learning_rate,
      classes=count,
      sizes=tuple(sizes) if family == "mlp" else (),
      steps=steps,
      batch_size=batch_size,
    )
    stderr = jnp.std(local, ddof=1) / jnp.sqrt(len(local))
    return Value(jnp.mean(local), stderr=stderr, extra={"best_step": best_step})

  return Estimator(
    name="v_information",
    value=value,
    y="any",
    quantity="dependence",
    interval="own" if family == "linear" else "none",
    no_interval="the distance of the fit from the family's best is unknown",
    invariances=("translation", "scale", "affine") if family == "linear" else (),
    jittable=True,
    needs_key=True,
    min_n=16,
  )


def _enough(x: Array, folds: int) -> None:
  fitted = len(x) - -(-len(x) // folds)
  if x.shape[1] + 2 > fitted:
    raise InputError(
      f"v_information: x has {x.shape[1]} columns, and each linear fit {fitted} rows; expected at "
      f"least {x.shape[1] + 2} rows. Give more samples, or fewer columns (principal components)."
    )


def _labels(y: Array, classes: int | None) -> tuple[Array, int]:
  if classes is not None:
    return jnp.asarray(y, jnp.int32), classes
  if not checks.is_concrete(y):
    raise InputError(
      "v_information: the number of labels is unknown under jax.jit; give classes=..., with labels "
      "0 to classes - 1."
    )
  distinct, number = np.unique(np.asarray(y), return_inverse=True)
  return jnp.asarray(number, jnp.int32), len(distinct)


@functools.partial(jax.jit, static_argnames="folds")
def _linear(x: Array, y: Array, key: Array, *, folds: int) -> Array:
  """[n] gains in nats of each row, by the fit to the folds it is not in."""
  n = len(x)
  order = permutation(key, n)
  gains = []
  for held in np.array_split(np.arange(n), folds):
    rest = np.setdiff1d(np.arange(n), held)
    train, test = order[rest], order[held]
    gains.append(linear_gaussian_gain(x[train], y[train], x[test], y[test]))
  return jnp.zeros(n).at[order].set(jnp.concatenate(gains))


def linear_gaussian_gain(x: Array, y: Array, x_new: Array, y_new: Array) -> Array:
  """How many nats less surprising y is by a linear-Gaussian fit on x than by a Gaussian alone.

  Formula: log N(y'; W x' + b, S) - log N(y'; m, C), all fitted by least squares on (x, y). Of the
  rows fitted, the average is -log det(I - R^2) / 2 but for the degrees of freedom.

  Args:
    x: [n, dx] to fit on, n > dx + 1.
    y: [n, dy], columns of about unit variance; residual variances below 1e-6 count as that.
    x_new: [m, dx] to report on.
    y_new: [m, dy].

  Returns:
    [m] nats.
  """
  n, dx = x.shape
  mean_x, mean_y = jnp.mean(x, axis=0), jnp.mean(y, axis=0)
  w = jnp.linalg.lstsq(x - mean_x, y - mean_y)[0]

  def log_prob(fitted: Array, reported: Array, freedom: int) -> Array:
    spread = fitted.T @ fitted / freedom + _FLOOR * jnp.eye(y.shape[1])
    root = jnp.linalg.cholesky(spread)
    white = jax.scipy.linalg.solve_triangular(root, reported.T, lower=True)
    return -0.5 * jnp.sum(jnp.square(white), axis=0) - jnp.sum(jnp.log(jnp.diag(root)))

  alone = log_prob(y - mean_y, y_new - mean_y, n - 1)
  given = log_prob(y - mean_y - (x - mean_x) @ w, y_new - mean_y - (x_new - mean_x) @ w, n - 1 - dx)
  return given - alone


@functools.partial(jax.jit, static_argnames=("classes", "sizes", "steps", "batch_size"))
def _learnt(
  x: Array,
  y: Array,
  key: Array,
  learning_rate: Scalar,
  *,
  classes: int,
  sizes: tuple[int, ...],
  steps: int,
  batch_size: int,
) -> tuple[Array, Array]:
  """Gains in nats of the test part, and the step at which the fit was best; 0 classes: numbers."""
  parts = split((x, y), key)
  known = parts.train[1]
  if classes:
    count = jnp.zeros(classes).at[known].add(1.0) + 0.5  # no label is impossible
    log_prior = jnp.log(count / jnp.sum(count))
    params = init_mlp(rng.stream(key, "init"), (x.shape[1], *sizes, classes))
    params[-1] = {"w": jnp.zeros_like(params[-1]["w"]), "b": log_prior}

    def log_prob(params, rows):
      logits = jax.nn.log_softmax(apply_mlp(params, rows[0]))
      return jnp.take_along_axis(logits, rows[1][:, None], axis=1)[:, 0]

    def alone(y):
      return log_prior[y]
  else:
    density = make_density("gaussian", sizes)
    params = density.init(rng.stream(key, "init"), x.shape[1], y.shape[1])
    mean, log_scale = jnp.mean(known, axis=0), 0.5 * jnp.log(jnp.var(known, axis=0) + _FLOOR)

    def log_prob(params, rows):
      return density.log_prob(params, rows[1], rows[0])

    def alone(y):
      return gaussian_log_prob(y, mean, log_scale)

  fitted = fit(
    lambda params, rows, _: -jnp.mean(log_prob(params, rows)),
    params,
    parts.train,
    parts.validation,
    key=key,
    steps=steps,
    batch_size=batch_size,
    learning_rate=learning_rate,
  )
  return log_prob(fitted.params, parts.test) - alone(parts.test[1]), fitted.best_step


def _exact(d: int, rho: float, n: int = 1000):
  """Pairs of columns whose correlations in the sample are rho, and no others."""
  draw = np.linalg.qr(np.random.default_rng(0).normal(size=(n, 1 + 2 * d)))[0]
  x, noise = (math.sqrt(n) * part for part in np.split(draw[:, 1:], 2, axis=1))
  return dict(x=x, y=rho * x + math.sqrt(1.0 - rho**2) * noise)


CASES = (
  Case(
    name="one column, R^2 = 0.36",
    hyper={},
    inputs=lambda: _exact(1, 0.6),
    expected=dict(nats=-0.5 * math.log(1.0 - 0.36)),
    source="closed form: -log(1 - R^2) / 2",
    rtol=0.02,
  ),
  Case(
    name="two columns of each",
    hyper={},
    inputs=lambda: _exact(2, 0.6),
    expected=dict(nats=-math.log(1.0 - 0.36)),
    source="closed form: -log det(I - R^2) / 2",
    rtol=0.02,
  ),
  Case(
    name="labels that x decides",
    hyper=dict(learning_rate=0.1, steps=500),
    inputs=lambda: dict(x=np.repeat(np.eye(4), 250, axis=0), y=np.repeat(np.arange(4), 250)),
    expected=dict(nats=math.log(4)),
    source="limit: H(y) = log 4, and a softmax of one-hot inputs is free",
    rtol=0.03,
  ),
)

_GAUSSIANS = tuple(f"gaussian:d={d},rho={rho}" for d in (1, 2) for rho in (0.3, 0.5, 0.7, 0.8, 0.9))

TRUTHS = (Truth("gaussian:d=3,rho=0.6", 2000, 0.08),)

COVERAGE = tuple(Truth(task, 1000, 0.2) for task in _GAUSSIANS)
