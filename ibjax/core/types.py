"""The contracts every room shares: Model, Bottleneck, Objective, Program and what they pass on.

Each is a NamedTuple of pure functions. A factory builds it from keyword hyperparameters,
which may be Python numbers or traced scalars: the factory is called inside the traced
function, so one compiled program serves every value (and, under `vmap`, all at once).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Array = jax.Array
Tree = Any  # a pytree of arrays
Scalar = float | Array  # a hyperparameter: a Python number or a traced scalar
# "x" [n, ...], "y" [n] int labels or [n, t] float targets, "mask" [n] bool (True = counts).
# An objective's x is what the encoder saw: floats in the config's range, augmented.
Batch = Mapping[str, Array]
MetricState = dict[str, tuple[Array, Array]]  # name -> (sum, count)


class Model(NamedTuple):
  """An encoder or decoder.

  Attributes:
    init: `init(key, x) -> (params, state)`; x [n, ...] gives the shapes.
    apply: `apply(params, state, x, *, key, train) -> (out [n, d], state)`. A model with a
      distribution over its weights gives "kl_nats" in its state: a scalar in nats, KL(q(w) ||
      p(w)) of the parameters it was called with. Its "metrics", name -> scalar, are reported.
    random: True when `apply` draws weights at evaluation too, new ones for every row of x.
  """

  init: Callable[..., tuple[Tree, Tree]]
  apply: Callable[..., tuple[Array, Tree]]
  random: bool = False


class Code(NamedTuple):
  """What a bottleneck lets through, and what it costs.

  Attributes:
    value: [n, d] the code passed on to the decoder.
    rate: [n] nats per example, an upper bound on I(X;Z) in expectation; None when the
      channel is not restricted (a deterministic real-valued code has no finite rate).
    bits: [n] exact number of stored bits where the code is discrete, else None.
    aux: what objectives may need beside it; a Gaussian gives "mean" and "log_scale" [n, d]
      and "log_prob" [n].
  """

  value: Array
  rate: Array | None
  bits: Array | None
  aux: Mapping[str, Array]


class Bottleneck(NamedTuple):
  """A restricted channel.

  Attributes:
    features: the width the encoder's output must have.
    init: `init(key) -> (params, state)`.
    apply: `apply(params, state, features [n, features], *, key, train) -> (Code, state)`. A state
      may hold "metrics", name -> scalar from `init` on, which are reported.
    settle: `settle(params, state, features, key) -> (params, state)`, for what is no step along a
      gradient: starting from the data, reviving what is dead. In training it is called on the
      features of a batch before the update, whenever `due` says so. None where there is no such.
    due: `due(state) -> bool scalar`, whether to settle now; after it has, the state says no.
    masks: whether `apply` takes `mask` [n] bool too, the rows that count: what it reports of a
      batch is then not of the rows that pad it.
  """

  features: int
  init: Callable[..., tuple[Tree, Tree]]
  apply: Callable[..., tuple[Code, Tree]]
  settle: Callable[..., tuple[Tree, Tree]] | None = None
  due: Callable[..., Array] | None = None
  masks: bool = False


class Outputs(NamedTuple):
  """What an objective sees of the model.

  Attributes:
    code: the bottleneck's `Code`.
    prediction: [n, c] the decoder's output: logits for labels, the centre of a density for
      targets.
    parameter_kl: scalar nats, KL from the posterior over all weights to their prior; None when
      no model has a distribution over its weights.
    views: how many views of each example there are. The rows are view-major: all examples'
      first views, then all second ones, so that `value.reshape(views, -1, d)` parts them.
  """

  code: Code
  prediction: Array
  parameter_kl: Array | None = None
  views: int = 1


class Term(NamedTuple):
  """One summand of a loss.

  Attributes:
    value: [n] nats per example (the frame masks and averages), or a scalar in nats.
    weight: multiplies the average; may be traced, and may not depend on the batch.
    minimax: the objective's own parameters (a critic) maximise this term while every other
      parameter minimises it.
  """

  value: Array
  weight: Scalar = 1.0
  minimax: bool = False


@dataclasses.dataclass(frozen=True)
class Terms:
  """What `Objective.loss` returns.

  Attributes:
    losses: name (with its unit) -> `Term`; the loss is the sum of weight times average.
    state: the objective's new state.
    metrics: name (with its unit) -> [n] or scalar values that are reported, not minimised.
  """

  losses: Mapping[str, Term]
  state: Tree
  metrics: Mapping[str, Array] = dataclasses.field(default_factory=dict)


class ObjectiveSpec(NamedTuple):
  """What an objective may know of the data and the model before training.

  Attributes:
    label_probs: [c] empirical label distribution of the training split; [0] for targets.
    code_dim: width of the code.
    target_dim: t, width of the real-valued target; 0 for labels.
    target_entropy_nats: differential entropy H(Y) of the target where it is known, else None.
    n_train: number of examples in the training split.
  """

  label_probs: Array
  code_dim: int
  target_dim: int = 0
  target_entropy_nats: float | None = None
  n_train: int = 1


class Objective(NamedTuple):
  """What is minimised.

  Attributes:
    init: `init(key, spec: ObjectiveSpec) -> (params, state)`.
    loss: `loss(params, state, outputs, batch, key, step) -> Terms`.
    couples: whether an example's value depends on the others of its batch. Such an objective
      leaves out masked rows itself, and its value is of the whole batch over all devices, or of
      each device's part of it (`config.batch_scope`, see `ibjax.core.scope`).
    views: the least number of views of each example that it needs (see `config.views`).
    alone: whether its matrix decompositions wait for each other for ever when several devices of
      a CPU make them at once: a population is then trained on one device.
  """

  init: Callable[..., tuple[Tree, Tree]]
  loss: Callable[..., Terms]
  couples: bool = False
  views: int = 1
  alone: bool = False


class Program(NamedTuple):
  """A training procedure as pure functions, before any mesh, jit or file.

  Attributes:
    init: `init(hyper) -> TrainState`.
    step: `step(state, batch, hyper) -> TrainState`, one update.
    evaluate: `evaluate(state, batch, number, hyper) -> MetricState` for a masked batch; the
      number of the batch in its split makes its noise.
    predict: `predict(state, batch, number, hyper) -> {name: [n, ...]}` for records and pictures.
    forward: `forward(state, x, number, hyper) -> {name: [n, ...]}`, see `Trained.forward`; None
      for a program whose models cannot be assessed.
    gradient: `gradient(state, x, y, number, hyper) -> [n, ...]`, see `Trained.gradient`.
    decode: `decode(state, code, number, hyper) -> [n, c]`, see `Trained.decode`.
    functions: name -> `function(state, hyper, ...)`, compiled by itself; see `Trained.functions`.
  """

  init: Callable[..., Any]
  step: Callable[..., Any]
  evaluate: Callable[..., MetricState]
  predict: Callable[..., dict[str, Array]]
  forward: Callable[..., dict[str, Array]] | None = None
  gradient: Callable[..., Array] | None = None
  decode: Callable[..., Array] | None = None
  functions: Mapping[str, Callable[..., Any]] | None = None


class Tapped(NamedTuple):
  """A trained model whose layers can be read and written, as functions on host arrays.

  Attributes:
    fingerprint: a hash of its parameters.
    layers: names of the layers, in the order of the computation.
    data: `data(name, split) -> {"x", "y"}` as the model takes it; name "" is the run's own source.
    capture: `capture(x, layer) -> [n, width] or [n, t, width]`, what the layer gives.
    outputs: `outputs(x, layer, value) -> [n, c] or [n, t, c]`, the model's logits, or predictions
      of targets; where `value`, shaped as `capture` gives it, is not None it takes the place of
      what the layer gives.
    source: the run's own source, as its config names it.
    targets: whether outputs are predictions of real-valued targets.
    names: of the classes or tokens; () for targets.
  """

  fingerprint: str
  layers: tuple[str, ...]
  data: Callable[[str, str], dict[str, Any]]
  capture: Callable[[Any, str], Any]
  outputs: Callable[..., Any]
  source: str
  targets: bool
  names: tuple[str, ...]


class Trained(NamedTuple):
  """A trained model as an assessor sees it: functions on host arrays.

  Attributes:
    data: `data(name, split) -> {"x" [n, ...] float32, "y"}`, x in the model's range; name "" is
      the run's own source, any other the name of a source, e.g. "mnist". y is what the source
      has.
    forward: `forward(x [n, ...]) -> {name: [n, ...]}` in evaluation mode, weights averaged where
      the config averages them: "code" [n, d], the mean of a stochastic code; "prediction" [n, c],
      mean log probabilities over `config.eval.samples` codes, or [n, t] mean predictions of
      targets; for labels "logits" [n, c], the mean of the decoder's outputs over these codes;
      "rate" [n] nats where there is one; and the arrays of `Code.aux`.
    gradient: `gradient(x, y) -> [n, ...]`, of each example's loss by its x: -log of the mean
      probability of the label, or the squared error of the mean prediction over targets.
    value_range: least and largest value of an input whose source stores uint8; None else.
    num_classes: labels are 0..num_classes-1; 0 for targets.
    label_probs: [c] label distribution of the training split.
    seed: the run's.
    config: the run's resolved config.
    target_scale: [t] what a step of 1 in a stored target is in its own unit; () for labels, and
      for targets that are stored in their own unit.
    decode: `decode(code [n, d]) -> [n, c]`, what the decoder makes of a code that is given: log
      probabilities, or the prediction of targets.
    params: {"encoder", "bottleneck", "decoder", "objective"} -> the parameters that `forward` uses,
      as host arrays.
    open: `open(folder) -> Tapped`, the model of another run, e.g. of that whose activations these
      are; None where there is no such.
    functions: what else the program's models can do, by name; a language model has "read" and
      "generate", see `ibjax.programs.interventions`.
    names: of the classes or tokens; () for targets.
    folder: the run's, in which an assessor may leave a file for its page; None where there is none.
    data_dir: where prepared data sets live; None for the default.
  """

  data: Callable[[str, str], dict[str, Any]]
  forward: Callable[[Any], dict[str, Any]]
  gradient: Callable[[Any, Any], Any]
  value_range: tuple[float, float] | None
  num_classes: int
  label_probs: Any
  seed: int
  config: Mapping[str, Any]
  target_scale: tuple[float, ...] = ()
  decode: Callable[[Any], Any] | None = None
  params: Mapping[str, Any] | None = None
  open: Callable[[str], Tapped] | None = None
  functions: Mapping[str, Callable[..., Any]] | None = None
  names: tuple[str, ...] = ()
  folder: Any = None
  data_dir: Any = None


class Measurement(NamedTuple):
  """A measuring procedure: parts measured one by one, and the row they make together.

  A program that trains gives a `Program`; one that measures gives this.

  Attributes:
    method: the name of what measures, for the row.
    data: {"name", "fingerprint", ...} of what is measured, for the manifest.
    parts: names of the parts, in order.
    measure: `measure(part) -> {name: number or text}`, what is recorded of one part. The same
      config and part give the same values, times aside.
    summarize: `summarize({part: recorded}) -> {name: number}`, the metrics of the final row.
  """

  method: str
  data: Mapping[str, Any]
  parts: tuple[str, ...]
  measure: Callable[[str], dict[str, Any]]
  summarize: Callable[[Mapping[str, Mapping[str, Any]]], dict[str, float]]


class TrainState(NamedTuple):
  """Everything a run needs to continue bit for bit; all of it is checkpointed.

  Attributes:
    step: int32 scalar, the number of updates done.
    params: {"encoder", "bottleneck", "decoder", "objective"} -> parameters.
    states: the same names -> moving statistics.
    opt_state: the optimiser's.
    ema: exponential moving average of `params`, or () when off.
    acc: (sum, count) of the training metrics since the last log line.
    bad_step: int32 scalar, the step whose loss was not finite, or -1. The update of that
      step is not applied, so the state is the one that produced the bad loss.
    bad_terms: name -> the terms of the last step, looked at when bad_step >= 0.
  """

  step: Array
  params: Tree
  states: Tree
  opt_state: Tree
  ema: Tree
  acc: Tree
  bad_step: Array
  bad_terms: Tree


class Case(NamedTuple):
  """A tiny input with a known answer, kept beside the method it holds to account.

  Attributes:
    name: what is shown.
    hyper: keyword hyperparameters for the factory.
    inputs: builds the inputs of the room's function (see tests/test_conformance.py).
    expected: name -> value expected of the result.
    source: where the value comes from: a closed form, a limit, an independent computation.
    rtol: relative tolerance; the absolute one is 1e-6 times it.
  """

  name: str
  hyper: Mapping[str, Any]
  inputs: Callable[[], Mapping[str, Any]]
  expected: Mapping[str, Any]
  source: str
  rtol: float = 1e-5


class DataSpec(NamedTuple):
  """What a program knows of its data, before any array exists.

  Attributes:
    x_shape: shape of one input.
    x_dtype: dtype of the stored inputs; uint8 is scaled to `config.data.value_range`.
    num_classes: labels are 0..num_classes-1; 0 for targets.
    label_probs: numpy [c], label distribution of the training split.
    steps_per_epoch: whole batches in the training split.
    total_steps: length of the run.
    target_dim: t, width of the real-valued target; 0 for labels.
    target_entropy_nats: differential entropy H(Y) of the target where it is known, else None.
    n_train: number of examples in the training split.
  """

  x_shape: tuple[int, ...]
  x_dtype: Any
  num_classes: int
  label_probs: Any
  steps_per_epoch: int
  total_steps: int
  target_dim: int = 0
  target_entropy_nats: float | None = None
  n_train: int = 1
