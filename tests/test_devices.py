"""One, two and eight devices, and one and two processes, agree to 1e-5 relative."""

import json

import pytest

from ibjax.train import records
from tests.helpers import VIB, agree, flags, ibjax_joined, tiny_setup, train

SHORT = dict(train__duration="44 steps", train__log_every="11 steps", eval__every="22 steps")


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
  overrides = [f"{key.replace('__', '.')}={value}" for key, value in SHORT.items()]
  workdir = tmp_path / "run"
  ibjax_joined(2, "train", *flags(f"{VIB}:smoke", workdir, overrides), devices=4)
  agree(one, records.comparable(records.read_lines(workdir / "metrics.jsonl")))
  manifest = json.loads((workdir / "manifest.json").read_text())
  assert manifest["processes"] == 2 and len(manifest["devices"]) == 8
