"""Activation stores: whole though the writer is killed, the same whatever the shards."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError, InputError
from ibjax.data import feed, order, store
from ibjax.data import source as source_lib
from ibjax.data.sources import activations
from ibjax.data.store_write import write

ORIGIN = {"model": "planes", "layer": "top", "data": "numbers"}
SIZES = {"train": 25, "test": 4}


def values(split, numbers):
  """[k, 3, 5]: what the layer gives for an example is a function of its number."""
  at = np.asarray(numbers)[:, None, None] * 15 + np.arange(15).reshape(3, 5)
  return np.sin(at + (split == "test") * 0.5).astype(np.float32)


def parts(watch=None):
  def part(split):
    def read(numbers):
      if watch is not None:
        watch(split, numbers)
      return {"x": values(split, numbers), "y": np.asarray(numbers)[:, None] % 4 + np.arange(3)}

    return store.Part(SIZES[split], read)

  return {split: part(split) for split in SIZES}


def make(folder, **options):
  given = dict(origin=ORIGIN, num_classes=7, shard_rows=9)
  return write(folder, options.pop("parts", None) or parts(), **{**given, **options})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  folder = tmp_path_factory.mktemp("store") / "made"
  return folder, make(folder)


def whole(source, split="train"):
  return source.splits[split].read(np.arange(source.splits[split].n))


def test_rows_and_labels_come_back_as_they_were_captured(written):
  folder, index = written
  source = source_lib.load(f"activations:{folder}")
  assert source.x_shape == (5,) and source.num_classes == 7
  assert len(index["splits"]["train"]["shards"]) == 9
  for split, n in SIZES.items():
    found = whole(source, split)
    np.testing.assert_array_equal(found["x"], values(split, np.arange(n)).reshape(-1, 5))
    np.testing.assert_array_equal(found["y"], (np.arange(n)[:, None] % 4 + np.arange(3)).ravel())
  np.testing.assert_array_equal(source.train_labels, whole(source)["y"])
  rows = np.array([70, 3, 3, 41])
  np.testing.assert_array_equal(source.splits["train"].read(rows)["x"], whole(source)["x"][rows])


def test_the_cut_into_shards_changes_neither_batches_nor_fingerprint(written, tmp_path):
  one = source_lib.load(f"activations:{written[0]}")
  make(tmp_path / "other", shard_rows=60)
  two = source_lib.load(f"activations:{tmp_path / 'other'}")
  assert one.fingerprint == two.fingerprint
  for step in (0, 4, 11):
    rows = order.batch_indices(seed=3, step=step, n=75, batch_size=10)
    a, b = (source.splits["train"].read(rows) for source in (one, two))
    np.testing.assert_array_equal(a["x"], b["x"])
    np.testing.assert_array_equal(a["x"], values("train", np.arange(25)).reshape(-1, 5)[rows])


def test_a_live_source_has_the_rows_of_the_store(written):
  told = dict(origin=ORIGIN, num_classes=7)
  source = activations.live("mine", parts(), **told)
  stored = source_lib.load(f"activations:{written[0]}")
  rows = np.array([74, 0, 33, 34, 33])
  for name in ("x", "y"):
    np.testing.assert_array_equal(
      source.splits["train"].read(rows)[name], stored.splits["train"].read(rows)[name]
    )
  assert feed.read_all(source.splits["test"])["x"].shape == (12, 5)
  fewer = {**parts(), "train": parts()["train"]._replace(examples=4)}
  assert activations.live("mine", fewer, **told).fingerprint != source.fingerprint


KILLED = """
import os, sys
from tests.test_store import make, parts
def watch(split, numbers):
  if split == "train" and numbers[0] >= {at}: os._exit(9)
make(sys.argv[1], parts=parts(watch))
"""


def test_a_killed_writer_goes_on_where_it_was(written, tmp_path, at=21):
  from tests.helpers import environment  # here: the child that imports this file needs no runs

  folder = tmp_path / "killed"
  done = subprocess.run(
    [sys.executable, "-c", KILLED.format(at=at), str(folder)], env=environment(), check=False
  )
  assert done.returncode == 9
  with pytest.raises(DataError, match="is not finished"):
    source_lib.load(f"activations:{folder}")
  asked = []
  index = make(folder, parts=parts(lambda split, numbers: asked.append((split, int(numbers[0])))))
  assert index["fingerprint"] == written[1]["fingerprint"]
  # After the look at the first example of each split: no shard that was there is made again.
  assert [first for split, first in asked[2:] if split == "train"] == list(range(at, 25, 3))
  assert sorted(os.listdir(folder)) == sorted(os.listdir(written[0]))
  np.testing.assert_array_equal(
    whole(source_lib.load(f"activations:{folder}"))["x"],
    whole(source_lib.load(f"activations:{written[0]}"))["x"],
  )


def test_a_truncated_shard_is_named_and_mended_by_the_writer(tmp_path):
  made = make(tmp_path)
  shard = tmp_path / made["splits"]["train"]["shards"][4]["file"]
  shard.write_bytes(shard.read_bytes()[:-100])
  with pytest.raises(DataError, match=rf"{shard.name} has .* cut short"):
    source_lib.load(f"activations:{tmp_path}")
  assert make(tmp_path)["fingerprint"] == made["fingerprint"]
  np.testing.assert_array_equal(
    whole(source_lib.load(f"activations:{tmp_path}"))["x"][36:45],
    values("train", np.arange(12, 15)).reshape(-1, 5),
  )


def test_a_changed_byte_and_a_missing_shard_are_found(tmp_path):
  made = make(tmp_path)
  shard = tmp_path / made["splits"]["train"]["shards"][0]["file"]
  content = bytearray(shard.read_bytes())
  content[len(content) // 2] ^= 1
  shard.write_bytes(content)
  with pytest.raises(DataError, match="damaged or replaced"):
    source_lib.load(f"activations:{tmp_path}")
  shard.unlink()
  with pytest.raises(DataError, match="is missing"):
    source_lib.load(f"activations:{tmp_path}")


def test_shards_that_changed_places_are_found_and_written_anew(tmp_path):
  made = make(tmp_path)
  first, second = (tmp_path / shard["file"] for shard in made["splits"]["train"]["shards"][:2])
  contents = first.read_bytes(), second.read_bytes()
  assert len(contents[0]) == len(contents[1])  # a size tells nothing: files are padded
  first.write_bytes(contents[1])
  second.write_bytes(contents[0])
  (tmp_path / store.HASHES).unlink()
  with pytest.raises(DataError, match=rf"{first.name} is not the file that was written"):
    source_lib.load(f"activations:{tmp_path}")
  said = []
  assert make(tmp_path, report=said.append)["fingerprint"] == made["fingerprint"]
  assert len(said) == 2  # the other shards are left as they are
  np.testing.assert_array_equal(
    whole(source_lib.load(f"activations:{tmp_path}"))["x"],
    values("train", np.arange(25)).reshape(-1, 5),
  )


@pytest.mark.parametrize("key", ["width", "origin", "num_classes", "fingerprint"])
def test_an_index_that_lacks_a_key_is_damaged(tmp_path, key):
  index = make(tmp_path, shard_rows=100)
  (tmp_path / store.INDEX).write_text(json.dumps({k: v for k, v in index.items() if k != key}))
  with pytest.raises(DataError, match=f"missing or damaged .*{key}"):
    source_lib.load(f"activations:{tmp_path}")


@pytest.mark.parametrize(
  ("change", "match"),
  [
    ({"origin": {**ORIGIN, "layer": "bottom"}}, "origin.layer is 'top', asked for is 'bottom'"),
    ({"origin": {**ORIGIN, "model": "circles"}}, "origin.model"),
    ({"dtype": "float16"}, "dtype is 'float32'"),
    ({"num_classes": 8}, "num_classes is 7"),
  ],
)
def test_a_store_of_something_else_is_not_written_over(written, change, match):
  with pytest.raises(DataError, match=match):
    make(written[0], **change)


def test_a_store_of_another_width_or_of_a_changed_model_is_refused(written, tmp_path):
  read = lambda numbers: {"x": values("train", numbers)[..., :4]}
  with pytest.raises(DataError, match="width is 5, asked for is 4"):
    make(written[0], parts={s: store.Part(n, read) for s, n in SIZES.items()})
  make(tmp_path)
  read = lambda numbers: {"x": 1.1 * values("train", numbers), "y": np.zeros((len(numbers), 3))}
  with pytest.raises(DataError, match="origin is named alike, but the model"):
    make(tmp_path, parts={s: store.Part(n, read) for s, n in SIZES.items()})


@pytest.mark.parametrize(
  ("expected", "error", "match"),
  [
    ("width=6", DataError, "width=6 is asked for, and the store has width=5"),
    ("layer=bottom", DataError, "layer=top"),
    ("fingerprint=000", DataError, "another model, layer or width"),
    ("widht=5", ConfigError, "Did you mean 'width'"),
  ],
)
def test_a_config_may_say_what_the_store_must_be(written, expected, error, match):
  assert source_lib.load(f"activations:{written[0]}:width=5,layer=top").x_shape == (5,)
  with pytest.raises(error, match=match):
    source_lib.load(f"activations:{written[0]}:{expected}")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_activations_that_are_not_numbers_are_named(tmp_path, bad):
  def read(numbers):
    x = values("train", numbers)
    x[np.asarray(numbers) == 7] = bad
    return {"x": x}

  broken = {s: store.Part(n, read) for s, n in (("train", 25), ("test", 4))}
  with pytest.raises(DataError, match="layer 'top', split 'train': 1 of 3 .* number 7"):
    make(tmp_path, parts=broken)
  assert not json.loads((tmp_path / store.INDEX).read_text())["complete"]
  with pytest.raises(DataError, match="NaN or infinite"):
    whole(activations.live("bad", broken, origin=ORIGIN))


def test_half_precision_says_when_it_overflows(tmp_path):
  index = make(tmp_path / "half", dtype="float16")
  assert index["dtype"] == "float16"
  found = whole(source_lib.load(f"activations:{tmp_path / 'half'}"))["x"]
  np.testing.assert_allclose(found, values("train", np.arange(25)).reshape(-1, 5), atol=5e-4)
  large = {s: store.Part(2, lambda rows: {"x": np.full((len(rows), 2), 1e5)}) for s in SIZES}
  with pytest.raises(DataError, match="too large for float16; use float32"):
    make(tmp_path / "large", parts=large, dtype="float16")


def test_other_mistakes(tmp_path):
  with pytest.raises(DataError, match="not an activation store"):
    source_lib.load(f"activations:{tmp_path}")
  with pytest.raises(DataError, match="there is no"):
    source_lib.load("activations:nowhere")
  with pytest.raises(InputError, match="origin has no layer, data"):
    make(tmp_path, origin={"model": "m"})
  with pytest.raises(DataError, match=r"have shape \[1\], expected"):
    make(tmp_path, parts={"train": store.Part(2, lambda rows: {"x": np.zeros(len(rows))})})
