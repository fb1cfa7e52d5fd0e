#!/usr/bin/env bash
# Make the virtual environment and install the locked stack: bash launch/setup.sh cpu|gpu [dev]
#
# VENV    folder of the environment (default: .venv in the project folder)
# PYTHON  the interpreter (default: python3.11)
# A stamp file in the environment has the hash of the lock files: if it matches, this takes a few milliseconds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind="${1:-}"
tools="${2:-}"
if [[ "$kind" != cpu && "$kind" != gpu ]] || [[ -n "$tools" && "$tools" != dev ]]; then
    echo "usage: bash launch/setup.sh cpu|gpu [dev]" >&2
    exit 2
fi
venv="${VENV:-.venv}"
python="${PYTHON:-python3.11}"
lock="requirements/$kind.txt"

stamp_of() { cat "$@" launch/setup.sh pyproject.toml | sha256sum | cut -c1-16; }
stamp="$venv/rewardloop-$kind-$(stamp_of "$lock")"
dev_stamp="$venv/rewardloop-dev-$(stamp_of requirements/dev.txt requirements/trackers.txt)"
pip_install() { "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input --no-deps "$@"; }

if [[ ! -x "$venv/bin/python" ]]; then
    if ! command -v "$python" >/dev/null; then
        echo "setup: $python is not on the PATH: install Python 3.11, or name an interpreter with PYTHON=/path/to/python3.11" >&2
        exit 1
    fi
    echo "setup: making $venv"
    "$python" -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "setup: $venv is not a Python 3.11 environment: remove it, or choose another with VENV=folder" >&2
    exit 1
fi

if [[ ! -e "$stamp" ]]; then
    echo "setup: installing $lock into $venv (a few minutes, about 4 GB; only when the lock file changes)"
    torch="$(grep '^torch==' "$lock")"
    # A CPU torch has its own index: PyPI's torch is the CUDA build. A machine's own index or wheel folder goes first.
    if [[ "$kind" == cpu ]] && ! pip_install "$torch" 2>/dev/null; then
        pip_install --index-url https://download.pytorch.org/whl/cpu "$torch" || {
            echo "setup: $torch is neither on your package index nor on download.pytorch.org: is the network up?" >&2
            exit 1
        }
    fi
    grep -v '^flash-attn==' "$lock" > "$venv/lock.txt"
    DS_BUILD_OPS=0 pip_install -r "$venv/lock.txt"
    if [[ "$kind" == gpu ]]; then
        pip_install --no-build-isolation "$(grep '^flash-attn==' "$lock")"
    fi
    pip_install --no-build-isolation --editable .
    rm -f "$venv"/rewardloop-cpu-* "$venv"/rewardloop-gpu-*
    touch "$stamp"
fi
if [[ "$tools" == dev && ! -e "$dev_stamp" ]]; then
    echo "setup: installing requirements/dev.txt and trackers.txt"
    pip_install -r requirements/dev.txt -r requirements/trackers.txt
    rm -f "$venv"/rewardloop-dev-*
    touch "$dev_stamp"
fi
# The tests open the page of launch.report in a browser; without one they are skipped, and say so.
if [[ "$tools" == dev ]] && ! command -v chromium >/dev/null; then
    if [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
        echo "setup: installing chromium, for the tests of the report's page"
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 ||
            echo "setup: chromium could not be installed: the tests that need it will be skipped" >&2
    else
        echo "setup: no chromium: the tests that need it will be skipped (as root: apt-get install chromium)" >&2
    fi
fi
