"""Workers of a table killed at random moments: every cell ends once, as if nobody had disturbed it.

The soak itself is run only when asked for: `pytest -m soak`, or scripts/soak.py for its figures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import pytest

from tests.helpers import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import soak


def write(folder, cells, change=lambda cell, line: None):
  """A table's folder as the soak leaves it."""
  experiment = folder / "experiments" / "soak"
  (experiment / "quick").mkdir(parents=True)
  (folder / "runs" / "quick" / ".claims").mkdir(parents=True)
  (experiment / "quick" / "table.md").write_text("the table")
  texts = []
  for cell in cells:
    result = {"test/err_frac": 0.1, "train_s": time.monotonic()}
    line = {"cell": cell, "seed": 0, "result": result, "config_hash": "a", "code": "b"}
    change(cell, line)
    texts.append(json.dumps(line) + "\n")
    run = folder / "runs" / "quick" / cell / "seed=0"
    about = run / "checkpoints" / "7" / "about"
    about.mkdir(parents=True, exist_ok=True)
    (about / "metadata").write_text(json.dumps({"step": 7, "digest": [1, 2]}))
    (run / "metrics.jsonl").write_text('{"step": 7, "split": "train", "a": 1, "steps_per_s": 3}\n')
  (experiment / "results.jsonl").write_text("".join(texts))
  return folder


CELLS = ("vib/a", "vib/b")


def test_the_soak_sees_what_is_not_as_in_the_quiet_table(tmp_path):
  quiet = write(tmp_path / "quiet", CELLS)
  assert soak.compare(write(tmp_path / "same", CELLS), quiet) == []

  def other(cell, line):
    if cell == "vib/b":
      line["result"]["test/err_frac"] += 1e-9

  found = soak.compare(write(tmp_path / "other", CELLS, other), quiet)
  assert found == ["vib/b has another result: test/err_frac"]
  assert soak.compare(write(tmp_path / "twice", (*CELLS, "vib/a")), quiet) == [
    "vib/a has 2 results"
  ]
  assert soak.compare(write(tmp_path / "few", CELLS[:1]), quiet) == ["vib/b has 0 results"]
  state = write(tmp_path / "state", CELLS)
  metadata = state / "runs/quick/vib/a/seed=0/checkpoints/7/about/metadata"
  metadata.write_text(json.dumps({"step": 7, "digest": [1, 3]}))
  (state / "runs/quick/vib/b/seed=0/metrics.jsonl").write_text("")
  (state / "experiments/soak/quick/table.md").write_text("another table")
  (state / "runs/quick/.claims/vib_a.000001").write_text("{}")
  assert soak.compare(state, quiet) == [
    "vib/a has another result: digest of the final state",
    "vib/b has another result: metric lines",
    "the table is another one",
    "claims are left: vib_a.000001",
  ]


@pytest.mark.soak
@pytest.mark.very_slow
def test_25_kills_over_a_table_of_12_cells_leave_each_once_and_as_undisturbed(tmp_path):
  options = argparse.Namespace(
    folder=tmp_path / "soak",
    kills=25,
    workers=3,
    seed=time.time_ns() % 10**6,
    steps=400,
    lost_after=6.0,
    limit_s=3600.0,
  )
  figures = soak.soak(options)
  soak.show(figures, options)
  assert figures.faults == [], f"seed {options.seed}"
  assert sum(figures.kills.values()) == 25 and figures.holding > 0
