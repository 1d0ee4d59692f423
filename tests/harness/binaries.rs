//! Where the programs under test are. They are built once for each test run, with the `test-fast` profile.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of a program of this workspace, built if need be.
///
/// `WEIR_BIN_DIR` names a folder with programs already built; then nothing is built here.
pub fn bin(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let path = FOLDER.get_or_init(folder).join(name);
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// The root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("WEIR_BIN_DIR") {
        return PathBuf::from(folder);
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let folder = target.join("test-fast");
    std::fs::create_dir_all(&folder).unwrap();
    // nextest runs every test in a process of its own: the first of a run builds, the others find its note.
    let lock = OpenOptions::new().create(true).append(true).open(folder.join(".weir-tests-lock")).unwrap();
    lock.lock().unwrap();
    let note = folder.join(".weir-tests-built");
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    if run.is_some() && std::fs::read_to_string(&note).ok() == run {
        return folder;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--profile", "test-fast", "-p", "lb-proxy", "-p", "lb-agent"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "the programs under test do not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    if let Some(run) = run {
        std::fs::write(note, run).unwrap();
    }
    folder
}
