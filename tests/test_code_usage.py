"""The arithmetic coder, what a code takes in bits, and the word that a code has collapsed."""

import jax.numpy as jnp
import numpy as np
import pytest

from ibjax.core.errors import ConfigError, DataError, InputError
from ibjax.core.types import Model
from ibjax.data.source import load
from ibjax.evaluators import arithmetic_coder as coder
from ibjax.evaluators.code_usage import code_usage, measure
from ibjax.models import mlp
from ibjax.train.collapse import collapsed
from tests.helpers import tiny_setup, train


@pytest.mark.parametrize("alphabet", [1, 2, 3, 64, 1000])
@pytest.mark.parametrize("skew", [0.0, 4.0])
def test_what_is_decoded_is_what_was_encoded_in_the_model_s_bits(alphabet, skew):
  draws = np.random.default_rng(alphabet)
  p = np.exp(-skew * np.arange(alphabet) / alphabet * 8)
  symbols = draws.choice(alphabet, size=(300, 5), p=p / p.sum())
  message = coder.encode(symbols, alphabet)
  np.testing.assert_array_equal(coder.decode(message, 300, 5, alphabet), symbols)
  assert 0 <= 8 * len(message) - coder.ideal_bits(symbols, alphabet) < 24


def test_the_ideal_length_is_the_product_of_the_model_s_probabilities():
  symbols = np.random.default_rng(0).integers(0, 4, (50, 2))
  bits = 0.0
  for column in symbols.T:
    counts = np.ones(4)
    for symbol in column:
      bits -= np.log2(counts[symbol] / counts.sum())
      counts[symbol] += 1
  np.testing.assert_allclose(coder.ideal_bits(symbols, 4), bits, rtol=1e-12)


def test_counts_that_grow_large_are_halved_on_both_sides(monkeypatch):
  monkeypatch.setattr(coder, "MOST", 64)
  symbols = np.random.default_rng(0).integers(0, 20, (400, 1)) ** 2 // 20
  message = coder.encode(symbols, 20)
  np.testing.assert_array_equal(coder.decode(message, 400, 1, 20), symbols)


def test_symbols_outside_the_alphabet_are_refused():
  with pytest.raises(InputError, match="the alphabet has 3"):
    coder.encode(np.array([[3]]), 3)


def test_bits_of_a_code_whose_entropy_is_known():
  """Two symbols that are always alike, of four, in shares 1/2, 1/4, 1/4, 0."""
  one = np.tile([0, 0, 1, 2], 2500)
  found = measure(np.stack([one, one], axis=1), 4, 2000)
  assert found["stored_bits"] == 4.0 and found["entropy_bits"] == pytest.approx(3.0)
  assert found["pooled_bits"] == pytest.approx(3.0)
  assert found["perplexity"] == pytest.approx(2**1.5)
  assert found["usage_frac"] == 0.75 and found["dead_codes"] == 1.0
  assert 3.0 < found["adaptive_bits"] < 3.01 < found["coded_bits"] < 3.05


def test_a_code_of_real_numbers_has_no_symbols():
  class Fake:
    def data(self, name, split):
      return {"x": np.zeros((2, 1))}

    def forward(self, x):
      return {"code": x}

  with pytest.raises(InputError, match="symbols of a discrete code"):
    code_usage()(Fake())


def constant(out=4, dtype="float32"):
  """An encoder that says the same of every input."""
  return Model(
    lambda key, x: ({"bias": jnp.ones(out)}, {}),
    lambda params, state, x, *, key, train: (jnp.tile(params["bias"], (len(x), 1)), state),
  )


def test_a_collapsed_codebook_is_told_once_while_the_run_goes_on(tmp_path, capfd, monkeypatch):
  monkeypatch.setattr(mlp, "constant", constant, raising=False)
  setup = tiny_setup(
    encoder=dict(fn="ibjax.models.mlp:constant"),
    bottleneck=dict(fn="ibjax.bottlenecks.vq:vq", dim=4, codes=8, start="normal"),
    objective=dict(fn="ibjax.objectives.wrappers.quantised:quantised"),
    train__duration="4 steps",
    train__log_every="2 steps",
    eval__every="4 steps",
  )
  lines = train(setup, tmp_path)
  perplexity = [line["code_perplexity"] for line in lines if line["split"] == "train"]
  np.testing.assert_allclose(perplexity, 1.0, rtol=1e-5)
  said = capfd.readouterr().err
  assert said.count("the code has collapsed") == 1 and "warning: at step 2" in said


def test_what_counts_as_a_collapse():
  found = collapsed({"code_perplexity": np.array([1.0, 50.0]), "dead_latents_frac": 0.99})
  assert "1 of 2 members" in found["code_perplexity"] and "99.0%" in found["dead_latents_frac"]
  assert not collapsed({"code_perplexity": np.nan, "loss_nats": 1.0})


def test_fashion_mnist_says_what_it_needs(tmp_path):
  with pytest.raises(DataError, match="Put train-images-idx3-ubyte.gz"):
    load("fashion_mnist", tmp_path)
  (tmp_path / "fashion_mnist").mkdir()
  with pytest.raises(DataError, match="cannot read .*train-images"):
    load("fashion_mnist", tmp_path)
  with pytest.raises((ConfigError, DataError), match="there is no"):
    load("fashion_mnist:elsewhere", tmp_path)
