//! The node's documents, kept through crashes: what was acknowledged is there, whole, whatever happens.
//!
//! One file for each load balancer, `<state_dir>/loadbalancers/<id>.json`: a line with format version, length and
//! checksum, then the validated document. A file is written beside, synced and renamed over, and the folder is
//! synced, so at any moment the old document or the new one is there. While a replacement is on probation the
//! old file stays as a second name (`<id>.json.previous`), so taking it back needs no space on the disk. Beside the
//! documents are files of events, which are [`crate::timeline`]'s.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lb_core::config::LoadBalancer;
use lb_core::id::LoadBalancerId;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// Version of the format written. Others are set aside, not guessed at.
const FORMAT: u32 = 1;

/// Why something could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another agent minds this folder.
    #[error("{} is in use by another agent", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The machine refused: full, read-only, ...
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

/// The folder, held against other agents while this lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    _lock: File,
}

/// What was found at start.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Whole documents.
    pub documents: Vec<LoadBalancer>,
    /// Those that could not be read, and were moved aside.
    pub damaged: Vec<Damaged>,
}

/// A document that could not be read.
#[derive(Debug)]
pub struct Damaged {
    /// Whose it was.
    pub id: LoadBalancerId,
    /// Why.
    pub why: String,
    /// Where it is now.
    pub moved_to: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    weir_document: u32,
    bytes: usize,
    crc32: u32,
}

impl Store {
    /// Makes the folder if it is missing, and locks it.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let folder = state_dir.join("loadbalancers");
        fs::create_dir_all(&folder).map_err(|e| at("make", &folder, e))?;
        let path = state_dir.join("lock");
        // On a disk that takes no change, what is there is served still.
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.or_else(|_| File::open(&path)).map_err(|e| at("open", &path, e))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked { path }),
            Err(error) => Err(at("lock", &path, error.into())),
        }
    }

    /// Where documents, and files of events, are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads everything. What is damaged is moved aside under a name with `unix_s`, the time in seconds.
    pub fn load(&self, unix_s: i64) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded::default();
        for entry in fs::read_dir(&self.folder).map_err(|e| at("list", &self.folder, e))? {
            let path = entry.map_err(|e| at("list", &self.folder, e))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            // Leftovers of a write that a crash cut short; the document itself is whole beside them.
            if name.ends_with(".new") || name.ends_with(".previous") {
                let _ = fs::remove_file(&path);
                continue;
            }
            let Some(id) = name.strip_suffix(".json").and_then(|id| id.parse().ok()).map(LoadBalancerId) else {
                continue;
            };
            match read(&path, id) {
                Ok(document) => loaded.documents.push(document),
                Err(why) => {
                    let aside = path.with_file_name(format!("{name}.corrupt-{unix_s}"));
                    // On a disk that takes no change it stays where it is.
                    let moved_to = fs::rename(&path, &aside).map_or(path, |()| aside);
                    loaded.damaged.push(Damaged { id, why, moved_to });
                }
            }
        }
        loaded.documents.sort_by_key(|document| document.id);
        Ok(loaded)
    }

    /// Keeps `document`, replacing the one with its id. When this returns it survives a power loss; on an error what
    /// was kept before is kept still. [`Store::settle`] or [`Store::take_back`] must follow.
    pub fn save(&self, document: &LoadBalancer) -> Result<(), StoreError> {
        let path = self.path_of(document.id);
        let (new, previous) = (beside(&path, ".new"), beside(&path, ".previous"));
        write_synced(&new, &encode(document)?).inspect_err(|_| drop(fs::remove_file(&new)))?;
        remove_if_there(&previous)?;
        match fs::hard_link(&path, &previous) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let _ = fs::remove_file(&new);
                return Err(at("keep a second name of", &path, error));
            }
        }
        fs::rename(&new, &path).map_err(|e| at("replace", &path, e))?;
        self.sync_folder()
    }

    /// The saved document is good: the one before is forgotten.
    pub fn settle(&self, id: LoadBalancerId) -> Result<(), StoreError> {
        remove_if_there(&beside(&self.path_of(id), ".previous"))
    }

    /// Undoes [`Store::save`]: what was kept before is kept again, or nothing if there was nothing.
    pub fn take_back(&self, id: LoadBalancerId) -> Result<(), StoreError> {
        let path = self.path_of(id);
        match fs::rename(beside(&path, ".previous"), &path) {
            Ok(()) => self.sync_folder(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.remove(id),
            Err(error) => Err(at("restore", &path, error)),
        }
    }

    /// Forgets a document for good; it need not be there.
    pub fn remove(&self, id: LoadBalancerId) -> Result<(), StoreError> {
        let path = self.path_of(id);
        remove_if_there(&path)?;
        remove_if_there(&beside(&path, ".previous"))?;
        self.sync_folder()
    }

    fn path_of(&self, id: LoadBalancerId) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// A rename is on the disk once its folder is.
    fn sync_folder(&self) -> Result<(), StoreError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|e| at("sync", &self.folder, e))
    }
}

fn encode(document: &LoadBalancer) -> Result<Vec<u8>, StoreError> {
    let encode = || -> serde_json::Result<Vec<u8>> {
        let body = serde_json::to_vec(document)?;
        let header = Header { weir_document: FORMAT, bytes: body.len(), crc32: crc32fast::hash(&body) };
        let mut text = serde_json::to_vec(&header)?;
        text.push(b'\n');
        text.extend(body);
        Ok(text)
    };
    encode().map_err(|e| at("encode", Path::new("the document"), e.into()))
}

fn read(path: &Path, id: LoadBalancerId) -> Result<LoadBalancer, String> {
    let text = fs::read(path).map_err(|e| e.to_string())?;
    let end = text.iter().position(|b| *b == b'\n').ok_or("the first line is cut off")?;
    let header: Header = serde_json::from_slice(&text[..end]).map_err(|e| format!("the first line is damaged: {e}"))?;
    if header.weir_document != FORMAT {
        return Err(format!("its format is version {}, this agent knows {FORMAT}", header.weir_document));
    }
    let body = &text[end + 1..];
    if body.len() != header.bytes {
        return Err(format!("it has {} bytes instead of {}", body.len(), header.bytes));
    }
    if crc32fast::hash(body) != header.crc32 {
        return Err("its checksum is wrong".into());
    }
    let document: LoadBalancer = serde_json::from_slice(body).map_err(|e| format!("it is not a document: {e}"))?;
    if document.id != id {
        return Err(format!("it is the document of {}", document.id));
    }
    Ok(document)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = File::create(path).map_err(|e| at("create", path, e))?;
    file.write_all(bytes).map_err(|e| at("write", path, e))?;
    file.sync_all().map_err(|e| at("sync", path, e))
}

fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path, error)),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn at(step: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { step, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::document;

    fn names(dir: &Path) -> Vec<String> {
        let all = fs::read_dir(dir.join("loadbalancers")).unwrap();
        let mut all: Vec<_> = all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn keeps_replaces_takes_back_and_forgets() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (first, second) = (document("web", "20.20.20.6", &[80]), document("web", "20.20.20.6", &[80, 81]));
        store.save(&first).unwrap();
        store.settle(first.id).unwrap();
        store.save(&second).unwrap();
        assert_eq!(store.load(0).unwrap().documents, std::slice::from_ref(&second));
        store.save(&first).unwrap();
        store.take_back(first.id).unwrap();
        assert_eq!(store.load(0).unwrap().documents, [second]);
        assert_eq!(names(dir.path()).len(), 1);
        store.remove(first.id).unwrap();
        store.remove(first.id).unwrap();
        store.save(&first).unwrap();
        store.take_back(first.id).unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn two_agents_cannot_share() {
        let dir = tempfile::tempdir().unwrap();
        let first = Store::open(dir.path()).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(StoreError::Locked { .. })));
        drop(first);
        Store::open(dir.path()).unwrap();
    }

    /// A crash may leave any of these beside a whole document: none of them counts.
    #[test]
    fn leftovers_of_a_crash_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (old, new) = (document("web", "20.20.20.6", &[80]), document("web", "20.20.20.6", &[81]));
        store.save(&old).unwrap();
        let path = store.path_of(old.id);
        let whole = encode(&new).unwrap();
        for cut in [0, 1, whole.len() / 2, whole.len()] {
            fs::write(beside(&path, ".new"), &whole[..cut]).unwrap();
            fs::write(beside(&path, ".previous"), &whole[..cut]).unwrap();
            assert_eq!(store.load(0).unwrap().documents, std::slice::from_ref(&old));
            assert_eq!(names(dir.path()).len(), 1);
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let document = document("web", "20.20.20.6", &[80]);
        store.save(&document).unwrap();
        let path = store.path_of(document.id);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path, document.id).is_err(), "cut at {cut}");
        }
        for byte in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[byte] ^= 1 << (byte % 8);
            fs::write(&path, &flipped).unwrap();
            assert!(read(&path, document.id).is_err(), "flipped in {byte}: {}", String::from_utf8_lossy(&flipped));
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(read(&path, document.id).unwrap(), document);
    }

    #[test]
    fn damaged_and_future_files_are_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let document = document("web", "20.20.20.6", &[80]);
        store.save(&document).unwrap();
        let path = store.path_of(document.id);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, whole.replace("\"weir_document\":1", "\"weir_document\":2")).unwrap();
        let loaded = store.load(77).unwrap();
        assert!(loaded.documents.is_empty());
        assert_eq!(loaded.damaged[0].id, document.id);
        assert!(loaded.damaged[0].why.contains("version 2"), "{}", loaded.damaged[0].why);
        assert_eq!(names(dir.path()), [format!("{}.json.corrupt-77", document.id)]);
    }

    #[test]
    fn a_full_or_read_only_disk_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (old, new) = (document("web", "20.20.20.6", &[80]), document("web", "20.20.20.6", &[81]));
        store.save(&old).unwrap();
        // A folder in the way of the temporary file stands for any disk that takes no new file, also for root.
        fs::create_dir(beside(&store.path_of(old.id), ".new")).unwrap();
        assert!(store.save(&new).is_err());
        fs::remove_dir(beside(&store.path_of(old.id), ".new")).unwrap();
        assert_eq!(store.load(0).unwrap().documents, [old]);
    }
}
