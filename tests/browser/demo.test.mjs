// The demo as a visitor has it, in a real browser: whole sales, all that goes wrong, and what the page must never do. Each
// ends with a look at the page, at the control socket and at the simulated Mercado Pago.

import assert from "node:assert/strict";
import net from "node:net";
import { after, before, test } from "node:test";

import { OF, browse, choose, ends, history, hold, order, pay, payments, receipt, says, startDemo, toAmount, visit } from "./support.mjs";

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

// "$ 8.135,40" and "8135.40" are the same.
const digits = (written) => written.replace(/[^0-9,]/g, "").replace(",", ".");

for (const kind of ["pump", "vending"]) {
  const reference = OF[kind];

  test(`${kind}: it is paid`, async (t) => {
    const demo = await startDemo(t);
    const { page, check } = await visit(browser, demo);
    const amount = await toAmount(page, kind);
    await pay(page, kind);
    await ends(page, kind, "thanks");
    await says(page, `Paid: ${amount}`);
    await receipt(page, kind, digits(amount));
    assert.match(await page.textContent(`#${kind} .says`), /Gracias/);
    assert.equal((await order(demo, reference)).amount, digits(amount));
    assert.deepEqual(await history(demo, reference), ["order_ready", "order_shown", "order_paid", "delivery_reported"]);
    assert.deepEqual(await payments(demo, reference), ["approved"]);
    for (const channel of ["poll", "control", "event", "notification", "api"]) {
      assert.ok((await page.locator(`#lines .c-${channel}`).count()) > 0, `${channel} is shown`);
    }
    await page.click(`#${kind} [data-do=next]`);
    await ends(page, kind, "idle");
    await page.waitForSelector(`#${kind} .phone[data-face=camera]`);
    await check();
  });

  test(`${kind}: the notification is lost, and the payment is found`, async (t) => {
    const demo = await startDemo(t);
    const { page, check } = await visit(browser, demo);
    await choose(page, kind);
    await page.click("[data-fault=lose]");
    await page.waitForSelector("[data-fault=lose][aria-pressed=true]");
    await toAmount(page, kind);
    await pay(page, kind);
    await says(page, "the notification got lost");
    await ends(page, kind, "thanks");
    await page.waitForSelector("[data-fault=lose][aria-pressed=false]");
    assert.ok((await page.locator("#lines .c-notification", { hasText: "lost on the way" }).count()) > 0);
    assert.ok((await history(demo, reference)).includes("order_paid"));
    assert.deepEqual(await payments(demo, reference), ["approved"]);
    await check();
  });

  test(`${kind}: it is paid twice, and one payment goes back`, async (t) => {
    const demo = await startDemo(t);
    const { page, check } = await visit(browser, demo);
    const amount = await toAmount(page, kind);
    await page.click("[data-fault=twice]");
    await page.waitForSelector(`#${kind} .phone:nth-child(2)[data-face=refunded]`);
    await says(page, `one payment was kept, and ${amount} went back`);
    await page.waitForSelector(`#${kind} .phone:nth-child(1)[data-face=paid]`);
    await receipt(page, kind, "Devolución");
    const told = await history(demo, reference);
    assert.ok(told.includes("overpaid") && told.includes("refund_done"), told.join());
    assert.deepEqual(await payments(demo, reference), ["approved", "refunded"]);
    await check();
  });

  test(`${kind}: it is canceled while it is paid, and the money goes back`, async (t) => {
    const demo = await startDemo(t);
    const { page, check } = await visit(browser, demo);
    const amount = await toAmount(page, kind);
    await page.click("[data-fault=cancel]");
    await says(page, `Canceled at the till, yet paid on the telephone: ${amount} went back`);
    await page.waitForSelector(`#${kind} .phone[data-face=refunded]`);
    const told = await history(demo, reference);
    assert.ok(told.includes("late_payment") && !told.includes("order_paid"), told.join());
    assert.equal((await order(demo, reference)).status, "canceled");
    assert.deepEqual(await payments(demo, reference), ["refunded"]);
    await check();
  });

  test(`${kind}: the server is killed while it is paid, and knows all when it is back`, async (t) => {
    const demo = await startDemo(t);
    const { page, check } = await visit(browser, demo);
    await toAmount(page, kind);
    await page.click("[data-fault=kill]");
    await page.waitForSelector("#health[data-is=down]");
    await pay(page, kind);
    await says(page, "The server is dead");
    await page.waitForSelector(`#${kind} .phone[data-face=paid]`);
    await page.waitForSelector("#health[data-is=up]");
    await ends(page, kind, "thanks");
    assert.match(await page.textContent("#health-text"), /killed once/);
    const told = await history(demo, reference);
    assert.equal(told.filter((type) => type === "order_paid").length, 1);
    assert.deepEqual(await payments(demo, reference), ["approved"]);
    await check();
  });
}

for (const [mode, kind] of [["attended", "pump"], ["intent", "vending"]]) {
  const reference = OF[kind];

  test(`${mode}: the ${kind}'s order is at Mercado Pago, and is paid there`, async (t) => {
    const demo = await startDemo(t);
    const { page, check } = await visit(browser, demo);
    await choose(page, kind);
    await hold(page, mode);
    const printed = await page.getAttribute(`#${kind} .qr`, "src");
    const amount = await toAmount(page, kind);
    await ends(page, kind, "asking");
    assert.equal(await page.isDisabled("#modes [value=unattended]"), true, "an open order keeps its mode");
    assert.equal((await page.getAttribute(`#${kind} .qr`, "src")) !== printed, mode === "intent", "an intent has a code of its own");
    assert.equal(await page.evaluate((kind) => document.querySelector(`#${kind} .qr`).naturalWidth > 0, kind), true, "it is drawn");
    await pay(page, kind);
    await ends(page, kind, "thanks");
    await says(page, `Paid: ${amount}`);
    await receipt(page, kind, digits(amount));
    assert.equal(await page.getAttribute(`#${kind} .qr`, "src"), printed);
    assert.deepEqual(await history(demo, reference), ["order_sending", "order_sent", "order_paid", "delivery_reported"]);
    assert.equal((await order(demo, reference)).mode, mode);
    assert.deepEqual(await payments(demo, reference), ["approved"]);
    assert.equal(await page.locator("#lines .c-poll").count(), 0, "nobody polls");
    // The other machine has kept its mode.
    await choose(page, kind === "pump" ? "vending" : "pump");
    assert.equal(await page.isChecked("#modes [value=unattended]"), true);
    await check();
  });

  test(`${mode}: it is slow, and a cancel waits for Mercado Pago`, async (t) => {
    const demo = await startDemo(t);
    const { page, check } = await visit(browser, demo);
    await choose(page, kind);
    await hold(page, mode);
    await page.click("[data-fault=slow]");
    await page.waitForSelector("[data-fault=slow][aria-pressed=true]");
    const shown = toAmount(page, kind);
    await says(page, "asks Mercado Pago to take it");
    assert.match(await page.textContent(`#${kind} .says`), /Avisando/);
    await shown;
    await ends(page, kind, "asking");
    await page.click("[data-fault=cancel]");
    await ends(page, kind, "canceling");
    await says(page, "asked to let go of the order");
    await ends(page, kind, "canceled");
    const told = await history(demo, reference);
    assert.deepEqual(told.slice(0, 4), ["order_sending", "order_sent", "order_canceling", "order_canceled"]);
    await check();
  });
}

test("vending: the product is stuck, and the refund follows", async (t) => {
  const demo = await startDemo(t);
  const { page, check } = await visit(browser, demo, { hash: "#vending" });
  await page.click("[data-fault=jam]");
  await page.waitForSelector("[data-fault=jam][aria-pressed=true]");
  const amount = await toAmount(page, "vending");
  await pay(page, "vending");
  await ends(page, "vending", "not_delivered");
  await says(page, `The product got stuck, so ${amount} went back`);
  await page.waitForSelector("#vending .phone[data-face=refunded]");
  await receipt(page, "vending", "Producto no entregado");
  await page.waitForSelector("[data-fault=jam][aria-pressed=false]");
  assert.equal((await order(demo, OF.vending)).delivery.result, "failed");
  assert.deepEqual(await payments(demo, OF.vending), ["refunded"]);
  await check();
});

test("a reload and a second visitor see the same, in the middle of it", async (t) => {
  const demo = await startDemo(t);
  const first = await visit(browser, demo);
  await first.page.click("#pump [data-do=lift]");
  await first.page.click("#pump .phone [data-do=scan]");
  await first.page.waitForSelector("#lines .c-poll");
  const second = await visit(browser, demo, { viewport: { width: 390, height: 844 } });
  await second.page.waitForSelector("#pump[data-phase=filling] .phone[data-face=waiting]");
  await first.page.reload();
  await first.page.waitForSelector("#pump[data-phase=filling] .phone[data-face=waiting]");
  await second.page.click("#pump [data-do=hang_up]");
  for (const { page } of [first, second]) await page.waitForSelector("#pump .phone[data-face=order]");
  await first.page.click("#pump .phone [data-do=pay]");
  for (const { page } of [first, second]) {
    await ends(page, "pump", "thanks");
    await receipt(page, "pump", "Comprobante");
  }
  const seen = (page) => page.evaluate(() => ["#pump .litres", "#pump .counted", "#pump .paper", "#pump .trail", "#story-text"].map((at) => document.querySelector(at).textContent));
  assert.deepEqual(await seen(first.page), await seen(second.page));
  await first.page.reload();
  await receipt(first.page, "pump", "Comprobante");
  await first.check();
  await second.check();
});

test("a page whose connection is cut goes on where it was", async (t) => {
  const demo = await startDemo(t);
  // Through another port, as when it is forwarded to somebody else's machine.
  const wires = new Set();
  const forward = net.createServer((near) => {
    const far = net.connect(new URL(demo.page).port, "127.0.0.1");
    near.pipe(far).pipe(near);
    for (const wire of [near, far]) wires.add(wire.on("error", () => wire.destroy()));
  });
  await new Promise((tell) => forward.listen(0, "127.0.0.1", tell));
  t.after(() => forward.close());
  const { page, context, faults } = await visit(browser, { page: `http://localhost:${forward.address().port}/` });
  await toAmount(page, "vending");
  const lines = () => page.locator("#lines .line-what").allTextContents();
  const before = await lines();
  wires.forEach((wire) => wire.destroy());
  await page.waitForSelector("body[data-lost]");
  await page.waitForSelector("body:not([data-lost])");
  await pay(page, "vending");
  await receipt(page, "vending", "Comprobante");
  const after = await lines();
  assert.ok(after.length > before.length);
  assert.equal(after.filter((what) => what === "PUT /v1/pos/VEND1/order").length, 1, "no line is there twice");
  assert.deepEqual(await page.locator("#lines .line-what").evaluateAll((all) => all.filter((what) => what.textContent === "order_ready").length), 1);
  // The cut itself is told by the browser, and nothing else.
  assert.deepEqual(faults.filter((fault) => !fault.includes("net::ERR")), []);
  await context.close();
});

test("all of it by keyboard", async (t) => {
  const demo = await startDemo(t);
  const { page, check } = await visit(browser, demo);
  // Tabs on until the button has the focus, and shows that.
  const reach = async (text) => {
    for (let presses = 0; presses < 80; presses++) {
      const at = await page.evaluate(() => document.activeElement.textContent.trim());
      if (at.startsWith(text)) {
        const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
        assert.notEqual(outline, "none", `${text} shows its focus`);
        return;
      }
      await page.keyboard.press("Tab");
    }
    assert.fail(`${text} cannot be reached`);
  };
  await reach("Lift the nozzle");
  await page.keyboard.press("Enter");
  await ends(page, "pump", "filling");
  await reach("Scan the code");
  await page.keyboard.press("Space");
  await page.waitForSelector("#pump .phone[data-face=waiting]");
  await page.keyboard.press("Shift+Tab");
  await reach("Hang up the nozzle");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#pump .phone[data-face=order]");
  await reach("Pay $");
  await page.keyboard.press("Enter");
  await ends(page, "pump", "thanks");
  await reach("Next customer");
  await page.keyboard.press("Enter");
  await ends(page, "pump", "idle");
  await page.waitForFunction(() => document.activeElement.textContent === "Lift the nozzle");
  // The tabs are one stop, and arrows choose.
  await page.focus("#tab-pump");
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(() => document.activeElement.id), "tab-vending");
  await reach("Gaseosa");
  await page.keyboard.press("Enter");
  await reach("Scan the code");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#vending .phone[data-face=order]");
  await reach("Pay $");
  await reach("Cancel while paying");
  await page.keyboard.press("Enter");
  await ends(page, "vending", "canceled");
  await page.waitForSelector("#vending .phone[data-face=refunded]");
  await check();
});

test("the first paint comes within a second, also with a long protocol", async (t) => {
  const demo = await startDemo(t);
  for (let round = 0; round < 2; round++) {
    const { page, check } = await visit(browser, demo);
    const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
    assert.ok(paint < 1_000, `${paint} ms`);
    if (round === 0) {
      await toAmount(page, "vending");
      await page.click("[data-fault=twice]");
      await page.waitForSelector("#vending .phone:nth-child(2)[data-face=refunded]");
    }
    await check();
  }
});

test("a line opens, amounts stay as they were written, and filters hide", async (t) => {
  const demo = await startDemo(t);
  const { page, check } = await visit(browser, demo);
  await toAmount(page, "vending");
  const poll = page.locator("#lines .c-poll", { hasText: "VEND1-0001" });
  await poll.locator("summary").click();
  assert.match(await poll.locator("pre").textContent(), /"unit_price": 2100\.00\b/);
  await page.click(".filters .c-poll");
  assert.equal(await poll.isVisible(), false);
  assert.equal(await page.locator("#lines .c-lease").first().isVisible(), false);
  await page.click(".filters .c-lease");
  assert.equal(await page.locator("#lines .c-lease").first().isVisible(), true);
  await check();
});

test("nothing moves for who wants it so", async (t) => {
  const demo = await startDemo(t);
  const { page, check } = await visit(browser, demo, { reducedMotion: "reduce" });
  await page.click("#pump [data-do=lift]");
  await page.click("#pump .phone [data-do=scan]");
  await page.waitForSelector("#pump .phone[data-face=waiting]");
  const moving = () => page.evaluate(() => document.getAnimations().filter((one) => one.playState === "running" && one.effect.getComputedTiming().endTime > 50).length);
  assert.equal(await moving(), 0);
  await check();
});
