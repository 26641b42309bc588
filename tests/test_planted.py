"""Planted dictionaries: what is drawn is what their description says, exactly."""

import numpy as np
import pytest

from ibjax.core.errors import ConfigError
from ibjax.data import source as source_lib
from ibjax.data.sources import planted

KINDS = {
  "superposition": "features=24,dim=12,l0=3,n=6000,n_test=500",
  "hierarchy": "features=24,dim=12,l0=3,n=6000,n_test=500,children=3,follow=0.7",
  "correlation": "features=24,dim=12,l0=3,n=6000,n_test=500,rank=2,rho=0.6,zipf=0.8",
}


def drawn(kind, extra="", split="train"):
  source = source_lib.load(f"planted:{kind}:{KINDS[kind]}{extra}")
  return source, source.splits[split].read(np.arange(source.splits[split].n))


@pytest.mark.parametrize("kind", KINDS)
def test_x_is_the_sum_of_the_true_directions(kind):
  source, found = drawn(kind, ",low=0.25")
  truth = planted.truth(planted.argument_of(f"autoencode:{source.name}"))
  np.testing.assert_allclose(np.linalg.norm(truth.dictionary, axis=1), 1.0, rtol=1e-6)
  np.testing.assert_allclose(found["x"], found["y"] @ truth.dictionary, atol=1e-5)
  active = found["y"] > 0
  assert found["y"].max() <= 1.0 and found["y"][active].min() >= 0.25
  # Each frequency within 4.5 standard deviations of its binomial: 72 comparisons in all.
  p = truth.probability
  far = np.abs(active.mean(axis=0) - p) / np.sqrt(p * (1 - p) / len(active))
  assert far.max() < 4.5 and truth.l0 == pytest.approx(3.0)


def test_a_child_never_comes_without_its_parent_nor_beside_another_child():
  source, found = drawn("hierarchy")
  truth = planted.truth(planted.argument_of(source.name))
  active = found["y"] > 0
  children = truth.parent >= 0
  assert children.sum() == 18 and active[:, children].any()
  assert (active[:, truth.parent[children]] | ~active[:, children]).all()
  families = active.reshape(len(active), 6, 4)
  assert families[..., 1:].sum(axis=-1).max() == 1
  followed = families[..., 1:].any(axis=-1).sum() / families[..., 0].sum()
  assert followed == pytest.approx(0.7, abs=0.02)


def test_correlated_features_are_active_together_as_the_loadings_say():
  found = drawn("correlation")[1]
  active = (found["y"] > 0).astype(float)
  correlation = np.corrcoef(active.T)
  loadings = np.random.default_rng([0, 3]).normal(size=(24, 2))
  loadings /= np.linalg.norm(loadings, axis=1, keepdims=True)
  alike = 0.6 * loadings @ loadings.T
  pairs = np.triu_indices(24, 1)
  # The correlation of two indicators rises with that of their Gaussians.
  assert np.corrcoef(alike[pairs], correlation[pairs])[0, 1] > 0.9
  independent = np.corrcoef((drawn("superposition")[1]["y"] > 0).T)
  assert np.abs(independent[pairs]).max() < 0.07 < np.abs(correlation[pairs]).max()


def test_seeds_share_the_dictionary_and_the_test_split_and_worlds_do_not():
  (_, a), (_, b) = drawn("superposition"), drawn("superposition", ",seed=1")
  assert not np.array_equal(a["x"], b["x"])
  (one, c), (two, d) = (drawn("superposition", f",seed={seed}", "test") for seed in (0, 1))
  np.testing.assert_array_equal(c["x"], d["x"])
  assert one.fingerprint != two.fingerprint
  first, second = (
    planted.truth(f"superposition:{KINDS['superposition']},world={w}") for w in (0, 1)
  )
  assert not np.array_equal(first.dictionary, second.dictionary)


def test_noise_is_of_the_given_deviation_and_autoencode_targets_x():
  (_, noisy), (_, clean) = drawn("superposition", ",noise=0.1"), drawn("superposition")
  assert (noisy["x"] - clean["x"]).std() == pytest.approx(0.1, rel=0.02)
  source = source_lib.load(f"autoencode:planted:superposition:{KINDS['superposition']}")
  some = source.splits["test"].read(np.arange(5))
  np.testing.assert_array_equal(some["x"], some["y"])
  assert source.target_dim == 12


@pytest.mark.parametrize(
  ("name", "match"),
  [
    ("superpositon", "Did you mean 'superposition'"),
    ("superposition:feature=3", "Did you mean 'features'"),
    ("hierarchy:features=10,children=3", "multiple of 4"),
    ("superposition:features=4,l0=9", "smaller l0"),
    ("correlation:rho=2", "in \\[0.0, 1.0\\]"),
  ],
)
def test_mistakes_are_explained(name, match):
  with pytest.raises(ConfigError, match=match):
    source_lib.load(f"planted:{name}")


def test_a_source_without_a_dictionary_says_so():
  with pytest.raises(ConfigError, match="no known dictionary"):
    planted.argument_of("mnist")
