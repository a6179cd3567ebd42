// How the main states look: no fault that axe-core knows, nothing wider than the screen, and a picture of each to look at
// (in target/browser), on a telephone and a desktop, light and dark.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import axe from "axe-core";

import { browse, choose, ends, hold, pay, pictures, receipt, startDemo, toAmount, visit } from "./support.mjs";

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

// Nothing that ends by itself is still on its way.
const settled = () => document.getAnimations().every((moves) => moves.playState !== "running" || moves.effect.getTiming().iterations === Infinity);

for (const [name, viewport] of [["phone", { width: 390, height: 844 }], ["desktop", { width: 1280, height: 900 }]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`${name}, ${colorScheme}`, async (t) => {
      const demo = await startDemo(t);
      // Nothing may be half faded in when its contrast is measured.
      const { page, check } = await visit(browser, demo, { viewport, colorScheme, reducedMotion: "reduce" });
      await page.evaluate(axe.source);
      const look = async (state) => {
        await page.waitForFunction(settled);
        const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
        const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join(" | ")}`);
        assert.deepEqual(told, [], state);
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), viewport.width, `${state}: as wide as the screen`);
        await page.screenshot({ path: `${pictures}/${state}-${name}-${colorScheme}.png`, fullPage: true });
      };
      await page.waitForSelector("#lines .c-event");
      await look("pump-idle");
      await page.click("#pump [data-do=lift]");
      await page.click("#pump .phone [data-do=scan]");
      await page.waitForSelector("#lines .c-poll");
      await look("pump-filling");
      await page.click("#pump [data-do=hang_up]");
      await page.waitForSelector("#pump .phone[data-face=order]");
      await look("pump-order");
      await pay(page, "pump");
      await receipt(page, "pump", "Comprobante");
      await look("pump-thanks");
      await choose(page, "vending");
      await look("vending-idle");
      await page.click("[data-fault=jam]");
      await page.waitForSelector("[data-fault=jam][aria-pressed=true]");
      await toAmount(page, "vending");
      await look("vending-order");
      await page.click("[data-fault=twice]");
      await page.waitForSelector("#vending .phone:nth-child(2)[data-face=refunded]");
      await ends(page, "vending", "not_delivered");
      await receipt(page, "vending", "Devolución");
      await look("vending-stuck");
      await page.click("[data-fault=kill]");
      await page.waitForSelector("#health[data-is=down]");
      await page.locator("#lines .c-event summary").last().click();
      await look("killed");
      await page.waitForSelector("#health[data-is=up]");
      await page.click("#vending [data-do=next]");
      await hold(page, "intent");
      await toAmount(page, "vending");
      await ends(page, "vending", "asking");
      await look("vending-intent");
      await check();
    });
  }
}
