// A receiver for comfygate's webhooks that believes nothing unseen. Node 18 or newer is all it needs.
//
//     export WEBHOOK_SECRET="$(comfygate webhook secret show)"
//     node receiver.mjs --port 8090 --folder received
//
// The secret comes from the environment; while it is rotated, put both there, with a space between.
//
// Every webhook becomes a folder named by its webhook-id, with the images and result.json in it. The folder appears
// whole or not at all, so its existence is what tells a repetition, even after a restart.

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { mkdtemp, open, rename, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";

const TIMESTAMP_TOLERANCE = 300;
const DROPPED_AT_MOST = 1 << 20;
const IMAGE_BEGINNINGS = [
  [/^\x89PNG\r\n\x1a\n/, "png"],
  [/^\xff\xd8\xff/, "jpg"],
  [/^GIF8[79]a/, "gif"],
  [/^RIFF[^]{4}WEBP/, "webp"],
];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const { values: options } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string", default: "8090" },
    folder: { type: "string", default: "received" },
    "max-bytes": { type: "string", default: String(256 * 1024 * 1024) },
  },
});
const maxBytes = Number(options["max-bytes"]);
const keys = readKeys(process.env.WEBHOOK_SECRET ?? "");

/** The request gets this status, and nothing is kept. */
class Refused extends Error {
  constructor(status, why, headers = {}) {
    super(why);
    this.status = status;
    this.headers = headers;
  }
}

async function receive(request) {
  checkHead(request);
  const webhookId = request.headers["webhook-id"];
  const body = await readBody(request);
  checkSignature(request.headers, body);
  const payload = parse(body);
  checkShape(payload);
  const isEvent = payload.status === "running";
  const ownId = isEvent ? webhookId.split("_").slice(0, -2).join("_") : webhookId;
  need(ownId === "msg_" + payload.prompt_id.replaceAll("-", ""), "webhook-id and prompt_id do not belong together");
  // The job goes on. Events come only if the request asked for them; the end comes last and has everything.
  if (isEvent) return "an event";
  const images = decodeImages(payload);
  const isNew = await keep(webhookId, payload, images);
  // What takes long belongs behind the answer: put the id into a queue here.
  return isNew ? "received" : "received before";
}

/** Looks at all that can be judged before the body is read. */
function checkHead({ method, url, headers }) {
  if (method !== "POST") throw new Refused(405, "only POST is understood", { allow: "POST" });
  if (url.split("?")[0] !== "/webhook") throw new Refused(404, "there is only /webhook");
  if (!/^[0-9]{1,18}$/.test(headers["content-length"] ?? "")) throw new Refused(411, "content-length is needed");
  const type = (headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  if (type !== "application/json") throw new Refused(415, "content-type must be application/json");
  if (Number(headers["content-length"]) > maxBytes) throw new Refused(413, `more than ${maxBytes} bytes`);
  need(/^msg_[0-9a-f]{32}(_[a-z]+_[0-9]+)?$/.test(headers["webhook-id"] ?? ""), "webhook-id is missing or malformed");
  const timestamp = headers["webhook-timestamp"] ?? "";
  need(/^[0-9]{1,12}$/.test(timestamp), "webhook-timestamp is missing or malformed");
  const off = Math.abs(Date.now() / 1000 - Number(timestamp));
  need(off <= TIMESTAMP_TOLERANCE, "webhook-timestamp is more than five minutes off");
}

/** The server gives no more than content-length, and ends the request where less comes. */
async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Goes over the bytes as they came: parsed and written again they would be others. */
function checkSignature(headers, body) {
  const head = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`;
  const signatures = (headers["webhook-signature"] ?? "").split(" ").map((text) => Buffer.from(text));
  for (const key of keys) {
    const expected = Buffer.from("v1," + createHmac("sha256", key).update(head).update(body).digest("base64"));
    const fits = (found) => found.length === expected.length && timingSafeEqual(found, expected);
    if (signatures.some(fits)) return;
  }
  throw new Refused(401, "no signature fits");
}

/** Returns the secrets as bytes; an empty or short one would let everybody in. */
function readKeys(text) {
  const secrets = text.split(/\s+/).filter(Boolean);
  const keys = secrets.map((secret) => Buffer.from(secret.replace(/^whsec_/, ""), "base64"));
  if (keys.length > 0 && keys.every((key) => key.length >= 24)) return keys;
  console.error('WEBHOOK_SECRET is missing or too short: export WEBHOOK_SECRET="$(comfygate webhook secret show)"');
  process.exit(1);
}

function parse(body) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new Refused(400, "the body is not JSON");
  }
}

function checkShape(payload) {
  need(isObject(payload), "the body is not an object");
  need(typeof payload.prompt_id === "string" && UUID.test(payload.prompt_id), "prompt_id is not a UUID");
  if (payload.status === "running") return;
  need(["success", "failure"].includes(payload.status), "status is neither success nor failure");
  if (payload.status === "failure") {
    need(payload.images === null, "a failure has images");
    need(typeof payload.error === "string", "a failure has no error");
    return;
  }
  const { images, outputs = [] } = payload;
  need(Array.isArray(images) && images.every((image) => typeof image === "string"), "images is not a list of texts");
  need(Array.isArray(outputs) && outputs.every(isObject), "outputs is not a list");
}

/** Returns the images with their file endings, held against what `outputs` says of them. */
function decodeImages(payload) {
  const images = (payload.images ?? []).map((text, place) => {
    const image = Buffer.from(text, "base64");
    // Node reads around what is not base64; what was base64 comes out as it went in.
    need(image.toString("base64") === text, `image ${place} is not base64`);
    const beginning = image.subarray(0, 16).toString("latin1");
    const found = IMAGE_BEGINNINGS.find(([pattern]) => pattern.test(beginning));
    need(found, `image ${place} is not an image`);
    return { image, ending: found[1] };
  });
  if (payload.status === "success" && payload.outputs !== undefined) {
    const described = payload.outputs.filter((output) => String(output.content_type).startsWith("image/"));
    const hashes = images.map(({ image }) => createHash("sha256").update(image).digest("hex"));
    const isSame = described.length === hashes.length && described.every((o, place) => o.sha256 === hashes[place]);
    need(isSame, "images and outputs do not belong together");
  }
  return images;
}

/** Keeps everything or nothing. Returns false where it was kept before. */
async function keep(webhookId, { images: _, ...result }, images) {
  const place = join(options.folder, webhookId);
  if (existsSync(place)) return false;
  const draft = await mkdtemp(join(options.folder, "."));
  try {
    for (const [number, { image, ending }] of images.entries()) await write(join(draft, `${number}.${ending}`), image);
    await write(join(draft, "result.json"), JSON.stringify(result, null, 2));
    await syncFolder(draft);
    try {
      await rename(draft, place);
    } catch (error) {
      // The same webhook came twice at once, and the other one was first.
      if (existsSync(place)) return false;
      throw error;
    }
    await syncFolder(options.folder);
    return true;
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function write(path, content) {
  const file = await open(path, "wx");
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes new names survive a loss of power, where the system can. */
async function syncFolder(path) {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function need(isSo, why) {
  if (!isSo) throw new Refused(400, why);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whoever still sends would not see the answer if the connection ended at once. */
async function dropRest(request) {
  let dropped = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    dropped += chunk.length;
    if (dropped > DROPPED_AT_MOST) return;
  }
}

const server = createServer(async (request, response) => {
  let status = 200;
  let text;
  let headers = {};
  try {
    text = await receive(request);
  } catch (error) {
    if (error instanceof Refused) {
      ({ status, headers } = error);
      text = error.message;
    } else if (request.destroyed && !request.complete) {
      return; // The sender is gone, and nothing was kept.
    } else {
      // Not the sender's fault: it will try again.
      status = 500;
      text = "cannot keep the webhook";
      console.error(`cannot keep a webhook: ${error.message}`);
    }
    if (!request.complete) {
      headers = { ...headers, connection: "close" };
      await dropRest(request).catch(() => {});
    }
  }
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify({ answer: text }));
});

// A sender that stops half-way does not hold a connection for ever.
server.requestTimeout = 300_000;
mkdirSync(options.folder, { recursive: true });
server.listen(Number(options.port), options.host, () => {
  console.log(`listening on http://${options.host}:${server.address().port}/webhook`);
});
