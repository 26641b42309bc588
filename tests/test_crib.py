"""The consistency-regularised bottleneck, its views and its encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.bottlenecks.gaussian import gaussian
from ibjax.core.errors import InputError
from ibjax.core.types import ObjectiveSpec, Outputs
from ibjax.models.patch_attention import patch_attention, sinusoids
from ibjax.objectives.structured.crib import crib
from ibjax.objectives.variational.vib import vib
from ibjax.programs.frame import combine
from ibjax.programs.views import make_views
from ibjax.views.mask_and_noise import mask_and_noise

N, DIM, TARGETS = 5, 3, 2
SPEC = ObjectiveSpec(jnp.zeros(0), DIM, target_dim=TARGETS)


def batch_of(features, prediction, views=2, mask=None):
  code, _ = gaussian(dim=DIM).apply({}, {}, features, key=jax.random.key(3), train=True)
  y = jnp.tile(jax.random.normal(jax.random.key(4), (N, TARGETS)), (views, 1))
  mask = jnp.ones(N, bool) if mask is None else mask
  return Outputs(code, prediction, views=views), {"y": y, "mask": jnp.tile(mask, views)}


def terms_of(objective, outputs, batch):
  params, state = objective.init(jax.random.key(0), SPEC)
  return objective.loss(params, state, outputs, batch, jax.random.key(1), jnp.int32(0))


def loss_of(objective, outputs, batch):
  (loss, _), metrics = combine(terms_of(objective, outputs, batch), batch["mask"])
  return float(loss), {key: float(total / count) for key, (total, count) in metrics.items()}


@pytest.fixture
def two_views():
  features = jax.random.normal(jax.random.key(1), (2 * N, 2 * DIM))
  return features, jax.random.normal(jax.random.key(2), (2 * N, TARGETS))


def first_view(outputs, batch):
  code = jax.tree.map(lambda leaf: leaf[:N], outputs.code)
  return Outputs(code, outputs.prediction[:N]), {key: value[:N] for key, value in batch.items()}


def test_equal_views_are_consistent_and_unequal_ones_pay_the_mean_square(two_views):
  features, prediction = two_views
  same = jnp.concatenate([features[:N]] * 2)
  found = loss_of(crib(), *batch_of(same, prediction))[1]
  assert found["consistency"] == 0.0
  far = loss_of(crib(), *batch_of(features, prediction))[1]["consistency"]
  mean = np.asarray(features[:, :DIM]).reshape(2, N, DIM)
  np.testing.assert_allclose(far, np.mean((mean[0] - mean[1]) ** 2), rtol=1e-6)


def test_three_views_are_held_to_the_first(two_views):
  features = jax.random.normal(jax.random.key(7), (3 * N, 2 * DIM))
  outputs, batch = batch_of(features, jnp.zeros((3 * N, TARGETS)), views=3)
  found = loss_of(crib(), outputs, batch)[1]["consistency"]
  mean = np.asarray(features[:, :DIM]).reshape(3, N, DIM)
  expected = np.mean([np.mean((mean[0] - other) ** 2) for other in mean[1:]])
  np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("kept", [N, N - 2])
def test_without_weight_it_is_vib_of_the_first_view(two_views, kept):
  outputs, batch = batch_of(*two_views, mask=jnp.arange(N) < kept)
  loss, metrics = loss_of(crib(beta=0.3, consistency=0.0), outputs, batch)
  expected, plain = loss_of(vib(beta=0.3), *first_view(outputs, batch))
  np.testing.assert_allclose(loss, expected, rtol=1e-6)
  for name in ("distortion_nats", "rate_nats", "i_xz_upper_nats"):
    np.testing.assert_allclose(metrics[name], plain[name], rtol=1e-6, err_msg=name)


def test_the_rate_is_the_closed_form_kl(two_views):
  features, prediction = two_views
  outputs, batch = batch_of(features, prediction)
  mean, scale = (np.asarray(part[:N], np.float64) for part in jnp.split(features, 2, axis=-1))
  scale = np.log1p(np.exp(scale - 5.0))
  expected = np.mean(np.sum((mean**2 + scale**2 - 1) / 2 - np.log(scale), axis=-1))
  np.testing.assert_allclose(loss_of(crib(), outputs, batch)[1]["rate_nats"], expected, rtol=1e-5)


def test_only_consistency_moves_the_second_view(two_views):
  features, _ = two_views

  def loss(features, consistency):
    outputs, batch = batch_of(features, features @ jnp.ones((2 * DIM, TARGETS)))
    return combine(terms_of(crib(0.1, consistency), outputs, batch), batch["mask"])[0][0]

  slope = jax.jit(jax.grad(loss))
  alone, held = (slope(features, weight) for weight in (0.0, 2.0))
  assert not np.any(alone[N:]) and np.any(alone[:N])
  # d/dm of consistency |m - m'|^2 / d, averaged over N examples.
  mean = features[:, :DIM]
  expected = 2.0 * 2 * (mean[N:] - mean[:N]) / DIM / N
  np.testing.assert_allclose(held[N:, :DIM], expected, rtol=1e-4, atol=1e-7)


def test_a_view_misses_its_share_and_has_noise_elsewhere():
  x = jnp.ones((200, 30))
  view = np.asarray(mask_and_noise(missing=0.1, noise=0.05)(x, jax.random.key(0)))
  gone = view == 0
  assert abs(gone.mean() - 0.1) < 0.01
  assert abs(view[~gone].mean() - 1.0) < 0.005 and abs(view[~gone].std() - 0.05) < 0.005
  assert not np.array_equal(view, mask_and_noise()(x, jax.random.key(1)))


def test_the_first_view_may_be_the_input_itself():
  x = jax.random.normal(jax.random.key(0), (4, 6))
  views = dict(fn="ibjax.views.mask_and_noise:mask_and_noise", missing=0.5, count=3)
  both = make_views({"views": views}, {}, x, jax.random.key(1)).reshape(3, 4, 6)
  kept = make_views({"views": {**views, "keep_first": True}}, {}, x, jax.random.key(1))
  kept = kept.reshape(3, 4, 6)
  np.testing.assert_array_equal(kept[0], x)
  assert not np.array_equal(both[0], x)
  np.testing.assert_array_equal(kept[1:], both[1:])  # the others draw what they drew


@pytest.fixture(scope="module")
def encoder():
  model = patch_attention(patch=4, width=8, heads=2, out=3)
  x = jax.random.normal(jax.random.key(0), (1, 8, 3))
  params, state = jax.jit(model.init)(jax.random.key(1), x)
  apply = jax.jit(lambda params, x: model.apply(params, state, x, key=None, train=False)[0])
  return params, apply, x


def test_every_step_of_every_variate_counts(encoder):
  params, apply, x = encoder
  slope = jax.jacobian(lambda x: apply(params, x))(x)  # [1, 3, 1, 8, 3]
  assert np.all(np.abs(slope).sum(axis=(0, 1)) > 0)


def test_tokens_attend_to_other_variates(encoder):
  params, apply, x = encoder
  # The output reads the first token alone, a patch of the first variate.
  kernel = jnp.zeros_like(params["out"]["kernel"]).at[:8].set(params["out"]["kernel"][:8])
  one = {**params, "out": {**params["out"], "kernel": kernel}}
  moved = apply(one, x.at[:, 5, 2].add(1.0)) - apply(one, x)
  assert np.abs(moved).max() > 1e-4
  deaf = jax.tree.map(jnp.zeros_like, params["attention_0"])
  unmoved = apply({**one, "attention_0": deaf}, x.at[:, 5, 2].add(1.0))
  np.testing.assert_allclose(unmoved, apply({**one, "attention_0": deaf}, x), atol=1e-7)


def test_places_have_codes_of_their_own():
  code = np.asarray(sinusoids(40, 8))
  np.testing.assert_allclose(code[0], [0, 0, 0, 0, 1, 1, 1, 1], atol=1e-7)
  np.testing.assert_allclose(code[:, 0], np.sin(np.arange(40)), atol=1e-5)
  distances = np.linalg.norm(code[:, None] - code[None], axis=-1) + 9 * np.eye(40)
  assert distances.min() > 0.1


@pytest.mark.parametrize(
  ("given", "shape", "message"),
  [
    (dict(width=6, heads=4), (2, 8, 3), "width=6 is not a multiple of heads=4"),
    (dict(patch=3), (2, 8, 3), "multiple of patch=3"),
    (dict(patch=4), (2, 8), r"expected \[n, steps, variates\]"),
    (dict(patch=0), (2, 8, 3), "patch is 0"),
  ],
)
def test_series_that_do_not_fit_are_refused(given, shape, message):
  with pytest.raises(InputError, match=message):
    patch_attention(**given).init(jax.random.key(0), jnp.zeros(shape))
