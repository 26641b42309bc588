"""The table of codes: what it tells of a model whose codes are known, and how a page shows it."""

import json

import numpy as np
import pytest

from ibjax.core.errors import InputError, WorkdirError
from ibjax.core.types import Trained
from ibjax.evaluators.code_table import code_table
from ibjax.report import codes

NAMES = ("a", "b", "<", "\n")


def known_model(folder, rows=6, window=20):
  """Code c fires at token c, and the model then says c + 1, whatever the token: as it is told."""
  x = np.resize(np.arange(4), (rows + 1, window)).astype(np.int32)
  y = (x + 1) % 4
  x[rows, 1:], y[rows] = 0, -1  # the text ends there

  def state(tokens, on):
    here = np.array(tokens)[:, :, None, None]
    forced = (on or {}).get("mlp")
    return here if forced is None else np.where(forced >= 0, forced, here)

  def read(tokens, on=None, off=None, refill=True):
    chosen = state(tokens, on)
    return {
      "logits": np.log(np.eye(4)[(chosen[:, :, 0, 0] + 1) % 4] + 1e-9),
      "indices": {"mlp": chosen},
    }

  def generate(prompt, length, seed, temperature, on):
    tokens = np.array(prompt)
    for t in range(prompt.shape[1] - 1, length - 1):
      now = np.where(on["mlp"][:, t, 0, 0] >= 0, on["mlp"][:, t, 0, 0], tokens[:, t])
      tokens = np.concatenate([tokens, (now[:, None] + 1) % 4], axis=1)
    return tokens

  return Trained(
    data=lambda name, split: {"x": x, "y": y},
    forward=None,
    gradient=None,
    value_range=None,
    num_classes=4,
    label_probs=np.full(4, 0.25),
    seed=0,
    config={},
    params={"bottleneck": {"mlp": {"codebook": np.zeros((1, 8, 2))}}},
    functions={"read": read, "generate": generate},
    names=NAMES,
    folder=folder,
  )


def test_codes_of_a_known_model_are_told_and_shown(tmp_path):
  found = code_table(rows=3, windows=9, length=14)(known_model(tmp_path))
  assert found["token_purity"] == found["next_purity"] == 1.0
  assert found["used_frac"] == 0.5
  assert found["js_before_nats"] > 0.2 and found["js_after_nats"] < 1e-6
  told = json.loads((tmp_path / "codes.json").read_text())
  assert told["prompt"] == "ab<\nab<\nab" and told["free"] == "<\nab"
  assert len(told["codes"]) == 3
  for row in told["codes"]:
    own, next_ = NAMES[row["code"]], NAMES[(row["code"] + 1) % 4]
    assert row["tokens"] == [[own, 1.0]] and row["next"] == [[next_, 1.0]]
    assert all(at == own and behind[:1] in (next_, "") for _, at, behind in row["contexts"])
    assert row["steered"] == next_ * 4
    assert row["fires_frac"] == 0.25
  shown = codes.section(tmp_path)
  assert shown.count("<tr>") == 4 and "&lt;" in shown
  assert "\N{RETURN SYMBOL}" in shown and "<mark>" in shown


def test_codes_that_fire_too_rarely_are_left_out_and_their_divergence_is_no_number(tmp_path):
  found = code_table(windows=2, length=14)(known_model(tmp_path))  # each fires at 10 tokens
  assert np.isnan([found["js_before_nats"], found["js_after_nats"]]).all()
  assert found["token_purity"] == 1.0
  told = json.loads((tmp_path / "codes.json").read_text())
  assert told["codes"] == [] and told["free"] == "<\nab"
  assert codes.section(tmp_path).count("<tr>") == 1


def test_short_samples_and_short_windows_have_short_prompts(tmp_path):
  code_table(rows=1, length=4)(known_model(tmp_path))
  told = json.loads((tmp_path / "codes.json").read_text())
  assert told["prompt"] == "ab<" and told["free"] == "\n"
  found = code_table(rows=2, windows=60, length=4)(known_model(tmp_path, 60, 2))
  assert found["js_after_nats"] < 1e-6
  with pytest.raises(InputError, match="length is 1"):
    code_table(length=1)
  with pytest.raises(InputError, match=r"x is \[60, 1\]"):
    code_table()(known_model(tmp_path, 60, 1))


def test_a_page_without_codes_has_no_section_and_a_damaged_file_is_said(tmp_path):
  assert codes.section(tmp_path) == ""
  (tmp_path / "codes.json").write_text('{"codes": [')
  with pytest.raises(WorkdirError, match=r"codes\.json cannot be read"):
    codes.section(tmp_path)
  (tmp_path / "codes.json").write_text('{"codes": [{}]}')
  with pytest.raises(WorkdirError, match="no table of codes"):
    codes.section(tmp_path)
  (tmp_path / "codes.json").write_text('{"codes": [], "prompt": 3, "free": ""}')
  with pytest.raises(WorkdirError, match="no table of codes"):
    codes.section(tmp_path)
