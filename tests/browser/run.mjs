// Runs the unit tests of the dashboard's modules, then the suites in the browser one after the other, and ends as they did.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [binary, ...wanted] = process.argv.slice(2);

if (!binary || !existsSync(binary)) {
  console.error(`there is no program at "${binary ?? ""}"; name the one that was built: run.sh target/debug/comfygate`);
  process.exit(2);
}

const known = files(join(here, "suites"));
const names = known.map((file) => file.replace(/^.*\/|\.test\.mjs$/g, ""));
const strange = wanted.filter((name) => !names.includes(name));
if (strange.length) {
  console.error(`there is no suite ${strange.join(", ")}; there are ${names.join(", ")}`);
  process.exit(2);
}

if (!wanted.length) run(files(join(here, "unit")), 60_000);
run(known.filter((_, place) => !wanted.length || wanted.includes(names[place])), 400_000);

function files(folder) {
  return readdirSync(folder).filter((name) => name.endsWith(".test.mjs")).sort().map((name) => join(folder, name));
}

/** Two browsers at once would only wait for each other. */
function run(paths, limit) {
  const { status } = spawnSync(process.execPath, ["--test", "--test-concurrency=1", "--test-reporter=spec", `--test-timeout=${limit}`, ...paths], {
    stdio: "inherit",
    env: { ...process.env, COMFYGATE: resolve(binary) },
  });
  if (status !== 0) process.exit(status ?? 1);
}
