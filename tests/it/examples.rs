//! The controllers of `deploy/examples`, as they stand there: whole sales with a server of its own and the simulated Mercado
//! Pago, and what a server may say that is hard to bring about.

mod clerk;
mod shop;

use std::fs;
use std::path::Path;
use std::thread;

use surtidor::sandbox::Status;

use crate::support::process::text;
use clerk::{Clerk, Turn};
use shop::{Program, Shop, examples};

/// The longest that an example may be. Go's own formatter gives a line to every brace.
const LINES: usize = 149;
const LINES_IN_GO: usize = 189;

/// How the order comes to Mercado Pago. The programs are the same in each.
const MODES: [&str; 3] = ["unattended", "attended", "intent"];

#[test]
fn each_is_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let most = match path.extension().is_some_and(|extension| extension == "go") {
            true => LINES_IN_GO,
            false => LINES,
        };
        assert!(lines <= most, "{} has {lines} lines", path.display());
    }
}

#[tokio::test]
async fn from_filling_to_the_receipt() {
    for mode in MODES {
        let shop = Shop::open(mode);
        for mut sale in shop.begin() {
            sale.says(shop.ready());
            shop.pay(shop.scan(&sale).await, Status::Approved).await;
            let said = sale.ends(0);
            let order = shop.last_order(sale.pos());
            let reference = text(&order, "external_reference");
            assert_eq!(order["delivery"]["result"], "dispensed", "{mode}: {order}");
            let receipt = shop.get(&format!("/v1/orders/{reference}/receipt?width=32"));
            assert!(said.ends_with(&receipt), "{mode}: {said}");
            // There is nothing left to finish, and nothing is done twice.
            assert!(!shop.again(&sale).ends(0).contains("releasing"));
            let kinds = shop.kinds(sale.pos());
            assert_eq!(kinds[..2], ["pos_registered", "state_changed"], "{mode}");
        }
        shop.no_violations().await;
    }
}

/// An intent ends with the one attempt that it takes; an order goes on.
#[tokio::test]
async fn a_payment_is_rejected() {
    for mode in MODES {
        let shop = Shop::open(mode);
        for mut sale in shop.begin() {
            sale.says(shop.ready());
            let phone = shop.scan(&sale).await;
            shop.pay(phone, Status::Rejected).await;
            sale.says("payment_rejected");
            if mode == "intent" {
                assert!(sale.ends(4).contains("order_canceled"));
            } else {
                shop.pay(phone, Status::Approved).await;
                sale.ends(0);
            }
        }
    }
}

#[tokio::test]
async fn the_server_is_killed_between_the_push_and_the_payment() {
    for mode in MODES {
        let mut shop = Shop::open(mode);
        let mut sales = shop.begin();
        sales.iter_mut().for_each(|sale| sale.says(shop.ready()));
        shop.kill();
        sales.iter_mut().for_each(|sale| sale.says("asked again"));
        shop.start();
        for sale in &sales {
            shop.pay(shop.scan(sale).await, Status::Approved).await;
        }
        for mut sale in sales {
            let said = sale.ends(0);
            assert_eq!(said.matches("releasing").count(), 1, "{mode}: {said}");
        }
        shop.no_violations().await;
    }
}

#[tokio::test]
async fn a_sale_is_canceled_and_its_money_comes_late() {
    for mode in MODES {
        let shop = Shop::open(mode);
        // Each has a second to press the button.
        thread::scope(|at_once| {
            for mut sale in shop.begin() {
                at_once.spawn(move || {
                    sale.says("filling");
                    sale.signal("INT");
                    sale.ends(4);
                });
            }
        });
        for example in examples() {
            assert_eq!(shop.kinds(example.name).last().unwrap(), "state_changed", "{mode}");
        }
        let mut sales = shop.begin();
        for sale in &mut sales {
            sale.says(shop.ready());
            let phone = shop.scan(sale).await;
            sale.signal("INT");
            sale.ends(4);
            assert_eq!(shop.last_order(sale.pos())["status"], "canceled", "{mode}");
            shop.pay(phone, Status::Approved).await;
        }
        // Nobody is notified of an intent that was canceled, so this is found by a search half a minute later.
        for sale in sales {
            shop.hears(sale.pos(), "late_payment");
        }
        for mut sale in shop.begin() {
            sale.says("late_payment");
            sale.signal("INT");
            assert!(!sale.ends(4).contains("releasing"), "{mode}");
        }
    }
}

#[tokio::test]
async fn a_sale_that_was_cut_off_is_finished_once() {
    for mode in MODES {
        let shop = Shop::open(mode);
        for mut sale in shop.begin() {
            sale.says(shop.ready());
            sale.signal("KILL");
            shop.pay(shop.scan(&sale).await, Status::Approved).await;
            shop.hears(sale.pos(), "order_paid");
            let said = shop.again(&sale).ends(0);
            assert!(
                said.contains("order_paid") && said.contains("releasing"),
                "{mode}: {said}"
            );
        }
        for mut sale in shop.begin() {
            sale.says(shop.ready());
            shop.pay(shop.scan(&sale).await, Status::Approved).await;
            sale.says("releasing");
            sale.signal("KILL");
            let said = shop.again(&sale).ends(5);
            assert!(
                !said.contains("releasing"),
                "{mode}: nobody knows whether it came out: {said}"
            );
            shop.hears(sale.pos(), "refund_done");
            let order = shop.last_order(sale.pos());
            assert_eq!(order["delivery"]["result"], "failed", "{mode}: {order}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_said_and_forgotten() {
    let shop = Shop::open("unattended");
    for example in examples() {
        let pos = example.name;
        let said = shop.start_of(example, "NOBODY", &["1", "x"]).ends(1);
        assert!(said.contains("404") && said.contains("pos_unknown"), "{said}");
        let said = shop.start_of(example, pos, &["1.005", "x"]).ends(1);
        assert!(
            said.contains("invalid_field") && said.contains("more decimals"),
            "{said}"
        );
        shop.start_of(example, pos, &[]).ends(0);
        shop.start_of(example, pos, &["1"]).ends(2);
    }
}

// --- what a server may say ----------------------------------------------------------------------------------------

/// One sale of each example whose last event is this; and what a cancel is answered, if the button is pressed.
fn sales(cancel: Option<u16>, last: &str) -> impl Iterator<Item = (Program, Clerk)> {
    sales_with(move || Clerk::open(cancel, last))
}

fn sales_with(clerk: impl Fn() -> Clerk) -> impl Iterator<Item = (Program, Clerk)> {
    examples().iter().map(move |example| {
        let clerk = clerk();
        let program = clerk.start(example);
        (program, clerk)
    })
}

#[test]
fn whatever_ends_an_order_unpaid_is_an_exit_code() {
    let lasts = ["order_rejected", "order_expired", "order_canceled", "order_replaced"];
    let cases = lasts.map(|last| (last, sales(None, last).collect::<Vec<_>>()));
    for (last, sales) in cases {
        for (mut sale, clerk) in sales {
            let said = sale.ends(4);
            let why = said.lines().find(|line| line.starts_with(last)).expect(last);
            assert!(why.replace('\\', "").contains("because \"so\""), "{said}");
            assert!(!clerk.was_asked(Turn::Deliver), "{said}");
        }
    }
}

#[test]
fn a_cancel_ends_as_the_feed_says() {
    let cases = [
        (204, "order_canceled", 4),
        (202, "order_canceled", 4),
        (202, "order_paid", 0),
        (409, "order_paid", 0),
        (404, "order_expired", 4),
    ];
    let cases = cases.map(|case| (case, sales(Some(case.0), case.1).collect::<Vec<_>>()));
    for ((answer, last, code), sales) in cases {
        for (mut sale, clerk) in sales {
            let said = sale.ends(code);
            assert!(said.lines().any(|line| line.starts_with(last)), "{answer}: {said}");
            assert!(clerk.was_asked(Turn::Cancel), "{said}");
            assert_eq!(clerk.was_asked(Turn::Deliver), code == 0, "{answer}: {said}");
        }
    }
}

/// Another order is paid, whose metadata looks like our own event; our place in the feed is there no more; an answer is cut
/// off in the middle, one never comes, and one says that the server is busy.
#[test]
fn nothing_else_is_taken_for_our_payment() {
    for (mut sale, clerk) in sales(None, "order_expired").collect::<Vec<_>>() {
        let said = sale.ends(4);
        assert!(!said.contains("releasing"), "{said}");
        assert_eq!(said.matches("asked again").count(), 3, "{said}");
        assert_eq!(said.matches("may try again").count(), 1, "{said}");
        assert!(clerk.was_asked(Turn::Trimmed), "from the oldest on");
    }
}

/// A server whose data are gone knows nothing of what was released. That must not keep the machine from its next sale.
#[test]
fn a_delivery_that_nobody_wants_to_hear_of_is_forgotten() {
    for (mut sale, clerk) in sales_with(|| Clerk::open(None, "order_paid").without_orders()).collect::<Vec<_>>() {
        assert!(sale.ends(1).contains("order_unknown"));
        let mut again = clerk.again(&sale);
        assert!(!again.ends(0).contains("refused"), "it is over");
    }
}

#[test]
fn a_sale_is_left_where_nobody_answers() {
    for example in examples() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("nobody");
        let mut sale = Program::start(example, folder.path(), &socket, "P", &["1", "x"]);
        sale.says("asked again");
        sale.signal("INT");
        sale.ends(3);
    }
}
