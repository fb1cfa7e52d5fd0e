#!/usr/bin/env bash
# Train an outcome and a process reward model from SmolLM2, with this project's recipes, on its own annotated solutions:
#   bash launch/smollm2_rewards.sh [PROBLEMS]
#
# PROBLEMS  how many sums to annotate (default: 300). Run the same command to resume.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

problems="${1:-300}"
folder=build/smollm2_rewards
python="${VENV:-.venv}/bin/python"
export TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

"$python" -m launch.smollm2
"$python" -m launch.annotate "folder=$folder/steps" "problems=$problems" policy=smollm2 task=sums continuations=4 \
    rollout.responses=4 rollout.max_new_tokens=64 cluster.threads=2
for kind in orm prm; do
    "$python" -m launch.train_reward "recipe=smollm2_$kind" "data=$folder/steps/$kind.jsonl" "folder=$folder/$kind" \
        cluster.threads=2
done
