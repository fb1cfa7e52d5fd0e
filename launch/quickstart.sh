#!/usr/bin/env bash
# The main job from nothing: set the environment up, then train the tiny policy with the tiny process reward model.
# Further words go to launch.train, e.g.: bash launch/quickstart.sh reward=orm updates=5
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash launch/setup.sh cpu
exec "${VENV:-.venv}/bin/python" -m launch.train experiment=quickstart "$@"
