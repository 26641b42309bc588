"""What a compiled program sends between devices, read from its text.

XLA's partitioner decides which collectives a step needs; its program is one for all devices, so
what stands in the text is what each device takes part in.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from ibjax.core.errors import InputError

KINDS = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
  "collective-broadcast",
  "ragged-all-to-all",
)
BITS = {"pred": 8, "token": 0, "opaque": 0, "c64": 64, "c128": 128}

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([a-z][a-z0-9\-]*)\(")
_ARRAY = re.compile(r"([a-z][a-z0-9]*)\[([0-9,<=]*)\]")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective instruction of a compiled program.

  Attributes:
    kind: one of `KINDS`.
    payload: bytes of the whole buffer that a group of devices holds together: the array that is
      summed (all-reduce), assembled (all-gather), summed before it is cut (reduce-scatter),
      exchanged (all-to-all) or passed on (collective-permute).
    group: devices that take part together; of a collective-permute, all that send or receive.
    times: how often a device executes it in one call of the program.
    counted: False when it stands in a loop whose length is not known before it runs; `times` then
      counts one pass of that loop.
  """

  kind: str
  payload: int
  group: int
  times: int = 1
  counted: bool = True

  def sent(self) -> float:
    """Bytes that a device sends, all its executions together, where the group forms a ring.

    Formula: 2 (n - 1) / n payload for an all-reduce over n devices, payload for a
    collective-permute, and (n - 1) / n payload for the others.
    """
    if self.kind == "collective-permute":
      return float(self.payload * self.times)
    factor = 2.0 if self.kind == "all-reduce" else 1.0
    return factor * (self.group - 1) / self.group * self.payload * self.times


@dataclasses.dataclass(frozen=True)
class Traffic:
  """The collectives of a program, and the loops they and its arithmetic stand in.

  Attributes:
    collectives: every collective that leaves a device, in the order of the text.
    loops: passes of each loop of the program, None where the number is not known.
  """

  collectives: tuple[Collective, ...]
  loops: tuple[int | None, ...]

  def total(self, kind: str | None = None) -> tuple[int, int, float]:
    """Adds up the collectives of a kind, or all of them.

    Args:
      kind: one of `KINDS`; None for all.

    Returns:
      (executions, payload bytes, bytes sent by a device in a ring).
    """
    chosen = [c for c in self.collectives if kind in (None, c.kind)]
    return (
      sum(c.times for c in chosen),
      sum(c.times * c.payload for c in chosen),
      sum(c.sent() for c in chosen),
    )


@dataclasses.dataclass(frozen=True)
class _Instruction:
  name: str
  shape: str
  opcode: str
  rest: str  # operands and attributes


def read(text: str) -> Traffic:
  """Finds the collectives of a compiled program.

  An asynchronous collective is counted once, where it is done. What stands in a loop is
  multiplied by the loop's length where XLA knows it; of the branches of a conditional the one
  that sends most counts. A group of one device sends nothing and is left out.

  Args:
    text: `compiled.as_text()` of `jax.jit(...).lower(...).compile()`.

  Returns:
    The program's `Traffic`.

  Raises:
    InputError: the text is no HLO module, or names its devices in a way that is not known here.

  Example:
    >>> import jax
    >>> from ibjax.train.collectives import read
    >>> read(jax.jit(lambda x: x + 1).lower(1.0).compile().as_text()).collectives
    ()
  """
  computations, entry = _parse(text)
  if entry is None:
    raise InputError("this is not the text of a compiled program: it has no ENTRY computation.")
  everyone = _header(text, "num_partitions") * _header(text, "replica_count")
  loops: list[int | None] = []

  def walk(name: str, times: int, counted: bool) -> list[Collective]:
    found: list[Collective] = []
    body = computations.get(name, [])
    started = {instruction.name: instruction for instruction in body}
    for instruction in body:
      kind = instruction.opcode.removesuffix("-done")
      if kind in KINDS:
        begin = instruction if kind == instruction.opcode else _start(instruction, started)
        group = _group(kind, begin.rest, everyone)
        payload = _bytes(instruction.shape) * (group if kind == "reduce-scatter" else 1)
        if group > 1:
          found.append(Collective(kind, payload, group, times, counted))
      elif instruction.opcode == "while":
        trips = _TRIPS.search(instruction.rest)
        length = int(trips[1]) if trips else None
        loops.append(length)
        for inside in _called(instruction.rest, ("body", "condition")):
          found += walk(inside, times * (length or 1), counted and length is not None)
      elif instruction.opcode == "conditional":
        keys = ("branch_computations", "true_computation", "false_computation")
        branches = [walk(inside, times, counted) for inside in _called(instruction.rest, keys)]
        found += max(branches, key=lambda cs: sum(c.sent() for c in cs), default=[])
      elif instruction.opcode in ("call", "fusion", "async-start"):
        for inside in _called(instruction.rest, ("to_apply", "calls")):
          found += walk(inside, times, counted)
    return found

  collectives = walk(entry, 1, True)
  return Traffic(tuple(collectives), tuple(loops))


def _parse(text: str) -> tuple[dict[str, list[_Instruction]], str | None]:
  computations: dict[str, list[_Instruction]] = {}
  entry, current = None, None
  for line in text.splitlines():
    if not line.startswith(" "):
      head = _COMPUTATION.match(line)
      if head:
        current = computations.setdefault(head[2], [])
        entry = head[2] if head[1] else entry
      continue
    match = _INSTRUCTION.match(line)
    if match and current is not None:
      end = _end_of_shape(match[2])
      opcode = _OPCODE.match(match[2], end)
      if opcode:
        shape, rest = match[2][:end], match[2][opcode.end() :]
        current.append(_Instruction(match[1], shape, opcode[1], rest))
  return computations, entry


def _end_of_shape(text: str) -> int:
  if not text.startswith("("):
    return text.index(" ") if " " in text else len(text)
  depth = 0
  for i, letter in enumerate(text):
    depth += (letter == "(") - (letter == ")")
    if depth == 0:
      return i + 1
  return len(text)


def _bytes(shape: str) -> int:
  """Bytes of an array or of all arrays of a tuple: "(f32[8,2]{1,0}, s32[])"."""
  total = 0
  for dtype, dims in _ARRAY.findall(shape):
    bits = BITS.get(dtype) if dtype in BITS else int(re.sub(r"^[a-z]+", "", dtype).split("e")[0])
    sizes = [int(size.removeprefix("<=")) for size in dims.split(",") if size]
    total += -(-math.prod(sizes) * int(bits or 0) // 8)
  return total


def _start(done: _Instruction, started: dict[str, _Instruction]) -> _Instruction:
  """The instruction that started what this one waits for: it names the devices."""
  while not done.opcode.endswith("-start"):
    operand = re.match(r"(?:.*?[ (])?%?([\w.\-]+)[,)]", done.rest)
    if operand is None or operand[1] not in started:
      raise InputError(f"'{done.name}' waits for a collective that is not in the text.")
    done = started[operand[1]]
  return done


def _called(rest: str, keys: Sequence[str]) -> list[str]:
  names: list[str] = []
  for key in keys:
    match = re.search(rf"\b{key}=(\{{[^}}]*\}}|%?[\w.\-]+)", rest)
    if match:
      names += re.findall(r"[\w.\-]+", match[1])
  return names


def _group(kind: str, rest: str, everyone: int) -> int:
  """How many devices take part together."""
  if kind == "collective-permute":
    pairs = re.search(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}", rest)
    return len(set(re.findall(r"\d+", pairs[1]))) if pairs else 0
  match = re.search(r"replica_groups=", rest)
  if match is None:
    return everyone
  groups = rest[match.end() :]
  if found := re.match(r"\{(?:\{([\d,]*)\}|\})", groups):  # {{0,1},{2,3}}, or {} for all
    return found[1].count(",") + 1 if found[1] else everyone
  if found := re.match(r"\[(\d+),(\d+)\]<=", groups):  # [groups,devices]<=[...]
    return int(found[2])
  if found := re.match(r"mesh\[([^\]]*)\][^{]*\{([^}]*)\}", groups):  # mesh['a'=4,'b'=2] {'a'}
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", found[1])}
    group = 1
    for name, part in re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2]):
      group *= int(part) if part else sizes[name]
    return group
  raise InputError(f"replica groups in a form that is not known here: {groups[:80]}")


def _header(text: str, name: str) -> int:
  match = re.search(rf"\b{name}=(\d+)", text.partition("\n")[0])
  return int(match[1]) if match else 1
