//! A Mercado Pago of fixed answers: of each order it says that it was paid, whenever it is asked; and it takes each order
//! that is put on a POS, late if the POS is a slow one. All else is unknown to it. It keeps in mind what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Order `n` has the reference `T-n`, and these plus n are its merchant order and payment.
pub const MERCHANT_ORDERS: u64 = 23_000_000_000;
pub const PAYMENTS: u64 = 109_000_000_000;
/// No order has a greater number.
pub const ORDERS: u64 = 1_000_000;
pub const COLLECTOR: u64 = 178_106_235;
pub const AMOUNT: &str = "18525.50";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Search,
    MerchantOrder,
    Payment,
    Put,
    Unknown,
}

/// How a slow POS's name begins.
pub const SLOW: &str = "SLOW";

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub what: What,
    pub asked: Instant,
    pub answered: Instant,
}

pub struct Api {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Api {
    pub const SLOW_ANSWER: Duration = Duration::from_secs(5);

    /// Runs as long as the process.
    pub fn start() -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let calls = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let calls = calls.clone();
                std::thread::spawn(move || serve(stream, &calls));
            }
        });
        Api { address, seen }
    }

    /// The calls since the last time.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().expect("no panic"))
    }
}

pub fn search(n: u64) -> String {
    get(&format!(
        "/merchant_orders/search?external_reference=T-{n}&limit=50&offset=0"
    ))
}

pub fn payment(n: u64) -> String {
    get(&format!("/v1/payments/{}", PAYMENTS + n))
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: api\r\nauthorization: Bearer {TOKEN}\r\naccept: application/json\r\n\r\n")
}

pub const TOKEN: &str = "TEST-a-token-of-a-bench";

fn serve(stream: TcpStream, calls: &Mutex<Vec<Seen>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let target = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).ok()?;
            if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.trim_end().parse().ok()?;
            }
        }
        stream.read_exact(&mut vec![0; length]).ok()?;
        let asked = Instant::now();
        if target.contains(SLOW) {
            std::thread::sleep(Api::SLOW_ANSWER);
        }
        let (what, status, body) = answer(&target);
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        stream.get_mut().write_all((head + &body).as_bytes()).ok()?;
        let answered = Instant::now();
        calls.lock().expect("no panic").push(Seen { what, asked, answered });
    }
}

fn answer(target: &str) -> (What, &'static str, String) {
    let number = |text: &str, from: u64| {
        let number = text.parse::<u64>().ok()?.checked_sub(from)?;
        (number < ORDERS).then_some(number)
    };
    let (what, body) = if let Some(query) = target.strip_prefix("/merchant_orders/search?external_reference=T-") {
        let digits = query.split('&').next().unwrap_or_default();
        let page = number(digits, 0).map(|n| {
            let order = merchant_order(n);
            format!(r#"{{"elements":[{order}],"next_offset":1,"total":1}}"#)
        });
        (What::Search, page)
    } else if let Some(id) = target.strip_prefix("/merchant_orders/") {
        (What::MerchantOrder, number(id, MERCHANT_ORDERS).map(merchant_order))
    } else if let Some(id) = target.strip_prefix("/v1/payments/") {
        (What::Payment, number(id, PAYMENTS).map(payment_of))
    } else if target.starts_with("/instore/qr/seller/collectors/") {
        (What::Put, Some("{}".to_owned()))
    } else {
        (What::Unknown, None)
    };
    match body {
        Some(body) => (what, "200 OK", body),
        None => {
            let body = r#"{"message":"not found","error":"not_found","status":404,"cause":[]}"#;
            (What::Unknown, "404 Not Found", body.into())
        }
    }
}

fn merchant_order(n: u64) -> String {
    let (id, payment) = (MERCHANT_ORDERS + n, PAYMENTS + n);
    format!(
        r#"{{"id":{id},"status":"closed","external_reference":"T-{n}","preference_id":"","marketplace":"NONE",
"notification_url":"https://pay.example.com/notifications/main","date_created":"2026-11-21T10:05:01.000-04:00",
"last_updated":"2026-11-21T10:05:09.123-04:00","sponsor_id":null,"shipping_cost":0,"total_amount":{AMOUNT},
"site_id":"MLA","paid_amount":{AMOUNT},"refunded_amount":0,"cancelled":false,"order_status":"paid",
"is_test":false,"additional_info":"","application_id":null,"shipments":[],"payouts":[],
"payer":{{"id":44444,"email":""}},"collector":{{"id":{COLLECTOR},"email":"","nickname":"STATION"}},
"payments":[{{"id":{payment},"transaction_amount":{AMOUNT},"total_paid_amount":{AMOUNT},"shipping_cost":0,
"currency_id":"ARS","status":"approved","status_detail":"accredited","operation_type":"regular_payment",
"date_approved":"2026-11-21T10:05:09.000-04:00","date_created":"2026-11-21T10:05:08.000-04:00",
"last_modified":"2026-11-21T10:05:09.000-04:00","amount_refunded":0}}],
"items":[{{"id":"","category_id":"","currency_id":"ARS","description":"SUPER","picture_url":null,"quantity":1,
"unit_price":{AMOUNT},"title":"SUPER"}}]}}"#
    )
}

fn payment_of(n: u64) -> String {
    let (id, order) = (PAYMENTS + n, MERCHANT_ORDERS + n);
    format!(
        r#"{{"id":{id},"status":"approved","status_detail":"accredited","transaction_amount":{AMOUNT},
"transaction_amount_refunded":0,"currency_id":"ARS","external_reference":"T-{n}","collector_id":{COLLECTOR},
"order":{{"id":"{order}","type":"mercadopago"}},"pos_id":null,"store_id":null,
"date_created":"2026-11-21T10:05:08.000-04:00","date_approved":"2026-11-21T10:05:09.000-04:00",
"date_last_updated":"2026-11-21T10:05:09.000-04:00","payment_method_id":"account_money",
"payment_type_id":"account_money","live_mode":true,"installments":1,"refunds":[],"captured":true,
"transaction_details":{{"net_received_amount":18377.30,"total_paid_amount":{AMOUNT},"overpaid_amount":0}}}}"#
    )
}
