"""Preparing a TFDS set once, with a network or from raw files brought along (air-gapped)."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import pathlib
import tempfile
from collections.abc import Iterator

from ibjax.core.errors import ConfigError, DataError, nearest, unknown
from ibjax.data import raw_files
from ibjax.data.source import load, source_names
from ibjax.data.sources import tfds as tfds_source


def prepare(
  spec: str,
  data_dir: str | os.PathLike,
  from_dir: str | os.PathLike | None = None,
  repacked: bool = False,
) -> str:
  """Makes a data set ready to be loaded.

  Only sets of TFDS need it: they are fetched, verified against the sha256 that TFDS has
  registered, and written as array_record files below data_dir/tfds. An interrupted
  preparation leaves nothing that loads.

  Args:
    spec: as a config names it, e.g. "tfds:fashion_mnist:3.0.1".
    data_dir: where prepared sets live.
    from_dir: a folder holding the raw files under the names their URLs end with; nothing is
      fetched then. None fetches.
    repacked: take raw files whose sha256 is not the registered one, as mirrors that packed
      them anew have them; each is noted.

  Returns:
    One line (or more) saying what was done.

  Raises:
    ConfigError: no such set or version.
    DataError: a raw file is missing or not the registered one, the host cannot be reached,
      TensorFlow is needed and not installed, or the result cannot be trained on.

  Example:
    print(prepare("tfds:fashion_mnist:3.0.1", default_data_dir(), from_dir="raw"))
  """
  name, _, argument = spec.partition(":")
  directory = pathlib.Path(data_dir)
  check_name(spec)
  if name != "tfds":
    return f"{spec}: nothing to prepare; this source is read as it is."
  if from_dir is not None and not pathlib.Path(from_dir).is_dir():
    raise DataError(f"--from {from_dir} is not a folder. Give the folder that holds the raw files.")
  reference = tfds_source.parse(argument, directory)
  folder = tfds_source.folder_of(reference, directory)
  if (folder / "dataset_info.json").exists():
    load(spec, directory)
    return f"{spec}: already prepared in {folder}."
  notes = _generate(
    spec, reference, directory, None if from_dir is None else pathlib.Path(from_dir), repacked
  )
  source = load(spec, directory)  # keeps the hashes and the labels beside the records
  sizes = ", ".join(f"{split} {part.n}" for split, part in source.splits.items())
  return "\n".join([f"{spec}: prepared in {folder} ({sizes}).", *notes])


def check_name(spec: str) -> None:
  """Raises ConfigError unless a source is called so; gives the full name of a bare TFDS set.

  Args:
    spec: as a config names it: "name" or "name:argument"; the argument is not looked at.

  Raises:
    ConfigError: no such source; names the nearest, or the set of TFDS meant.
  """
  name = spec.partition(":")[0]
  if name in source_names():
    return
  import tensorflow_datasets as tfds

  bare, _, config = name.partition("/")
  known = tfds.list_builders(with_community_datasets=False)
  if bare in known:
    full = f"tfds:{name}:{tfds_source.version_of(bare, config)}"
    raise ConfigError(f"unknown data source '{name}'; it is a set of TFDS. Write '{full}'.")
  guess = None if nearest(name, source_names()) else nearest(bare, known)
  hint = f"A set of TFDS is named tfds:{guess or 'NAME'}:VERSION."
  raise ConfigError(unknown("data source", name, source_names(), hint))


def _generate(
  spec: str,
  reference: tfds_source.Reference,
  data_dir: pathlib.Path,
  from_dir: pathlib.Path | None,
  repacked: bool,
) -> list[str]:
  # TensorFlow reads this once, when imported; without it every start prints a page.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  import tensorflow_datasets as tfds

  root = data_dir / tfds_source.ROOM
  try:
    root.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise DataError(
      f"cannot make the folder {root}: {error.strerror}. Give another with --data_dir."
    ) from error
  config = {"config": reference.config} if reference.config else {}
  builder = tfds.builder_cls(reference.name)(
    data_dir=str(root), version=reference.version, **config
  )
  tfds_source.check_features(spec, builder.info)
  if from_dir is None and builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
    raise DataError(
      f"the files of '{spec}' have to be fetched by hand, then given with --from DIR. TFDS "
      f"says: {' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}"
    )
  if importlib.util.find_spec("tensorflow") is None:
    raise DataError(
      f"preparing '{spec}' encodes its images with TensorFlow, which is not installed. Run "
      "`pip install 'ibjax[prepare]'` here, or prepare on another machine and copy its folder to "
      f"{tfds_source.folder_of(reference, data_dir)}. Reading the set needs no TensorFlow."
    )
  if from_dir is None:
    raw_files.check_reachable(spec, builder.url_infos or {})
  # Two sets may have raw files of one name (MNIST and Fashion-MNIST do), and TFDS takes up
  # extracted files by name: each preparation extracts into a folder of its own.
  with tempfile.TemporaryDirectory(prefix=".extract-", dir=root) as extract_dir:
    notes: list[str] = []
    if from_dir is not None:
      manager = raw_files.manager(builder, from_dir, extract_dir, notes, repacked)
      builder._make_download_manager = lambda **_: manager
    download = tfds.download.DownloadConfig(try_download_gcs=False, extract_dir=extract_dir)
    with _quiet(), _teaching(spec):
      builder.download_and_prepare(file_format="array_record", download_config=download)
  return notes


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Keeps TFDS's progress bars and banners from the user, who is told when it is done."""
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    tfds.enable_progress_bar()


@contextlib.contextmanager
def _teaching(spec: str) -> Iterator[None]:
  """Turns what goes wrong outside the program into an error that says what to do."""
  import requests
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.download import download_manager, extractor

  try:
    yield
  except (tfds.download.DownloadError, requests.RequestException) as error:
    raise DataError(
      f"fetching the raw files of '{spec}' failed: {error}. {raw_files.HINT}"
    ) from error
  except download_manager.NonMatchingChecksumError as error:
    raise DataError(f"a fetched file of '{spec}' is not the registered one: {error}") from error
  except (extractor.ExtractError, OSError, ImportError) as error:
    raise DataError(f"preparing '{spec}' failed: {error}. Nothing was left behind.") from error
