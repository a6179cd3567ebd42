//! The faces that speak TLS: what each shows, until when it is good, and another one at a reload.

use metrics::{Gauge, describe_gauge, gauge};

use crate::clock::Clock;
use crate::config::Config;
use crate::tls::{Identity, Server};

pub(super) struct Secured {
    pub poll: Option<Secure>,
    pub control: Option<Secure>,
}

pub(super) struct Secure {
    pub server: Server,
    face: &'static str,
    until: Gauge,
}

impl Secured {
    pub fn new(config: &Config, clock: &Clock) -> Secured {
        let secure = |face, identity| Secure::new(face, identity, clock);
        Secured {
            poll: config.poll.tls.as_ref().map(|tls| secure("poll", &tls.identity)),
            control: config.control.tls.as_ref().map(|tls| secure("control", &tls.identity)),
        }
    }

    /// From now on what this configuration says. Whether a face speaks TLS stays as it was.
    pub fn show(&self, config: &Config, clock: &Clock) {
        let polls = self.poll.iter().zip(&config.poll.tls);
        polls.for_each(|(secure, tls)| secure.show(&tls.identity, clock));
        let control = self.control.iter().zip(&config.control.tls);
        control.for_each(|(secure, tls)| secure.show(&tls.identity, clock));
    }
}

impl Secure {
    fn new(face: &'static str, identity: &Identity, clock: &Clock) -> Secure {
        let secure = Secure {
            server: Server::new(identity),
            face,
            until: gauge!("surtidor_certificate_expiry_timestamp_seconds", "face" => face),
        };
        secure.tell(identity, clock);
        secure
    }

    fn show(&self, identity: &Identity, clock: &Clock) {
        self.server.show(identity);
        self.tell(identity, clock);
    }

    fn tell(&self, identity: &Identity, clock: &Clock) {
        let Secure { face, until, .. } = self;
        let validity = identity.validity;
        super::set(until, u64::try_from(validity.until).unwrap_or(0));
        let now = clock.now().at.0 / 1000;
        let [from, until] = [validity.from, validity.until].map(written);
        if now >= validity.until {
            tracing::warn!(
                face,
                until,
                "the certificate has expired: who connects will not trust it"
            );
        } else if now < validity.from {
            tracing::warn!(
                face,
                from,
                "the certificate is not good yet: who connects will not trust it"
            );
        } else {
            tracing::info!(face, until, "a certificate is shown");
        }
    }
}

fn written(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

pub(super) fn describe() {
    describe_gauge!(
        "surtidor_certificate_expiry_timestamp_seconds",
        "When the certificate that a face shows expires, in seconds since 1970."
    );
}
