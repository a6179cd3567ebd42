// The operator's page of a server: it shows what the server counts, says what needs somebody, and follows both.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import axe from "axe-core";

import { browse, pictures, program, visit } from "./support.mjs";

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

async function startServer(test) {
  const folder = mkdtempSync(`${tmpdir()}/surtidor-`);
  const socket = `${folder}/control.sock`;
  const places = ["--data-dir", `${folder}/data`, "--socket", socket, "--poll-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
  const child = spawn(program, ["serve", ...places], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise((tell) => child.once("exit", tell));
  test.after(async () => {
    child.kill("SIGTERM");
    await ended;
    rmSync(folder, { recursive: true });
  });
  const server = { socket, stop: () => child.kill("SIGTERM") };
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, place] = line.trim().split(/\s+/);
    if (word === "admin") server.page = place.replace(/metrics$/, "");
    if (line.startsWith("Try it")) return server;
  }
  throw new Error("the server did not start");
}

function put(socketPath, path, body) {
  return new Promise((tell, fail) => {
    const call = http.request({ socketPath, path, method: "PUT", headers: { host: "s" } }, (answer) => answer.resume().on("end", () => tell(answer.statusCode)));
    call.on("error", fail).end(JSON.stringify(body));
  });
}

const shows = (page, card, what, value) =>
  page.waitForFunction(([card, what, value]) => {
    const terms = [...document.querySelectorAll(`[data-card="${card}"] dt`)];
    return terms.find((term) => term.textContent === what)?.nextSibling.textContent === value;
  }, [card, what, value]);

const says = (page, selector, text) => page.waitForFunction(([selector, text]) => document.querySelector(selector)?.textContent.includes(text), [selector, text]);

for (const [name, viewport, colorScheme] of [["phone", { width: 390, height: 844 }, "dark"], ["desktop", { width: 1280, height: 900 }, "light"]]) {
  test(`the operator's page, ${name}, ${colorScheme}`, async (t) => {
    const server = await startServer(t);
    const { page, check, faults } = await visit(browser, server, { viewport, colorScheme, ready: "body[data-shown]" });
    await says(page, "#state", "ready");
    await says(page, "#needs li", "Nothing");
    assert.equal(await put(server.socket, "/v1/pos/PUMP1", { keys: { locationId: "1", positionId: "1" } }), 201);
    await shows(page, "Points of sale", "registered", "1");
    await shows(page, "Points of sale", "unavailable", "1");
    assert.equal(await put(server.socket, "/v1/pos/PUMP1/order", { amount: "1.50", title: "SUPER" }), 201);
    await shows(page, "Orders", "open: ready", "1");
    assert.equal(await put(server.socket, "/v1/pos/PUMP2", { keys: { locationId: "1", positionId: "2" } }), 201);
    assert.equal(await put(server.socket, "/v1/pos/PUMP2/state", { state: "timeout" }), 204);
    await says(page, "#needs li[data-bad]", "Points of sale without a live controller: 1");
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => window.axe.run(document));
    assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target)}`), []);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), viewport.width, "as wide as the screen");
    await page.screenshot({ path: `${pictures}/operator-${name}-${colorScheme}.png`, fullPage: true });
    assert.deepEqual(faults, []);
    server.stop();
    await says(page, "#state", "it does not answer");
    // The browser complains of that too, and may once more.
    await page.close();
    faults.length = 0;
    await check();
  });
}
