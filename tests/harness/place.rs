//! A place of one's own for a test: a loopback address nobody else uses, and a folder that goes away.
//!
//! All of 127/8 is local on Linux, so each test takes an address instead of fighting for ports. The address is
//! reserved by an abstract Unix socket of its name: tests in other processes see it, and it dies with its owner.

use std::fs::Permissions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address and a folder, both given back on drop.
#[derive(Debug)]
pub struct Place {
    ip: Ipv4Addr,
    folder: PathBuf,
    next_port: AtomicU32,
    _reservation: UnixListener,
}

impl Place {
    /// Takes a free one.
    #[allow(clippy::new_without_default, reason = "it reserves something: not a default value")]
    pub fn new() -> Self {
        let pid = std::process::id();
        loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            // Spread by process so that neighbours seldom try the same ones; the reservation decides.
            let spot = pid.wrapping_mul(2_654_435_761).wrapping_add(n.wrapping_mul(40_503)) % (250 * 250 * 250);
            let octet = |place: u32| u8::try_from(spot / place % 250 + 2).unwrap();
            let ip = Ipv4Addr::new(127, octet(1), octet(250), octet(62_500));
            let name = UnixAddr::from_abstract_name(format!("weir-test-{ip}")).unwrap();
            let Ok(reservation) = UnixListener::bind_addr(&name) else {
                continue;
            };
            let folder = std::env::temp_dir().join(format!("weir-test-{pid}-{n}"));
            // A test that failed leaves its files, and its process's number comes again.
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            // Programs that drop root's rights write here, too.
            std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
            return Self { ip, folder, next_port: AtomicU32::new(10_000 + spot % 10_000), _reservation: reservation };
        }
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        IpAddr::V4(self.ip)
    }

    /// The address with a port not handed out before; nothing listens there.
    pub fn socket(&self) -> SocketAddr {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        SocketAddr::new(self.ip(), u16::try_from(port).unwrap())
    }

    /// A path inside the folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file into the folder and tells where.
    pub fn write(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left for you to look at: {}", self.folder.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
