//! Where log lines go: a datagram socket for each proxy, drained and counted by a thread on the load's cores.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;

/// A running sink. Its thread ends with the run.
#[derive(Debug)]
pub struct Sink {
    /// Where it listens.
    pub path: PathBuf,
    lines: Arc<AtomicU64>,
}

impl Sink {
    /// Starts one at `folder/name`.
    pub fn start(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(format!("{name}.log"));
        let socket = UnixDatagram::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        // A proxy may have given up being root.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        let lines = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lines);
        std::thread::Builder::new().name("sink".into()).spawn(move || {
            let mut line = [0; 4096];
            while let Ok(length) = socket.recv(&mut line) {
                // A datagram of nothing ends it.
                if length == 0 {
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        Ok(Self { path, lines })
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Ok(socket) = UnixDatagram::unbound() {
            let _ = socket.send_to(&[], &self.path);
        }
        let _ = std::fs::remove_file(&self.path);
    }
}
