"""A convex price of the rate, and betas that follow a target: against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, IbjaxError, InputError
from ibjax.core.lagrangian import FORMS, convert, in_nats
from ibjax.core.types import Code, ObjectiveSpec, Outputs
from ibjax.objectives.variational.vib import vib
from ibjax.objectives.wrappers.convex import convex
from ibjax.objectives.wrappers.inner import build, price
from ibjax.objectives.wrappers.target_accuracy import target_accuracy
from ibjax.objectives.wrappers.target_rate import target_rate
from ibjax.programs import hyper
from ibjax.programs.frame import combine

SPEC = ObjectiveSpec(jnp.full(2, 0.5), 1)
BATCH = {"y": jnp.zeros(4, jnp.int32), "mask": jnp.array([True, True, True, False])}


def outputs(theta):
  """A model of one number: rate theta^2, logits (theta, 0), all labels 0."""
  rate = jnp.full(4, jnp.square(theta)).at[3].set(1e6)  # the last row is masked
  logits = jnp.stack([jnp.full(4, theta), jnp.zeros(4)], axis=-1)
  return Outputs(Code(jnp.zeros((4, 1)), rate, None, {}), logits)


def loss(objective, theta, state=None):
  params, start = objective.init(jax.random.key(0), SPEC)
  terms = objective.loss(
    params, start if state is None else state, outputs(theta), BATCH, jax.random.key(1), 0
  )
  return combine(terms, BATCH["mask"])[0][0], terms


@pytest.mark.parametrize(
  ("function", "shape"), [("square", 1.0), ("power", 0.5), ("exponential", 0.7)]
)
def test_a_convex_price_acts_as_the_linear_one_of_its_slope(function, shape):
  objective = convex(beta=0.3, function=function, shape=shape)
  theta = jnp.float32(1.2)
  slope = jax.grad(lambda t: loss(objective, t)[0])(theta)
  effective = loss(objective, theta)[1].metrics["effective_beta"]
  linear = jax.grad(lambda t: loss(vib(beta=effective), t)[0])(theta)
  np.testing.assert_allclose(slope, linear, rtol=1e-5)


@pytest.mark.parametrize("wanted", [0.25, 1.0])
def test_a_target_rate_is_met_at_the_multiplier_of_the_constraint(wanted):
  objective = target_rate(target_nats=wanted, initial_beta=1.0, speed=0.02, decay=0.9)
  _, state = objective.init(jax.random.key(0), SPEC)

  def update(carry, _):
    theta, state = carry

    def whole(theta):
      value, terms = loss(objective, theta, state)
      return value, (terms.state, terms.metrics)

    slope, (moved, metrics) = jax.grad(whole, has_aux=True)(theta)
    return (theta - 0.1 * slope, moved), metrics

  carry = (jnp.float32(2.0), state)
  (theta, _), metrics = jax.jit(lambda c: jax.lax.scan(update, c, length=3000))(carry)
  np.testing.assert_allclose(theta**2, wanted, rtol=1e-3)
  # d/dtheta of log(1 + exp(-theta)) + beta theta^2 is 0 there.
  best = 1.0 / (1.0 + math.exp(math.sqrt(wanted))) / (2.0 * math.sqrt(wanted))
  np.testing.assert_allclose(metrics["beta"][-1], best, rtol=5e-3)
  np.testing.assert_allclose(metrics["target_gap"][-1], 0.0, atol=1e-3 * wanted)
  assert metrics["target_missed_frac"][-1] == 0.0


def test_a_target_out_of_reach_is_reported_with_the_closest():
  objective = target_rate(target_nats=50.0, decay=0.0)
  _, state = objective.init(jax.random.key(0), SPEC)
  for theta in (2.0, 3.0, 1.0):  # rates 4, 9 and 1
    _, terms = loss(objective, jnp.float32(theta), state)
    state = terms.state
  assert float(terms.metrics["target_closest"]) == 9.0
  assert float(terms.metrics["target_missed_frac"]) == 1.0
  assert float(terms.metrics["target_gap"]) == -49.0
  assert terms.metrics["beta"] < 1e-3, "beta falls while the rate is below its target"


@pytest.mark.parametrize(("theta", "moves"), [(1.0, 1), (-1.0, -1)])
def test_too_few_errors_raise_beta_and_too_many_lower_it(theta, moves):
  objective = target_accuracy(target_frac=0.9)
  _, state = objective.init(jax.random.key(0), SPEC)
  _, terms = loss(objective, jnp.float32(theta), state)
  moved = terms.state["controller"]["log_beta"] - state["controller"]["log_beta"]
  assert np.sign(moved) == moves


def test_what_cannot_be_wrapped_says_so():
  with pytest.raises(ConfigError, match="sets the beta"):
    target_rate(inner=dict(fn="ibjax.objectives.variational.vib:vib", beta=0.1))
  with pytest.raises(ConfigError, match="has none"):
    convex(inner=dict(fn="ibjax.objectives.supervised.cross_entropy:cross_entropy"))
  with pytest.raises(ConfigError, match="Did you mean"):
    convex(inner=dict(fn="ibjax.objectives.variational.vib:vib", bta=1.0))
  _, terms = loss(vib(beta=0.1), jnp.float32(1.0))
  with pytest.raises(InputError, match="no loss that beta alone multiplies"):
    price("convex", terms, 0.2, BATCH["mask"])
  for bad in (dict(target_nats=0.0), dict(decay=1.0), dict(initial_beta=0.0), dict(speed=-1.0)):
    with pytest.raises(InputError):
      target_rate(**bad)
  for bad in (0.0, 1.0, float("nan")):
    with pytest.raises(InputError):
      target_accuracy(target_frac=bad)


def test_numbers_of_a_section_within_a_section_are_traced():
  fn = "ibjax.objectives.variational.ceb:ceb"
  config = {"seed": 0, "objective": {"fn": "x", "inner": {"fn": fn, "mean_scale": 2.0}}}
  assert "objective.inner.mean_scale" in hyper.traced(config)
  filled = hyper.section(config, "objective", {"objective.inner.mean_scale": 3.0})
  assert filled["inner"] == {"fn": fn, "mean_scale": 3.0}
  assert build("convex", filled["inner"], 0.1).couples is False


BETAS = {"rate": 0.2, "information": 5.0, "residual": 0.25, "gamma": 4.0, "log_gamma": math.log(4)}


@pytest.mark.parametrize("source", FORMS)
@pytest.mark.parametrize("target", FORMS)
def test_one_price_in_every_convention(source, target):
  np.testing.assert_allclose(convert(BETAS[source], source, target), BETAS[target], rtol=1e-12)


def test_conversions_have_the_same_optimum():
  """On any concave curve I(Y;Z) = f(I(X;Z)), all forms are least at one point."""
  rate = np.linspace(1e-3, 5.0, 20001)
  label = 1.0 - np.exp(-rate)  # slope exp(-rate): the optimum is at -log of the price
  values = {
    "rate": lambda b: -label + b * rate,
    "information": lambda b: rate - b * label,
    "residual": lambda b: -label + b * (rate - label),
    "gamma": lambda b: (rate - label) - b * label,
    "log_gamma": lambda b: (rate - label) - math.exp(b) * label,
  }
  for form, value in values.items():
    np.testing.assert_allclose(rate[np.argmin(value(BETAS[form]))], -math.log(0.2), atol=1e-3)


def test_betas_without_an_equal_are_refused():
  with pytest.raises(IbjaxError, match="below 1 only"):
    convert(1.5, "rate", "residual")
  with pytest.raises(IbjaxError, match="greater than 0"):
    convert(0.0, "rate", "information")
  with pytest.raises(IbjaxError, match="not a finite number"):
    convert(float("nan"), "rate", "information")
  with pytest.raises(IbjaxError, match="Did you mean 'rate'"):
    convert(0.5, "rates", "gamma")
  with pytest.raises(IbjaxError, match="unit"):
    in_nats(1.0, "bit", "nats")
