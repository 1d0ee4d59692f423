//! Making a Unix socket that listens: nobody gets in before its mode is right, and a live one is never stolen.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

const BACKLOG: i32 = 128;

/// Why a local socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("{} is in use by another process that is running", path.display())]
    Live {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket is in the way, and is not ours to remove.
    #[error("{} exists and is not a socket", path.display())]
    NotASocket {
        /// What is in the way.
        path: PathBuf,
    },
    /// The machine refused.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
}

/// Listens at `path` with permissions `mode` (and `group`, when given), making the parent folder if it is missing.
///
/// A socket file nobody answers on is replaced; one that is answered is left alone ([`BindError::Live`]). Must be
/// called inside a tokio runtime.
pub fn bind_socket(path: impl AsRef<Path>, mode: u32, group: Option<u32>) -> Result<UnixListener, BindError> {
    let path = path.as_ref();
    let at = |step: &'static str| move |source: io::Error| BindError::Io { step, path: path.to_owned(), source };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(at("make the folder of"))?;
    }
    remove_stale(path)?;

    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|e| at("make a socket for")(e.into()))?;
    // The file takes the mode of the unbound socket: it is never open to more people than its owner.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|e| at("set the mode of")(e.into()))?;
    let address = SocketAddrUnix::new(path).map_err(|e| at("use as a socket the path")(e.into()))?;
    rustix::net::bind(&socket, &address).map_err(|e| at("bind")(e.into()))?;
    if let Some(gid) = group {
        rustix::fs::chown(path, None, Some(Gid::from_raw(gid))).map_err(|e| at("change the group of")(e.into()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(at("set the mode of"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(|e| at("listen on")(e.into()))?;
    UnixListener::from_std(socket.into()).map_err(at("watch"))
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    let at = |step: &'static str| move |source: io::Error| BindError::Io { step, path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at("look at")(error)),
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(at("remove the stale socket"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Connected, or its queue is full: somebody holds it.
        Ok(_) | Err(_) => Err(BindError::Live { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn makes_folder_and_mode_and_replaces_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.sock");
        let first = bind_socket(&path, 0o660, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(bind_socket(&path, 0o660, None), Err(BindError::Live { .. })));
        drop(first);
        let again = bind_socket(&path, 0o600, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(again);
    }

    #[tokio::test]
    async fn leaves_other_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").unwrap();
        assert!(matches!(bind_socket(&path, 0o600, None), Err(BindError::NotASocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
        let long = dir.path().join("x".repeat(200));
        assert!(matches!(bind_socket(&long, 0o600, None), Err(BindError::Io { .. })));
    }
}
