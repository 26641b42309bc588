"""What a model loses when a dictionary's reconstruction takes the place of a layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import log_softmax

from ibjax.core import checks
from ibjax.core.errors import InputError
from ibjax.core.types import Tapped, Trained
from ibjax.evaluators.dictionaries import encode, origin


def loss_recovered(
  run: str = "", layer: str = "", split: str = "test", examples: int = 256
) -> Callable[[Trained], dict[str, float]]:
  """Measures a model's loss with the reconstruction, and with nothing, in the place of a layer.

  Formula: recovered = (loss_zero - loss_spliced) / (loss_zero - loss), of the mean negative
  log-likelihood of labels or next tokens, or the mean squared error of targets; loss_zero with
  zeros in the place of the layer, loss_mean with its mean over the examples. kl = mean KL(p || p')
  from the model's own distribution to that with the reconstruction.

  Use it beside the variance explained: a direction of little variance may be all that matters.

  Args:
    run: folder of the run whose layer it is; "" takes the activation store's.
    layer: of that run; "" likewise.
    split: of that run's data.
    examples: the first so many (windows, of text); 0 takes all.

  Returns:
    `assess(trained)` -> {"loss", "loss_spliced", "loss_zero", "loss_mean", "recovered_frac"}, nats
    for labels and tokens, and for these "kl_nats".

  Raises:
    InputError: a run that is not the one whose activations these are, another layer or width.

  Example:
    >>> from ibjax.evaluators.loss_recovered import loss_recovered
    >>> assess = loss_recovered(examples=64)

  Source: the share of the loss recovered against zero ablation, Bricken et al. 2023 ("Towards
  monosemanticity", as recalled); the loss with the reconstruction in place, Gao et al. 2024
  (arXiv:2406.04093), section 4.1.
  """
  checks.at_least("examples", examples, 0)

  def assess(trained: Trained) -> dict[str, float]:
    tapped, where, source, _ = origin(trained, run, layer)
    data = tapped.data(source, split)
    x, y = (np.asarray(data[name])[: examples or None] for name in ("x", "y"))
    given = tapped.capture(x, where)
    flat = given.reshape(-1, given.shape[-1])
    spliced = encode(trained, flat).value.reshape(given.shape)
    plain = tapped.outputs(x)
    mean = np.broadcast_to(flat.mean(axis=0), given.shape)
    outputs = {
      "loss": plain,
      "loss_spliced": tapped.outputs(x, where, spliced),
      "loss_zero": tapped.outputs(x, where, np.zeros_like(given)),
      "loss_mean": tapped.outputs(x, where, mean),
    }
    found = {name: loss(tapped, out, y) for name, out in outputs.items()}
    gap = found["loss_zero"] - found["loss"]
    found["recovered_frac"] = (found["loss_zero"] - found["loss_spliced"]) / gap if gap else np.nan
    if not tapped.targets:
      p, q = (log_softmax(out, axis=-1) for out in (plain, outputs["loss_spliced"]))
      found["kl_nats"] = float(np.mean(np.sum(np.exp(p) * (p - q), axis=-1)[y >= 0]))
    return found

  return assess


def loss(tapped: Tapped, outputs: np.ndarray, y: np.ndarray) -> float:
  """The mean loss of a model's outputs.

  Args:
    tapped: the model.
    outputs: [n, c] or [n, t, c] logits, or [n, c] predictions of targets.
    y: [n] or [n, t] labels, those below 0 not counting; or [n, c] targets.

  Returns:
    Nats, or the mean squared error.

  Raises:
    InputError: outputs and labels that do not fit.
  """
  if tapped.targets:
    return float(np.mean(np.square(outputs - y, dtype=np.float64)))
  if np.shape(y) != np.shape(outputs)[:-1]:
    raise InputError(f"labels {list(np.shape(y))} do not fit outputs {list(np.shape(outputs))}.")
  log_probs = log_softmax(outputs.astype(np.float64), axis=-1)
  chosen = np.take_along_axis(log_probs, np.maximum(y, 0)[..., None], axis=-1)[..., 0]
  return float(-np.mean(chosen[y >= 0]))
