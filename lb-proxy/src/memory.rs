//! How much memory the process may take, and whether it is near that: what the command line says, else what its control group says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Where control groups of version 2 are found.
const GROUPS: &str = "/sys/fs/cgroup";
/// A figure of the kernel fits, and the lines of `memory.stat` that are looked for come early.
const TEXT_MAX: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Memory {
    source: Source,
    max: u64,
}

#[derive(Debug)]
enum Source {
    /// No bound.
    None,
    /// `/proc/self/statm`: this process alone.
    Process(File),
    /// `memory.current` and `memory.stat` of the group with the nearest bound.
    Group(File, File),
}

impl Memory {
    /// Without a bound.
    pub fn unbounded() -> Self {
        Self { source: Source::None, max: u64::MAX }
    }

    /// At most `bytes` for this process; without that, what its control group allows, if it says so.
    pub fn bounded_by(bytes: Option<u64>) -> io::Result<Self> {
        match bytes {
            Some(max) => Ok(Self { source: Source::Process(File::open("/proc/self/statm")?), max }),
            // A group that cannot be read is no reason not to serve.
            None => Ok(of_group(Path::new(GROUPS), &std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
                .unwrap_or_else(Self::unbounded)),
        }
    }

    /// False if it may take what there is.
    pub fn is_bounded(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    /// Most bytes, if there is a bound.
    pub fn max(&self) -> Option<u64> {
        self.is_bounded().then_some(self.max)
    }

    /// Bytes left before memory is called tight, which is while less than an eighth of it is left, and once it was so, until a sixth
    /// is: what is under way takes some, too. May be negative.
    pub fn left(&self, was_tight: bool) -> i64 {
        let spare = if was_tight { self.max / 6 } else { self.max / 8 };
        let used = self.used().unwrap_or(0);
        i64::try_from(self.max - spare).unwrap_or(i64::MAX).saturating_sub_unsigned(used)
    }

    /// Bytes taken, without what the kernel would give back at once.
    fn used(&self) -> Option<u64> {
        match &self.source {
            Source::None => None,
            Source::Process(statm) => {
                let text = read(statm)?;
                let mut pages = text.split(' ').map(|figure| figure.parse::<u64>().unwrap_or(0));
                let (resident, shared) = (pages.nth(1)?, pages.next()?);
                Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
            }
            Source::Group(current, stat) => {
                let current: u64 = read(current)?.trim().parse().ok()?;
                let stat = read(stat)?;
                let files = stat.lines().find_map(|line| line.strip_prefix("file ")?.parse::<u64>().ok());
                Some(current.saturating_sub(files.unwrap_or(0)))
            }
        }
    }
}

/// The nearest bound of the group that `membership` (`/proc/self/cgroup`) names, or of one above it.
fn of_group(groups: &Path, membership: &str) -> Option<Memory> {
    let own = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folders = Path::new(own).ancestors().map(|folder| groups.join(folder));
    let bound = |folder: PathBuf| {
        let max: u64 = std::fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()?;
        Some((max, folder))
    };
    let (max, folder) = folders.filter_map(bound).min_by_key(|(max, _)| *max)?;
    let open = |name| File::open(folder.join(name)).ok();
    Some(Memory { source: Source::Group(open("memory.current")?, open("memory.stat")?), max })
}

/// The beginning of a file that the kernel writes anew each time it is read.
fn read(file: &File) -> Option<String> {
    let mut text = [0; TEXT_MAX];
    let len = file.read_at(&mut text, 0).ok()?;
    Some(String::from_utf8_lossy(&text[..len]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_what_it_takes() {
        let memory = Memory::bounded_by(Some(1 << 40)).expect("procfs");
        let before = memory.used().expect("a figure");
        let much = vec![1u8; 32 << 20];
        assert!(memory.used().expect("a figure") >= before + (much.len() as u64) / 2);
        assert!(memory.left(false) > 0);
        let little = Memory::bounded_by(Some(before / 2)).expect("procfs");
        assert!(little.left(false) < 0 && little.left(true) < little.left(false));
        assert!(Memory::unbounded().left(false) > 0);
    }

    #[test]
    fn the_nearest_bound_above_counts_and_page_cache_does_not() {
        let groups = std::env::temp_dir().join(format!("weir-memory-{}", std::process::id()));
        let write = |folder: &str, name: &str, text: &str| {
            let folder = groups.join(folder);
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(folder.join(name), text).expect("a file");
        };
        write("node/vip", "memory.max", "max\n");
        write("node", "memory.max", "1000000\n");
        write("node", "memory.current", "955000\n");
        write("node", "memory.stat", "anon 100\nfile 100000\nkernel 5\n");
        let memory = of_group(&groups, "3:cpu:/x\n0::/node/vip\n").expect("a bound");
        assert_eq!((memory.max(), memory.used()), (Some(1_000_000), Some(855_000)));
        assert_eq!((memory.left(false), memory.left(true)), (875_000 - 855_000, 833_334 - 855_000));
        write("node", "memory.stat", "anon 100\nfile 10000\n");
        assert!(memory.left(false) < 0);
        assert!(of_group(&groups, "0::/\n").is_none() && of_group(&groups, "").is_none());
        let _ = std::fs::remove_dir_all(&groups);
    }
}
