//! A query's parameters, percent-decoded.

/// Names and values in their order, undecoded; a parameter without `=` has an empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    parameters.map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")))
}

/// What is no escape stays as it is.
pub fn decoded(text: &str, plus_is_space: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if let (Some(h), Some(l)) = (hex(*high), hex(*low)) => {
                bytes.push((h * 16 + l) as u8);
                rest = after;
                continue;
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = tail;
    }
    bytes
}
