"""Asks the published Python library whether it believes recorded webhooks. Run it with the Python of the folder that
install_verifiers.sh has made.

Usage: python verify_webhooks.py CASES

CASES is a JSON file: a list of objects with `secret`, `headers`, `body` (a file), and `now` (what the library shall take for
the time, in seconds since 1970). Writes a list of as many texts: `good`, or why not.
"""

import json
import pathlib
import sys
from datetime import datetime, timezone

from standardwebhooks import webhooks


def judge(case):
    class Told(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(case["now"], tz=tz or timezone.utc)

    webhooks.datetime = Told
    body = pathlib.Path(case["body"]).read_bytes()
    try:
        webhooks.Webhook(case["secret"]).verify(body, case["headers"])
    except webhooks.WebhookVerificationError as error:
        return f"refused: {error}"
    return "good"


cases = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
json.dump([judge(case) for case in cases], sys.stdout)
