"""Image classification sets of TensorFlow Datasets, tfds:NAME:VERSION; `ibjax data prepare` first.

Reading needs no TensorFlow: the records are read at random access and decoded with Pillow.
"""

from __future__ import annotations

import pathlib
import re
from typing import Any, NamedTuple

import numpy as np

from ibjax.core.errors import ConfigError, DataError, unknown
from ibjax.data import fingerprint
from ibjax.data.source import Arrays, Source, Split, check_labels

ROOM = "tfds"  # the folder in data_dir that holds prepared sets
_RECORD = "ibjax_sha256.json"
_REFERENCE = re.compile(r"(?P<name>\w+)(/(?P<config>\w[\w.+-]*))?(:(?P<version>\d+\.\d+\.\d+))?")


class Reference(NamedTuple):
  """Which set is meant: NAME[/CONFIG]:VERSION."""

  name: str
  config: str
  version: str

  def __str__(self) -> str:
    return "/".join(part for part in self[:2] if part) + f":{self.version}"


def load(argument: str, data_dir: pathlib.Path) -> Source:
  """Opens a prepared set of TFDS.

  Args:
    argument: "NAME:VERSION" or "NAME/CONFIG:VERSION".
    data_dir: where prepared sets live.

  Returns:
    A `Source`, uint8. Images are decoded when read; labels are kept beside the records.

  Raises:
    ConfigError: no such set, config or version.
    DataError: not prepared (says the command), damaged, without a test split, or not one
      image of fixed shape and one class label per example.

  Example:
    source = load("fashion_mnist:3.0.1", default_data_dir())
  """
  reference = parse(argument, data_dir)
  folder = folder_of(reference, data_dir)
  spec = f"tfds:{reference}"
  if not (folder / "dataset_info.json").exists():
    raise DataError(
      f"data set '{spec}' is not prepared: there is no {folder}. Run `ibjax data prepare {spec} "
      f"[--from DIR]` once (with --data_dir={data_dir} unless that is the default); --from "
      "takes the raw files from a folder, for machines without a network."
    )
  import tensorflow_datasets as tfds

  info = (builder := tfds.builder_from_directory(str(folder))).info
  image, label = check_features(spec, info)
  _check_splits(spec, {split: part.num_examples for split, part in info.splits.items()})
  hashes = fingerprint.of_recorded_files(
    [path for path in folder.iterdir() if ".array_record" in path.name], folder / _RECORD
  )
  if not hashes:
    raise DataError(
      f"{folder} holds no array_record files: '{spec}' was prepared in another format. "
      f"Delete it and run `ibjax data prepare {spec}`."
    )
  names = tuple(info.features[label].names)
  shape = tuple(info.features[image].shape)
  digest = fingerprint.combine({**hashes, "set": spec, "classes": str(names), "x": str(shape)})
  splits, train_labels = {}, np.zeros(0, np.int32)
  for split, part in info.splits.items():
    records = builder.as_data_source(split, decoders={image: tfds.decode.SkipDecoding()})
    read = _reader(f"{spec}/{split}", records, info.features[image], image, label)
    nbytes = part.num_examples * (int(np.prod(shape)) + 4)
    splits[split] = Split(n=part.num_examples, read=read, nbytes=nbytes)
    if split == "train":
      cache = folder / f"ibjax_labels_{split}_{digest[:16]}.npy"
      train_labels = _labels(f"{spec}/{split}", cache, records, label)
      check_labels(f"{spec}/{split}", train_labels, len(names))
  return Source(
    name=spec,
    splits=splits,
    x_shape=shape,
    x_dtype=np.dtype(np.uint8),
    num_classes=len(names),
    class_names=names,
    fingerprint=digest,
    train_labels=train_labels,
  )


def parse(argument: str, data_dir: pathlib.Path) -> Reference:
  """Reads "NAME[/CONFIG]:VERSION"; a set that is there needs no code of TFDS to be known.

  Args:
    argument: what follows "tfds:".
    data_dir: where prepared sets live.

  Returns:
    The `Reference`.

  Raises:
    ConfigError: malformed, or no such set, config or version; names the nearest.
  """
  match = _REFERENCE.fullmatch(argument)
  if match is None:
    raise ConfigError(
      f"'tfds:{argument}' is not tfds:NAME:VERSION (or tfds:NAME/CONFIG:VERSION) with a "
      "version of three numbers, such as tfds:fashion_mnist:3.0.1."
    )
  reference = Reference(match["name"], match["config"] or "", match["version"] or "")
  if reference.version and (folder_of(reference, data_dir) / "dataset_info.json").exists():
    return reference
  import tensorflow_datasets as tfds

  known = tfds.list_builders(with_community_datasets=False)
  if reference.name not in known:
    raise ConfigError(unknown("set of TFDS", reference.name, known))
  version = version_of(reference.name, reference.config)
  if reference.version != version:
    full = f"tfds:{reference._replace(version=version)}"
    raise ConfigError(
      f"'tfds:{argument}' "
      + (f"has no version {reference.version}" if reference.version else "names no version")
      + f"; the installed tensorflow-datasets makes {version}. Write '{full}'."
    )
  return reference


def version_of(name: str, config: str = "") -> str:
  """Returns the version of a set that the installed TFDS makes; ConfigError on a wrong config.

  Args:
    name: a set that TFDS knows.
    config: one of its configs; "" for a set without any.

  Returns:
    Three numbers, e.g. "3.0.1".

  Raises:
    ConfigError: no such config (names the nearest), none given where one is needed, or one given
      where there are none.
  """
  import tensorflow_datasets as tfds

  cls = tfds.builder_cls(name)
  configs = cls.builder_configs
  if config not in configs and (config or configs):
    if not configs:
      raise ConfigError(f"set '{name}' of TFDS has no configs, found '{name}/{config}'.")
    hint = f"Write tfds:{name}/CONFIG:VERSION."
    if not config:
      raise ConfigError(f"set '{name}' of TFDS comes in configs: {', '.join(configs)}. {hint}")
    raise ConfigError(unknown(f"config of '{name}'", config, configs, hint))
  return str((configs[config].version if config else None) or cls.VERSION)


def folder_of(reference: Reference, data_dir: pathlib.Path) -> pathlib.Path:
  """Returns the folder that holds a set once it is prepared.

  Args:
    reference: the set.
    data_dir: where prepared sets live.

  Returns:
    data_dir/tfds/NAME[/CONFIG]/VERSION; it need not exist.
  """
  parts = [part for part in reference if part]
  return pathlib.Path(data_dir).joinpath(ROOM, *parts)


def prepared(data_dir: pathlib.Path) -> list[str]:
  """Returns the specs, "tfds:NAME:VERSION", of the sets prepared in data_dir.

  Args:
    data_dir: where prepared sets live; it need not exist.

  Returns:
    Specs in alphabetical order; those with a config read tfds:NAME/CONFIG:VERSION.
  """
  room = pathlib.Path(data_dir) / ROOM
  found = []
  for path in [*room.glob("*/*/dataset_info.json"), *room.glob("*/*/*/dataset_info.json")]:
    *name, version = path.parent.relative_to(room).parts
    # TFDS writes into a folder of another name and renames it when it is whole.
    if re.fullmatch(r"\d+\.\d+\.\d+", version):
      found.append(f"tfds:{'/'.join(name)}:{version}")
  return sorted(found)


def check_features(spec: str, info: Any) -> tuple[str, str]:
  """Finds the image and the label of a set.

  Args:
    spec: the set, for messages.
    info: a `tfds.core.DatasetInfo`.

  Returns:
    Names of the image feature and of the label feature.

  Raises:
    DataError: not one fixed-shape uint8 image and one class label per example.
  """
  import tensorflow_datasets as tfds

  features = dict(info.features.items()) if hasattr(info.features, "items") else {}
  images = [k for k, v in features.items() if isinstance(v, tfds.features.Image)]
  labels = [k for k, v in features.items() if isinstance(v, tfds.features.ClassLabel)]
  if info.supervised_keys and len(info.supervised_keys) == 2:
    # With several to choose from, take those the set itself says to learn.
    images = [key for key in images if key == info.supervised_keys[0]] or images
    labels = [key for key in labels if key == info.supervised_keys[1]] or labels
  if len(images) != 1 or len(labels) != 1:
    raise DataError(
      f"'{spec}' has images {images or 'none'} and class labels {labels or 'none'} among its "
      f"features {sorted(features)}; expected one image and one class label per example."
    )
  image = features[images[0]]
  if None in image.shape:
    raise DataError(
      f"the images of '{spec}' have shape {list(image.shape)}: their sizes vary, and a batch needs "
      "one. They need resizing, which is not supported yet: resize them yourself and use "
      "folder:PATH."
    )
  if image.np_dtype != np.uint8:
    raise DataError(
      f"the images of '{spec}' are {np.dtype(image.np_dtype)}, expected uint8. Convert them "
      "yourself and use folder:PATH."
    )
  return images[0], labels[0]


def _check_splits(spec: str, sizes: dict[str, int]) -> None:
  for required in ("train", "test"):
    if not sizes.get(required):
      hint = ""
      if required == "test" and "validation" in sizes:
        hint = (
          " Its 'validation' split is not used as test in silence, because selection on it would "
          "make the tables optimistic: export the split you mean to folder:PATH."
        )
      raise DataError(f"'{spec}' has no '{required}' split, or an empty one; it has {sizes}.{hint}")


def _reader(where: str, records: Any, feature: Any, image: str, label: str):
  shape, channels = tuple(feature.shape), feature.shape[-1]

  def read(indices: np.ndarray) -> Arrays:
    examples = _examples(where, records, np.asarray(indices))
    x = np.empty((len(examples), *shape), np.uint8)
    for row, example in enumerate(examples):
      # Pillow even where OpenCV is installed: two JPEG decoders give two sets of pixels.
      x[row] = feature.decode_example_np_with_pil(example[image], channels)
    return {"x": x, "y": np.array([example[label] for example in examples], np.int32)}

  return read


def _examples(where: str, records: Any, indices: np.ndarray) -> list[dict[str, Any]]:
  try:
    return list(records.__getitems__([int(index) for index in indices]))
  except (OSError, RuntimeError) as error:
    raise DataError(
      f"{where}: a record cannot be read ({error}). Prepare the set again."
    ) from error


def _labels(where: str, cache: pathlib.Path, records: Any, label: str) -> np.ndarray:
  try:
    labels = np.load(cache, allow_pickle=False)
    if labels.shape == (len(records),) and labels.dtype == np.int32:
      return labels
  except (OSError, ValueError, EOFError):
    pass  # not there yet, or cut short: make it again
  blocks = np.array_split(np.arange(len(records)), max(1, len(records) // 4096))
  examples = (_examples(where, records, block) for block in blocks)
  labels = np.array([example[label] for block in examples for example in block], np.int32)
  fingerprint.write_array_cache(cache, labels)
  return labels
