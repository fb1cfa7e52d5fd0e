#!/usr/bin/env bash
# Run all checks of the project: bash launch/test.sh [fast]
#
# Set-up, ruff, mypy and unit tests; without `fast`, also the end-to-end tests on the real stack (marker e2e). The unit
# tests run in two processes; the end-to-end tests share one Ray and run one after the other.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash launch/setup.sh cpu dev || exit 1
bin="${VENV:-.venv}/bin"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
failed=0

check() {
    echo "== $*"
    "$bin/$1" "${@:2}" || failed=1
}

check ruff check .
check ruff format --check .
check mypy
check python -m pytest -m "not e2e" -n 2 --dist worksteal -rs --timeout 120
if [[ "${1:-}" != fast ]]; then
    check python -m pytest -m e2e -rs --timeout 900
fi
exit "$failed"
