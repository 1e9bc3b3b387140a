#!/usr/bin/env python3
"""Proves with strace that a 202 is written only after the disk has the job.

Runs `comfygate serve` under strace, posts jobs one by one and many at once, and looks at the calls into the system: for
every 202 there must be, in this order, the request that was read, a write of the job's row into SQLite's log, a sync of
that log which began after this write and succeeded, and then the write of the answer. No ComfyUI is there, so no other
commit can stand in for a missing one.

Usage: fsync_before_202.py path/to/comfygate
"""

import concurrent.futures
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid

ALONE = 50
AT_ONCE = 50
PATIENCE = 60
CALLS = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,fsync,fdatasync"
READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Call:
    """One call into the system: what it was, and in which lines of the trace it began and ended."""

    def __init__(self, name, text, began):
        self.name, self.text, self.began, self.ended, self.answer = name, text, began, None, None
        self.moment, self.bytes = None, None

    def target(self):
        """The file or socket behind the descriptor."""
        shown = re.match(r"\d+<([^>]*)>", self.text)
        return unhex(shown.group(1)).decode(errors="replace") if shown else ""

    def data(self):
        """The bytes that were read or written, as far as strace shows them."""
        if self.bytes is None:
            self.bytes = b"".join(unhex(quoted) for quoted in re.findall(r'"([^"]*)"', self.text))
        return self.bytes

    def __str__(self):
        shown = os.path.basename(self.target())
        return f"line {self.began:>7} to {self.ended:>7}  {self.moment}  {self.name}({shown}) = {self.answer}"


def unhex(text):
    """Reads what `strace -xx` writes."""
    if len(text) == 4 * text.count("\\x"):
        return bytes.fromhex(text.replace("\\x", ""))
    pieces = re.findall(r"\\x([0-9a-f]{2})|([^\\])", text)
    return b"".join(bytes.fromhex(hexed) if hexed else plain.encode() for hexed, plain in pieces)


def read_trace(path):
    """Joins `<unfinished ...>` and `<... resumed>`; gives the calls in the order in which they began."""
    calls, open_calls = [], {}
    line_form = re.compile(r"^(\d+) +(\d+:\d+:\d+\.\d+) (.*)$")
    with open(path, errors="replace") as trace:
        for number, line in enumerate(trace, 1):
            match = line_form.match(line.rstrip("\n"))
            if not match:
                continue
            thread, moment, rest = match.groups()
            resumed = re.match(r"<\.\.\. (\w+) resumed>(.*)$", rest)
            if resumed:
                call = open_calls.pop(thread, None)
                if call is None:
                    continue
                call.text += resumed.group(2)
            else:
                begun = re.match(r"(\w+)\((.*)$", rest)
                if not begun:
                    continue
                call = Call(begun.group(1), begun.group(2), number)
                call.moment = moment
                calls.append(call)
                if call.text.endswith("<unfinished ...>"):
                    open_calls[thread] = call
                    continue
            call.ended = number
            answer = re.search(r"\) += (-?\d+)[^=]*$", call.text)
            call.answer = int(answer.group(1)) if answer else None
    return calls


def post(url, marker):
    body = json.dumps({"workflow": "canvas", "prompt": marker, "width": 64, "height": 64}).encode()
    request = urllib.request.Request(url + "/generate", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 202, answer.status
        return marker, json.load(answer)["prompt_id"]


def serve(binary, folder, trace):
    """Starts the gateway below strace; returns the process and the URL once it listens."""
    # 6 KiB show a whole page of the database and every request and answer of ours.
    strace = ["strace", "-f", "-tt", "-y", "-xx", "-s", "6144", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", trace]
    gateway = [binary, "serve", "--address", "127.0.0.1:0", "--comfyui", "http://127.0.0.1:1", "--data", folder + "/data"]
    log = open(folder + "/log", "w+")
    process = subprocess.Popen(strace + gateway, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with open(folder + "/log") as said:
            listening = re.search(r"listening.*address=(\S+)", said.read())
        if listening:
            return process, "http://" + listening.group(1)
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    sys.exit("the gateway does not listen:\n" + open(folder + "/log").read())


def stop(process):
    """Ends the gateway and strace with it."""
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    for child in open(children).read().split():
        os.kill(int(child), signal.SIGTERM)
    process.wait(timeout=PATIENCE)


def prove(marker, job, calls):
    """Returns the sync that answers for a job, or raises with what is wrong."""
    row, text = uuid.UUID(job).bytes, job.encode()
    reads = [c for c in calls["reads"] if marker.encode() in c.data()]
    answers = [c for c in calls["writes"] if b"HTTP/1.1 202" in c.data() and text in c.data()]
    commits = [c for c in calls["log"] if row in c.data()]
    if len(answers) != 1 or not reads:
        raise AssertionError(f"the trace has {len(reads)} requests and {len(answers)} answers of it", [])
    read, answer = reads[0], answers[0]
    if not commits:
        raise AssertionError("its row was not written into the log", [read, answer])
    commit = commits[0]
    syncs = [s for s in calls["syncs"] if s.began > commit.ended and s.ended < answer.began and s.answer == 0]
    if not read.ended < commit.began:
        raise AssertionError("its row was written before the request was read", [read, commit, answer])
    if not syncs:
        raise AssertionError("the log was not synced between the write of its row and the answer", [read, commit, answer])
    return syncs[0]


def check_log_mode(database):
    connection = sqlite3.connect(database)
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    jobs = connection.execute("SELECT count(*) FROM job").fetchone()[0]
    connection.close()
    if mode != "wal":
        sys.exit(f"the database has journal_mode {mode}, not wal")
    return jobs


def main():
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__)
    if not shutil.which("strace"):
        sys.exit("strace is missing: apt-get install strace")
    folder = tempfile.mkdtemp(prefix="fsync-before-202-")
    try:
        trace = folder + "/trace"
        process, url = serve(os.path.abspath(sys.argv[1]), folder, trace)
        posted = {"one by one": [], "at once": []}
        try:
            for number in range(ALONE):
                posted["one by one"].append(post(url, f"alone-{number:04}-end"))
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                markers = [f"together-{number:04}-end" for number in range(AT_ONCE)]
                posted["at once"].extend(pool.map(lambda marker: post(url, marker), markers))
        finally:
            stop(process)
        jobs = check_log_mode(folder + "/data/comfygate.db")
        assert jobs == ALONE + AT_ONCE, f"{jobs} jobs are stored"

        found = [c for c in read_trace(trace) if c.ended is not None]
        in_log = [c for c in found if c.target().endswith("comfygate.db-wal")]
        calls = {
            "reads": [c for c in found if c.name in READS and not c.target().startswith("/")],
            "writes": [c for c in found if c.name in WRITES and not c.target().startswith("/")],
            "log": [c for c in in_log if c.name == "pwrite64"],
            "syncs": [c for c in in_log if c.name in ("fsync", "fdatasync")],
        }
        print(f"{'':12}{'answers':>8}{'proved':>8}{'syncs that answer for them':>28}")
        wrong = []
        for how, answers in posted.items():
            syncs = set()
            for marker, job in answers:
                try:
                    syncs.add(prove(marker, job, calls).began)
                except AssertionError as error:
                    wrong.append((marker, job, *error.args))
            proved = len(answers) - sum(1 for entry in wrong if entry[0].startswith(answers[0][0].split("-")[0]))
            print(f"{how:12}{len(answers):>8}{proved:>8}{len(syncs):>28}")
        print(f"journal_mode wal, {len(calls['log'])} writes into the log, {len(calls['syncs'])} syncs of it")
        for marker, job, why, excerpt in wrong[:3]:
            print(f"\n{marker}, job {job}: {why}")
            for call in excerpt:
                print(f"  {call}")
        if wrong:
            sys.exit(f"\n{len(wrong)} of {ALONE + AT_ONCE} jobs were answered 202 before the disk had them")
        print(f"{ALONE + AT_ONCE} passed, 0 failed")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
