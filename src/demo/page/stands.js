// The two machines, the telephones before them, and the paper that comes out. Everything is drawn from the last snapshot;
// nothing is remembered here but what the screen needs to move.

import { BAD_NEWS, money, news, says, step, waiting } from "./words.js";

// Phases in which a machine is not free for the next customer.
export const BUSY = ["sending", "asking", "canceling", "releasing"];

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// Writes only what is new: a screen reader hears of no change that is none, and a selection stays.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function mark(element, name, on) {
  if (element.getAttribute(name) !== String(on)) element.setAttribute(name, String(on));
}

const SVG = "http://www.w3.org/2000/svg";

function picture(symbol) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 48 48");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#${symbol}`);
  svg.append(use);
  return svg;
}

const SYMBOLS = { A1: "alfajor", A2: "chocolate", A3: "galletitas", B1: "agua", B2: "gaseosa", B3: "yerba" };

// One telephone. Its one button changes with what can be done, so that the keyboard's focus stays on it.
function phone(kind, number) {
  const title = make("p", { class: "phone-title" });
  const amount = make("p", { class: "phone-amount" });
  const text = make("p", { class: "phone-text" });
  const sign = make("div", { class: "phone-sign", "aria-hidden": "true" });
  const button = make("button", { class: "primary phone-button", "data-phone": number });
  const away = make("button", { class: "quiet", "data-do": "leave", "data-phone": number }, "Put it away");
  const screen = make("div", { class: "screen" }, make("div", { class: "notch", "aria-hidden": "true" }), sign, title, amount, text, button, away);
  const label = number === 1 ? "The customer’s telephone" : "A second telephone";
  const element = make("div", { class: "phone", role: "group", "aria-label": label }, screen);

  function show(state, stand) {
    const seen = stand.phones[number - 1];
    element.hidden = number === 2 && !seen;
    const face = !seen || seen.screen === "over" ? "camera" : seen.screen === "waiting" ? "waiting" : faceOf(seen);
    element.dataset.face = face;
    const verified = !["asking", "canceling"].includes(stand.phase);
    const paid = seen?.payment?.amount;
    const [heading, line, sum, label, action] = {
      camera: ["Scan to pay", seen ? "Nothing was paid." : "Point the telephone at the code on the machine.", "", "Scan the code", "scan"],
      waiting: ["Waiting for the amount", waiting(seen?.said, stand.mode), "", "Waiting…", ""],
      order: [seen?.order?.title, stand.name, money(seen?.order?.amount), `Pay ${money(seen?.order?.amount)}`, "pay"],
      paid: ["Payment approved", verified ? `To ${stand.name}` : "The machine hears of it in a moment.", money(paid), "Done", verified ? "leave" : ""],
      refunded: ["Your money is back", `From ${stand.name}`, money(seen?.payment?.refunded), "Done", "leave"],
      failed: ["Not paid", "The payment was not approved.", "", "Pay again", "pay"],
    }[face];
    write(title, heading ?? "");
    write(text, line);
    write(amount, sum);
    write(button, label);
    button.dataset.do = action;
    mark(button, "aria-disabled", action === "");
    button.dataset.next = action === "scan" ? String(["filling", "asking"].includes(stand.phase)) : String(action === "pay");
    away.hidden = !["waiting", "order"].includes(face);
  }
  return { element, show };
}

function faceOf(seen) {
  switch (seen.payment?.status) {
    case undefined: return "order";
    case "approved": return "paid";
    case "refunded": return "refunded";
    default: return "failed";
  }
}

function printer() {
  const paper = make("pre", { class: "paper", lang: "es", "aria-label": "Receipt", tabindex: "0", role: "region" });
  const element = make("div", { class: "printer-in" }, make("div", { class: "slot", "aria-hidden": "true" }), make("div", { class: "feed" }, paper), make("p", { class: "no-paper" }, "The receipt comes out here."));
  let before = null;
  function show(receipt) {
    if (receipt === before) return;
    before = receipt;
    element.dataset.printed = String(receipt !== null);
    paper.hidden = receipt === null;
    write(paper, receipt ?? "");
    // Out of the machine again, for each new text.
    paper.classList.remove("out");
    void paper.offsetHeight;
    if (receipt !== null) paper.classList.add("out");
  }
  show(undefined);
  return { element, show };
}

export function makeStand(root, kind) {
  const find = (selector) => root.querySelector(selector);
  const steps = [...root.querySelectorAll(".steps li")];
  const phones = [phone(kind, 1), phone(kind, 2)];
  const paper = printer();
  const next = make("button", { class: "quiet next", "data-do": "next" }, "Next customer");
  const trail = make("ol", { class: "trail", "aria-label": "What became of the order" });
  find(".phones").append(...phones.map((one) => one.element));
  find(".printer").append(paper.element);
  find(".outcome").append(trail, next);
  const outcome = find(".outcome");
  const slots = new Map();

  function showPump(state, stand) {
    const amount = stand.sale?.amount ?? stand.counted;
    write(find(".counted"), money(amount, null));
    write(find(".litres"), money(stand.litres, null));
    write(find(".litre-price"), money(state.litre_price, null));
    const button = find(".machine-button");
    const filling = stand.phase === "filling";
    const busy = BUSY.includes(stand.phase);
    write(button, filling ? "Hang up the nozzle" : "Lift the nozzle");
    button.dataset.do = filling ? "hang_up" : "lift";
    button.dataset.next = String(stand.phase === "idle" || (filling && stand.phones[0] !== null));
    mark(button, "aria-disabled", busy);
  }

  function showVending(state, stand) {
    const shelves = find(".shelves");
    if (slots.size === 0) {
      for (const product of state.products) {
        const button = make("button", { "data-do": "choose", "data-slot": product.slot }, picture(SYMBOLS[product.slot]), make("span", { class: "slot-name", lang: "es" }, product.title), make("span", { class: "slot-price" }, money(product.price)), make("span", { class: "slot-code" }, product.slot));
        slots.set(product.slot, button);
        shelves.append(make("li", {}, button));
      }
    }
    const busy = BUSY.includes(stand.phase);
    for (const [slot, button] of slots) {
      button.dataset.chosen = String(stand.chosen === slot);
      mark(button, "aria-disabled", busy);
    }
    const tray = find(".tray");
    const product = stand.chosen && ["releasing", "thanks", "not_delivered"].includes(stand.phase) ? stand.chosen : "";
    if (tray.dataset.product !== product) {
      tray.dataset.product = product;
      tray.querySelector("svg")?.remove();
      if (product) tray.append(picture(SYMBOLS[product]));
    }
    find(".vendor-body").dataset.jammed = String(stand.jammed);
  }

  // Drawn again when it says something else: an intent has a code of its own.
  function showCode(stand) {
    const code = find(".qr");
    const text = `QR code of ${stand.name}: ${stand.code}`;
    if (code.alt === text) return;
    code.alt = text;
    code.src = `/${kind}.svg?${encodeURIComponent(stand.code)}`;
    code.dataset.own = String(stand.code === stand.sale?.qr_data);
  }

  function showTrail(sale) {
    const items = sale?.news ?? [];
    trail.hidden = items.length === 0;
    while (trail.children.length > items.length) trail.lastChild.remove();
    items.forEach((item, at) => {
      const shown = trail.children[at] ?? trail.appendChild(make("li"));
      write(shown, news(item));
      shown.dataset.bad = String(BAD_NEWS.has(item.type));
    });
  }

  return function show(state) {
    const stand = state[kind];
    root.dataset.phase = stand.phase;
    write(find(".says"), says(stand, kind));
    showCode(stand);
    if (kind === "pump") showPump(state, stand);
    else showVending(state, stand);
    phones.forEach((one) => one.show(state, stand));
    paper.show(stand.sale?.receipt ?? null);
    showTrail(stand.sale);
    outcome.hidden = !stand.sale?.news.length && stand.phase !== "refused";
    next.hidden = !["thanks", "not_delivered", "canceled", "expired", "refused"].includes(stand.phase);
    const now = step(stand, kind);
    steps.forEach((item, at) => {
      item.dataset.is = at < now.at ? "done" : at > now.at ? "to come" : now.failed ? "failed" : "current";
      if (at === now.at) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
  };
}
