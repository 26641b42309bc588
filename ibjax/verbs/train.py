"""`ibjax train`: one run from a config, continued if it was started before."""

from __future__ import annotations

import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags

from ibjax.core import files
from ibjax.core.config import config_hash, difference
from ibjax.core.errors import ConfigError
from ibjax.evaluators.summary import summarize
from ibjax.report.page import write_page
from ibjax.report.row import format_row
from ibjax.report.runs import read_run
from ibjax.train import loop, records
from ibjax.train.dry_run import describe
from ibjax.train.setup import Setup, build
from ibjax.verbs.flags import config_path, given, load_config, overrides, wants_help


def run(argv: Sequence[str]) -> int:
  """Trains; see `ibjax train --help`.

  Args:
    argv: the arguments after the verb.

  Returns:
    0 when the run is finished; 75 when SIGTERM or Ctrl-C stopped it and all is saved, so that
    the same command continues.

  Raises:
    IbjaxError: bad input, before training starts; or a stop that says what to do.
  """
  values = flags.FlagValues()
  flags.DEFINE_string("workdir", None, "The run's folder.", flag_values=values)
  flags.DEFINE_string("data_dir", None, "Where prepared data sets live.", flag_values=values)
  flags.DEFINE_bool("dry_run", False, "Show what would run, and stop.", flag_values=values)
  flags.DEFINE_bool(
    "allow_config_change", False, "Continue a run under another config.", flag_values=values
  )
  define_processes(values)
  if wants_help("train", values, argv, config=True):
    return 0
  config = load_config("train", values, argv)
  options = given(values)
  start_processes(options)
  if options["dry_run"]:
    print(describe(build(config, options["data_dir"])))
    return 0
  if options["workdir"] is None:
    raise ConfigError("`ibjax train` needs --workdir=FOLDER, where the run keeps all it writes.")
  workdir = pathlib.Path(options["workdir"])
  records.prepare_workdir(workdir)
  old = records.read_manifest(workdir)
  if old is not None:
    check_same(old["config"], config, workdir, options["allow_config_change"])
    if old["config"] == config and (workdir / "result.json").exists():
      show(workdir, "this run is finished; its row:")
      return 0
  setup = build(config, options["data_dir"])
  if jax.process_index() == 0:
    manifest = make_manifest(setup, argv, old)
    files.write_json(workdir / "manifest.json", manifest)
    (workdir / "result.json").unlink(missing_ok=True)
  try:
    state, lines, timing = loop.train(setup, workdir)
  except loop.Stopped:
    return loop.EXIT_STOPPED
  finish(setup, state, lines, timing, workdir)
  return 0


def define_processes(values: flags.FlagValues) -> None:
  """Defines the flags that join several processes to one run.

  Args:
    values: flags; --coordinator, --num_processes and --process_id are added.
  """
  flags.DEFINE_string("coordinator", None, "host:port of process 0.", flag_values=values)
  flags.DEFINE_integer("num_processes", 1, "Processes of this run.", flag_values=values)
  flags.DEFINE_integer("process_id", 0, "Number of this process.", flag_values=values)


def start_processes(options: Mapping[str, Any]) -> None:
  """Joins the other processes, when there are any.

  Args:
    options: the parsed flags, of which those of `define_processes` are read.

  Raises:
    ConfigError: several processes without a coordinator or with a number out of range.
  """
  count, number = options["num_processes"], options["process_id"]
  if count == 1 and not options["coordinator"]:
    return
  if count < 1:
    raise ConfigError(f"--num_processes={count} must be at least 1.")
  if not options["coordinator"] or not 0 <= number < count:
    raise ConfigError(
      f"--num_processes={count} needs --coordinator=HOST:PORT (of process 0) and "
      f"--process_id in 0..{count - 1}, another one for each process."
    )
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.distributed.initialize(options["coordinator"], count, number)


def check_same(
  old: dict[str, Any], new: dict[str, Any], workdir: pathlib.Path, allowed: bool
) -> None:
  """Raises ConfigError, with the difference, unless a run is continued under its own config.

  Args:
    old: the resolved config in the folder's manifest.
    new: the resolved config asked for.
    workdir: the run's folder, for the message.
    allowed: whether --allow_config_change was given.

  Raises:
    ConfigError: they differ, and that was not allowed.
  """
  lines = difference(old, new)
  if lines and not allowed:
    shown = "\n  ".join(lines)
    raise ConfigError(
      f"{workdir} holds a run of another config:\n  {shown}\n"
      "Choose another --workdir, undo the change, or pass --allow_config_change to continue "
      "that run under the new config."
    )


def make_manifest(setup: Setup, argv: Sequence[str], old: dict[str, Any] | None) -> dict[str, Any]:
  """Describes the run: what was asked for, with which code, data and devices.

  Args:
    setup: the run.
    argv: the arguments after the verb.
    old: the manifest of the run continued, None for a new one.

  Returns:
    The manifest. A run continued keeps its first start ("started", "commit", "versions", ...), and
    this start is added to "resumes", with what changed in the config.

  Raises:
    ConfigError: the data changed since the run began.
  """
  session = records.session()
  manifest: dict[str, Any] = {
    "config": setup.config,
    "config_hash": config_hash(setup.config),
    "config_file": config_path(argv),
    "overrides": overrides(argv),
    "command": shlex.join(["ibjax", "train", *argv]),
    **session,
    "data": {
      "name": setup.source.name,
      "fingerprint": setup.source.fingerprint,
      **{f"n_{name}": split.n for name, split in setup.splits.items()},
    },
    "batch_scope": setup.config["batch_scope"],
    "resumes": [],
  }
  if old is None:
    return manifest
  if old["data"]["fingerprint"] != setup.source.fingerprint:
    raise ConfigError(
      f"the data set '{setup.source.name}' has changed since this run began (fingerprint "
      f"{old['data']['fingerprint'][:12]}, now {setup.source.fingerprint[:12]}). Start a new run "
      "in another --workdir."
    )
  changes = difference(old["config"], setup.config)
  entry = {**session, **({"config_change": changes} if changes else {})}
  kept = {key: old[key] for key in session if key in old}
  return {**manifest, **kept, "resumes": [*old.get("resumes", []), entry]}


def finish(
  setup: Setup,
  state: Any,
  lines: records.Records,
  timing: dict[str, float],
  workdir: pathlib.Path,
) -> None:
  """Writes predictions, the final row, pictures and the report, and prints where they are.

  Every process must call it, as all take part in the predictions; only process 0 writes.

  Args:
    setup: the run.
    state: the state to report.
    lines: the run's records; closed here.
    timing: {"train_s", "steps_per_s", "step"}, as `loop.train` gives it.
    workdir: the run's folder.
  """
  values = loop.predictions(setup, state, "test")
  if jax.process_index() != 0:
    return
  lines.close()
  files.write_npz(workdir / "predictions.npz", values)
  files.write_npz(workdir / "confusions.npz", confusions(setup, values))
  lines.last.setdefault("test", {}).update(summarize(values))
  files.write_json(workdir / "result.json", result_row(setup, lines.last, timing))
  write_page(workdir)
  show(workdir, "")


def result_row(
  setup: Setup, last: dict[str, dict[str, float]], timing: dict[str, float]
) -> dict[str, Any]:
  """The run's final row: flat, name to number or short text.

  Args:
    setup: the run.
    last: split -> name -> the last value; NaN and infinite ones are left out.
    timing: name -> number, put last.

  Returns:
    {"objective", "data", "seed", ..., "test/err_frac", ..., "step", "train_s"}.
  """
  row: dict[str, Any] = {
    "objective": setup.config["objective"]["fn"].rpartition(":")[2],
    "data": setup.source.name,
    "config_hash": config_hash(setup.config),
    "batch_scope": setup.config["batch_scope"],
    "seed": setup.config["seed"],
  }
  if "beta" in setup.config["objective"]:
    row["beta"] = setup.config["objective"]["beta"]
  for split, values in last.items():
    for name, value in values.items():
      if np.isfinite(value):
        row[f"{split}/{name}"] = value
  return {**row, **timing}


def confusions(setup: Setup, values: dict[str, np.ndarray], most: int = 24) -> dict[str, Any]:
  """The most confident mistakes on the test split, with their images.

  Args:
    setup: the run.
    values: per-example arrays of the test split; "label", "prediction" and "confidence" are read.
    most: how many mistakes at most.

  Returns:
    {"images": [k, ...] as stored, "label": [k], "prediction": [k], "confidence": [k],
    "class_names": [c]}, the most confident first; k is at most `most`.
  """
  wrong = np.flatnonzero(values["label"] != values["prediction"])
  rows = wrong[np.argsort(-values["confidence"][wrong], kind="stable")][:most]
  return {
    "images": setup.splits["test"].read(rows)["x"],
    "label": values["label"][rows],
    "prediction": values["prediction"][rows],
    "confidence": values["confidence"][rows],
    "class_names": np.array(setup.source.class_names),
  }


def show(workdir: pathlib.Path, heading: str) -> None:
  """Prints the row and the paths of what was made.

  Args:
    workdir: the run's folder.
    heading: a line printed first; "" for none.
  """
  print(*([heading] if heading else []), format_row(read_run(workdir)), sep="\n")
  made = [*sorted(workdir.glob("*.png")), workdir / "report.html", workdir / "checkpoints"]
  for path in made:
    if path.exists():
      print(f"{'picture' if path.suffix == '.png' else path.stem:<12} {path}")
  sys.stdout.flush()
