//! How a pool remembers its clients, crossing the border.

use std::net::Ipv4Addr;

use super::monitor_fields::is_host_name;
use super::{Border, NodeId, types};
use crate::config::PoolProtocol;
use crate::config::persistence::{
    APP_COOKIE_LEN, APP_COOKIE_TIMEOUT_S, AppCookie, COOKIE_NAME, CookieMode, HttpCookie, InUrl, Insert, SameSite,
    SessionPersistence, SourceIp, TABLE_SIZE,
};
use crate::spec::mistake::shown;
use crate::spec::types::PersistenceType;

/// Which persistence a key does something for; `None`: any, or nobody knows it.
fn home(key: &str) -> Option<(&'static [PersistenceType], &'static str)> {
    use PersistenceType::{AppCookie, HttpCookie, SourceIp};
    match key {
        "cookie_name" => Some((&[HttpCookie, AppCookie], "HTTP_COOKIE and APP_COOKIE")),
        "persistence_timeout" => Some((&[SourceIp, AppCookie], "SOURCE_IP and APP_COOKIE")),
        "table_size" => Some((&[SourceIp, AppCookie], "SOURCE_IP and APP_COOKIE")),
        "persistence_granularity" | "ipv6_prefix" => Some((&[SourceIp], "SOURCE_IP")),
        "mode" => Some((&[HttpCookie], "HTTP_COOKIE")),
        "length" | "in_url" | "request_learn" | "prefix" => Some((&[AppCookie], "APP_COOKIE")),
        key if INSERT_ONLY.contains(&key) => Some((&[HttpCookie], "HTTP_COOKIE")),
        _ => None,
    }
}

const INSERT_ONLY: [&str; 11] = [
    "indirect",
    "nocache",
    "post_only",
    "preserve",
    "http_only",
    "secure",
    "same_site",
    "domains",
    "max_age",
    "max_idle",
    "max_life",
];

impl Border<'_> {
    /// `Err` if it lacks what it needs, which is reported.
    pub(super) fn persistence(
        &mut self,
        written: Option<types::SessionPersistence>,
        protocol: Option<PoolProtocol>,
    ) -> Result<Option<SessionPersistence>, ()> {
        let Some(written) = written else { return Ok(None) };
        let at = written.at;
        let Some(kind) = written.kind else { return Err(()) };
        self.only_keys_of(kind, written.mode, at);
        if kind != PersistenceType::SourceIp
            && let Some(protocol @ (PoolProtocol::Tcp | PoolProtocol::Https)) = protocol
        {
            let message = format!("{} needs a pool of protocol HTTP, and this one is {protocol}", kind.word());
            self.mistake(self.tree.spot_of(at, "type"), message, "use `SOURCE_IP`".to_owned());
        }
        match kind {
            PersistenceType::SourceIp => Ok(Some(SessionPersistence::SourceIp(self.source_ip(&written)))),
            PersistenceType::HttpCookie => Ok(Some(SessionPersistence::HttpCookie(self.http_cookie(&written)))),
            PersistenceType::AppCookie => match self.app_cookie(&written) {
                Some(cookie) => Ok(Some(SessionPersistence::AppCookie(cookie))),
                None => Err(()),
            },
        }
    }

    /// Reports keys that do nothing for persistence of this type, or a cookie in this mode.
    fn only_keys_of(&mut self, kind: PersistenceType, mode: Option<types::CookieMode>, at: NodeId) {
        let written = self.tree.entries(at).iter();
        let keys: Vec<String> = written
            .filter(|entry| !self.tree.is_null(entry.value) && !self.tree.is_rejected(entry.value))
            .map(|entry| entry.key.clone())
            .collect();
        let mode = mode.filter(|mode| *mode != types::CookieMode::Insert);
        for key in keys {
            let Some((kinds, words)) = home(&key) else { continue };
            let message = match mode {
                _ if !kinds.contains(&kind) => {
                    format!("`{key}` is only for persistence by {words}, and this is by {}", kind.word())
                }
                Some(mode) if INSERT_ONLY.contains(&key.as_str()) => {
                    format!("`{key}` is only for `mode: INSERT`, and this is `{}`", mode.word())
                }
                _ => continue,
            };
            self.mistake(self.tree.spot_of_key(at, &key), message, "leave it out".to_owned());
        }
    }

    fn source_ip(&mut self, written: &types::SessionPersistence) -> SourceIp {
        let mask = written.persistence_granularity.as_ref();
        SourceIp {
            timeout_s: written.persistence_timeout,
            ipv4_prefix: mask.map_or(32, |mask| self.netmask(written.at, &mask.0)),
            ipv6_prefix: written.ipv6_prefix.unwrap_or(128),
            table_size: written.table_size.unwrap_or(TABLE_SIZE),
        }
    }

    fn netmask(&mut self, at: NodeId, written: &str) -> u8 {
        let bits = written.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
        if let Some(bits) = bits.filter(|bits| bits.leading_ones() + bits.trailing_zeros() == 32) {
            return bits.leading_ones() as u8;
        }
        let help = match written.trim_start_matches('/').parse::<u32>() {
            Ok(prefix @ 0..=32) => {
                let bits = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                format!("did you mean `{}`?", Ipv4Addr::from_bits(bits))
            }
            _ => "like `255.255.255.0`: ones, then zeros".to_owned(),
        };
        let message = format!("{} is no IPv4 netmask", shown(written));
        self.mistake(self.tree.spot_of(at, "persistence_granularity"), message, help);
        32
    }

    fn http_cookie(&mut self, written: &types::SessionPersistence) -> HttpCookie {
        let at = written.at;
        let cookie_name = match &written.cookie_name {
            None => COOKIE_NAME.to_owned(),
            Some(name) => self.cookie_name(at, &name.0),
        };
        let mode = match written.mode.unwrap_or(types::CookieMode::Insert) {
            types::CookieMode::Insert => CookieMode::Insert(self.insert(at, written)),
            types::CookieMode::Rewrite => CookieMode::Rewrite,
            types::CookieMode::Prefix => CookieMode::Prefix,
        };
        HttpCookie { cookie_name, mode }
    }

    fn insert(&mut self, at: NodeId, written: &types::SessionPersistence) -> Insert {
        let secure = written.secure.unwrap_or(false);
        let same_site = written.same_site.map(same_site);
        if same_site == Some(SameSite::None) && !secure && !self.tree.is_lost(at, "secure") {
            let message = "browsers drop a cookie with `same_site: NONE` that is not `secure`";
            self.mistake(self.tree.spot_of(at, "same_site"), message, "add `secure: true`".to_owned());
        }
        Insert {
            indirect: written.indirect.unwrap_or(true),
            nocache: written.nocache.unwrap_or(true),
            post_only: written.post_only.unwrap_or(false),
            preserve: written.preserve.unwrap_or(false),
            http_only: written.http_only.unwrap_or(false),
            secure,
            same_site,
            domains: self.domains(at),
            max_age_s: written.max_age,
            max_idle_s: written.max_idle,
            max_life_s: written.max_life,
        }
    }

    fn domains(&mut self, at: NodeId) -> Vec<String> {
        let items = self.tree.entry(at, "domains").map(|entry| self.tree.items(entry.value).to_vec());
        let mut domains = Vec::new();
        for item in items.unwrap_or_default().into_iter().filter(|item| !self.tree.is_rejected(*item)) {
            let Some(domain) = self.tree.value(item).as_str().map(str::to_owned) else { continue };
            if !is_host_name(domain.strip_prefix('.').unwrap_or(&domain)) {
                let message = format!("{} is no domain", shown(&domain));
                let help = "letters, digits, hyphens and dots, like `example.org` or `.example.org`".to_owned();
                self.mistake(self.tree.spot(item), message, help);
            }
            domains.push(domain);
        }
        domains
    }

    fn app_cookie(&mut self, written: &types::SessionPersistence) -> Option<AppCookie> {
        let at = written.at;
        let Some(name) = &written.cookie_name else {
            if !self.tree.is_lost(at, "cookie_name") {
                let help = "name the cookie in which the application keeps its session, like `JSESSIONID`".to_owned();
                self.mistake(self.tree.spot(at), "APP_COOKIE needs a `cookie_name`", help);
            }
            return None;
        };
        Some(AppCookie {
            cookie_name: self.cookie_name(at, &name.0),
            timeout_s: written.persistence_timeout.unwrap_or(APP_COOKIE_TIMEOUT_S),
            length: written.length.unwrap_or(APP_COOKIE_LEN),
            in_url: written.in_url.map(in_url),
            request_learn: written.request_learn.unwrap_or(false),
            prefix: written.prefix.unwrap_or(false),
            table_size: written.table_size.unwrap_or(TABLE_SIZE),
        })
    }

    fn cookie_name(&mut self, at: NodeId, name: &str) -> String {
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            let message = format!("{} is no name of a cookie", shown(name));
            let help = "letters, digits and !#$%&'*+-.^_`|~".to_owned();
            self.mistake(self.tree.spot_of(at, "cookie_name"), message, help);
        }
        name.to_owned()
    }
}

fn same_site(written: types::SameSite) -> SameSite {
    match written {
        types::SameSite::Strict => SameSite::Strict,
        types::SameSite::Lax => SameSite::Lax,
        types::SameSite::None => SameSite::None,
    }
}

fn in_url(written: types::InUrl) -> InUrl {
    match written {
        types::InUrl::PathParameter => InUrl::PathParameter,
        types::InUrl::Query => InUrl::Query,
    }
}
