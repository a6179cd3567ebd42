//! A station and the simulated Mercado Pago beside it, and those who buy there.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use surtidor::sandbox::{
    Account, Attempt, Flavour, Outcome, Payment, Place, Refund, Sandbox, Screen, Settings, Status, TEST_TOKEN,
};

use super::api;
use super::http::patiently;
use super::station::{CANARIES, Feed, Setup, Station};

pub struct Market {
    pub station: Station,
    pub sandbox: Sandbox,
    /// Where the station is polled and notified.
    public: String,
}

/// A port that was free a moment ago: notifications must know the station's before it starts.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// A simulated Mercado Pago that knows the station's own token and has nothing to tell. The stations that need one share it.
pub fn quiet_api() -> String {
    static QUIET: OnceLock<Sandbox> = OnceLock::new();
    let start = || {
        let settings = Settings {
            accounts: vec![Account::new(CANARIES[0], "MLA").expect("it ends in a number")],
            ..Settings::default()
        };
        Sandbox::start(settings).expect("the sandbox starts")
    };
    QUIET.get_or_init(start).base_url()
}

/// As quick as the tests want it: a phone asks again and again, and repeats come soon.
pub fn hurried() -> Settings {
    Settings {
        poll_every: Duration::from_millis(20),
        flavour: Flavour::Webhook,
        ..Settings::default().hurried(100)
    }
}

impl Market {
    pub async fn open() -> Market {
        Market::with(hurried(), "").await
    }

    /// `account` is more of the account's TOML, such as its policy.
    pub async fn with(settings: Settings, account: &str) -> Market {
        Market::limited(settings, account, 1000).await
    }

    /// The same that makes no more calls than so many a second.
    pub async fn limited(settings: Settings, account: &str, calls_per_second: u32) -> Market {
        let port = free_port();
        let dashboard_url = settings.dashboard_url.clone();
        let settings = Settings {
            dashboard_url: dashboard_url.or(Some(format!("http://127.0.0.1:{port}/notifications/shop"))),
            ..settings
        };
        let sandbox = Sandbox::start(settings).expect("the sandbox starts");
        let setup = Setup::default()
            .account(&format!(
                "id = \"shop\"\ncollector_id = 178106235\nsite = \"MLA\"\n{account}"
            ))
            .env("SURTIDOR_ACCOUNT__SHOP__ACCESS_TOKEN", TEST_TOKEN)
            .env("SURTIDOR_MERCADOPAGO__CALLS_PER_SECOND", &calls_per_second.to_string());
        Market::over(sandbox, port, setup).await
    }

    /// With an account `shop` that is set up already, at a port of its own choice.
    pub async fn over(sandbox: Sandbox, port: u16, setup: Setup) -> Market {
        let public = format!("http://127.0.0.1:{port}");
        let setup = setup
            .env("SURTIDOR_ACCOUNT__SHOP__WEBHOOK_SECRET", surtidor::sandbox::TEST_SECRET)
            .env("SURTIDOR_MERCADOPAGO__BASE_URL", &sandbox.base_url())
            .env("SURTIDOR_POLL__LISTEN", &format!("127.0.0.1:{port}"))
            .env("SURTIDOR_NOTIFICATIONS__PUBLIC_URL", &format!("{public}/notifications"));
        let station = Station::with(setup).await;
        Market {
            station,
            sandbox,
            public,
        }
    }

    /// A POS of the account that has a token.
    pub async fn register(&self, pos: &str) {
        let reply = self.station.register_as(pos, json!({"account": "shop"})).await;
        assert_eq!(reply, 201);
    }

    /// The same in another mode, and known at Mercado Pago under its own name.
    pub async fn register_at(&self, pos: &str, mode: &str) {
        api::pos(self.sandbox.address(), pos, "").await;
        let more = json!({"account": "shop", "mode": mode, "external_store_id": "S1"});
        assert_eq!(self.station.register_as(pos, more).await, 201);
    }

    /// Somebody in front of a POS of which Mercado Pago has the order.
    pub async fn stand_at(&self, pos: &str) -> Customer<'_> {
        self.scan_at(Place::Pos(pos.to_owned())).await
    }

    /// Puts an order of so many pesos on the POS.
    pub async fn push(&self, pos: &str, reference: &str, amount: &str) {
        self.push_as(
            pos,
            json!({"external_reference": reference, "amount": amount, "title": "SUPER"}),
        )
        .await;
    }

    pub async fn push_as(&self, pos: &str, order: Value) {
        assert_eq!(self.station.push(pos, order).await, 201);
    }

    /// A customer scans the POS's code, and waits until an order is shown.
    pub async fn scan(&self, pos: &str) -> Customer<'_> {
        self.scan_at(Place::Url(self.url(pos))).await
    }

    /// The URL under which the POS is polled.
    pub fn url(&self, pos: &str) -> String {
        format!("{}/pay-mp?locationId=1&positionId={pos}", self.public)
    }

    pub async fn scan_at(&self, place: Place) -> Customer<'_> {
        let scan = self.sandbox.scan(place).await.expect("a place");
        let shown = patiently(self.sandbox.shown(scan)).await.expect("an order is shown");
        let Screen::Order(merchant_order) = shown.screen else {
            panic!("{shown:?}")
        };
        Customer {
            sandbox: &self.sandbox,
            scan,
            merchant_order,
        }
    }

    pub async fn feed(&self) -> Feed {
        self.station.feed("?after=0").await
    }

    pub async fn refunds(&self, reference: &str) -> Vec<Refund> {
        self.sandbox.refunds(reference).await.expect("it answers")
    }

    /// What the simulated Mercado Pago saw us do wrong.
    pub async fn no_violations(&self) {
        let violations = self.sandbox.violations().await.expect("it answers");
        assert!(violations.is_empty(), "{violations:?}");
    }
}

/// Somebody with the order on a telephone.
pub struct Customer<'a> {
    sandbox: &'a Sandbox,
    scan: u64,
    pub merchant_order: u64,
}

impl Customer<'_> {
    pub async fn pay(&self) -> Payment {
        self.attempt(Status::Approved, None).await
    }

    pub async fn pay_part(&self, amount: &str) -> Payment {
        self.attempt(Status::Approved, Some(amount.parse().expect("an amount")))
            .await
    }

    pub async fn attempt(&self, status: Status, amount: Option<Decimal>) -> Payment {
        let attempt = Attempt {
            scan: self.scan,
            outcome: Outcome::of(status),
            amount,
        };
        self.sandbox.pay(attempt).await.expect("it is paid")
    }
}
