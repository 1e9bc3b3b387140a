#!/usr/bin/env python3
"""Sends a running gateway what its own description allows and forbids, and says whether the answers are what it promises.

Usage: property_client.py <comfygate> <schemathesis> [--examples N] [--seconds N]

A simulator and two gateways are started, one without keys and one that asks for them. schemathesis draws requests from
/openapi.json: no answer may be a fault of the gateway's own, each must be one that the document has, with its headers and
its body, what is no request must be refused, and each must come in time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = 30
ADMIN_KEY = "property-client-property-client-0123456789"
# What a backend does not know or give is no fault of the gateway's, as long as the document has the answer; a 500 always is.
EXPECTED = """[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", "501", "502", "503", "504"]
"""
# The key as schemathesis knows how to leave it out again.
AUTHORIZED = f"""[auth.openapi.bearer]
bearer = "{ADMIN_KEY}"
"""
# What a request means is the workflow's matter too, so a request that fits the document may be refused.
# Whether a call without a key is let in is tried by a test of its own for every call; here so many would come that they
# are answered with 429 instead of 401, which schemathesis takes for being let in.
LEFT_OUT = "positive_data_acceptance,missing_required_header,ensure_resource_availability,use_after_free,ignored_auth"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("gateway")
    arguments.add_argument("schemathesis")
    arguments.add_argument("--examples", type=int, default=40)
    arguments.add_argument("--seconds", type=int, default=75, help="for each of the two gateways")
    arguments.add_argument("--seed", type=int, default=1)
    options = arguments.parse_args()
    gateway = os.path.abspath(options.gateway)
    failed, logs = [], []
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        try:
            comfyui = start(gateway, ["sim", "--address", "127.0.0.1:0"], folder, processes)
            for name, more, config in [
                ("without keys", [], ""),
                ("with keys", ["--set", "keys=required", "--set", f"admin_key={ADMIN_KEY}"], AUTHORIZED),
            ]:
                house = os.path.join(folder, name.replace(" ", "-"))
                os.mkdir(house)
                # Nobody is called, nothing fills up: what is looked at is what the gateway answers.
                settings = ["--set", f"configs={SOURCE}/configs", "--set", f"templates={SOURCE}/templates"]
                settings += ["--set", "rate=off", "--set", "max_queued_per_tenant=off", "--set", "webhook_schedule=1h"]
                serve = ["serve", "--address", "127.0.0.1:0", "--comfyui", comfyui, *settings, *more]
                url = start(gateway, serve, house, processes)
                logs.append(os.path.join(house, "serve.log"))
                wait_until_ready(url)
                print(f"== {name}", flush=True)
                if run(options, url, config, house) != 0:
                    failed.append(name)
                if processes[-1].poll() is not None:
                    failed.append(f"{name}: the gateway ended with {processes[-1].returncode}")
        finally:
            for process in reversed(processes):
                process.terminate()
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    failed.append("a process did not end when told")
        for path in logs:
            failed.extend(line for line in open(path) if "panicked" in line)
    for what in failed:
        print(f"FAILED: {what.strip()}")
    return 1 if failed else 0


def run(options, url, config, house):
    with open(os.path.join(house, "schemathesis.toml"), "w") as file:
        file.write(EXPECTED + config)
    command = [
        options.schemathesis, "--config-file", "schemathesis.toml", "run", f"{url}/openapi.json", "--checks", "all", "--exclude-checks", LEFT_OUT,
        "--max-examples", str(options.examples), "--max-time", str(options.seconds), "--seed", str(options.seed),
        "--request-timeout", "12", "--phases", "examples,coverage,fuzzing", "--generation-database", "none",
        "--warnings", "off", "--continue-on-failure",
        # Streams that do not end, and that have tests of their own.
        "--exclude-path-regex", "(^|/)(events|ws)$",
        # Few drawn texts are names of backends; that they are thrown away is right.
        "--suppress-health-check", "filter_too_much",
    ]
    # The limit is schemathesis's own; this one is for when it hangs.
    return subprocess.run(command, cwd=house, timeout=options.seconds + 120).returncode


def start(gateway, words, folder, processes):
    """Starts a command and returns the URL that it listens at, which it logs."""
    path = os.path.join(folder, f"{words[0]}.log")
    with open(path, "w") as own:
        processes.append(subprocess.Popen([gateway, *words], cwd=folder, stdout=own, stderr=subprocess.STDOUT))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for line in open(path):
            if "listening address=" in line:
                return "http://" + line.split("address=", 1)[1].split()[0]
        if processes[-1].poll() is not None:
            break
        time.sleep(0.05)
    sys.exit(f"`comfygate {words[0]}` does not listen: {open(path).read()}")


def wait_until_ready(url):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
                if json.load(answer)["status"] == "ready":
                    return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"{url} is not ready")


if __name__ == "__main__":
    sys.exit(main())
