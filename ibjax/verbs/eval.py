"""`ibjax eval`: evaluates a checkpoint of a run on one of its splits."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

from absl import flags

from ibjax.core.errors import ConfigError, unknown
from ibjax.train import loop
from ibjax.train.tap import open_run
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
  setup, state, step = open_run(
    workdir, options["data_dir"], options["step"], samples=options["samples"]
  )
  split = options["split"]
  if split not in setup.splits:
    raise ConfigError(unknown("split", split, setup.splits))
  averages = loop.evaluate(setup, state, setup.eval_feed(split))
  print(json.dumps({"step": step, "split": split, **averages}))
  return 0
