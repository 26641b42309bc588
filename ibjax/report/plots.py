"""Pictures of a run: rate and distortion, the plane, the 2-D code, reconstructions, mistakes.

Figures are built as objects, never through pyplot, so that making a report inside a larger
program changes no state there.
"""

from __future__ import annotations

import io
import os
import pathlib
from collections.abc import Callable

from matplotlib.figure import Figure

from ibjax.core.files import write_bytes
from ibjax.report.confusions import draw_confusions
from ibjax.report.curves import draw_rate_distortion
from ibjax.report.latents import draw_latents
from ibjax.report.plane import draw_plane
from ibjax.report.reconstructions import draw_reconstructions
from ibjax.report.runs import Run, read_run

DPI = 200


def make_pictures(workdir: str | os.PathLike) -> dict[str, pathlib.Path]:
  """Draws every picture that the run's files allow, as PNG files in the run folder.

  Args:
    workdir: a run folder, finished or not.

  Returns:
    The files written, by name: some of "rate_distortion", "plane", "latents",
    "reconstructions" and "confusions".

  Raises:
    WorkdirError: not a run folder, or it cannot be written to.
  """
  run = read_run(workdir)
  painters: dict[str, Callable[[Run], Figure | None]] = {
    "rate_distortion": draw_rate_distortion,
    "plane": draw_plane,
    "latents": draw_latents,
    "reconstructions": draw_reconstructions,
    "confusions": draw_confusions,
  }
  written = {}
  for name, draw in painters.items():
    figure = draw(run)
    if figure is None:
      continue
    content = io.BytesIO()
    # Without the version stamp the same run gives the same file.
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    written[name] = run.path / f"{name}.png"
    write_bytes(written[name], content.getvalue())
  return written
