"""Couplings and entropy-bounded codes: against enumeration, bounds, limits and a free search."""

import itertools

import numpy as np
import pytest
from scipy import optimize

from ibjax.core.errors import InputError
from ibjax.exact import entropy_bounded_information as ebim
from ibjax.exact import entropy_coupling as ec
from ibjax.exact.coupling_bottleneck import coupling_bottleneck

BIT = np.log(2)


def draws(*sizes, count=20, seed=0):
  """Distributions proportional to |N(0, 1)|."""
  rng = np.random.default_rng(seed)
  for _ in range(count):
    found = [np.abs(rng.normal(size=size)) for size in sizes]
    yield [p / p.sum() for p in found]


# Couplings.


@pytest.mark.parametrize("couple", [ec.independent, ec.max_seeking, ec.zero_seeking, ec.exact])
def test_couplings_have_the_marginals_they_were_given(couple):
  for p, q in draws(4, 3, count=5):
    joint = couple(p, q)
    np.testing.assert_allclose(joint.sum(1), p, atol=1e-14)
    np.testing.assert_allclose(joint.sum(0), q, atol=1e-14)
    assert np.all(joint >= 0)


@pytest.mark.parametrize("couple", [ec.max_seeking, ec.zero_seeking])
def test_greedy_couplings_are_between_the_least_entropy_and_a_bit_more(couple):
  above = []
  for p, q in draws(4, 3):
    least = ec.entropy(ec.exact(p, q))
    assert ec.lower_bound(p, q) <= least + 1e-12
    assert max(ec.entropy(p), ec.entropy(q)) <= ec.lower_bound(p, q) + 1e-12
    found = ec.entropy(couple(p, q))
    assert least - 1e-12 <= found < least + BIT
    above.append(found - least)
  assert np.mean(above) < 0.05  # nats


def test_enumerated_vertices_find_what_linear_programs_find():
  # Another route to vertices: every linear program ends at one; many random ones visit them all.
  rng = np.random.default_rng(1)
  ((p, q),) = draws(3, 3, count=1)
  rows = [np.kron(np.eye(3)[i], np.ones(3)) for i in range(3)]
  columns = [np.tile(np.eye(3)[j], 3) for j in range(3)]
  solved = [
    optimize.linprog(rng.normal(size=9), A_eq=np.array(rows + columns), b_eq=np.append(p, q)).x
    for _ in range(200)
  ]
  assert min(map(ec.entropy, solved)) == pytest.approx(ec.entropy(ec.exact(p, q)), abs=1e-9)


def test_equal_marginals_are_coupled_one_to_one():
  p = np.array([0.4, 0.3, 0.2, 0.1])
  for couple in (ec.max_seeking, ec.zero_seeking, ec.exact):
    assert ec.entropy(couple(p, p[::-1])) == pytest.approx(ec.entropy(p), abs=1e-12)


def test_three_marginals_are_coupled_by_the_same_rule():
  (p, q, r) = next(draws(5, 4, 3))
  joint = ec.max_seeking(p, q, r)
  for axes, wanted in (((1, 2), p), ((0, 2), q), ((0, 1), r)):
    np.testing.assert_allclose(joint.sum(axes), wanted, atol=1e-14)
  assert np.count_nonzero(joint) <= 5 + 4 + 3 - 2
  assert ec.entropy(joint) < ec.entropy(p) + ec.entropy(q) + ec.entropy(r)


def test_the_published_entropies_of_couplings():
  # Ebrahimi et al. 2024, table 1; sizes and law of the marginals are inferred.
  entropies = np.array(
    [
      [ec.entropy(couple(p, q)) for couple in (ec.independent, ec.max_seeking, ec.zero_seeking)]
      for p, q in draws(20, 20, count=400)
    ]
  )
  np.testing.assert_allclose(entropies.mean(0), [5.443, 2.946, 2.937], atol=0.02)


# Codes.


def search(p_x, rate, letters, seed):
  """The most information that a search over all channels finds within H(T) <= rate."""
  n, rng = len(p_x), np.random.default_rng(seed)

  def joint(free):
    odds = np.exp(free.reshape(n, letters))
    return p_x[:, None] * odds / odds.sum(1, keepdims=True)

  limit = {"type": "ineq", "fun": lambda free: rate - ec.entropy(joint(free).sum(0))}
  best = 0.0
  for _ in range(12):
    found = optimize.minimize(
      lambda free: -ec.information(joint(free)),
      4 * rng.normal(size=n * letters),
      constraints=[limit],
      bounds=[(-25, 25)] * (n * letters),
      method="SLSQP",
    ).x
    if ec.entropy(joint(found).sum(0)) <= rate + 1e-6:
      best = max(best, ec.information(joint(found)))
  return best


@pytest.mark.parametrize("rate", [0.2, 0.45, 0.6, 0.75])
def test_no_channel_found_by_a_search_beats_the_best_split(rate):
  p_x = np.array([0.7, 0.2, 0.1])
  code = ebim.exact(p_x, rate)
  assert code.rate_nats <= rate + 1e-9
  found = search(p_x, rate, 3, seed=int(100 * rate))
  assert found <= code.information_nats + 1e-4
  assert found > 0.5 * code.information_nats  # the search did find codes


def test_greedy_codes_are_within_the_stated_gap_of_the_best():
  for number, (p_x,) in enumerate(draws(5, count=4)):
    second = np.sort(p_x)[-2]
    gap = ec.entropy([second, 1 - second])
    for rate in np.linspace(0.05, 0.95, 4) * ec.entropy(p_x):
      best = ebim.exact(p_x, rate)
      plain, split = ebim.greedy(p_x, rate, split=False), ebim.greedy(p_x, rate)
      assert plain.rate_nats <= rate + 1e-9 and split.rate_nats <= rate + 1e-9
      assert plain.information_nats == pytest.approx(plain.rate_nats, abs=1e-12)  # deterministic
      assert rate - gap <= plain.information_nats <= split.information_nats
      assert split.information_nats <= best.information_nats + 1e-9 <= rate + 2e-9, number
      np.testing.assert_allclose(split.joint.sum(1), p_x, atol=1e-14)


def test_next_to_a_map_the_best_split_is_of_the_cell_with_the_least_share():
  # What theorem 3 says, against all splits, a little above and below the map's entropy.
  p_x = np.array([0.35, 0.25, 0.22, 0.18])  # the least cell is not the one of least share
  joint = np.zeros((4, 2))
  joint[[0, 1, 2, 3], [0, 0, 1, 1]] = p_x
  entropy = ec.entropy(joint.sum(0))
  for rate in (entropy + 1e-3, entropy - 1e-3):
    # The other end of a split is another map; only what lies near this one counts.
    best = {}
    for moves in (ebim._near, ebim.splits):
      moved = list(ebim._at_rate(moves(joint), rate))
      near = [one for one in moved if np.abs(one[:, :2] - joint).max() < 0.01]
      best[moves] = max(map(ec.information, near))
    assert best[ebim._near] == pytest.approx(best[ebim.splits], abs=1e-12)


def test_partitions_are_as_many_as_bells_numbers():
  assert [len(list(ebim.partitions(n))) for n in range(1, 7)] == [1, 2, 5, 15, 52, 203]
  assert len({tuple(labels) for labels in ebim.partitions(5)}) == 52


def test_limits_of_the_rate():
  p_x = np.array([0.4, 0.3, 0.2, 0.1])
  for encode in (ebim.greedy, ebim.exact, ebim.uniform_quantizer):
    assert encode(p_x, 0.0).information_nats == pytest.approx(0.0, abs=1e-12)
    assert encode(p_x, np.inf).information_nats == pytest.approx(ec.entropy(p_x))
  short = ebim.greedy(np.full(2, 0.5), 0.5 * BIT, split=False)  # only 0 and 1 bit can be reached
  assert short.rate_nats == 0.0 and short.shortfall_nats == pytest.approx(0.5 * BIT)
  assert ebim.greedy(np.full(2, 0.5), 0.5 * BIT).rate_nats == pytest.approx(0.5 * BIT)


def test_at_equal_information_the_greedy_code_tells_more_letters_apart_than_equal_bins():
  p_x = np.full(64, 1 / 64)
  greedy, bins = ebim.greedy(p_x, 3 * BIT, split=False), ebim.uniform_quantizer(p_x, 3 * BIT)
  assert bins.joint.shape[1] == 8 and bins.rate_nats == pytest.approx(3 * BIT)
  assert greedy.information_nats > 2.95 * BIT
  assert greedy.joint.shape[1] > 16


# The chain.


def test_the_chain_has_the_prescribed_marginal_and_loses_information_step_by_step():
  for p_x, p_y in draws(12, 7, count=4):
    last = 0.0
    for rate in (0.0, 0.4, 0.8, 1.6, np.inf):
      chain = coupling_bottleneck(p_x, p_y, rate)
      np.testing.assert_allclose(chain.joint.sum(0), p_y, atol=1e-14)
      np.testing.assert_allclose(chain.joint.sum(1), p_x, atol=1e-14)
      kept = min(chain.code.information_nats, ec.information(chain.decoder))
      assert chain.information_nats <= kept + 1e-12
      assert chain.information_nats <= chain.ceiling_nats + 1e-9
      last = max(last, chain.information_nats)
    assert chain.information_nats == pytest.approx(last)  # no limit: the most
    np.testing.assert_allclose(chain.joint, ec.max_seeking(p_x, p_y), atol=1e-14)


def test_a_chain_of_tiny_alphabets_against_every_pair_of_a_map_and_a_coupling():
  p_x, p_y, rate = np.array([0.5, 0.3, 0.2]), np.array([0.6, 0.4]), 0.65
  best = 0.0
  for labels in ebim.partitions(3):
    p_t = np.bincount(labels, p_x)
    if ec.entropy(p_t) <= rate:
      encoder = np.zeros((3, len(p_t)))
      encoder[np.arange(3), labels] = 1.0
      joints = [ec.exact(p_t, p_y), ec.independent(p_t, p_y)]
      best = max(
        [best, *(ec.information((p_x / p_t[labels])[:, None] * encoder @ j) for j in joints)]
      )
  found = coupling_bottleneck(p_x, p_y, rate, encode=ebim.exact, couple=ec.exact)
  assert best - 1e-9 <= found.information_nats <= found.ceiling_nats


# Bad input.


@pytest.mark.parametrize(
  ("p", "message"),
  [
    ([0.5, 0.6], "sums to 1.1, expected 1"),
    ([1.5, -0.5], "holds -0.5"),
    ([np.nan, 1.0], "holds nan"),
    ([[0.5, 0.5]], r"shape \[1, 2\], expected \[n\]"),
    ([], r"shape \[0\]"),
  ],
)
def test_what_is_no_distribution_is_refused(p, message):
  calls = [
    lambda: ec.max_seeking(p, [1.0]),
    lambda: ec.zero_seeking([1.0], p),
    lambda: ec.independent(p, [1.0]),
    lambda: ebim.greedy(p, 1.0),
    lambda: coupling_bottleneck([0.5, 0.5], p, 1.0),
  ]
  for call in calls:
    with pytest.raises(InputError, match=message):
      call()


@pytest.mark.parametrize("encode", [ebim.greedy, ebim.exact, ebim.uniform_quantizer])
@pytest.mark.parametrize("rate", [-0.1, np.nan])
def test_a_rate_below_zero_is_refused(encode, rate):
  with pytest.raises(InputError, match="at least 0 nats"):
    encode([0.5, 0.5], rate)


def test_what_is_too_large_to_enumerate_names_the_greedy_way():
  with pytest.raises(InputError, match="use greedy"):
    ebim.exact(np.full(9, 1 / 9), 1.0)
  with pytest.raises(InputError, match="use max_seeking"):
    ec.exact(np.full(5, 0.2), np.full(5, 0.2))
  with pytest.raises(InputError, match="at least 2"):
    ec.max_seeking([1.0])


def test_letters_without_mass_change_nothing():
  p_x, wide = np.array([0.5, 0.3, 0.2]), np.array([0.5, 0.0, 0.3, 0.2])
  for rate, encode in itertools.product((0.4, 0.9), (ebim.greedy, ebim.exact)):
    found, plain = encode(wide, rate), encode(p_x, rate)
    assert found.information_nats == pytest.approx(plain.information_nats, abs=1e-9)
    assert np.all(found.joint.sum(0) > 0)
    np.testing.assert_allclose(found.channel.sum(1), 1.0)
