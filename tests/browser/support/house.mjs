// A gateway with its simulated ComfyUI servers, its own workflows and a fresh database, and short ways to call it.

import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { command, scratch, start, within } from "./processes.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const final = ["success", "failure"];

/** What the shipped workflows name; without it their checks would find the models missing. */
const models = ["v1-5-pruned-emaonly-fp16.safetensors", "flux1-dev-fp8.safetensors"];

/** A simulated ComfyUI with these models, whose steps take so long. */
export function startSim(step, folder) {
  return start(["sim", "--address", "127.0.0.1:0", "--step", step, ...models.flatMap((name) => ["--model", name])], folder);
}

/**
 * `step`: how long each step of a node takes. `settings`: by variable. `workflows`: `{ name: { template, config } }` besides those
 * that are shipped. `backends`: how many simulated servers, or their addresses, where the settings do not name them.
 */
export async function startHouse({ step = "20ms", settings = {}, workflows = {}, backends = 1 } = {}) {
  const folder = scratch();
  const sims = [];
  const urls = [];
  if (Array.isArray(backends)) urls.push(...backends);
  else for (let count = 0; count < backends; count += 1) sims.push(await startSim(step, folder.path));
  urls.push(...sims.map(({ url }) => url));

  cpSync(join(root, "configs"), join(folder.path, "configs"), { recursive: true });
  cpSync(join(root, "templates"), join(folder.path, "templates"), { recursive: true });
  mkdirSync(join(folder.path, "data"));
  const house = { sims, folder: folder.path, key: null };
  for (const [name, workflow] of Object.entries(workflows)) writeWorkflow(folder.path, name, workflow);

  const serve = (address) => start([
    "serve", "--address", address, ...(urls.length ? ["--comfyui", urls.join(",")] : []), "--data", join(folder.path, "data"),
    ...Object.entries({ COMFYGATE_SHUTDOWN_GRACE: "2s", ...settings }).flatMap(([name, value]) => ["--set", `${name}=${value}`]),
  ], folder.path);
  let gateway = await serve("127.0.0.1:0");
  house.url = gateway.url;

  /** One call of the API, as JSON; `allow` is the status that is expected besides 2xx. */
  house.call = async (method, path, body, { key = house.key, allow = [] } = {}) => {
    const headers = { ...(body && { "content-type": "application/json" }), ...(key && { authorization: `Bearer ${key}` }) };
    const answer = await fetch(house.url + path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(30_000) });
    const text = await answer.text();
    if (!answer.ok && !allow.includes(answer.status)) throw new Error(`${method} ${path} answered ${answer.status}: ${text}`);
    return text === "" ? null : JSON.parse(text);
  };
  /** Sends a job and gives its id. */
  house.send = async (body, options) => (await house.call("POST", "/generate", { delivery: "links", ...body }, options)).prompt_id;
  /** The final object of a job, once there is one. */
  house.end = (id, options) => house.until(`the end of job ${id}`, async () => {
    const job = await house.call("GET", `/jobs/${id}`, undefined, options);
    return final.includes(job.status) && job;
  });
  /** Asks until the answer is something, for facts that no event tells. */
  house.until = (what, ask) => {
    let over = false;
    const asking = (async () => {
      for (;;) {
        const found = await ask();
        if (found || over) return found;
        await new Promise((resume) => setTimeout(resume, 50));
      }
    })();
    return within(asking, () => `${what} did not come:\n${gateway.log().slice(-2_000)}`).finally(() => { over = true; });
  };
  house.createKey = async (...options) => (await command(["keys", "create", "--data", join(folder.path, "data"), ...options], folder.path)).match(/\bcg_\S+/)?.[0];
  house.stopGateway = () => gateway.stop();
  house.startGateway = async () => { gateway = await serve(new URL(house.url).host); };
  house.log = () => gateway.log();
  house.close = async () => {
    await Promise.all([gateway.stop(), ...sims.map((sim) => sim.stop())]).finally(folder.remove);
  };
  await house.until("a backend", async () => (await fetch(`${house.url}/ready`)).ok);
  return house;
}

function writeWorkflow(folder, name, { template, config }) {
  writeFileSync(join(folder, "templates", `${name}.json`), JSON.stringify(template, null, 2));
  // YAML takes JSON.
  writeFileSync(join(folder, "configs", `${name}.yaml`), JSON.stringify(config, null, 2));
}
