"""One, two and eight devices, and one and two processes, agree to 1e-5 relative."""

import json
import socket
import subprocess

import numpy as np
import pytest

from ibjax.train import records
from tests.helpers import ROOT, command, environment, flags, tiny_setup, train

SHORT = dict(train__duration="44 steps", train__log_every="11 steps", eval__every="22 steps")


def agree(a, b, rtol=1e-5):
  assert [(x["step"], x["split"]) for x in a] == [(x["step"], x["split"]) for x in b]
  for x, y in zip(a, b):
    assert x.keys() == y.keys()
    for name in x:
      if isinstance(x[name], float):
        np.testing.assert_allclose(x[name], y[name], rtol=rtol, err_msg=f"{name} at {x['step']}")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
  return train(tiny_setup(1, **SHORT), tmp_path_factory.mktemp("one"))


@pytest.mark.parametrize("devices", [2, 8])
def test_device_counts_agree(one, tmp_path, devices):
  agree(one, train(tiny_setup(devices, **SHORT), tmp_path))


@pytest.mark.parametrize("placement", ["streamed"])
def test_streamed_data_on_eight_devices_agree(one, tmp_path, placement):
  agree(one, train(tiny_setup(8, data__placement=placement, **SHORT), tmp_path))


def test_parameters_sharded_over_the_model_axis_agree(one, tmp_path):
  rules = ((r"dense_0/kernel$", (None, "model")), (r".*", ()))
  setup = tiny_setup(8, mesh__model=2, mesh__data=4, sharding=rules, **SHORT)
  spec = setup.abstract.params["encoder"]["dense_0"]["kernel"].sharding.spec
  assert tuple(spec) == (None, "model")
  assert tuple(setup.abstract.opt_state[0].mu["encoder"]["dense_0"]["kernel"].sharding.spec) == (
    None,
    "model",
  )
  agree(one, train(setup, tmp_path))


@pytest.mark.slow
def test_two_processes_agree_with_one(one, tmp_path):
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  overrides = [f"{key.replace('__', '.')}={value}" for key, value in SHORT.items()]
  workdir = tmp_path / "run"
  processes = [
    subprocess.Popen(
      command(
        "train",
        *flags("configs/variational/vib_mnist.py:smoke", workdir, overrides),
        f"--coordinator=127.0.0.1:{port}",
        "--num_processes=2",
        f"--process_id={i}",
      ),
      env=environment(4),
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for i in range(2)
  ]
  outputs = [process.communicate(timeout=300)[0] for process in processes]
  assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
  agree(one, records.comparable(records.read_lines(workdir / "metrics.jsonl")))
  manifest = json.loads((workdir / "manifest.json").read_text())
  assert manifest["processes"] == 2 and len(manifest["devices"]) == 8
