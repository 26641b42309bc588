"""The generalisation bound by information: what a layer keeps of the input beyond the label.

A learned layer Z = phi(X) generalises when it keeps little of X beyond Y, and when phi itself says
little of the training data S: the gap between test and train loss is, with high probability, of
order sqrt((I(X;Z|Y) + I(phi;S) + 1) / n).

Source: Kawaguchi, Deng, Ji and Huang 2023, "How does information bottleneck help deep learning?"
(arXiv:2305.18887), theorems 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.numerics import LOG_2PI
from ibjax.core.types import Code, Trained
from ibjax.evaluators.rates import sandwich

Array = jax.Array

_sandwich = jax.jit(sandwich)

# Widths of the noise that is tried, in units of the code's own spread.
NOISE_SCALES = tuple(float(scale) for scale in np.geomspace(0.01, 3.0, 13))


def pairwise_kl(mean: np.ndarray, log_scale: np.ndarray) -> np.ndarray:
  """KL divergences between all pairs of diagonal Gaussians.

  Formula: KL_ij = sum_d [log s_j - log s_i + (s_i^2 + (m_i - m_j)^2) / (2 s_j^2) - 1/2].

  Args:
    mean: [k, d].
    log_scale: [k, d] natural logarithms of the standard deviations.

  Returns:
    [k, k] nats, float64, at least 0; KL of row i from column j.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.generalisation import pairwise_kl
    >>> pairwise_kl(np.array([[0.0], [2.0]]), np.zeros((2, 1))).tolist()
    [[0.0, 2.0], [2.0, 0.0]]
  """
  mean, log_scale = np.asarray(mean, np.float64), np.asarray(log_scale, np.float64)
  mean = mean - mean.mean(0)
  variance, precision = np.exp(2.0 * log_scale), np.exp(-2.0 * log_scale)
  squares = (variance + mean**2) @ precision.T
  squares += np.sum(mean**2 * precision, axis=1) - 2.0 * mean @ (mean * precision).T
  scales = log_scale.sum(1)
  found = scales[None, :] - scales[:, None] + 0.5 * (squares - mean.shape[1])
  np.fill_diagonal(found, 0.0)
  return np.maximum(found, 0.0)


def index_information(kl: np.ndarray) -> dict[str, float]:
  """What a draw from one of k equally likely Gaussians says of which one it was: two upper bounds.

  Formula: I <= -1/k sum_i log 1/k sum_j exp(-KL_ij) ("pairwise", at most log k) <= 1/k^2
  sum_ij KL_ij ("jensen", which has no ceiling, so that it orders posteriors that do not overlap).

  Args:
    kl: [k, k] from `pairwise_kl`.

  Returns:
    {"pairwise_upper_nats", "jensen_upper_nats"}.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.generalisation import index_information, pairwise_kl
    >>> bounds = index_information(pairwise_kl(np.array([[0.0], [99.0]]), np.zeros((2, 1))))
    >>> round(bounds["pairwise_upper_nats"], 6), bounds["jensen_upper_nats"]
    (0.693147, 2450.25)

  Source: Kolchinsky and Tracey 2017 (arXiv:1706.02419), eq. 10, for the first; Kawaguchi et al.
  2023, section 5 (Jensen's inequality on the log of the mean posterior), for the second.
  """
  kl = np.asarray(kl, np.float64)
  least = kl.min(1, keepdims=True)
  log_mean = np.log(np.mean(np.exp(least - kl), axis=1)) - least[:, 0]
  return {"pairwise_upper_nats": float(-log_mean.mean()), "jensen_upper_nats": float(kl.mean())}


def conditional_information(
  mean: np.ndarray, log_scale: np.ndarray, y: np.ndarray, key: Array
) -> dict[str, float]:
  """Bounds I(X;Z|Y) of a Gaussian code by the examples of each class.

  Formula: sum_c p(c) I(X;Z|Y=c), where I(X;Z|Y=c) is bounded with the n_c examples of class c: from
  below by the mean of log q(z_i|x_i) - log 1/n_c sum_j q(z_i|x_j) (at most log n_c), from above by
  the same without j = i ("loo"), and by Jensen's inequality, the mean of KL(q_i || q_j) over all
  pairs ("jensen", without sampling). The own density and the mixture are both of all dimensions.

  Args:
    mean: [n, d] of q(z|x).
    log_scale: [n, d].
    y: [n] labels.
    key: of the codes that are drawn, one to an example.

  Returns:
    {"i_xz_y_lower_nats", "i_xz_y_loo_upper_nats", "i_xz_y_jensen_upper_nats", and the same of
    I(X;Z) as "i_xz_..."}.

  Raises:
    InputError: a class with one example, of which nothing can be said.

  Example:
    >>> import jax, numpy as np
    >>> from ibjax.evaluators.generalisation import conditional_information
    >>> apart = np.array([[0.0], [90.0], [180.0], [270.0]])
    >>> found = conditional_information(apart, np.zeros((4, 1)), np.array([0, 0, 1, 1]),
    ...   jax.random.key(0))
    >>> round(found["i_xz_y_lower_nats"], 6), round(found["i_xz_lower_nats"], 6)  # log 2, log 4
    (0.693147, 1.386294)

  Source: Kawaguchi et al. 2023, section 5 and appendix on the estimation of I(X;Z|Y); Poole et al.
  2019 (arXiv:1905.06922), eqs. 10 and 13, for the first two.
  """
  mean, log_scale = np.asarray(mean, np.float32), np.asarray(log_scale, np.float32)
  y = np.asarray(y)
  classes, counts = np.unique(y, return_counts=True)
  if np.any(counts < 2):
    raise InputError(
      f"class {classes[np.argmin(counts)]} has 1 example; I(X;Z|Y) needs at least 2 of each class."
    )
  noise = np.asarray(jax.random.normal(key, mean.shape))
  value = mean + np.exp(log_scale) * noise
  # From the noise itself: (value - mean) / scale loses it when the scale is small.
  own = -0.5 * np.sum(noise**2 + 2.0 * log_scale + LOG_2PI, axis=1)

  def bounds(rows: np.ndarray) -> np.ndarray:
    aux = {"mean": mean[rows], "log_scale": log_scale[rows], "log_prob": own[rows]}
    code = Code(jnp.asarray(value[rows]), None, None, {k: jnp.asarray(v) for k, v in aux.items()})
    found = _sandwich(code, jnp.ones(int(rows.sum()), bool))
    sides = [float(np.mean(found[f"i_xz_{side}_nats"])) for side in ("infonce_lower", "loo_upper")]
    kl = pairwise_kl(mean[rows], log_scale[rows])
    return np.array([*sides, index_information(kl)["jensen_upper_nats"]])

  every = bounds(np.ones(len(y), bool))
  within = sum(n / len(y) * bounds(y == c) for c, n in zip(classes, counts))
  names = ("lower_nats", "loo_upper_nats", "jensen_upper_nats")
  found = {f"i_xz_y_{name}": float(v) for name, v in zip(names, within)}
  return found | {f"i_xz_{name}": float(v) for name, v in zip(names, every)}


def leading_term(i_xz_y_nats: float, i_phi_s_nats: float, n: int) -> float:
  """How the bound on the generalisation gap grows: its leading term, without its constants.

  Formula: sqrt((I(X;Z|Y) + I(phi;S)) / n), both in nats. The bound of theorem 2 is this, with
  further terms of order sqrt((log(1/delta) + log n) / n) and factors that depend on the loss, the
  alphabet and the layer; those are not known for a trained network, so this orders models and
  bounds none. With I(phi;S) = 0 it is theorem 1, of an encoder that was not trained on S.

  Args:
    i_xz_y_nats: I(X;Z|Y), at least 0.
    i_phi_s_nats: I(phi;S), at least 0.
    n: number of training examples.

  Returns:
    A number without a unit.

  Raises:
    InputError: negative information, or n below 1.

  Example:
    >>> from ibjax.evaluators.generalisation import leading_term
    >>> leading_term(1.0, 3.0, 100)
    0.2

  Source: Kawaguchi et al. 2023 (arXiv:2305.18887), theorems 1 and 2.
  """
  checks.at_least("i_xz_y_nats", i_xz_y_nats, 0.0)
  checks.at_least("i_phi_s_nats", i_phi_s_nats, 0.0)
  checks.at_least("n", n, 1)
  return math.sqrt((i_xz_y_nats + i_phi_s_nats) / n)


def likeliest_noise(code: np.ndarray) -> float:
  """The width of Gaussian noise on a deterministic code that makes its examples likeliest.

  Formula: argmax_s mean_i log 1/(n-1) sum_(j != i) N(z_i; z_j, s^2 I), over `NOISE_SCALES` times
  the root mean square of the code's deviations.

  Args:
    code: [n, d], n at least 2.

  Returns:
    The standard deviation, in units of the code; 1 for a code that is the same everywhere.

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.generalisation import likeliest_noise
    >>> wide = np.random.default_rng(0).normal(size=(300, 1))
    >>> 0.1 < likeliest_noise(wide) < 0.6
    True
  """
  code = np.asarray(code, np.float64)
  code = code - code.mean(0)
  spread = math.sqrt(float(np.mean(code**2)))
  if spread == 0.0:
    return 1.0
  squares = np.sum(code**2, axis=1)
  distances = np.maximum(squares[:, None] + squares - 2.0 * code @ code.T, 0.0)
  np.fill_diagonal(distances, np.inf)
  likelihoods = []
  for scale in NOISE_SCALES:
    width = scale * spread
    exponents = -distances / (2.0 * width**2)
    most = exponents.max(1, keepdims=True)
    logs = most[:, 0] + np.log(np.sum(np.exp(exponents - most), axis=1))
    likelihoods.append(float(np.mean(logs)) - code.shape[1] * math.log(width))
  return NOISE_SCALES[int(np.argmax(likelihoods))] * spread


def generalisation_bound(
  split: str = "test", examples: int = 2000, noise: float | None = None
) -> Callable[[Trained], dict[str, float]]:
  """Measures I(X;Z|Y) of the code, the gap between test and train, and the bound's leading term.

  Formula: gap = test loss - train loss, of the mean log-probability of the label, and of errors;
  `leading_fixed` = sqrt(I(X;Z|Y) / n_train), with the largest information that the examples can
  show from below. I(phi;S) is about many trainings, so one trained model has none:
  `ibjax.programs.generalisation` measures it.

  Use it when models are to be ordered by how much their code keeps beyond the label. For a
  deterministic code I(X;Z|Y) is infinite; noise of one width is added, and the value depends on
  it. The lower bound is at most the log of a class's examples; where it is near that, `jensen` is
  what still orders.

  Args:
    split: the examples that stand for the distribution of X; fresh ones, so the test split.
    examples: as many of it at most, the first ones; 0 is all.
    noise: standard deviation added to a deterministic code; None takes `likeliest_noise` of it. A
      Gaussian code has its own.

  Returns:
    `assess(trained)` -> {"gap_nats", "gap_err_frac", "i_xz_y_lower_nats", ...
    (`conditional_information`), "leading_fixed"}, and "noise" for a deterministic code.

  Raises:
    InputError: targets instead of labels, a negative noise or number of examples.

  Example:
    >>> from ibjax.evaluators.generalisation import generalisation_bound
    >>> assess = generalisation_bound(examples=500)

  Source: Kawaguchi et al. 2023 (arXiv:2305.18887), theorem 1 and section 5.
  """
  checks.at_least("examples", examples, 0)
  if noise is not None:
    checks.at_least("noise", noise, 0.0, strict=True)

  def assess(trained: Trained) -> dict[str, float]:
    if not trained.num_classes:
      raise InputError(
        "generalisation_bound is of labels, and this source has real-valued targets."
      )
    losses, errors = {}, {}
    for name in ("train", "test"):
      rows = trained.data("", name)
      losses[name], errors[name] = scores(trained.forward(rows["x"])["prediction"], rows["y"])
    rows = trained.data("", split)
    seen = trained.forward(rows["x"][: examples or None])
    y = rows["y"][: examples or None]
    found = {
      "gap_nats": losses["test"] - losses["train"],
      "gap_err_frac": errors["test"] - errors["train"],
    }
    if "mean" in seen and "log_scale" in seen:
      mean, log_scale = seen["mean"], seen["log_scale"]
    else:
      mean = seen["code"]
      found["noise"] = likeliest_noise(mean) if noise is None else noise
      log_scale = np.full(mean.shape, math.log(found["noise"]), np.float32)
    found |= conditional_information(mean, log_scale, y, jax.random.key(trained.seed))
    n_train = len(trained.data("", "train")["y"])
    found["leading_fixed"] = leading_term(max(0.0, found["i_xz_y_lower_nats"]), 0.0, n_train)
    return found

  return assess


def scores(log_probs: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Mean loss and share of errors of predicted log-probabilities.

  Args:
    log_probs: [n, c].
    y: [n] labels.

  Returns:
    (nats, fraction).

  Example:
    >>> import numpy as np
    >>> from ibjax.evaluators.generalisation import scores
    >>> scores(np.log([[0.5, 0.5]]), np.array([1]))[1]
    1.0
  """
  log_probs, y = np.asarray(log_probs), np.asarray(y)
  loss = -np.mean(log_probs[np.arange(len(y)), y])
  return float(loss), float(np.mean(np.argmax(log_probs, axis=1) != y))
