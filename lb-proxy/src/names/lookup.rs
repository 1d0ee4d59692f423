//! One name, asked for once: files first, then servers in turn, along search list and aliases, both families at once.

use std::net::SocketAddr;
use std::time::Duration;

use lb_core::config::HostName;
use lb_core::names::{Fault, Found};

use super::exchange::{Trouble, ask};
use super::files::{Settings, hosts};
use super::message::{ALIASES_MAX, Answer, Family};

/// However many servers are silent, a name is given up after this.
const LOOKUP_MAX: Duration = Duration::from_secs(30);
/// How long `/etc/hosts` is believed, in seconds.
const HOSTS_TTL_S: u32 = 10;

/// Where `name` leads. `resolvers`: who is asked; none: whom the machine asks.
pub(super) async fn lookup(name: &HostName, resolvers: &[SocketAddr]) -> Result<Found, Fault> {
    if !resolvers.is_empty() {
        return within(name, &Settings::of(resolvers)).await;
    }
    let addresses = hosts(name);
    if !addresses.is_empty() {
        return Ok(Found { addresses, ttl_s: HOSTS_TTL_S });
    }
    within(name, &Settings::of_machine()).await
}

async fn within(name: &HostName, settings: &Settings) -> Result<Found, Fault> {
    if settings.servers.is_empty() {
        return Err(Fault::NoServer);
    }
    tokio::time::timeout(LOOKUP_MAX, candidates(name, settings)).await.unwrap_or(Err(Fault::Silent))
}

async fn candidates(name: &HostName, settings: &Settings) -> Result<Found, Fault> {
    let mut worst: Option<Fault> = None;
    for candidate in settings.candidates(name) {
        let (v4, v6) =
            tokio::join!(addresses(&candidate, Family::V4, settings), addresses(&candidate, Family::V6, settings));
        match both(v4, v6) {
            Ok(found) => return Ok(found),
            Err(fault) => worst = Some(worst.map_or(fault.clone(), |worst| graver(worst, fault))),
        }
    }
    Err(worst.unwrap_or(Fault::NoServer))
}

/// What was found in either family. One that was not answered takes nothing away from the other.
fn both(v4: Result<Found, Fault>, v6: Result<Found, Fault>) -> Result<Found, Fault> {
    match (v4, v6) {
        (Ok(mut v4), Ok(v6)) => {
            v4.addresses.extend(v6.addresses);
            Ok(Found { addresses: v4.addresses, ttl_s: v4.ttl_s.min(v6.ttl_s) })
        }
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(v4), Err(v6)) => Err(graver(v4, v6)),
    }
}

/// Of two faults the one that leaves more open: silence may hide anything, a name without addresses at least exists.
fn graver(a: Fault, b: Fault) -> Fault {
    let rank = |fault: &Fault| match fault {
        Fault::NoSuchName { .. } => 0,
        Fault::NoAddress { .. } | Fault::Unusable => 1,
        Fault::Chain | Fault::NoServer => 2,
        Fault::Silent => 3,
        Fault::Server(_) => 4,
        Fault::Ours(_) => 5,
    };
    if rank(&b) > rank(&a) { b } else { a }
}

/// One family, along aliases that the servers do not follow themselves.
async fn addresses(name: &str, family: Family, settings: &Settings) -> Result<Found, Fault> {
    let (mut name, mut least_s) = (name.to_owned(), u32::MAX);
    for _ in 0..ALIASES_MAX {
        match servers(&name, family, settings).await? {
            Answer::Found(found) => return Ok(Found { ttl_s: found.ttl_s.min(least_s), ..found }),
            Answer::NoSuchName { ttl_s } => return Err(Fault::NoSuchName { ttl_s }),
            Answer::NoAddress { ttl_s } => return Err(Fault::NoAddress { ttl_s }),
            Answer::Refusal(word) => return Err(Fault::Server(word)),
            Answer::Alias { to, ttl_s } => (name, least_s) = (to, least_s.min(ttl_s)),
        }
    }
    Err(Fault::Chain)
}

/// Asks one server after the other, in rounds, until one knows.
async fn servers(name: &str, family: Family, settings: &Settings) -> Result<Answer, Fault> {
    let mut fault = Fault::Silent;
    for _ in 0..settings.rounds {
        for server in &settings.servers {
            match ask(*server, name, family, settings.patience).await {
                Ok(Answer::Refusal(word)) => fault = graver(fault, Fault::Server(word)),
                Ok(answer) => return Ok(answer),
                Err(Trouble::Silent) => {}
                Err(Trouble::Ours(error)) => return Err(Fault::Ours(error.to_string().into())),
            }
        }
    }
    Err(fault)
}
