//! What may change while the server runs, and what needs a restart.

use super::secret::Secret;
use super::{Config, Control, ControlTls, Data, Notifications, Poll, PollTls};

/// `Err` names the keys that changed although they cannot: what is bound, open or printed on machines stays.
///
/// Accounts, their secrets, certificates with their keys, `poll.connections` and `mercadopago.calls_per_second` may change;
/// but not an account's site, since its orders are in another currency then. Each struct is taken apart, so that a new key
/// cannot be forgotten here.
pub fn reloadable(old: &Config, new: &Config) -> Result<(), Vec<String>> {
    let Config {
        poll,
        control,
        admin,
        data,
        notifications,
        mercadopago,
        accounts,
    } = old;
    let Poll {
        listen,
        tls: poll_tls,
        path,
        keys,
        secrets,
        threads,
        connections: _,
        proxies,
        proxy_protocol,
    } = poll;
    let Control {
        socket,
        socket_mode,
        socket_group,
        token,
        tcp,
        tls: control_tls,
    } = control;
    // Another certificate and key may come at any time, from another file as well.
    let polls = |tls: &Option<PollTls>| tls.as_ref().map(|PollTls { listen, identity: _ }| listen.clone());
    let secured = |tls: &Option<ControlTls>| tls.as_ref().map(|tls| tls.listen);
    let Data { dir, keep_days } = data;
    let Notifications {
        path: notification_path,
        public_url,
    } = notifications;
    let rows = [
        ("poll.listen", *listen == new.poll.listen),
        ("poll.path", *path == new.poll.path),
        ("poll.keys", *keys == new.poll.keys),
        ("poll.secret_file", same(secrets, &new.poll.secrets)),
        ("poll.threads", *threads == new.poll.threads),
        ("poll.proxies", *proxies == new.poll.proxies),
        ("poll.proxy_protocol", *proxy_protocol == new.poll.proxy_protocol),
        ("control.socket", *socket == new.control.socket),
        ("control.socket_mode", *socket_mode == new.control.socket_mode),
        ("control.socket_group", *socket_group == new.control.socket_group),
        ("poll.tls.listen", polls(poll_tls) == polls(&new.poll.tls)),
        ("control.tcp", *tcp == new.control.tcp),
        ("control.tls.listen", secured(control_tls) == secured(&new.control.tls)),
        ("control.token_file", same(token, &new.control.token)),
        ("admin.listen", admin.listen == new.admin.listen),
        ("data.dir", *dir == new.data.dir),
        ("data.keep_days", *keep_days == new.data.keep_days),
        ("notifications.path", *notification_path == new.notifications.path),
        ("notifications.public_url", *public_url == new.notifications.public_url),
        ("mercadopago.base_url", mercadopago.base_url == new.mercadopago.base_url),
    ];
    let moved = accounts.iter().filter(|old| {
        let same = new.accounts.iter().find(|new| new.id == old.id);
        same.is_some_and(|new| new.site != old.site)
    });
    let changed: Vec<_> = rows
        .into_iter()
        .filter(|(_, unchanged)| !unchanged)
        .map(|(key, _)| key.to_owned())
        .chain(moved.map(|account| format!("account.site of {}", account.id)))
        .collect();
    if changed.is_empty() { Ok(()) } else { Err(changed) }
}

fn same<'a>(old: impl IntoIterator<Item = &'a Secret>, new: impl IntoIterator<Item = &'a Secret>) -> bool {
    let (old, new): (Vec<_>, Vec<_>) = (old.into_iter().collect(), new.into_iter().collect());
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.same_as(new))
}
