//! What the machine says of names: `/etc/hosts` and `/etc/resolv.conf`. Pure, but for the two that read the files.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_core::config::HostName;

/// More of a file is not looked at.
const FILE_LEN_MAX: u64 = 1 << 20;
/// Servers that are asked, at most (glibc asks three).
const SERVERS_MAX: usize = 8;
/// Domains that complete a name, at most.
const SEARCH_MAX: usize = 6;

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) servers: Vec<SocketAddr>,
    /// Domains that complete a name.
    search: Vec<String>,
    /// A name with at least so many dots is tried as it is first.
    ndots: usize,
    /// What each server gets, each time.
    pub(super) patience: Duration,
    /// How often all of them are asked.
    pub(super) rounds: usize,
}

impl Settings {
    /// These servers, and names are complete.
    pub(super) fn of(servers: &[SocketAddr]) -> Self {
        let (search, ndots, patience, rounds) = (Vec::new(), 0, Duration::from_secs(2), 2);
        Self { servers: servers.to_vec(), search, ndots, patience, rounds }
    }

    /// Those of `/etc/resolv.conf`; no server if there is none.
    pub(super) fn of_machine() -> Self {
        Self::parse(&read("/etc/resolv.conf"))
    }

    /// resolv.conf(5). What is not understood is passed over, as everybody does.
    fn parse(text: &str) -> Self {
        let mut settings = Self { ndots: 1, ..Self::of(&[]) };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // An address with an interface needs more than an address.
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    settings.servers.extend(server.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => {
                    settings.search = words.map(|domain| domain.trim_end_matches('.').to_owned()).collect();
                    settings.search.retain(|domain| !domain.is_empty());
                }
                Some("options") => words.for_each(|option| settings.option(option)),
                _ => {}
            }
        }
        settings.servers.truncate(SERVERS_MAX);
        settings.search.truncate(SEARCH_MAX);
        settings
    }

    fn option(&mut self, option: &str) {
        let Some((name, number)) = option.split_once(':') else { return };
        let Ok(number) = number.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = number.min(15) as usize,
            "timeout" => self.patience = Duration::from_secs(u64::from(number.clamp(1, 10))),
            "attempts" => self.rounds = number.clamp(1, 5) as usize,
            _ => {}
        }
    }

    /// The complete names to try for `name`, in order.
    pub(super) fn candidates(&self, name: &HostName) -> Vec<String> {
        let bare = name.as_str().trim_end_matches('.').to_owned();
        if name.is_absolute() {
            return vec![bare];
        }
        let completed = self.search.iter().map(|domain| format!("{bare}.{domain}"));
        if name.labels().count() > self.ndots {
            std::iter::once(bare.clone()).chain(completed).collect()
        } else {
            completed.chain(std::iter::once(bare.clone())).collect()
        }
    }
}

/// Addresses that `/etc/hosts` has for `name`.
pub(super) fn hosts(name: &HostName) -> Vec<IpAddr> {
    hosts_in(&read("/etc/hosts"), name)
}

fn hosts_in(text: &str, name: &HostName) -> Vec<IpAddr> {
    let bare = name.as_str().trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        if words.any(|alias| alias.trim_end_matches('.').eq_ignore_ascii_case(bare)) {
            found.push(address);
        }
    }
    found
}

/// What cannot be read says nothing.
fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(FILE_LEN_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_as_it_is_written() {
        let text = "# by hand\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nnameserver 2001:db8::53 # second\n\
                    domain old.example\nsearch a.example. b.example\noptions ndots:2 timeout:1 attempts:9 rotate use-vc:x\n";
        let settings = Settings::parse(text);
        let servers: Vec<String> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.53:53", "[2001:db8::53]:53"]);
        assert_eq!(settings.search, ["a.example", "b.example"]);
        assert_eq!((settings.ndots, settings.patience, settings.rounds), (2, Duration::from_secs(1), 5));
        assert_eq!(Settings::parse("garbage\n\0\noptions ndots"), Settings { ndots: 1, ..Settings::of(&[]) });
    }

    #[test]
    fn short_names_are_completed_first_and_long_ones_last() {
        let settings = Settings::parse("search a.example b.example\n");
        let of = |name: &str| settings.candidates(&name.parse().unwrap());
        assert_eq!(of("db"), ["db.a.example", "db.b.example", "db"]);
        assert_eq!(of("db.c"), ["db.c", "db.c.a.example", "db.c.b.example"]);
        assert_eq!(of("db."), ["db"]);
        assert_eq!(Settings::of(&[]).candidates(&"db".parse().unwrap()), ["db"]);
    }

    #[test]
    fn hosts_by_any_of_their_names() {
        let text = "127.0.0.1 localhost\n10.0.0.2\tapp.example.com App # web\n2001:db8::2 app\n#10.0.0.3 app\nx app\n";
        let of = |name: &str| hosts_in(text, &name.parse().unwrap());
        assert_eq!(of("APP").len(), 2);
        assert_eq!(of("app.example.com."), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert!(of("web").is_empty());
    }
}
