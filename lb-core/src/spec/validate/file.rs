//! References to files. Only their words: whether the file is there, and what it holds, is for those who open it.

use std::path::PathBuf;

use super::{Border, NodeId};
use crate::spec::mistake::shown;
use crate::spec::tree::Spot;
use crate::spec::types::Line;

/// What a reference may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    File,
    FileOrFolder,
}

impl Border<'_> {
    /// The file that the value of `key` names. `None` if it is absent, or wrong, which is reported.
    pub(super) fn file(&mut self, at: NodeId, key: &str, written: Option<&Line>) -> Option<PathBuf> {
        self.reference_to(written?.0.as_str(), Named::File, |border| border.tree.spot_of(at, key))
    }

    /// The same for a text that stands elsewhere.
    pub(super) fn reference_to(
        &mut self,
        written: &str,
        named: Named,
        spot: impl FnOnce(&Self) -> Spot,
    ) -> Option<PathBuf> {
        match path(written, named) {
            Ok(path) => Some(path),
            Err(help) => {
                let spot = spot(self);
                self.mistake(spot, format!("{} names no file", shown(written)), help);
                None
            }
        }
    }
}

/// `file:/absolute/path` or `file:///absolute/path`, taken as it is written: nothing in it is an escape.
fn path(written: &str, named: Named) -> Result<PathBuf, String> {
    let Some(rest) = written.strip_prefix("file:") else {
        return Err(match written {
            _ if written.starts_with('/') => format!("write {}", shown(&format!("file:{written}"))),
            _ if written.contains("://") => format!("{USUAL}: only files are supported, no key manager"),
            _ => format!("{USUAL}, with an absolute path"),
        });
    };
    let path = rest.trim_start_matches('/');
    match rest.len() - path.len() {
        0 => Err(format!("{USUAL}, with an absolute path")),
        2 => Err(format!("after `file://` would come a host: write {}", shown(&format!("file:/{path}")))),
        _ if path.is_empty() => Err(format!("{USUAL}, with an absolute path")),
        _ if path.ends_with('/') && named == Named::File => Err("this is a folder: name a file in it".to_owned()),
        _ => Ok(PathBuf::from(format!("/{}", path.trim_end_matches('/')))),
    }
}

const USUAL: &str = "like `file:/etc/ssl/ca.pem`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_of_this_machine_are_files() {
        for (written, named, expected) in [
            ("file:/etc/ssl/ca.pem", Named::File, Ok("/etc/ssl/ca.pem")),
            ("file:///etc/ssl/ca.pem", Named::File, Ok("/etc/ssl/ca.pem")),
            ("file:////etc/ssl/ca.pem", Named::File, Ok("/etc/ssl/ca.pem")),
            ("file:/a b/%20é", Named::File, Ok("/a b/%20é")),
            ("file:/etc/certs/", Named::FileOrFolder, Ok("/etc/certs")),
            ("file:/etc/certs/", Named::File, Err("this is a folder: name a file in it")),
            ("file:/", Named::FileOrFolder, Err("like `file:/etc/ssl/ca.pem`, with an absolute path")),
            ("file:", Named::File, Err("like `file:/etc/ssl/ca.pem`, with an absolute path")),
            ("", Named::File, Err("like `file:/etc/ssl/ca.pem`, with an absolute path")),
            ("file:ca.pem", Named::File, Err("like `file:/etc/ssl/ca.pem`, with an absolute path")),
            ("file://host/ca.pem", Named::File, Err("after `file://` would come a host: write `file:/host/ca.pem`")),
            ("/etc/ca.pem", Named::File, Err("write `file:/etc/ca.pem`")),
            (
                "https://keys.example.org/v1/containers/1",
                Named::File,
                Err("like `file:/etc/ssl/ca.pem`: only files are supported, no key manager"),
            ),
        ] {
            let expected = expected.map(PathBuf::from).map_err(str::to_owned);
            let found = path(written, named);
            assert_eq!(found, expected, "{written}");
            // Not only equal as paths: as texts, since that is how they are written back.
            assert_eq!(found.map(PathBuf::into_os_string), expected.map(PathBuf::into_os_string), "{written}");
        }
    }
}
