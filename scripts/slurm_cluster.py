#!/usr/bin/env python3
"""A Slurm cluster of your own on this machine: two nodes, nothing outside one folder.

  python scripts/slurm_cluster.py runs/slurm &
  export SLURM_CONF=$PWD/runs/slurm/slurm.conf
  sinfo

It needs Debian's or Ubuntu's packages slurm-wlm and munge, no root and no systemd: the daemons run
as you, listen on the loopback interface at free ports, and keep key, state, spool and logs in the
folder. They end, with every process of every job, when this program is told to stop or when the
process that started it ends. Tests use it; so can you, to try a script before a real cluster does.

A requeued job waits 15 s here (cred_expire; Slurm's own default is 120), what is told to stop has
120 s to save (KillWait), and jobs of the partition "urgent" preempt those of "main".
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo")
DAEMONS = (*PROGRAMS[:3], "slurmscriptd")  # the last is slurmctld's, which waits for it
EXIT_MISSING = 69  # sysexits.h EX_UNAVAILABLE
ATTEMPTS = 3  # a port that was free may be taken a moment later
READY_S = 120.0
SOCKET_PATH = 107  # characters that the path of a socket may have
STOP_S = 30.0
PR_SET_CHILD_SUBREAPER = 36

# Nodes are named by loopback addresses, so that a name of a node is one that resolves.
CONF = """\
ClusterName=ibjax
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=15
CredType=cred/munge
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
# More processors than there are: several tasks share them.
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=120
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
NodeName=127.0.0.[1-{nodes}] NodeHostname=localhost Port=[{ports[1]}-{ports[2]}] CPUs={cpus} \
RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=2 PreemptMode=OFF
"""


def main() -> int:
  """Runs the cluster until it is told to stop."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("folder", type=pathlib.Path, help="where all its files go; made if absent")
  parser.add_argument("--nodes", type=int, default=2)
  parser.add_argument("--cpus", type=int, default=16, help="processors declared for each node")
  options = parser.parse_args()
  folder = options.folder.resolve()
  node = f"127.0.0.{options.nodes}"
  excess = len(f"{folder}/spool.{node}/{node}_99999.4294967295") - SOCKET_PATH
  if excess > 0:  # jobs would wait for ever
    parser.error(f"{folder} is too long for the sockets in it; make it {excess} characters shorter")
  parent = os.getppid()
  # Debian keeps the daemons where users do not look.
  os.environ["PATH"] += ":/usr/sbin:/sbin"
  missing = [name for name in PROGRAMS if shutil.which(name) is None]
  if missing:
    print(f"Slurm is not installed here: no {', '.join(missing)}; apt install slurm-wlm munge")
    return EXIT_MISSING
  # slurmd's step managers leave their parent; so they stay ours, to be ended with the rest.
  ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
  for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: sys.exit(0))
  try:
    for attempt in range(1, ATTEMPTS + 1):
      error = start(folder, options.nodes, options.cpus)
      if not error:
        break
      stop()
      print(f"attempt {attempt} of {ATTEMPTS}: {error}", flush=True)
    else:
      return 1
    print(f"ready: export SLURM_CONF={folder}/slurm.conf", flush=True)
    while os.getppid() == parent:
      reap()
      time.sleep(0.2)
  finally:
    stop()
  return 0


def start(folder: pathlib.Path, nodes: int, cpus: int) -> str:
  """Starts the daemons; returns why the nodes are not ready, or "" when they are."""
  for name in ("munge", "state", "log"):
    (folder / name).mkdir(parents=True, exist_ok=True)
  key = folder / "munge/key"
  key.unlink(missing_ok=True)
  key.touch(mode=0o600)
  key.write_bytes(secrets.token_bytes(128))
  ports = free_ports(nodes)
  user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
  conf = folder / "slurm.conf"
  conf.write_text(CONF.format(folder=folder, ports=ports, user=user, nodes=nodes, cpus=cpus))
  os.environ["SLURM_CONF"] = str(conf)
  daemons = {"munged": run_daemon(folder, "munged", "--foreground", "--force", *munge(folder))}
  if not wait(lambda: (folder / "munge/socket").exists(), daemons):
    return last_words(folder, "munged")
  daemons["slurmctld"] = run_daemon(folder, "slurmctld", "-D", "-i")
  for node in range(1, nodes + 1):
    name = f"127.0.0.{node}"
    daemons[f"slurmd-{node}"] = run_daemon(folder, "slurmd", "-D", "-N", name, log=f"slurmd-{node}")
  if not wait(lambda: idle_nodes() == nodes, daemons):
    return last_words(folder, next((n for n, p in daemons.items() if p.poll()), "slurmctld"))
  return ""


def munge(folder: pathlib.Path) -> list[str]:
  """munged's options; --force, as our folder may be closed to others, for whom it is not."""
  files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "seed-file": "seed"}
  return [f"--{option}={folder}/munge/{name}" for option, name in files.items()] + [
    f"--log-file={folder}/log/munge.log"
  ]


def run_daemon(folder: pathlib.Path, *command: str, log: str = "") -> subprocess.Popen[bytes]:
  """Starts a daemon in the foreground of a session of its own."""
  with open(folder / "log" / f"{log or command[0]}.log", "wb") as file:
    return subprocess.Popen(
      command,
      stdin=subprocess.DEVNULL,
      stdout=file,
      stderr=subprocess.STDOUT,
      start_new_session=True,
    )


def free_ports(nodes: int) -> tuple[int, int, int]:
  """Returns a free port for slurmctld, and the first and last of as many in a row as nodes."""
  while True:
    with socket.socket() as probe:
      probe.bind(("127.0.0.1", 0))
      first = probe.getsockname()[1]
    try:
      for port in range(first, first + nodes + 1):
        with socket.socket() as probe:
          probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
      continue
    return first, first + 1, first + nodes


def wait(done, daemons: dict[str, subprocess.Popen[bytes]]) -> bool:
  """Waits until `done()`; False when a daemon has ended or it takes too long."""
  deadline = time.monotonic() + READY_S
  while time.monotonic() < deadline:
    if any(process.poll() is not None for process in daemons.values()):
      return False
    if done():
      return True
    time.sleep(0.1)
  return False


def idle_nodes() -> int:
  """How many nodes wait for jobs, as Slurm says."""
  command = ["sinfo", "--noheader", "--partition=main", "--states=idle", "--format=%D"]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
  except subprocess.TimeoutExpired:
    return 0
  return int(done.stdout.strip()) if done.stdout.strip().isdigit() else 0


def last_words(folder: pathlib.Path, daemon: str) -> str:
  """Why a daemon has not come up, as far as its log says."""
  log = folder / "log" / f"{daemon}.log"
  lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
  return f"{daemon} is not ready; the end of {log}:\n" + "\n".join(lines)


def stop() -> None:
  """Ends all that was started, and all that these have started."""
  for number in (signal.SIGTERM, signal.SIGKILL):
    deadline = time.monotonic() + STOP_S
    # Again and again: a process that ends leaves us its children.
    while (left := descendants(os.getpid())) and time.monotonic() < deadline:
      for pid in left:
        with contextlib.suppress(ProcessLookupError):
          os.kill(pid, signal.SIGKILL if is_job(pid) else number)
      reap()
      time.sleep(0.1)


def is_job(pid: int) -> bool:
  """Whether a process is of a job: these get no time to save."""
  try:
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip() not in DAEMONS
  except OSError:
    return True


def descendants(pid: int) -> list[int]:
  """The processes below one, from /proc."""
  found: list[int] = []
  for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
    try:
      pids = [int(word) for word in children.read_text().split()]
    except OSError:
      continue
    for child in pids:
      found += [child, *descendants(child)]
  return found


def reap() -> None:
  """Collects children that have ended."""
  try:
    while os.waitpid(-1, os.WNOHANG)[0]:
      pass
  except ChildProcessError:
    pass


if __name__ == "__main__":
  sys.exit(main())
