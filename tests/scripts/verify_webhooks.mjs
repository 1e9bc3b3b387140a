// Asks the published JavaScript library whether it believes recorded webhooks; where a case has a `jwk`, node:crypto is asked
// about its v1a signatures instead.
//
// Usage: node verify_webhooks.mjs FOLDER CASES
//
// FOLDER is the one that install_verifiers.sh has made. CASES is a JSON file: a list of objects with `secret` or `jwk`,
// `headers`, `body` (a file), and `now` (what the library shall take for the time, in seconds since 1970). Writes a list of
// as many texts: `good`, or why not.

import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [folder, file] = process.argv.slice(2);
const require = createRequire(join(resolve(folder), "node", "here.js"));
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

function judge({ secret, jwk, headers, body, now }) {
  const bytes = readFileSync(body);
  if (jwk) return judgePair(createPublicKey({ key: jwk, format: "jwk" }), headers, bytes);
  Date.now = () => now * 1000;
  try {
    new Webhook(secret).verify(bytes, headers);
    return "good";
  } catch (error) {
    if (error instanceof WebhookVerificationError) return `refused: ${error.message}`;
    throw error;
  }
}

function judgePair(key, headers, bytes) {
  const message = Buffer.concat([Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`), bytes]);
  const signatures = headers["webhook-signature"].split(" ").filter((text) => text.startsWith("v1a,"));
  const fits = signatures.some((text) => verify(null, message, key, Buffer.from(text.slice(4), "base64")));
  return fits ? "good" : `refused: none of ${signatures.length} signatures fits`;
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(file, "utf8")).map(judge)));
