#!/usr/bin/env bash
# The quick start: set up the environment, then train the tiny policy with the tiny process reward model.
# Arguments are passed to launch.train: bash launch/quickstart.sh reward=orm updates=5
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash launch/setup.sh cpu
exec "${VENV:-.venv}/bin/python" -m launch.train experiment=quickstart "$@"
