"""Linear-Gaussian VIB and CEB, trained, equal the Gaussian information bottleneck at every beta.

Both losses are quadratic in x, y and the noise, so their average over a few points with the exact
mean and covariance is their exact expectation: the objectives themselves are trained on the
population, without an error of sampling.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.core.lagrangian import convert
from ibjax.core.numerics import gaussian_kl
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.data.sources.gaussian import parse
from ibjax.exact.gaussian_ib import gaussian_ib, informations
from ibjax.objectives.variational.ceb_linear import ceb_linear
from ibjax.objectives.variational.vib import vib

TASK = parse("")  # 8 and 4 dimensions, correlations 0.95, 0.8, 0.6 and 0.3
COV_X, COV_XY, COV_Y = TASK.covariances()
PROBLEM = gaussian_ib(COV_X, COV_XY, COV_Y)
CRITICAL = np.array(TASK.rho) ** 2
METHODS = {"vib": (vib, "rate"), "ceb": (ceb_linear, "residual")}
DIM, STEPS = 4, 8000
# Prices of a nat: over the whole curve, and 1% to either side of each critical value.
PRICES = np.concatenate([[0.97, 0.75, 0.5, 0.2, 0.05, 0.02], 0.99 * CRITICAL, 1.01 * CRITICAL])


def points():
  """(x, y, noise) with the exact mean and covariance of the population, one row each."""
  cov = np.block([[COV_X, COV_XY], [COV_XY.T, COV_Y]])
  root = np.zeros((12 + DIM, 12 + DIM))
  root[:12, :12] = np.linalg.cholesky(cov)
  root[12:, 12:] = np.eye(DIM)
  rows = np.sqrt(len(root)) * np.concatenate([root.T, -root.T])
  return np.split(rows, [8, 12], axis=1)


@functools.cache
def trained(method):
  """The parameters at every price, after full-batch Adam in x64: [prices, ...]."""
  build, form = METHODS[method]
  betas = np.array([convert(price, "rate", form) for price in PRICES])
  with jax.enable_x64(True):
    x, y, noise = (jnp.asarray(part) for part in points())
    spec = ObjectiveSpec(jnp.zeros(0), DIM, 4, TASK.target_entropy_nats())
    own, state = build().init(jax.random.key(0), spec)
    keys = jax.random.split(jax.random.key(1), 2)
    start = {
      "encoder": 0.5 * jax.random.normal(keys[0], (8, DIM)),
      "log_scale": jnp.full(DIM, -0.5),
      "decoder": 0.5 * jax.random.normal(keys[1], (DIM, 4)),
      "objective": jax.tree.map(lambda a: a.astype(jnp.float64), own),
    }

    def loss(params, beta):
      mean = x @ params["encoder"]
      log_scale = jnp.broadcast_to(params["log_scale"], mean.shape)
      value = mean + jnp.exp(log_scale) * noise
      rate = gaussian_kl(mean, log_scale, jnp.zeros(DIM), jnp.zeros(DIM))
      code = Code(value, rate, None, {"mean": mean, "log_scale": log_scale})
      outputs = Outputs(code, value @ params["decoder"])
      terms = build(beta=beta).loss(params["objective"], state, outputs, {"y": y}, None, 0)
      return sum(term.weight * jnp.mean(term.value) for term in terms.losses.values())

    @jax.jit
    def train(betas):
      optimizer = optax.adam(optax.cosine_decay_schedule(0.03, STEPS, 1e-3))

      def one(beta):
        def step(carry, _):
          params, moments = carry
          updates, moments = optimizer.update(jax.grad(loss)(params, beta), moments)
          return (optax.apply_updates(params, updates), moments), None

        return jax.lax.scan(step, (start, optimizer.init(start)), length=STEPS)[0][0]

      return jax.vmap(one)(betas)

    return jax.device_get(train(jnp.asarray(betas)))


def place(params, index):
  """The exact (I(X;Z), I(Y;Z)) of a linear encoder, and its signal to noise by direction."""
  encoder = params["encoder"][index].astype(np.float64) / np.exp(params["log_scale"][index])
  signal = encoder.T @ COV_X @ encoder
  given = encoder.T @ (COV_X - COV_XY @ np.linalg.solve(COV_Y, COV_XY.T)) @ encoder
  log_det = [np.linalg.slogdet(np.eye(DIM) + matrix)[1] for matrix in (signal, given)]
  rate = 0.5 * log_det[0]
  return rate, rate - 0.5 * log_det[1], np.sort(np.linalg.eigvalsh(signal))[::-1]


@pytest.mark.parametrize("method", METHODS)
def test_a_trained_method_equals_the_gaussian_bottleneck_at_every_beta(method):
  params = trained(method)
  for index, price in enumerate(PRICES):
    rate, kept, _ = place(params, index)
    best = informations(PROBLEM, 1 / price)
    excess = price * rate - kept - (price * best[0] - best[1])
    assert -1e-9 < excess < 1e-4, price  # never below the exact minimum
    # Within 1% of a critical beta the loss is flat: descent is slow there, and costs nothing.
    near = np.min(np.abs(price / CRITICAL - 1)) < 0.011
    assert kept == pytest.approx(best[1], abs=3e-3 if near else 1e-3), price
    # It is flat along the rate too where a nat is cheap.
    assert rate == pytest.approx(best[0], rel=1e-3, abs=3e-3 if near else 1e-3), price


@pytest.mark.parametrize("method", METHODS)
def test_direction_k_dies_at_the_square_of_its_correlation(method):
  params = trained(method)
  for k, critical in enumerate(CRITICAL):
    for side in (0.99, 1.01):
      index = int(np.argmin(np.abs(PRICES - side * critical)))
      *_, signal = place(params, index)
      alive = int(np.sum(signal > 2e-3))
      assert alive == k + (side < 1), (k, side, signal)
