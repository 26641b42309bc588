"""The convolution by patches against XLA's own, and images that go through a grid and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import InputError
from ibjax.models.conv_decoder import conv_decoder
from ibjax.models.conv_encoder import conv_encoder
from ibjax.models.convolution import Convolution


@pytest.mark.parametrize(
  ("kernel", "stride", "size"), [((4, 4), 2, 7), ((3, 3), 1, 5), ((1, 1), 1, 4)]
)
def test_a_convolution_by_patches_is_xla_s(kernel, stride, size):
  x = jax.random.normal(jax.random.key(0), (2, size, size + 1, 3))
  module = Convolution(5, kernel, stride, jnp.dtype("float32"))
  params = module.init(jax.random.key(1), x)["params"]
  params = {**params, "bias": jnp.arange(5.0)}

  def ours(k, x):
    return module.apply({"params": {**params, "kernel": k}}, x)

  def theirs(k, x):
    found = jax.lax.conv_general_dilated(
      x, k, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return found + params["bias"]

  given = (params["kernel"], x)
  np.testing.assert_allclose(ours(*given), theirs(*given), rtol=1e-4, atol=1e-4)
  grads = [
    jax.grad(lambda *a, f=f: jnp.sum(jnp.sin(f(*a))), (0, 1))(*given) for f in (ours, theirs)
  ]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *grads)


def test_a_place_of_the_code_speaks_of_its_part_of_the_image():
  """Position-major on both sides: what is far from a place does not reach it."""
  encoder = conv_encoder(channels=(4, 4), residual=0, out=2 * 2 * 3)
  x = jnp.zeros((1, 8, 8, 1))
  params, _ = encoder.init(jax.random.key(0), x)
  near = x.at[0, 7:, 7:].set(1.0)
  code = [
    encoder.apply(params, {}, one, key=None, train=False)[0].reshape(4, 3) for one in (x, near)
  ]
  change = np.abs(code[1] - code[0])
  assert np.all(change[0] == 0) and np.any(change[3] > 0)
  # Two kernels of 3 by 3: the last of 4 by 4 places moves what is at most two from it.
  decoder = conv_decoder(grid=(4, 4), channels=(4,), residual=0, out=64)
  z = jnp.zeros((1, 48))
  params, _ = decoder.init(jax.random.key(0), z)
  moved = decoder.apply(params, {}, z.at[0, 45:].set(1.0), key=None, train=False)[0]
  image = np.abs(moved - decoder.apply(params, {}, z, key=None, train=False)[0]).reshape(8, 8)
  assert np.all(image[:2] == 0) and np.all(image[:, :2] == 0) and image[6:, 6:].sum() > 0


@pytest.mark.parametrize(
  ("build", "message"),
  [
    (lambda k: conv_encoder(out=50).init(k, jnp.zeros((1, 28, 28, 1))), "positions=49"),
    (lambda k: conv_encoder().init(k, jnp.zeros((1, 28))), "reads images"),
    (lambda k: conv_decoder(grid=(7, 7)).init(k, jnp.zeros((1, 50))), "Both must be multiples"),
    (lambda k: conv_decoder(out=700).init(k, jnp.zeros((1, 49))), "to 784 pixels"),
  ],
)
def test_sizes_that_do_not_fit_are_explained(build, message):
  with pytest.raises(InputError, match=message):
    build(jax.random.key(0))
