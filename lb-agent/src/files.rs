//! Keys and certificates that documents name: read here, as root, and given to the data plane, which may not read them
//! itself. Looked at again on every patrol.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lb_control::instance::GivenFiles;
use lb_core::config::LoadBalancer;

/// Longest file that is passed on.
const FILE_MAX: u64 = 4 * 1024 * 1024;
/// Most files of one document.
const FILES_MAX: usize = 10_000;

/// The files `document` names, those of folders one by one.
fn all(document: &LoadBalancer) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for path in document.tls_files() {
        match std::fs::read_dir(path) {
            Ok(folder) => files.extend(folder.flatten().map(|entry| entry.path()).filter(|path| is_bundle(path))),
            Err(_) => {
                files.insert(path.to_owned());
            }
        }
    }
    files
}

fn is_bundle(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.is_file()
}

/// Reads them. One that cannot be read is left out: the data plane says what it lacks. `None`: the document names none.
pub(crate) fn read(document: &LoadBalancer) -> Option<GivenFiles> {
    let files = all(document);
    if files.is_empty() {
        return None;
    }
    let bytes = |path: PathBuf| {
        let small = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= FILE_MAX);
        let bytes = if small { std::fs::read(&path).ok()? } else { return None };
        Some((path, bytes))
    };
    Some(GivenFiles::new(files.into_iter().take(FILES_MAX).filter_map(bytes)))
}

/// Stands for what is on disk now; differs once a file was replaced, changed, added or removed. `None`: the document
/// names none.
pub(crate) fn stamp(document: &LoadBalancer) -> Option<u64> {
    let files = all(document);
    if files.is_empty() {
        return None;
    }
    let mut stamp = DefaultHasher::new();
    for path in files {
        path.hash(&mut stamp);
        if let Ok(meta) = std::fs::metadata(&path) {
            (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()).hash(&mut stamp);
        }
    }
    Some(stamp.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_and_a_new_one_in_a_folder_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (bundle, more) = (folder.path().join("a.pem"), folder.path().join("more"));
        std::fs::write(&bundle, "one").unwrap();
        std::fs::create_dir(&more).unwrap();
        let text = format!(
            "loadbalancer:\n  vip_address: 192.0.2.1\n  listeners:\n    - protocol: TERMINATED_HTTPS\n      protocol_port: 443\n      \
             default_tls_container_ref: file:{}\n      sni_container_refs: ['file:{}/']\n",
            bundle.display(),
            more.display()
        );
        let document = lb_core::spec::read("test", &text).unwrap_or_else(|m| panic!("{}", m.rendered));
        let first = stamp(&document).unwrap();
        assert_eq!(stamp(&document), Some(first));
        assert_eq!(read(&document).unwrap().decode().unwrap(), [(bundle.clone(), b"one".to_vec())]);
        std::fs::write(more.join("b.pem"), "two").unwrap();
        std::fs::write(more.join(".hidden"), "not this").unwrap();
        let second = stamp(&document).unwrap();
        assert_ne!(second, first);
        assert_eq!(read(&document).unwrap().0.len(), 2);
        // As certificates are replaced by those who do it well: written beside and renamed.
        std::fs::write(folder.path().join("new"), "six").unwrap();
        std::fs::rename(folder.path().join("new"), &bundle).unwrap();
        assert_ne!(stamp(&document), Some(second));
    }
}
