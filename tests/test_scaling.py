"""The scaling study: its formulas, and that its committed tables are what the script makes."""

import json
import sys

import jax
import pytest

from tests.helpers import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import scaling
import scaling_page
from scaling_page import Chip, Link

PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
MADE = json.loads((ROOT / "docs" / "scaling.json").read_text(encoding="utf-8"))
CHIP = Chip("chip", (("f32", 1e12),), 1e11, "")


def made_row(batch, devices=8, sent=7e6):
  """Counts of a network of 1e6 FLOPs and 2e5 bytes a row, and 1e8 of both beside them."""
  each = batch / devices
  return {
    "devices": devices,
    "batch": batch,
    "flops": 1e8 + 1e6 * each,
    "bytes_accessed": 1e8 + 2e5 * each,
    "collectives": [["all-reduce", devices, 2, int(sent * 4 / 7), int(sent)]],
  }


def test_an_update_takes_the_longer_of_arithmetic_and_memory():
  row = {"flops": 6e9, "bytes_accessed": 2e8}
  assert scaling_page.compute_seconds(row, 1e12, 1e12) == pytest.approx(6e-3)
  assert scaling_page.compute_seconds(row, 1e12, 1e10) == pytest.approx(2e-2)


def test_collectives_take_their_bytes_and_their_rounds():
  row = {
    "collectives": [
      ["all-reduce", 64, 3, 0, 1_000_000],
      ["all-gather", 8, 2, 0, 500_000],
      ["collective-permute", 64, 5, 0, 250_000],
    ]
  }
  link = Link("link", CHIP, 1e9, 1e-6, (2, 64), "")
  messages = 3 * 2 * 6 + 2 * 3 + 5
  assert scaling_page.communication_seconds(row, link) == pytest.approx(1.75e-3 + messages * 1e-6)


@pytest.mark.parametrize("rate, hop", [(1e9, 0.0), (1e9, 1e-4), (1e8, 0.0)])
def test_at_the_fewest_rows_both_take_the_same_time(rate, hop):
  link = Link("link", CHIP, rate, hop, (2, 8), "")
  rows = scaling_page.fewest_rows([made_row(1024), made_row(64)], link, 1e12)
  assert rows > 8
  row = made_row(8 * rows)
  needed = scaling_page.communication_seconds(row, link)
  assert scaling_page.compute_seconds(row, 1e12, 1e11) == pytest.approx(needed, rel=1e-9)


def test_no_rows_are_needed_where_the_rest_takes_longer():
  link = Link("link", CHIP, 1e12, 0.0, (2, 8), "")
  assert scaling_page.fewest_rows([made_row(1024), made_row(64)], link, 1e12) == 0.0


def test_the_page_is_what_the_script_writes():
  assert scaling_page.page(PAGE, MADE) == PAGE
  assert all(
    f"<!-- end of {name} -->" in PAGE for name in ("counts", "times", "rows", "rates", "version")
  )


@pytest.mark.parametrize("name", sorted(scaling.WORKLOADS))
def test_every_table_goes_from_1_to_512_devices(name):
  rows = MADE["rows"][name]
  assert [row["devices"] for row in rows] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
  assert rows[0]["collectives"] == []


@pytest.mark.parametrize("name", ["vib_fixed", "vib_growing"])
def test_split_data_send_a_gradient_whatever_the_number_of_devices(name):
  for row in MADE["rows"][name][1:]:
    assert {kind for kind, *_ in row["collectives"]} == {"all-reduce"}
    payload = sum(entry[3] for entry in row["collectives"])
    assert 0 < payload - 4 * row["parameters"] < 200  # the metrics
    sent = sum(entry[4] for entry in row["collectives"])
    n = row["devices"]
    assert sent == pytest.approx(2 * (n - 1) / n * payload, abs=2)


def test_members_send_nothing_and_share_the_work():
  first, *rest = MADE["rows"]["population"]
  assert first["members"] == 4096
  for row in rest:
    assert row["collectives"] == []
    assert row["flops"] * row["devices"] == pytest.approx(first["flops"], rel=0.01)
    # Each member has a copy of what a run keeps once, its traced numbers among it.
    assert row["state_bytes"] * row["devices"] == first["state_bytes"]


@pytest.mark.parametrize(
  "name",
  [
    "vib_fixed",
    *(pytest.param(n, marks=pytest.mark.very_slow) for n in scaling.WORKLOADS if n != "vib_fixed"),
  ],
)
def test_eight_devices_give_the_committed_counts_again(name):
  if jax.__version__ != MADE["jax"]:
    pytest.skip(f"the counts are of jax {MADE['jax']}, and this is {jax.__version__}")
  found = scaling.row(name, 8)
  committed = next(row for row in MADE["rows"][name] if row["devices"] == 8)
  # How XLA fuses depends on the kind of CPU, and with it the bytes that it counts.
  assert found.pop("flops") == pytest.approx(committed["flops"], rel=0.02)
  assert found.pop("bytes_accessed") == pytest.approx(committed["bytes_accessed"], rel=0.1)
  assert found == {name: committed[name] for name in found}
