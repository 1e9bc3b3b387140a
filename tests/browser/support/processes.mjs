// Programs that tests start, in folders of their own and without the settings of whoever runs the tests. They end with the test, and nothing else is ended.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const patience = 30_000;

/** A folder that is removed by `remove()`. */
export function scratch() {
  const path = mkdtempSync(join(tmpdir(), "comfygate-browser-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** The program under test. */
export function binary() {
  if (!process.env.COMFYGATE) throw new Error("COMFYGATE does not name the program; start these tests with tests/browser/run.sh");
  return process.env.COMFYGATE;
}

/** Starts comfygate and waits until it listens: `{ url, log(), stop() }`. */
export async function start(args, folder) {
  const child = launch(args, folder);
  let log = "";
  const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal)));
  const address = await within(new Promise((resolve, reject) => {
    const read = (text) => {
      log += text;
      const found = /listening address=(\S+)/.exec(log);
      if (found) resolve(found[1]);
    };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", read);
    child.once("error", reject);
    ended.then((code) => reject(new Error(`comfygate ${args[0]} ended with ${code} before it listened:\n${log}`)));
  }), () => `comfygate ${args[0]} does not listen:\n${log}`);
  return {
    url: `http://${address}`,
    address,
    log: () => log,
    async stop() {
      child.kill("SIGTERM");
      await within(ended, () => `comfygate ${args[0]} does not end:\n${log}`).catch((error) => {
        child.kill("SIGKILL");
        throw error;
      });
    },
  };
}

/** Runs a command of comfygate to its end and gives what it wrote out. */
export async function command(args, folder) {
  const child = launch(args, folder);
  let out = "";
  let log = "";
  child.stdout.setEncoding("utf8").on("data", (text) => { out += text; });
  child.stderr.setEncoding("utf8").on("data", (text) => { log += text; });
  const code = await within(new Promise((resolve) => child.once("close", resolve)), () => `comfygate ${args.join(" ")} does not end`);
  if (code !== 0) throw new Error(`comfygate ${args.join(" ")} ended with ${code}:\n${log}`);
  return out;
}

/** The promise, or an error with these words when it takes too long. */
export function within(promise, words, limit = patience) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(words())), limit); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The kernel ends it with the test, however that ends. */
function launch(args, folder) {
  return spawn("setpriv", ["--pdeathsig", "KILL", binary(), ...args], { cwd: folder, env: environment(folder), stdio: ["ignore", "pipe", "pipe"] });
}

function environment(folder) {
  return { PATH: process.env.PATH, HOME: folder, TMPDIR: process.env.TMPDIR ?? "/tmp", LANG: "C.UTF-8" };
}
