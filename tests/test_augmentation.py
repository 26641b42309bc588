"""Augmented views: what each strength does, and what none of them touches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.bottlenecks.projection import projection
from ibjax.core.errors import InputError
from ibjax.views.gaussian_noise import gaussian_noise
from ibjax.views.image_augmentation import image_augmentation

OFF = dict(shift=0.0, zoom=0.0, stretch=0.0, contrast=0.0, brightness=0.0, noise=0.0)
KEY = jax.random.key(7)


@jax.jit
def augmented(x, key, strengths):
  """The strengths are traced, so that all tests share one program for each shape."""
  return image_augmentation(**strengths)(x, key)


def view(x, key=KEY, **strengths):
  every = dict(OFF, flip=0.0, erase=0.0, low=-1.0, high=1.0) | strengths
  return np.asarray(augmented(x, key, {k: jnp.float32(v) for k, v in every.items()}))


def spots(n=400, side=8):
  """Images of one bright spot on the dark, in the middle but for half a pixel."""
  x = -np.ones((n, side, side, 1), np.float32)
  x[:, side // 2, side // 2] = 1.0
  return x


def places(images):
  """Centre of what is bright, [n, 2] in pixels."""
  light = images[..., 0] + 1.0
  axes = np.arange(images.shape[1])
  total = light.sum((1, 2))
  return np.stack([light.sum(2) @ axes, light.sum(1) @ axes], -1) / total[:, None]


def test_a_key_gives_one_view_and_another_key_another():
  x = np.float32(np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1)))
  strengths = dict(shift=0.2, zoom=0.3, stretch=0.1, contrast=0.3, noise=0.1, erase=0.4)
  first = view(x, **strengths)
  np.testing.assert_array_equal(first, view(x, **strengths))
  assert np.abs(first - view(x, jax.random.key(8), **strengths)).max() > 0.1
  assert first.min() >= -1.0 and first.max() <= 1.0
  assert np.abs(first[0] - first[1]).max() > 0.1  # each image has its own


def test_shift_moves_uniformly_up_to_its_strength_in_both_directions():
  moved = places(view(spots(), shift=0.25)) - 4.0
  assert np.all(np.abs(moved) <= 2.0 + 1e-3) and np.all(np.abs(moved).max(0) > 1.8)
  np.testing.assert_allclose(moved.std(0), 2.0 / np.sqrt(3.0), rtol=0.1)
  assert abs(np.corrcoef(moved.T)[0, 1]) < 0.15


def test_zoom_scales_both_sides_alike_and_stretch_one_against_the_other():
  bars = -np.ones((200, 40, 40, 1), np.float32)
  bars[:, 8:32, 8:32] = 1.0  # a square about the centre
  for strength, sign in ((dict(zoom=0.3), 1.0), (dict(stretch=0.3), -1.0)):
    light = view(bars, **strength)[..., 0] + 1.0
    height, width = light[:, :, 20].sum(1) / 2.0, light[:, 20, :].sum(1) / 2.0
    assert np.corrcoef(np.log(height), sign * np.log(width))[0, 1] > 0.99
    # 24 pixels read at exp(u) apart are 24 exp(-u) wide.
    assert abs(np.abs(np.log(height / 24.0)).max() - 0.3) < 0.03


def test_flip_mirrors_the_width_with_its_probability():
  x = -np.ones((1000, 8, 8, 1), np.float32)
  x[:, 2, 1] = 1.0
  found = places(view(x, flip=0.3))
  np.testing.assert_allclose(found[:, 0], 2.0, atol=1e-5)
  mirrored = np.abs(found[:, 1] - 6.0) < 1e-5
  assert np.all(mirrored | (np.abs(found[:, 1] - 1.0) < 1e-5))
  assert abs(mirrored.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1000)


def test_erase_hides_a_rectangle_of_the_background():
  lit = np.ones((500, 16, 16, 1), np.float32)
  hidden = view(lit, erase=0.5)[..., 0] == -1.0
  rows, columns = hidden.any(2), hidden.any(1)
  np.testing.assert_array_equal(hidden, rows[:, :, None] & columns[:, None, :])
  assert rows.sum(1).max() <= 8 and columns.sum(1).max() <= 8 and hidden.any((1, 2)).mean() > 0.7


def test_intensities_change_about_the_mean_and_stay_in_range():
  x = np.float32(np.random.default_rng(0).uniform(-0.5, 0.5, (100, 8, 8, 1)))
  dimmed = view(x, contrast=0.4)
  np.testing.assert_allclose(dimmed.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5)
  ratio = dimmed.std((1, 2, 3)) / x.std((1, 2, 3))
  assert 0.6 <= ratio.min() < 0.65 and 1.35 < ratio.max() <= 1.4 + 1e-5
  lighter = view(x, brightness=0.1) - x
  np.testing.assert_allclose(lighter.std((1, 2, 3)), 0.0, atol=1e-6)
  assert 0.19 < np.abs(lighter).max() <= 0.2 + 1e-6
  np.testing.assert_allclose((view(x, noise=0.05) - x).std(), 0.1, rtol=0.03)
  assert np.all(np.abs(view(x, noise=5.0)) <= 1.0)


def test_images_without_and_with_channels_are_augmented_alike():
  x = np.float32(np.random.default_rng(0).uniform(-1, 1, (3, 8, 8)))
  one = view(x, shift=0.2, zoom=0.2)
  three = view(np.repeat(x[..., None], 3, axis=-1), shift=0.2, zoom=0.2)
  for channel in range(3):
    np.testing.assert_allclose(three[..., channel], one, atol=1e-6)
  with pytest.raises(InputError, match=r"shape \[5\].*gaussian_noise"):
    image_augmentation()(jnp.zeros((2, 5)), KEY)


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    (dict(erase=1.5), "erase is 1.5"),
    (dict(shift=-1.0), "shift is -1"),
    (dict(high=-1.0), "high is -1, expected a number greater than -1"),
  ],
)
def test_strengths_out_of_range_are_refused(wrong, message):
  with pytest.raises(InputError, match=message):
    image_augmentation(**wrong)


def test_noise_has_its_scale_and_is_independent():
  found = np.asarray(gaussian_noise(0.3)(jnp.ones((2000, 4)), KEY)) - 1.0
  np.testing.assert_allclose(np.cov(found.T), 0.09 * np.eye(4), atol=0.01)


def test_a_projection_is_a_network_of_the_code():
  channel = projection(dim=3, hidden=(5,), out=2)
  params, state = channel.init(KEY)
  params = jax.tree.map(lambda p: p + 0.1, params)
  x = jax.random.normal(KEY, (4, 3))
  code, _ = channel.apply(params, state, x, key=None, train=True)
  (a, b) = params
  hidden = np.maximum(np.asarray(x) @ a["kernel"] + a["bias"], 0.0)
  np.testing.assert_allclose(code.aux["projection"], hidden @ b["kernel"] + b["bias"], rtol=1e-5)
  assert code.rate is None
