#!/usr/bin/env bash
# Tests the dashboard: its pure modules, then the whole of it in headless Chromium against a gateway with a simulated ComfyUI.
# Needs node 18.19 or newer, npm and chromium (else $CHROMIUM). What npm brings goes, in pinned versions, into a folder of its own.
#
# Usage: run.sh BINARY [SUITE..]   such as run.sh target/debug/comfygate keys
#        run.sh --screenshots BINARY   draws docs/images/dashboard anew instead
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
tools="${XDG_CACHE_HOME:-$HOME/.cache}/comfygate-ci/browser"
# It is ready where the lock file of the last install says the same.
if ! cmp -s "$here/package-lock.json" "$tools/installed"; then
    rm -rf "$tools"
    mkdir -p "$tools"
    cp "$here/package.json" "$here/package-lock.json" "$tools/"
    npm ci --silent --prefix "$tools" --ignore-scripts --no-audit --no-fund
    cp "$here/package-lock.json" "$tools/installed"
fi
export BROWSER_TOOLS="$tools"
if [ "${1:-}" = --screenshots ]; then
    shift
    exec node "$here/screenshots.mjs" "$@"
fi
exec node "$here/run.mjs" "$@"
