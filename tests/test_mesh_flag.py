"""--mesh: a short form of config.mesh, and in a dry run a mesh of devices that nobody has."""

import re

import pytest

from ibjax.core.errors import ConfigError
from ibjax.verbs import mesh_flag
from ibjax.verbs import train as train_verb
from tests.helpers import VIB, ibjax

SMOKE = f"--config={VIB}:smoke"


@pytest.mark.parametrize(
  "text, message",
  [
    ("dta:4", "Did you mean 'data'"),
    ("data", "has no number of devices; write --mesh=AXIS:DEVICES"),
    ("data:x", "'x' is no number of devices for 'data'"),
    ("data:0", "'0' is no number"),
    ("data:-1", "'-1' is no number"),
    ("data:2,data:4", "names the axis 'data' twice"),
    ("", "has no number"),
  ],
)
def test_a_mistyped_mesh_is_explained(text, message):
  with pytest.raises(ConfigError, match=message):
    mesh_flag.parse(text)


@pytest.mark.parametrize("written", [["--mesh=data:4,model:2"], ["--mesh", "data:4,model:2"]])
def test_the_flag_stands_for_overrides(written):
  assert mesh_flag.spelled_out([SMOKE, *written, "--dry_run"]) == [
    SMOKE,
    *written,
    "--config.mesh.data=4",
    "--config.mesh.model=2",
    "--dry_run",
  ]
  assert mesh_flag.spelled_out([SMOKE]) == [SMOKE]
  with pytest.raises(ConfigError, match="by --mesh and by --config.mesh.data; remove one"):
    mesh_flag.spelled_out([*written, "--config.mesh.data=8"])


@pytest.mark.parametrize(
  "extra, message",
  [
    (["--mesh=data:3"], "data=3, model=1) does not fit the 8 devices"),
    (["--mesh=data:3", "--dry_run"], "needs 3 virtual devices, and JAX has started with 8"),
    (["--mesh=population:8", "--dry_run"], "8 devices along 'population', and there is one run"),
    (["--mesh=data:8", "--dry_run", "--num_processes=2"], "leave out the flags that join"),
    (
      ["--mesh=data:8", "--dry_run", "--config.data.batch_size=100"],
      "batch_size=100 does not divide over 8 devices of the data axis times 1 microbatches; "
      "96 or 104 would work",
    ),
  ],
)
def test_a_mesh_that_does_not_fit_is_explained(tmp_path, extra, message):
  with pytest.raises(ConfigError, match=re.escape(message)):
    train_verb.run([SMOKE, f"--workdir={tmp_path / 'run'}", *extra])
  assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_dry_run_compiles_for_devices_that_nobody_has():
  # A half of the encoder's width on each of 8 devices, the batch of 64 over 64: one row each.
  rules = "((r'dense_0/kernel$',(None,'model')),)"
  done = ibjax(
    *("train", SMOKE, "--dry_run", "--mesh=data:64,model:2", f"--config.sharding={rules}"),
    *("--config.data.batch_size=64", "--config.eval.batch_size=128"),
  )
  assert done.returncode == 0, done.stderr
  text = done.stdout
  assert "population=1 x data=64 x model=2: 128 device(s) (cpu), 1 process(es)" in text
  assert re.search(r"encoder/dense_0/kernel +64x\d+ +float32 +model\n", text)
  assert re.search(r"\nbytes accessed +[\d.]+ [KMG]iB per device and step .* flops a byte\n", text)
  kinds = re.findall(r"\n  (all-reduce|all-gather) +(\d+) .* over ([\d, ]+)\n", text)
  assert ("all-reduce" in [kind for kind, _, _ in kinds]) and "64" in kinds[0][2].split(", ")
  assert "no array lies over" not in text


@pytest.mark.slow
def test_a_dry_run_of_a_population_compiles_one_update_of_all():
  done = ibjax(
    *("train", SMOKE, "--dry_run", "--mesh=population:16,model:2"),
    "--population=seed=" + ",".join(str(seed) for seed in range(32)),
  )
  assert done.returncode == 0, done.stderr
  text = done.stdout
  assert "members            32 in one program (vmap)" in text
  assert "collectives        none" in text
  assert "population=16 x data=1 x model=2: 32 device(s)" in text
  assert "no array lies over the axis 'model': its 2 devices all do the same work" in text
  assert text.endswith("32 members, checked; nothing was written\n")
