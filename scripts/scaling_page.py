"""The tables of docs/scaling.md, from counts of compiled updates and published rates.

`scripts/scaling.py` makes the counts and calls `page`.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

TITLES = {
  "vib_fixed": "VIB, one batch of 1,024 split over the devices",
  "vib_growing": "VIB, 64 rows for each device",
  "vib_large": "VIB of 78 million parameters, sharded over data and model, 64 rows for each device",
  "info_nce": "InfoNCE, 64 rows for each device, all of them candidates",
  "population": "Population of 4,096 VIBs, each with a batch of 200",
}


@dataclasses.dataclass(frozen=True)
class Chip:
  """Peak rates of an accelerator.

  Attributes:
    name: for the tables.
    flops: (name of the arithmetic, FLOP/s, dense), the slowest first.
    memory: bytes/s of its own memory.
    source: where the rates are published.
  """

  name: str
  flops: tuple[tuple[str, float], ...]
  memory: float
  source: str


@dataclasses.dataclass(frozen=True)
class Link:
  """What connects accelerators.

  Attributes:
    name: for the tables.
    chip: what it connects.
    rate: bytes/s that leave a device, one direction, while all of them send.
    hop: seconds that a message takes beside its bytes; an assumption.
    counts: (fewest, most) devices for which it is the slowest link of a ring.
    source: where the rate is published.
  """

  name: str
  chip: Chip
  rate: float
  hop: float
  counts: tuple[int, int]
  source: str


_NVIDIA = "https://glennklockwood.com/garden/processors/h100"
_NVLINK = "https://petronellatech.com/hardware/h100-h200-nvlink-cluster-scaling/"
_MLPERF = (
  "https://raw.githubusercontent.com/mlcommons/inference_results_v4.1/main/closed/NVIDIA/systems/"
  "H200-SXM-141GBx8_TRT_MaxQ.json"
)
_V5P = "https://cloud.google.com/tpu/docs/v5p-training"
_V4 = "https://docs.cloud.google.com/tpu/docs/v4"
H100 = Chip("H100", (("f32", 67e12), ("bf16", 989e12)), 3.35e12, f"[list]({_NVIDIA})")
V5P = Chip("TPU v5p", (("bf16", 459e12),), 2765e9, f"[Google]({_V5P})")
V4 = Chip("TPU v4", (("bf16", 275e12),), 1200e9, f"[Google]({_V4})")
LINKS = (
  Link(
    *("NVLink 4", H100, 450e9, 3e-6, (2, 8)),
    f"18 links of 25 GB/s in each direction, [overview]({_NVLINK})",
  ),
  Link(
    *("NDR, 8 NICs", H100, 400e9, 5e-6, (16, 512)),
    f"8 times 400 Gb/s for a node of 8, all at work; more are [built in]({_MLPERF})",
  ),
  Link(
    *("NDR, 1 NIC", H100, 50e9, 5e-6, (16, 512)),
    "400 Gb/s, a ring that leaves each node by one NIC",
  ),
  Link(*("100 GbE", H100, 12.5e9, 30e-6, (16, 512)), "100 Gb/s by its name, one for a node"),
  Link(
    *("ICI of v5p", V5P, 600e9, 1e-6, (2, 512)),
    f"4,800 Gb/s a chip, [Google]({_V5P}), all six links at work",
  ),
  Link(
    *("ICI of v4", V4, 1.1e15 / 4096, 1e-6, (2, 512)),
    f"1.1 PB/s of all-reduce for a pod of 4,096 chips, [Google]({_V4})",
  ),
)


def compute_seconds(row: Row, flops: float, memory: float) -> float:
  """The least time of an update's arithmetic: at the peak rate, or at that of the memory.

  Args:
    row: counts of a device, as `scaling.row` gives them.
    flops: FLOP/s.
    memory: bytes/s.

  Returns:
    Seconds.
  """
  return max(row["flops"] / flops, row["bytes_accessed"] / memory)


def communication_seconds(row: Row, link: Link) -> float:
  """The time of an update's collectives, one after another.

  Formula: sum over collectives of sent / rate + executions * rounds * hop; sent is that of a ring,
  2 (n - 1) / n bytes for an all-reduce; rounds is that of a tree, 2 ceil(log2 n) for an
  all-reduce, ceil(log2 n) for the others and 1 for a collective-permute.

  Args:
    row: counts of a device, as `scaling.row` gives them.
    link: what the slowest part of every ring goes over.

  Returns:
    Seconds.
  """
  return sum(
    sent / link.rate + times * rounds(kind, group) * link.hop
    for kind, group, times, _, sent in row["collectives"]
  )


def rounds(kind: str, group: int) -> int:
  """Messages that follow one another in a collective over `group` devices, in a tree."""
  if kind == "collective-permute":
    return 1
  return math.ceil(math.log2(group)) * (2 if kind == "all-reduce" else 1)


def fewest_rows(rows: Sequence[Row], link: Link, flops: float) -> float:
  """Rows a device needs so that its arithmetic takes as long as its communication.

  The counts of a data-parallel update are linear in the rows of a device; what it sends is not
  changed by them.

  Args:
    rows: counts at two or more numbers of rows a device; the first and the last are read, and the
      last says what is sent.
    link: what connects the devices.
    flops: FLOP/s of a device.

  Returns:
    Rows for each device, 0 where even none would do.
  """
  some, few = rows[0], rows[-1]
  r, s = some["batch"] / some["devices"], few["batch"] / few["devices"]
  needed = communication_seconds(few, link)
  enough = []
  for key, rate in (("flops", flops), ("bytes_accessed", link.chip.memory)):
    slope = (some[key] - few[key]) / (r - s)
    start = few[key] - slope * s
    # What does not grow with the rows cannot be made longer by them.
    enough.append((needed * rate - start) / slope if slope > 0 else math.inf)
  return max(0.0, min(enough))


def counts_table(rows: Sequence[Row]) -> Iterator[str]:
  """The lines of a table of counts, in Markdown."""
  yield (
    "| devices | mesh | batch | GFLOP | MiB accessed | flops a byte | state MiB | collectives | "
    "MiB in them | MiB sent |"
  )
  yield "|" + "---:|---|" + "---:|" * 5 + "---|---:|---:|"
  for row in rows:
    mesh = " x ".join(f"{axis} {size}" for axis, size in row["mesh"].items()) or "one device"
    found = row["collectives"]
    kinds = "; ".join(_kind(kind, found) for kind in dict.fromkeys(kind for kind, *_ in found))
    cells = (
      f"{row['devices']}",
      mesh,
      f"{row['batch']:,}",
      _short(row["flops"] / 1e9),
      _short(row["bytes_accessed"] / 2**20),
      _short(row["flops"] / row["bytes_accessed"]),
      _short(row["state_bytes"] / 2**20),
      kinds or "none",
      _short(sum(payload for *_, payload, _ in found) / 2**20),
      _short(sum(sent for *_, sent in found) / 2**20),
    )
    yield f"| {' | '.join(cells)} |"


def times_table(rows: Sequence[Row]) -> Iterator[str]:
  """The lines of a table of least times, in Markdown; marked where communication is longer."""
  chips = list(dict.fromkeys(link.chip for link in LINKS))
  heads = [f"{chip.name} {name}" for chip in chips for name, _ in chip.flops]
  yield "| devices | " + " | ".join([*heads, *(link.name for link in LINKS)]) + " |"
  yield "|" + "---:|" * (1 + len(heads) + len(LINKS))
  for row in rows:
    compute = [
      _micro(compute_seconds(row, rate, chip.memory)) for chip in chips for _, rate in chip.flops
    ]
    cells = [_verdict(row, link) for link in LINKS]
    yield f"| {row['devices']} | " + " | ".join([*compute, *cells]) + " |"


def rows_table(rows: Sequence[Row]) -> Iterator[str]:
  """The lines of the table of rows a device needs, in Markdown."""
  yield "| link | devices | arithmetic | µs | of them bytes | rows a device | for the bytes alone |"
  yield "|---|---:|---|---:|---:|---:|---:|"
  for link in LINKS:
    last = max(row["devices"] for row in rows if row["devices"] <= link.counts[1])
    # Two numbers of rows a device: that of `last` devices, and another one to see the slope.
    pair = [next(row for row in rows if row["devices"] == (8 if last > 8 else 2))]
    pair.append(next(row for row in rows if row["devices"] == last))
    free = dataclasses.replace(link, hop=0.0)
    for name, rate in link.chip.flops:
      cells = (
        f"{last}",
        name,
        *(_micro(communication_seconds(pair[-1], way)) for way in (link, free)),
        *(f"{math.ceil(fewest_rows(pair, way, rate)):,}" for way in (link, free)),
      )
      yield f"| {link.name} | {' | '.join(cells)} |"


def rates_table() -> Iterator[str]:
  """The lines of the table of published rates and assumed delays, in Markdown."""
  yield "| | rate | source |"
  yield "|---|---|---|"
  for chip in dict.fromkeys(link.chip for link in LINKS):
    peaks = ", ".join(f"{_plain(rate / 1e12)} TFLOP/s {name}" for name, rate in chip.flops)
    yield f"| {chip.name} | {peaks}; memory {_plain(chip.memory / 1e9)} GB/s | {chip.source} |"
  for link in LINKS:
    rate = f"{_plain(link.rate / 1e9)} GB/s; a hop {_plain(link.hop * 1e6)} µs (assumed)"
    yield f"| {link.name} | {rate} | {link.source} |"


def page(text: str, made: Mapping[str, Any]) -> str:
  """Writes today's tables between the marks of the page.

  Args:
    text: the page; a mark is `<!-- NAME -->`, and its end `<!-- end of NAME -->`.
    made: what docs/scaling.json holds.

  Returns:
    The page.
  """
  rows = made["rows"]
  parts = {
    "counts": _sections(rows, counts_table),
    "times": _sections(rows, times_table),
    "rows": "\n".join(rows_table(rows["vib_fixed"])) if "vib_fixed" in rows else "",
    "rates": "\n".join(rates_table()),
    "version": f"Compiled by jax {made['jax']} for CPU devices.",
  }
  for name, part in parts.items():
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    inside = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    text = inside.sub(lambda _: f"{start}\n{part}\n{end}", text)  # noqa: B023
  return text


def _sections(rows: Mapping[str, Sequence[Row]], table: Any) -> str:
  return "\n\n".join(
    "\n".join([f"### {TITLES[name]}", "", *table(rows[name])]) for name in TITLES if name in rows
  )


def _kind(kind: str, found: Sequence[Sequence[Any]]) -> str:
  """Says how often a kind is executed, over how many devices: "4 all-reduce over 8, 64"."""
  groups = [group for name, group, *_ in found if name == kind]
  times = sum(times for name, _, times, *_ in found if name == kind)
  few = ", ".join(str(group) for group in groups)
  return f"{times} {kind} over {few if len(groups) < 3 else f'{min(groups)} to {max(groups)}'}"


def _verdict(row: Row, link: Link) -> str:
  if not link.counts[0] <= row["devices"] <= link.counts[1]:
    return ""
  needed = communication_seconds(row, link)
  longer = [needed > compute_seconds(row, rate, link.chip.memory) for _, rate in link.chip.flops]
  return f"**{_micro(needed)}**" if all(longer) else _micro(needed) + ("*" if any(longer) else "")


def _micro(seconds: float) -> str:
  return _short(seconds * 1e6)


def _plain(value: float) -> str:
  return f"{round(value, 1):g}"


def _short(value: float) -> str:
  """Three digits, no exponent: 0.0123, 4.56, 789, 12,300."""
  if not value:
    return "0"
  digits = 2 - math.floor(math.log10(abs(value)))
  return f"{round(value, digits):,.{max(0, digits)}f}"
