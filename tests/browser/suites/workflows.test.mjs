// Workflows in the dashboard: the graph of one that is loaded, and of a file that is dropped.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, test } from "node:test";
import { inPage, settled, startBrowser } from "../support/browser.mjs";
import { startHouse } from "../support/house.mjs";

const house = await startHouse();
const browser = await startBrowser();
after(() => Promise.all([browser.close(), house.close()]));

const saved = await readFile(new URL("../../fixtures/conversions/cases/default/workflow.json", import.meta.url), "utf8");
const picture = (page) => page.getByRole("img", { name: /^Graph of \d+ nodes and \d+ links/ });

/** Drops a text as a file where files may be dropped. */
async function drop(page, name, text) {
  const files = await page.evaluateHandle(([called, content]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([content], called, { type: "application/json" }));
    return transfer;
  }, [name, text]);
  const zone = page.locator("label").filter({ hasText: "Drop a workflow here" });
  await zone.dispatchEvent("dragover", { dataTransfer: files });
  await zone.dispatchEvent("drop", { dataTransfer: files });
}

test("a workflow that ComfyUI saved is dropped, and its graph is drawn", () => inPage(browser, house, { hash: "#/workflows" }, async (page) => {
  await page.getByRole("heading", { level: 2, name: "Check a file" }).waitFor();
  await drop(page, "saved.json", saved);
  await page.getByText("It can be executed, with 7 nodes").waitFor();
  const graph = picture(page);
  await graph.waitFor();
  assert.match(await graph.getAttribute("aria-label"), /^Graph of 7 nodes and \d+ links/);
  const box = await graph.boundingBox();
  assert.ok(box.width > 200 && box.height > 100, `the graph is drawn at ${box.width} by ${box.height}`);
  await page.getByText("All 7 nodes as a list").click();
  const node = page.getByRole("button", { name: /KSampler · node 3/ });
  await node.click();
  assert.equal(await node.getAttribute("aria-pressed"), "true");
}));

test("what is no workflow is refused in words, at the same place", () => inPage(browser, house, { hash: "#/workflows", allow: ["status of 4"] }, async (page) => {
  await page.getByRole("heading", { level: 2, name: "Check a file" }).waitFor();
  await drop(page, "shopping.json", '{"milk": 2}');
  const told = page.getByRole("alert").filter({ hasText: "shopping.json" });
  await told.waitFor();
  assert.ok((await told.innerText()).length > 30);
  assert.equal(await picture(page).count(), 0);
}));

test("a workflow shows its parameters, its graph, and the backends that take it", () => inPage(browser, house, { hash: "#/workflows" }, async (page) => {
  await page.getByRole("link", { name: "starter" }).click();
  await page.getByRole("heading", { level: 1, name: "starter" }).waitFor();
  await picture(page).waitFor();
  await settled(page);
  const names = await page.getByRole("region", { name: "Parameters of starter" }).getByRole("rowheader").allInnerTexts();
  const { parameters } = await house.call("GET", "/workflows/starter");
  assert.equal(names.length, parameters.length);
  assert.equal(await page.getByRole("list", { name: "Backends" }).getByRole("listitem").count(), 1);
  await page.getByRole("link", { name: "Try it" }).click();
  await page.getByRole("form", { name: "Request for starter" }).waitFor();
}));
