//! `x-signature`, as Mercado Pago documents it (`protocol.md`, 4.5). Written here a second time on purpose.

use ring::hmac::{HMAC_SHA256, Key, sign};

/// The header for a notification. `data_id` is the query's `data.id`; a part that is not there is left out.
pub fn signature(secret: &str, data_id: Option<&str>, request_id: Option<&str>, ts: &str) -> String {
    let mut manifest = String::new();
    for (name, value) in [("id", data_id), ("request-id", request_id), ("ts", Some(ts))] {
        if let Some(value) = value {
            manifest.push_str(&format!("{name}:{value};"));
        }
    }
    let hash = sign(&Key::new(HMAC_SHA256, secret.as_bytes()), manifest.as_bytes());
    format!("ts={ts},v1={}", hex(hash.as_ref()))
}

/// In lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `protocol.md`.
    #[test]
    fn the_documented_vectors() {
        let id = "ord01jq4s4ky8hwq6na5pxb65b3d3";
        let request = "2066ca19-c6f1-498a-be75-1923005edd06";
        #[rustfmt::skip]
        let vectors = [
            (Some(id.to_owned()), Some(request), "633f91233312dd391ec75fa0bea539cfc2d6c4918873305b84a96cc1c58db71c"),
            (Some(id.to_uppercase()), Some(request), "fb15ae6472eb449173c556793205d77787d58f384d183bb5bc3b724c27bd103c"),
            (Some(id.to_owned()), None, "a20c44820ab71562e89a7c9f64d5636efc8beba587b16c2f9bbbc3504892741a"),
            (None, Some(request), "8a7b0cc777a8217c3bab41a50c95dc92debbc6f8448f1c967dfe10ac1cb8b894"),
            (None, None, "3f075add3ddb923bebf0bc0648457b8244cf4420b98d5b445167d379bec0ca54"),
        ];
        for (id, request, hash) in vectors {
            let header = signature("your_secret_key_here", id.as_deref(), request, "1742505638683");
            assert_eq!(header, format!("ts=1742505638683,v1={hash}"));
        }
    }
}
