"""The keys every config has, with their defaults and meaning.

A file in `configs/` starts from `defaults()`, fills in the method and returns it. Tuples, not
lists (a list cannot be overridden on the command line); `placeholder(type)`, not None.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
from ml_collections.config_dict import placeholder

from ibjax.core.errors import ConfigError, unknown

VARIANTS = ("", "full", "smoke")


def defaults() -> ml_collections.ConfigDict:
  """Returns the config all recipes start from.

  Returns:
    A `ConfigDict` whose sections encoder, bottleneck, decoder, objective and optimizer name a
    factory (`fn`) and its keywords; the rest is the frame's.

  Example:
    >>> from ibjax.core.config import defaults
    >>> defaults().data.batch_size
    200
  """
  c = ml_collections.ConfigDict()
  c.seed = 0
  c.warm_start = ""  # a finished run to start from: its folder, relative to where this run's is
  c.population = ()  # axes of a population, e.g. (("objective.beta", (0.1, 1.0)), ("seed", (0, 1)))
  c.pairing = "product"  # how the axes combine: "product", or "zip"
  c.continuation = ""  # the axis along which a member starts from the one before it
  c.program = "ibjax.programs.supervised:supervised"
  # Examples that a coupled objective sees together: the whole batch over all devices ("global"), or
  # each device's part of it ("device"; then mesh.data is the number of parts, and must be given).
  c.batch_scope = "global"

  c.data = ml_collections.ConfigDict()
  c.data.source = "mnist"
  c.data.batch_size = 200
  c.data.validation = 0  # examples split off the training set; selection needs some
  c.data.value_range = (-1.0, 1.0)  # uint8 inputs are scaled from 0..255 to this
  c.data.placement = "auto"  # "resident" on the devices, "streamed", or by size ("auto")

  c.encoder = ml_collections.ConfigDict(dict(fn="ibjax.models.mlp:mlp", hidden=(1024, 1024)))
  c.encoder.dropout = placeholder(float)
  c.bottleneck = ml_collections.ConfigDict(dict(fn="ibjax.bottlenecks.identity:identity", dim=10))
  c.decoder = ml_collections.ConfigDict(dict(fn="ibjax.models.mlp:mlp", hidden=()))
  c.objective = ml_collections.ConfigDict(
    dict(fn="ibjax.objectives.supervised.cross_entropy:cross_entropy")
  )

  # Augmented views of each training input: an fn of ibjax/views, its keywords, and how many; with
  # keep_first=True the first of them is the input as it is.
  c.views = ml_collections.ConfigDict(dict(fn="", count=1))

  c.optimizer = ml_collections.ConfigDict(dict(fn="optax:adam", learning_rate=5e-4))
  c.schedule = ml_collections.ConfigDict(dict(fn="ibjax.core.schedules:cosine", warmup="0 steps"))
  # Multiplies objective.beta, in training and evaluation.
  c.beta_schedule = ml_collections.ConfigDict(dict(fn="ibjax.core.schedules:constant"))

  c.train = ml_collections.ConfigDict()
  c.train.duration = "10 epochs"
  c.train.steps_per_dispatch = 50  # updates per call into the compiled program
  c.train.samples = 1  # codes drawn per example and step
  c.train.probe = False  # the decoder reads the code without moving it (representation objectives)
  c.train.clip_norm = placeholder(float)  # clip gradients to this global norm
  c.train.accumulate = 1  # microbatches per update
  c.train.ema = placeholder(float)  # decay of the averaged weights used by evaluation
  c.train.compute_dtype = "float32"  # or "bfloat16"; parameters stay float32
  c.train.remat = False  # recompute activations in the backward pass
  c.train.log_every = "0.5 epochs"

  c.eval = ml_collections.ConfigDict()
  c.eval.every = "1 epochs"
  c.eval.batch_size = 1000
  c.eval.samples = 12  # codes drawn per example; their probabilities are averaged
  c.eval.fgsm = ()  # steps of the fast gradient sign attack at the end, for inputs in [0, 1]

  # What is measured of the trained model: name -> dict(fn="ibjax.evaluators...", keywords). The
  # row has it as "name/metric".
  c.assess = ml_collections.ConfigDict()

  # The information plane: layers tracked through training, see ibjax/programs/plane.py.
  c.plane = ml_collections.ConfigDict()
  c.plane.fn = ""  # "ibjax.programs.plane:plane" measures it; "" is off
  c.plane.points = 30  # steps spaced evenly in the logarithm, beside step 0
  c.plane.steps = ()  # further steps
  c.plane.splits = ("train", "test")  # the inputs X
  c.plane.examples = 0  # as many of them at most; 0 takes all
  # Layers T; patterns of names such as "encoder/dense_1.in", the state that enters that layer.
  c.plane.layers = ("bottleneck.out", "prediction")
  # Name -> dict(fn=..., hyperparameters); and, of the frame, of=("x",) for I(X;T) or ("y",) for
  # I(T;Y) alone, examples=n, as many at most, and inputs="none", "index" or "values": whether
  # I(X;T) is of the layer by itself, with the number of the input as a label, or with its values.
  c.plane.estimators = ml_collections.ConfigDict()
  c.plane.gradient_batches = 0  # mini-batches for the mean and spread of gradients; 0 is off
  c.plane.rank_examples = 0  # examples at which Jacobians are ranked; 0 is off
  c.plane.rank_layers = ("encoder/*.out",)
  c.plane.rank_tolerance = 1e-3  # a singular value counts above it; and above it times the largest

  c.checkpoint = ml_collections.ConfigDict()
  c.checkpoint.every = "1 epochs"
  c.checkpoint.keep = 2
  c.checkpoint.best = ""  # keep the best by this validation metric, e.g. "err_frac"

  c.mesh = ml_collections.ConfigDict(dict(population=1, data=-1, model=1))  # -1: all the rest
  c.sharding = ((".*", ()),)  # first match: regular expression on a parameter's path -> axes
  return c


def language() -> ml_collections.ConfigDict:
  """Returns the config that recipes of language models start from.

  Returns:
    `defaults()` without an encoder and views, with a decoder over the tokens of a text; the
    outputs of the layers that `sites` names go through bottlenecks of their own.

  Example:
    >>> from ibjax.core.config import language
    >>> language().program
    'ibjax.programs.language:language'
  """
  c = defaults()
  del c.encoder, c.views
  c.program = "ibjax.programs.language:language"
  c.data.source = "text:tinyshakespeare:window=128,stride=32"
  c.data.batch_size = 32
  c.decoder = dict(fn="ibjax.models.decoder:decoder")
  c.bottleneck = dict(fn="ibjax.bottlenecks.identity:identity")
  c.sites = ()  # patterns of layers whose outputs go through a bottleneck, e.g. ("block_*/mlp",)
  c.optimizer = dict(fn="optax:adamw", learning_rate=1e-3, weight_decay=0.01)
  c.train.clip_norm = 1.0
  c.eval.samples = 1
  c.eval.batch_size = 128
  return c


def language_smoke(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Shrinks a recipe of a language model to seconds, on the chain of a small state machine.

  Args:
    c: a recipe of `language`; changed in place.

  Returns:
    The same config.
  """
  c.data.source = "finite_state:states=10,successors=2,window=16,n=512,n_test=64"
  c.data.batch_size = 16
  c.decoder.update(dict(layers=2, width=16, heads=2, kv_heads=1, hidden=32))
  c.optimizer.learning_rate = 0.01
  c.schedule.warmup = "0 steps"
  c.train.duration = "40 steps"
  c.train.steps_per_dispatch = 10
  c.train.log_every = "20 steps"
  c.eval.every = "20 steps"
  c.eval.batch_size = 32
  c.checkpoint.every = "20 steps"
  return c


def measuring() -> ml_collections.ConfigDict:
  """Returns the config that recipes start from whose program measures and trains nothing.

  Returns:
    A `ConfigDict` whose section estimator names a factory (`fn`) and its keywords.

  Example:
    >>> from ibjax.core.config import measures, measuring
    >>> measures(measuring())
    True
  """
  c = ml_collections.ConfigDict()
  c.seed = 0  # of the samples and of what the estimator draws
  c.program = "ibjax.programs.estimate:estimate"
  c.data = ml_collections.ConfigDict()
  c.data.tasks = "bmi:*"  # names of tasks, "PATTERN[;PATTERN]"; see `ibjax.data.synthetic`
  c.data.n = 2000  # samples of each task
  c.data.rescale = True  # each column to zero mean and unit variance, in float64
  c.estimator = ml_collections.ConfigDict(
    dict(fn="ibjax.estimators.combined.recommended:recommended")
  )
  return c


def measures(config: Mapping[str, Any] | ml_collections.ConfigDict) -> bool:
  """Whether a config's program measures; else it trains.

  Args:
    config: a config, resolved or not.

  Returns:
    True when it has no section "train".
  """
  return "train" not in config


def choose_variant(argument: str | None, known: tuple[str, ...] = VARIANTS) -> str:
  """Checks the argument after the colon of `--config=FILE.py:ARGUMENT`.

  Args:
    argument: as given; None or "" is the default recipe.
    known: the variants the file has.

  Returns:
    The variant, "" for the default.

  Raises:
    ConfigError: an unknown variant; names the nearest one.
  """
  argument = argument or ""
  if argument not in known:
    options = tuple(name for name in known if name)
    raise ConfigError(
      unknown("config argument", argument, options, "Leave it out for the default.")
    )
  return argument


def paper_schedule(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Sets the schedule of Alemi et al.'s demonstration: batch 100, Adam 1e-4, 200 epochs.

  Adam with b1 = 0.5, the rate times 0.97 every 2 epochs, weights averaged with 0.999.

  Args:
    c: a config; changed in place.

  Returns:
    The same config.
  """
  c.data.batch_size = 100
  c.optimizer = dict(fn="optax:adam", learning_rate=1e-4, b1=0.5)
  c.schedule = dict(fn="ibjax.core.schedules:staircase", decay=0.97, every="2 epochs")
  c.train.duration = "200 epochs"
  c.train.ema = 0.999
  c.eval.every = "5 epochs"
  c.checkpoint.every = "5 epochs"
  return c


def few_examples(c: ml_collections.ConfigDict, n: int = 400) -> ml_collections.ConfigDict:
  """Sets a toy problem with few training examples, each step on all of them.

  Adam with a cosine from 0.01 for 2,000 steps: long enough for maximum likelihood to overfit.

  Args:
    c: a config; changed in place.
    n: training examples.

  Returns:
    The same config.
  """
  c.data.source = f"toy:moons:n={n},seed=0"
  c.data.batch_size = n
  c.encoder.hidden = (50,)
  c.optimizer.learning_rate = 0.01
  c.train.duration = "2000 steps"
  c.train.steps_per_dispatch = 200
  c.train.log_every = "200 steps"
  c.eval.every = "1000 steps"
  c.eval.batch_size = 2000
  c.eval.train = True  # the last state on the training split too: "train_split/..." of the row
  c.checkpoint.every = "2000 steps"
  return c


def few_examples_variant(c: ml_collections.ConfigDict, variant: str) -> ml_collections.ConfigDict:
  """Makes a recipe of `few_examples` ten times as long ("full"), or 100 steps ("smoke").

  Args:
    c: the finished recipe; changed in place.
    variant: as `choose_variant` gives it; "" changes nothing.

  Returns:
    The same config.
  """
  if variant == "full":
    c.train.duration = "20000 steps"
    c.eval.every = "10000 steps"
    c.checkpoint.every = "10000 steps"
  if variant == "smoke":
    c.train.duration = "100 steps"
    c.train.steps_per_dispatch = 50
    c.train.log_every = "50 steps"
    c.eval.samples = min(c.eval.samples, 4)
  return c


def self_supervised(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Sets the training of a representation by two views of each image, without labels.

  784-512-256 and a projection 256-64 that the objective compares; a linear decoder reads the code
  and moves nothing, so that its error says what the code is worth. 10 epochs of 500 examples.

  Args:
    c: a config; changed in place.

  Returns:
    The same config.
  """
  c.data.batch_size = 500
  c.encoder.hidden = (512,)
  c.encoder.activate_out = True
  c.bottleneck = dict(fn="ibjax.bottlenecks.projection:projection", dim=256, hidden=(256,), out=64)
  c.views = dict(fn="ibjax.views.image_augmentation:image_augmentation", count=2)
  c.views.update(dict(shift=0.12, zoom=0.25, stretch=0.15, erase=0.4, noise=0.1))
  c.optimizer.learning_rate = 1e-3
  c.train.probe = True
  c.eval.samples = 1  # nothing is sampled
  return c


def self_supervised_variant(
  c: ml_collections.ConfigDict, variant: str
) -> ml_collections.ConfigDict:
  """Makes a recipe of `self_supervised` ten times as long ("full"), or a few seconds ("smoke").

  Args:
    c: the finished recipe; changed in place.
    variant: as `choose_variant` gives it; "" changes nothing.

  Returns:
    The same config.
  """
  if variant == "full":
    c.train.duration = "100 epochs"
    c.eval.every = "10 epochs"
    c.checkpoint.every = "10 epochs"
  if variant == "smoke":
    shrink(c)
    c.bottleneck.update(dict(dim=32, hidden=(32,), out=16))
    c.views.erase = 0.0  # of 8 by 8 pixels little would be left
    c.train.duration = "12 epochs"
    c.eval.every = "4 epochs"
    c.eval.samples = 1
  return c


def pairwise(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Sets the frame of recipes whose objective looks at all pairs of a batch, on MNIST.

  784-256-256-32, 5 epochs of batch 256, evaluated in batches of the same size.

  Args:
    c: a config; changed in place.

  Returns:
    The same config.
  """
  c.data.batch_size = 256
  c.encoder.hidden = (256, 256)
  c.bottleneck.dim = 32
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "5 epochs"
  c.eval.batch_size = 256  # of all pairs; what depends on the batch's size is of one size
  c.eval.samples = 1
  return c


def pairwise_variant(c: ml_collections.ConfigDict, variant: str) -> ml_collections.ConfigDict:
  """Makes a recipe of `pairwise` 100 epochs long ("full"), or seconds ("smoke").

  Args:
    c: the finished recipe; changed in place.
    variant: as `choose_variant` gives it; "" changes nothing.

  Returns:
    The same config.
  """
  if variant == "full":
    c.train.duration = "100 epochs"
    c.eval.every = "5 epochs"
    c.checkpoint.every = "5 epochs"
  if variant == "smoke":
    shrink(c)
    c.eval.batch_size = 64
    c.bottleneck.dim = 8
  return c


def compared(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Sets the frame in which objectives are compared at equal information, on MNIST.

  784-256-256, 2 epochs of batch 256, error under attack, and Kuzushiji-MNIST as the outside set.

  Args:
    c: a config; changed in place.

  Returns:
    The same config.
  """
  c.data.batch_size = 256
  c.encoder.hidden = (256, 256)
  c.optimizer.learning_rate = 1e-3
  c.train.duration = "2 epochs"
  c.eval.every = "2 epochs"
  c.eval.batch_size = 2000  # the bounds on I(X;Z) are close up to log 2000 = 7.6 nats
  c.eval.fgsm = (0.1,)
  c.checkpoint.every = "2 epochs"
  outside = dict(fn="ibjax.evaluators.outside:outside", sources=("kmnist",))
  c.assess.outside = dict(**outside, fit_examples=5000, examples=2000)
  return c


def compared_variant(c: ml_collections.ConfigDict, variant: str) -> ml_collections.ConfigDict:
  """Makes a recipe of `compared` the paper's schedule ("full"), or seconds long ("smoke").

  Args:
    c: the finished recipe; changed in place.
    variant: as `choose_variant` gives it; "" changes nothing.

  Returns:
    The same config.
  """
  if variant == "full":
    paper_schedule(c)
  if variant == "smoke":
    shrink(c)
    c.assess = ml_collections.ConfigDict()
  return c


def shrink(c: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
  """Shrinks a recipe to its smoke form: the same method in seconds, on scikit-learn's digits.

  Args:
    c: a config whose encoder has `hidden`; changed in place.

  Returns:
    The same config.
  """
  c.data.source = "digits"
  c.data.batch_size = 64
  c.optimizer.learning_rate = 0.01  # enough for a few dozen steps to learn something
  c.encoder.hidden = tuple(32 for _ in c.encoder.hidden)
  c.train.duration = "3 epochs"
  c.train.steps_per_dispatch = 10
  c.eval.batch_size = 128
  c.eval.samples = 2
  return c


def resolved(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns the config as plain nested dictionaries of JSON values (tuples become lists).

  Args:
    config: a config of values that JSON can hold.

  Returns:
    A copy that shares nothing with the config.
  """
  return json.loads(json.dumps(config.to_dict()))


def config_hash(config: Mapping[str, Any]) -> str:
  """Returns a 12-digit hash of a resolved config, independent of key order.

  Args:
    config: the resolved config (plain nested dictionaries).

  Returns:
    12 hex digits (the first of a sha256).
  """
  text = json.dumps(config, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
  """Yields ("section.key", value) for every leaf, in order.

  Args:
    config: nested dictionaries; one without keys yields nothing.
    prefix: put before every key, e.g. "objective.".
  """
  for key, value in config.items():
    if isinstance(value, Mapping):
      yield from flatten(value, f"{prefix}{key}.")
    else:
      yield f"{prefix}{key}", value


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Describes how two resolved configs differ, one line per key; [] when they are equal.

  Args:
    old: the resolved config before.
    new: the resolved config after.

  Returns:
    Lines "section.key: before -> after", by key; "(absent)" where a side lacks the key.
  """
  before, after = dict(flatten(old)), dict(flatten(new))
  lines = []
  for key in sorted(before.keys() | after.keys()):
    if key not in before:
      lines.append(f"{key}: (absent) -> {after[key]!r}")
    elif key not in after:
      lines.append(f"{key}: {before[key]!r} -> (absent)")
    elif before[key] != after[key]:
      lines.append(f"{key}: {before[key]!r} -> {after[key]!r}")
  return lines


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Describes how a recipe changed, whatever keys the project has gained since.

  A key that the old config does not have, and that the new one has at its default, is no change:
  the default of a new key is what was done before there was one.

  Args:
    old: a resolved config, perhaps of an earlier version.
    new: a resolved config of today.

  Returns:
    Lines as `difference` gives them; [] when both are one recipe.

  Example:
    >>> from ibjax.core.config import changed, defaults, resolved
    >>> new = resolved(defaults())
    >>> old = {key: value for key, value in new.items() if key != "warm_start"}
    >>> changed(old, new), changed(old, {**new, "warm_start": "a"})
    ([], ["warm_start: (absent) -> 'a'"])
  """
  before, after = dict(flatten(old)), dict(flatten(new))
  start = dict(flatten(resolved(measuring() if measures(new) else defaults())))
  gained = {
    key
    for key, value in after.items()
    if key not in before and key in start and start[key] == value
  }
  lines = difference(old, new)
  return [line for line in lines if line.partition(": ")[0] not in gained]
