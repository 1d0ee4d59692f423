//! The node's secret for persistence cookies: made once, kept beside the documents, so that clients are known again
//! whatever ends and starts anew. Only root reads it; data planes do so before they become somebody else.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lb_core::persistence::secret::SECRET_LEN_MIN;
use rustix::rand::{GetRandomFlags, getrandom};

/// Its name in the state folder.
const NAME: &str = "persistence-secret";
/// Bytes of one that is made here.
const LEN: usize = 32;

/// Where the secret is; made if there is none yet, or none of use. When this returns it survives a power loss.
pub fn keep(state_dir: &Path) -> io::Result<PathBuf> {
    let path = state_dir.join(NAME);
    match fs::read(&path) {
        Ok(secret) if secret.len() >= SECRET_LEN_MIN => {
            // On a disk that takes no change it is of use still.
            let _ = fs::set_permissions(&path, Permissions::from_mode(0o600));
            return Ok(path);
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let new = state_dir.join(format!("{NAME}.new"));
    // Left by a crash, maybe with other rights.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&random()?)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(state_dir)?.sync_all()?;
    Ok(path)
}

fn random() -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    let mut filled = 0;
    while filled < LEN {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn it_is_made_once_and_for_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("persistence-secret.new"), b"left by a crash").unwrap();
        let path = keep(dir.path()).unwrap();
        let secret = fs::read(&path).unwrap();
        assert_eq!((secret.len(), mode(&path)), (LEN, 0o600));
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(keep(dir.path()).unwrap(), path);
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (secret.clone(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // One that no data plane would start with is replaced.
        fs::write(&path, b"torn").unwrap();
        keep(dir.path()).unwrap();
        let another = fs::read(&path).unwrap();
        assert!(another.len() == LEN && another != secret);
    }
}
