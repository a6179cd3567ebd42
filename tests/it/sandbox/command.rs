//! `surtidor sandbox` as a process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::support::process::binary;

fn surtidor() -> Command {
    let mut command = Command::new(binary());
    command.arg("sandbox").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn it_tells_where_it_is_and_ends_when_asked() {
    let mut child = surtidor()
        .args(["--listen", "127.0.0.1:0", "--seed", "42"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let api = lines.find(|line| line.contains("  api ")).unwrap();
    let address = api.rsplit_once("http://").unwrap().1;
    assert!(lines.any(|line| line.ends_with("seed     42")));
    let export = lines.find(|line| line.contains("BASE_URL")).unwrap();
    assert!(export.ends_with(address), "{export}");
    assert!(lines.any(|line| line.contains("/sandbox/events")));
    std::net::TcpStream::connect(address).unwrap();
    let asked = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(asked.success());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_wrong_is_said_before_anything_listens() {
    for (arguments, said) in [
        (["--listen", "0.0.0.0:0"], "--expose"),
        (["--token", "abc"], "collector's number"),
        (["--site", "MLX"], "none of MLA"),
    ] {
        let mut child = surtidor().args(arguments).spawn().unwrap();
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(2), "{text}");
        assert!(text.contains(said), "{text}");
    }
}
