"""What a run's folder holds beside its lines and checkpoints: manifest, predictions, final row."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ibjax.core import files
from ibjax.core.code import code_version
from ibjax.core.config import config_hash, difference
from ibjax.core.errors import ConfigError
from ibjax.evaluators.summary import summarize
from ibjax.train.setup import Setup


def make_manifest(
  setup: Setup,
  config: Mapping[str, Any],
  about: Mapping[str, Any],
  old: Mapping[str, Any] | None,
  session: Mapping[str, Any],
) -> dict[str, Any]:
  """Describes a run: what was asked for, with which code, data and devices.

  Args:
    setup: what is trained, for its data.
    config: the run's resolved config.
    about: {"config_file", "overrides", "command"}, and what else should be told.
    old: the manifest of the run continued, None for a new one.
    session: `records.session()` of this process.

  Returns:
    The manifest. A run continued keeps its first start ("started", "commit", "versions", ...), and
    this start is added to "resumes", with what changed in the config.

  Raises:
    ConfigError: the data changed since the run began.
  """
  data = {
    "name": setup.source.name,
    "fingerprint": setup.source.fingerprint,
    **{f"n_{name}": split.n for name, split in setup.splits.items()},
    "x_shape": list(setup.source.x_shape),
  }
  return manifest_of(data, config, about, old, session)


def manifest_of(
  data: Mapping[str, Any],
  config: Mapping[str, Any],
  about: Mapping[str, Any],
  old: Mapping[str, Any] | None,
  session: Mapping[str, Any],
) -> dict[str, Any]:
  """Describes a run on any data.

  Args:
    data: {"name", "fingerprint", ...}.
    config: the run's resolved config.
    about: as in `make_manifest`, and so are `old` and `session`.
    old: the manifest of the run continued, None for a new one.
    session: `records.session()` of this process.

  Returns:
    The manifest.

  Raises:
    ConfigError: the data changed since the run began.
  """
  manifest: dict[str, Any] = {
    "config": config,
    "config_hash": config_hash(config),
    "code": code_version(config),
    **about,
    **session,
    "data": dict(data),
    **({"batch_scope": config["batch_scope"]} if "batch_scope" in config else {}),
    "resumes": [],
  }
  if old is None:
    return manifest
  if old["data"]["fingerprint"] != data["fingerprint"]:
    raise ConfigError(
      f"the data set '{data['name']}' has changed since this run began (fingerprint "
      f"{old['data']['fingerprint'][:12]}, now {data['fingerprint'][:12]}). Start a new run "
      "in another --workdir."
    )
  changes = difference(old["config"], config)
  entry = {**session, **({"config_change": changes} if changes else {})}
  kept = {key: old[key] for key in session if key in old}
  return {**manifest, **kept, "resumes": [*old.get("resumes", []), entry]}


def check_same(
  old: Mapping[str, Any], new: Mapping[str, Any], workdir: pathlib.Path, advice: str
) -> None:
  """Raises ConfigError, with the difference, unless a folder's run is of the config asked for.

  Args:
    old: the resolved config in the folder's manifest.
    new: the resolved config asked for.
    workdir: the run's folder, for the message.
    advice: what to do, the end of the message.

  Raises:
    ConfigError: they differ.
  """
  if lines := difference(old, new):
    shown = "\n  ".join(lines)
    raise ConfigError(f"{workdir} holds a run of another config:\n  {shown}\n{advice}")


def write_results(
  setup: Setup,
  config: Mapping[str, Any],
  values: Mapping[str, np.ndarray],
  last: Mapping[str, Mapping[str, float]],
  extra: Mapping[str, float],
  workdir: pathlib.Path,
) -> None:
  """Writes predictions, the most confident mistakes, and the final row, which ends the run.

  Args:
    setup: what was trained.
    config: the run's resolved config.
    values: per-example arrays of the test split.
    last: split -> name -> the last value.
    extra: name -> number, put last in the row: {"step", "train_s", ...}.
    workdir: the run's folder.

  Raises:
    WorkdirError: a file cannot be written.
  """
  files.write_npz(workdir / "predictions.npz", values)
  if "label" in values:
    files.write_npz(workdir / "confusions.npz", confusions(setup, values))
  if "diverged_at_step" not in extra:  # its last state may predict nothing that can be scored
    last = {**last, "test": {**last.get("test", {}), **summarize(values)}}
  files.write_json(workdir / "result.json", result_row(setup, config, last, extra))


def result_row(
  setup: Setup,
  config: Mapping[str, Any],
  last: Mapping[str, Mapping[str, float]],
  extra: Mapping[str, float],
) -> dict[str, Any]:
  """A run's final row: flat, name to number or short text.

  Args:
    setup: what was trained.
    config: the run's resolved config.
    last: split -> name -> the last value; NaN and infinite ones are left out.
    extra: name -> number, put last.

  Returns:
    {"objective", "data", "seed", ..., "test/err_frac", ..., "step", "train_s"}.
  """
  row: dict[str, Any] = {
    "objective": config["objective"]["fn"].rpartition(":")[2],
    "data": setup.source.name,
    "config_hash": config_hash(config),
    "batch_scope": config["batch_scope"],
    "seed": config["seed"],
  }
  if "beta" in config["objective"]:
    row["beta"] = config["objective"]["beta"]
  for split, values in last.items():
    for name, value in values.items():
      if np.isfinite(value):
        row[f"{split}/{name}"] = value
  return {**row, **extra}


def confusions(
  setup: Setup, values: Mapping[str, np.ndarray], most: int = 24
) -> dict[str, np.ndarray]:
  """The most confident mistakes on the test split, with their images.

  Args:
    setup: what was trained.
    values: per-example arrays of the test split; "label", "prediction" and "confidence" are read.
    most: how many mistakes at most.

  Returns:
    {"images": [k, ...] as stored, "label": [k], "prediction": [k], "confidence": [k],
    "class_names": [c]}, the most confident first; k is at most `most`.
  """
  wrong = np.flatnonzero(values["label"] != values["prediction"])
  rows = wrong[np.argsort(-values["confidence"][wrong], kind="stable")][:most]
  return {
    "images": setup.splits["test"].read(rows)["x"],
    "label": values["label"][rows],
    "prediction": values["prediction"][rows],
    "confidence": values["confidence"][rows],
    "class_names": np.array(setup.source.class_names),
  }
