"""`ibjax data`: which data sets there are, preparing one, and what is in one."""

from __future__ import annotations

import argparse
import importlib
import pathlib
from typing import Any

import numpy as np

from ibjax.core.errors import ConfigError, unknown
from ibjax.data import source as source_lib
from ibjax.data.prepare import check_name, prepare
from ibjax.data.sources import tfds as tfds_source

USAGE = """usage:
  ibjax data list                       the sources, and the TFDS sets that are prepared
  ibjax data prepare NAME [--from DIR]  makes a TFDS set ready; DIR holds its raw files
                                        --accept_repacked takes files of another sha256
  ibjax data info NAME                  splits, shapes, classes and fingerprint of a set
  ibjax data activations RUN            the layers of a trained run; with --layer L --out DIR
                                        writes their activations to a store, or goes on with it:
                                        train on activations:DIR. --source NAME gives the model
                                        other data, --splits train,test, --examples N the first N,
                                        --dtype float16 halves the size, --step N a checkpoint
each takes --data_dir DIR (default: $IBJAX_DATA_DIR, else the user's cache folder)."""
_BLOCK = 1024
# Flag of `ibjax data activations` -> (type, default).
_STORING: dict[str, tuple[Any, Any]] = {
  "layer": (str, ""),
  "out": (str, ""),
  "source": (str, ""),
  "splits": (str, "train,test"),
  "examples": (int, 0),
  "dtype": (str, "float32"),
  "step": (int, None),
}


def run(argv: list[str]) -> int:
  """Runs `ibjax data`.

  Args:
    argv: what follows `ibjax data` on the command line.

  Returns:
    The exit status, 0.

  Raises:
    ConfigError: an unknown subverb, flag or name; names the nearest.
    DataError: the set is missing or not fit to train on.

  Example:
    run(["info", "mnist"])
  """
  subverbs = {"list": _list, "prepare": _prepare, "info": _info, "activations": _activations}
  if {"-h", "--help", "help"} & set(argv):
    print(USAGE)
    return 0
  if not argv:
    raise ConfigError(f"`ibjax data` needs a subverb.\n{USAGE}")
  if argv[0] not in subverbs:
    raise ConfigError(unknown("subverb of `ibjax data`", argv[0], subverbs))
  subverbs[argv[0]](argv[0], argv[1:])
  return 0


def _list(subverb: str, argv: list[str]) -> None:
  options = _parse(subverb, argv, named=False)
  for name in source_lib.source_names():
    doc = importlib.import_module(f"ibjax.data.sources.{name}").__doc__ or ""
    print(f"{name:16s} {doc.strip().splitlines()[0] if doc.strip() else ''}".rstrip())
  for spec in tfds_source.prepared(options.data_dir):
    print(f"{spec}  (prepared in {options.data_dir})")


def _prepare(subverb: str, argv: list[str]) -> None:
  options = _parse(subverb, argv, named=True)
  print(prepare(options.name, options.data_dir, options.from_dir, options.accept_repacked))


def _info(subverb: str, argv: list[str]) -> None:
  options = _parse(subverb, argv, named=True)
  check_name(options.name)
  found = source_lib.load(options.name, options.data_dir)
  print(f"name         {found.name}")
  print(f"x            {list(found.x_shape)} {found.x_dtype}")
  if found.target_dim:
    known = found.target_entropy_nats
    print(f"targets      {found.target_dim}" + (f", H(Y) = {known:.6g} nats" if known else ""))
    if found.target_scale:
      scales = ", ".join(dict.fromkeys(f"{value:.6g}" for value in found.target_scale))
      print(f"             a step of 1 is {scales} ({found.target_unit})")
  else:
    print(f"classes      {found.num_classes}: {', '.join(found.class_names[:20])}")
  if found.information_nats is not None:
    print(f"information  I(X;Y) = {found.information_nats:.6g} nats, exact")
  for name, split in found.splits.items():
    print(f"{name:12s} {split.n} examples, {split.nbytes} bytes in memory")
    if found.target_dim:
      continue
    labels = found.train_labels if name == "train" else _labels(split)
    counts = np.bincount(labels, minlength=found.num_classes)
    print(f"{'':12s} per class {' '.join(str(count) for count in counts)}")
  print(f"fingerprint  {found.fingerprint}")


def _activations(subverb: str, argv: list[str]) -> None:
  from ibjax.train.activations import write_run  # here: the other subverbs need no model
  from ibjax.train.tap import open_run, tap

  options = _parse(subverb, argv, named=True)
  if not options.layer:
    # --step says which checkpoint's layers are listed; all else is of a store.
    stray = [
      f"--{name}"
      for name, (_, default) in _STORING.items()
      if name != "step" and getattr(options, name) != default
    ]
    if stray:
      raise ConfigError(
        f"`ibjax data activations` with {', '.join(stray)} needs --layer LAYER, whose activations "
        "are stored; with RUN alone it lists the layers."
      )
    setup, state, _ = open_run(options.name, options.data_dir, options.step)
    print("\n".join(tap(setup, state).layers))
    return
  if not options.out:
    raise ConfigError("`ibjax data activations` with --layer needs --out DIR, the store's folder.")
  made = write_run(
    options.name,
    options.layer,
    options.out,
    source=options.source,
    splits=tuple(options.splits.split(",")),
    examples=options.examples,
    dtype=options.dtype,
    step=options.step,
    data_dir=options.data_dir,
    report=print,
  )
  sizes = ", ".join(f"{name} {split['rows']:,}" for name, split in made["splits"].items())
  print(f"activations:{options.out}  width {made['width']}, rows: {sizes}")
  print(f"fingerprint  {made['fingerprint']}")


def _labels(split: source_lib.Split) -> np.ndarray:
  # In blocks: a split may be larger than memory.
  starts = range(0, split.n, _BLOCK)
  reads = (np.arange(start, min(start + _BLOCK, split.n)) for start in starts)
  return np.concatenate([split.read(indices)["y"] for indices in reads])


class _Parser(argparse.ArgumentParser):
  def error(self, message: str):
    raise ConfigError(f"{self.prog}: {message}.\n{USAGE}")


def _parse(subverb: str, argv: list[str], *, named: bool) -> argparse.Namespace:
  parser = _Parser(prog=f"ibjax data {subverb}", add_help=False, allow_abbrev=False)
  if named:
    parser.add_argument("name", metavar="NAME")
  if subverb == "prepare":
    parser.add_argument("--from", dest="from_dir", metavar="DIR", type=pathlib.Path)
    parser.add_argument("--accept_repacked", action="store_true")
  own = {"prepare": ["--from", "--accept_repacked"], "activations": [f"--{f}" for f in _STORING]}
  for flag, (kind, default) in _STORING.items() if subverb == "activations" else ():
    parser.add_argument(f"--{flag}", type=kind, default=default)
  parser.add_argument(
    "--data_dir", metavar="DIR", type=pathlib.Path, default=source_lib.default_data_dir()
  )
  flags = ["--data_dir", *own.get(subverb, [])]
  # Unknown flags first: argparse would complain of the NAME that it took from one.
  for word in argv:
    if word.startswith("-") and word.partition("=")[0] not in flags:
      raise ConfigError(unknown(f"flag of `{parser.prog}`", word.partition("=")[0], flags))
  return parser.parse_args(argv)
