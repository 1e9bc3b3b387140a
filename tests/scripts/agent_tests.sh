#!/usr/bin/env bash
# Runs the tests of ComfyUI's node pack in agent/, with pinned versions of what ComfyUI brings along, in an environment of their
# own. Needs python3 with venv. A second run installs nothing.
#
# Usage: agent_tests.sh [FOLDER]   (else target/agent)
set -euo pipefail
home="$(cd "$(dirname "$0")/../.." && pwd)"
folder="${1:-$home/target/agent}"
wanted="aiohttp==3.14.5 psutil==7.2.2"
if [ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    # shellcheck disable=SC2086 # two words are two packages
    "$folder/bin/pip" install --quiet --disable-pip-version-check $wanted
    printf '%s' "$wanted" > "$folder/installed"
fi
cd "$home/agent"
exec "$folder/bin/python" -B -W error::ResourceWarning -m unittest discover -s tests -t .
