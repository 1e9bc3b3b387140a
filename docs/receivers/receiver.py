#!/usr/bin/env python3
"""A receiver for comfygate's webhooks that believes nothing unseen. Python's standard library is all it needs.

    export WEBHOOK_SECRET="$(comfygate webhook secret show)"
    python3 receiver.py --port 8090 --folder received

The secret comes from the environment; while it is rotated, put both there, with a space between.

Every webhook becomes a folder named by its webhook-id, with the images and result.json in it. The folder appears
whole or not at all, so its existence is what tells a repetition, even after a restart.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import shutil
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIMESTAMP_TOLERANCE = 300
DROPPED_AT_MOST = 1 << 20
IMAGE_BEGINNINGS = [
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpg"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Refused(Exception):
    """The request gets this status, and nothing is kept."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # A sender that stops half-way does not hold a thread for ever.

    def do_POST(self):
        self.unread = 0
        try:
            status, text = self.receive()
        except Refused as refused:
            status, text = refused.status, str(refused)
        except ConnectionError:
            self.close_connection = True  # The sender is gone, and nothing was kept.
            return
        self.answer(status, text)

    def refuse_method(self):
        self.unread = 0
        self.answer(405, "only POST is understood", [("allow", "POST")])

    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = refuse_method

    def receive(self):
        body_length = self.check_head()
        webhook_id = self.headers["webhook-id"]
        body = self.read_body(body_length)
        check_signature(self.headers, body, self.server.keys)
        payload = parse(body)
        check_shape(payload)
        is_event = payload["status"] == "running"
        if (webhook_id.rsplit("_", 2)[0] if is_event else webhook_id) != "msg_" + payload["prompt_id"].replace("-", ""):
            raise Refused(400, "webhook-id and prompt_id do not belong together")
        if is_event:
            # The job goes on. Events come only if the request asked for them; the end comes last and has everything.
            return (200, "an event")
        images = decode_images(payload)
        try:
            is_new = keep(self.server.folder, webhook_id, payload, images)
        except OSError as error:
            # Not the sender's fault: it will try again.
            print(f"cannot keep a webhook: {error}", file=sys.stderr, flush=True)
            raise Refused(500, "cannot keep the webhook") from error
        # What takes long belongs behind the answer: put the id into a queue here.
        return (200, "received") if is_new else (200, "received before")

    def check_head(self):
        """Looks at all that can be judged before the body is read, and returns the body's length."""
        lengths = self.headers.get_all("content-length", [])
        is_plain = len(lengths) == 1 and re.fullmatch(r"[0-9]{1,18}", lengths[0])
        if "transfer-encoding" in self.headers or not is_plain:
            self.close_connection = True
            raise Refused(411, "content-length is needed")
        body_length = self.unread = int(lengths[0])
        if self.path.split("?")[0] != "/webhook":
            raise Refused(404, "there is only /webhook")
        if self.headers.get_content_type() != "application/json" or "content-type" not in self.headers:
            raise Refused(415, "content-type must be application/json")
        if body_length > self.server.max_bytes:
            raise Refused(413, f"more than {self.server.max_bytes} bytes")
        if not re.fullmatch(r"msg_[0-9a-f]{32}(_[a-z]+_[0-9]+)?", self.headers.get("webhook-id", "")):
            raise Refused(400, "webhook-id is missing or malformed")
        timestamp = self.headers.get("webhook-timestamp", "")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp):
            raise Refused(400, "webhook-timestamp is missing or malformed")
        if abs(time.time() - int(timestamp)) > TIMESTAMP_TOLERANCE:
            raise Refused(400, "webhook-timestamp is more than five minutes off")
        return body_length

    def read_body(self, body_length):
        self.unread = 0
        try:
            body = self.rfile.read(body_length)
        except TimeoutError:
            self.close_connection = True
            raise Refused(408, "the body did not arrive in time") from None
        if len(body) < body_length:
            self.close_connection = True
            raise Refused(400, "the body is cut short")
        return body

    def answer(self, status, text, headers=()):
        if self.unread:
            # Whoever still sends would not see the answer if the connection ended now.
            self.rfile.read(min(self.unread, DROPPED_AT_MOST))
            self.close_connection = True
        body = json.dumps({"answer": text}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if self.close_connection:
            self.send_header("connection", "close")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """The request line may carry a token: it is not logged."""


def check_signature(headers, body, keys):
    """Goes over the bytes as they came: parsed and written again they would be others."""
    head = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
    for key in keys:
        mac = hmac.new(key, head, hashlib.sha256)
        mac.update(body)
        expected = b"v1," + base64.b64encode(mac.digest())
        for signature in headers.get("webhook-signature", "").split(" "):
            if hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected):
                return
    raise Refused(401, "no signature fits")


def parse(body):
    def no_constant(name):
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is not JSON") from error


def check_shape(payload):
    def need(is_so, why):
        if not is_so:
            raise Refused(400, why)

    need(isinstance(payload, dict), "the body is not an object")
    prompt_id = payload.get("prompt_id")
    need(isinstance(prompt_id, str) and UUID.fullmatch(prompt_id), "prompt_id is not a UUID")
    status, images = payload.get("status"), payload.get("images")
    if status == "running":
        return
    need(status in ("success", "failure"), "status is neither success nor failure")
    if status == "failure":
        need(images is None, "a failure has images")
        need(isinstance(payload.get("error"), str), "a failure has no error")
        return
    need(isinstance(images, list) and all(isinstance(image, str) for image in images), "images is not a list of texts")
    outputs = payload.get("outputs", [])
    need(isinstance(outputs, list) and all(isinstance(output, dict) for output in outputs), "outputs is not a list")


def decode_images(payload):
    """Returns the images as pairs of bytes and file ending, held against what `outputs` says of them."""
    images = []
    for place, text in enumerate(payload["images"] or []):
        try:
            image = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Refused(400, f"image {place} is not base64") from error
        endings = [ending for beginning, ending in IMAGE_BEGINNINGS if beginning.match(image)]
        if not endings:
            raise Refused(400, f"image {place} is not an image")
        images.append((image, endings[0]))
    if payload["status"] == "success" and "outputs" in payload:
        described = [o for o in payload["outputs"] if str(o.get("content_type", "")).startswith("image/")]
        if [o.get("sha256") for o in described] != [hashlib.sha256(image).hexdigest() for image, _ in images]:
            raise Refused(400, "images and outputs do not belong together")
    return images


def keep(folder, webhook_id, payload, images):
    """Keeps everything or nothing. Returns false where it was kept before."""
    place = os.path.join(folder, webhook_id)
    if os.path.exists(place):
        return False
    draft = tempfile.mkdtemp(prefix=".", dir=folder)
    try:
        result = {name: value for name, value in payload.items() if name != "images"}
        files = [(f"{place}.{ending}", image) for place, (image, ending) in enumerate(images)]
        files.append(("result.json", json.dumps(result, indent=2).encode()))
        for name, content in files:
            with open(os.path.join(draft, name), "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(draft)
        try:
            os.rename(draft, place)
        except OSError:
            # The same webhook came twice at once, and the other one was first.
            if os.path.exists(place):
                return False
            raise
        sync_folder(folder)
        return True
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def sync_folder(folder):
    """Makes new names survive a loss of power, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_keys(text):
    """Returns the secrets as bytes; an empty or short one would let everybody in."""
    keys = []
    for secret in text.split():
        try:
            keys.append(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
        except binascii.Error:
            sys.exit("WEBHOOK_SECRET is not whsec_ and base64")
    if not keys or min(len(key) for key in keys) < 24:
        sys.exit('WEBHOOK_SECRET is missing or too short: export WEBHOOK_SECRET="$(comfygate webhook secret show)"')
    return keys


def main():
    parser = argparse.ArgumentParser(description="Receives comfygate's webhooks.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090, help="0 takes any free one")
    parser.add_argument("--folder", default="received")
    parser.add_argument("--max-bytes", type=int, default=256 << 20)
    options = parser.parse_args()
    keys = read_keys(os.environ.get("WEBHOOK_SECRET", ""))
    os.makedirs(options.folder, exist_ok=True)
    server = ThreadingHTTPServer((options.host, options.port), Handler)
    server.daemon_threads = True
    server.folder, server.max_bytes, server.keys = options.folder, options.max_bytes, keys
    print(f"listening on http://{options.host}:{server.server_address[1]}/webhook", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
