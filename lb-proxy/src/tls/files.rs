//! Where certificates and keys are read from: from disk, or from what whoever minds this process has read for it. A
//! data plane that has given up root cannot read keys that only root may.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Longest file.
const FILE_MAX: u64 = 4 * 1024 * 1024;
/// Most files of a folder.
const BUNDLES_MAX: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Files {
    /// Given to us, by path.
    given: Mutex<HashMap<PathBuf, Vec<u8>>>,
}

impl Files {
    /// Takes what somebody else has read, in place of all that was given before.
    pub fn give(&self, files: HashMap<PathBuf, Vec<u8>>) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Forgets what was given: it is compiled, or not wanted.
    pub fn forget(&self) {
        self.give(HashMap::new());
    }

    /// A whole file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = given.get(path) {
            return Ok(bytes.clone());
        }
        // Whoever reads for us gives the files of a folder one by one; the folder itself may be hidden from us.
        if given.keys().any(|file| file.parent() == Some(path)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        drop(given);
        let metadata = std::fs::metadata(path)?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() > FILE_MAX {
            return Err(io::Error::other("is larger than 4 MiB"));
        }
        std::fs::read(path)
    }

    /// The files `path` stands for: itself, or those of the folder, by name; hidden ones and folders in it not.
    pub fn bundles(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.contains_key(path) {
            return Ok(vec![path.to_owned()]);
        }
        let mut within: Vec<PathBuf> = given.keys().filter(|file| file.parent() == Some(path)).cloned().collect();
        drop(given);
        if within.is_empty() && !std::fs::metadata(path)?.is_dir() {
            return Ok(vec![path.to_owned()]);
        }
        if within.is_empty() {
            for entry in std::fs::read_dir(path)? {
                let file = entry?.path();
                let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
                if !hidden && file.is_file() {
                    within.push(file);
                }
            }
        }
        if within.len() > BUNDLES_MAX {
            return Err(io::Error::other("holds more than 10000 files"));
        }
        within.sort();
        Ok(within)
    }
}
