// The dashboard's house rules, held to its files: what its policy forbids is not there, and what its README promises is.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const root = fileURLToPath(new URL("../../../dashboard/", import.meta.url));
const files = readdirSync(root, { recursive: true }).filter((name) => /\.(mjs|js|css|html)$/.test(name)).map((name) => ({ name, text: readFileSync(join(root, name), "utf8") }));
const modules = files.filter(({ name }) => name.endsWith(".mjs"));
const styles = files.filter(({ name }) => name.endsWith(".css"));
const page = files.find(({ name }) => name === "index.html");

test("every file says what it is in its first lines, and is short", () => {
  for (const { name, text } of files) {
    assert.match(text, /^(\/\/ |\/\* |<!doctype html>\n<!-- )/, `${name} begins without a comment`);
    assert.ok(text.split("\n").length <= 350, `${name} is longer than 350 lines`);
  }
});

test("nothing makes markup or code out of texts", () => {
  const forbidden = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\(|new Function|setTimeout\("/;
  for (const { name, text } of modules) assert.doesNotMatch(text, forbidden, name);
});

test("the page has no inline script and no inline style, and loads from its own host only", () => {
  for (const { name, text } of files) {
    assert.doesNotMatch(text, /\sstyle="/, `${name} has a style attribute`);
    assert.doesNotMatch(text.replaceAll("http://www.w3.org/2000/svg", "").replaceAll("https://..", ""), /["'(]https?:\/\//, `${name} names another host`);
  }
  assert.doesNotMatch(page.text, /<script(?![^>]*\ssrc=)/);
  assert.doesNotMatch(page.text, /<style|\son[a-z]+=/);
});

test("every file that is named exists", () => {
  for (const { name, text } of modules) {
    for (const [, path] of text.matchAll(/(?:from |import\(?)\s*"(\.[^"]+)"/g)) assert.ok(existsSync(join(root, dirname(name), path)), `${name} imports ${path}`);
  }
  for (const [, path] of page.text.matchAll(/(?:src|href)="\/dashboard\/([^"]+)"/g)) assert.ok(existsSync(join(root, path)), `index.html loads ${path}`);
});

test("every style sheet is loaded, and only tokens.css names colours", () => {
  for (const { name, text } of styles) {
    assert.ok(page.text.includes(`/dashboard/${name}"`), `index.html does not load ${name}`);
    if (!name.endsWith("tokens.css")) assert.doesNotMatch(text, /#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(|\boklch\(/, `${name} names a colour`);
  }
});

test("every token that is used is a token that there is", () => {
  const known = new Set(files.flatMap(({ text }) => [...text.matchAll(/(--[a-z0-9-]+)"?:/g)].map(([, token]) => token)));
  for (const { name, text } of files) for (const [, token] of text.matchAll(/var\((--[a-z0-9-]+)\)/g)) assert.ok(known.has(token), `${name} uses ${token}`);
});

test("imports run from views over components to lib, and views do not know each other", () => {
  const room = (path) => path.split("/")[0];
  const allowed = { views: ["components", "lib"], components: ["components", "lib"], lib: ["lib"] };
  for (const { name, text } of modules.filter(({ name: path }) => path.includes("/"))) {
    for (const [, path] of text.matchAll(/(?:from |import )"(\.[^"]+)"/g)) {
      const target = room(relative(root, join(root, dirname(name), path)));
      assert.ok(allowed[room(name)].includes(target), `${name} imports ${path}`);
    }
  }
});

test("modules that call themselves pure touch no page", () => {
  for (const { name, text } of modules) {
    const head = text.split("\n")[0];
    if (/\bPure\b/.test(head)) assert.doesNotMatch(text, /\bdocument\.|\bwindow\.|\blocalStorage\b/, name);
  }
});

test("every icon that is asked for is drawn", () => {
  const drawn = new Set([...files.find(({ name }) => name === "lib/icons.mjs").text.matchAll(/^ {2}([a-z]+): "M/gm)].map(([, name]) => name));
  for (const { name, text } of modules) for (const [, wanted] of text.matchAll(/\b(?:icon|empty)\("([a-z]+)"/g)) assert.ok(drawn.has(wanted), `${name} asks for the icon ${wanted}`);
});
