"""Collapse thresholds of linear autoencoders: closed forms against descent on exact losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ibjax.exact.linear_vae import conditional_theta, hierarchical_vae, linear_vae

STEPS = 6000


def descend(loss, params):
  """Adam with a falling rate, in float64, on a loss without noise."""
  optimizer = optax.adam(optax.cosine_decay_schedule(0.03, STEPS))

  @jax.jit
  def run(params):
    def step(carry, _):
      params, state = carry
      updates, state = optimizer.update(jax.grad(loss)(params), state)
      return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), None, length=STEPS)[0][0]

  return jax.device_get(run(params))


def start(seed, **shapes):
  rng = np.random.default_rng(seed)
  return {name: jnp.asarray(0.3 * rng.normal(size=shape)) for name, shape in shapes.items()}


def rotation(seed, n):
  return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def autoencoder(params, moment, cross, c, beta, h, scale=None):
  """The expected loss of a latent of v ~ (0, moment), with y v' = cross; without constants."""
  u, w = params["u"], params["w"]
  variance = jnp.exp(2.0 * params["log_scale"]) if scale is None else jnp.square(scale)
  second = w @ moment @ w.T + jnp.diag(variance)
  error = jnp.trace(u @ second @ u.T) - 2.0 * jnp.trace(u @ w @ cross.T)
  rate = jnp.trace(second) / h**2 - jnp.sum(jnp.log(variance))
  return 0.5 * error / c**2 + 0.5 * beta * rate


def values(matrix):
  return np.linalg.svd(matrix, compute_uv=False)


@pytest.fixture
def x64():
  with jax.enable_x64(True):
    yield


THETA = np.sqrt([4.0, 2.5, 1.7, 1.2, 0.5])


def test_the_worked_example():
  found = linear_vae(THETA, beta=2.0)
  np.testing.assert_allclose(found.decoder, [np.sqrt(2), np.sqrt(0.5), 0, 0, 0], atol=1e-12)
  np.testing.assert_allclose(found.scale, [0.70711, 0.89443, 1, 1, 1], atol=1e-5)
  np.testing.assert_array_equal(found.collapsed, [False, False, True, True, True])
  # Reverse water-filling: an active direction keeps an error of beta c^2.
  np.testing.assert_allclose(THETA**2 - found.gain, np.minimum(THETA**2, 2.0))
  np.testing.assert_allclose(found.rate_nats, 0.5 * np.log(np.maximum(THETA**2 / 2.0, 1.0)))


@pytest.mark.parametrize(("beta", "c", "h"), [(2.0, 1.0, 1.0), (1.5, 0.7, 1.6)])
def test_learned_noise_meets_the_closed_form(x64, beta, c, h):
  # Directions 2% below and above the threshold among them.
  price = np.sqrt(beta) * c
  theta = price * np.array([2.0, 1.3, 1.02, 0.98, 0.5])
  cross = rotation(1, 5) @ np.diag(theta) @ rotation(2, 5).T
  loss = functools.partial(autoencoder, moment=jnp.eye(5), cross=cross, c=c, beta=beta, h=h)
  found = descend(loss, start(0, u=(5, 5), w=(5, 5), log_scale=5))
  exact = linear_vae(theta, beta, c, h)
  np.testing.assert_allclose(values(found["u"]), exact.decoder, rtol=0.02, atol=0.01 / h)
  np.testing.assert_allclose(
    values(found["w"]), np.sort(exact.encoder)[::-1], rtol=0.02, atol=0.01 * h
  )
  np.testing.assert_allclose(np.sort(np.exp(found["log_scale"])), exact.scale, rtol=0.02)
  np.testing.assert_array_equal(exact.collapsed, [False, False, False, True, True])


def test_fixed_noise_meets_the_closed_form(x64):
  scale, beta, c, h = 0.8, 1.5, 0.9, 1.2
  theta = np.array([3.0, 1.2, 0.5])
  cross = rotation(1, 3) @ np.diag(theta) @ rotation(2, 3).T
  loss = functools.partial(
    autoencoder, moment=jnp.eye(3), cross=cross, c=c, beta=beta, h=h, scale=scale * jnp.ones(3)
  )
  found = descend(loss, start(0, u=(3, 3), w=(3, 3)))
  exact = linear_vae(theta, beta, c, h, scale=np.full(3, scale))
  np.testing.assert_allclose(values(found["u"]), exact.decoder, rtol=0.01, atol=1e-3)
  np.testing.assert_allclose(values(found["w"]), exact.encoder, rtol=0.01, atol=1e-3)
  np.testing.assert_array_equal(exact.collapsed, [False, False, True])


def test_a_conditional_model_collapses_by_what_the_condition_leaves(x64):
  beta, c, dx, dy = 2.0, 0.8, 3, 4
  rng = np.random.default_rng(0)
  to_y, root = rng.normal(size=(dy, dx)), rotation(3, dy)
  # What is left of y: eigenvalues 2% above and below beta c^2 among them.
  left = root @ np.diag(beta * c**2 * np.array([3.0, 1.02**2, 0.98**2, 0.3])) @ root.T
  cov_x = np.diag([1.0, 0.5, 2.0])
  cov_xy = cov_x @ to_y.T
  cov_y = to_y @ cov_x @ to_y.T + left
  exact = linear_vae(conditional_theta(cov_x, cov_xy, cov_y), beta, c)

  moment = jnp.asarray(np.block([[cov_x, cov_xy], [cov_xy.T, cov_y]]))
  below = jnp.concatenate([jnp.asarray(cov_xy.T), jnp.asarray(cov_y)], axis=1)  # E[y (x, y)']

  def loss(params):
    """The decoder is U_1 z + U_2 x, the encoder sees both x and y."""
    u, w, direct = params["u"], params["w"], params["direct"]
    variance = jnp.exp(2.0 * params["log_scale"])
    second = w @ moment @ w.T + jnp.diag(variance)
    joint = w @ moment[:, :dx]  # E[z x']
    error = jnp.trace(u @ second @ u.T) + jnp.trace(direct @ cov_x @ direct.T)
    error += 2.0 * jnp.trace(u @ joint @ direct.T)
    error -= 2.0 * jnp.trace(u @ w @ below.T) + 2.0 * jnp.trace(direct @ cov_xy)
    rate = jnp.trace(second) - jnp.sum(jnp.log(variance))
    return 0.5 * error / c**2 + 0.5 * beta * rate

  found = descend(loss, start(0, u=(dy, dy), w=(dy, dx + dy), direct=(dy, dx), log_scale=dy))
  np.testing.assert_allclose(values(found["u"]), exact.decoder, rtol=0.02, atol=0.01)
  np.testing.assert_allclose(np.sort(np.exp(found["log_scale"])), exact.scale, rtol=0.02)
  np.testing.assert_array_equal(exact.collapsed, [False, False, True, True])


@pytest.mark.parametrize(
  ("s", "beta_1", "beta_2", "c", "t", "h", "counts"),
  [
    (1.0, 1.0, 2.0, 1.0, 1.0, 1.0, (1, 2)),
    (0.5, 0.6, 1.2, 0.7, 0.7, 1.3, (1, 3)),
    (1.2, 1.0, 0.7, 0.6, 1.1, 1.0, (1, 0)),
  ],
)
def test_two_levels_meet_the_closed_form(x64, s, beta_1, beta_2, c, t, h, counts):
  theta = c * np.sqrt(max(beta_2, 0.5)) * np.array([3.0, 1.6, 1.1, 0.4])
  cross = rotation(1, 4) @ np.diag(theta) @ rotation(2, 4).T

  def loss(params):
    first = params["w"] @ params["w"].T + s**2 * jnp.eye(4)
    error = jnp.trace(params["u"] @ first @ params["u"].T)
    error -= 2.0 * jnp.trace(params["u"] @ params["w"] @ cross.T)
    upper = {name: params[f"{name}_2"] for name in ("u", "w", "log_scale")}
    # The second level autoencodes z_1; its error is what the first latent pays.
    second = autoencoder(upper, first, first, t, beta_2 / beta_1, h)
    return 0.5 * error / c**2 + beta_1 * (second + 0.5 * jnp.trace(first) / t**2)

  shapes = dict(u=(4, 4), w=(4, 4), u_2=(4, 4), w_2=(4, 4), log_scale_2=4)
  found = descend(loss, start(0, **shapes))
  exact = hierarchical_vae(theta, s, beta_1, beta_2, c, t, h)
  for name, expected in (
    ("u", exact.decoder),
    ("w", exact.encoder),
    ("u_2", exact.upper_decoder),
  ):
    np.testing.assert_allclose(
      values(found[name]), np.sort(expected)[::-1], rtol=0.02, atol=0.02, err_msg=name
    )
  found_scale = np.sort(np.exp(found["log_scale_2"]))
  np.testing.assert_allclose(found_scale, np.sort(exact.upper_scale), rtol=0.02)
  assert (exact.collapsed.sum(), exact.upper_collapsed.sum()) == counts


def test_bad_input_is_explained():
  with pytest.raises(ValueError, match="beta=0 must be positive"):
    linear_vae(THETA, beta=0.0)
  with pytest.raises(ValueError, match="not negative"):
    hierarchical_vae([-1.0])
  with pytest.raises(ValueError, match="must be positive"):
    linear_vae(THETA, scale=np.zeros(5))
