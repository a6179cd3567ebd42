//! The Unix socket's file: its folder, mode and group. One that a dead server left is replaced, a live one never.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::config;

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
    let with_path = |source| BindError::Io {
        path: path.clone(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(with_path)?;
    }
    remove_stale(path)?;
    // It is bound under another name and moved once its mode is right: at no moment may anybody else open it.
    let mut hidden = path.clone().into_os_string();
    hidden.push(".new");
    let hidden = PathBuf::from(hidden);
    remove_if_there(&hidden).map_err(with_path)?;
    let listener = UnixListener::bind(&hidden).map_err(with_path)?;
    fs::set_permissions(&hidden, Permissions::from_mode(control.socket_mode)).map_err(with_path)?;
    if let Some(group) = control.socket_group {
        chown(&hidden, None, Some(group)).map_err(with_path)?;
    }
    fs::rename(&hidden, path).map_err(with_path)?;
    listener.set_nonblocking(true).map_err(with_path)?;
    Ok(listener)
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let with_path = |source| BindError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(with_path(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::Live(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => remove_if_there(path).map_err(with_path),
        Err(error) => Err(with_path(error)),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
