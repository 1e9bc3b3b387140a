// Starts the dashboard: who is here, the frame around every view, and the view of the address. Views never know of each other.

import "./components/connection.mjs";
import { confirm, openDialog } from "./components/dialogs.mjs";
import { empty, faultNotice, pageHead } from "./components/parts.mjs";
import { signIn } from "./components/sign-in.mjs";
import { toast } from "./components/toasts.mjs";
import { get, onKeyNeeded, remove } from "./lib/api.mjs";
import { h, replace, setText } from "./lib/dom.mjs";
import { forgetHistory } from "./lib/history.mjs";
import { icon } from "./lib/icons.mjs";
import { keep, recall } from "./lib/keep.mjs";
import { Live } from "./lib/live.mjs";
import { makeHash, parseHash } from "./lib/router.mjs";
import { installShortcuts } from "./lib/shortcuts.mjs";

const views = [
  { name: "jobs", label: "Jobs", key: "g j", load: (argument) => import(argument ? "./views/job.mjs" : "./views/jobs.mjs") },
  { name: "playground", label: "Playground", key: "g p", load: () => import("./views/playground.mjs") },
  { name: "workflows", label: "Workflows", key: "g w", load: () => import("./views/workflows.mjs") },
  { name: "backends", label: "Backends", key: "g b", load: () => import("./views/backends.mjs") },
  { name: "webhooks", label: "Webhooks", key: "g h", load: () => import("./views/webhooks.mjs") },
];

const main = document.querySelector("#main");
const app = { session: null, live: null };
let leave = new AbortController();

start();

async function start() {
  onKeyNeeded(needKey);
  buildTabs();
  installShortcuts(shortcuts());
  document.querySelector("[data-skip]").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  app.live = new Live(checkSession);
  app.live.on("state", (state) => document.querySelector("#connection").show(state));
  await loadSession();
  addEventListener("hashchange", show);
  if (locked() && !(await needKey())) return show();
  if (!locked()) app.live.start();
  return show();
}

/** Whether nothing can be seen before somebody signs in. */
const locked = () => app.session.keys_required && !app.session.signed_in;

/** Shows the view of the address. A view is a function that gives an element, and what it began ends with `route.signal`. */
async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const route = { ...parseHash(location.hash), signal, previous };
  previous = route;
  const view = views.find(({ name }) => name === route.name);
  for (const link of document.querySelectorAll("#tabs a")) {
    if (link.dataset.view === route.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let element;
  try {
    element = locked() ? door() : (await view.load(route.argument)).view(route, app);
  } catch (error) {
    element = faultNotice(error, show);
  }
  if (signal.aborted) return;
  replace(main, element);
  scrollTo(0, 0);
  const heading = main.querySelector("h1");
  document.title = `${heading?.textContent ?? view.label} · comfygate`;
  if (route.previous) heading?.focus({ preventScroll: true });
}

let previous = null;

async function loadSession() {
  try {
    app.session = await get("/session", { quiet: true });
  } catch (error) {
    // While the gateway does not answer, what was known of the session stands; what is refused is said where it happens.
    app.session ??= { keys_required: false, signed_in: false, operator: error.status === 404 };
  }
  drawTools();
}

/** After a refused stream: true where there is a session, or none is needed. A session that has ended is asked for again. */
async function checkSession() {
  await loadSession();
  return !locked() || needKey({});
}

/** Asks for a key because somebody wants to sign in, or because a call needs one. Whoever has just said no is not asked by the next call. */
async function needKey(error) {
  if (error && performance.now() - refusedAt < 3_000) return false;
  if (!(await signIn(reasonFor(error)))) {
    refusedAt = performance.now();
    return false;
  }
  await loadSession();
  if (app.live.state !== "live") app.live.start();
  toast("Signed in.");
  return true;
}

let refusedAt = -Infinity;

/** In the place of every view while nobody is signed in. */
function door() {
  document.querySelector("#connection").show("off");
  return h("div.stack", {}, pageHead("comfygate"), empty("key", "Sign in to look inside", "This gateway shows jobs, workflows and backends to those who have an API key.",
    h("button.button.primary", { type: "button", onclick: enter }, icon("key", "s"), "Sign in")));
}

const enter = () => needKey().then((done) => done && show());

function reasonFor(error) {
  if (!app.session || app.session.keys_required) return undefined;
  const who = "a key with the scope admin, although everything else here needs none.";
  return error ? `This outlives the moment, so it needs ${who}` : `Draining backends and the like needs ${who}`;
}

async function signOut() {
  if (!(await confirm({ title: "Sign out?", text: "This browser forgets its session, and what was sent from the playground. The key itself stays good.", action: "Sign out" }))) return;
  forgetHistory();
  await remove("/session", { quiet: true }).catch(() => null);
  location.reload();
}

function buildTabs() {
  replace(document.querySelector("#tabs"), views.map(({ name, label, key }) =>
    h("li", {}, h("a", { href: makeHash(name), "data-view": name, title: `${label} (${key})` }, icon(name), label))));
}

function drawTools() {
  const { session } = app;
  setText(document.querySelector("#who"), session.signed_in ? `${session.operator ? "Operator" : "Tenant"} ${session.tenant ?? ""}`.trim() : "");
  const tool = (iconName, label, run) => h("button.button.quiet.icon-only", { type: "button", "aria-label": label, title: label, onclick: run }, icon(iconName));
  replace(document.querySelector("#tools"),
    themeTool(),
    tool("help", "Keys and help", help),
    session.signed_in ? tool("leave", "Sign out", signOut) : tool("key", "Sign in", enter));
}

function themeTool() {
  const order = ["system", "light", "dark"];
  const signs = { system: "screen", light: "sun", dark: "moon" };
  const button = h("button.button.quiet.icon-only", { type: "button", onclick: () => set(order[(order.indexOf(recall("theme", "system")) + 1) % 3]) });
  const draw = (theme) => {
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
    replace(button, icon(signs[theme]));
  };
  const set = (theme) => {
    keep("theme", theme === "system" ? null : theme);
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    draw(theme);
  };
  draw(recall("theme", "system"));
  return button;
}

function shortcuts() {
  const keys = Object.fromEntries(views.map(({ name, label, key }) => [key, { label, run: () => { location.hash = makeHash(name); } }]));
  keys["/"] = { label: "To the first filter", run: () => main.querySelector("select, input")?.focus() };
  keys["?"] = { label: "This help", run: help };
  return keys;
}

function help() {
  const rows = Object.entries(shortcuts()).map(([key, { label }]) => [key.split(" ").map((part) => h("kbd", {}, part)), label]);
  rows.push([[h("kbd", {}, "←"), h("kbd", {}, "→")], "In a picture: the one before, the next"], [[h("kbd", {}, "Esc")], "Closes what is open"]);
  openDialog("Keys", (close) => ({
    body: h("dl.facts", {}, rows.map(([keys, label]) => [h("dt", {}, keys.flatMap((key) => [key, " "])), h("dd", {}, label)])),
    foot: h("button.button.primary", { type: "button", onclick: () => close() }, "Close"),
  }));
}
