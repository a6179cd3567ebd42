//! The whole server in a folder of its own, as a child.

use std::path::{Path, PathBuf};

use surtidor::app::App;
use surtidor::config::{Config, Overrides, Source};

pub fn config(folder: &Path) -> Config {
    let text = |path: PathBuf| Some(path.display().to_string());
    let flags = Overrides {
        poll_listen: vec!["127.0.0.1:0".into()],
        socket: text(socket(folder)),
        data_dir: text(folder.join("data")),
        admin_listen: Some("127.0.0.1:0".into()),
    };
    Config::load(Source::BuiltIn, [], flags)
        .expect("a good configuration")
        .0
}

pub fn socket(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// The child's side: serves until our standard input ends.
pub fn serve(folder: &Path) {
    let app = App::start(config(folder)).expect("it starts");
    super::announce_and_wait(app.addresses().poll[0].port());
    assert!(app.stop(), "an orderly end");
}
