"""Takes committed results over to code that compiles to the same program.

    python scripts/carry.py OLD [EXPERIMENT ...]

A result is keyed by the hash of its method's source (`ibjax/core/code.py`), so that any edit makes
it stale, one that changes no number too. This script proves the latter: for every program of an
experiment's results it lowers `init`, `step`, `evaluate` and `predict` in the tree OLD, which made
them (a `git worktree` of that commit), and here, and compares the text that XLA is given. Where
all are equal, the lines get today's hash, and "carried" lists the hashes they had. Else they stay
as they are, and the script says what differs. Code that runs on the host is not in that text: the
lines are carried only if its modules are the same syntax in both trees.

Metrics that the old tree has not (`ADDED`) are left out of the comparison; its lines lack them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
# What `evaluate` reports beside what it did: module, function, returning nothing for the proof.
ADDED = (("ibjax.programs.supervised", "sandwich"),)
# Rooms and modules whose code is traced: what they compute is in the lowered text.
TRACED = ("objectives", "bottlenecks", "models", "views", "core", "metrics")
TRACED_MODULES = (
  *(
    f"ibjax.programs.{name}"
    for name in (
      "supervised",
      "network",
      "update",
      "frame",
      "hyper",
      "beta",
      "views",
      "settle",
      "co_teaching",
    )
  ),
  "ibjax.programs.penalized_adam",
  *(f"ibjax.evaluators.{name}" for name in ("classification", "regression", "robustness", "rates")),
)


def lowered(config: dict, without: list[list[str]]) -> dict[str, str]:
  """Hashes of the text of each function of a config's program, in the tree on the path.

  Args:
    config: the resolved config of a line.
    without: of `ADDED`, what is taken out.

  Returns:
    Function -> hash.
  """
  import importlib

  import jax
  import numpy as np

  from ibjax.core.config import defaults, resolved
  from ibjax.train.setup import build

  for module, name in without:
    setattr(importlib.import_module(module), name, lambda *arguments: {})
  # Keys that the config lacks have their defaults: what was done before there were such keys.
  filled = resolved(defaults())
  for section, values in filled.items():
    if section in config and isinstance(values, dict) and "fn" not in values:
      config = {**config, section: {**values, **config[section]}}
  config = {**{key: value for key, value in filled.items() if key not in config}, **config}
  setup = build(config)
  program, hyper = setup.program, setup.hyper
  state = jax.eval_shape(program.init, hyper)
  rows = setup.splits["train"].read(np.arange(1))

  def batch(size):
    shapes = {
      name: jax.ShapeDtypeStruct((size, *value.shape[1:]), value.dtype)
      for name, value in rows.items()
    }
    return {**shapes, "mask": jax.ShapeDtypeStruct((size,), bool)}

  train, some = batch(config["data"]["batch_size"]), batch(config["eval"]["batch_size"])
  number = np.int32(0)
  texts = {
    "init": jax.jit(program.init).lower(hyper),
    "step": jax.jit(program.step).lower(state, train, hyper),
    "evaluate": jax.jit(program.evaluate).lower(state, some, number, hyper),
    "predict": jax.jit(program.predict).lower(
      state, {name: some[name] for name in ("x", "y")}, number, hyper
    ),
  }
  if getattr(program, "forward", None) is not None:  # what assessors see
    texts["forward"] = jax.jit(program.forward).lower(state, some["x"], number, hyper)
    texts["gradient"] = jax.jit(program.gradient).lower(
      state, jax.ShapeDtypeStruct(some["x"].shape, "float32"), some["y"], number, hyper
    )
  return {
    name: hashlib.sha256(text.as_text().encode()).hexdigest()[:16] for name, text in texts.items()
  }


def lowered_training(config: dict) -> dict[str, str]:
  """The same of a config whose program measures what it trains by its section "recipe".

  Args:
    config: the resolved config of a line.

  Returns:
    {"training": hash}.
  """
  import jax

  from ibjax.programs import generalisation as module

  class Taken(Exception):
    """Carries the text out of the measurement, before anything is compiled."""

  def trainer(*asked):
    def take(*arguments):
      raise Taken(jax.jit(module._training(*asked)).lower(*arguments).as_text())

    return take

  module._trainer = trainer
  measurement = module.generalisation(config)
  try:
    measurement.measure(measurement.parts[0])
  except Taken as taken:
    return {"training": hashlib.sha256(taken.args[0].encode()).hexdigest()[:16]}
  raise SystemExit("the measurement trained nothing")


def sections(config: dict) -> dict[str, str]:
  """What a config that measures, and trains nothing, hands to its factories.

  Args:
    config: the resolved config of a line.

  Returns:
    {"sections": hash}.
  """
  from ibjax.programs.hyper import section

  names = sorted(name for name, value in config.items() if isinstance(value, dict))
  text = repr([(name, section(config, name, {})) for name in names])
  return {"sections": hashlib.sha256(text.encode()).hexdigest()[:16]}


def program_of(config: dict) -> str:
  """What configs of one compiled program share; a config that trains nothing has its own.

  Args:
    config: the resolved config of a line.

  Returns:
    A text.
  """
  from ibjax.programs.hyper import static_key

  if "train" in config:
    return static_key(config)
  if "recipe" in config:
    recipe = static_key({**config["recipe"], "seed": config["seed"]})
    return f"{recipe} {json.dumps(config['training'])} {config['data']['n']}"
  return json.dumps(config)


def lacking() -> list[list[str]]:
  """What of `ADDED` the tree on the path has not.

  Returns:
    [module, function] pairs.
  """
  import importlib

  return [
    [module, name] for module, name in ADDED if not hasattr(importlib.import_module(module), name)
  ]


def describe(config: dict, without: list[list[str]]) -> dict:
  """What the tree on the path makes of a config.

  Args:
    config: the resolved config of a line.
    without: of `ADDED`, what is taken out: what the other tree has not.

  Returns:
    {"code": hash, "modules": module -> hash of its syntax, "lowered": see `lowered`}; the last is
    {} for a config that measures and trains nothing.
  """
  import ibjax
  from ibjax.core import code as code_lib

  root = pathlib.Path(ibjax.__file__).parent
  found = {}
  for name in code_lib.modules(config, root):
    source = root.joinpath(*name.split(".")[1:]).with_suffix(".py").read_text(encoding="utf-8")
    found[name] = hashlib.sha256(code_lib.normalised(source).encode()).hexdigest()[:16]
  return {
    "code": code_lib.code_version(config),
    "modules": found,
    "lowered": lowered(config, without)
    if "train" in config
    else lowered_training(config)
    if "recipe" in config
    else sections(config),
  }


def ask(tree: pathlib.Path, configs: list[dict], without: list[list[str]]) -> tuple:
  """Runs `describe` on each config with the package of a tree.

  Args:
    tree: the root of a checkout.
    configs: resolved configs.
    without: of `ADDED`, what is taken out.

  Returns:
    (one description a config, what of `ADDED` the tree has not).
  """
  environment = {**os.environ, "PYTHONPATH": str(tree), "JAX_PLATFORMS": "cpu"}
  done = subprocess.run(
    [sys.executable, __file__, "--describe"],
    input=json.dumps([configs, without]),
    capture_output=True,
    text=True,
    cwd=tree,
    env=environment,
    check=False,
  )
  if done.returncode:
    raise SystemExit(f"in {tree}:\n{done.stderr[-3000:]}")
  return json.loads(done.stdout.splitlines()[-1])


def differences(old: dict, new: dict) -> list[str]:
  """Says why a result of the old tree is not one of the new tree.

  Args:
    old: a description there.
    new: the same config's here.

  Returns:
    Names of functions and modules that differ; [] when the result holds.
  """
  names = [name for name, text in old["lowered"].items() if new["lowered"].get(name) != text]
  for module, syntax in old["modules"].items():
    traced = module.split(".")[1] in TRACED or module in TRACED_MODULES
    if "training" in old["lowered"] and module == "ibjax.evaluators.rates":
      traced = False  # these measure on the host
    if "sections" in old["lowered"]:
      traced = module == "ibjax.programs.hyper"  # which makes the sections, and nothing else here
    if not (traced and old["lowered"]) and new["modules"].get(module) != syntax:
      names.append(module)
  return names


def main() -> int:
  """Carries the results of experiments over.

  Returns:
    The exit code: 1 when some could not be carried.
  """
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("old", nargs="?", type=pathlib.Path, help="the tree that made the results")
  parser.add_argument("experiments", nargs="*", type=pathlib.Path)
  parser.add_argument("--describe", action="store_true", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.describe:
    configs, without = json.load(sys.stdin)
    print(json.dumps([[describe(config, without) for config in configs], lacking()]))
    return 0
  if options.old is None:
    parser.error("name the tree that made the results, e.g. a git worktree of that commit")
  folders = options.experiments or sorted(
    path.parent for path in (HERE / "experiments").glob("*/results.jsonl")
  )
  failed = 0
  for folder in folders:
    path = folder / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    # One program each; configs that measure have no program, and are told apart by what they name.
    keys = [program_of(line["config"]) for line in lines]
    groups = {key: line["config"] for key, line in zip(keys, lines)}
    configs = list(groups.values())
    before, without = ask(options.old.resolve(), configs, [])
    after, _ = ask(HERE, configs, without)
    verdicts = dict(zip(groups, zip(before, after)))
    carried = 0
    for key, line in zip(keys, lines):
      old, new = verdicts[key]
      if line["code"] != old["code"] or old["code"] == new["code"]:
        continue  # made by other code, or by today's
      if names := differences(old, new):
        failed += 1
        print(f"{folder.name}: {line['cell']} seed={line['seed']}: {', '.join(names)} differ")
        continue
      line["carried"] = [*line.get("carried", []), line["code"]]
      line["code"] = new["code"]
      carried += 1
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    print(f"{folder.name}: {carried} of {len(lines)} lines carried ({len(groups)} programs)")
  return int(failed > 0)


if __name__ == "__main__":
  raise SystemExit(main())
