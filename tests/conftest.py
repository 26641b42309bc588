"""Every test process sees eight virtual devices; a run uses one unless it asks for more."""

import os
import tempfile

# Before jax is imported: the number of devices cannot be changed afterwards.
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"
# Several devices that decompose matrices at once, each with its own threads, wait for each other.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# Compiled programs are kept between the tests and processes of this machine: most tests build the
# same few tiny runs. What a cached program computes is what a fresh one computes.
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), f"ibjax-tests-{os.getuid()}")
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"

import gc

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _no_programs_left():
  """Drops what a file compiled: each program on a CPU holds mappings of memory, and a process may
  have 65,530 of them (vm.max_map_count); a worker that runs the whole suite would die of it."""
  yield
  jax.clear_caches()
  gc.collect()
