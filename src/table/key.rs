//! From a query string to the bytes by which a POS is found, without allocating.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use crate::domain::pos::POLL_KEY_SEPARATOR;
use crate::limits;

/// The parameter that carries a POS's secret.
const SECRET_NAME: &[u8] = b"k";

/// The query parameters that name a POS, in their configured order.
#[derive(Debug, Clone)]
pub struct Names(Vec<Box<[u8]>>);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} different names, none of them empty or `k`", limits::POLL_KEYS)]
pub struct BadNames;

/// Where a poll's values are joined: on its stack.
pub(super) struct Buffer {
    bytes: [u8; limits::POLL_KEY_LEN],
    len: usize,
}

/// What a poll asks for.
pub(super) struct Asked<'a> {
    pub(super) key: &'a [u8],
    /// The secret as it stands in the query, undecoded.
    pub(super) secret: Option<&'a [u8]>,
}

impl Names {
    pub fn new<S: AsRef<str>>(names: &[S]) -> Result<Names, BadNames> {
        let names: Vec<Box<[u8]>> = names.iter().map(|name| name.as_ref().as_bytes().into()).collect();
        let usable = |name: &[u8]| !name.is_empty() && name != SECRET_NAME;
        let different = names.iter().enumerate().all(|(i, name)| !names[..i].contains(name));
        if (1..=limits::POLL_KEYS).contains(&names.len()) && different && names.iter().all(|name| usable(name)) {
            Ok(Names(names))
        } else {
            Err(BadNames)
        }
    }

    /// `None` if a parameter is missing, or longer than any that could be registered.
    #[inline]
    pub(super) fn read<'a>(&self, query: &'a [u8], with_secret: bool, buffer: &'a mut Buffer) -> Option<Asked<'a>> {
        let rest = match self.read_usual(query, buffer) {
            Some(rest) => rest,
            None => {
                self.read_any(query, buffer)?;
                query
            }
        };
        let secret = if with_secret { find(rest, SECRET_NAME) } else { None };
        Some(Asked {
            key: &buffer.bytes[..buffer.len],
            secret,
        })
    }

    /// The query as we print it: the parameters first, in order, without escapes. Gives what follows them.
    #[inline]
    fn read_usual<'a>(&self, query: &'a [u8], buffer: &mut Buffer) -> Option<&'a [u8]> {
        let mut rest = query;
        for (i, name) in self.0.iter().enumerate() {
            rest = rest.strip_prefix(&**name)?.strip_prefix(b"=")?;
            buffer.separate(i)?;
            let end = rest.iter().position(|byte| matches!(byte, b'&' | b'%' | b'+'));
            let len = end.unwrap_or(rest.len());
            if !matches!(rest.get(len), None | Some(b'&')) {
                return None;
            }
            buffer.extend(&rest[..len])?;
            rest = rest.get(len + 1..).unwrap_or_default();
        }
        Some(rest)
    }

    /// Any order, any escapes; what is not ours is ignored, and of a repeated parameter the first counts.
    fn read_any(&self, query: &[u8], buffer: &mut Buffer) -> Option<()> {
        buffer.len = 0;
        for (i, name) in self.0.iter().enumerate() {
            buffer.separate(i)?;
            for byte in decoded(find(query, name)?) {
                buffer.push(byte)?;
            }
        }
        Some(())
    }
}

impl Buffer {
    #[inline]
    pub(super) fn new() -> Buffer {
        Buffer {
            bytes: [0; limits::POLL_KEY_LEN],
            len: 0,
        }
    }

    #[inline]
    fn push(&mut self, byte: u8) -> Option<()> {
        *self.bytes.get_mut(self.len)? = byte;
        self.len += 1;
        Some(())
    }

    #[inline]
    fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// Before value number `i`. A value that contains the separator itself makes one part too many: it is found under no
    /// registered key.
    #[inline]
    fn separate(&mut self, i: usize) -> Option<()> {
        if i == 0 {
            Some(())
        } else {
            self.push(POLL_KEY_SEPARATOR as u8)
        }
    }
}

/// The undecoded value of the first parameter with this name.
fn find<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|byte| *byte == b'&').find_map(|parameter| {
        let end = parameter
            .iter()
            .position(|byte| *byte == b'=')
            .unwrap_or(parameter.len());
        let is_it = decoded(&parameter[..end]).eq(name.iter().copied());
        is_it.then(|| parameter.get(end + 1..).unwrap_or_default())
    })
}

/// Percent-decoded, `+` as a space; an escape that is none stands for itself, as browsers have it.
pub(super) fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, next) = match rest {
            [b'%', high, low, next @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(*high) << 4 | hex(*low), next)
            }
            [b'+', next @ ..] => (b' ', next),
            [byte, next @ ..] => (*byte, next),
            [] => return None,
        };
        rest = next;
        Some(byte)
    })
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[&str], query: &str) -> Option<String> {
        let names = Names::new(names).expect("good names");
        let mut buffer = Buffer::new();
        let asked = names.read(query.as_bytes(), false, &mut buffer)?;
        Some(String::from_utf8_lossy(asked.key).replace('\u{1f}', "|"))
    }

    #[test]
    fn a_query_names_a_pos() {
        let long = "x".repeat(limits::POLL_KEY_LEN - 2);
        let too_long = format!("positionId=1&locationId={long}y");
        let just_fits = format!("locationId={long}&positionId=1");
        let (empty, both) = (Some("|"), Some("6232|1"));
        for (query, key) in [
            ("locationId=6232&positionId=1", both),
            ("positionId=1&locationId=6232", both),
            ("locationId=6232&positionId=1&x=2", both),
            ("x=2&locationId=6232&y&positionId=1", both),
            ("locationId=6232&x=2&positionId=1", both),
            ("&&locationId=6232&&positionId=1&", both),
            ("locationId=%36232&positionId=%31", both),
            ("%6cocationId=6232&p%6FsitionId=1", both),
            ("locationId=6232&positionId=1&locationId=9", both),
            ("positionId=1&positionId=2&locationId=6232", both),
            ("locationId=6232&positionId=1&%70ositionId=2", both),
            ("locationId=a+b&positionId=a%2Bb", Some("a b|a+b")),
            ("locationId=%C3%B1&positionId=ñ", Some("ñ|ñ")),
            ("locationId=%&positionId=%4", Some("%|%4")),
            ("locationId=%zz&positionId=%+1", Some("%zz|% 1")),
            ("locationId=a=b&positionId==", Some("a=b|=")),
            ("locationId=a%1Fb&positionId=1", Some("a|b|1")),
            ("locationId=&positionId=", empty),
            ("locationId&positionId", empty),
            ("", None),
            ("&", None),
            ("locationId=6232", None),
            ("locationid=6232&positionId=1", None),
            ("locationId=6232;positionId=1", None),
            ("locationIdx=6232&positionId=1", None),
            (&just_fits, Some(&format!("{long}|1"))),
            (&too_long, None),
        ] {
            assert_eq!(read(&["locationId", "positionId"], query).as_deref(), key, "{query}");
        }
    }

    #[test]
    fn one_name_or_four() {
        assert_eq!(read(&["pos"], "pos=7").as_deref(), Some("7"));
        assert_eq!(read(&["pos"], "a=1&pos=7&b").as_deref(), Some("7"));
        assert_eq!(
            read(&["a", "b", "c", "d"], "d=4&c=3&b=2&a=1").as_deref(),
            Some("1|2|3|4")
        );
        assert_eq!(read(&["año"], "a%C3%B1o=1").as_deref(), Some("1"));
    }

    /// However a query is written, the quick reading and the general one agree, or the quick one declines.
    #[test]
    fn both_readings_agree() {
        let names = Names::new(&["a", "b"]).expect("good names");
        let parts = ["a=1", "b=2", "a=%33", "b=+", "c", "", "a", "b=4"];
        for i in 0..parts.len().pow(3) {
            let query = [i % 8, i / 8 % 8, i / 64].map(|part| parts[part]).join("&");
            let (mut quick, mut general) = (Buffer::new(), Buffer::new());
            if names.read_usual(query.as_bytes(), &mut quick).is_some() {
                names.read_any(query.as_bytes(), &mut general).expect(&query);
                assert_eq!(quick.bytes[..quick.len], general.bytes[..general.len], "{query}");
            }
        }
    }

    #[test]
    fn the_secret_is_found_wherever_it_stands() {
        let names = Names::new(&["a"]).expect("good names");
        for query in ["a=1&k=s", "k=s&a=1", "a=1&%6B=s&k=t", "a=%31&x&k=s"] {
            let mut buffer = Buffer::new();
            let asked = names.read(query.as_bytes(), true, &mut buffer).expect(query);
            assert_eq!((asked.key, asked.secret), (&b"1"[..], Some(&b"s"[..])), "{query}");
        }
        let mut buffer = Buffer::new();
        assert_eq!(names.read(b"a=1", true, &mut buffer).expect("a key").secret, None);
    }

    #[test]
    fn names_are_few_different_and_not_ours() {
        assert!(Names::new(&["a", "b", "c", "d"]).is_ok());
        for bad in [&[][..], &[""], &["k"], &["a", "a"], &["a", "b", "c", "d", "e"]] {
            assert_eq!(Names::new(bad).err(), Some(BadNames), "{bad:?}");
        }
    }
}
