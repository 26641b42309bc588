"""The road all learned bounds share: split, scale, fit, stop, and report on rows not seen.

A method says which network scores all pairs of a batch (`Model`), what is maximised of the scores
while it trains, and what is reported. The whole estimate is one compiled program, cached by shape
and by the static hyperparameters; numbers (learning rate, tau, alpha) are traced.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks, rng
from ibjax.core.errors import InputError
from ibjax.core.estimate import Note, Value
from ibjax.estimators.base.contract import Estimator
from ibjax.estimators.base.fit import fit
from ibjax.estimators.base.networks import apply_mlp, init_mlp, make_critic
from ibjax.estimators.base.splits import TRANSFORMS, centre, scale, split

Array = jax.Array
Tree = Any
NO_INTERVAL = (
  "the spread over the test rows is the error of the bound, not its distance from the mutual "
  "information, which the critic decides; stderr has it"
)
CHECKS = 20  # looks at the validation part in a whole run
PATIENCE = 8  # looks without a better one
FRACTIONS = (0.7, 0.15)  # of the rows, for training and validation
CLIP = 5.0  # the largest norm of a gradient: exponentials of scores have heavy tails
WEIGHT_DECAY = 0.5
AVERAGE = 0.98  # of the parameters, per update
BLOCKS = 16  # disjoint blocks of test rows whose spread gives the standard error


class Model(NamedTuple):
  """A network of pairs.

  Attributes:
    init: `init(key, dx, dy) -> params`.
    apply: `apply(params, x [k, dx], y [k, dy]) -> outputs`, a tuple: [k, k] scores of all pairs,
      then what the method needs besides.
  """

  init: Callable[..., Tree]
  apply: Callable[..., tuple[Array, ...]]


class Method(NamedTuple):
  """What one learned bound maximises and reports; each `f(*outputs, **hyper) -> nats`.

  Attributes:
    model: the network.
    objective: maximised over batches; with a `state`, `f(*outputs, state=..., **hyper)` gives
      (nats, state).
    check: the validation part is chosen by this.
    report: the bound itself.
    state: what the objective carries from batch to batch; () for none.
    limit: whether the report cannot exceed log k, as InfoNCE.
    report_apply: what the report takes in place of the model's outputs, where it differs.
  """

  model: Model
  objective: Callable[..., Any]
  check: Callable[..., Array]
  report: Callable[..., Array]
  state: tuple[float, ...] = ()
  limit: bool = False
  report_apply: Callable[..., tuple[Array, ...]] | None = None


class Options(NamedTuple):
  """What is static in a run.

  Attributes:
    steps: the most updates.
    batch_size: rows of a batch.
    transform: of real-valued columns, see `splits.scale`.
    k: rows of a block of the report, at most.
  """

  steps: int
  batch_size: int
  transform: str | tuple[str, ...]
  k: int


@functools.lru_cache
def critic_model(kind: str, sizes: tuple[int, ...], side: str = "") -> Model:
  """Makes a critic, alone or with a second network beside it.

  Args:
    kind: see `networks.make_critic`.
    sizes: widths of the hidden layers of each network.
    side: "" for none, "y" for a function of y_j [k], "xy" for one of each sample (x_i, y_i) [k].

  Returns:
    A `Model`, the same object for the same arguments.
  """
  critic = make_critic(kind, sizes)
  beside = make_critic("joint" if kind == "separable" else kind, sizes)

  def init(key, dx, dy):
    params = {"critic": critic.init(rng.stream(key, "critic"), dx, dy)}
    if side == "y":
      network = init_mlp(rng.stream(key, "side"), (dy, *sizes, 1))
      network[-1]["w"] = jnp.zeros_like(network[-1]["w"])  # a = 1 at the start
      params["side"] = network
    elif side == "xy":
      params["side"] = beside.init(rng.stream(key, "side"), dx, dy)
    return params

  def apply(params, x, y):
    scores = critic.apply(params["critic"], x, y)
    if side == "y":
      return scores, apply_mlp(params["side"], y)[:, 0]
    if side == "xy":
      own = jax.vmap(lambda a, b: beside.apply(params["side"], a[None], b[None])[0, 0])
      return scores, own(x, y)
    return (scores,)

  return Model(init, apply)


def learned(
  name: str,
  method: Method,
  options: Options,
  hyper: Mapping[str, Any],
  *,
  bound: str,
  y: str = "any",
) -> Estimator:
  """Makes the estimator of a learned bound.

  Args:
    name: the method's name.
    method: what it maximises and reports.
    options: what is static.
    hyper: keyword -> number, "learning_rate" and what the method's functions take; may be traced.
    bound: "lower", "upper" or "neither".
    y: what y may be, see `Estimator`; labels become one column per class.

  Returns:
    An `Estimator` of real x. Its diagnostics: steps and best_step,
    train_rows and test_rows, k, validation_nats [checks].

  Raises:
    InputError: counts or numbers out of range, labels under `jit`.
  """
  for what in ("steps", "batch_size"):
    checks.at_least(what, getattr(options, what), 1)
  checks.at_least("k", options.k, 2)
  checks.at_least("learning_rate", hyper["learning_rate"], 0.0, strict=True)
  checks.one_of("transform", str(options.transform), TRANSFORMS)

  def value(x, y, z, key):
    columns, transform = _columns(name, y, str(options.transform))
    numbers = {what: jnp.float32(number) for what, number in hyper.items()}
    own = options._replace(transform=(str(options.transform), transform))
    nats, stderr, extra = _run(centre(x), columns, key, numbers, method=method, options=own)
    k = _equal(len(x) - int(len(x) * sum(FRACTIONS)), options.k)[0]
    notes = _ceiling(nats, k) if method.limit and checks.is_concrete(nats) else ()
    if method.limit:
      extra = {**extra, "ceiling_nats": math.log(k)}
    return Value(nats, None, stderr, {**extra, "k": k}, notes)

  return Estimator(
    name=name,
    value=value,
    x="real",
    y=y,
    bound=bound,
    interval="none",
    no_interval=NO_INTERVAL,
    invariances=("translation", "scale"),
    jittable=True,
    needs_key=True,
    min_n=20,
  )


def _columns(name: str, y: Any, transform: str) -> tuple[Array, str]:
  """Real y centred, labels as one column per class."""
  if y.ndim == 2:
    return centre(y), transform
  if not checks.is_concrete(y):
    raise InputError(
      f"{name}: labels cannot be traced, their number of classes is a shape; give "
      "jax.nn.one_hot(labels, classes)."
    )
  return jnp.asarray(np.eye(int(np.max(y)) + 1, dtype=np.float32)[np.asarray(y)]), "none"


def _ceiling(nats: Array, k: int) -> tuple[Note, ...]:
  if float(nats) < 0.85 * math.log(k):
    return ()
  return (
    Note(
      "near_ceiling",
      f"{float(nats):.3f} nats are close to log k = {math.log(k):.3f}, which this bound cannot "
      f"exceed with k = {k} test rows to a block: the information may be larger. Raise k and the "
      "number of samples, or use another bound.",
    ),
  )


def _equal(rows: int, k: int) -> tuple[int, int]:
  """(rows of a block, number of blocks): the fewest equal blocks of at most k rows."""
  blocks = -(-rows // k)
  return rows // blocks, blocks


def _over_blocks(function: Callable[..., Array], data: Tree, size: int, blocks: int) -> Array:
  """[blocks]: the function of each of equal disjoint blocks; less than `blocks` rows are left."""
  cut = jax.tree.map(lambda a: a[: size * blocks].reshape(blocks, size, *a.shape[1:]), data)
  return jax.lax.map(lambda block: function(*block), cut)


@functools.partial(jax.jit, static_argnames=("method", "options"))
def _run(
  x: Array, y: Array, key: Array, hyper: dict[str, Array], *, method: Method, options: Any
) -> tuple[Array, Array, dict[str, Any]]:
  parts = scale(split((x, y), rng.stream(key, "parts"), FRACTIONS), options.transform)
  own = {what: number for what, number in hyper.items() if what != "learning_rate"}
  model = method.model

  def loss(params, batch, key, state=()):
    outputs = model.apply(params, *batch)
    if state:
      nats, state = method.objective(*outputs, state=state, **own)
      return -nats, state
    return -method.objective(*outputs, **own)

  def over(function: Any, apply: Any, params: Tree, data: Tree, size: int, blocks: int) -> Array:
    return _over_blocks(lambda a, b: function(*apply(params, a, b), **own), data, size, blocks)

  def check(params, data, *_):
    size, blocks = _equal(len(data[0]), options.k)
    return -jnp.mean(over(method.check, model.apply, params, data, size, blocks))

  fitted = fit(
    loss,
    model.init(rng.stream(key, "init"), x.shape[1], y.shape[1]),
    parts.train,
    parts.validation,
    key=rng.stream(key, "fit"),
    steps=options.steps,
    batch_size=options.batch_size,
    learning_rate=hyper["learning_rate"],
    check_every=max(1, options.steps // CHECKS),
    patience=PATIENCE,
    clip_norm=CLIP,
    anneal=True,
    average=AVERAGE,
    weight_decay=WEIGHT_DECAY,
    check=check,
    state=method.state,
  )
  rows = len(parts.test[0])
  report = functools.partial(over, method.report, method.report_apply or model.apply)
  nats = jnp.mean(report(fitted.params, parts.test, *_equal(rows, options.k)))
  blocks = max(1, min(BLOCKS, rows // 4))
  small = report(fitted.params, parts.test, rows // blocks, blocks)
  stderr = jnp.std(small, ddof=1) / math.sqrt(blocks) if blocks > 1 else jnp.float32(jnp.nan)
  extra = {
    "steps": fitted.steps,
    "best_step": fitted.best_step,
    "validation_nats": -fitted.history,
    "train_rows": len(parts.train[0]),
    "test_rows": rows,
  }
  return nats, stderr, extra
