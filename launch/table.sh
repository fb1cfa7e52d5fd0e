#!/usr/bin/env bash
# RLHFlow's table and PairJudge's comparison on the arithmetic world, from scratch: bash launch/table.sh [FOLDER [WORDS]]
#
# Sets everything up, trains the models in FOLDER (default: build/world; over an hour on two idle cores) if they do not
# exist, samples 64 responses of the policy to each of 200 held-out problems, and compares majority voting, outcome
# model, process model and judge in FOLDER/table (report.md, accuracy.png). Run the same command to resume. WORDS are
# passed to launch.world.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:-build/world}"
python="${VENV:-.venv}/bin/python"

bash launch/setup.sh cpu
"$python" -m launch.world --folder "$folder" "${@:2}"
exec "$python" -m launch.evaluate folder="$folder/table" policy.path="$folder/policy" problems=200 rollout.responses=64 \
    "rewards=['ORM: orm model=$folder/orm','PRM: prm model=$folder/prm','judge: pairjudge_tiny_knockout judge.model=$folder/judge judge.template=$folder/judge/compare.md']"
