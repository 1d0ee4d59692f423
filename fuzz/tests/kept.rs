//! Promise: what was found once stays mended. Every input under `corpus/` and `found/` is tried again.

use std::path::Path;

use weir_fuzz::{TARGETS, hold};

#[test]
fn what_was_kept_still_holds() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut tried, mut failed) = (0, Vec::new());
    for target in TARGETS {
        for folder in ["corpus", "found"] {
            // Not every target has found something.
            let Ok(files) = home.join(folder).join(target.name).read_dir() else { continue };
            for file in files {
                let path = file.expect("a folder that can be read").path();
                let bytes = std::fs::read(&path).expect("a file that can be read");
                tried += 1;
                if std::panic::catch_unwind(|| hold(target, &bytes)).is_err() {
                    failed.push(format!("{} {}", target.name, path.display()));
                }
            }
        }
    }
    assert!(tried > TARGETS.len(), "where has the corpus gone?");
    assert!(failed.is_empty(), "{} of {tried} inputs fail:\n{}", failed.len(), failed.join("\n"));
}
