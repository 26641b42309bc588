"""A population is its members' solo runs: the same parameters, records, checkpoints and folders."""

import json
import os
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

from ibjax.core.errors import ConfigError
from ibjax.train import loop, population, records
from ibjax.train.checkpoint import Checkpoints
from ibjax.train.members import PopulationRunner
from ibjax.train.memory import members_that_fit
from ibjax.train.population import Member, train_members
from ibjax.train.setup import build, build_population
from tests.helpers import VIB, command, environment, flags, ibjax, same, tiny, tiny_setup, train

DETERMINISTIC = "configs/supervised/deterministic_mnist.py"
SHORT = dict(train__duration="25 steps", eval__every="10 steps", train__log_every="5 steps")


@pytest.fixture(autouse=True, scope="module")
def room_for_counting():
  """Compilations are counted below, and a process forgets the oldest when it has made many."""
  jax.clear_caches()


def members(folder, betas=(1e-3, 1e-1, 1.0), seeds=(0,), **overrides):
  """Members over betas and seeds, with folders of their own."""
  return [
    Member(
      tiny(objective__beta=beta, seed=seed, **{**SHORT, **overrides}),
      folder / f"beta={beta},seed={seed}",
      {},
    )
    for beta in betas
    for seed in seeds
  ]


def on_devices(monkeypatch, count):
  """Lets the code under test see that many devices."""
  found = jax.devices()[:count]
  monkeypatch.setattr(jax, "devices", lambda *a: found)


def final(member):
  """The state in a member's own checkpoint, as a solo run reads it."""
  setup = build(member.config, devices=jax.devices()[:1])
  checkpoints = Checkpoints(
    member.folder / "checkpoints", keep=1, best="", report=print, read_only=True
  )
  step, state = checkpoints.restore(setup.abstract)
  checkpoints.close()
  return step, jax.device_get(state)


def solo(member, folder):
  """Trains the member's config alone, on one device; returns (state, lines)."""
  setup = build(member.config, devices=jax.devices()[:1])
  folder.mkdir(parents=True)
  state, lines, _ = loop.train(setup, folder)
  lines.close()
  return jax.device_get(state), records.comparable(records.read_lines(folder / "metrics.jsonl"))


def close(a, b, rtol):
  """Whether metric lines agree."""
  assert len(a) == len(b) > 0
  for x, y in zip(a, b, strict=True):
    assert x.keys() == y.keys()
    for name in x:
      if name == "split":
        assert x[name] == y[name]
      else:
        np.testing.assert_allclose(x[name], y[name], rtol=rtol, atol=1e-6, err_msg=name)


# 4 members on 8 devices leave 2 devices each for the data axis; 3 on 2 devices are filled up.
@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_looped_member_is_its_solo_run(tmp_path, monkeypatch, devices):
  with monkeypatch.context() as patch:
    on_devices(patch, devices)
    chosen = members(tmp_path / "pop", betas=(1e-3, 1.0, 0.1), seeds=(0,))
    chosen += members(tmp_path / "pop", betas=(1e-3,), seeds=(5,))
    if devices == 2:
      chosen = chosen[1:]
    train_members(chosen, tmp_path / "pop")
  for i, member in enumerate(chosen):
    state, lines = solo(member, tmp_path / f"solo{i}")
    step, stored = final(member)
    assert step == 25
    if devices == 1:
      assert same(stored.params, state.params) and same(stored.opt_state, state.opt_state)
    else:  # the partitioned program is fused in other ways; and on 8, data are split over 2 each
      for a, b in zip(jax.tree.leaves(stored.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    found = records.comparable(records.read_lines(member.folder / "metrics.jsonl"))
    # The averages of an evaluation are sums of other fusions: equal to rounding.
    close(found, lines, 1e-5 if devices == 1 else 2e-4)
    row = json.loads((member.folder / "result.json").read_text())
    assert row["beta"] == member.config["objective"]["beta"] and row["step"] == 25


def test_a_batched_member_is_its_solo_run_to_rounding(tmp_path, monkeypatch):
  on_devices(monkeypatch, 2)
  chosen = members(tmp_path / "pop", betas=(1e-3, 1.0), seeds=(0, 1))
  train_members(chosen, tmp_path / "pop", strategy="vmap")
  for i, member in enumerate(chosen):
    _, lines = solo(member, tmp_path / f"solo{i}")
    close(records.comparable(records.read_lines(member.folder / "metrics.jsonl")), lines, 2e-3)


@pytest.mark.parametrize("strategy", ["loop", "vmap"])
def test_a_member_that_diverges_is_held_and_the_others_do_not_notice(
  tmp_path, monkeypatch, strategy
):
  on_devices(monkeypatch, 2)
  wild = dict(optimizer__fn="optax:sgd")

  def chosen(name, rates):
    return [
      Member(tiny(optimizer__learning_rate=rate, **wild, **SHORT), tmp_path / name / str(rate), {})
      for rate in rates
    ]

  mixed, calm = chosen("mixed", (0.01, 1e12, 0.02)), chosen("calm", (0.01, 0.03, 0.02))
  train_members(mixed, tmp_path / "mixed", strategy=strategy)
  train_members(calm, tmp_path / "calm", strategy=strategy)
  for i in (0, 2):
    assert same(final(mixed[i])[1].params, final(calm[i])[1].params)
  row = json.loads((mixed[1].folder / "result.json").read_text())
  assert 0 < row["diverged_at_step"] == row["step"] < 25
  assert (mixed[1].folder / "diverged" / str(row["step"])).is_dir()
  lines = records.read_lines(mixed[1].folder / "metrics.jsonl")
  assert all(line["step"] <= row["step"] for line in lines)
  step, state = final(mixed[1])
  assert step == row["step"] and all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
  assert "diverged_at_step" not in json.loads((mixed[0].folder / "result.json").read_text())


def test_a_population_of_which_all_diverge_ends_early(tmp_path, monkeypatch):
  on_devices(monkeypatch, 1)
  config = tiny(optimizer__fn="optax:sgd", optimizer__learning_rate=1e12, **SHORT)
  train_members([Member(config, tmp_path / "a", {})], tmp_path)
  assert json.loads((tmp_path / "a" / "result.json").read_text())["diverged_at_step"] < 25


def test_the_training_split_is_in_the_row_of_who_asks_for_it(tmp_path, monkeypatch):
  on_devices(monkeypatch, 1)
  chosen = members(tmp_path, betas=(1e-3, 1.0), seeds=(0,), eval__train=True)
  train_members(chosen, tmp_path)
  for member in chosen:
    row = json.loads((member.folder / "result.json").read_text())
    setup = build(member.config, devices=jax.devices()[:1])
    wanted = loop.evaluate(setup, setup.runner.load(final(member)[1]), setup.eval_feed("train"))
    found = {name: row[f"train_split/{name}"] for name in wanted}
    for name, value in wanted.items():
      np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    assert found["err_frac"] != row["test/err_frac"]
  (other,) = members(tmp_path / "other", betas=(1e-3,), seeds=(0,))
  train_members([other], tmp_path / "other")
  row = json.loads((other.folder / "result.json").read_text())
  assert "test/nll_nats" in row and not [name for name in row if name.startswith("train_split")]


class Interrupted(Exception):
  """Stands for a kill."""


def test_an_interrupted_population_continues_to_the_same_end(tmp_path, monkeypatch):
  on_devices(monkeypatch, 2)
  options = dict(checkpoint__every="5 steps")
  whole = members(tmp_path / "whole", seeds=(0, 1), **options)
  train_members(whole, tmp_path / "whole", chunk=4)
  parts = members(tmp_path / "parts", seeds=(0, 1), **options)
  # In the first chunk, in the second (of 5 dispatches each), there again, and while finishing.
  for cut in (2, 7, 2):
    calls, run = [], PopulationRunner.__init__

    def counting(self, *args, run=run, calls=calls, cut=cut):
      run(self, *args)
      step = self.run

      def counted(*arguments):
        calls.append(1)
        if len(calls) == cut:
          raise Interrupted
        return step(*arguments)

      self.run = counted

    with monkeypatch.context() as patch:
      patch.setattr(PopulationRunner, "__init__", counting)
      with pytest.raises(Interrupted):
        train_members(parts, tmp_path / "parts", chunk=4)
  with monkeypatch.context() as patch:

    def broken(*arguments):
      raise Interrupted

    patch.setattr(population.outcome, "write_results", broken)
    with pytest.raises(Interrupted):
      train_members(parts, tmp_path / "parts", chunk=4)
  train_members(parts, tmp_path / "parts", chunk=4)
  for a, b in zip(whole, parts, strict=True):
    assert same(final(a)[1], final(b)[1])
    left, right = (records.read_lines(m.folder / "metrics.jsonl") for m in (a, b))
    assert records.comparable(left) == records.comparable(right)
  assert not (tmp_path / "parts" / population.STATE).exists()


def test_finished_members_are_left_alone(tmp_path, monkeypatch):
  on_devices(monkeypatch, 1)
  first = members(tmp_path, betas=(0.1,))
  train_members(first, tmp_path)
  stamp = (first[0].folder / "result.json").stat().st_mtime_ns
  train_members(first + members(tmp_path, betas=(0.2,)), tmp_path)
  assert (first[0].folder / "result.json").stat().st_mtime_ns == stamp
  assert (tmp_path / "beta=0.2,seed=0" / "result.json").exists()


def test_continuation_starts_each_member_from_its_neighbour(tmp_path, monkeypatch):
  on_devices(monkeypatch, 1)  # where a member is its solo run bit for bit
  chosen = members(tmp_path, betas=(1.0, 0.1), seeds=(0, 1))
  chain = [
    m
    if m.config["objective"]["beta"] == 1.0
    else Member({**m.config, "warm_start": f"beta=1.0,seed={m.config['seed']}"}, m.folder, {})
    for m in chosen[::-1]  # whatever the order they are given in
  ]
  assert [len(wave) for wave in population.waves(chain)] == [2, 2]
  train_members(chain, tmp_path)
  for seed in (0, 1):
    start = final(Member(chosen[0].config, tmp_path / f"beta=1.0,seed={seed}", {}))[1]
    second = next(m for m in chain if m.config["warm_start"] and m.config["seed"] == seed)
    # By hand: the neighbour's parameters, everything else fresh.
    setup = build(second.config, devices=jax.devices()[:1])
    fresh = setup.runner.init(setup.hyper)
    given = fresh._replace(params=start.params, states=start.states, ema=start.ema)
    given = jax.tree.map(lambda x, like: jax.device_put(x, like.sharding), given, setup.abstract)
    folder = tmp_path / f"hand{seed}"
    folder.mkdir()
    state, lines, _ = loop.train(setup, folder, lambda given=given: given)
    lines.close()
    assert same(final(second)[1].params, jax.device_get(state).params)


def test_a_circle_of_warm_starts_is_refused(tmp_path):
  pair = [Member({**tiny(seed=i), "warm_start": str(1 - i)}, tmp_path / str(i), {}) for i in (0, 1)]
  with pytest.raises(ConfigError, match="circle"):
    train_members(pair, tmp_path)


@pytest.mark.parametrize(
  ("change", "told"),
  [
    (dict(bottleneck__dim=4), "bottleneck.dim: 8 -> 4"),
    (dict(train__duration="7 steps"), "train.duration"),
    (dict(train__ema=None), "train.ema"),
    (dict(data__batch_size=32), "data.batch_size"),
  ],
)
def test_what_shapes_the_program_is_sent_to_the_sweep(change, told):
  with pytest.raises(ConfigError, match=f"(?s){told}.*ibjax sweep"):
    build_population([tiny(), tiny(**change)])


def test_what_a_population_does_not_do_is_refused_before_training(tmp_path):
  with pytest.raises(ConfigError, match="checkpoint.best.*sweep"):
    build_population([tiny(checkpoint__best="err_frac", data__validation=100)] * 2)
  with pytest.raises(ConfigError, match="resident"):
    build_population([tiny(data__placement="streamed")] * 2)
  with pytest.raises(ConfigError, match="beta"):
    build_population([tiny(), tiny(objective__beta=-1.0)])
  with pytest.raises(ConfigError, match="same folder"):
    train_members([Member(tiny(seed=i), tmp_path / "a", {}) for i in (0, 1)], tmp_path)


def test_an_objective_whose_decompositions_hang_together_gets_one_device(monkeypatch):
  on_devices(monkeypatch, 4)
  wide = build_population([tiny(seed=seed) for seed in (0, 1)])
  assert wide.mesh.shape["population"] == 2
  mcr2 = {"fn": "ibjax.objectives.representation.mcr2:mcr2"}
  configs = [{**tiny(seed=seed), "objective": mcr2} for seed in (0, 1)]
  assert build_population(configs).mesh.size == 1


def test_the_step_of_a_population_compiles_once(tmp_path, monkeypatch):
  on_devices(monkeypatch, 2)
  setups, original = [], population.build_population

  def remember(*args, **kwargs):
    setups.append(original(*args, **kwargs))
    return setups[-1]

  monkeypatch.setattr(population, "build_population", remember)
  train_members(members(tmp_path), tmp_path)
  assert [setup.runner.run._cache_size() for setup in setups] == [1]


def test_a_population_larger_than_memory_is_cut(monkeypatch):
  setup = build_population([tiny(seed=i) for i in range(6)], devices=jax.devices()[:1])
  each = population.members_that_fit.__globals__["member_bytes"](setup)
  data = sum(split.nbytes for split in setup.splits.values())
  import ibjax.train.memory as memory

  monkeypatch.setattr(memory, "free_bytes", lambda setup: int((2.5 * each + data) / memory.SHARE))
  size, told = members_that_fit(setup)
  assert size == 2 and "3 chunks of up to 2" in told
  monkeypatch.setattr(memory, "free_bytes", lambda setup: 0)
  assert members_that_fit(setup)[0] == 1


def test_the_binary_trains_continues_and_evaluates_a_population(tmp_path):
  axes = "--population=objective.beta=1e-3,1;seed=0,1"
  options = ["checkpoint.every=20 steps", "train.duration=8 epochs"]
  arguments = ["train", *flags(f"{VIB}:smoke", tmp_path / "a", options), axes]
  process = subprocess.Popen(
    command(*arguments),
    env=environment(2),
    stderr=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  state = tmp_path / "a" / population.STATE
  deadline = time.monotonic() + 200
  while not list(state.glob("*/checkpoints/[0-9]*")) and time.monotonic() < deadline:
    assert process.poll() is None, process.communicate()[1]
    time.sleep(0.05)
  os.kill(process.pid, signal.SIGTERM)
  _, told = process.communicate(timeout=200)
  assert process.returncode == loop.EXIT_STOPPED, told
  assert "best/median/worst" in told and "the same command continues" in told
  done = ibjax(*arguments, devices=1)  # another number of devices
  assert done.returncode == 0, done.stderr
  assert "continuing from the checkpoint" in done.stderr and "of 4 members" in done.stdout
  assert (tmp_path / "a" / "report.html").exists()
  folders = sorted((tmp_path / "a" / "members").iterdir())
  assert [f.name for f in folders] == [
    "0-beta=0.001,seed=0", "1-beta=0.001,seed=1", "2-beta=1,seed=0", "3-beta=1,seed=1",
  ]  # fmt: skip
  manifest = json.loads((folders[3] / "manifest.json").read_text())
  assert manifest["config"] == tiny(
    objective__beta=1.0, seed=1, checkpoint__every="20 steps", train__duration="8 epochs"
  )
  assert f"--config.seed=1 --workdir={folders[3]}" in manifest["command"]
  shown = ibjax("eval", f"--workdir={folders[3]}")
  row = json.loads((folders[3] / "result.json").read_text())
  found = json.loads(shown.stdout.splitlines()[-1])
  assert found["err_frac"] == pytest.approx(row["test/err_frac"], abs=1e-6)


@pytest.mark.parametrize(
  ("arguments", "told"),
  [
    (["--population=objective.beta="], "length zero"),
    (["--population=objective.beta=1,2;seed=0,1,2", "--pairing=zip"], "2 values, 'seed' has 3"),
    (["--population=objective.betta=1,2"], "objective.beta"),
    (["--population=bottleneck.dim=2,4"], "ibjax sweep"),
    (["--population=seed=0,1", "--continuation=objective.beta"], "axis"),
    (["--pairing=zip"], "population"),
  ],
)
def test_bad_populations_are_named_before_anything_runs(tmp_path, capsys, arguments, told):
  from ibjax.main import main

  status = main(["train", *flags(f"{VIB}:smoke", tmp_path / "a"), *arguments])
  assert status == 2 and told in capsys.readouterr().err
  assert not list(tmp_path.rglob("manifest.json"))


def test_a_config_can_hold_its_population(tmp_path):
  file = tmp_path / "pop.py"
  file.write_text(
    "from configs.variational import vib_mnist\n\n\ndef get_config(argument=''):\n"
    "  c = vib_mnist.get_config('smoke')\n"
    "  c.population = (('objective.beta', (0.1, 1.0)),)\n"
    "  c.continuation = 'objective.beta'\n"
    "  c.train.duration = '3 steps'\n  return c\n"
  )
  done = ibjax("train", *flags(str(file), tmp_path / "a"), devices=2)
  assert done.returncode == 0, done.stderr
  first, second = sorted((tmp_path / "a" / "members").iterdir())
  config = json.loads((second / "manifest.json").read_text())["config"]
  assert config["warm_start"] == first.name and config["population"] == []
  assert train(tiny_setup(), tmp_path / "b")  # the solo form of the same file still trains
