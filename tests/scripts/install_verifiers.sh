#!/usr/bin/env bash
# Installs the published libraries that check webhook signatures in Python and JavaScript, so that tests can hold the
# gateway to them: pinned versions, into a folder of their own. Needs python3 with venv, and npm. A second run does nothing.
#
# Usage: install_verifiers.sh [FOLDER]   (else $WEBHOOK_VERIFIERS, else target/verifiers)
set -euo pipefail
python_version=1.1.0
npm_version=1.1.1

folder="${1:-${WEBHOOK_VERIFIERS:-$(dirname "$0")/../../target/verifiers}}"
wanted="standardwebhooks: $python_version from PyPI, $npm_version from npm"
if [ "$(cat "$folder/installed" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
rm -rf "$folder"
mkdir -p "$folder"
python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check "standardwebhooks==$python_version"
npm install --silent --prefix "$folder/node" --no-audit --no-fund --ignore-scripts "standardwebhooks@$npm_version"
printf '%s' "$wanted" > "$folder/installed"
