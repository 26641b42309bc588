"""Structured objectives: limits, closed forms, what is trained in which stage, and small runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.bottlenecks.gaussian import gaussian
from ibjax.core.errors import ConfigError, IbjaxError
from ibjax.core.numerics import gaussian_kl, gaussian_log_prob
from ibjax.core.types import Code, ObjectiveSpec, Outputs, Trained
from ibjax.evaluators.nested_widths import nested_widths
from ibjax.models.mlp import mlp
from ibjax.models.per_feature_mlp import per_feature_mlp
from ibjax.objectives.contrast import contrast_nats
from ibjax.objectives.structured.conditional_ib import conditional_ib
from ibjax.objectives.structured.cvib import cvib
from ibjax.objectives.structured.distributed_ib import distributed_ib
from ibjax.objectives.structured.multi_view_ib import multi_view_ib
from ibjax.objectives.structured.o_vib import o_vib
from ibjax.objectives.structured.structured_ib import partners, structured_ib
from ibjax.objectives.variational.ceb import ceb
from ibjax.objectives.variational.vib import vib
from ibjax.programs.frame import combine
from ibjax.train.assessing import assessor
from tests.helpers import final_state, same, tiny_setup, train


def key(number=0):
  return jax.random.key(number)


def spec(classes=3, dim=4):
  return ObjectiveSpec(jnp.full(classes, 1 / classes), dim)


def outputs_of(mean, log_scale, n=12, classes=3, views=1, **aux):
  rate = gaussian_kl(mean, log_scale, jnp.zeros_like(mean), jnp.zeros_like(mean))
  density = gaussian_log_prob(mean, mean, log_scale)
  code = Code(mean, rate, None, dict(mean=mean, log_scale=log_scale, log_prob=density, **aux))
  return Outputs(code, jax.random.normal(key(9), (n, classes)), jnp.float32(2.0), views)


def batch_of(n=12, classes=3):
  y = jax.random.randint(key(8), (n,), 0, classes)
  return {"x": jax.random.normal(key(7), (n, 5)), "y": y, "mask": jnp.ones(n, bool)}


def terms_of(objective, outputs, batch, params=None, step=0, state=None):
  made, kept = objective.init(key(), spec(dim=outputs.code.value.shape[1]))
  params = made if params is None else {**made, **params}
  return objective.loss(params, kept, outputs, batch, key(1), jnp.int32(step))


# Limits and closed forms.


def test_one_feature_is_vib():
  mean = jax.random.normal(key(2), (12, 4))
  for objective in (distributed_ib(beta=0.3, features=1), distributed_ib(beta=0.3, features=4)):

    def total(objective, mean):
      outputs = outputs_of(mean, 0.1 * mean)
      return combine(terms_of(objective, outputs, batch_of()), jnp.ones(12, bool))[0][0]

    found = jax.jit(jax.value_and_grad(lambda m, o=objective: total(o, m)))(mean)
    expected = jax.jit(jax.value_and_grad(lambda m: total(vib(beta=0.3), m)))(mean)
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
    )
  with pytest.raises(IbjaxError, match="a multiple of 3"):
    distributed_ib(features=3).init(key(), spec(dim=4))


def test_a_label_as_the_side_variable_is_cebs_residual():
  mean = jax.random.normal(key(2), (12, 4))
  outputs, batch = outputs_of(mean, 0.2 * mean), batch_of()
  table = {
    "mean": jax.random.normal(key(3), (3, 4)),
    "log_scale": jax.random.normal(key(4), (3, 4)),
  }
  prior = {name: {"kernel": value, "bias": jnp.zeros(4)} for name, value in table.items()}
  expected = terms_of(ceb(), outputs, batch, table).losses["residual_nats"].value
  found = terms_of(conditional_ib(side="label"), outputs, batch, {"prior": prior})
  np.testing.assert_allclose(found.losses["conditional_rate_nats"].value, expected, rtol=1e-5)
  # The same labels as one-hot values of the input.
  given = {**batch, "x": jnp.concatenate([batch["x"], jax.nn.one_hot(batch["y"], 3)], axis=1)}
  found = terms_of(conditional_ib(first=5, width=3), outputs, given, {"prior": prior})
  np.testing.assert_allclose(found.losses["conditional_rate_nats"].value, expected, rtol=1e-5)
  with pytest.raises(IbjaxError, match="values 4 to 5 of the input"):
    terms_of(conditional_ib(first=4, width=2), outputs, batch)


def test_the_conditional_rate_of_a_linear_gaussian_code_is_its_information():
  """x = (s, u) independent normal, z = a s + b u + noise: I(X;Z|S) = log(1 + b^2 / v) / 2."""
  a, b, variance = 1.3, 0.8, 0.5
  x = jax.random.normal(key(2), (4096, 2))
  x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T, ddof=0))).T  # exact moments
  mean = x @ jnp.array([[a], [b]])
  batch = {"x": x, "y": jnp.zeros(4096, jnp.int32), "mask": jnp.ones(4096, bool)}
  outputs = outputs_of(mean, jnp.full((4096, 1), 0.5 * np.log(variance)), n=4096)
  objective, adam = conditional_ib(first=0, width=1), optax.adam(0.05)
  params, _ = objective.init(key(), spec(dim=1))

  def rate(prior):
    terms = terms_of(objective, outputs, batch, {"prior": prior})
    return jnp.mean(terms.losses["conditional_rate_nats"].value)

  def step(carry, _):
    prior, state = carry
    updates, state = adam.update(jax.grad(rate)(prior), state)
    return (optax.apply_updates(prior, updates), state), None

  start = (params["prior"], adam.init(params["prior"]))
  (prior, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=400))(start)
  np.testing.assert_allclose(rate(prior), 0.5 * np.log(1 + b**2 / variance), atol=1e-3)
  np.testing.assert_allclose(prior["mean"]["kernel"], [[a]], atol=0.01)


def test_views_with_one_code_are_not_apart_and_the_bound_holds():
  rho, n = 0.9, 512
  u = jax.random.normal(key(2), (3, n, 1))
  z = jnp.concatenate([np.sqrt(rho) * u[0] + np.sqrt(1 - rho) * u[i] for i in (1, 2)])
  batch = {"y": jnp.zeros(2 * n, jnp.int32), "mask": jnp.ones(2 * n, bool)}
  outputs = outputs_of(z, jnp.zeros_like(z), n=2 * n, views=2)
  # log p(z1, z2) / p(z1) p(z2) as a critic: the best one, up to a function of z1.
  share = rho / (1 - rho**2)
  critic = jnp.diag(jnp.array([0.0, share, 0.0])).at[0, 2].set(-0.5 * rho * share)
  found = terms_of(multi_view_ib(), outputs, batch, {"critic": critic}).metrics
  truth = -0.5 * np.log(1 - rho**2)
  assert found["i_views_lower_nats"] == pytest.approx(truth, abs=0.1)
  same = outputs_of(jnp.tile(z[:n], (2, 1)), jnp.zeros_like(z), n=2 * n, views=2)
  apart = terms_of(multi_view_ib(), same, batch).losses["views_kl_nats"].value
  np.testing.assert_array_equal(apart, jnp.zeros(2 * n))
  with pytest.raises(IbjaxError, match="config.views.count=2"):
    terms_of(multi_view_ib(), outputs._replace(views=1), batch)


def test_the_contrast_is_cross_entropy_over_the_examples_that_count():
  scores, mask = jax.random.normal(key(2), (6, 6)), jnp.array([1, 0, 1, 1, 0, 1], bool)
  kept = np.flatnonzero(mask)
  expected = optax.softmax_cross_entropy_with_integer_labels(
    scores[np.ix_(kept, kept)], jnp.arange(4)
  ).mean()
  np.testing.assert_allclose(contrast_nats(scores.at[1].set(jnp.inf), mask), expected, rtol=1e-5)


def test_each_twins_gradient_is_that_with_the_other_held_fixed():
  """As the paper trains them, by turns: the sum's gradient is both of theirs."""
  pruned, original = jax.random.normal(key(2), (2, 12, 4))
  batch = batch_of()

  def contrast(pruned, original):
    code = Code(pruned, None, None, {"twin": original})
    outputs = Outputs(code, jnp.zeros((12, 3)), jnp.float32(0.0))
    return terms_of(cvib(temperature=0.5), outputs, batch).losses["contrastive_nats"].value

  together = jax.jit(jax.grad(contrast, argnums=(0, 1)))(pruned, original)
  unit = lambda z: z / jnp.linalg.norm(z, axis=1, keepdims=True)
  cross = lambda p, o: optax.softmax_cross_entropy_with_integer_labels(
    unit(p) @ unit(o).T / 0.5, jnp.arange(12)
  ).mean()
  alone = (
    jax.grad(lambda p: cross(p, original))(pruned),
    jax.grad(lambda o: cross(pruned, o))(original),
  )
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), together, alone)
  code = Code(pruned, None, None, {"twin": original})
  with pytest.raises(IbjaxError, match="twin_mlp"):
    terms_of(cvib(), Outputs(code, jnp.zeros((12, 3))), batch)


@pytest.mark.parametrize(
  ("objective", "bottleneck"),
  [(o_vib, "ard_gaussian"), (cvib, "twin"), (structured_ib, "structured_gaussian")],
)
def test_objectives_name_the_bottleneck_they_need(objective, bottleneck):
  mean = jnp.zeros((12, 4))
  with pytest.raises(IbjaxError, match=f"bottlenecks.{bottleneck}:{bottleneck}"):
    terms_of(objective(), outputs_of(mean, mean), batch_of())


# The structured bottleneck's adversary and stages.


def test_partners_are_others_that_count():
  mask = jnp.array([1, 1, 0, 1, 0, 1, 1], bool)
  for number in range(5):
    found = np.asarray(partners(mask, key(number)))
    counted = np.flatnonzero(mask)
    assert sorted(found[counted]) == counted.tolist() and (found[counted] != counted).all()
    assert found[~np.asarray(mask)].tolist() == [2, 4]


def test_the_best_classifier_measures_twice_the_jensen_shannon_divergence():
  """Two codes that are one and the same sign: joint and product differ by a known amount."""
  n = 4000
  sign = jnp.where(jax.random.bernoulli(key(2), 0.5, (n, 1)), 1.0, -1.0)
  blocks = jnp.stack([sign, sign], axis=1)
  aux = dict(blocks=blocks, stage=jnp.int32(1), weights=jnp.ones(2))
  outputs = outputs_of(sign, jnp.zeros_like(sign), n=n, **aux)
  # d = p_product / (p_product + p_joint): 1/3 where the signs agree, and 1 where they do not. The
  # logit -15 |a + b| / 2 + 15 + log(1/2) (|a + b| / 2) by two hidden units.
  low = np.log(0.5) - 15.0
  critic = [
    {"kernel": jnp.array([[[1.0, -1.0], [1.0, -1.0]]]), "bias": jnp.zeros((1, 2))},
    {"kernel": jnp.full((1, 2, 1), low / 2), "bias": jnp.full((1, 1), 15.0)},
  ]
  terms = terms_of(structured_ib(hidden=(2,)), outputs, batch_of(n), {"critic": critic})
  # KLs to the average m: product (1/4 each), joint (1/2, 0), m (3/8, 1/8).
  product = 0.5 * np.log(0.25 / 0.375) + 0.5 * np.log(0.25 / 0.125)
  joint = np.log(0.5 / 0.375)
  assert terms.losses["independence_nats"].minimax
  np.testing.assert_allclose(terms.losses["independence_nats"].value, product + joint, atol=0.02)


def test_independence_moves_the_auxiliary_code_alone_and_only_in_its_stage():
  def apart(blocks, stage):
    mean = blocks[:, 0]
    aux = dict(blocks=blocks, stage=stage, weights=jnp.ones(3))
    outputs = outputs_of(mean, jnp.zeros_like(mean), **aux)
    return (
      terms_of(structured_ib(auxiliaries=2), outputs, batch_of()).losses["independence_nats"].value
    )

  blocks, apart_slope = jax.random.normal(key(2), (12, 3, 4)), jax.jit(jax.grad(apart))
  for stage, moved in [(0, []), (1, [1]), (2, [2]), (3, [])]:
    slopes = apart_slope(blocks, jnp.int32(stage))
    assert [b for b in range(3) if np.abs(slopes[:, b]).max() > 1e-6] == moved


def test_each_stage_trains_its_own_part_and_holds_the_rest():
  stages = dict(bottleneck__main_steps=2.0, bottleneck__auxiliary_steps=2.0)
  setup = tiny_setup(path="configs/structured/structured_ib_mnist.py", **stages)
  step, state = jax.jit(setup.program.step), setup.program.init(setup.hyper)
  images = setup.splits["train"].read(np.arange(64))
  batch = {**images, "mask": np.ones(64, bool)}

  def parts(state):
    """Parameters and their moments by part; an encoder's by branch."""
    found = {}
    moments = state.opt_state[0]
    for tree in (state.params, moments.mu, moments.nu):
      for branch in range(2):
        own = jax.tree.map(lambda leaf, b=branch: leaf[b], tree["encoder"])
        found.setdefault(f"encoder/{branch}", []).append(own)
      for name in ("decoder", "bottleneck", "objective"):
        found.setdefault(name, []).append(tree[name])
    return jax.device_get(found)

  for trained in ({"encoder/0", "decoder"}, {"encoder/1", "objective"}, {"bottleneck"}):
    for _ in range(2):
      before, state = parts(state), step(state, batch, setup.hyper)
      after = parts(state)
      assert {name for name in before if not same(before[name], after[name])} == trained
  assert int(state.bad_step) == -1


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (dict(bottleneck__auxiliaries=2), "config.encoder.branches=3"),
    (dict(objective__auxiliaries=2), "to one number"),
    (dict(encoder__fn="ibjax.models.mlp:mlp"), "config.encoder.fn='ibjax.models.parallel_mlp"),
  ],
)
def test_stages_that_do_not_fit_the_model_are_explained(overrides, message):
  with pytest.raises(IbjaxError, match=message):
    tiny_setup(path="configs/structured/structured_ib_mnist.py", **overrides)


# Learned.


def test_the_rates_of_a_circuits_inputs_are_in_the_order_of_their_relevance():
  """y = x0 OR (x1 AND x2); x3 is not connected."""
  bits = (np.arange(16)[:, None] >> np.arange(3, -1, -1)) & 1
  x = jnp.tile(jnp.asarray(2.0 * bits - 1.0), (16, 1))
  y = jnp.tile(jnp.asarray(bits[:, 0] | (bits[:, 1] & bits[:, 2])), 16)
  encoder, decoder = per_feature_mlp(hidden=(16,), out=16), mlp(hidden=(32,), out=2)
  channel, objective = gaussian(dim=8, scale_shift=-2.0), distributed_ib(beta=0.1, features=4)
  batch, adam = {"x": x, "y": y, "mask": jnp.ones(256, bool)}, optax.adam(5e-3)
  params = {
    "encoder": encoder.init(key(1), x)[0],
    "decoder": decoder.init(key(2), jnp.zeros((1, 8)))[0],
  }

  def loss(params, k):
    features, _ = encoder.apply(params["encoder"], {}, x, key=None, train=True)
    code, _ = channel.apply({}, {}, features, key=k, train=True)
    logits, _ = decoder.apply(params["decoder"], {}, code.value, key=None, train=True)
    terms = terms_of(objective, Outputs(code, logits), batch)
    return combine(terms, batch["mask"])[0][0], terms.metrics

  def step(carry, k):
    params, state = carry
    grads, metrics = jax.grad(loss, has_aux=True)(params, k)
    updates, state = adam.update(grads, state)
    rates = jnp.stack([jnp.mean(metrics[f"feature_{i}_rate_nats"]) for i in range(4)])
    return (optax.apply_updates(params, updates), state), rates

  carry = (params, adam.init(params))
  _, rates = jax.jit(lambda c: jax.lax.scan(step, c, jax.random.split(key(3), 1500)))(carry)
  rates = rates[-100:].mean(axis=0)
  assert rates[0] > 1.2 * max(rates[1], rates[2]) and min(rates[1], rates[2]) > 0.05
  np.testing.assert_allclose(rates[1], rates[2], rtol=0.2)
  assert rates[3] < 0.005


# The width of an ordered code.


def ordered(**changes):
  """A model of three ordered channels whose third one helps on the test split alone."""
  labels = np.arange(100) % 2
  wrong = {"validation": [40, 10, 10], "test": [45, 20, 15]}

  def decode(code):
    split = "test" if code.max() == 2.0 else "validation"
    told = np.arange(100) >= wrong[split][np.count_nonzero(code[0]) - 1]
    return np.log(np.eye(2)[np.where(told, labels, 1 - labels)] + 1e-9)

  def data(name, split):
    return {"x": np.full(100, 2.0 if split == "test" else 1.0), "y": labels}

  section = dict(fn="ibjax.bottlenecks.nested_dropout:nested_dropout", dim=3)
  fields = dict(
    data=data,
    forward=lambda x: {"code": np.repeat(x[:, None], 3, axis=1)},
    gradient=None,
    value_range=None,
    num_classes=2,
    label_probs=np.full(2, 0.5),
    seed=0,
    config={"bottleneck": section},
    decode=decode,
  )
  return Trained(**{**fields, **changes})


def test_the_narrowest_of_the_best_widths_is_chosen_on_validation_data():
  found = nested_widths()(ordered())
  expected = dict(width=2.0, error=0.2, full_error=0.15, error_at_1=0.45, error_at_2=0.2)
  assert found == pytest.approx({**expected, "error_at_3": 0.15})
  assert nested_widths(price=1.0)(ordered())["width"] == 1.0
  with pytest.raises(ConfigError, match="config.data.validation"):
    nested_widths(split="test")
  plain = {"bottleneck": dict(fn="ibjax.bottlenecks.identity:identity", dim=3)}
  with pytest.raises(ConfigError, match="gives none"):
    nested_widths()(ordered(config=plain))


def test_a_nested_run_reports_its_widths_and_a_gated_one_its_pruned_units(tmp_path):
  path = "configs/structured/nested_dropout_mnist.py"
  setup = tiny_setup(path=path, bottleneck__concepts=4)
  state = final_state(setup, tmp_path / "nested")
  found = assessor(setup)(setup.config, state)["nested"]
  assert {"error_at_8", "error_at_16", "error_at_24", "error_at_32"} <= found.keys()
  assert found["error_at_8"] > found["full_error"] == found["error_at_32"]
  gated = dict(encoder__init_log_variance=1.0, train__duration="5 steps")
  setup = tiny_setup(path="configs/structured/cvib_mnist.py", **gated)
  lines = train(setup, tmp_path / "gated")
  assert lines[-1]["pruned_frac"] == 1.0  # e^1 > 1: every gate is more noise than signal
