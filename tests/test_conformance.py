"""Every method, found by discovery, keeps its room's contract and its own known answers."""

import ast
import importlib
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.bottlenecks.gaussian import gaussian
from ibjax.core.errors import IbjaxError
from ibjax.core.lagrangian import FORMS
from ibjax.core.numerics import gaussian_log_prob
from ibjax.core.resolver import method_modules
from ibjax.core.types import Batch, Case, Code, ObjectiveSpec, Outputs
from ibjax.programs.frame import combine

ROOMS = ("objectives", "bottlenecks", "models", "views")
# What else a method file of a room may import: the estimators' mathematics, never its machinery.
BORROWED = {
  "objectives": tuple(
    f"ibjax.estimators.base.{name}"
    for name in ("bounds", "gram", "kernels", "lipschitz", "networks")
  )
}


def methods(room):
  found = []
  for name in method_modules(f"ibjax.{room}"):
    module = importlib.import_module(name)
    if hasattr(module, "CASES"):
      found.append(name)
  return found


def factory(name):
  return getattr(importlib.import_module(name), name.rpartition(".")[2])


def objective_of(name, **hyper):
  """A method's objective, which is given what else of the code it needs, as its file's AUX says."""
  aux = getattr(importlib.import_module(name), "AUX", {})
  objective = factory(name)(**hyper)

  def loss(params, state, outputs, *rest):
    more = {key: make(outputs.code.aux["mean"]) for key, make in aux.items()}
    code = outputs.code._replace(aux={**outputs.code.aux, **more})
    return objective.loss(params, state, outputs._replace(code=code), *rest)

  return objective._replace(loss=loss)


def cases(room):
  return [
    pytest.param(name, case, id=f"{name.rpartition('.')[2]}: {case.name}")
    for name in methods(room)
    for case in importlib.import_module(name).CASES
  ]


ALL = [(room, name) for room in ROOMS for name in methods(room)]


def close(found, expected, case: Case):
  np.testing.assert_allclose(found, expected, rtol=case.rtol, atol=1e-6 * case.rtol)


def test_discovery_finds_the_methods():
  names = {name.rpartition(".")[2] for _, name in ALL}
  assert {"vib", "ceb", "cross_entropy", "gaussian", "identity", "mlp"} <= names


@pytest.mark.parametrize(("room", "name"), ALL)
def test_one_file_one_factory_with_defaults_and_a_source(room, name):
  module = importlib.import_module(name)
  build = factory(name)
  assert build.__module__ == name
  for parameter in inspect.signature(build).parameters.values():
    assert parameter.default is not parameter.empty, f"{name}: {parameter.name} has no default"
  assert "Source:" in inspect.getdoc(build)
  assert module.CASES and all(case.source for case in module.CASES)
  build()


@pytest.mark.parametrize(("room", "name"), ALL)
def test_imports_of_a_method_go_one_way(room, name):
  tree = ast.parse(inspect.getsource(importlib.import_module(name)))
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ibjax."):
      own = node.module.split(".")[1] in ("core", room)
      assert own or node.module in BORROWED.get(room, ()), f"{name} imports {node.module}"


@pytest.mark.parametrize(("name", "case"), cases("objectives"))
def test_objective_case(name, case):
  build = factory(name)
  given = dict(case.inputs())
  outputs, batch = given["outputs"], given["batch"]
  y = batch["y"]
  batch = {"mask": jnp.ones(y.shape[:1], bool), **batch}
  spec = ObjectiveSpec(
    given.get("label_probs", jnp.zeros(0)),
    outputs.code.value.shape[-1],
    target_dim=y.shape[1] if y.ndim == 2 else 0,
    target_entropy_nats=given.get("target_entropy_nats"),
    n_train=given.get("n_train", 1),
  )
  params, state = build(**case.hyper).init(jax.random.key(0), spec)
  params = given.get("params", params)

  traced, static = {}, {}
  for key, value in case.hyper.items():
    (traced if isinstance(value, float) else static)[key] = value

  def run(hyper):  # the factory is called inside the traced function, as the trainer does
    objective = build(**static, **hyper)
    terms = objective.loss(params, state, outputs, batch, jax.random.key(1), jnp.int32(0))
    (minimised, minimax), _ = combine(terms, batch["mask"])
    values = {k: t.value for k, t in terms.losses.items()} | dict(terms.metrics)
    return values | {"loss": minimised if minimax is None else minimised + minimax}

  found = jax.jit(run)({key: jnp.float32(value) for key, value in traced.items()})
  for key, expected in case.expected.items():
    close(np.mean(found[key]), expected, case)


@pytest.mark.parametrize(("name", "case"), cases("bottlenecks"))
def test_bottleneck_case(name, case):
  channel = factory(name)(**case.hyper)
  given = dict(case.inputs())
  params, state = channel.init(jax.random.key(0))
  params = given.get("params", params)
  code, _ = jax.jit(lambda p, f, k: channel.apply(p, state, f, key=k, train=False))(
    params, given["features"], jax.random.key(1)
  )
  for key, expected in case.expected.items():
    close(getattr(code, key), expected, case)


@pytest.mark.parametrize(("name", "case"), cases("views"))
def test_view_case(name, case):
  given = dict(case.inputs())
  key = given.get("key", jax.random.key(0))
  found = jax.jit(factory(name)(**case.hyper))(given["x"], key)
  close(found, case.expected["x"], case)


@pytest.mark.parametrize(("name", "case"), cases("models"))
def test_model_case(name, case):
  model = factory(name)(**case.hyper)
  given = dict(case.inputs())
  params, state = model.init(jax.random.key(0), given["x"])
  params = given.get("params", params)
  out, _ = model.apply(params, state, given["x"], key=None, train=False)
  close(out, case.expected["out"], case)


def example(n=6, c=3, d=4, dtype=jnp.float32):
  """A batch every objective can take: two views of each example, a Gaussian code and logits."""
  k = jax.random.split(jax.random.key(0), 3)
  mean, log_scale = jax.random.normal(k[0], (n, d)), jnp.zeros((n, d)) - 0.5
  aux = {"mean": mean, "log_scale": log_scale, "log_prob": gaussian_log_prob(mean, mean, log_scale)}
  code = Code(mean, jnp.sum(mean**2, -1), None, aux)
  logits = jax.random.normal(k[1], (n, c)).astype(dtype)
  y = jnp.tile(jax.random.randint(k[2], (n // 2,), 0, c), 2)
  x = jax.random.normal(jax.random.key(5), (n, 5))
  batch: Batch = {"x": x, "y": y, "mask": jnp.ones(n, bool)}
  outputs = Outputs(code, logits, parameter_kl=jnp.float32(20.0), views=2)
  return outputs, batch, ObjectiveSpec(jnp.full(c, 1 / c), d, n_train=10)


@pytest.mark.parametrize("name", methods("objectives"))
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_objective_values_are_per_example_float32_with_finite_gradients(name, dtype):
  outputs, batch, spec = example(dtype=dtype)
  objective = objective_of(name)
  params, state = objective.init(jax.random.key(0), spec)

  def loss(params, prediction, mean):
    code = outputs.code._replace(value=mean, aux={**outputs.code.aux, "mean": mean})
    given = outputs._replace(code=code, prediction=prediction)
    terms = objective.loss(params, state, given, batch, jax.random.key(1), jnp.int32(0))
    for key, value in {**{k: t.value for k, t in terms.losses.items()}, **terms.metrics}.items():
      assert value.shape in ((), batch["y"].shape), key
      assert value.dtype == jnp.float32, key
    assert jax.tree.structure(terms.state) == jax.tree.structure(state)
    return combine(terms, batch["mask"])[0][0]

  grads = jax.grad(loss, argnums=(0, 1, 2))(params, outputs.prediction, outputs.code.value)
  assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(grads))


@pytest.mark.parametrize("name", methods("objectives"))
def test_objective_hyperparameters_may_be_traced_and_vmapped(name):
  outputs, batch, spec = example()
  build = factory(name)
  defaults = {
    key: parameter.default
    for key, parameter in inspect.signature(build).parameters.items()
    if isinstance(parameter.default, float)
  }

  def run(hyper):
    objective = objective_of(name, **hyper)
    params, state = objective.init(jax.random.key(0), spec)
    terms = objective.loss(params, state, outputs, batch, jax.random.key(1), jnp.int32(0))
    return combine(terms, batch["mask"])[0][0]

  values = {key: np.float32([value, value * 0.5 + 0.1]) for key, value in defaults.items()}
  together = jax.vmap(run)(values)
  alone = [run({key: value[i] for key, value in values.items()}) for i in range(2)]
  np.testing.assert_allclose(together, alone, rtol=1e-6)
  assert together[0] != together[1], "no hyperparameter changes the loss"


@pytest.mark.parametrize("name", methods("objectives"))
def test_objective_ignores_masked_examples(name):
  outputs, batch, spec = example()
  objective = objective_of(name)
  params, state = objective.init(jax.random.key(0), spec)

  def value(prediction, mask, code=outputs.code):
    given = outputs._replace(prediction=prediction, code=code)
    terms = objective.loss(
      params, state, given, {**batch, "mask": mask}, jax.random.key(1), jnp.int32(0)
    )
    return combine(terms, mask)[0][0]

  mask = jnp.tile(jnp.arange(3) < 2, 2)  # the last example, in both views
  spoiled = jnp.where(mask[:, None], outputs.prediction, 1e9)
  assert value(outputs.prediction, mask) == value(spoiled, mask)
  assert value(outputs.prediction, mask) != value(outputs.prediction, jnp.ones(6, bool))
  far = jnp.where(mask[:, None], outputs.code.value, 3.0 + outputs.code.value)
  moved = outputs.code._replace(value=far, aux={**outputs.code.aux, "mean": far})
  np.testing.assert_allclose(
    value(outputs.prediction, mask, moved), value(outputs.prediction, mask), rtol=1e-5
  )


@pytest.mark.parametrize("name", methods("objectives"))
def test_objective_says_whether_examples_are_coupled(name):
  outputs, batch, spec = example()
  objective = objective_of(name)
  params, state = objective.init(jax.random.key(0), spec)

  def first(mean):
    """The terms of the first example in its first view; a scalar stands for all."""
    code = outputs.code._replace(value=mean, aux={**outputs.code.aux, "mean": mean})
    terms = objective.loss(
      params, state, outputs._replace(code=code), batch, jax.random.key(1), jnp.int32(0)
    )
    return sum(jnp.ravel(term.value)[0] for term in terms.losses.values())

  others = jax.grad(first)(outputs.code.value)[1:]
  assert objective.couples or not np.any(others), f"{name} couples examples and does not say so"
  assert objective.views == 1 or objective.couples


@pytest.mark.parametrize("name", methods("objectives"))
def test_objective_states_its_lagrangian(name):
  given = importlib.import_module(name).LAGRANGIAN
  assert given.form in (*FORMS, "none") and given.penalty
  has_beta = "beta" in inspect.signature(factory(name)).parameters
  assert has_beta == (given.form != "none")


@pytest.mark.parametrize("name", methods("objectives"))
def test_objective_takes_targets_or_says_that_it_needs_labels(name):
  outputs, batch, spec = example()
  targets = {**batch, "y": jax.random.normal(jax.random.key(3), (6, 3))}
  objective = objective_of(name)
  spec = spec._replace(label_probs=jnp.zeros(0), target_dim=3, target_entropy_nats=2.0)
  try:
    params, state = objective.init(jax.random.key(0), spec)
  except IbjaxError as error:
    assert "real-valued targets of 3 dimensions" in str(error) and "labels" in str(error)
    return

  def loss(params, prediction):
    terms = objective.loss(
      params,
      state,
      outputs._replace(prediction=prediction),
      targets,
      jax.random.key(1),
      jnp.int32(0),
    )
    assert all(term.value.shape in ((6,), ()) for term in terms.losses.values())
    if "i_yz_lower_nats" in terms.metrics:
      bound = terms.metrics["i_yz_lower_nats"]
      np.testing.assert_allclose(bound, 2.0 - terms.losses["distortion_nats"].value, rtol=1e-5)
    return combine(terms, batch["mask"])[0][0]

  loss(params, outputs.prediction)
  silent, _ = factory(name)().init(jax.random.key(0), spec._replace(target_entropy_nats=None))
  assert jax.tree.structure(silent) == jax.tree.structure(params)
  with pytest.raises(IbjaxError, match=r"shape"):
    loss(params, outputs.prediction[:, :2])


@pytest.mark.parametrize("name", methods("objectives"))
def test_objective_refuses_labels_of_another_length(name):
  outputs, batch, spec = example()
  objective = objective_of(name)
  params, state = objective.init(jax.random.key(0), spec)
  with pytest.raises(IbjaxError, match=r"shape"):
    short = {**batch, "y": batch["y"][:-1]}
    objective.loss(params, state, outputs, short, jax.random.key(1), 0)


@pytest.mark.parametrize("name", methods("objectives"))
@pytest.mark.parametrize("raw", [-1e4, -80.0, 80.0, 1e4])
def test_objective_is_finite_from_no_noise_to_all_noise(name, raw):
  _, batch, spec = example()
  objective, channel = objective_of(name), gaussian(dim=4)
  params, state = objective.init(jax.random.key(0), spec)
  mean = jax.random.normal(jax.random.key(2), (6, 4))

  def loss(raw, mean, params):
    features = jnp.concatenate([mean, jnp.full_like(mean, raw)], axis=-1)
    code, _ = channel.apply({}, {}, features, key=jax.random.key(1), train=True)
    outputs = Outputs(code, code.value[:, :3], parameter_kl=jnp.sum(jnp.square(mean)), views=2)
    terms = objective.loss(params, state, outputs, batch, jax.random.key(1), 0)
    assert all(v.shape in ((), (6,)) for v in terms.metrics.values())
    losses, metrics = combine(terms, batch["mask"])
    return losses[0], metrics

  (value, metrics), grads = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(
    jnp.float32(raw), mean, params
  )
  assert np.isfinite(value)
  assert all(np.isfinite(v).all() for v in jax.tree.leaves((metrics, grads)))


@pytest.mark.parametrize(
  ("name", "hyper"),
  [
    *((name, {}) for name in methods("bottlenecks")),
    *(
      ("ibjax.bottlenecks.gaussian", dict(prior=prior, shared_scale=True))
      for prior in ("standard", "learned", "mixture")
    ),
  ],
)
def test_bottleneck_contract(name, hyper):
  channel = factory(name)(dim=3, **hyper)
  params, state = channel.init(jax.random.key(0))
  features = jax.random.normal(jax.random.key(1), (5, channel.features))
  apply = jax.jit(lambda f, k: channel.apply(params, state, f, key=k, train=True))
  code, new_state = apply(features.astype(jnp.bfloat16), jax.random.key(2))
  assert code.value.shape == (5, 3) and code.value.dtype == jnp.float32
  assert jax.tree.structure(new_state) == jax.tree.structure(state)
  if code.rate is not None:
    assert code.rate.shape == (5,) and code.rate.dtype == jnp.float32
  again, _ = apply(features.astype(jnp.bfloat16), jax.random.key(2))
  np.testing.assert_array_equal(code.value, again.value)
  with pytest.raises(IbjaxError, match="features has shape"):
    channel.apply(params, state, features[:, :-1], key=jax.random.key(2), train=True)
