"""`ibjax eval`: evaluates a checkpoint of a run on one of its splits."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

from absl import flags

from ibjax.core.config import measures
from ibjax.core.errors import ConfigError, unknown
from ibjax.train import loop, records
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.setup import build
from ibjax.verbs.flags import given, no_positional, parse, wants_help


def run(argv: Sequence[str]) -> int:
  """Evaluates; prints one JSON line with the step, the split and the averages.

  Args:
    argv: the arguments after the verb.

  Returns:
    0.

  Raises:
    IbjaxError: no run, no such checkpoint or split, or data that changed.
  """
  values = flags.FlagValues()
  flags.DEFINE_string("workdir", None, "The run's folder.", flag_values=values)
  flags.DEFINE_string("split", "test", "Split to evaluate.", flag_values=values)
  flags.DEFINE_integer(
    "step", None, "Checkpoint to read; the newest if absent.", flag_values=values
  )
  flags.DEFINE_integer("samples", None, "Codes drawn per example.", flag_values=values)
  flags.DEFINE_string("data_dir", None, "Where prepared data sets live.", flag_values=values)
  if wants_help("eval", values, argv, config=False):
    return 0
  no_positional("eval", parse(values, "eval", argv))
  options = given(values)
  if options["workdir"] is None:
    raise ConfigError("`ibjax eval` needs --workdir=FOLDER, the folder of a run.")
  workdir = pathlib.Path(options["workdir"])
  manifest = records.read_manifest(workdir) if workdir.is_dir() else None
  if manifest is None:
    raise ConfigError(f"--workdir={workdir} holds no run (there is no manifest.json).")
  config = manifest["config"]
  if measures(config):
    raise ConfigError(
      f"--workdir={workdir} holds a run that measures; there is nothing to evaluate."
    )
  if options["samples"] is not None:
    config["eval"]["samples"] = options["samples"]
  setup = build(config, options["data_dir"])
  if manifest["data"]["fingerprint"] != setup.source.fingerprint:
    raise ConfigError(f"the data set '{setup.source.name}' is not the one this run trained on.")
  split = options["split"]
  if split not in setup.splits:
    raise ConfigError(unknown("split", split, setup.splits))
  checkpoints = Checkpoints(workdir / "checkpoints", keep=1, best="", report=print, read_only=True)
  restored = checkpoints.restore(setup.abstract, options["step"])
  checkpoints.close()
  if restored is None:
    raise ConfigError(f"{workdir} has no checkpoint yet; train it first.")
  step, state = restored
  averages = loop.evaluate(setup, state, setup.eval_feed(split))
  print(json.dumps({"step": step, "split": split, **averages}))
  return 0
