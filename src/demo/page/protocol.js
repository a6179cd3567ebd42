// The protocol as a sequence diagram that grows: a line for each thing that was said, its JSON behind it.

import { make, write } from "./stands.js";

// Older lines leave the page; the demo itself keeps about as many.
const KEPT = 300;

// Between which of the three lanes an arrow goes, and in which direction.
const ARROWS = {
  poll: ["right", "to-left", "Mercado Pago polls Surtidor"],
  notification: ["right", "to-left", "Mercado Pago notifies Surtidor"],
  api: ["right", "to-right", "Surtidor asks Mercado Pago"],
  control: ["left", "to-right", "The machine calls Surtidor"],
  event: ["left", "to-left", "Surtidor tells the machine"],
  server: ["middle", "", "The server’s process"],
};

// JSON indented as it was written. It is not parsed: 18525.50 would become 18525.5.
export function pretty(json) {
  let out = "", depth = 0, quoted = false;
  const line = () => "\n" + "  ".repeat(depth);
  for (let at = 0; at < json.length; at++) {
    const c = json[at];
    if (quoted) {
      out += c;
      if (c === "\\") out += json[++at] ?? "";
      else if (c === '"') quoted = false;
    } else if (c === '"') {
      quoted = true;
      out += c;
    } else if (c === "{" || c === "[") {
      const empty = json[at + 1] === "}" || json[at + 1] === "]";
      if (empty) out += c + json[++at];
      else { depth++; out += c + line(); }
    } else if (c === "}" || c === "]") {
      depth = Math.max(0, depth - 1);
      out += line() + c;
    } else if (c === ",") out += c + line();
    else if (c === ":") out += ": ";
    else if (!/\s/.test(c)) out += c;
  }
  return out;
}

function time(at) {
  const date = new Date(at);
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function tone(line) {
  if (line.channel === "server") return "bad";
  if (line.status === null) return line.channel === "event" ? "" : "bad";
  return line.status < 300 ? "good" : line.channel === "poll" && line.status === 400 ? "wait" : "bad";
}

function body(title, text) {
  return [make("dt", {}, title), make("dd", {}, make("pre", { tabindex: "0", role: "region", "aria-label": title }, /^\s*[[{]/.test(text) ? pretty(text) : text))];
}

function fill(row, line) {
  write(row.time, time(line.at));
  write(row.what, line.what);
  write(row.status, line.status === null ? "" : String(line.status));
  row.status.dataset.tone = tone(line);
  write(row.note, line.note ?? "");
  write(row.short, line.channel === "event" ? line.answer ?? "" : line.sent ?? line.answer ?? "");
  const asked = line.channel === "event" ? "The event" : "Answered";
  const parts = [...(line.sent ? body("Sent", line.sent) : []), ...(line.answer ? body(asked, line.answer) : [])];
  row.more.replaceChildren(make("p", { class: "whole" }, line.what), make("dl", {}, ...parts));
}

function makeRow(line) {
  const [where, direction, says] = ARROWS[line.channel];
  const row = {
    time: make("span", { class: "line-time" }),
    what: make("span", { class: "line-what" }),
    status: make("span", { class: "line-status" }),
    note: make("span", { class: "line-note" }),
    short: make("span", { class: "line-short" }),
    times: make("span", { class: "line-times" }),
    more: make("div", { class: "more" }),
    count: 1,
  };
  const lane = make("span", { class: `lane ${where} ${direction}` }, make("span", { class: "hidden" }, `${says}: `), make("span", { class: "arrow", "aria-hidden": "true" }));
  const summary = make("summary", {}, row.time, lane, make("span", { class: "line-main" }, row.what, row.status, row.note, row.times, row.short));
  row.element = make("li", { class: `c-${classOf(line)}` }, make("details", {}, summary, row.more));
  return row;
}

// A heartbeat is a control call that nobody wants to read every ten seconds.
function classOf(line) {
  return line.channel === "control" && line.what.endsWith("/lease") ? "lease" : line.channel;
}

export function makeProtocol() {
  const list = document.getElementById("lines");
  const scroll = list.parentElement;
  const rows = [];
  const last = new Map();

  for (const box of document.querySelectorAll(".filters input")) {
    const set = () => list.classList.toggle(`no-${box.value}`, !box.checked);
    box.addEventListener("change", set);
    set();
  }

  function add(line) {
    document.getElementById("empty").hidden = true;
    const same = [line.channel, line.what, line.status, line.note, line.machine].join(" ");
    const stuck = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 40;
    const before = last.get(line.channel);
    // The same again, while nothing else was said in between on any channel that is shown: it is counted.
    if (before && before.same === same && rows.at(-1) === before.row) {
      before.row.count++;
      before.row.at = line.at;
      write(before.row.times, `×${before.row.count}`);
      fill(before.row, line);
    } else {
      const row = makeRow(line);
      fill(row, line);
      row.at = line.at;
      // Lines come when they were answered; they stand where they were asked.
      let place = rows.length;
      while (place > 0 && rows[place - 1].at > line.at) place--;
      list.insertBefore(row.element, rows[place]?.element ?? null);
      rows.splice(place, 0, row);
      last.set(line.channel, { same, row });
      if (rows.length > KEPT) rows.shift().element.remove();
    }
    if (stuck) scroll.scrollTop = scroll.scrollHeight;
  }
  return { add };
}
