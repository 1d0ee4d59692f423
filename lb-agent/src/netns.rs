//! Network namespaces by name, as `ip netns` knows them: a file in `/run/netns` that a namespace is mounted on.
//!
//! A thread's namespace is changed only in threads made for one task and ended after it, so no other work can
//! land in the wrong namespace.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

/// Where `ip netns` looks.
pub const FOLDER: &str = "/run/netns";

/// Why a namespace cannot be made, entered or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} network namespace {name}: {source}")]
pub struct NetnsError {
    step: &'static str,
    name: String,
    source: io::Error,
}

/// Its file.
pub fn path_of(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Is there a namespace of that name? A file that is only left over from one does not count.
pub fn exists(name: &str) -> bool {
    is_namespace(&path_of(name))
}

/// Names of all namespaces.
pub fn list() -> Vec<String> {
    let entries = fs::read_dir(FOLDER).into_iter().flatten().flatten();
    entries.filter(|e| is_namespace(&e.path())).filter_map(|e| e.file_name().into_string().ok()).collect()
}

/// Makes a namespace; with `of`, gives the name to the namespace that process is in. One that exists is left as it is.
pub fn create(name: &str, of: Option<u32>) -> Result<(), NetnsError> {
    if exists(name) {
        return Ok(());
    }
    prepare_folder().map_err(|e| at("make the folder of", name, e))?;
    let path = path_of(name);
    match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path) {
        Ok(_) => {}
        // Left over: a file that nothing is mounted on.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(at("make the file of", name, error)),
    }
    let made = match of {
        Some(pid) => bind(Path::new(&format!("/proc/{pid}/ns/net")), &path),
        None => in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            bind(Path::new("/proc/thread-self/ns/net"), &path)
        }),
    };
    made.map_err(|error| {
        let _ = fs::remove_file(&path);
        at("make", name, error)
    })
}

/// Takes the name away; the namespace ends with the last process and socket in it. One that is gone is fine.
pub fn delete(name: &str) -> Result<(), NetnsError> {
    let path = path_of(name);
    // Several may be mounted on one another after a crash at the wrong moment.
    while is_namespace(&path) {
        umount2(&path, MntFlags::MNT_DETACH).map_err(|e| at("unmount", name, e.into()))?;
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove the file of", name, error)),
        _ => Ok(()),
    }
}

/// Opens a namespace, to hand it to the kernel.
pub fn open(name: &str) -> Result<File, NetnsError> {
    if !exists(name) {
        return Err(at("open", name, io::ErrorKind::NotFound.into()));
    }
    File::open(path_of(name)).map_err(|e| at("open", name, e))
}

/// Runs `task` in a namespace, in a thread of its own; blocks until it is done.
pub fn inside<T: Send>(name: &str, task: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    let namespace = open(name)?;
    in_thread(|| {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(task())
    })
    .map_err(|e| at("enter", name, e))
}

/// As [`inside`], for async callers: other tasks go on meanwhile.
pub async fn inside_async<T, F>(name: &str, task: F) -> Result<T, NetnsError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let owned = name.to_owned();
    match tokio::task::spawn_blocking(move || inside(&owned, task)).await {
        Ok(result) => result,
        Err(error) => Err(at("work in", name, io::Error::other(error))),
    }
}

fn in_thread<T: Send>(task: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, task)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in it panicked")))
    })
}

fn is_namespace(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type == NSFS_MAGIC)
}

/// File system of namespaces: linux/magic.h.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// As iproute2 does: mounts in the folder are seen in all mount namespaces, so a name removed in one is gone in all.
fn prepare_folder() -> io::Result<()> {
    const NONE: Option<&str> = None;
    let shared = || mount(NONE, FOLDER, NONE, MsFlags::MS_SHARED | MsFlags::MS_REC, NONE);
    fs::create_dir_all(FOLDER)?;
    if shared().is_err() {
        mount(Some(FOLDER), FOLDER, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)?;
        shared()?;
    }
    Ok(())
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

fn at(step: &'static str, name: &str, source: io::Error) -> NetnsError {
    NetnsError { step, name: name.to_owned(), source }
}

/// Namespaces and links for real, in a mount and a network namespace of the test's own: nothing of the machine is
/// touched. Needs root.
#[cfg(test)]
pub(crate) mod sandbox {
    use super::*;

    /// Runs `test` in a thread that has its own network and its own `/run`; not without root, saying so.
    pub(crate) fn run(test: impl FnOnce() + Send) {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: making network namespaces needs root");
            return;
        }
        let done = in_thread(|| {
            const NONE: Option<&str> = None;
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
            mount(NONE, "/", NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
            mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)?;
            test();
            Ok(())
        });
        done.unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_entered_and_removed() {
        sandbox::run(|| {
            let here = fs::read_link("/proc/thread-self/ns/net").unwrap();
            create("qlbaas-a", None).unwrap();
            create("qlbaas-a", None).unwrap();
            create("qlbaas-b", None).unwrap();
            let mut names = list();
            names.sort();
            assert_eq!(names, ["qlbaas-a", "qlbaas-b"]);
            let there = inside("qlbaas-a", || fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
            assert_ne!(here, there);
            assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), here);
            let seen = std::process::Command::new("ip").args(["netns", "list"]).output();
            if let Ok(seen) = seen {
                assert!(String::from_utf8_lossy(&seen.stdout).contains("qlbaas-a"));
            }
            delete("qlbaas-a").unwrap();
            delete("qlbaas-a").unwrap();
            assert!(!exists("qlbaas-a") && !path_of("qlbaas-a").exists());
            assert!(inside("qlbaas-a", || ()).is_err());
        });
    }

    #[test]
    fn a_leftover_file_is_no_namespace() {
        sandbox::run(|| {
            fs::create_dir_all(FOLDER).unwrap();
            fs::write(path_of("qlbaas-c"), "").unwrap();
            assert!(!exists("qlbaas-c"));
            create("qlbaas-c", None).unwrap();
            assert!(exists("qlbaas-c"));
            // Mounted twice, as a crash may leave it.
            bind(&path_of("qlbaas-c"), &path_of("qlbaas-c")).unwrap();
            delete("qlbaas-c").unwrap();
            assert!(!path_of("qlbaas-c").exists());
        });
    }

    #[test]
    fn a_lost_name_is_given_back() {
        sandbox::run(|| {
            create("qlbaas-d", None).unwrap();
            let at = || inside("qlbaas-d", || fs::read_link("/proc/thread-self/ns/net").unwrap()).unwrap();
            let first = at();
            let spawned = inside("qlbaas-d", || std::process::Command::new("sleep").arg("60").spawn().unwrap());
            let mut child = spawned.unwrap();
            delete("qlbaas-d").unwrap();
            create("qlbaas-d", Some(child.id())).unwrap();
            assert_eq!(at(), first);
            child.kill().unwrap();
            child.wait().unwrap();
        });
    }
}
