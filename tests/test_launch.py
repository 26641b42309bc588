"""`ibjax launch`: what it writes, what it starts here, and what it refuses."""

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
import yaml

from ibjax.cluster import cloud, local
from ibjax.core.errors import ClusterError, ConfigError, WorkdirError
from ibjax.train import records
from ibjax.verbs import launch
from tests.helpers import ROOT, VIB, agree, ibjax, started, tiny_setup, train, until

TRAIN = ("train", f"--config={ROOT / VIB}:smoke")
SHORT = dict(train__duration="44 steps", train__log_every="11 steps", eval__every="22 steps")


def inner(workdir, *more):
  return ["--", *TRAIN, f"--workdir={workdir}", *more]


# Slurm's script, without Slurm.


def test_slurm_writes_a_script_and_the_request_and_submits_nothing(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))  # no sbatch to call
  workdir = tmp_path / "run"
  own = ["--backend=slurm", "--nodes=2", "--tasks-per-node=8", "--gpus-per-node=8", "--time=1-0"]
  own += [
    "--setup=module load cuda",
    "--setup=export A=1",
    "--sbatch=--mail-type=END",
    "--exclusive",
  ]
  assert launch.run([*own, *inner(workdir)]) == 0
  script = (workdir / "launch.sbatch").read_text()
  for line in (
    "#SBATCH --nodes=2",
    "#SBATCH --ntasks-per-node=8",
    "#SBATCH --gpus-per-node=8",
    "#SBATCH --time=1-0",
    "#SBATCH --exclusive",
    "#SBATCH --mail-type=END",
    f"#SBATCH --output={workdir}/slurm-%j.log",
    "module load cuda",
    "export A=1",
    "  --distributed",
  ):
    assert f"\n{line}\n" in script
  assert f"cd {os.getcwd()} ||" in script and f"{sys.executable} -m ibjax.main train" in script
  request = json.loads((workdir / "launch.json").read_text())
  assert request["command"] == inner(workdir)[1:] and "job_id" not in request
  assert request["options"]["tasks_per_node"] == 8 and request["options"]["time"] == "1-0"
  assert "nothing was submitted" in capsys.readouterr().out


def test_one_task_is_joined_to_nothing(tmp_path, capsys):
  assert launch.run(["--backend=print", *inner(tmp_path / "run")]) == 0
  script = capsys.readouterr().out
  assert "--distributed" not in script and "--label" not in script
  assert not (tmp_path / "run").exists()  # print writes nothing


def test_underscores_do_as_well_as_dashes(tmp_path, capsys):
  for name in ("--tasks-per-node=3", "--tasks_per_node=3"):
    assert launch.run([name, *inner(tmp_path / "run")]) == 0
    assert "--ntasks-per-node=3" in capsys.readouterr().out


def stand_in(folder, name, text):
  path = folder / name
  path.write_text(f"#!/bin/bash\n{text}\n")
  path.chmod(0o755)


def test_a_submitted_job_is_kept_and_not_submitted_twice(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
  workdir = tmp_path / "run"
  go = ["--backend=slurm", "--go", *inner(workdir)]
  stand_in(tmp_path, "sbatch", f"cp $2 {tmp_path}/given; echo 41")
  assert launch.run(go) == 0
  assert "job          41" in capsys.readouterr().out
  assert json.loads((workdir / "launch.json").read_text())["job_id"] == "41"
  assert (tmp_path / "given").read_text() == (workdir / "launch.sbatch").read_text()
  for state in ("RUNNING", "PENDING", "COMPLETING", "REQUEUED"):
    stand_in(tmp_path, "scontrol", f"echo JobId=41 JobName=ibjax JobState={state}")
    with pytest.raises(ConfigError, match=f"job 41, launched for .* before, is {state}"):
      launch.run(go)
  assert launch.run(go[:1] + go[2:]) == 0  # the script alone may be looked at again
  assert json.loads((workdir / "launch.json").read_text())["job_id"] == "41"
  stand_in(tmp_path, "sbatch", "echo 42")
  stand_in(tmp_path, "scontrol", "echo JobId=41 JobName=ibjax JobState=CANCELLED")
  assert launch.run(go) == 0
  assert json.loads((workdir / "launch.json").read_text())["job_id"] == "42"


# Bad input.


@pytest.mark.parametrize(
  ("own", "after", "message"),
  [
    ([], [], "needs what to run after a lone --"),
    (["--backend=slrm"], TRAIN, "unknown --backend 'slrm'. Did you mean 'slurm'"),
    (["--task-per-node=2"], TRAIN, "Did you mean '--tasks_per_node'"),
    (["train"], TRAIN, "did not expect 'train'"),
    ([], ["tarin"], "unknown verb to launch 'tarin'. Did you mean 'train'"),
    ([], ["launch"], "unknown verb to launch 'launch'"),
    ([], TRAIN, "needs --workdir=FOLDER after the verb"),
    ([], ["train", "--config=configs/variational/vib_mist.py", "--workdir=w"], "vib_mnist.py"),
    ([], [*TRAIN, "--workdir=w", "--config.objective.bta=1"], "Did you mean 'beta'"),
    ([], [*TRAIN, "--workdir=w", "--process_id=1"], "joins the processes itself"),
    (["--nodes=0"], [*TRAIN, "--workdir=w"], "nodes=0 must be at least 1"),
    (["--nodes=x"], [*TRAIN, "--workdir=w"], "nodes"),
    (["--tasks-per-node=0"], [*TRAIN, "--workdir=w"], "tasks_per_node=0 must be at least 1"),
    (["--nodes=2"], ["table", "experiments/vib", "--workdir=w"], "`ibjax table` is one process"),
    (["--nodes=2"], ["sweep", *TRAIN[1:], "--workdir=w"], "`ibjax sweep` is one process"),
    (["--array=0-3"], [*TRAIN, "--workdir=w"], "its tasks would all train in w"),
    (["--backend=local"], [*TRAIN, "--workdir=w"], "needs --processes=N"),
    (["--backend=local", "--processes=2", "--nodes=2"], [*TRAIN, "--workdir=w"], "says nothing"),
    (["--backend=slurm", "--zone=a"], [*TRAIN, "--workdir=w"], "says nothing to --backend=slurm"),
    (["--time=1"], [*TRAIN, "--workdir=w"], "told to save"),
    (["--backend=tpu"], [*TRAIN, "--workdir=/w"], "needs --zone="),
    (["--backend=tpu", "--zone=z"], [*TRAIN, "--workdir=w"], "must be an absolute path"),
    (["--backend=gke", "--image=i"], [*TRAIN, "--workdir=/w"], "needs --claim="),
    (["--backend=gke", "--image=i", "--claim=c"], [*TRAIN, "--workdir=/w"], "not below --mount"),
  ],
)
def test_what_cannot_be_launched_is_explained(own, after, message, tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  with pytest.raises(ConfigError) as error:
    launch.run([*own, *(["--", *after] if after else [])])
  assert message in str(error.value)
  assert not (ROOT / "w").exists()


def test_no_slurm_a_silent_slurm_and_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", str(tmp_path))
  workdir = tmp_path / "run"
  with pytest.raises(ClusterError, match="there is no sbatch on this machine"):
    launch.run(["--backend=slurm", "--go", *inner(workdir)])
  assert (workdir / "launch.sbatch").exists()  # to be submitted where Slurm is
  stand_in(tmp_path, "sbatch", "echo 'Unable to contact slurm controller' >&2; exit 1")
  with pytest.raises(ClusterError, match="Unable to contact slurm controller"):
    launch.run(["--backend=slurm", "--go", *inner(workdir)])
  (tmp_path / "file").write_text("")
  with pytest.raises(WorkdirError, match="is a file"):
    launch.run(["--backend=slurm", *inner(tmp_path / "file")])
  (workdir / "launch.json").write_text("{")
  with pytest.raises(WorkdirError, match="no record of|not a record of"):
    launch.run(["--backend=slurm", *inner(workdir)])


# Processes of this machine.


def processes(tmp_path, *scripts, grace_s=60):
  """Runs one Python script a process, chosen by its number, without the flags that join them."""
  chooser = f"import sys; exec({list(scripts)!r}[int(sys.argv[-1][len('--process_id='):])])"
  request = local.Request(
    command=(sys.executable, "-c", chooser),
    processes=len(scripts),
    folder=tmp_path / "logs",
    grace_s=grace_s,
  )
  return local.run(request)


WAIT = "import time\nprint('waiting', flush=True)\ntime.sleep(600)"
SAVES = (
  "import signal, sys, time\n"
  "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
  "print('ready', flush=True)\ntime.sleep(600)"
)


@pytest.mark.parametrize(
  ("scripts", "code"),
  [
    (["pass", "pass"], 0),
    (["raise SystemExit(75)", "raise SystemExit(75)"], 75),
    (["raise SystemExit(2)", WAIT], 2),
    ([WAIT, "raise SystemExit(7)"], 7),
    ([WAIT, "import os; os.kill(os.getpid(), 9)"], 137),
  ],
)
def test_when_one_ends_badly_the_others_do_not_stay(tmp_path, scripts, code):
  assert processes(tmp_path, *scripts) == code


def test_a_process_that_does_not_listen_is_killed_when_the_grace_is_over(tmp_path, capfd):
  deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + (
    f"open({str(tmp_path / 'deaf')!r}, 'w').close()\ntime.sleep(600)"
  )
  waits = (
    "import os, sys, time\n"
    f"while not os.path.exists({str(tmp_path / 'deaf')!r}): time.sleep(0.05)\n"
    "sys.exit(3)"
  )
  assert processes(tmp_path, waits, deaf, grace_s=1) == 3
  said = capfd.readouterr().err
  assert "process 0 ended with exit code 3" in said and "killing the processes" in said
  assert "process 1 was ended by SIGKILL; it said: " in said


def test_the_others_speak_into_files(tmp_path, capfd):
  assert processes(tmp_path, "print('zero')", "print('one')") == 0
  assert capfd.readouterr().out == "zero\n"
  assert (tmp_path / "logs/process-00001.log").read_text() == "one\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_reaches_all_and_is_told_by_the_exit_code(tmp_path, number):
  # As a person's terminal does it: to the launcher alone.
  program = (
    "import pathlib, sys\nfrom ibjax.cluster import local\n"
    f"sys.exit(local.run(local.Request(({sys.executable!r}, '-c', {SAVES!r}), 2,"
    f" pathlib.Path({str(tmp_path)!r}))))"
  )
  with started([[sys.executable, "-c", program]]) as running:
    log = tmp_path / "process-00001.log"
    until(
      lambda: "ready" in running[0].output() and log.exists() and "ready" in log.read_text(),
      running,
    )
    running[0].process.send_signal(number)
    until(lambda: running[0].process.poll() is not None, running)
    assert running[0].process.returncode == 75, running[0].output()


@pytest.mark.slow
def test_two_local_processes_train_one_run(tmp_path):
  overrides = [f"--config.{key.replace('__', '.')}={value}" for key, value in SHORT.items()]
  launched = ["launch", "--backend=local", "--processes=2", "--devices-per-process=2"]
  done = ibjax(*launched, *inner(tmp_path / "run", *overrides))
  assert done.returncode == 0, done.stderr
  assert "test err %" in done.stdout  # process 0 speaks here
  lines = records.comparable(records.read_lines(tmp_path / "run" / "metrics.jsonl"))
  agree(train(tiny_setup(1, **SHORT), tmp_path / "alone"), lines)
  manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
  assert manifest["processes"] == 2 and len(manifest["devices"]) == 4


def test_print_shows_the_commands_of_local_processes(tmp_path, capsys):
  own = ["--backend=print", "--processes=2", "--devices-per-process=4"]
  assert launch.run([*own, *inner(tmp_path / "a run")]) == 0
  first, second, last = capsys.readouterr().out.splitlines()
  words = shlex.split(first)
  assert words[:2] == ["JAX_PLATFORMS=cpu", words[1]] and "device_count=4" in words[1]
  assert f"--workdir={tmp_path}/a run" in words and words[-2:] == ["--process_id=0", "&"]
  assert "--process_id=1" in second and second.endswith("process-00001.log' 2>&1 &")
  assert last == "wait"


def test_the_count_of_virtual_devices_replaces_an_earlier_one(tmp_path, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_force_host_platform_device_count=8")
  request = local.Request(("true",), 2, tmp_path, devices=4)
  assert local.environment(request) == {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_a=1 --xla_force_host_platform_device_count=4",
  }


# Clouds.


def test_the_command_for_every_host_of_a_tpu(tmp_path, capsys):
  own = ["--backend=tpu", "--name=my-tpu", "--zone=europe-west4-b", "--project=p"]
  own += ["--directory=my code", "--setup=source .venv/bin/activate"]
  after = ["--", *TRAIN, "--workdir=/shared/it's", "--config.objective.beta=1e-2"]
  assert launch.run([*own, *after]) == 0
  script = capsys.readouterr().out
  path = tmp_path / "tpu.sh"
  path.write_text(script)
  # Run with a stand-in for gcloud, so that bash itself takes the quotes apart.
  stand_in(tmp_path, "gcloud", 'printf "%s\\n" "$@"')
  env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
  done = subprocess.run(["bash", str(path)], env=env, capture_output=True, text=True, check=True)
  words = done.stdout.splitlines()
  assert words[:6] == ["compute", "tpus", "tpu-vm", "ssh", "my-tpu", "--zone=europe-west4-b"]
  assert words[6:8] == ["--project=p", "--worker=all"]
  remote = words[8].removeprefix("--command=")
  assert shlex.split(remote) == [
    *("cd", "my code", "&&", "source", ".venv/bin/activate", "&&", "ibjax"),
    *("train", TRAIN[1], "--workdir=/shared/it's", "--config.objective.beta=1e-2", "--distributed"),
  ]


def test_a_jobset_holds_what_jax_and_kubernetes_need(capsys):
  own = ["--backend=gke", "--name=vib", "--image=registry/ibjax:1", "--claim=disk", "--nodes=4"]
  own += ["--gpus=8", "--grace=300", "--requeues=7"]
  assert launch.run([*own, "--", *TRAIN, "--workdir=/shared/vib"]) == 0
  account, role, binding, jobset = yaml.safe_load_all(capsys.readouterr().out)
  assert account["kind"] == "ServiceAccount" and binding["subjects"][0]["name"] == "vib"
  # JAX asks for the pod, its Job and the Services.
  verbs = {name: rule["verbs"] for rule in role["rules"] for name in rule["resources"]}
  assert set(verbs) == {"pods", "services", "jobs"} and all("list" in v for v in verbs.values())
  assert jobset["apiVersion"] == "jobset.x-k8s.io/v1alpha2"
  assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 7
  (one,) = jobset["spec"]["replicatedJobs"]
  job = one["template"]["spec"]
  assert job["completionMode"] == "Indexed"  # JAX reads JOB_COMPLETION_INDEX
  assert (job["parallelism"], job["completions"], job["backoffLimit"]) == (4, 4, 0)
  pod = job["template"]["spec"]
  assert pod["serviceAccountName"] == "vib" and pod["terminationGracePeriodSeconds"] == 300
  (container,) = pod["containers"]
  assert container["name"] == job["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"]
  assert container["command"][:2] == ["ibjax", "train"]
  assert container["command"][-2:] == ["--workdir=/shared/vib", "--distributed"]
  assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
  assert container["volumeMounts"][0]["mountPath"] == "/shared"
  assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "disk"


def test_a_jobset_of_a_tpu_slice_and_its_setup(capsys):
  own = ["--backend=gke", "--image=i", "--claim=c", "--nodes=4", "--setup=export A='b c'"]
  own += ["--tpu-accelerator=tpu-v5-lite-podslice", "--tpu-topology=4x4", "--tpu-chips=4"]
  assert launch.run([*own, "--", *TRAIN, "--workdir=/shared/a b"]) == 0
  *_, jobset = yaml.safe_load_all(capsys.readouterr().out)
  pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
  assert pod["nodeSelector"] == {
    "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
    "cloud.google.com/gke-tpu-topology": "4x4",
  }
  (container,) = pod["containers"]
  assert container["resources"]["limits"] == {"google.com/tpu": 4}
  shell, flag, line = container["command"]
  assert (shell, flag) == ("bash", "-c")
  assert line.startswith("export A='b c' && exec ibjax train ")
  assert "--workdir=/shared/a b" in shlex.split(line)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(name="Not_a_name"), "cannot be a JobSet's"),
    (dict(processes=0), "processes=0 must be at least 1"),
    (dict(tpus=4), "needs its accelerator, its topology"),
  ],
)
def test_jobsets_that_kubernetes_would_refuse_are_refused(options, message):
  given = dict(command=("true",), image="i", claim="c", mount="/shared")
  with pytest.raises(ConfigError, match=message):
    cloud.render_gke(cloud.Gke(**{**given, **options}))
