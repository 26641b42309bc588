"""The order of a run. At a step s that is due, always in this order:

1. the training metrics since the last log line are written, and their sums reset;
2. the validation split, then the test split, are evaluated and written;
3. the information plane is measured (`config.plane`; of step 0 before the first update);
4. lines and plane are put on disk, and a checkpoint of step s is started.

So a checkpoint of step s stands for all lines up to s. A run continued from it drops the lines
after s and writes them again, the same: nothing else carries state from one step to the next.
"""

from __future__ import annotations

import dataclasses
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from ibjax.cluster import watch
from ibjax.core.errors import DivergedError
from ibjax.core.types import TrainState
from ibjax.metrics.mean import finalize
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.progress import Progress
from ibjax.train.records import Records
from ibjax.train.setup import Setup
from ibjax.train.tracking import Tracking

EXIT_STOPPED = watch.EXIT_STOPPED


class Stopped(Exception):
  """SIGTERM or Ctrl-C came; the state was saved."""


@dataclasses.dataclass
class StopSignal:
  """Notices SIGTERM and the first Ctrl-C; the run stops at the end of the dispatch."""

  name: str = ""

  def __enter__(self) -> StopSignal:
    self._previous: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGTERM, signal.SIGINT):
        self._previous[number] = signal.signal(number, self._notice)
    return self

  def _notice(self, number: int, frame: Any) -> None:
    self.name = signal.Signals(number).name
    if number == signal.SIGINT:  # a second Ctrl-C ends at once
      signal.signal(signal.SIGINT, signal.default_int_handler)

  def __exit__(self, *exc: object) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def seen(self) -> bool:
    """Whether any process was told to stop; all processes get the same answer."""
    if jax.process_count() == 1:
      return bool(self.name)
    return bool(np.any(multihost_utils.process_allgather(np.array(bool(self.name)))))


def train(
  setup: Setup,
  workdir: pathlib.Path,
  begin: Callable[[], TrainState] | None = None,
  pulse: Callable[[int, int, float], None] | None = None,
) -> tuple[TrainState, Records, dict[str, float]]:
  """Trains one run to the end, from the newest checkpoint if there is one.

  Args:
    setup: the run.
    workdir: its folder.
    begin: gives the state of step 0; the program's initial state when None.
    pulse: told (step, total, steps per second) after every dispatch.

  Returns:
    (the state to report, records, {"train_s", "steps_per_s", "step"}).

  Raises:
    DivergedError: a loss was NaN or infinite; the state that made it is in "diverged/".
    CheckpointError: a save or a restore failed.
    Stopped: told to stop; the state was saved.
  """
  main = jax.process_index() == 0
  progress = Progress(setup.spec.total_steps, main, pulse)
  config = setup.config["checkpoint"]
  checkpoints = Checkpoints(
    workdir / "checkpoints", keep=config["keep"], best=config["best"], report=progress.say
  )

  def judge(state: TrainState) -> bool:
    _check_finite(setup, state, workdir, progress)
    return True

  try:
    state, records, timing = advance(
      setup,
      checkpoints,
      lambda step: Records(workdir, step=step, active=main),
      progress,
      judge,
      begin,
    )
    if config["best"] and (best := checkpoints.best_step()) is not None:
      progress.say(f"reporting the checkpoint of step {best}, the best on validation data")
      chosen = checkpoints.restore(setup.abstract, best)
      assert chosen is not None  # best_step() came from the same folder
      timing["step"], state = chosen
      for split, values in evaluate_splits(setup, state).items():
        records.last[split] = values
    return state, records, timing
  finally:
    checkpoints.close()


def advance(
  setup: Setup,
  checkpoints: Checkpoints,
  open_records: Callable[[int], Any],
  progress: Progress,
  judge: Callable[[TrainState], bool],
  begin: Callable[[], TrainState] | None = None,
) -> tuple[TrainState, Any, dict[str, float]]:
  """Takes a run or a population from where its checkpoints are to its last step.

  Args:
    setup: what is trained.
    checkpoints: where its states are kept.
    open_records: gives the records of what continues at a step.
    progress: shows how far it is.
    judge: looks at the state after every dispatch; False ends training early, as nothing is left
      to train.
    begin: gives the state of step 0; the program's initial state when None.

  Returns:
    (final state, records, {"train_s", "steps_per_s", "step"}).

  Raises:
    CheckpointError: a save or a restore failed.
    Stopped: told to stop; the state was saved.
  """
  total = setup.spec.total_steps
  restored = checkpoints.restore(setup.abstract, set_aside=True)
  if restored is None:
    start, state = 0, begin() if begin else setup.runner.init(setup.hyper)
  else:
    start, state = restored[0], setup.runner.load(restored[1])
    progress.say(f"continuing from the checkpoint of step {start}")
  records = open_records(start)
  began = time.monotonic()
  if start < total:
    with StopSignal() as stop:
      state = _steps(setup, state, start, checkpoints, records, progress, judge, stop)
  seconds = time.monotonic() - began
  checkpoints.wait()
  timing = {"step": total, "train_s": seconds}
  if total > start:
    timing["steps_per_s"] = (total - start) / seconds
  return state, records, timing


def _steps(
  setup: Setup,
  state: TrainState,
  start: int,
  checkpoints: Checkpoints,
  records: Any,
  progress: Progress,
  judge: Callable[[TrainState], bool],
  stop: StopSignal,
) -> TrainState:
  total = setup.spec.total_steps
  log_every, eval_every = setup.steps("train.log_every"), setup.steps("eval.every")
  save_every = setup.steps("checkpoint.every")
  feed = setup.train_feed()
  evals = {name: setup.eval_feed(name) for name in ("validation", "test") if name in setup.splits}
  tracking = Tracking(setup)
  depth = setup.config["train"]["steps_per_dispatch"]
  chunks = list(_chunks(start, total, depth, (log_every, eval_every, save_every), tracking.steps))
  tables = feed.tables(iter(chunks))
  upcoming = next(tables, None)

  def track(step: int) -> None:
    before = time.monotonic()
    records.track(step, tracking.about, tracking.measure(state))
    progress.pause(time.monotonic() - before)

  if start == 0 and tracking.steps:
    track(0)
  for first, count in chunks:
    state = setup.runner.run(state, feed.data, upcoming, np.int32(count), setup.hyper)
    upcoming = next(tables, None)  # made while the devices work
    going = judge(state)
    step = first + count if going else total
    progress.update(step)
    if step % log_every == 0 or step == total:
      values = finalize(setup.runner.read(state.acc))
      values["steps_per_s"] = progress.rate()
      records.write(step, "train", values)
      progress.metrics(step, "train", values)
      state = setup.runner.reset(state)
    validation = None
    if step % eval_every == 0 or step == total:
      before = time.monotonic()
      for name, split in evals.items():
        values = evaluate(setup, state, split)
        if name == "validation":
          validation = dict(values)
        values["eval_s"] = time.monotonic() - before
        records.write(step, name, values)
        progress.metrics(step, name, values)
      progress.pause(time.monotonic() - before)
    if step in tracking.steps:
      track(step)
    stopping = stop.seen()
    if step % save_every == 0 or step == total or stopping:
      records.sync()
      checkpoints.save(step, state, validation)
    if step == total:
      break
    if stopping:
      checkpoints.wait()
      progress.say(f"{stop.name or 'stop signal'}: saved step {step}; the same command continues")
      records.close()
      raise Stopped
  return state


def _chunks(
  start: int, total: int, depth: int, everies: tuple[int, ...], steps: tuple[int, ...]
) -> Iterator[tuple[int, int]]:
  """Yields (first step, steps) of each dispatch: full ones, cut short where something is due."""
  step = start
  while step < total:
    due = min((step // every + 1) * every for every in everies)
    due = min(due, next((one for one in steps if one > step), due))
    end = min(step + depth, due, total)
    yield step, end - step
    step = end


def _check_finite(
  setup: Setup, state: TrainState, workdir: pathlib.Path, progress: Progress
) -> None:
  bad = int(state.bad_step)
  if bad < 0:
    return
  folder = save_diverged(state, bad, workdir, progress)
  raise DivergedError(
    f"the loss became NaN or infinite at step {bad}; {offending(state.bad_terms)}. The update was "
    f"not applied; the state that made it is saved in {folder}. Try a lower "
    "config.optimizer.learning_rate, or config.train.clip_norm=1.0."
  )


def save_diverged(
  state: TrainState, step: int, workdir: pathlib.Path, progress: Progress
) -> pathlib.Path:
  """Saves the state whose loss was not finite, beside the run's checkpoints.

  Args:
    state: one run's state.
    step: its step.
    workdir: the run's folder.
    progress: told what goes wrong.

  Returns:
    The folder of the checkpoint.

  Raises:
    CheckpointError: it could not be saved.
  """
  keeper = Checkpoints(workdir / "diverged", keep=1, best="", report=progress.say)
  keeper.save(step, state)
  keeper.wait()
  keeper.close()
  return workdir / "diverged" / str(step)


def offending(bad_terms: Any) -> str:
  """Says which terms of a step were not finite, and shows all.

  Args:
    bad_terms: name -> scalar.

  Returns:
    Text such as "offending: rate_nats (loss_nats=nan, rate_nats=inf)".
  """
  terms = {name: float(value) for name, value in jax.device_get(bad_terms).items()}
  bad = [name for name, value in terms.items() if not np.isfinite(value)]
  bad = [name for name in bad if name != "loss_nats"] or bad
  shown = ", ".join(f"{name}={terms[name]:g}" for name in terms)
  return f"offending: {', '.join(bad)} ({shown})"


def evaluate(setup: Setup, state: TrainState, split: Any) -> dict[str, Any]:
  """Evaluates one split; each example counts exactly once.

  Args:
    setup: the run.
    state: a state.
    split: an `EvalFeed`.

  Returns:
    Name -> average; [members] of a population.
  """
  totals: dict[str, Any] = {}
  for number, batch in enumerate(split):
    metrics = setup.runner.evaluate(state, batch, np.int32(number), setup.hyper)
    for name, (value, count) in setup.runner.read(metrics).items():
      before = totals.get(name, (np.float64(0.0), np.float64(0.0)))
      totals[name] = (before[0] + value, before[1] + count)
  return finalize(totals)


def evaluate_splits(setup: Setup, state: TrainState) -> dict[str, dict[str, Any]]:
  """Evaluates the validation split, if there is one, and the test split.

  Args:
    setup: the run.
    state: a state.

  Returns:
    Split -> name -> average.
  """
  names = [name for name in ("validation", "test") if name in setup.splits]
  return {name: evaluate(setup, state, setup.eval_feed(name)) for name in names}


def evaluate_train_split(setup: Setup, state: TrainState) -> dict[str, dict[str, Any]]:
  """Evaluates the training split as the test split is, if `config.eval.train` asks for it.

  The lines "train" of a run are sums over past steps, in training mode; this is one state's.

  Args:
    setup: the run.
    state: the state to report.

  Returns:
    {"train_split": name -> average}, [members] of a population; {} when it is not asked for.
  """
  if not setup.config["eval"].get("train", False):
    return {}
  return {"train_split": evaluate(setup, state, setup.eval_feed("train"))}


def predictions(setup: Setup, state: TrainState, split: str) -> dict[str, np.ndarray]:
  """Returns the program's per-example predictions on a split, [n, ...] each.

  Args:
    setup: the run.
    state: a state.
    split: "train", "validation" or "test"; one the run has.

  Returns:
    Arrays by name, on the host, one row per example in the order of the split, [n, ...]; of a
    population, [members, n, ...].
  """
  source = setup.eval_feed(split)
  parts: list[dict[str, np.ndarray]] = []
  for number, batch in enumerate(source):
    inputs = {name: batch[name] for name in ("x", "y")}
    values = setup.runner.predict(state, inputs, np.int32(number), setup.hyper)
    host = setup.runner.read(values)
    axis = setup.hyper["seed"].ndim
    parts.append({name: source.trim(number, value, axis) for name, value in host.items()})
  return {name: np.concatenate([part[name] for part in parts], axis) for name in parts[0]}
