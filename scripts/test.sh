#!/usr/bin/env bash
# Installs the tests' tools, then lints, type-checks and tests; stops at the first that fails.
# More arguments go to pytest: scripts/test.sh -k vib, or scripts/test.sh -m very_slow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

phase() {
  echo "test: $*" >&2
  "$@" || {
    status="$?"
    echo "test: FAILED (exit $status): $*" >&2
    exit "$status"
  }
}

scripts/setup.sh dev
PATH="$PWD/.venv/bin:$PATH"
folders=()
for folder in ibjax configs tests scripts experiments; do
  if [[ -d "$folder" ]]; then folders+=("$folder"); fi
done
phase ruff check --quiet "${folders[@]}"
phase ruff format --check "${folders[@]}"
phase mypy ibjax
echo "test: pytest -n 2 $*" >&2
exec pytest -n 2 "$@"
