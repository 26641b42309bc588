"""What is tracked of a language model, and that it starts from noise."""

import numpy as np
import pytest

from ibjax.core.errors import ConfigError
from tests.helpers import tiny_setup, train

LATENT = "configs/language/latent_attention_shakespeare.py"
TINY = dict(plane__points=2, train__duration="4 steps", plane__examples=8)


def test_a_run_tracks_its_spectra_and_its_last_layer(tmp_path):
  train(tiny_setup(path=LATENT, **TINY), tmp_path / "tracked")
  with np.load(tmp_path / "tracked" / "plane.npz") as found:
    step = found["step"].tolist()
    values = dict(zip(found["names"].tolist(), found["values"].T))
  assert step == [0, 1, 4]
  assert len({name.split("/")[1] for name in values if name.startswith("query_key")}) == 2
  for block in (0, 1):
    # At the start there is noise alone; its variance is that of the initial weights, 1 / width.
    assert values[f"query/block_{block}/variance"][0] == pytest.approx(1 / 16, rel=0.5)
    assert values[f"query_key/block_{block}/distance"][0] < 0.5
    assert 1 <= values[f"query_key/block_{block}/stable_rank"][0] <= 10
  # Width 16, 11 tokens: the narrower of the two is the rank of the logits.
  assert values["head/logit_rank"].tolist() == [11.0] * 3
  assert np.all(values["head/hidden_rank"] <= 16)


@pytest.mark.parametrize(
  ("override", "said"),
  [
    (dict(plane__examples=0), "examples=0"),
    (dict(plane__rank_examples=0), "rank_examples=0"),
    (dict(train__remat=True), "remat"),
  ],
)
def test_what_cannot_be_tracked_is_said(override, said):
  with pytest.raises(ConfigError, match=said):
    tiny_setup(path=LATENT, **{**TINY, **override})
