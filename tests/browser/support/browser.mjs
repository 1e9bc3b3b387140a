// Headless Chromium, and pages in it that watch over themselves: whatever a page complains of fails the test.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.BROWSER_TOOLS ?? ".", "package.json"));
const { chromium } = require("playwright-core");

export const axeSource = () => require("axe-core").source;
export const desk = { width: 1440, height: 900 };
export const phone = { width: 390, height: 844 };
/** The address of every view, and the title that it has. */
export const views = { jobs: "Jobs", playground: "Playground", workflows: "Workflows", backends: "Backends", webhooks: "Webhooks" };

export async function startBrowser() {
  const path = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find(existsSync);
  if (!path) throw new Error("there is no chromium; install it, or name it in CHROMIUM");
  const args = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return chromium.launch({ executablePath: path, headless: true, chromiumSandbox: false, args });
}

/**
 * Opens the dashboard at `hash` in a browser context of its own, lets `act(page)` do something, and fails where the page threw, wrote
 * an error or broke its own policy. `allow`: pieces of complaints that belong to the test.
 */
export async function inPage(browser, house, { hash = "", size = desk, theme = "light", allow = [], ...more }, act) {
  const context = await browser.newContext({ viewport: size, colorScheme: theme, reducedMotion: "reduce", locale: "en-GB", timezoneId: "UTC", ...more });
  context.setDefaultTimeout(30_000);
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy broken: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  const complaints = [];
  const hear = (text) => { if (!allow.some((part) => text.includes(part))) complaints.push(text); };
  context.on("console", (message) => message.type() === "error" && hear(`${message.text()} ${message.location().url}`));
  context.on("weberror", (error) => hear(`thrown: ${error.error().name} ${error.error().message} ${error.error().stack}`));
  try {
    const page = await context.newPage();
    await page.goto(`${house.url}/${hash}`);
    const result = await act(page);
    assert.deepEqual(complaints, [], "the page has complained");
    return result;
  } catch (error) {
    const text = await context.pages()[0]?.evaluate(() => `${location.href}\n${document.body.innerText}`).catch(() => "");
    error.stack += `\nThe page was at ${text}${complaints.length ? `\nIt has complained: ${complaints.join("\n")}` : ""}`;
    throw error;
  } finally {
    await context.close();
  }
}

/** Waits until the page is told of events. */
export const live = (page) => page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();

/** Waits until the view has its title, nothing on it is loading, and its pictures are there or given up. */
export async function settled(page) {
  await page.waitForFunction(() => {
    const main = document.querySelector("main");
    return main.querySelector("h1") && !main.querySelector(".skeleton") && [...main.querySelectorAll("img")].every((image) => image.complete || image.loading === "lazy");
  });
}

/** Goes to another address of the page that is open, as a link would, and waits until its view has taken the place of the old one. */
export async function go(page, hash) {
  await settled(page);
  const moved = await page.evaluate((next) => {
    if (location.hash === next) return false;
    document.querySelector("main h1").dataset.before = "";
    location.hash = next;
    return true;
  }, hash);
  if (moved) await page.waitForFunction(() => !document.querySelector("main h1[data-before]"));
  await settled(page);
}

/** Whether a picture has really been drawn, within ten seconds; what it shows may change meanwhile, as a preview does. */
export async function drawn(image) {
  await image.waitFor();
  return image.evaluate((element) => new Promise((resolve) => {
    const until = performance.now() + 10_000;
    const look = () => {
      if (element.complete && element.naturalWidth > 0) resolve(true);
      else if (performance.now() > until) resolve(false);
      else requestAnimationFrame(look);
    };
    look();
  }));
}

/** The contrast of two colours as `getComputedStyle` writes them. */
export function contrast(one, other) {
  const [light, dark] = [one, other].map(luminance).sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(color) {
  const parts = color.match(/^rgba?\((\d+), (\d+), (\d+)(?:, 1)?\)$/);
  assert.ok(parts, `${color} is no plain colour`);
  const [red, green, blue] = parts.slice(1).map((part) => {
    const share = Number(part) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
