#!/usr/bin/env node
/* The controller of a pump or a vending machine that sells through Surtidor: one sale, from filling to the receipt.
 *
 *     controller.mjs SOCKET POS [AMOUNT TITLE]     controller.mjs /run/surtidor/control.sock PUMP1 18525.50 "SUPER 23.45 L"
 *
 * It needs Node 18 and no packages. It is the same program for an unattended, an attended and an intent point of sale. A
 * sale that was cut off is finished first; without AMOUNT nothing else is done. Ctrl-C is the machine's cancel button.
 * Exit codes: 0 delivered, 1 refused by Surtidor, 2 usage, 3 not reached, 4 not paid, 5 paid and not delivered. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

const FILLING = 1, RELEASING = 1; // Seconds. Here stands the machine itself: its counter, its valve, its spiral.

const ENDINGS = ['order_paid', 'order_rejected', 'order_expired', 'order_canceled', 'order_replaced'];
const NEWS = { payment_rejected: 'the customer may try again, unless it ends', late_payment: 'nothing is released for it' };

const end = (code, ...words) => (console.log(...words), process.exit(code));

/** Surtidor said no. What it refuses for good is not asked again; but a full disk may take it yet, and who waits for money
 * goes on waiting. */
function refused({ status, code, detail }) {
  if (status < 500 && sale.phase !== 'asked') keep('idle');
  end(1, 'refused:', status, code, detail);
}

/** Makes a call until it is answered. All calls here may be made again: Surtidor does nothing twice. `fine` are the codes
 * of problems that the caller deals with. */
async function ask(method, path, body, fine = []) {
  for (;;) {
    let why;
    try {
      const answer = await call(method, path, body && JSON.stringify(body));
      const problem = answer.status >= 400 ? JSON.parse(answer.text) : null;
      if (!problem || fine.includes(problem.code)) return answer.text;
      if (answer.status !== 503) refused(problem); // That is `busy` or the like: it passes.
      why = problem.detail;
    } catch (error) {
      why = error.message;
    }
    console.log('no answer, asked again in a second:', why);
    if (await canceledWithin(1)) end(3, 'left as it is: start me again to finish');
  }
}

async function call(method, path, body) {
  const signal = AbortSignal.timeout(30_000);
  const request = http.request({ socketPath: socket, method, path, signal, agent: false }); // A connection for each call.
  request.end(body);
  const [reply] = await once(request, 'response');
  return { status: reply.statusCode, text: await text(reply) };
}

/** Whether the button was pressed. It waits until we look, so it cuts no step in two. */
async function canceledWithin(seconds) {
  for (let tenths = 10 * seconds; !pressed && tenths > 0; tenths--) await sleep(100);
  const found = pressed;
  pressed = false;
  return found;
}

/** Puts the sale on the disk, whole or not at all, before anything is done that depends on it. */
function keep(phase) {
  sale.phase = phase;
  const next = fs.openSync(`${file}.new`, 'w');
  fs.writeFileSync(next, JSON.stringify(sale));
  fs.fsyncSync(next);
  fs.closeSync(next);
  fs.renameSync(`${file}.new`, file);
  fs.fsyncSync(folder);
}

async function begin(amount, title) {
  await ask('PUT', `/v1/pos/${pos}/state`, { state: 'in_process', message: 'Fuel is still flowing.', lease_seconds: 30 });
  console.log('filling');
  if (await canceledWithin(FILLING)) {
    await ask('PUT', `/v1/pos/${pos}/state`, { state: 'unavailable' });
    process.exit(4);
  }
  // A reference is never used again. Clocks and counters may begin anew after a power cut, so it is random.
  sale.order = { external_reference: randomUUID(), amount, title };
  keep('begun');
}

/** Listens until the order ends, and says how. Whether a cancel came in time is heard here as well. */
async function follow() {
  for (let turn = 0; ; turn++) {
    if (turn % 5 === 0) await ask('PUT', `/v1/pos/${pos}/lease`, { seconds: 30 }); // The controller is alive.
    if (await canceledWithin(0)) {
      console.log('cancel', await ask('DELETE', `/v1/pos/${pos}/order`, undefined, ['order_paid', 'order_none']));
    }
    const path = `/v1/events?pos=${pos}&after=${sale.after}&wait=2`;
    const page = JSON.parse(await ask('GET', path, undefined, ['events_trimmed']));
    for (const event of page.events ?? []) {
      sale.after = event.seq ?? sale.after; // `scanned` is live only: it has no number.
      const ours = event.external_reference === sale.order.external_reference;
      if (ours || event.type === 'late_payment') console.log(event.type, event.reason ?? '', NEWS[event.type] ?? '');
      if (ours && ENDINGS.includes(event.type)) return event.type;
    }
    sale.after = page.next ?? 0; // Trimmed: from the oldest on.
  }
}

/** Takes the sale up where it stands, and gives the exit code. */
async function finish() {
  const reference = sale.order.external_reference;
  let delivery = { result: 'dispensed' };
  if (sale.phase === 'begun') {
    console.log('order', reference, JSON.parse(await ask('PUT', `/v1/pos/${pos}/order`, sale.order)).status);
    keep('asked');
  }
  if (sale.phase === 'asked') {
    if ((await follow()) !== 'order_paid') return keep('idle'), 4;
    keep('releasing'); // From here on it is never released again.
    console.log('releasing', reference);
    await sleep(RELEASING * 1000);
    keep('released');
  } else if (sale.phase === 'releasing') { // We were cut off in between. A sensor would know what came out; we do not.
    delivery = { result: 'failed', reason: 'The controller was cut off while the product was released.' };
  }
  await ask('PUT', `/v1/orders/${reference}/delivery`, delivery);
  process.stdout.write(await ask('GET', `/v1/orders/${reference}/receipt?width=32`));
  keep('idle');
  return delivery.result === 'dispensed' ? 0 : 5;
}

const [socket, pos, ...order] = process.argv.slice(2);
if (!pos || ![0, 2].includes(order.length)) end(2, 'usage: controller.mjs SOCKET POS [AMOUNT TITLE]');
const file = `${pos}.json`, folder = fs.openSync('.'); // Where they survive a power cut.
// How far the sale has come, and the last event that was heard. 0 is the oldest there is.
const sale = fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : { phase: 'idle', after: 0 };
let pressed = false;
process.on('SIGINT', () => (pressed = true));
let code = sale.phase === 'idle' ? 0 : await finish();
if (order.length) {
  await begin(...order);
  code = await finish();
}
process.exit(code);
