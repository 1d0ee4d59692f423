//! What the agent is told about its node: `/etc/weir/agent.yaml`.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// Where the file is unless the command line says otherwise.
pub const DEFAULT_FILE: &str = "/etc/weir/agent.yaml";
/// Longest name of a link that Linux takes.
const LINK_NAME_LEN_MAX: usize = 15;

/// One node. Everything has a default except the networks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Documents are kept here; must survive a reboot.
    pub state_dir: PathBuf,
    /// Sockets and pids; must not survive a reboot.
    pub run_dir: PathBuf,
    /// Group whose members may talk to the agent, beside root.
    pub socket_group: Option<String>,
    /// The data plane; by default `lb-proxy` beside the agent, then in `PATH`.
    pub proxy_binary: Option<PathBuf>,
    /// Whom data planes run as once their ports are bound; empty: whom the agent runs as.
    pub user: String,
    /// What VIPs may be plugged into.
    pub networks: Vec<Network>,
    /// How long a removed load balancer's sessions may take to end, in seconds.
    pub drain_timeout_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: "/var/lib/weir".into(),
            run_dir: "/run/weir".into(),
            socket_group: None,
            proxy_binary: None,
            user: "nobody".into(),
            networks: Vec::new(),
            drain_timeout_s: 10,
        }
    }
}

/// A network VIPs live in: a bridge of this node and the addresses on it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What documents may call it.
    pub name: String,
    /// What documents may call it, too: OpenStack's id of the network or subnet.
    #[serde(default)]
    pub id: Option<String>,
    /// Its addresses.
    pub cidr: Cidr,
    /// Default route of its VIPs.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Link that VIPs are plugged into.
    pub bridge: String,
    /// Make the bridge when it is missing.
    #[serde(default)]
    pub create_bridge: bool,
    /// Of the VIP's link; by default the kernel's.
    #[serde(default)]
    pub mtu: Option<u32>,
}

/// A network address and the length of its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// First address.
    pub network: IpAddr,
    /// 0..=32 or 0..=128.
    pub prefix_len: u8,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error("{}:{what}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// `line:column: what`, or ` what` where no place is known.
        what: String,
    },
}

/// A VIP's network cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoNetwork(String);

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads text; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let wrong = |what: String| ConfigError::Wrong { path: path.to_owned(), what };
        // A file of comments says nothing, which is fine.
        let only_comments = text.lines().all(|line| matches!(line.trim().bytes().next(), None | Some(b'#')));
        if only_comments {
            return Ok(Self::default());
        }
        let options = serde_saphyr::Options { with_snippet: false, ..Default::default() };
        let config: Self = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().map(|at| format!("{}:{}:", at.line(), at.column())).unwrap_or_default();
            wrong(format!("{place} {}", without_place(&error.to_string())))
        })?;
        config.check().map_err(|what| wrong(format!(" {what}")))?;
        Ok(config)
    }

    /// What no single value can get wrong.
    fn check(&self) -> Result<(), String> {
        for (i, network) in self.networks.iter().enumerate() {
            let at = format!("networks[{i}] ({})", network.name);
            if network.name.is_empty() {
                return Err(format!("networks[{i}]: the name is empty"));
            }
            let bridge = network.bridge.as_str();
            if bridge.is_empty() || bridge.len() > LINK_NAME_LEN_MAX || bridge.contains(['/', ' ', ':']) {
                return Err(format!(
                    "{at}: {bridge:?} cannot name a bridge (1 to {LINK_NAME_LEN_MAX} characters, no '/', ':' or blank)"
                ));
            }
            if network.gateway.is_some_and(|gateway| gateway.is_ipv4() != network.cidr.network.is_ipv4()) {
                return Err(format!("{at}: gateway and cidr are not of one address family"));
            }
            let names = |n: &Network| [Some(n.name.clone()), n.id.clone()];
            let mine = names(network);
            let doubled = self
                .networks
                .iter()
                .take(i)
                .any(|n| names(n).iter().flatten().any(|a| mine.contains(&Some(a.clone()))));
            if doubled {
                return Err(format!("{at}: the name or id is used by an earlier network"));
            }
        }
        Ok(())
    }

    /// The network of a VIP: the one the document names, else the only one that has its address.
    pub fn network_of(&self, vip: IpAddr, named: Option<&str>) -> Result<&Network, NoNetwork> {
        let list = || {
            let all: Vec<String> = self.networks.iter().map(|n| format!("{} ({})", n.name, n.cidr)).collect();
            if all.is_empty() {
                "this node has no networks".to_owned()
            } else {
                format!("this node has: {}", all.join(", "))
            }
        };
        if let Some(name) = named {
            let found = self.networks.iter().find(|n| n.name == name || n.id.as_deref() == Some(name));
            let network = found.ok_or_else(|| NoNetwork(format!("no network is called {name:?}; {}", list())))?;
            if !network.cidr.contains(vip) {
                let words = format!("{vip} is not in network {} ({})", network.name, network.cidr);
                return Err(NoNetwork(words));
            }
            return Ok(network);
        }
        let mut holding = self.networks.iter().filter(|n| n.cidr.contains(vip));
        match (holding.next(), holding.next()) {
            (Some(network), None) => Ok(network),
            (None, _) => Err(NoNetwork(format!("no network has the address {vip}; {}", list()))),
            (Some(_), Some(_)) => Err(NoNetwork(format!(
                "several networks have the address {vip}: name one (vip_network_id); {}",
                list()
            ))),
        }
    }
}

/// serde-saphyr ends its messages with the place, which stands in front here.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

impl Cidr {
    /// Is `address` one of its addresses?
    pub fn contains(&self, address: IpAddr) -> bool {
        first_of(address, self.prefix_len) == Some(self.network)
    }
}

/// `None`: the prefix is longer than the address.
fn first_of(address: IpAddr, prefix_len: u8) -> Option<IpAddr> {
    let len = u32::from(prefix_len);
    Some(match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32u32.checked_sub(len)?).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128u32.checked_sub(len)?).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    })
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a network like 20.20.20.0/24");
        let (ip, len) = text.split_once('/').ok_or_else(wrong)?;
        let (ip, prefix_len): (IpAddr, u8) = (ip.parse().map_err(|_| wrong())?, len.parse().map_err(|_| wrong())?);
        let network = first_of(ip, prefix_len).ok_or_else(wrong)?;
        Ok(Self { network, prefix_len })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix_len)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("agent.yaml"), text).map_err(|e| e.to_string())
    }

    const TWO: &str = "
user: ''
networks:
  - {name: blue, id: 0b1e, cidr: 20.20.20.5/24, bridge: br-blue, gateway: 20.20.20.1}
  - {name: red, cidr: 20.20.0.0/16, bridge: br-red, create_bridge: true, mtu: 1450}
  - {name: six, cidr: 'fd00:1::/64', bridge: br6}
";

    #[test]
    fn defaults_and_networks() {
        assert_eq!(parse("# nothing\n").unwrap(), Config::default());
        let config = parse(TWO).unwrap();
        assert_eq!(config.run_dir, Path::new("/run/weir"));
        assert_eq!(config.networks[0].cidr.to_string(), "20.20.20.0/24");
        assert!(config.networks[1].create_bridge);
    }

    #[test]
    fn a_vip_finds_its_network() {
        let config = parse(TWO).unwrap();
        let name = |vip: &str, named| config.network_of(vip.parse().unwrap(), named).map(|n| n.name.clone());
        assert_eq!(name("20.20.7.1", None).unwrap(), "red");
        assert_eq!(name("fd00:1::9", None).unwrap(), "six");
        assert_eq!(name("20.20.20.6", Some("blue")).unwrap(), "blue");
        assert_eq!(name("20.20.20.6", Some("0b1e")).unwrap(), "blue");
        let several = name("20.20.20.6", None).unwrap_err().to_string();
        assert!(several.contains("several networks") && several.contains("blue (20.20.20.0/24)"), "{several}");
        let none = name("10.0.0.1", None).unwrap_err().to_string();
        assert!(none.contains("no network has the address 10.0.0.1; this node has: blue"), "{none}");
        let unknown = name("20.20.20.6", Some("green")).unwrap_err().to_string();
        assert!(unknown.contains("no network is called \"green\""), "{unknown}");
        assert!(name("10.0.0.1", Some("red")).unwrap_err().to_string().contains("is not in network red"));
    }

    #[test]
    fn mistakes_are_placed() {
        let unknown = parse("state_dir: /x\nrundir: /y\n").unwrap_err();
        assert!(unknown.starts_with("agent.yaml:2:1: ") && unknown.contains("rundir"), "{unknown}");
        let cidr = parse("networks:\n  - {name: a, bridge: b, cidr: 20.20.20.0/33}\n").unwrap_err();
        assert!(cidr.starts_with("agent.yaml:2:") && cidr.contains("is not a network like"), "{cidr}");
        assert!(parse("networks:\n - {name: a, bridge: way-too-long-a-name, cidr: 1.0.0.0/8}\n").is_err());
        let twice = "networks:\n - {name: a, bridge: b, cidr: 1.0.0.0/8}\n - {name: a, bridge: c, cidr: 2.0.0.0/8}\n";
        assert!(parse(twice).unwrap_err().contains("used by an earlier network"));
        assert!(parse("networks: [").is_err());
    }

    #[test]
    fn prefixes_at_the_edges() {
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("1.2.3.4".parse().unwrap()) && !all.contains("::1".parse().unwrap()));
        let one: Cidr = "::1/128".parse().unwrap();
        assert!(one.contains("::1".parse().unwrap()) && !one.contains("::2".parse().unwrap()));
    }
}
