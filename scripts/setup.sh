#!/usr/bin/env bash
# Makes .venv with the pinned requirements and ibjax itself (editable); quick when nothing changed.
#
#   scripts/setup.sh        what a run needs (requirements.lock)
#   scripts/setup.sh dev    the tests' tools too (requirements-dev.lock); serves runs as well
#
# PYTHON=python3.12 scripts/setup.sh takes another Python than python3.
set -euo pipefail

say() { echo "setup: $*" >&2; }
die() { say "$@"; exit 1; }

mode="${1:-run}"
case "$mode" in
  run) lock=requirements.lock ;;
  dev) lock=requirements-dev.lock ;;
  *) die "unknown mode '$mode'. Usage: scripts/setup.sh [dev]" ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="$PWD"
venv="$root/.venv"
python="$venv/bin/python"
unset PYTHONHOME PYTHONPATH PIP_PREFIX PIP_TARGET PIP_USER

# A stamp says what its install was made from. It is written last, and removed first.
stamp() {
  "$python" -I -S - "$root" "$@" <<'PY'
import hashlib, pathlib, sys
content = [f"{sys.argv[1]} {sys.version_info[:2]}".encode()]
for name in sys.argv[2:]:
  content.append(pathlib.Path(name).read_bytes())
print(hashlib.sha256(b"\0".join(content)).hexdigest())
PY
}
run_files=(requirements.lock setup.cfg pyproject.toml)
dev_files=("${run_files[@]}" requirements-dev.lock)

is_ready() {
  local files="${mode}_files[@]" found
  [[ -f "$venv/stamp-$mode" && ! -e "$venv/incomplete" && -x "$venv/bin/ibjax" ]] || return 1
  if [[ -n "${PYTHON:-}" ]]; then
    [[ "$(version_of "$PYTHON")" == "$(version_of "$python")" ]] || return 1
  fi
  found="$(stamp "${!files}" 2>/dev/null)" && [[ "$found" == "$(cat "$venv/stamp-$mode")" ]]
}

version_of() { "$1" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }
is_new_enough() { "$1" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

is_ready && exit 0

# One setup at a time: a second one waits, and then finds the work done.
mkdir -p "$venv"
if command -v flock >/dev/null; then
  exec 9>"$venv/lock"
  flock --nonblock 9 || { say "waiting for another setup of this folder ..."; flock 9; }
  is_ready && exit 0
fi
started="$SECONDS"
trap 'say "interrupted; run it again and it starts afresh"; exit 130' INT TERM

# A .venv is kept when its Python works, is the one asked for, and was not moved here or left half
# installed; otherwise it is made anew.
keep() {
  [[ -x "$python" && ! -e "$venv/incomplete" ]] || return 1
  is_new_enough "$python" && "$python" -I -c 'import pip' 2>/dev/null || return 1
  grep -qF "$venv" "$venv/bin/activate" 2>/dev/null || return 1
  [[ -z "${PYTHON:-}" || "$(version_of "$PYTHON")" == "$(version_of "$python")" ]]
}

if ! keep; then
  base="${PYTHON:-python3}"
  if ! is_new_enough "$base"; then
    found="not there"
    if command -v "$base" >/dev/null; then found="$("$base" --version 2>&1 | tail -n 1 || true)"; fi
    hint="Install one, then: PYTHON=python3.12 scripts/setup.sh (a name or a path)"
    for other in python3.11 python3.12 python3.13; do
      if is_new_enough "$other"; then hint="$other is here: PYTHON=$other scripts/setup.sh"; fi
    done
    die "ibjax needs Python 3.11 or newer; '$base' is ${found:-not a Python}. $hint"
  fi
  if ! "$base" -I -c 'import ensurepip, venv' 2>/dev/null; then
    die "'$base' ($("$base" --version 2>&1)) cannot make virtual environments." \
      "On Debian or Ubuntu: apt install python$(version_of "$base")-venv"
  fi
  say "making .venv with $("$base" --version 2>&1)"
  find "$venv/" -mindepth 1 -maxdepth 1 ! -name lock -exec rm -rf {} +
  touch "$venv/incomplete"
  "$base" -I -m venv "$venv"
fi

# Runs pip; all it says goes to a log, which is shown in full when pip fails.
log="$venv/setup.log"
: >"$log"
pip() {
  "$python" -I -m pip --disable-pip-version-check --no-input "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    die "pip failed (all it said is above). Run scripts/setup.sh again once that is mended."
  }
}

touch "$venv/incomplete"
rm -f "$venv"/stamp-*
say "installing the packages of $lock (takes a minute or two)"
pip install --progress-bar off -r "$lock"
rm "$venv/incomplete"
say "installing ibjax"
pip install --no-deps --no-build-isolation -e .
for each in run $([[ "$mode" == dev ]] && echo dev); do
  files="${each}_files[@]"
  stamp "${!files}" >"$venv/stamp-$each"
done
say "ready after $((SECONDS - started)) s"
