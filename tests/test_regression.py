"""Real-valued targets, from a file of arrays to the row, the pictures and the page."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from ibjax.core.errors import IbjaxError
from ibjax.core.types import ObjectiveSpec
from ibjax.objectives.distortion import gaussian_nats, init_distortion
from ibjax.report import plots
from ibjax.train import dry_run, loop
from ibjax.train.setup import build
from ibjax.verbs.data import run as data_verb
from ibjax.verbs.train import run as train_verb
from tests.helpers import ROOT, VIB, flags, tiny, train

CEB = "configs/variational/ceb_mnist.py"
DETERMINISTIC = "configs/supervised/deterministic_mnist.py"


def made(n, seed):
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(n, 5))
  noise = rng.normal(size=(n, 2)) @ np.array([[0.3, 0.2], [0.0, 0.1]])
  return x.astype(np.float32), (x[:, :2] * [1.0, -2.0] + noise).astype(np.float32)


@pytest.fixture
def source(tmp_path):
  (x_train, y_train), (x_test, y_test) = made(512, 0), made(103, 1)
  path = tmp_path / "set.npz"
  np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  return f"npz:{path}"


def regress(source, path=VIB, **overrides):
  short = dict(train__duration="20 epochs", data__batch_size=32, eval__every="20 epochs")
  return build(tiny(path, data__source=source, **{**short, **overrides}))


def test_a_dry_run_knows_real_valued_targets(source):
  assert "flops per step" in dry_run.describe(regress(source))


def test_gaussian_nats_is_the_density_of_an_independent_implementation():
  rng = np.random.default_rng(0)
  free = {"log_diagonal": rng.normal(size=3), "lower": rng.normal(size=(3, 3))}
  factor = np.tril(free["lower"], -1) + np.diag(np.exp(free["log_diagonal"]))
  center, y = rng.normal(size=(2, 7, 3))
  exact = [-multivariate_normal(m, factor @ factor.T).logpdf(v) for m, v in zip(center, y)]
  found = gaussian_nats(jnp.array(center), jnp.array(y), jax.tree.map(jnp.array, free))
  np.testing.assert_allclose(found, exact, rtol=1e-4)


def test_the_learned_covariance_is_that_of_the_residuals():
  # For a fixed centre, the likelihood is highest at the sample covariance.
  _, y = made(2000, 0)
  spec = ObjectiveSpec(jnp.zeros(0), 1, target_dim=2)
  free = init_distortion(spec)[0]["covariance"]
  loss = lambda free: gaussian_nats(jnp.zeros(y.shape), jnp.array(y), free).mean()
  step = jax.jit(lambda free: jax.tree.map(lambda p, g: p - 0.2 * g, free, jax.grad(loss)(free)))
  for _ in range(400):
    free = step(free)
  factor = np.tril(free["lower"], -1) + np.diag(np.exp(free["log_diagonal"]))
  np.testing.assert_allclose(factor @ factor.T, y.T @ y / len(y), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("path", [VIB, DETERMINISTIC])
def test_a_regression_is_learned_and_its_predictions_are_the_scores(source, tmp_path, path):
  setup = regress(source, path, data__validation=64, eval__samples=1)
  (tmp_path / "run").mkdir()
  state, lines, _ = loop.train(setup, tmp_path / "run")
  lines.close()
  test = lines.last["test"]
  values = loop.predictions(setup, state, "test")
  assert set(values) == {"target", "prediction"} and values["target"].shape == (103, 2)
  mse = np.mean((values["prediction"] - values["target"]) ** 2)
  np.testing.assert_allclose(test["mse"], mse, rtol=1e-5)
  np.testing.assert_allclose(test["nll_nats"], test["distortion_nats"], rtol=1e-5)
  assert test["mse"] < np.var(values["target"]) / 10
  assert {"mse", "loss_nats"} <= set(lines.last["train"]) and "err_frac" not in lines.last["train"]
  assert "i_yz_lower_nats" not in test, "H(Y) of a file of numbers is not known"


def test_several_codes_make_a_mixture_and_keep_the_rows_in_order(source):
  setup = regress(source, eval__samples=8, eval__batch_size=40, train__samples=3)
  state = setup.runner.init(setup.hyper)
  found = loop.evaluate(setup, state, setup.eval_feed("test"))
  # Jensen: the mixture is better than its parts on average.
  assert found["nll_nats"] < found["distortion_nats"]
  values = loop.predictions(setup, state, "test")
  np.testing.assert_array_equal(values["target"], made(103, 1)[1])
  # Codes without noise are equal, and so are the mixture and its parts, row by row.
  setup = regress(source, DETERMINISTIC, eval__samples=3)
  found = loop.evaluate(setup, setup.runner.init(setup.hyper), setup.eval_feed("test"))
  np.testing.assert_allclose(found["nll_nats"], found["distortion_nats"], rtol=1e-5)


def test_streamed_and_resident_targets_train_alike(source, tmp_path):
  lines = [
    train(
      regress(
        source, data__placement=placement, train__duration="2 epochs", eval__every="1 epochs"
      ),
      tmp_path / placement,
    )
    for placement in ("resident", "streamed")
  ]
  assert lines[0] == lines[1]


def test_methods_for_labels_say_so(source):
  with pytest.raises(IbjaxError, match="ceb learns one backward Gaussian per class.*2 dimensions"):
    regress(source, CEB)
  with pytest.raises(IbjaxError, match="cross_entropy has a smoothing option"):
    regress(source, DETERMINISTIC, objective__label_smoothing=0.1)


def test_the_verbs_and_the_report_cope_without_classes(source, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(ROOT)
  folder = tmp_path / "run"
  overrides = [
    f"data.source={source}",
    "data.batch_size=32",
    "train.duration=3 epochs",
    "bottleneck.dim=2",
  ]
  assert train_verb(flags(f"{VIB}:smoke", folder, overrides)) == 0
  row = json.loads((folder / "result.json").read_text())
  shown = capsys.readouterr().out
  assert "test RMSE" in shown and f"{np.sqrt(row['test/mse']):#.4g}".rstrip(".") in shown
  assert not (folder / "confusions.npz").exists() and not (folder / "confusions.png").exists()
  assert list(plots.make_pictures(folder)) == ["rate_distortion"]
  page = (folder / "report.html").read_text()
  assert "Test RMSE" in page and "Test error" not in page
  assert data_verb(["info", source]) == 0
  assert "targets      2" in capsys.readouterr().out
