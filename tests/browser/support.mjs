// A demo for each test, a browser for all, and a visit that notices what a visitor should never see.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import http from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../../", import.meta.url));
export const pictures = `${root}target/browser`;
mkdirSync(pictures, { recursive: true });

const QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run";

export function browse() {
  return chromium.launch({ headless: true, executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: QUIET.split(" ") });
}

export const program = process.env.SURTIDOR ?? `${root}target/debug/surtidor`;

// The built demo. It ends with the test.
export async function startDemo(test) {
  const child = spawn(program, ["demo"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((tell) => child.once("exit", tell));
  test.after(async () => {
    child.kill("SIGINT");
    assert.equal(await ended, 0, "the demo ends well");
  });
  const demo = {};
  for await (const line of createInterface({ input: child.stdout })) {
    const [word, place] = line.trim().split(/\s+/);
    if (["page", "control", "sandbox"].includes(word)) demo[word] = place;
    if (word === "Open") return demo;
  }
  throw new Error("the demo did not start");
}

function get(options) {
  return new Promise((tell, fail) => {
    http.get(options, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (piece) => (text += piece)).on("end", () => tell(JSON.parse(text)));
    }).on("error", fail);
  });
}

// What the feed on the control socket tells of an order.
export async function history(demo, reference) {
  const { events } = await get({ socketPath: demo.control, path: "/v1/events?after=0&wait=0", headers: { host: "s" } });
  return events.filter((event) => event.external_reference === reference).map((event) => event.type);
}

export function order(demo, reference) {
  return get({ socketPath: demo.control, path: `/v1/orders/${reference}`, headers: { host: "s" } });
}

// How the payments of an order stand at the simulated Mercado Pago, which must have been answered as it documents.
export async function payments(demo, reference) {
  const state = await get(demo.sandbox);
  assert.deepEqual(state.violations, []);
  return state.payments.filter((payment) => payment.external_reference === reference).map((payment) => payment.status).sort();
}

// A page whose errors and requests are kept; `check` fails on any that should not be.
export async function visit(browser, demo, { hash = "", ready = "body[data-ready]", ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("console", (said) => ["error", "warning"].includes(said.type()) && faults.push(said.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => request.url().startsWith(demo.page) || faults.push(`asked ${request.url()}`));
  page.setDefaultTimeout(30_000);
  await page.goto(demo.page + hash);
  await page.waitForSelector(ready);
  const check = async () => {
    assert.deepEqual(faults, []);
    await context.close();
  };
  return { page, context, check, faults };
}

export const OF = { pump: "PUMP4-0001", vending: "VEND1-0001" };

export async function choose(page, kind) {
  await page.click(`#tab-${kind}`);
}

// Says who holds the orders of the machine that is looked at.
export async function hold(page, mode) {
  await page.check(`#modes [value=${mode}]`);
  await page.waitForFunction((mode) => document.getElementById("mode-text").textContent.includes({ attended: "on the point of sale", intent: "as an intent" }[mode]), mode);
}

// Until the telephone shows an amount; it is given back as it is written there.
export async function toAmount(page, kind) {
  await choose(page, kind);
  if (kind === "pump") {
    await page.click("#pump [data-do=lift]");
    await page.click("#pump .phone [data-do=scan]");
    await page.waitForFunction(() => !["0,00", "0,21"].includes(document.querySelector("#pump .litres").textContent));
    await page.click("#pump [data-do=hang_up]");
  } else {
    await page.click("#vending [data-slot=A2]");
    await page.click("#vending .phone [data-do=scan]");
  }
  await page.waitForSelector(`#${kind} .phone[data-face=order]`);
  return page.textContent(`#${kind} .phone-amount`);
}

export async function pay(page, kind) {
  await page.click(`#${kind} .phone [data-do=pay]`);
}

export function ends(page, kind, phase) {
  return page.waitForSelector(`#${kind}[data-phase=${phase}]`);
}

export function says(page, text) {
  return page.waitForFunction((text) => document.getElementById("story-text").textContent.includes(text), text);
}

export function receipt(page, kind, text) {
  return page.waitForFunction(([kind, text]) => document.querySelector(`#${kind} .paper`).textContent.includes(text), [kind, text]);
}
