"""The one binary: `ibjax VERB [flags]`, the same as `python -m ibjax.main VERB [flags]`."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Sequence

from ibjax.cluster import offspring, supervisor, watch
from ibjax.core.errors import IbjaxError, unknown

VERBS = {  # verb -> what it does; ibjax.verbs.VERB.run(argv) -> exit code, imported when asked for
  "train": "train a config, or continue it: --config=FILE.py --workdir=FOLDER",
  "launch": "run a verb on many processes: --backend=slurm --nodes=2 -- train ...",
  "sweep": "train over axes that may change shapes: --config=FILE.py --workdir=FOLDER --axes=...",
  "eval": "evaluate a checkpoint of a run: --workdir=FOLDER",
  "status": "how runs are doing, process by process: FOLDERS...",
  "report": "one page over any set of runs: FOLDERS...",
  "features": "what the latents of a dictionary answer to, on its run's page: FOLDER",
  "estimate": "mutual information of samples, with what to trust: --x=FILE --y=FILE",
  "list": "list methods, configs and data sources",
  "data": "list, prepare and describe data sets",
  "table": "a paper's tables, running what is missing: experiments/PAPER",
}
USAGE = "usage: ibjax VERB [flags]; `ibjax VERB --help` shows a verb's flags\n\n"


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a verb.

  Args:
    argv: the arguments after the program's name; `sys.argv[1:]` when None.

  Returns:
    0 done, 1 failed, 2 bad input, 75 stopped with all saved, 128 + a signal. Raises: none of ours.
  """
  offspring.heed()
  arguments = list(sys.argv[1:] if argv is None else argv)
  if not arguments or arguments[0] in ("-h", "--help", "help"):
    print(USAGE + "\n".join(f"  {verb:<9} {does}" for verb, does in VERBS.items()))
    return 0 if arguments else watch.EXIT_BAD_INPUT
  logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax's errors reach us: told once
  try:
    if arguments[0] not in VERBS:
      raise IbjaxError(unknown("verb", arguments[0], VERBS))
    if supervisor.wanted(arguments):
      return supervisor.supervise(arguments)
    return importlib.import_module(f"ibjax.verbs.{arguments[0]}").run(arguments[1:])
  except IbjaxError as error:
    print(f"error: {error}", file=sys.stderr)
    return watch.EXIT_BAD_INPUT
  except KeyboardInterrupt:
    print("interrupted; nothing saved is lost, run the same command again", file=sys.stderr)
    return 130


if __name__ == "__main__":
  sys.exit(main())
