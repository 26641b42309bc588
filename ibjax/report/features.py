"""The feature browser of a report page: what each latent of a dictionary answers to, searchable."""

from __future__ import annotations

import html
import json
import os
import pathlib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from ibjax.core.errors import WorkdirError
from ibjax.core.files import write_text
from ibjax.report.compare_page import embed

FILE = "features.json"
_KEYS = ("features", "latents", "dead", "rows", "kind", "densities", "images")


def write(folder: str | os.PathLike, described: Mapping[str, Any]) -> pathlib.Path:
  """Writes what is known of a dictionary's latents into a run folder.

  Args:
    folder: the run's.
    described: what `ibjax.train.features.features` returns.

  Returns:
    The file. The next `report.html` of the run shows it.
  """
  path = pathlib.Path(folder) / FILE
  write_text(path, json.dumps(described, separators=(",", ":"), allow_nan=False))
  return path


def read(folder: pathlib.Path) -> dict[str, Any] | None:
  """Reads what is known of a dictionary's latents.

  Args:
    folder: the run's.

  Returns:
    The description, or None when there is none.

  Raises:
    WorkdirError: the file is damaged.
  """
  path = folder / FILE
  try:
    found = json.loads(path.read_text(encoding="utf-8"))
  except FileNotFoundError:
    return None
  except (OSError, ValueError) as error:
    raise WorkdirError(
      f"{path} cannot be read ({error}). Run `ibjax features {folder}` again, or delete it."
    ) from None
  if not isinstance(found, dict) or any(key not in found for key in _KEYS):
    raise WorkdirError(f"{path} is no description of latents. Run `ibjax features {folder}` again.")
  return found


def section(described: Mapping[str, Any]) -> str:
  """Builds the section of the page: the frame that the script fills, and its data.

  Args:
    described: what `read` returned.

  Returns:
    HTML; the data stand in it as JSON that cannot end its element.
  """
  facts = (
    f"{described['latents']:,} latents, {described['dead']:,} never active on "
    f"{described['rows']:,} rows; {len(described['features']):,} described"
  )
  if described.get("layer"):
    facts += f"; activations of {described['layer']}"
  return (
    '<section id="features">\n<h2>Latents</h2>\n'
    f'<p class="facts">{html.escape(facts)}</p>\n'
    + _asset("features_body.html")
    + f'<script type="application/json" id="feature-data">{embed(described)}</script>\n</section>'
  )


def style() -> str:
  """The style sheet of the section.

  Returns:
    CSS.
  """
  return _asset("features.css")


def script() -> str:
  """The script of the section, in a scope of its own.

  Returns:
    JavaScript.
  """
  return '"use strict";\n(() => {\n' + _asset("features.js") + "\n})();\n"


def _asset(name: str) -> str:
  return (resources.files("ibjax.report") / "assets" / name).read_text(encoding="utf-8")
