"""The house around the code: the wheel, the locks, the scripts, and what the papers in it say."""

from __future__ import annotations

import configparser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import ibjax

ROOT = pathlib.Path(__file__).resolve().parent.parent
MNIST = "ibjax/data/embedded/mnist"
PYTHONS = ("3.11", "3.12", "3.13")
SCRIPTS = (
  *("scripts/setup.sh", "scripts/run.sh", "scripts/test.sh", "scripts/lock.py"),
  ".ci/run",
)


def git_files(*options: str) -> list[str]:
  """Returns the paths git lists that are there; skips the test outside a git checkout."""
  if shutil.which("git") is None or not (ROOT / ".git").exists():
    pytest.skip("not a git checkout")
  command = ["git", "ls-files", "-z", *options]
  listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
  return [path for path in listed.split("\0") if path and (ROOT / path).is_file()]


def setup_cfg() -> configparser.ConfigParser:
  config = configparser.ConfigParser(interpolation=None)
  config.read(ROOT / "setup.cfg")
  return config


# The wheel.


def test_wheel_holds_the_package_and_its_data_and_nothing_else(tmp_path):
  # Built from a copy, so that an old build/ folder of the checkout cannot add to it.
  tree = tmp_path / "tree"
  for path in git_files("--cached", "--others", "--exclude-standard"):
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / path, tree / path)
  command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
  command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(tree)]
  built = subprocess.run(command, capture_output=True, text=True)
  assert built.returncode == 0, built.stdout + built.stderr
  (wheel,) = tmp_path.glob("*.whl")
  assert wheel.name == f"ibjax-{ibjax.__version__}-py3-none-any.whl"

  with zipfile.ZipFile(wheel) as archive:
    sizes = {item.filename: item.file_size for item in archive.infolist()}
    (entry_points,) = (name for name in sizes if name.endswith("/entry_points.txt"))
    assert "ibjax = ibjax.main:main" in archive.read(entry_points).decode()
  info = entry_points.split("/")[0]
  assert {name.split("/")[0] for name in sizes} == {"ibjax", info}
  assert any(name.startswith(f"{info}/") and name.endswith("LICENSE") for name in sizes)

  data = {path.relative_to(ROOT).as_posix() for path in (ROOT / MNIST).glob("*.gz")}
  assert len(data) == 4
  for folder in ("ibjax/report/assets", "ibjax/cluster/templates"):
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).iterdir()}
    assert there
    data |= there
  assert {name: sizes.get(name) for name in data} == {
    name: (ROOT / name).stat().st_size for name in data
  }
  modules = {path.relative_to(tree).as_posix() for path in (tree / "ibjax").rglob("*.py")}
  assert modules and modules == {name for name in sizes if name.endswith(".py")}


# The papers.


def test_license_is_the_whole_apache_license():
  text = (ROOT / "LICENSE").read_text()
  assert re.match(r"\s*Apache License\s+Version 2\.0, January 2004", text)
  assert "END OF TERMS AND CONDITIONS" in text
  assert setup_cfg()["metadata"]["license"] == "Apache-2.0"


def test_citation_and_changelog_name_this_version():
  citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
  assert {"cff-version", "message", "title", "authors"} <= set(citation)
  assert citation["cff-version"] == "1.2.0"
  assert citation["authors"] == [{"name": setup_cfg()["metadata"]["author"]}]
  assert citation["license"] == "Apache-2.0"
  assert str(citation["version"]) == ibjax.__version__
  assert f"## [{ibjax.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


# The locks.


def pins(lock: str, python: str) -> dict[str, str]:
  """Returns name -> version of one lock file as that Python reads it."""
  found: dict[str, str] = {}
  for line in (ROOT / lock).read_text().splitlines():
    if line.startswith("#") or line == "-r requirements.lock":
      continue
    match = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)(?:; (.+))?", line)
    assert match, f"{lock}: not a plain pin: {line!r}"
    name, version, marker = match.groups()
    reader = {"python_version": python, "platform_machine": "x86_64"}
    if marker is None or Marker(marker).evaluate(reader):
      assert name not in found, f"{lock}: {name} is pinned twice on Python {python}"
      found[name] = version
  return found


@pytest.mark.parametrize("python", PYTHONS)
def test_locks_pin_every_requirement_within_its_bounds(python):
  run, dev = pins("requirements.lock", python), pins("requirements-dev.lock", python)
  assert not set(run) & set(dev)
  config = setup_cfg()
  extras = config["options.extras_require"]
  build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
  wanted = config["options"]["install_requires"].strip().splitlines() + build
  dev_wanted = f"{extras['test']}{extras['prepare']}".strip().splitlines()
  assert len(wanted) > 10 and len(dev_wanted) >= 5
  for lines, lock in ((wanted, run), (dev_wanted, run | dev)):
    for requirement in map(Requirement, lines):
      version = lock.get(canonicalize_name(requirement.name))
      assert version is not None, f"{requirement} is not in the lock; run scripts/lock.py"
      assert version in requirement.specifier, f"{requirement} is locked at {version}"


def test_dev_lock_extends_the_run_lock():
  assert "-r requirements.lock" in (ROOT / "requirements-dev.lock").read_text().splitlines()


# The scripts.


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_is_executable_and_parses(script):
  path = ROOT / script
  assert os.access(path, os.X_OK)
  if path.suffix == ".py":
    compile(path.read_text(), script, "exec")
  else:
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    parsed = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr


def run_setup(root: pathlib.Path, *arguments: str, **environment: str):
  env = {name: value for name, value in os.environ.items() if name != "PYTHON"} | environment
  command = ["bash", str(root / "scripts/setup.sh"), *arguments]
  return subprocess.run(
    command, cwd=root.parent, env=env, capture_output=True, text=True, timeout=60
  )


def test_setup_again_does_nothing():
  stamps = sorted((ROOT / ".venv").glob("stamp-*"))
  if not stamps:
    pytest.skip("no .venv made by scripts/setup.sh here")
  inputs = [ROOT / name for name in ("setup.cfg", "pyproject.toml", *map(str, ROOT.glob("*.lock")))]
  if max(path.stat().st_mtime for path in inputs) > min(path.stat().st_mtime for path in stamps):
    pytest.skip("the .venv is older than the locks: another setup would install")
  mode = [] if stamps[-1].name == "stamp-run" else ["dev"]
  started = time.monotonic()
  for arguments in (mode, []):
    done = run_setup(ROOT, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
  assert time.monotonic() - started < 4  # two calls


@pytest.fixture
def bare_tree(tmp_path):
  """Returns a folder, with a space in its name, that holds setup.sh and nothing else."""
  tree = tmp_path / "a tree"
  (tree / "scripts").mkdir(parents=True)
  shutil.copy(ROOT / "scripts/setup.sh", tree / "scripts")
  return tree


def test_setup_refuses_an_old_python_and_says_what_it_found(bare_tree):
  old = bare_tree / "python3.8"
  old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.10" && exit\nexit 1\n')
  old.chmod(0o755)
  done = run_setup(bare_tree, PYTHON=str(old))
  assert done.returncode == 1
  assert "3.11 or newer" in done.stderr and "Python 3.8.10" in done.stderr
  assert "PYTHON=" in done.stderr
  assert not list((bare_tree / ".venv").glob("stamp-*"))


def test_setup_refuses_a_python_that_is_not_there(bare_tree):
  done = run_setup(bare_tree, PYTHON="no-such-python")
  assert done.returncode == 1
  assert "no-such-python" in done.stderr and "PYTHON=" in done.stderr


def test_setup_refuses_an_unknown_mode(bare_tree):
  done = run_setup(bare_tree, "devel")
  assert done.returncode == 1
  assert "'devel'" in done.stderr and "Usage" in done.stderr
  assert not (bare_tree / ".venv").exists()


# What the files say.


def test_no_file_names_a_machine():
  # A home folder, or the folders in which this was written; relative paths and addresses pass.
  machine = re.compile(r"/(?:work|root)/|(?<![\w.}])/(?:home|Users)/\w")
  paths = git_files()
  assert len(paths) > 10
  found = []
  for path in paths:
    content = (ROOT / path).read_bytes()
    if b"\0" in content[:8192]:
      continue
    for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
      if match := machine.search(line):
        found.append(f"{path}:{number}: {match.group()}")
  assert not found
