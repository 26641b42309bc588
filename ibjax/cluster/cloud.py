"""Google's clouds: the command for every host of a TPU slice, and a JobSet for Kubernetes.

Nothing is sent anywhere: these are texts to review and run.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import shlex

from ibjax.cluster.render import fill
from ibjax.core.errors import ConfigError

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,52}[a-z0-9])?")


@dataclasses.dataclass(frozen=True)
class Tpu:
  """A run on every host of a TPU slice.

  Attributes:
    command: what each host runs, as words.
    name: the TPU's.
    zone: where it is.
    directory: where the command starts on the hosts, relative to the home folder or absolute.
    project: whose TPU; "" for gcloud's own setting.
    setup: lines of shell before the command.
  """

  command: tuple[str, ...]
  name: str
  zone: str
  directory: str = "ibjax"
  project: str = ""
  setup: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gke:
  """A run as a JobSet, one process a pod.

  Attributes:
    command: what each pod runs, as words.
    image: the container's image.
    claim: the PersistentVolumeClaim that all pods share (ReadWriteMany); the workdir is on it.
    mount: where it is mounted.
    directory: where the command starts in the container.
    name: of the JobSet and of its service account.
    processes: how many pods.
    requeues: how often all pods may be started again.
    grace_s: seconds between SIGTERM and SIGKILL.
    gpus: GPUs of a pod.
    tpus: TPU chips of a pod.
    accelerator: GKE's name of the TPU, e.g. "tpu-v5-lite-podslice"; "" for none.
    topology: of the slice, e.g. "4x4".
    setup: lines of shell before the command.
  """

  command: tuple[str, ...]
  image: str
  claim: str
  mount: pathlib.PurePosixPath
  directory: str = "/ibjax"
  name: str = "ibjax"
  processes: int = 1
  requeues: int = 20
  grace_s: int = 120
  gpus: int = 0
  tpus: int = 0
  accelerator: str = ""
  topology: str = ""
  setup: tuple[str, ...] = ()


def render_tpu(request: Tpu) -> str:
  """Writes the script that starts a run on every host of a TPU slice.

  Args:
    request: the run.

  Returns:
    A bash script of one gcloud command.
  """
  remote = " && ".join(
    [f"cd {shlex.quote(request.directory)}", *request.setup, shlex.join(request.command)]
  )
  zone = shlex.quote(request.zone)
  zone += f" --project={shlex.quote(request.project)}" if request.project else ""
  command = shlex.quote(remote)
  return fill("tpu.sh", {"name": shlex.quote(request.name), "zone": zone, "command": command})


def render_gke(request: Gke) -> str:
  """Writes a JobSet with the service account that its pods need.

  Args:
    request: the run.

  Returns:
    YAML of four documents for `kubectl apply`.

  Raises:
    ConfigError: a name that Kubernetes would refuse, a number out of range, or a TPU half named.
  """
  if not _NAME.fullmatch(request.name):
    raise ConfigError(
      f"name={request.name!r} cannot be a JobSet's: small letters, digits and '-', at most 54."
    )
  for name, least in (("processes", 1), ("requeues", 0), ("grace_s", 0), ("gpus", 0), ("tpus", 0)):
    if getattr(request, name) < least:
      raise ConfigError(f"{name}={getattr(request, name)} must be at least {least}.")
  tpu = (bool(request.tpus), bool(request.accelerator), bool(request.topology))
  if any(tpu) and not all(tpu):
    raise ConfigError("a TPU on GKE needs its accelerator, its topology and the chips of a pod.")
  selector = {
    "cloud.google.com/gke-tpu-accelerator": request.accelerator,
    "cloud.google.com/gke-tpu-topology": request.topology,
  }
  limits = {"nvidia.com/gpu": request.gpus, "google.com/tpu": request.tpus}
  command = list(request.command)
  if request.setup:
    # exec: SIGTERM reaches the command, not a shell around it.
    command = ["bash", "-c", " && ".join([*request.setup, f"exec {shlex.join(command)}"])]
  # JSON is YAML, and quotes what must be quoted.
  values = {
    "name": request.name,
    "processes": str(request.processes),
    "requeues": str(request.requeues),
    "grace_s": str(request.grace_s),
    "image": json.dumps(request.image),
    "directory": json.dumps(request.directory),
    "command": json.dumps(command),
    "claim": json.dumps(request.claim),
    "mount": json.dumps(str(request.mount)),
    "selector": json.dumps({key: value for key, value in selector.items() if value}),
    "limits": json.dumps({key: value for key, value in limits.items() if value}),
  }
  return fill("jobset.yaml", values)
