"""Barber and Agakov's bound: the entropy of y less the log loss of predicting it from x.

Source: Barber and Agakov 2003, "The IM algorithm: a variational approach to information
maximization".
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.estimate import Truth, Value
from ibjax.core.types import Case, Scalar
from ibjax.estimators.base.conditional import Conditional, categorical, gaussian
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.learned import Method, Model, Options, learned
from ibjax.estimators.base.warn import label_entropy


def barber_agakov(
  entropy: Scalar | str = "labels",
  sizes: tuple[int, ...] = (16, 8),
  learning_rate: Scalar = 2e-2,
  steps: int = 1000,
  batch_size: int = 256,
  k: int = 1024,
) -> Estimator:
  """Estimates I(X;Y) >= H(Y) + E[log q(y | x)], q fitted by likelihood.

  Formula: H(Y) + mean_i log q(y_i | x_i) over test rows; the gap is E KL(p(y | x) || q(y | x)).

  Three cases. "labels": q is a softmax, H(Y) the plug-in entropy of all labels: a lower bound, up
  to the plug-in's own bias of about -(classes - 1) / (2 n). A number: H(Y) of a real-valued y, q a
  Gaussian: a lower bound. "gaussian": H(Y) is replaced by the cross-entropy of a Gaussian r(y)
  fitted beside q, so the value is I - E KL(p(y | x) || q) + KL(p(y) || r): neither bound, exact for
  jointly Gaussian data (`difference_of_entropies` has richer families). Use it for labels, or
  where the law of y is known. q and r are of `base.conditional`.

  Args:
    entropy: "labels", "gaussian", or H(Y) in nats, in the units y is given in; may be traced.
    sizes: widths of the hidden layers of q.
    learning_rate: Adam's at the start, > 0; it falls to zero along a cosine. May be traced.
    steps: the most updates; it looks 20 times at the validation rows and stops after 8 looks
      without a better one.
    batch_size: rows of a training batch.
    k: rows of a block of validation or test rows.

  Returns:
    An `Estimator` of a lower bound on I(X;Y), or of neither with "gaussian"; diagnostics: steps,
    best_step, train_rows, test_rows, k and validation_nats.

  Raises:
    InputError: counts below 1, k below 2, a learning rate that is not positive, another word
      for the entropy.

  Example:
    >>> import numpy as np
    >>> from ibjax.estimators.variational.barber_agakov import barber_agakov
    >>> x = np.random.default_rng(0).normal(size=(200, 1))
    >>> found = barber_agakov(sizes=(4,), steps=100)(x, np.int64(x[:, 0] > 0))
    >>> 0.3 < found.nats < 0.7
    True

  Source: Barber and Agakov 2003, eq. 3; Poole et al. 2019 (arXiv:1905.06922), the bound I_BA.
  """
  if isinstance(entropy, str):
    checks.one_of("entropy", entropy, ("labels", "gaussian"))
  # Real y is standardised by all rows, not by the training rows: its scale must be known below.
  options = Options(steps, batch_size, "none", k)
  family = (categorical if entropy == "labels" else gaussian)(tuple(sizes))
  method = _method(family, _marginal() if entropy == "gaussian" else None)
  learnt = learned(
    "barber_agakov", method, options, dict(learning_rate=learning_rate), bound="lower"
  )

  def value(x, y, z, key) -> Value:
    found = learnt.value(x, y, z, key)
    if isinstance(entropy, str):
      own = label_entropy(np.asarray(y)) if entropy == "labels" else 0.0
      return found._replace(nats=found.nats + own)
    spread = (np if isinstance(y, np.ndarray) else jnp).std(y, axis=0)
    scale = jnp.sum(jnp.log(jnp.where(spread > 0.0, spread, 1.0)))
    return found._replace(nats=found.nats + entropy - scale)

  return dataclasses.replace(
    learnt,
    value=value,
    y="labels" if entropy == "labels" else "real",
    bound="neither" if entropy == "gaussian" else "lower",
    jittable=entropy != "labels",
    invariances=("translation", "scale") if isinstance(entropy, str) else ("translation",),
  )


@functools.lru_cache
def _marginal() -> Conditional:
  return gaussian((1,))


@functools.lru_cache
def _method(family: Conditional, marginal: Conditional | None) -> Method:
  """The log loss of q, and the log loss of a marginal beside it."""

  def init(key, dx, dy):
    params = {"q": family.init(key, dx, dy)}
    return params if marginal is None else {**params, "r": marginal.init(key, 1, dy)}

  def apply(params, x, y):
    own = family.rows(params["q"], x, y)
    if marginal is None:
      return (own, jnp.zeros_like(own))
    return own, marginal.rows(params["r"], jnp.zeros((len(y), 1)), y)

  return Method(Model(init, apply), _likelihood, _likelihood, _difference)


def _likelihood(log_q, log_r):
  return jnp.mean(log_q + log_r)


def _difference(log_q, log_r):
  return jnp.mean(log_q - log_r)


def _labels():
  x = np.ones((40, 1))
  return dict(x=x, y=np.arange(40) % 4)


CASES = (
  Case(
    name="a constant tells nothing of labels",
    hyper=dict(sizes=(4,), steps=20, learning_rate=1e-8),
    inputs=_labels,
    expected=dict(nats=0.0),
    source="closed form: the softmax starts uniform, as the four labels are: log 4 - log 4",
  ),
  Case(
    name="real y of known entropy, q at its start",
    hyper=dict(entropy=1.0, sizes=(4,), steps=1, learning_rate=1e-8, k=2),
    inputs=lambda: dict(x=np.ones((40, 1)), y=np.tile([[-2.0], [2.0]], (20, 1))),
    expected=dict(nats=1.0 - math.log(2.0) - 0.5 - 0.5 * math.log(2.0 * math.pi)),
    source="closed form: y / 2 is -1 or 1, and log N(1; 0, 1) = -(1 + log 2 pi) / 2",
  ),
)
TRUTHS = (
  Truth("gaussian:d=1,rho=0.6", 2000, 0.1, dict(entropy="gaussian", sizes=(4,), steps=200)),
)
