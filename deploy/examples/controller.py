#!/usr/bin/env python3
"""The controller of a pump or a vending machine that sells through Surtidor: one sale, from filling to the receipt.

    controller.py SOCKET POS [AMOUNT TITLE]      controller.py /run/surtidor/control.sock PUMP1 18525.50 "SUPER 23.45 L"

It is the same program for an unattended, an attended and an intent point of sale. A sale that was cut off is finished
first; without AMOUNT nothing else is done. Ctrl-C is the machine's cancel button.
Exit codes: 0 delivered, 1 refused by Surtidor, 2 usage, 3 not reached, 4 not paid, 5 paid and not delivered.
"""

import http.client, itertools, json, os, signal, socket, sys, time, uuid

FILLING = RELEASING = 1  # Seconds. Here stands the machine itself: its counter, its valve, its spiral.

ENDINGS = ["order_paid", "order_rejected", "order_expired", "order_canceled", "order_replaced"]
NEWS = {"payment_rejected": "the customer may try again, unless it ends", "late_payment": "nothing is released for it"}


class Refused(Exception):
    """Surtidor said no: its status, a code for programs, a detail for people."""


def ask(method, path, body=None, fine=()):
    """Makes a call until it is answered. All calls here may be made again: Surtidor does nothing twice.
    `fine` are the codes of problems that the caller deals with."""
    while True:
        connection = http.client.HTTPConnection("surtidor")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        try:
            connection.sock.connect(SOCKET)
            connection.request(method, path, body and json.dumps(body))
            reply = connection.getresponse()
            text = reply.read().decode()
            problem = json.loads(text) if reply.status >= 400 else None
            if not problem or problem["code"] in fine:
                return text
            why = problem["detail"]
            if reply.status != 503:  # That is `busy` and the like: it passes.
                raise Refused(reply.status, problem["code"], why)
        except (OSError, http.client.HTTPException) as error:
            why = repr(error)
        finally:
            connection.close()
        print("no answer, asked again in a second:", why)
        if canceled_within(1):
            print("left as it is: start me again to finish")
            sys.exit(3)


def canceled_within(seconds):
    """Whether the button was pressed. It waits until we look, so it cuts no step in two."""
    return signal.sigtimedwait([signal.SIGINT], seconds) is not None


def recall():
    """What was kept: how far the sale has come, and the last event that was heard. 0 is the oldest there is."""
    if not os.path.exists(FILE):
        return {"phase": "idle", "after": 0}
    with open(FILE) as file:
        return json.load(file)


def keep(sale, phase):
    """Puts it on the disk, whole or not at all, before anything is done that depends on it."""
    sale["phase"] = phase
    with open(FILE + ".new", "w") as file:
        json.dump(sale, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(FILE + ".new", FILE)
    os.fsync(FOLDER)


def begin(sale, amount, title):
    filling = {"state": "in_process", "message": "Fuel is still flowing.", "lease_seconds": 30}
    ask("PUT", f"/v1/pos/{POS}/state", filling)
    print("filling")
    if canceled_within(FILLING):
        ask("PUT", f"/v1/pos/{POS}/state", {"state": "unavailable"})
        sys.exit(4)
    # A reference is never used again. Clocks and counters may begin anew after a power cut, so it is random.
    sale["order"] = {"external_reference": uuid.uuid4().hex, "amount": amount, "title": title}
    keep(sale, "begun")


def follow(sale):
    """Listens until the order ends, and says how. Whether a cancel came in time is heard here as well."""
    for turn in itertools.count():
        if turn % 5 == 0:  # Every ten seconds, or sooner: the controller is alive.
            ask("PUT", f"/v1/pos/{POS}/lease", {"seconds": 30})
        if canceled_within(0):
            print("cancel", ask("DELETE", f"/v1/pos/{POS}/order", fine=["order_paid", "order_none"]))
        path = f"/v1/events?pos={POS}&after={sale['after']}&wait=2"
        page = json.loads(ask("GET", path, fine=["events_trimmed"]))
        for event in page.get("events", []):
            kind, sale["after"] = event["type"], event.get("seq", sale["after"])  # `scanned` is live only: no number.
            ours = event.get("external_reference") == sale["order"]["external_reference"]
            if ours or kind == "late_payment":
                print(kind, event.get("reason", ""), NEWS.get(kind, ""))
            if ours and kind in ENDINGS:
                return kind
        sale["after"] = page.get("next", 0)  # Trimmed: from the oldest on.


def finish(sale):
    """Takes the sale up where it stands, and gives the exit code."""
    reference, delivery = sale["order"]["external_reference"], {"result": "dispensed"}
    if sale["phase"] == "begun":
        print("order", reference, json.loads(ask("PUT", f"/v1/pos/{POS}/order", sale["order"]))["status"])
        keep(sale, "asked")
    if sale["phase"] == "asked":
        if follow(sale) != "order_paid":
            keep(sale, "idle")
            return 4
        keep(sale, "releasing")  # From here on it is never released again.
        print("releasing", reference)
        time.sleep(RELEASING)
        keep(sale, "released")
    elif sale["phase"] == "releasing":  # We were cut off in between. A sensor would know what came out; we do not.
        delivery = {"result": "failed", "reason": "The controller was cut off while the product was released."}
    ask("PUT", f"/v1/orders/{reference}/delivery", delivery)
    print(ask("GET", f"/v1/orders/{reference}/receipt?width=32"), end="")
    keep(sale, "idle")
    return 0 if delivery["result"] == "dispensed" else 5


if len(sys.argv) not in (3, 5):
    print(__doc__)
    sys.exit(2)
SOCKET, POS = sys.argv[1:3]
FILE, FOLDER = POS + ".json", os.open(".", os.O_RDONLY)  # Where they survive a power cut.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
sys.stdout.reconfigure(line_buffering=True)
try:
    found = recall()
    code = finish(found) if found["phase"] != "idle" else 0
    if len(sys.argv) == 5:
        begin(found, *sys.argv[3:])
        code = finish(found)
    sys.exit(code)
except Refused as problem:
    # What is refused for good is not asked again. But a full disk may take it yet, and who waits for money waits on.
    if problem.args[0] < 500 and found["phase"] != "asked":
        keep(found, "idle")
    print("refused:", *problem.args)
    sys.exit(1)
