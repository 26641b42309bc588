"""Command lines and configs to values, with errors that name what was probably meant."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import traceback
from collections.abc import Sequence
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from ibjax.core.config import resolved
from ibjax.core.errors import ConfigError, IbjaxError, nearest, unknown


def parse(values: flags.FlagValues, verb: str, argv: Sequence[str]) -> list[str]:
  """Parses a verb's flags.

  Args:
    values: its flags, defined.
    verb: its name, for messages.
    argv: the arguments after the verb.

  Returns:
    The positional arguments left over.

  Raises:
    ConfigError: an unknown flag (names the nearest one), a missing or unfit value.
  """
  try:
    return list(values([verb, *argv])[1:])
  except flags.UnrecognizedFlagError as error:
    known = [name for name in values if not name.startswith("undefok")]
    raise ConfigError(
      unknown(f"flag of `ibjax {verb}`", f"--{error.flagname}", [f"--{name}" for name in known])
    ) from None
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    raise ConfigError(_plain(error)) from None


def given(values: flags.FlagValues) -> dict[str, Any]:
  """The parsed flags as a dictionary.

  Args:
    values: flags, parsed.

  Returns:
    Flag name -> value, the default where it was not given.
  """
  return {name: values[name].value for name in values}


def wants_help(verb: str, values: flags.FlagValues, argv: Sequence[str], config: bool) -> bool:
  """Prints a verb's flags when --help is asked for; returns whether it was.

  Args:
    verb: its name.
    values: its flags, defined.
    argv: the arguments after the verb.
    config: whether the verb takes --config too.

  Returns:
    True when -h or --help is among the arguments.
  """
  if not {"-h", "--help"} & set(argv):
    return False
  rows = [(f"--{name}", values[name].help or "") for name in values]
  if config:
    rows.insert(0, ("--config", "Config file, FILE.py or FILE.py:ARGUMENT."))
    rows.insert(1, ("--config.KEY", "Override of one value, e.g. --config.objective.beta=1e-2."))
  width = max(len(name) for name, _ in rows)
  print(f"usage: ibjax {verb} [flags]\n", *(f"  {n:<{width}}  {t}" for n, t in rows), sep="\n")
  return True


def no_positional(verb: str, rest: Sequence[str]) -> None:
  """Raises ConfigError when arguments are left over.

  Args:
    verb: its name, for the message.
    rest: what `parse` left over.

  Raises:
    ConfigError: there is such an argument; names the first.
  """
  if rest:
    raise ConfigError(
      f"`ibjax {verb}` takes flags only, written --name=value; did not expect '{rest[0]}'."
    )


def load_config(verb: str, values: flags.FlagValues, argv: Sequence[str]) -> dict[str, Any]:
  """Parses a verb's flags, --config=FILE.py[:ARGUMENT] and its overrides --config.key=value.

  Args:
    values: the verb's other flags, defined; --config is added.
    verb: its name, for messages.
    argv: the arguments after the verb.

  Returns:
    The resolved config, plain nested dictionaries.

  Raises:
    ConfigError: no such file, argument, key or flag (names the nearest one), or a value that
      is not of the key's type.
  """
  given = config_path(argv)
  if not given:
    _define_config(values, argv)
    parse(values, verb, argv)  # a mistyped --config is told so first
    raise ConfigError(
      f"`ibjax {verb}` needs --config=FILE.py, e.g. --config=configs/variational/vib_mnist.py."
    )
  _check_file(given)
  # Once without the overrides, so that a mistyped key or argument can be shown its neighbours.
  bare = load_bare(given)
  for override in overrides(argv):
    check_key(bare, override.split("=", 1)[0].removeprefix("config."))
  _define_config(values, argv)
  no_positional(verb, parse(values, verb, argv))
  return resolved(values["config"].value)


def load_bare(given: str) -> ml_collections.ConfigDict:
  """Loads a config file without overrides: its keys and their types.

  Args:
    given: the value of --config, FILE.py or FILE.py:ARGUMENT.

  Returns:
    The config.

  Raises:
    ConfigError: the file or its argument fails; says where.
  """
  path, argument = split_path(given)
  spec = importlib.util.spec_from_file_location("ibjax_config", path)
  assert spec is not None and spec.loader is not None  # the file exists and ends in .py
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    return module.get_config(*argument)
  except IbjaxError:
    raise
  except Exception as error:
    where = traceback.extract_tb(error.__traceback__)[-1]
    raise ConfigError(
      f"the config file {path} fails: {type(error).__name__}: {error} "
      f"({where.filename}, line {where.lineno})."
    ) from error


def split_path(given: str) -> tuple[pathlib.Path, list[str]]:
  """Splits FILE.py:ARGUMENT into (FILE.py, [ARGUMENT]).

  Args:
    given: the value of --config.

  Returns:
    (path, [ARGUMENT]); the list is empty when there is no ":ARGUMENT".
  """
  head, separator, argument = given.partition(".py:")
  return (pathlib.Path(f"{head}.py"), [argument]) if separator else (pathlib.Path(given), [])


def _define_config(values: flags.FlagValues, argv: Sequence[str]) -> None:
  config_flags.DEFINE_config_file(
    "config",
    None,
    "Config file, FILE.py or FILE.py:ARGUMENT.",
    flag_values=values,
    sys_argv=["ibjax", *argv],
  )


def overrides(argv: Sequence[str]) -> list[str]:
  """The overrides of a command line, as written: ["config.objective.beta=0.01"].

  Args:
    argv: the arguments after the verb; the value may follow "=" or be the next one.

  Returns:
    Texts "config.key=value" in the order given; the value is "" when there is none.
  """
  found, items = [], list(argv)
  for i, item in enumerate(items):
    match = re.match(r"--?(config\.[^=]+)(=(.*))?$", item, re.DOTALL)
    if match:
      value = match[3] if match[2] else (items[i + 1] if i + 1 < len(items) else "")
      found.append(f"{match[1]}={value}")
  return found


def config_path(argv: Sequence[str]) -> str | None:
  """The value of --config on a command line, or None.

  Args:
    argv: the arguments after the verb.

  Returns:
    The last value given, as absl counts, with its ":ARGUMENT"; "" when --config ends the line.
  """
  items, found = list(argv), None
  for i, item in enumerate(items):
    if item in ("--config", "-config"):
      found = items[i + 1] if i + 1 < len(items) else ""
    elif item.startswith(("--config=", "-config=")):
      found = item.split("=", 1)[1]
  return found


def _check_file(given: str) -> None:
  path, _ = split_path(given)
  if path.is_file() and path.suffix == ".py":
    return
  known = [str(known) for known in pathlib.Path("configs").rglob("*.py")]
  guess = nearest(str(path), known) or next((k for k in known if path.stem in k), None)
  hint = f" Did you mean '{guess}'?" if guess else ""
  where = " Config files are found from the current folder; `ibjax list configs` shows them."
  raise ConfigError(f"--config={given}: there is no config file '{path}'.{hint}{where}")


def check_key(config: ml_collections.ConfigDict, key: str) -> None:
  """Raises ConfigError, naming the nearest key, unless a dotted key exists in a config.

  Args:
    config: the config, without the overrides.
    key: as written after "config.", e.g. "objective.beta".

  Raises:
    ConfigError: no such key, or a key below a value.
  """
  section: Any = config
  seen: list[str] = []
  for part in key.split("."):
    if not isinstance(section, ml_collections.ConfigDict) or part not in section:
      options = list(section) if isinstance(section, ml_collections.ConfigDict) else []
      prefix = ".".join(["config", *seen])
      raise ConfigError(
        unknown(f"key of {prefix}", part, [str(o) for o in options])
        if options
        else f"{prefix} is a value; it has no key '{part}'."
      )
    section, seen = section[part], [*seen, part]


def _plain(error: BaseException) -> str:
  text = str(error).strip() or type(error).__name__
  return text if text[-1] in ".'\"" else text + "."
