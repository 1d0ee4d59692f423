//! What a pool hashes, crossing the border: which keys fit its algorithm and its table.

use super::{Border, NodeId, types};
use crate::config::{
    HashFunction, HashKey, HashTable, Hashing, LbAlgorithm, ListenerProtocol, PoolProtocol, RDP_COOKIE,
};
use crate::spec::mistake::shown;
use crate::spec::near::nearest;
use crate::spec::tree::Spot;

/// What a key of `hash` is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Algorithms that hash a text.
    Text,
    /// This one.
    Only(LbAlgorithm),
    /// These tables.
    Tables(&'static [HashTable]),
}

impl For {
    /// `None`: every hash uses that key.
    fn of(key: &str) -> Option<Self> {
        Some(match key {
            "function" => Self::Text,
            "length" | "depth" | "whole" | "path_only" => Self::Only(LbAlgorithm::Uri),
            "parameter" => Self::Only(LbAlgorithm::UrlParam),
            "header" | "domain_only" => Self::Only(LbAlgorithm::Header),
            "cookie" => Self::Only(LbAlgorithm::RdpCookie),
            "avalanche" => Self::Tables(&[HashTable::Map, HashTable::Consistent]),
            "balance_factor" => Self::Tables(&[HashTable::Consistent, HashTable::Maglev, HashTable::Rendezvous]),
            _ => return None,
        })
    }

    fn fits(self, algorithm: LbAlgorithm, table: HashTable) -> bool {
        match self {
            Self::Text => !matches!(algorithm, LbAlgorithm::SourceIp | LbAlgorithm::SourceIpPort),
            Self::Only(only) => only == algorithm,
            Self::Tables(tables) => tables.contains(&table),
        }
    }

    /// Whom it is for, and what is there instead.
    fn words(self, algorithm: LbAlgorithm, table: HashTable) -> String {
        match self {
            Self::Text => format!("only for algorithms that hash a text, and this one is {algorithm}"),
            Self::Only(only) => format!("only for {only}, and this pool is {algorithm}"),
            Self::Tables(tables) => {
                let words: Vec<&str> = tables.iter().map(|table| table.word()).collect();
                format!("only for the table {}, and this one is {}", words.join(" or "), table.word())
            }
        }
    }
}

impl Border<'_> {
    /// The outer `None`: something was wrong, which is reported. The inner: the algorithm hashes nothing.
    #[expect(clippy::option_option, reason = "nothing to hash is not the same as nothing right")]
    pub(super) fn hashing(
        &mut self,
        pool: NodeId,
        written: Option<types::Hashing>,
        algorithm: Option<LbAlgorithm>,
        protocol: Option<PoolProtocol>,
    ) -> Option<Option<Hashing>> {
        let algorithm = algorithm?;
        if let Some(protocol) = protocol {
            self.protocol_fits(pool, algorithm, protocol);
        }
        if !algorithm.is_hash() {
            if written.is_some() {
                let words: Vec<&str> = LbAlgorithm::ALL.iter().filter(|a| a.is_hash()).map(|a| a.word()).collect();
                let message = format!("`hash` is only for algorithms that hash, and this pool is {algorithm}");
                let spot = self.tree.spot_of_key(pool, "hash");
                self.mistake(spot, message, format!("leave it out, or choose one of: {}", words.join(", ")));
            }
            return Some(None);
        }
        if self.tree.is_lost(pool, "hash") {
            return None;
        }
        let mut written = written;
        let table = written.as_ref().and_then(|hash| hash.table).map_or(HashTable::DEFAULT, table);
        if let Some(hash) = &written {
            self.only_hash_keys_of(hash.at, algorithm, table);
        }
        let key = self.hash_key(pool, written.as_mut(), algorithm)?;
        let mut hashing = Hashing::with(key, table);
        if let Some(hash) = written {
            hashing.function = hash.function.map_or(hashing.function, function);
            hashing.avalanche = hash.avalanche.unwrap_or(hashing.avalanche);
            hashing.balance_factor = hash.balance_factor;
        }
        Some(Some(hashing))
    }

    /// Reports an algorithm that looks at what the pool's members are not sent.
    fn protocol_fits(&mut self, pool: NodeId, algorithm: LbAlgorithm, protocol: PoolProtocol) {
        let spot = || self.tree.spot_of(pool, "lb_algorithm");
        let relays = matches!(protocol, PoolProtocol::Tcp | PoolProtocol::Https);
        let other = matches!(protocol, PoolProtocol::Http | PoolProtocol::Https);
        if algorithm.reads_requests() && relays {
            let message = format!("{algorithm} looks at requests, and a pool of protocol {protocol} gets none");
            self.mistake(spot(), message, "use `protocol: HTTP`, or SOURCE_IP".to_owned());
        } else if algorithm == LbAlgorithm::RdpCookie && other {
            let message =
                format!("RDP_COOKIE is for remote desktops, which a pool of protocol {protocol} does not serve");
            self.mistake(spot(), message, "use `protocol: TCP`, or another algorithm".to_owned());
        }
    }

    /// Reports a listener that does not see what its pool chooses by.
    pub(super) fn sees_what_is_hashed(&mut self, listener: ListenerProtocol, pool: usize, spot: Spot) {
        let pool = &self.pools[pool];
        let (Some(algorithm), Some(protocol)) = (pool.lb_algorithm, pool.protocol) else { return };
        let of_requests = !matches!(protocol, PoolProtocol::Tcp | PoolProtocol::Https);
        let of_bytes = !matches!(protocol, PoolProtocol::Http | PoolProtocol::Https);
        // What the pool itself cannot do is reported there.
        let (sees, instead) = match algorithm {
            LbAlgorithm::RdpCookie if of_bytes && listener != ListenerProtocol::Tcp => {
                ("does not see the first bytes of remote desktops", "TCP")
            }
            algorithm if algorithm.reads_requests() && of_requests && !listener.is_http() => {
                ("reads no requests", "HTTP")
            }
            _ => return,
        };
        let message = format!("a listener of protocol {listener} {sees}, and its pool chooses by {algorithm}");
        self.mistake(spot, message, format!("use `protocol: {instead}` for the listener, or another pool"));
    }

    fn only_hash_keys_of(&mut self, hash: NodeId, algorithm: LbAlgorithm, table: HashTable) {
        let lost_table = self.tree.is_lost(hash, "table");
        let entries = self.tree.entries(hash);
        let used =
            entries.iter().filter(|entry| !self.tree.is_null(entry.value) && !self.tree.is_rejected(entry.value));
        let idle: Vec<(String, For)> = used
            .filter_map(|entry| Some((entry.key.clone(), For::of(&entry.key)?)))
            .filter(|(_, use_)| !use_.fits(algorithm, table))
            .filter(|(_, use_)| !(lost_table && matches!(use_, For::Tables(_))))
            .collect();
        for (key, use_) in idle {
            let message = format!("`{key}` is {}", use_.words(algorithm, table));
            self.mistake(self.tree.spot_of_key(hash, &key), message, "leave it out".to_owned());
        }
    }

    fn hash_key(&mut self, pool: NodeId, hash: Option<&mut types::Hashing>, algorithm: LbAlgorithm) -> Option<HashKey> {
        let at = hash.as_ref().map(|hash| hash.at);
        // Written, but with a mistake that is reported, in its value or in the key itself.
        let lost = |key: &str| {
            let entries = at.map_or(&[][..], |at| self.tree.entries(at));
            let mut wrong = entries.iter().filter(|entry| self.tree.is_rejected(entry.value));
            wrong.any(|entry| nearest(&entry.key, [key]).is_some())
        };
        let mut read = Hashing::of(algorithm).map(|hashing| hashing.key).or_else(|| required(algorithm))?;
        match &mut read {
            HashKey::Source | HashKey::SourcePort => {}
            HashKey::Uri { length, depth, whole, path_only } => {
                if let Some(hash) = hash {
                    (*length, *depth) = (hash.length, hash.depth);
                    (*whole, *path_only) = (hash.whole.unwrap_or(false), hash.path_only.unwrap_or(false));
                }
            }
            HashKey::UrlParam { parameter } => {
                let lost = lost("parameter");
                let written = hash.and_then(|hash| hash.parameter.take()).map(|line| line.0);
                *parameter = self.name(Name { pool, at, key: "parameter", lost, algorithm }, written)?;
            }
            HashKey::Header { header, domain_only } => {
                let lost = lost("header");
                *domain_only = hash.as_ref().and_then(|hash| hash.domain_only).unwrap_or(false);
                let written = hash.and_then(|hash| hash.header.take()).map(|line| line.0);
                *header = self.name(Name { pool, at, key: "header", lost, algorithm }, written)?;
            }
            HashKey::RdpCookie { cookie } => {
                let lost = lost("cookie");
                let written = hash.and_then(|hash| hash.cookie.take()).map(|line| line.0);
                let written = written.or_else(|| (!lost).then(|| RDP_COOKIE.to_owned()));
                *cookie = self.name(Name { pool, at, key: "cookie", lost, algorithm }, written)?;
            }
        }
        Some(read)
    }

    /// A name that is there and may be one.
    fn name(&mut self, name: Name, written: Option<String>) -> Option<String> {
        let Name { pool, at, key, lost, algorithm } = name;
        let Some(written) = written else {
            if !lost {
                let spot = at.map_or_else(|| self.tree.spot_of(pool, "lb_algorithm"), |at| self.tree.spot(at));
                let message = format!("{algorithm} needs the name of what is hashed");
                self.mistake(spot, message, format!("give `hash: {{{key}: …}}`"));
            }
            return None;
        };
        let may_be = match algorithm {
            LbAlgorithm::Header => written.bytes().all(is_token),
            LbAlgorithm::UrlParam => written.bytes().all(|b| b.is_ascii_graphic() && !b"=&#".contains(&b)),
            _ => written.bytes().all(|b| b.is_ascii_graphic() && b != b'='),
        };
        if !may_be {
            let (message, help) = match algorithm {
                LbAlgorithm::Header => {
                    (format!("{} is no name of a field", shown(&written)), "letters, digits and `-`")
                }
                _ => (format!("{} cannot be a name there", shown(&written)), "printable ASCII without spaces and `=`"),
            };
            let spot = at.map_or_else(|| self.tree.spot(pool), |at| self.tree.spot_of(at, key));
            self.mistake(spot, message, help.to_owned());
            return None;
        }
        Some(written)
    }
}

/// A name of `hash`, and where it stands.
#[derive(Clone, Copy)]
struct Name {
    pool: NodeId,
    /// The mapping, if it is written.
    at: Option<NodeId>,
    key: &'static str,
    /// It was written, and what was wrong with it is reported.
    lost: bool,
    algorithm: LbAlgorithm,
}

/// The key of an algorithm that must be told a name, without it.
fn required(algorithm: LbAlgorithm) -> Option<HashKey> {
    match algorithm {
        LbAlgorithm::UrlParam => Some(HashKey::UrlParam { parameter: String::new() }),
        LbAlgorithm::Header => Some(HashKey::Header { header: String::new(), domain_only: false }),
        _ => None,
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) fn algorithm(written: types::LbAlgorithm) -> LbAlgorithm {
    match written {
        types::LbAlgorithm::RoundRobin => LbAlgorithm::RoundRobin,
        types::LbAlgorithm::LeastConnections => LbAlgorithm::LeastConnections,
        types::LbAlgorithm::SourceIp => LbAlgorithm::SourceIp,
        types::LbAlgorithm::SourceIpPort => LbAlgorithm::SourceIpPort,
        types::LbAlgorithm::StaticRr => LbAlgorithm::StaticRr,
        types::LbAlgorithm::First => LbAlgorithm::First,
        types::LbAlgorithm::Random => LbAlgorithm::Random,
        types::LbAlgorithm::Uri => LbAlgorithm::Uri,
        types::LbAlgorithm::UrlParam => LbAlgorithm::UrlParam,
        types::LbAlgorithm::Header => LbAlgorithm::Header,
        types::LbAlgorithm::RdpCookie => LbAlgorithm::RdpCookie,
    }
}

fn table(written: types::HashTable) -> HashTable {
    match written {
        types::HashTable::Map => HashTable::Map,
        types::HashTable::Consistent => HashTable::Consistent,
        types::HashTable::Maglev => HashTable::Maglev,
        types::HashTable::Rendezvous => HashTable::Rendezvous,
    }
}

fn function(written: types::HashFunction) -> HashFunction {
    match written {
        types::HashFunction::Sdbm => HashFunction::Sdbm,
        types::HashFunction::Djb2 => HashFunction::Djb2,
        types::HashFunction::Wt6 => HashFunction::Wt6,
        types::HashFunction::Crc32 => HashFunction::Crc32,
        types::HashFunction::None => HashFunction::None,
    }
}
