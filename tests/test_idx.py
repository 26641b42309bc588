"""The idx reader against files written here, whole and damaged in every way a copy can be."""

import gzip
import struct

import numpy as np
import pytest

from ibjax.core.errors import DataError
from ibjax.data import idx


def encode(array, code, *, shape=None):
  shape = array.shape if shape is None else shape
  header = struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)
  return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("code, dtype", [(8, np.uint8), (11, np.int16), (12, np.int32), (13, "f4")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_reads_what_was_written(tmp_path, code, dtype, pack):
  array = (np.arange(24) * 7 % 100).reshape(2, 3, 4).astype(dtype)
  path = tmp_path / "a"
  path.write_bytes(pack(encode(array, code)))
  found = idx.read(path, shape=(2, 3, 4))
  assert found.dtype == np.dtype(dtype) and found.dtype.isnative
  np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
  "damage, message",
  [
    (lambda data: data[:-1], r"holds 31 bytes, but its header.* makes 32"),
    (lambda data: data + b"\0", r"holds 33 bytes, but its header.* makes 32"),
    (lambda data: data[:9], r"ends inside its header, after 9 bytes"),
    (lambda data: b"\x01" + data[1:], r"first bytes are 01 00 08 02"),
    (lambda data: b"\0\0\x07" + data[3:], r"first bytes are 00 00 07 02"),
    (lambda data: b"", r"first bytes are none"),
    (lambda data: gzip.compress(data)[:-6], r"damaged gzip"),
    (lambda data: gzip.compress(data)[:-8] + b"\0" * 8, r"damaged gzip"),
    (lambda data: encode(np.zeros((5, 4), np.uint8), 8), r"shape \[5, 4\], expected \[4, 5\]"),
  ],
)
def test_damage_is_named(tmp_path, damage, message):
  path = tmp_path / "a.gz"
  path.write_bytes(damage(encode(np.ones((4, 5), np.uint8), 8)))
  with pytest.raises(DataError, match=message):
    idx.read(path, shape=(4, 5))


def test_missing_file(tmp_path):
  with pytest.raises(DataError, match=r"cannot read .*nothing.gz: No such file"):
    idx.read(tmp_path / "nothing.gz")
