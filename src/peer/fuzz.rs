//! What must hold of whatever a connection begins with.

use super::{Announced, announced};

/// A header that is whole stays what it is, whatever follows; and while it is not, more bytes never take back that all so
/// far belong to it.
pub fn header(bytes: &[u8]) {
    let whole = announced(bytes);
    if let Ok(Some(Announced { length, .. })) = whole {
        assert!(length <= bytes.len());
        assert_eq!(announced(&bytes[..length]), whole, "what follows is not looked at");
        for end in 0..length {
            assert_eq!(announced(&bytes[..end]), Ok(None), "cut at {end}");
        }
    }
    if whole == Ok(None) {
        for end in 0..bytes.len() {
            assert_eq!(announced(&bytes[..end]), Ok(None), "cut at {end}");
        }
    }
}
