"""Every test process sees eight virtual devices; a run uses one unless it asks for more."""

import os

# Before jax is imported: the number of devices cannot be changed afterwards.
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
os.environ["JAX_PLATFORMS"] = "cpu"
# A run must give the same result with rank promotion forbidden: silent broadcasting hides bugs.
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "allow")
