"""A run continues on other processes and devices; every process reads, holds and writes its part.

What is checked inside the processes stands in elastic_worker.py.
"""

import sys

import jax
import numpy as np
import pytest

from ibjax.train import records
from tests import elastic_worker
from tests.helpers import agree, ended, free_port, started
from tests.test_data_prepare import write_set

KINDS = ("solo", "population")


def on_devices(monkeypatch, count):
  found = jax.devices()[:count]
  monkeypatch.setattr(jax, "devices", lambda *a: found)


def here(monkeypatch, folder, devices, stop):
  """Trains on so many devices of this process."""
  with monkeypatch.context() as patch:
    on_devices(patch, devices)
    for kind in KINDS:
      elastic_worker.train(kind, folder / kind, stop)


def elsewhere(folder, processes, devices, stop):
  """Trains in so many processes of so many devices each; returns what each read of each set."""
  port = str(free_port())
  worker = [sys.executable, "-m", "tests.elastic_worker", "all", str(folder), str(stop)]
  commands = [[*worker, port, str(processes), str(i)] for i in range(processes)]
  with started(commands, devices) as running:
    codes = ended(running, timeout=900)
    outputs = [one.output() for one in running]
  assert codes == [0] * processes, "\n".join(outputs)
  lines = [line.split(": ") for said in outputs for line in said.splitlines()]
  found = {}
  for line in lines:
    if line[0] in ("read toy", "read tfds"):
      found.setdefault(line[0], []).append([int(row) for row in line[1].split()])
  return found


def lines(folder):
  names = ["solo", *(f"population/{seed}" for seed in elastic_worker.SEEDS)]
  return [records.comparable(records.read_lines(folder / n / "metrics.jsonl")) for n in names]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """The lines of the runs that one device trains from beginning to end."""
  folder = tmp_path_factory.mktemp("straight")
  with pytest.MonkeyPatch.context() as patch:
    here(patch, folder, 1, 0)
  return lines(folder)


def same_as(straight, folder):
  for a, b in zip(straight, lines(folder), strict=True):
    assert len(a) == 5  # three log lines, two evaluations
    agree(a, b)


def data_of(folder):
  """Writes a small set of array records, as TFDS does."""
  rng = np.random.default_rng(0)
  x, y = rng.integers(0, 256, (37, 5, 4, 1), dtype=np.uint8), rng.integers(0, 3, 37)
  write_set(folder / "data", {"train": (x, y), "test": (x[:4], y[:4])})


@pytest.mark.slow
def test_a_run_goes_on_over_two_processes_and_back(straight, tmp_path, monkeypatch):
  data_of(tmp_path)
  here(monkeypatch, tmp_path, 8, 1)
  read = elsewhere(tmp_path, 2, 2, 1)
  here(monkeypatch, tmp_path, 1, 0)
  same_as(straight, tmp_path)
  for name, n in (("read toy", 1003), ("read tfds", 37)):
    assert sorted({row for rows in read[name] for row in rows}) == list(range(n))
    assert len(read[name]) == 2 and not set(read[name][0]) & set(read[name][1])


@pytest.mark.very_slow
def test_a_run_goes_on_over_any_processes_times_devices(straight, tmp_path, monkeypatch):
  here(monkeypatch, tmp_path, 1, 1)
  elsewhere(tmp_path, 2, 4, 1)
  elsewhere(tmp_path, 4, 2, 0)
  same_as(straight, tmp_path)
