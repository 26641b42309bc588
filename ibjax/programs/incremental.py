"""Class-incremental learning: classes come group after group, and what is kept of each is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ibjax.core import checks
from ibjax.core.errors import ConfigError, DivergedError
from ibjax.core.resolver import resolve
from ibjax.core.types import DataSpec, Measurement, Program, TrainState
from ibjax.data import class_sequence, feed, fingerprint, order
from ibjax.data import source as source_lib
from ibjax.evaluators.forgetting import average_accuracy, forgetting, group_accuracies
from ibjax.programs import hyper as hyper_lib

SUPERVISED = "ibjax.programs.supervised:supervised"
EVAL_BATCH = 500  # test examples looked at together


class _Data(NamedTuple):
  """All arrays of a run: its examples, and the rows of every batch, group by group."""

  train: source_lib.Arrays
  test: source_lib.Arrays
  tables: list[np.ndarray]
  unlabelled: np.ndarray
  unlabelled_table: np.ndarray


def incremental(config: Mapping[str, Any]) -> Measurement:
  """Trains one model on groups of classes, one after another, and scores all classes after each.

  Formula: the classes, in an order drawn by the seed (or by number, `config.data.shuffle=False`),
  come `config.data.split_classes` at a time, each group for `config.training.epochs` passes. The
  model is told neither which group it is in nor when one ends, and always chooses among all
  classes. Part t of the measurement is the state after group t.

  First, `config.unlabelled.steps` updates on inputs without labels, of another source
  (`config.unlabelled.source`) or of `config.unlabelled.examples` training examples that are put
  aside and not trained on. Of these only moving statistics are kept, such as the keys of
  `ibjax.bottlenecks.key_value`; parameters and optimiser begin anew, so nothing learned there of a
  made-up label can remain.

  With `config.training.rehearsal` = m > 0 a memory of m examples is replayed beside the stream
  (`ibjax.data.class_sequence.with_rehearsal`): every batch has as many examples again.
  split_classes = the number of classes is training on all at once, the control.

  The row: `accuracy_frac`, of all classes at the end; `average_accuracy_frac`, over the stages, on
  the classes that came so far; `forgetting_frac`, the mean over groups of the best accuracy before
  the end less the last one (`ibjax.evaluators.forgetting`), absent for one group;
  `after_<t>_accuracy_frac`, of all classes after group t; `group_<g>_forgetting_frac`; `rate_nats`
  of the code, where it has one; `steps` of training with labels.

  Args:
    config: {"seed", "data": {"tasks": a source with labels, "n": training examples used, 0 for
      all, "split_classes", "shuffle"}, "unlabelled": {"source", "examples", "steps",
      "batch_size"}, "training": {"epochs", "batch_size", "rehearsal"}, "recipe": the sections of
      `ibjax.core.config.defaults` that make a model and its update}.

  Returns:
    The measurement, of one part a group. A part whose predecessor was measured by another process
    is trained again from the start, to the same values.

  Raises:
    ConfigError: groups that do not divide the classes, sizes that the data do not have, sources
      whose inputs differ in shape, or a recipe that does not fit or that learns keys for another
      number of steps than it gets.
    InputError: a number outside its range.

  Source: the protocol of Traeuble et al. 2023 (arXiv:2207.11240), section 5; forgetting of
  Chaudhry et al. 2018 (arXiv:1801.10112).
  """
  _check(config)
  recipe = {**config["recipe"], "seed": config["seed"]}
  source = source_lib.load(config["data"]["tasks"], None)
  if not source.num_classes:
    raise ConfigError(f"'{source.name}' has real-valued targets; this program needs labels.")
  sequence = (config["data"]["split_classes"], config["seed"], config["data"]["shuffle"])
  groups = class_sequence.class_groups(source.num_classes, *sequence)
  data, marks = _read(config, source, groups)
  labels = np.bincount(data.train["y"], minlength=source.num_classes)
  spec = DataSpec(
    x_shape=data.train["x"].shape[1:],
    x_dtype=data.train["x"].dtype,
    num_classes=source.num_classes,
    label_probs=labels / labels.sum(),
    steps_per_epoch=sum(len(table) for table in data.tables) // config["training"]["epochs"],
    total_steps=sum(len(table) for table in data.tables),
    n_train=len(data.train["y"]),
  )
  hyper = hyper_lib.traced(recipe)
  programs = [resolve(r["program"])(r, None, spec) for r in (recipe, _frozen(recipe, config))]
  jax.eval_shape(programs[0].init, hyper)  # what does not fit is said before measuring
  parts = tuple(f"group {number + 1}" for number in range(len(groups)))
  compiled = _compiled(programs, (hyper_lib.static_key(recipe), str(spec)))
  learner = _Learner(compiled, hyper, data)
  counts = np.bincount(data.test["y"], minlength=source.num_classes)

  def measure(part: str) -> dict[str, Any]:
    number = parts.index(part)
    right, rate = learner.after(number)
    hits = np.bincount(data.test["y"], weights=right, minlength=source.num_classes)
    found: dict[str, Any] = {"classes": " ".join(map(str, groups[number]))}
    found["accuracy_frac"] = float(right.mean())
    if rate is not None:
      found["rate_nats"] = rate
    return found | {
      f"class_{c}_frac": float(h / n) for c, (h, n) in enumerate(zip(hits, counts)) if n
    }

  def summarize(done: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    stages = [done[part] for part in parts]
    by_class = np.array(
      [[stage.get(f"class_{c}_frac", 0.0) for c in range(len(counts))] for stage in stages]
    )
    accuracy = group_accuracies(by_class, counts, groups)
    row = {"accuracy_frac": stages[-1]["accuracy_frac"], "steps": spec.total_steps}
    row["average_accuracy_frac"] = average_accuracy(accuracy)
    lost = forgetting(accuracy)
    if len(lost):
      row["forgetting_frac"] = float(lost.mean())
    row |= {f"after_{t + 1}_accuracy_frac": s["accuracy_frac"] for t, s in enumerate(stages)}
    row |= {f"group_{g + 1}_forgetting_frac": float(value) for g, value in enumerate(lost)}
    return row | {name: stages[-1][name] for name in ("rate_nats",) if name in stages[-1]}

  return Measurement(
    method=recipe["bottleneck"]["fn"].rpartition(":")[2],
    data={"name": source.name, "fingerprint": marks, "n_train": spec.n_train},
    parts=parts,
    measure=measure,
    summarize=summarize,
  )


class _Learner:
  """A model on its way through the groups; it goes on from where it is, or begins again."""

  def __init__(self, functions: Mapping[str, Callable], hyper: Mapping[str, Any], data: _Data):
    self._functions, self._hyper, self._data = functions, hyper, data
    self._state: Any = None
    self._reached = len(data.tables)  # nowhere: what is asked for is behind

  def after(self, number: int) -> tuple[np.ndarray, float | None]:
    """(whether each test example is right after a group, mean rate of their codes or None)."""
    data, start = self._data, self._reached + 1
    if self._reached > number:
      self._state, start = self._begin(), 0
    self._reached = len(data.tables)  # until the state is that of a group again
    for at in range(start, number + 1):
      self._run("run", data.train["x"], data.train["y"], data.tables[at], f"group {at + 1}")
    self._reached = number
    size = min(EVAL_BATCH, len(data.test["y"]))
    found = [
      jax.device_get(self._functions["look"](self._state, data.test["x"][rows], self._hyper))
      for rows in order.eval_batches(len(data.test["y"]), size)[0]
    ]
    seen = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    seen = {name: values[: len(data.test["y"])] for name, values in seen.items()}
    rate = float(seen["rate"].mean()) if "rate" in seen else None
    return seen["chosen"] == data.test["y"], rate

  def _begin(self) -> TrainState:
    data, fresh = self._data, self._functions["init"](self._hyper)
    if not len(data.unlabelled_table):
      return fresh
    self._state = fresh
    labels = np.zeros(len(data.unlabelled), np.int32)
    table = data.unlabelled_table
    self._run("run_unlabelled", data.unlabelled, labels, table, "the unlabelled steps")
    return self._functions["init"](self._hyper)._replace(states=self._state.states)

  def _run(self, name: str, x: np.ndarray, y: np.ndarray, table: np.ndarray, where: str) -> None:
    self._state = self._functions[name](self._state, x, y, table, self._hyper)
    if (step := int(self._state.bad_step)) >= 0:
      raise DivergedError(
        f"the loss became NaN or infinite in {where}, at step {step}. Lower "
        "config.recipe.optimizer.learning_rate, or look at the inputs."
      )


# Compiled functions: one set for all recipes that differ in traced values alone.
_COMPILED: dict[tuple[str, ...], dict[str, Callable[..., Any]]] = {}


def _compiled(programs: Sequence[Program], key: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
  if key not in _COMPILED:
    unlabelled, labelled = programs

    def runner(program: Program) -> Callable[..., TrainState]:
      def run(state, x, y, table, hyper):
        def one(state, rows):
          batch = {"x": x[rows], "y": y[rows], "mask": jnp.ones(rows.shape, bool)}
          return program.step(state, batch, hyper), None

        return jax.lax.scan(one, state, table)[0]

      return run

    def look(state, x, hyper):
      assert labelled.forward is not None  # `_check` asks for a program that has it
      found = labelled.forward(state, x, 0, hyper)
      chosen = jnp.argmax(found["prediction"], axis=-1)
      return {"chosen": chosen, **{name: found[name] for name in ("rate",) if name in found}}

    functions = {
      "init": unlabelled.init,
      "run_unlabelled": runner(unlabelled),
      "run": runner(labelled),
      "look": look,
    }
    _COMPILED[key] = {name: jax.jit(function) for name, function in functions.items()}
  return _COMPILED[key]


def _frozen(recipe: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
  """The recipe after the unlabelled steps: keys neither start nor move again."""
  if not (config["unlabelled"]["steps"] and "key_steps" in recipe["bottleneck"]):
    return recipe
  kept = {name: value for name, value in recipe["bottleneck"].items() if name != "start"}
  return {**recipe, "bottleneck": {**kept, "key_steps": 0}}


def _read(
  config: Mapping[str, Any], source: source_lib.Source, groups: tuple[tuple[int, ...], ...]
) -> tuple[_Data, str]:
  """(all arrays, the fingerprint of the data sets)."""
  sizes, training = config["unlabelled"], config["training"]
  for needed in ("train", "test"):
    if needed not in source.splits:
      raise ConfigError(f"'{source.name}' has no split '{needed}' here; this program needs it.")
  rows, marks = np.arange(source.splits["train"].n), {"tasks": source.fingerprint}
  unlabelled = np.zeros((0, *source.x_shape), source.x_dtype)
  if not sizes["source"] and sizes["examples"]:
    # Put aside whether used or not, so that methods without keys train on the same examples.
    _fits("config.unlabelled.examples", sizes["examples"], len(rows) - 1)
    rows, aside = order.held_out(len(rows), sizes["examples"])
    unlabelled = feed.read_all(feed.subset(source.splits["train"], aside))["x"]
  elif sizes["source"] and sizes["steps"]:
    other = source_lib.load(sizes["source"], None)
    marks["unlabelled"] = other.fingerprint
    if (other.x_shape, other.x_dtype) != (source.x_shape, source.x_dtype):
      raise ConfigError(
        f"config.unlabelled.source='{other.name}' has inputs {list(other.x_shape)} "
        f"{other.x_dtype}, and '{source.name}' {list(source.x_shape)} {source.x_dtype}. Both must "
        "come from one encoder."
      )
    split = other.splits.get("train", other.splits["test"])
    if sizes["examples"]:
      _fits("config.unlabelled.examples", sizes["examples"], split.n)
      split = feed.subset(split, order.held_out(split.n, sizes["examples"])[1])
    unlabelled = feed.read_all(split)["x"]
  if sizes["steps"]:
    _fits("config.unlabelled.batch_size", sizes["batch_size"], len(unlabelled))
  if config["data"]["n"]:
    _fits("config.data.n", config["data"]["n"], len(rows))
    rows = rows[order.held_out(len(rows), config["data"]["n"])[1]]
  train = feed.read_all(feed.subset(source.splits["train"], rows))
  seed = config["seed"]
  given = (groups, training["epochs"], training["batch_size"], seed)
  tables = class_sequence.stream(train["y"], *given)
  if training["rehearsal"]:
    tables = class_sequence.with_rehearsal(tables, training["rehearsal"], seed)
  table = [
    order.batch_indices(seed, step, len(unlabelled), sizes["batch_size"])
    for step in range(sizes["steps"])
  ]
  test = feed.read_all(source.splits["test"])
  return _Data(train, test, tables, unlabelled, np.array(table)), fingerprint.combine(marks)


def _fits(name: str, value: int, most: int) -> None:
  if not 1 <= value <= most:
    raise ConfigError(f"{name}={value}, and there are {most} examples; use 1 to {most}.")


def _check(config: Mapping[str, Any]) -> None:
  training, steps = config["training"], config["unlabelled"]["steps"]
  checks.at_least("config.training.epochs", training["epochs"], 1)
  checks.at_least("config.training.batch_size", training["batch_size"], 1)
  checks.at_least("config.training.rehearsal", training["rehearsal"], 0)
  checks.at_least("config.unlabelled.steps", steps, 0)
  checks.at_least("config.data.n", config["data"]["n"], 0)
  recipe = config["recipe"]
  if recipe["program"] != SUPERVISED:
    raise ConfigError(f"config.recipe.program='{recipe['program']}'; expected '{SUPERVISED}'.")
  learning = recipe["bottleneck"].get("key_steps", steps)
  if learning != steps:
    raise ConfigError(
      f"config.recipe.bottleneck.key_steps={learning}, and config.unlabelled.steps={steps}: keys "
      "are learned on the unlabelled inputs and on nothing else. Make them equal."
    )
