// The page: it hears what is on show, draws it, and says what the visitor does. The demo itself keeps all state, so a page
// that is loaded again, or a second one, shows the same.

import { makeProtocol } from "./protocol.js";
import { BUSY, makeStand, write } from "./stands.js";
import { MODE, story } from "./words.js";

const KINDS = ["pump", "vending"];
const stands = KINDS.map((kind) => makeStand(document.getElementById(kind), kind));
const protocol = makeProtocol();
const faults = new Map([...document.querySelectorAll("[data-fault]")].map((button) => [button.dataset.fault, button]));
let state = null;
let kind = KINDS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "pump";
let said = "";

// --- what is on show

function draw() {
  stands.forEach((show) => show(state));
  const { server } = state;
  const health = document.getElementById("health");
  health.dataset.is = server.health;
  const deaths = server.deaths === 0 ? "" : `, killed ${server.deaths === 1 ? "once" : `${server.deaths}×`}`;
  write(document.getElementById("health-text"), server.health === "up" ? `Server running${deaths}` : "Server down");
  write(document.getElementById("socket"), state.place);
  const [tone, sentence] = said ? ["bad", said] : story(state, kind);
  document.getElementById("story").dataset.tone = tone;
  write(document.getElementById("story-text"), sentence);
  drawModes();
  drawFaults();
}

const modes = document.getElementById("modes");

// Another mode is for the next order: while one is open the choice stays.
function drawModes() {
  const { mode, phase } = state[kind];
  for (const radio of modes.querySelectorAll("input")) radio.checked = radio.value === mode;
  modes.disabled = BUSY.includes(phase) || phase === "filling";
  write(document.getElementById("mode-text"), MODE[mode]);
}

function drawFaults() {
  const stand = state[kind];
  const phone = stand.phones[0];
  const payable = phone?.screen === "order" && phone.payment === null && stand.phase === "asking";
  const able = { lose: true, twice: payable && stand.phones[1] === null, cancel: payable, kill: state.server.health === "up", slow: true, jam: true };
  for (const [fault, button] of faults) button.setAttribute("aria-disabled", String(!able[fault]));
  faults.get("lose").setAttribute("aria-pressed", String(state.loses));
  faults.get("slow").setAttribute("aria-pressed", String(state.slow));
  faults.get("jam").setAttribute("aria-pressed", String(state.vending.jammed));
  faults.get("jam").hidden = kind !== "vending";
}

// --- what the visitor does

async function act(action) {
  said = "";
  try {
    const answer = await fetch("/do", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(action) });
    if (!answer.ok) said = capital((await answer.text()).trim());
  } catch {
    said = "The demo does not answer. Was it ended?";
  }
  if (said && state) draw();
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + ".";
}

const FAULTS = {
  lose: () => ({ do: "lose", on: !state.loses }),
  twice: () => ({ do: "pay_twice", machine: kind }),
  cancel: () => ({ do: "cancel_while_paying", machine: kind }),
  kill: () => ({ do: "kill" }),
  slow: () => ({ do: "slow", on: !state.slow }),
  jam: () => ({ do: "jam", on: !state.vending.jammed }),
};

function actionOf({ do: what, phone, slot }) {
  switch (what) {
    case "choose": return { do: what, slot };
    case "scan": case "next": return { do: what, machine: kind };
    case "pay": case "leave": return { do: what, machine: kind, phone: Number(phone) };
    default: return { do: what };
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !state || button.getAttribute("aria-disabled") === "true") return;
  if (button.dataset.fault) act(FAULTS[button.dataset.fault]());
  else if (button.dataset.do) act(actionOf(button.dataset)).then(() => keepFocus(button));
});

modes.addEventListener("change", ({ target }) => act({ do: "mode", machine: kind, mode: target.value }));

// A button that goes away takes the keyboard's place on the page with it: the next thing to do gets it.
function keepFocus(button) {
  const stand = document.getElementById(kind);
  if (!["next", "leave"].includes(button.dataset.do) || button.matches(".phone-button")) return;
  const next = button.closest(".phone")?.hidden === false ? button.closest(".phone").querySelector(".phone-button") : stand.querySelector(".machine-button, [data-slot]");
  next.focus({ preventScroll: true });
}

// --- which machine is looked at

const tabs = KINDS.map((name) => document.getElementById(`tab-${name}`));

function choose(name, focus) {
  kind = name;
  said = "";
  KINDS.forEach((one, at) => {
    tabs[at].setAttribute("aria-selected", String(one === name));
    tabs[at].tabIndex = one === name ? 0 : -1;
    document.getElementById(one).hidden = one !== name;
    if (focus && one === name) tabs[at].focus();
  });
  history.replaceState(null, "", `#${name}`);
  if (state) draw();
}

tabs.forEach((tab, at) => {
  tab.addEventListener("click", () => choose(KINDS[at], false));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: KINDS.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(KINDS[(to + KINDS.length) % KINDS.length], true);
  });
});
if (kind !== "pump") choose(kind, false);

// --- the stream

const stream = new EventSource("/events");
stream.addEventListener("state", (event) => {
  const now = JSON.parse(event.data);
  // Another run of the demo: what this page has shown was of the old one.
  if (state && state.boot !== now.boot) return location.reload();
  state = now;
  document.body.dataset.ready = "true";
  draw();
});
stream.addEventListener("line", (event) => protocol.add(JSON.parse(event.data)));
stream.addEventListener("open", () => document.body.removeAttribute("data-lost"));
stream.addEventListener("error", () => {
  document.body.dataset.lost = "true";
  write(document.getElementById("health-text"), "The demo does not answer");
  document.getElementById("health").dataset.is = "down";
});
