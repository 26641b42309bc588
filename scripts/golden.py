"""Rewrites tests/golden/: the resolved form of every config, reviewed as a diff.

Usage: python scripts/golden.py
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ibjax.core import config as base  # noqa: E402
from tests.helpers import CONFIGS, load_config  # noqa: E402


def main() -> None:
  """Writes one file a config and variant."""
  folder = ROOT / "tests" / "golden"
  folder.mkdir(exist_ok=True)
  wanted = set()
  for path in CONFIGS:
    for variant in base.VARIANTS:
      name = f"{pathlib.Path(path).stem}{'_' + variant if variant else ''}.json"
      text = json.dumps(base.resolved(load_config(path, variant)), indent=1, sort_keys=True)
      (folder / name).write_text(text + "\n")
      wanted.add(name)
  for stale in set(p.name for p in folder.glob("*.json")) - wanted:
    (folder / stale).unlink()


if __name__ == "__main__":
  main()
