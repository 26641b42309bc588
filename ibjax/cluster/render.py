"""The scripts and manifests that start a run elsewhere, rendered from `templates/`.

A placeholder is `%{name}`: shells and YAML give other characters a meaning, this one none.
"""

from __future__ import annotations

import importlib.resources
import string
from collections.abc import Mapping


class _Template(string.Template):
  delimiter = "%"


def fill(template: str, values: Mapping[str, str]) -> str:
  """Renders a template.

  Args:
    template: a file's name in `ibjax/cluster/templates/`.
    values: placeholder -> text, for all there are.

  Returns:
    The text, with "%%" as "%".
  """
  text = importlib.resources.files("ibjax.cluster").joinpath("templates", template).read_text()
  return _Template(text).substitute(values)
