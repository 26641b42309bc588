"""The distortion of a classifier, and the bound on I(Y;Z) it implies; shared by the methods."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from ibjax.core import checks
from ibjax.core.numerics import entropy

Array = jax.Array


def cross_entropy_nats(logits: Array, labels: Array) -> Array:
  """Negative log likelihood of the label under the decoder, per example.

  Formula: -log softmax(logits)_y, in float32 whatever the compute type.

  Args:
    logits: [n, c].
    labels: [n] integers in 0..c-1.

  Returns:
    [n] in nats.

  Raises:
    InputError: logits not [n, c], or labels not [n].

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.distortion import cross_entropy_nats
    >>> round(float(cross_entropy_nats(jnp.zeros((1, 2)), jnp.array([0]))[0]), 6)
    0.693147
  """
  checks.shape("logits", logits, ("n", "c"))
  checks.shape("labels", labels, (logits.shape[0],))
  logits = logits.astype(jnp.float32)
  return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)


def label_information_bound(distortion: Array, label_probs: Array) -> Array:
  """Lower bound on I(Y;Z) that a decoder's cross-entropy implies (Barber and Agakov 2003).

  Formula: I(Y;Z) = H(Y) - H(Y|Z) >= H(Y) - E[-log q(y|z)].

  Args:
    distortion: [n] nats.
    label_probs: [c] label distribution.

  Returns:
    [n] in nats, whose average is the bound.

  Example:
    >>> import jax.numpy as jnp
    >>> from ibjax.objectives.distortion import label_information_bound
    >>> round(float(label_information_bound(jnp.zeros(1), jnp.array([0.5, 0.5]))[0]), 6)
    0.693147
  """
  return entropy(label_probs) - distortion
