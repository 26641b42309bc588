"""The idx file format of MNIST and its relatives, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import os
import zlib

import numpy as np

from ibjax.core.errors import DataError

# The third byte of an idx file names its element type; all are stored big-endian.
_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


def read(path: str | os.PathLike, shape: tuple[int, ...] | None = None) -> np.ndarray:
  """Reads an idx file and verifies that it is whole.

  Args:
    path: a file, gzipped or not (told apart by its first bytes, not by its name).
    shape: the shape the header must give; any when None.

  Returns:
    An array of the shape and type the header gives, read-only.

  Raises:
    DataError: no such file, a damaged gzip stream, no idx header, or a size that differs
      from what the header or `shape` says.

  Example:
    labels = idx.read("t10k-labels-idx1-ubyte.gz", shape=(10000,))
  """
  try:
    with open(path, "rb") as file:
      data = file.read()
  except OSError as error:
    raise DataError(f"cannot read {path}: {error.strerror}. Is the path right?") from error
  if data[:2] == _GZIP_MAGIC:
    try:
      data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
      raise DataError(
        f"{path} is a damaged gzip file ({error}). It was cut short or changed; fetch it again."
      ) from error
  if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _DTYPES or data[3] == 0:
    raise DataError(
      f"{path} does not start like an idx file: its first bytes are {data[:4].hex(' ') or 'none'}, "
      "expected 00 00, a type code and the number of axes. Is it the right file?"
    )
  start = 4 + 4 * data[3]
  if len(data) < start:
    raise DataError(f"{path} ends inside its header, after {len(data)} bytes. Fetch it again.")
  found = tuple(int(size) for size in np.frombuffer(data, ">u4", count=data[3], offset=4))
  dtype = np.dtype(_DTYPES[data[2]])
  expected = start + math.prod(found) * dtype.itemsize
  if len(data) != expected:
    raise DataError(
      f"{path} holds {len(data)} bytes, but its header, shape {list(found)} of {dtype.name}, "
      f"makes {expected}. It was cut short or changed; fetch it again."
    )
  if shape is not None and found != tuple(shape):
    raise DataError(
      f"{path} has shape {list(found)}, expected {list(shape)}. Is it the right file?"
    )
  array = np.frombuffer(data, dtype, offset=start).reshape(found)
  return array.astype(dtype.newbyteorder("="), copy=False)
