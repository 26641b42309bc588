"""Kernel and pairwise objectives at a beta of 0 and at a large one, on a task of eight letters."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.objectives.kernel.cauchy_schwarz_ib import cauchy_schwarz_ib
from ibjax.objectives.kernel.deterministic_ib import deterministic_ib
from ibjax.objectives.kernel.gated_phases import gated_phases
from ibjax.objectives.kernel.hsic_bottleneck import hsic_bottleneck
from ibjax.objectives.kernel.hsic_regularizer import hsic_regularizer
from ibjax.objectives.kernel.matrix_entropy import matrix_entropy
from ibjax.objectives.kernel.matrix_renyi_ib import matrix_renyi_ib
from ibjax.objectives.supervised.cross_entropy import cross_entropy
from ibjax.objectives.variational.nonlinear_ib import nonlinear_ib, pairwise_information

LETTERS, CLASSES, COPIES, NOISE = 8, 4, 6, 0.3
LETTER = np.tile(np.arange(LETTERS), COPIES)
BATCH = {
  "x": jnp.eye(LETTERS)[LETTER],
  "y": jnp.asarray(LETTER // 2),
  "mask": jnp.ones(len(LETTER), bool),
}
SPEC = ObjectiveSpec(jnp.full(CLASSES, 1 / CLASSES), 2)

# Name -> (objective, a beta that prices everything out).
PRICED = {
  "nonlinear_ib": (nonlinear_ib, 20.0),
  "hsic": (lambda beta: hsic_regularizer(beta, form="hsic", width_x=0.3, width_z=3.0), 1e4),
  "nhsic": (lambda beta: hsic_regularizer(beta, epsilon=1e-2, width_z=1.0), 1e3),
  "cka": (lambda beta: hsic_regularizer(beta, form="cka", width_z=1.0), 1e3),
  "cauchy_schwarz": (lambda beta: cauchy_schwarz_ib(beta, normalised=False), 1e3),
  "cauchy_schwarz ratio": (cauchy_schwarz_ib, 1e3),
  "renyi": (matrix_renyi_ib, 1e3),
  "deterministic": (deterministic_ib, 1e3),
  "entropy": (lambda beta: matrix_entropy(beta, centred=True), 1e3),
}


def outputs(params, noise, probe=False):
  """A code of two dimensions per letter, with noise, and a linear decoder."""
  mean = params["mean"][LETTER]
  value = mean + NOISE * noise
  aux = {"mean": mean, "log_scale": jnp.full_like(mean, math.log(NOISE))}
  read = jax.lax.stop_gradient(value) if probe else value
  return Outputs(Code(value, None, None, aux), read @ params["kernel"] + params["bias"])


def loss(objective, params, noise, probe=False):
  own, state = objective.init(jax.random.key(0), SPEC)
  terms = objective.loss(own, state, outputs(params, noise, probe), BATCH, jax.random.key(1), 0)
  return sum(term.weight * jnp.mean(term.value) for term in terms.losses.values())


def learn(priced, steps=400):
  """Trains a small model per objective and beta, all at once: nothing is shared between them."""
  first, second = jax.random.split(jax.random.key(0))
  start = {
    "mean": 0.5 * jax.random.normal(first, (LETTERS, 2)),
    "kernel": jax.random.normal(second, (2, CLASSES)),
    "bias": jnp.zeros(CLASSES),
  }
  params = {name: jax.tree.map(lambda p: jnp.stack([p, p]), start) for name in priced}
  optimizer = optax.adam(optax.cosine_decay_schedule(0.03, steps))

  def total(params, noise):
    def pair(name):
      build, large = priced[name]
      probe = name == "hsic_bottleneck"
      run = jax.vmap(lambda p, beta: loss(build(beta=beta), p, noise, probe))
      return jnp.sum(run(params[name], jnp.array([0.0, large])))

    return sum(map(pair, priced))

  def step(carry, key):
    params, opt_state = carry
    noise = jax.random.normal(key, (len(LETTER), 2))
    updates, opt_state = optimizer.update(jax.grad(total)(params, noise), opt_state)
    return (optax.apply_updates(params, updates), opt_state), None

  keys = jax.random.split(jax.random.key(1), steps)
  run = jax.jit(lambda p: jax.lax.scan(step, (p, optimizer.init(p)), keys)[0][0])
  return run(params)


def measure(params):
  """(an upper bound on I(X;Z) in nats, the letters being equally likely; cross-entropy)."""
  scale = jnp.full((LETTERS, 2), math.log(NOISE))
  information = pairwise_information(params["mean"], scale, jnp.ones(LETTERS, bool), "upper")
  noise = jax.random.normal(jax.random.key(9), (len(LETTER), 2))
  distortion = loss(cross_entropy(), params, noise)
  return float(jnp.mean(information)), float(distortion)


@pytest.fixture(scope="module")
def learnt():
  """Name -> what is measured at a beta of 0 and at the large one."""
  rewarded = (lambda beta: hsic_bottleneck(beta, epsilon=1e-2, width_z=1.0), 100.0)
  found = learn({**PRICED, "hsic_bottleneck": rewarded})
  part = lambda tree, i: jax.tree.map(lambda p: p[i], tree)
  return {name: [measure(part(params, i)) for i in (0, 1)] for name, params in found.items()}


@pytest.mark.parametrize("name", [name for name in PRICED if name != "entropy"])
def test_a_large_beta_leaves_no_information(learnt, name):
  free, priced = learnt[name]
  assert free[0] > 1.5 and free[1] < 0.05
  assert priced[0] < 0.02
  # The Cauchy-Schwarz decoder is not trained by cross-entropy, and may be worse than chance.
  assert priced[1] > math.log(CLASSES) - 0.01


def test_a_large_price_on_entropy_leaves_one_direction_and_its_information(learnt):
  free, priced = learnt["entropy"]
  assert free[0] > 1.5
  assert 0.5 < priced[0] < free[0]


def test_the_hsic_bottleneck_keeps_the_label_for_its_reward_alone(learnt):
  nothing, rewarded = learnt["hsic_bottleneck"]
  assert nothing[0] < 0.02 and nothing[1] > math.log(CLASSES) - 0.01
  # log 4 nats would do: it keeps the label and little of the letter within it.
  assert math.log(4) - 0.05 < rewarded[0] < math.log(8) - 0.2
  assert rewarded[1] < 0.4


@pytest.mark.parametrize("name", [name for name in PRICED if "cauchy" not in name])
def test_beta_0_is_cross_entropy(name):
  params = {
    "mean": jax.random.normal(jax.random.key(2), (LETTERS, 2)),
    "kernel": jax.random.normal(jax.random.key(3), (2, CLASSES)),
    "bias": jnp.zeros(CLASSES),
  }
  noise = jax.random.normal(jax.random.key(4), (len(LETTER), 2))
  given, slopes = jax.value_and_grad(lambda p: loss(PRICED[name][0](beta=0.0), p, noise))(params)
  expected, plain = jax.value_and_grad(lambda p: loss(cross_entropy(), p, noise))(params)
  np.testing.assert_allclose(given, expected, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), slopes, plain)
  assert float(loss(PRICED[name][0](beta=1.0), params, noise)) > float(expected)


def test_a_gate_that_has_not_opened_is_cross_entropy_and_one_that_leaks_is_matrix_entropy():
  params = {
    "mean": jax.random.normal(jax.random.key(2), (LETTERS, 2)),
    "kernel": jax.random.normal(jax.random.key(3), (2, CLASSES)),
    "bias": jnp.zeros(CLASSES),
  }
  noise = jax.random.normal(jax.random.key(4), (len(LETTER), 2))
  for leak, equal in ((0.0, cross_entropy()), (1.0, matrix_entropy(beta=1.0))):
    found = loss(gated_phases(beta=1.0, leak=leak), params, noise)
    np.testing.assert_allclose(found, loss(equal, params, noise), rtol=1e-6)


def test_a_deterministic_code_escapes_a_fixed_width_by_shrinking():
  """What the kernel cannot tell apart a decoder of large weights can: noise makes it a limit."""
  params = {
    "mean": jax.random.normal(jax.random.key(2), (LETTERS, 2)),
    "kernel": jax.random.normal(jax.random.key(3), (2, CLASSES)),
    "bias": jnp.zeros(CLASSES),
  }
  small = {**params, "mean": 1e-3 * params["mean"], "kernel": 1e3 * params["kernel"]}
  silent = jnp.zeros((len(LETTER), 2))
  for name in ("hsic", "renyi", "deterministic"):
    build = PRICED[name][0]
    plain, shrunk = (loss(build(beta=0.0), p, silent) for p in (params, small))
    np.testing.assert_allclose(shrunk, plain, rtol=1e-5)
    paid, unpaid = (loss(build(beta=100.0), p, silent) - plain for p in (params, small))
    assert abs(unpaid) < 1e-3 * paid
