#!/usr/bin/env bash
# Installs what a run needs, then trains the first example: the VIB on MNIST, to the end.
# More arguments go to the binary: scripts/run.sh --config.seed=1. Run again, it goes on from where
# it was. IBJAX_WORKDIR names another run folder. Paths are relative to the project's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/setup.sh
exec .venv/bin/ibjax train --config=configs/variational/vib_mnist.py \
  --workdir="${IBJAX_WORKDIR:-runs/vib_mnist}" "$@"
