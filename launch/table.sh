#!/usr/bin/env bash
# RLHFlow's table and PairJudge's comparison on the arithmetic world, from nothing: bash launch/table.sh [FOLDER [WORDS]]
#
# Sets everything up, makes the models in FOLDER (build/world; more than an hour on two idle cores) unless they are
# there, has the policy answer 200 held-out problems 64 times, and compares majority voting, outcome model, process model
# and judge in FOLDER/table: report.md, accuracy.png. Stopped, the same command goes on. WORDS go to launch.world.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${1:-build/world}"
python="${VENV:-.venv}/bin/python"

bash launch/setup.sh cpu
"$python" -m launch.world --folder "$folder" "${@:2}"
exec "$python" -m launch.evaluate folder="$folder/table" policy.path="$folder/policy" problems=200 rollout.responses=64 \
    "rewards=['ORM: orm model=$folder/orm','PRM: prm model=$folder/prm','judge: pairjudge_tiny_knockout judge.model=$folder/judge judge.template=$folder/judge/compare.md']"
