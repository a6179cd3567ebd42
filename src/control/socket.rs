//! The Unix socket's file: its folder, mode and group. One that a dead server left is replaced, a live one never.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config;
use crate::limits;
use crate::net::listen::unix;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0}: another server listens on this socket")]
    Live(PathBuf),
    #[error("{0}: is there, and is no socket")]
    NotASocket(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// Binds the socket that only its owner and group can open. The file goes with the process that bound it next.
pub fn bind(control: &config::Control) -> Result<UnixListener, BindError> {
    let path = &control.socket;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed_at(path))?;
    }
    remove_stale(path)?;
    listen(control).map_err(failed_at(path))
}

fn failed_at(path: &Path) -> impl Fn(io::Error) -> BindError {
    move |source| BindError::Io {
        path: path.to_owned(),
        source,
    }
}

/// It is bound under another name, so that whoever finds the file can connect; and nobody may before its mode is right.
fn listen(control: &config::Control) -> io::Result<UnixListener> {
    let mut hidden = control.socket.clone().into_os_string();
    hidden.push(limits::SOCKET_HIDDEN);
    let hidden = PathBuf::from(hidden);
    remove_if_there(&hidden)?;
    let guard = || {
        fs::set_permissions(&hidden, Permissions::from_mode(control.socket_mode))?;
        match control.socket_group {
            Some(group) => chown(&hidden, None, Some(group)),
            None => Ok(()),
        }
    };
    let listener = unix(&hidden, guard)?;
    fs::rename(&hidden, &control.socket)?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed_at(path)(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::Live(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            remove_if_there(path).map_err(failed_at(path))
        }
        Err(error) => Err(failed_at(path)(error)),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
