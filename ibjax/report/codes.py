"""The codes of a language model on a report page: where they fire, and what they steer it to."""

from __future__ import annotations

import html
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ibjax.core.errors import WorkdirError

FILE = "codes.json"


def section(folder: pathlib.Path) -> str:
  """Builds the section of a run's codes.

  Args:
    folder: the run's; its codes.json is what `ibjax.evaluators.code_table` leaves.

  Returns:
    HTML in which all that comes from the file is escaped; "" where there is no such file.

  Raises:
    WorkdirError: the file is damaged.
  """
  path = folder / FILE
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    return ""
  except (OSError, ValueError) as error:
    raise WorkdirError(f"{path} cannot be read ({error}). Delete it, or train again.") from None
  try:
    rows = "".join(_row(code) for code in found["codes"])
    start = f"<b>{_show(found['prompt'])}</b>{_show(found['free'])}"
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise WorkdirError(f"{path} is no table of codes ({error!r}). Delete it.") from None
  heads = ("Layer", "Head", "Code", "Fires", "At", "Before", "Contexts", "JS", "Steered")
  return (
    '<section id="codes">\n<h2>Codes</h2>\n'
    '<p class="facts">Where codes fire, the token marked; and how the model goes on from one '
    "prompt while the code is on at every position. JS: how far its next token is, in nats, from "
    "what it is where the code fires by itself, before and after the code is set. Without a code "
    f"it goes on so: <code>{start}</code></p>\n"
    '<div class="wide"><table class="row"><thead><tr>'
    + "".join(f'<th class="word">{name}</th>' for name in heads)
    + f"</tr></thead><tbody>{rows}</tbody></table></div>\n</section>"
  )


def _row(code: Mapping[str, Any]) -> str:
  contexts = "<br>".join(
    f"<code>{_show(before)}<mark>{_show(at)}</mark>{_show(behind)}</code>"
    for before, at, behind in code["contexts"]
  )
  cells = (
    _show(code["site"]),
    str(int(code["head"])),
    str(int(code["code"])),
    f"{100 * float(code['fires_frac']):.2f}%",
    _shares(code["tokens"]),
    _shares(code["next"]),
    contexts,
    f"{float(code['js_before_nats']):.3f}&nbsp;&rarr;&nbsp;{float(code['js_after_nats']):.3f}",
    f"<code>{_show(code['steered'])}</code>",
  )
  return "<tr>" + "".join(f'<td class="word">{cell}</td>' for cell in cells) + "</tr>"


def _shares(pairs: Any) -> str:
  return "<br>".join(
    f"<code>{_show(t)}</code>&nbsp;{100 * float(share):.0f}%" for t, share in pairs
  )


def _show(text: str) -> str:
  """Text as it is read on one line: a line's end and a blank at the edge are seen."""
  shown = html.escape(text.replace("\n", "\N{RETURN SYMBOL}"), quote=True)
  return "&nbsp;" if shown == " " else shown
