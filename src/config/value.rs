//! The rules of single values: from text to a value, or what would be right.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{BaseUrl, read_text};
use crate::limits;
use crate::peer::{Network, Proxies};

pub(super) type Parsed<T> = Result<T, String>;

pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    let known = || {
        words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let meant = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meaning)| *meaning);
    meant.ok_or_else(|| format!("\"{text}\" is none of {}", known()))
}

pub(super) fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(text: &str, min: T, max: T) -> Parsed<T> {
    let parsed = text.parse().ok().filter(|number| (&min..=&max).contains(&number));
    parsed.ok_or_else(|| format!("{text} is not a whole number from {min} to {max}"))
}

pub(super) fn address(text: &str) -> Parsed<SocketAddr> {
    let why = || format!("\"{text}\" is not an address with a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"");
    text.parse().map_err(|_| why())
}

pub(super) fn addresses(items: &[String]) -> Parsed<Vec<SocketAddr>> {
    let list = items.iter().map(|item| address(item)).collect::<Parsed<Vec<_>>>()?;
    match first_repeated(&list) {
        Some(twice) => Err(format!("{twice} stands there twice")),
        None if list.is_empty() => Err("the list is empty; write an address such as \"0.0.0.0:8080\"".into()),
        None => Ok(list),
    }
}

pub(super) fn loopback(text: &str) -> Parsed<SocketAddr> {
    let address = address(text)?;
    let why = || {
        format!(
            "{address} can be reached from outside, but this face is for this machine alone: use 127.0.0.1 or [::1]"
        )
    };
    address
        .ip()
        .to_canonical()
        .is_loopback()
        .then_some(address)
        .ok_or_else(why)
}

pub(super) fn proxies(items: &[String]) -> Parsed<Proxies> {
    if items.len() > limits::PROXIES {
        return Err(format!(
            "names {} networks, but at most {} are taken",
            items.len(),
            limits::PROXIES
        ));
    }
    let parse = |item: &String| item.parse::<Network>().map_err(|error| error.to_string());
    Ok(Proxies(items.iter().map(parse).collect::<Parsed<_>>()?))
}

pub(super) fn flag(text: &str) -> Parsed<bool> {
    word(text, &[("true", true), ("false", false)])
}

fn first_repeated<T: PartialEq>(list: &[T]) -> Option<&T> {
    list.iter()
        .enumerate()
        .find(|(i, item)| list[..*i].contains(item))
        .map(|(_, item)| item)
}

pub(super) fn query_keys(items: &[String]) -> Parsed<Vec<String>> {
    if !(1..=limits::POLL_KEYS).contains(&items.len()) {
        return Err(format!(
            "names {} query parameters, must be 1 to {}",
            items.len(),
            limits::POLL_KEYS
        ));
    }
    if let Some(twice) = first_repeated(items) {
        return Err(format!("\"{twice}\" stands there twice"));
    }
    items.iter().map(|item| query_key(item)).collect()
}

fn query_key(text: &str) -> Parsed<String> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~'));
    match text {
        "k" => Err("\"k\" carries the URL's secret; another name is needed".into()),
        _ if plain && (1..=limits::POLL_VALUE_LEN).contains(&text.len()) => Ok(text.into()),
        _ => Err(format!(
            "\"{text}\" must be 1 to {} letters, digits, '-', '_', '.' or '~'",
            limits::POLL_VALUE_LEN
        )),
    }
}

/// As it stands in a request's first line: nothing is decoded, so that what was printed is what is compared.
pub(super) fn url_path(text: &str) -> Parsed<String> {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
    if text.starts_with('/') && plain && text.len() <= limits::URL_LEN {
        return Ok(text.into());
    }
    let rule = format!(
        "begin with '/', have no '?', '#', space or letter beyond ASCII, and at most {} characters",
        limits::URL_LEN
    );
    Err(format!("\"{text}\" is not a path: it must {rule}"))
}

pub(super) fn notification_path(text: &str) -> Parsed<String> {
    let path = url_path(text)?;
    if path.ends_with('/') {
        return Err(format!(
            "\"{path}\" must not end in '/': a '/' and the account are put behind it"
        ));
    }
    Ok(path)
}

pub(super) fn base_url(text: &str) -> Parsed<BaseUrl> {
    let why = || {
        // Before an '@' may stand a password.
        let shown = if text.contains('@') {
            "it"
        } else {
            &format!("\"{text}\"")
        };
        format!("{shown} is not an address such as \"https://pay.example.com/path\" without '?', '#' and '@'")
    };
    let url: hyper::Uri = text.parse().map_err(|_| why())?;
    let web = matches!(url.scheme_str(), Some("http" | "https"));
    let bare = url.authority().is_some_and(|host| !host.as_str().contains('@')) && !text.contains(['?', '#']);
    if !web || !bare {
        return Err(why());
    }
    if text.len() > limits::PUBLIC_URL_LEN {
        return Err(format!(
            "has {} characters, but at most {} are taken",
            text.len(),
            limits::PUBLIC_URL_LEN
        ));
    }
    Ok(BaseUrl(text.trim_end_matches('/').into()))
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(format!("\"{text}\" is not a whole path: it must begin with '/'"));
    }
    Ok(PathBuf::from(text))
}

/// Where a secret is. It is not quoted if it is no path: it may be the secret itself.
pub(super) fn secret_path(text: &str) -> Parsed<PathBuf> {
    path(text).map_err(|_| "must be the whole path of a file: it must begin with '/'".into())
}

pub(super) fn socket_path(text: &str) -> Parsed<PathBuf> {
    let path = path(text)?;
    if text.len() > limits::SOCKET_PATH_LEN {
        return Err(format!(
            "has {} bytes, but a socket's path has at most {}",
            text.len(),
            limits::SOCKET_PATH_LEN
        ));
    }
    Ok(path)
}

pub(super) fn mode(text: &str) -> Parsed<u32> {
    let octal = text
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten();
    octal
        .filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("\"{text}\" is not a mode in octal digits such as \"0660\""))
}

/// Name or number; the number is what is meant.
pub(super) fn group(text: &str) -> Parsed<u32> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let groups =
        read_text(Path::new("/etc/group"), limits::CONFIG_BYTES).map_err(|why| format!("/etc/group: {why}"))?;
    let named = groups.lines().map(|line| line.split(':')).find_map(|mut fields| {
        (fields.next() == Some(text))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    });
    named.ok_or_else(|| format!("/etc/group has no group \"{text}\"; its number may be given instead"))
}
