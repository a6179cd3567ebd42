//! What the tests share.

pub mod api;
pub mod caller;
pub mod dice;
pub mod document;
pub mod golden;
pub mod http;
pub mod learn;
pub mod log;
pub mod market;
pub mod merchant;
pub mod process;
pub mod proxy;
pub mod station;
pub mod tls;

use std::path::Path;

/// An API at which nobody answers.
pub const NOBODY: &str = "http://127.0.0.1:9";

/// The part of a configuration that keeps all in one folder, on ports that are free, and asks nobody: nothing listens on
/// the port of the API, so what is to be done there stays to be done.
pub fn places(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"
[poll]
listen = "127.0.0.1:0"
threads = 2
[control]
socket = "{folder}/control.sock"
[admin]
listen = "127.0.0.1:0"
[data]
dir = "{folder}/data"
[mercadopago]
base_url = "{NOBODY}"
"#
    )
}
