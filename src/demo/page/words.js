// What the page says. Amounts come from the server's answers and are never computed here: they are only written as people
// in Argentina write them.

export function money(amount, currency) {
  const [whole, cents = "00"] = String(amount ?? "0.00").split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ".");
  return currency === null ? `${grouped},${cents}` : `$\u00a0${grouped},${cents}`;
}

export const MODE = {
  unattended: "Surtidor holds it: Mercado Pago asks Surtidor, again and again, from when somebody scans the code.",
  attended: "Mercado Pago holds it: Surtidor puts the order on the point of sale there, and nobody has to ask.",
  intent: "Mercado Pago holds it as an intent: it has a QR code of its own, which the machine shows, and a state that Surtidor follows.",
};

const MACHINE = {
  pump: {
    idle: "Levante la manguera",
    filling: "Cargando…",
    sending: "Un momento…",
    asking: "Pague con su teléfono",
    canceling: "Cancelando…",
    releasing: "Pago recibido",
    thanks: "¡Gracias! Buen viaje",
    canceled: "Pedido cancelado",
    expired: "Tiempo agotado",
    refused: "Fuera de servicio",
  },
  vending: {
    idle: "Elegí tu producto",
    sending: "Un momento…",
    asking: "Escaneá y pagá",
    canceling: "Cancelando…",
    releasing: "Entregando…",
    thanks: "¡Gracias!",
    not_delivered: "No salió. Te devolvemos el dinero",
    canceled: "Pedido cancelado",
    expired: "Tiempo agotado",
    refused: "Fuera de servicio",
  },
};

export function says({ phase, mode }, kind) {
  return phase === "sending" && mode !== "unattended" ? "Avisando a Mercado Pago…" : MACHINE[kind][phase] ?? "";
}

// What a telephone says while it waits, by the word that its last poll was answered with.
const WAITING = {
  "": "Reading the code…",
  in_process: "Not finished yet. The amount comes when the machine is done.",
  unavailable: "Nothing to pay here yet. It keeps asking.",
  timeout: "The machine does not answer. It keeps asking.",
  invalid: "This code is not known.",
};

export function waiting(said, mode) {
  if (mode !== "unattended") return "Mercado Pago has nothing to pay here yet. The amount comes when the machine is done.";
  return WAITING[said] ?? "No connection. It keeps asking.";
}

const NEWS = {
  order_ready: "Order on the machine",
  order_shown: "Shown on a phone",
  order_sending: "On its way",
  order_sent: "At Mercado Pago",
  order_rejected: "Not taken",
  order_canceling: "Cancel asked",
  order_paid: "Paid, says the API",
  order_canceled: "Canceled",
  order_expired: "Expired",
  payment_rejected: "Payment rejected",
  late_payment: "Late payment",
  overpaid: "Paid twice",
  refund_requested: "Refund asked",
  refund_done: "Refund done",
  refund_failed: "Refund failed",
  delivery_reported: "Delivery told",
  payment_reversed: "Payment reversed",
};

export function news(item) {
  const word = NEWS[item.type] ?? item.type;
  return item.amount ? `${word} ${money(item.amount)}` : word;
}

export const BAD_NEWS = new Set(["order_rejected", "order_canceling", "order_canceled", "order_expired", "payment_rejected", "late_payment", "overpaid", "refund_failed", "payment_reversed"]);

const has = (sale, type) => sale?.news.findLast((item) => item.type === type);

// The one sentence that tells where things stand; a tone goes with it.
export function story(state, kind) {
  const stand = state[kind];
  const { sale, phase, mode } = stand;
  const polled = mode === "unattended";
  const phone = stand.phones[0];
  const amount = money(sale?.amount);
  if (state.server.health !== "up") {
    return ["bad", "The server is dead. The machine and the telephone keep asking; it is back in a moment, with all that it had acknowledged."];
  }
  const back = has(sale, "refund_done");
  const asked = has(sale, "refund_requested");
  switch (phase) {
    case "idle":
      return ["calm", phone?.screen === "waiting"
        ? polled ? "The telephone asks, and is answered 400: there is nothing to pay yet." : "The telephone waits: Mercado Pago has nothing to pay for it yet."
        : kind === "pump" ? "Lift the nozzle to begin." : "Choose a product to begin."];
    case "filling":
      return ["calm", phone?.screen === "waiting"
        ? `The telephone waits${polled ? ": its polls are answered 400, in_process" : ", and nobody is polled"}. Hang up the nozzle when you have enough.`
        : "Petrol flows. Scan the code with the telephone already, or hang up first."];
    case "sending":
      return ["calm", polled || !has(sale, "order_sending")
        ? "The machine puts the order on its point of sale."
        : `Surtidor has the order safe, and asks Mercado Pago to take it. ${state.slow ? "That is slow today: nothing can be paid before." : ""}`.trim()];
    case "asking":
      if (phone?.payment) {
        return ["calm", state.loses
          ? "Paid on the telephone, but the notification got lost. The server will ask Mercado Pago by itself: wait some ten seconds."
          : "Paid on the telephone. The server asks Mercado Pago’s API whether that is true."];
      }
      if (phone?.screen === "order") return ["calm", `The telephone shows ${money(phone.order?.amount)}. Pay it.`];
      if (polled) return ["calm", `Polls are now answered 200, with ${amount}. ${phone ? "The telephone asks again in a moment." : "Scan the code."}`];
      return ["calm", `Mercado Pago has the order over ${amount}. ${phone ? "The telephone shows it in a moment." : sale.qr_data ? "Scan its own code, which the machine shows now." : "Scan the code."}`];
    case "canceling":
      return ["bad", "The till took cash. Mercado Pago is asked to let go of the order: only its answer tells whether it was paid meanwhile."];
    case "releasing":
      return ["good", `Paid: Mercado Pago’s API confirms ${amount}. The machine may go on.`];
    case "thanks":
      if (has(sale, "overpaid")) {
        return back
          ? ["good", `Paid twice: one payment was kept, and ${money(back.amount)} went back.`]
          : ["calm", "Paid twice. One payment is kept, the other is on its way back."];
      }
      return ["good", kind === "pump"
        ? `Paid: ${amount}. The pump says thanks and prints the receipt.`
        : `Paid: ${amount}. Take your ${sale.title}; the receipt is printed.`];
    case "not_delivered":
      return back
        ? ["good", `The product got stuck, so ${money(back.amount)} went back.`]
        : ["bad", "The product got stuck. The machine has told the server, and the refund follows."];
    case "canceled":
      if (back) return ["good", `Canceled at the till, yet paid on the telephone: ${money(back.amount)} went back.`];
      if (asked || has(sale, "late_payment")) return ["bad", "Money came for a canceled order. It is on its way back."];
      if (mode === "intent" && phone?.payment) return ["bad", "Money came for a canceled intent. Mercado Pago tells nobody of that: the server’s own search finds it, within half a minute."];
      return ["calm", "Canceled at the till, while the telephone still shows the amount."];
    case "expired":
      return ["bad", "Nobody paid in time."];
    default:
      return ["bad", sale?.problem ?? "The server refused the order."];
  }
}

// The step that comes next, counted from 0; as many as there are steps when all is done. One that will not come any more
// is `failed`.
export function step(stand, kind) {
  const at = place(stand, kind);
  return { at, failed: ["not_delivered", "canceled", "expired", "refused"].includes(stand.phase) };
}

function place({ phase, phones }, kind) {
  const scanned = phones[0] !== null;
  if (kind === "pump") {
    if (phase === "thanks") return 5;
    if (["canceled", "expired", "refused"].includes(phase)) return 3;
    if (phase === "releasing") return 4;
    if (phase === "asking" || phase === "canceling") return scanned ? 3 : 1;
    if (phase === "filling") return scanned ? 2 : 1;
    return phase === "sending" ? 3 : 0;
  }
  if (phase === "thanks") return 4;
  if (phase === "releasing" || phase === "not_delivered") return 3;
  if (["canceled", "expired", "refused"].includes(phase)) return 2;
  if (["asking", "canceling", "sending"].includes(phase)) return scanned ? 2 : 1;
  return 0;
}
