#!/usr/bin/env python3
"""Refreshes requirements.lock and requirements-dev.lock from setup.cfg with pip's own resolver.

Run it with one interpreter of each Python that ibjax supports, each with pip 23 or later:

  scripts/lock.py python3.11 python3.12 python3.13

Nothing is installed. A line whose version depends on the Python gets an environment marker.
"""

from __future__ import annotations

import configparser
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADER = "# Made by scripts/lock.py from setup.cfg; refresh it with that script, not by hand.\n"
Pins = dict[str, str]  # name -> version


def declared() -> tuple[list[str], list[str]]:
  """Returns the requirements of a run (and of installing ibjax itself) and those of a developer."""
  config = configparser.ConfigParser(interpolation=None)
  config.read(ROOT / "setup.cfg")
  build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
  extras = config["options.extras_require"]
  run = config["options"]["install_requires"].strip().split("\n") + build
  return run, f"{extras['test']}{extras['prepare']}\nwheel".strip().split("\n")


def resolve(python: str, requirements: list[str], constraints: Pins) -> Pins:
  """Returns the pins that pip would install on `python`, within the constraints."""
  with tempfile.TemporaryDirectory() as folder:
    report, limits = pathlib.Path(folder, "report.json"), pathlib.Path(folder, "limits.txt")
    limits.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()))
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--report", str(report), "--constraint", str(limits), *requirements]
    subprocess.run(command, check=True)
    found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
  return {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in found}


def pinned_lines(
  pins: dict[tuple[int, ...], Pins], skip: dict[tuple[int, ...], Pins], markers: dict[str, str]
) -> list[str]:
  """Returns the lock's lines: one per name, or one per range of Pythons where they differ."""
  pythons, lines = sorted(pins), []
  for name in sorted(set().union(*pins.values())):
    versions = [None if name in skip.get(p, {}) else pins[p].get(name) for p in pythons]
    start = 0
    for version, group in itertools.groupby(versions):
      end = start + len(list(group))
      bounds = [markers[name]] if name in markers else []
      bounds += [f'python_version >= "{".".join(map(str, pythons[start]))}"'] if start else []
      if end < len(pythons):
        bounds.append(f'python_version < "{".".join(map(str, pythons[end]))}"')
      if version is not None:
        lines.append(f"{name}=={version}" + ("; " + " and ".join(bounds) if bounds else ""))
      start = end
  return lines


def main() -> None:
  run_requirements, dev_requirements = declared()
  run: dict[tuple[int, ...], Pins] = {}
  dev: dict[tuple[int, ...], Pins] = {}
  for python in sys.argv[1:] or sys.exit(__doc__):
    code = "import sys; print(*sys.version_info[:2])"
    found = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    key = tuple(map(int, found.split()))
    print(f"resolving for Python {key[0]}.{key[1]} ...", flush=True)
    dev[key] = resolve(python, run_requirements + dev_requirements, {})
    run[key] = resolve(python, run_requirements, dev[key])
  # A marker written in setup.cfg (a platform, say) holds in the lock as well.
  marked = [line.split(";") for line in run_requirements + dev_requirements if ";" in line]
  markers = {re.split(r"[^\w-]", line)[0].lower(): marker.strip() for line, marker in marked}
  lines = pinned_lines(run, {}, markers)
  (ROOT / "requirements.lock").write_text(HEADER + "\n".join(lines) + "\n")
  lines = ["-r requirements.lock", *pinned_lines(dev, run, markers)]
  (ROOT / "requirements-dev.lock").write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
  main()
