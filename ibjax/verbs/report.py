"""`ibjax report`: one page over any set of runs."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from ibjax.core.errors import ConfigError
from ibjax.report.compare_find import find_runs
from ibjax.report.compare_page import write_compare_page
from ibjax.report.runs import Run
from ibjax.verbs.flags import given, parse, wants_help


def run(argv: Sequence[str]) -> int:
  """Writes the page and prints its path; folders that cannot be read are named on stderr.

  Args:
    argv: the arguments after the verb: run folders, folders above runs, flags.

  Returns:
    0.

  Raises:
    IbjaxError: no folder given, one that does not exist, no run in them, or a page that
      cannot be written.
  """
  values = flags.FlagValues()
  flags.DEFINE_string(
    "out", None, "The page; report.html above all the runs if absent.", flag_values=values
  )
  flags.DEFINE_string("title", "", "Heading of the page.", flag_values=values)
  if wants_help("report FOLDERS...", values, argv, config=False):
    return 0
  places = parse(values, "report", argv)
  options = given(values)
  if not places:
    raise ConfigError(
      "`ibjax report` needs folders: run folders, or folders in which it searches for runs, "
      "e.g. `ibjax report runs/`."
    )
  found = find_runs(places)
  for note in found.notes:
    print(f"note: {note}", file=sys.stderr)
  out = pathlib.Path(options["out"]) if options["out"] else default_page(found.runs)
  write_compare_page(found.runs, out, options["title"], found.notes)
  print(f"{out}  ({len(found.runs)} run{'s' * (len(found.runs) != 1)})")
  return 0


def default_page(runs: Sequence[Run]) -> pathlib.Path:
  """Where the page goes unless told: report.html in the folder above all the runs.

  Args:
    runs: the runs, at least one.

  Returns:
    A path; never the report.html of one of the runs, which is the page about that run alone.
  """
  home = pathlib.Path(os.path.commonpath([os.path.abspath(run.path) for run in runs]))
  while (home / "manifest.json").exists():
    home = home.parent
  # Runs that share nothing but the root of the file system have no folder of their own.
  home = pathlib.Path.cwd() if home == home.parent else home
  page = home / "report.html"
  return page.relative_to(pathlib.Path.cwd()) if page.is_relative_to(pathlib.Path.cwd()) else page
