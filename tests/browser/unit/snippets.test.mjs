// The code that the playground offers does what the form does: the texts are run through their own languages where that is possible.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { curl, javascript, python, pythonValue } from "../../../dashboard/lib/snippets.mjs";

const body = { workflow: "starter", prompt: "it's \"a\" $HOME `hill`\\\n\u{1F3D4} ${x}", seed: 18446744073709551615n, tiled: false, nothing: null, list: [1, "a"] };
const expected = '{"workflow":"starter","prompt":"it\'s \\"a\\" $HOME `hill`\\\\\\n\u{1F3D4} ${x}","seed":18446744073709551615,"tiled":false,"nothing":null,"list":[1,"a"]}';

test("a shell gives curl the very body", () => {
  const script = `curl() { while [ "$1" != -d ]; do shift; done; printf %s "$2"; }\n${curl("http://gate", body, false)}`;
  const sent = execFileSync("sh", ["-c", script], { encoding: "utf8" });
  assert.equal(sent.replace(/\n\s*/g, "").replaceAll('": ', '":'), expected);
});

test("Python reads the value that JSON has", () => {
  const text = pythonValue(body);
  assert.match(text, /"tiled": False,/);
  assert.match(text, /"nothing": None,/);
  assert.match(text, /"seed": 18446744073709551615,/);
});

test("JavaScript that is offered can be read, and a seed beyond its numbers is sent as text", async () => {
  for (const one of [body, { workflow: "starter", prompt: "x" }]) {
    const source = javascript("http://gate", one, true);
    const constants = source.split("\n\nasync function")[0];
    const made = await import(`data:text/javascript,${encodeURIComponent(`${constants}\nexport { body };`)}`);
    assert.equal(made.body, one === body ? expected : '{"workflow":"starter","prompt":"x"}');
  }
});

test("no code carries a key, only the name of the variable that holds it", () => {
  for (const write of [curl, python, javascript]) {
    assert.match(write("http://gate", body, true), /COMFYGATE_KEY/);
    assert.doesNotMatch(write("http://gate", body, false), /COMFYGATE_KEY/);
  }
});
