// The request of the form as code that does the same: a shell line, Python and JavaScript. Pure texts.

import { stringify } from "./json.mjs";

/** `curl`, with the body in single quotes. */
export function curl(origin, body, keys) {
  const quoted = stringify(body, 2).replaceAll("'", "'\\''");
  const key = keys ? ` \\\n  -H "authorization: Bearer $COMFYGATE_KEY"` : "";
  return `curl -s ${origin}/generate \\\n  -H 'content-type: application/json'${key} \\\n  -d '${quoted}'\n`;
}

/** Python with its own library only: posts, waits for the end, saves the outputs. */
export function python(origin, body, keys) {
  const headers = keys ? '{"content-type": "application/json", "authorization": "Bearer " + os.environ["COMFYGATE_KEY"]}' : '{"content-type": "application/json"}';
  return `import json${keys ? ", os" : ""}, time, urllib.request

gate = ${pythonValue(origin)}
headers = ${headers}
body = ${pythonValue(body)}

def call(path, data=None):
    request = urllib.request.Request(gate + path, data, headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read()

job = json.loads(call("/generate", json.dumps(body).encode()))
while True:
    result = json.loads(call(job["status_url"]))
    if result["status"] in ("success", "failure"):
        break
    time.sleep(1)

if result["status"] == "failure":
    raise SystemExit(result["code"] + ": " + result["error"])
for n, output in enumerate(result["outputs"]):
    name = str(n) + "-" + output.get("filename", "output").replace("/", "-")
    open(name, "wb").write(call(job["status_url"] + "/outputs/" + str(n)))
    print(name)
`;
}

/** JavaScript for Node and for servers like it: a key does not belong into a page. */
export function javascript(origin, body, keys) {
  const headers = keys ? '{ "content-type": "application/json", authorization: `Bearer ${process.env.COMFYGATE_KEY}` }' : '{ "content-type": "application/json" }';
  const big = hasBig(body);
  const sent = big ? `\`${stringify(body).replace(/[\\`$]/g, "\\$&")}\`; // as text: the seed is larger than JavaScript's numbers` : `JSON.stringify(${stringify(body, 2)});`;
  return `const gate = ${JSON.stringify(origin)};
const headers = ${headers};
const body = ${sent}

async function call(path, options) {
  const answer = await fetch(gate + path, { headers, ...options });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

const job = await (await call("/generate", { method: "POST", body })).json();
let result;
do {
  await new Promise((resume) => setTimeout(resume, 1000));
  result = await (await call(job.status_url)).json();
} while (!["success", "failure"].includes(result.status));

if (result.status === "failure") throw new Error(\`\${result.code}: \${result.error}\`);
for (const { url } of result.outputs) console.log(url);
`;
}

/** A JSON value as Python writes it. */
export function pythonValue(value, depth = 0) {
  const pad = "    ".repeat(depth + 1);
  const end = "    ".repeat(depth);
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map((part) => pythonValue(part, depth)).join(", ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).map(([key, part]) => `${pad}${pythonText(key)}: ${pythonValue(part, depth + 1)},\n`);
    return entries.length ? `{\n${entries.join("")}${end}}` : "{}";
  }
  return typeof value === "string" ? pythonText(value) : String(value);
}

/** JSON's escapes are Python's too, except that characters beyond U+FFFF are pairs in JSON; they stay as they are here. */
const pythonText = (text) => JSON.stringify(text);

const hasBig = (value) => typeof value === "bigint" || (value !== null && typeof value === "object" && Object.values(value).some(hasBig));
