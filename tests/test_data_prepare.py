"""Reading and preparing sets of TFDS, and the verb `ibjax data`.

The reading tests write a small set with TFDS's own file format and need no TensorFlow. The
real preparation of Fashion-MNIST needs TensorFlow and the four raw files in
$IBJAX_DATA_DIR/fashion_mnist.
"""

import hashlib
import importlib.util
import io
import json
import os
import pathlib
import struct
import subprocess
import sys
import types

import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError
from ibjax.data import idx, raw_files
from ibjax.data.prepare import prepare
from ibjax.data.source import load, source_names
from ibjax.data.sources import tfds as tfds_source
from ibjax.verbs import data as verb

SPEC = "tfds:fashion_mnist:3.0.1"
RAW = pathlib.Path(os.environ.get("IBJAX_DATA_DIR", "/nonexistent")) / "fashion_mnist"
HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
# Seconds since 1970 in the gzip headers of the published files.
PACKED_AT = {
  "train-images-idx3-ubyte": 1504176606,
  "train-labels-idx1-ubyte": 1504176606,
  "t10k-images-idx3-ubyte": 1504176627,
  "t10k-labels-idx1-ubyte": 1504176627,
}


def run_python(program):
  root = pathlib.Path(__file__).parent.parent
  return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)


def png(image):
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, format="png")
  return buffer.getvalue()


def write_set(data_dir, splits, *, name="toy", shape=(5, 4, 1), classes=("cat", "dog", "owl")):
  """Writes what TFDS writes: records, dataset_info.json, features.json."""
  import tensorflow_datasets as tfds
  from array_record.python.array_record_module import ArrayRecordWriter
  from tensorflow_datasets.proto import tf_example_pb2

  folder = data_dir / "tfds" / name / "1.0.0"
  folder.mkdir(parents=True)
  for split, (x, y) in splits.items():
    path = folder / f"{name}-{split}.array_record-00000-of-00001"
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for image, label in zip(x, y):
      example = tf_example_pb2.Example()
      example.features.feature["image"].bytes_list.value.append(png(image))
      example.features.feature["label"].int64_list.value.append(int(label))
      writer.write(example.SerializeToString())
    writer.close()
  tfds.features.FeaturesDict(
    {
      "image": tfds.features.Image(shape=shape),
      "label": tfds.features.ClassLabel(names=list(classes)),
    }
  ).save_config(str(folder))
  info = {
    "name": name,
    "version": "1.0.0",
    "fileFormat": "array_record",
    "splits": [
      {
        "name": split,
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "numBytes": "1",
        "shardLengths": [str(len(y))],
      }
      for split, (_, y) in splits.items()
    ],
  }
  (folder / "dataset_info.json").write_text(json.dumps(info))
  return folder


def toy_splits(channels=1):
  rng = np.random.default_rng(0)
  return {
    split: (rng.integers(0, 256, (n, 5, 4, channels), dtype=np.uint8), rng.integers(0, 3, n))
    for split, n in (("train", 40), ("test", 9))
  }


@pytest.mark.parametrize("channels", [1, 3])
def test_prepared_set_reads_exactly(tmp_path, channels):
  splits = toy_splits(channels)
  write_set(tmp_path, splits, shape=(5, 4, channels))
  source = load("tfds:toy:1.0.0", tmp_path)
  assert source.class_names == ("cat", "dog", "owl") and source.num_classes == 3
  assert source.x_shape == (5, 4, channels) and source.x_dtype == np.uint8
  np.testing.assert_array_equal(source.train_labels, splits["train"][1])
  for split, (x, y) in splits.items():
    order = np.random.default_rng(1).permutation(len(y))
    found = source.splits[split].read(order)
    np.testing.assert_array_equal(found["x"], x[order])
    np.testing.assert_array_equal(found["y"], y[order])
    assert found["x"].nbytes + found["y"].nbytes == source.splits[split].nbytes


def test_labels_and_hashes_are_kept(tmp_path, monkeypatch):
  folder = write_set(tmp_path, toy_splits())
  first = load("tfds:toy:1.0.0", tmp_path)
  assert json.loads((folder / "ibjax_sha256.json").read_text()).keys() == {
    "toy-train.array_record-00000-of-00001",
    "toy-test.array_record-00000-of-00001",
  }
  with monkeypatch.context() as patch:
    # The second time nothing is read through: neither records nor their bytes.
    patch.setattr(tfds_source, "_examples", lambda *_: pytest.fail("read records"))
    patch.setattr("ibjax.data.fingerprint.of_file", lambda _: pytest.fail("hashed a file"))
    again = load("tfds:toy:1.0.0", tmp_path)
  np.testing.assert_array_equal(again.train_labels, first.train_labels)
  assert again.fingerprint == first.fingerprint
  # A cache that was cut short is made again.
  (cache,) = folder.glob("ibjax_labels_*.npy")
  cache.write_bytes(cache.read_bytes()[:-4])
  again = load("tfds:toy:1.0.0", tmp_path)
  np.testing.assert_array_equal(again.train_labels, first.train_labels)


def test_damaged_records(tmp_path):
  folder = write_set(tmp_path, toy_splits())
  load("tfds:toy:1.0.0", tmp_path)
  path = folder / "toy-train.array_record-00000-of-00001"
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 255
  path.write_bytes(content)
  found = hashlib.sha256(content).hexdigest()
  with pytest.raises(DataError, match=rf"{path.name} has .* sha256 {found}.*prepare the set again"):
    load("tfds:toy:1.0.0", tmp_path)


def test_read_only_folder_loads(tmp_path, monkeypatch):
  write_set(tmp_path, toy_splits())
  refuse = lambda *_: (_ for _ in ()).throw(PermissionError())
  monkeypatch.setattr(os, "replace", refuse)
  assert load("tfds:toy:1.0.0", tmp_path).splits["train"].n == 40
  assert not list(tmp_path.rglob("*ibjax*"))


def test_unfit_sets(tmp_path):
  splits = toy_splits()
  write_set(tmp_path, splits, name="varied", shape=(None, None, 1))
  with pytest.raises(DataError, match=r"shape \[None, None, 1\].* need resizing"):
    load("tfds:varied:1.0.0", tmp_path)
  held_out = {"train": splits["train"], "validation": splits["test"]}
  write_set(tmp_path, held_out, name="untested")
  with pytest.raises(DataError, match=r"no 'test' split.*'validation' split is not used"):
    load("tfds:untested:1.0.0", tmp_path)
  write_set(tmp_path, splits, name="few", classes=("cat", "dog"))
  with pytest.raises(DataError, match=r"few:1.0.0/train: label 2 at row \d+ is outside 0\.\.1"):
    load("tfds:few:1.0.0", tmp_path)


def test_reading_imports_no_tensorflow(tmp_path):
  write_set(tmp_path, toy_splits())
  program = (
    "import sys, numpy as np\n"
    "from ibjax.data.source import load\n"
    f"source = load('tfds:toy:1.0.0', {str(tmp_path)!r})\n"
    "assert source.splits['train'].read(np.arange(40))['x'].shape == (40, 5, 4, 1)\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  done = run_python(program)
  assert done.returncode == 0, done.stderr
  assert done.stderr == "", "reading must not print warnings"


@pytest.mark.parametrize(
  "spec, error, message",
  [
    (SPEC, DataError, rf"is not prepared: .*`ibjax data prepare {SPEC} \[--from DIR\]`"),
    ("tfds:fashion_mnist", ConfigError, f"names no version.*makes 3.0.1. Write '{SPEC}'"),
    ("tfds:fashion_mnist:3.0.0", ConfigError, f"has no version 3.0.0.*Write '{SPEC}'"),
    ("tfds:fashion_mnits:3.0.1", ConfigError, "Did you mean 'fashion_mnist'"),
    ("tfds:", ConfigError, "is not tfds:NAME:VERSION"),
    ("tfds:../x:1.0.0", ConfigError, "is not tfds:NAME:VERSION"),
    ("tfds:emnist:3.1.0", ConfigError, "comes in configs: byclass, bymerge"),
    ("tfds:emnist/balancd:3.1.0", ConfigError, "Did you mean 'balanced'"),
    ("tfds:mnist/big:3.0.1", ConfigError, "has no configs"),
  ],
)
def test_names_that_do_not_load(tmp_path, spec, error, message):
  with pytest.raises(error, match=message):
    load(spec, tmp_path)


@pytest.mark.parametrize(
  "argv, error, message",
  [
    ([], ConfigError, "needs a subverb"),
    (["prepair", "mnist"], ConfigError, "Did you mean 'prepare'"),
    (["prepare", "tfds:a:1.0.0", "--form=x"], ConfigError, "Did you mean '--from'"),
    (["info", "mnist", "--data_dri", "x"], ConfigError, "Did you mean '--data_dir'"),
    (["list", "--from", "x"], ConfigError, "flag of `ibjax data list` '--from'"),
    (["info"], ConfigError, "required: NAME"),
    (["info", "mnist", "extra"], ConfigError, "unrecognized arguments: extra"),
    (["info", "minst"], ConfigError, "Did you mean 'mnist'"),
    (["prepare", "food101"], ConfigError, "Write 'tfds:food101:2.0.0'"),
    (["prepare", "food110"], ConfigError, "tfds:food101:VERSION"),
    (["prepare", SPEC, "--from", "/no/such/folder"], DataError, "is not a folder"),
    (["prepare", "tfds:food101:2.0.0"], DataError, "need resizing"),
  ],
)
def test_verb_errors(tmp_path, argv, error, message):
  with pytest.raises(error, match=message):
    verb.run(argv + (["--data_dir", str(tmp_path)] if argv else []))


def test_verb_list_and_info(tmp_path, capsys):
  folder = write_set(tmp_path, toy_splits())
  # What an interrupted preparation leaves is not a set.
  (folder.parent / "incomplete.ABC_2.0.0").mkdir()
  (folder.parent / "incomplete.ABC_2.0.0" / "dataset_info.json").write_text("{}")
  assert verb.run(["list", f"--data_dir={tmp_path}"]) == 0
  listed = capsys.readouterr().out.splitlines()
  assert [line.split()[0] for line in listed] == [*source_names(), "tfds:toy:1.0.0"]
  assert all(len(line.split()) > 3 for line in listed), "each source says what it is"
  assert verb.run(["info", "tfds:toy:1.0.0", "--data_dir", str(tmp_path)]) == 0
  shown = capsys.readouterr().out
  source = load("tfds:toy:1.0.0", tmp_path)
  train, test = (np.bincount(y) for _, y in toy_splits().values())
  for part in (
    "[5, 4, 1] uint8",
    "3: cat, dog, owl",
    f"40 examples, {40 * 24} bytes",
    "per class " + " ".join(map(str, train)),
    "per class " + " ".join(map(str, test)),
    source.fingerprint,
  ):
    assert part in shown
  assert verb.run(["prepare", "mnist"]) == 0
  assert "nothing to prepare" in capsys.readouterr().out
  assert verb.run(["prepare", "tfds:toy:1.0.0", "--data_dir", str(tmp_path)]) == 0
  assert "already prepared" in capsys.readouterr().out


def test_raw_files_by_name(tmp_path):
  urls = ["http://a.org/x/one.gz?raw=1", "http://b.org/two%20b.zip"]
  (tmp_path / "one.gz").write_bytes(b"1")
  (tmp_path / "other.txt").write_bytes(b"2")
  with pytest.raises(
    DataError, match=r"lacks two b.zip. Wanted: one.gz, two b.zip. Found: one.gz, other.txt"
  ):
    raw_files.find(urls, tmp_path)
  (tmp_path / "two b.zip").write_bytes(b"3")
  assert raw_files.find(urls, tmp_path) == dict(
    zip(urls, [tmp_path / "one.gz", tmp_path / "two b.zip"])
  )


def test_raw_file_corrupted(tmp_path):
  path = tmp_path / "one.gz"
  path.write_bytes(b"abc")
  found = hashlib.sha256(b"abc").hexdigest()
  raw_files.verify(path, found)
  with pytest.raises(DataError, match=rf"one.gz \(3 bytes\) has sha256 {found}.*{'0' * 64}"):
    raw_files.verify(path, "0" * 64)


def test_repacked_raw_files_are_taken_only_when_asked_for_and_noted(tmp_path):
  import tensorflow_datasets as tfds

  url = "http://a.org/one.gz"
  (tmp_path / "one.gz").write_bytes(b"abc")
  info = tfds.download.checksums.UrlInfo(size=3, checksum="0" * 64, filename="one.gz")
  builder = types.SimpleNamespace(
    url_infos={url: info}, name="toy", MANUAL_DOWNLOAD_INSTRUCTIONS=None
  )
  extract, notes = str(tmp_path / "extract"), []
  with pytest.raises(DataError, match="--accept_repacked"):
    raw_files.manager(builder, tmp_path, extract, notes).download(url)
  assert notes == []
  manager = raw_files.manager(builder, tmp_path, extract, notes, repacked=True)
  assert manager.download(url) == tmp_path / "one.gz"
  assert hashlib.sha256(b"abc").hexdigest() in notes[0]


def test_host_out_of_reach():
  # Port 9 of this machine: refused at once, on any machine without a service there.
  with pytest.raises(DataError, match=r"127.0.0.1, which could not be reached.*--from DIR"):
    raw_files.check_reachable("tfds:a:1.0.0", ["http://127.0.0.1:9/a.gz"])


@pytest.mark.skipif(HAS_TENSORFLOW, reason="TensorFlow is installed here")
def test_without_tensorflow_says_which_extra(tmp_path):
  with pytest.raises(DataError, match=r"pip install 'ibjax\[prepare\]'"):
    prepare(SPEC, tmp_path, from_dir=tmp_path)
  assert tfds_source.prepared(tmp_path) == []


def as_published(path):
  """The file's bytes as first published: some packagers strip name and time off gzip headers.

  What makes it right is the sha256 that TFDS has registered, which the preparation verifies.
  """
  content = path.read_bytes()
  if content[3]:  # flags: the name is there
    return content
  name = path.name.removesuffix(".gz")
  time = struct.pack("<I", PACKED_AT[name])
  return content[:3] + b"\x08" + time + content[8:10] + name.encode() + b"\0" + content[10:]


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TENSORFLOW, reason="preparing needs TensorFlow: ibjax[prepare]")
@pytest.mark.skipif(not RAW.is_dir(), reason="no raw files in $IBJAX_DATA_DIR/fashion_mnist")
def test_fashion_mnist_for_real(tmp_path):
  raw = tmp_path / "raw"
  raw.mkdir()
  for path in RAW.glob("*.gz"):
    (raw / path.name).write_bytes(as_published(path))

  labels = raw / "t10k-labels-idx1-ubyte.gz"
  content = labels.read_bytes()
  labels.unlink()
  with pytest.raises(DataError, match=r"lacks t10k-labels-idx1-ubyte.gz. Wanted: t10k-images"):
    prepare(SPEC, tmp_path, from_dir=raw)
  labels.write_bytes(content[:-1] + b"\xff")
  with pytest.raises(DataError, match=r"t10k-labels.*has sha256 .* registered 67da17c7"):
    prepare(SPEC, tmp_path, from_dir=raw)
  assert tfds_source.prepared(tmp_path) == []
  labels.write_bytes(content)

  # Files of the same name that an earlier preparation of another set extracted.
  stale = tmp_path / "tfds" / "downloads" / "extracted"
  stale.mkdir(parents=True, exist_ok=True)
  for name in PACKED_AT:
    (stale / f"GZIP.{name}.gz").write_bytes(b"another set")

  assert "train 60000, test 10000" in prepare(SPEC, tmp_path, from_dir=raw)
  assert tfds_source.prepared(tmp_path) == [SPEC]
  assert not list((tmp_path / "tfds").glob(".extract-*"))
  program = (
    "import sys, numpy as np\n"
    "from ibjax.data.source import load\n"
    f"source = load({SPEC!r}, {str(tmp_path)!r})\n"
    "out = {f'{s}_{k}': v for s, p in source.splits.items()\n"
    "       for k, v in p.read(np.arange(p.n)).items()}\n"
    f"np.savez({str(tmp_path / 'read.npz')!r}, labels=source.train_labels, **out)\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  done = run_python(program)
  assert (done.returncode, done.stderr) == (0, "")
  read = np.load(tmp_path / "read.npz")
  np.testing.assert_array_equal(read["labels"], read["train_y"])
  for split, stem, n in (("train", "train", 60000), ("test", "t10k", 10000)):
    x = idx.read(raw / f"{stem}-images-idx3-ubyte.gz", shape=(n, 28, 28))
    y = idx.read(raw / f"{stem}-labels-idx1-ubyte.gz", shape=(n,))
    assert read[f"{split}_x"].shape == (n, 28, 28, 1)
    # TFDS shuffles once when it writes: the pairs are the same, their order is not.
    assert sorted(pairs(x, y)) == sorted(pairs(read[f"{split}_x"], read[f"{split}_y"]))


def pairs(images, labels):
  return [image.tobytes() + bytes([label]) for image, label in zip(images, labels)]
