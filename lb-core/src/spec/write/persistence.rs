//! How a pool remembers its clients, written back.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::{object, put};
use crate::config::persistence::{AppCookie, CookieMode, HttpCookie, Insert, SessionPersistence, SourceIp};

pub(super) fn persistence(persistence: &SessionPersistence) -> Value {
    let mut body = object(json!({ "type": persistence.to_string() }));
    match persistence {
        SessionPersistence::SourceIp(by) => source_ip(&mut body, by),
        SessionPersistence::HttpCookie(by) => http_cookie(&mut body, by),
        SessionPersistence::AppCookie(by) => app_cookie(&mut body, by),
    }
    Value::Object(body)
}

fn source_ip(body: &mut Map<String, Value>, by: &SourceIp) {
    let mask = Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(by.ipv4_prefix)).unwrap_or(0));
    put(body, "persistence_timeout", by.timeout_s);
    put(body, "persistence_granularity", Some(mask));
    put(body, "ipv6_prefix", Some(by.ipv6_prefix));
    put(body, "table_size", Some(by.table_size));
}

fn http_cookie(body: &mut Map<String, Value>, by: &HttpCookie) {
    put(body, "cookie_name", Some(&by.cookie_name));
    let mode = match &by.mode {
        CookieMode::Insert(insert) => {
            inserted(body, insert);
            "INSERT"
        }
        CookieMode::Rewrite => "REWRITE",
        CookieMode::Prefix => "PREFIX",
    };
    put(body, "mode", Some(mode));
}

fn inserted(body: &mut Map<String, Value>, by: &Insert) {
    put(body, "indirect", Some(by.indirect));
    put(body, "nocache", Some(by.nocache));
    put(body, "post_only", Some(by.post_only));
    put(body, "preserve", Some(by.preserve));
    put(body, "http_only", Some(by.http_only));
    put(body, "secure", Some(by.secure));
    put(body, "same_site", by.same_site);
    put(body, "domains", Some(&by.domains));
    put(body, "max_age", by.max_age_s);
    put(body, "max_idle", by.max_idle_s);
    put(body, "max_life", by.max_life_s);
}

fn app_cookie(body: &mut Map<String, Value>, by: &AppCookie) {
    put(body, "cookie_name", Some(&by.cookie_name));
    put(body, "persistence_timeout", Some(by.timeout_s));
    put(body, "length", Some(by.length));
    put(body, "in_url", by.in_url);
    put(body, "request_learn", Some(by.request_learn));
    put(body, "prefix", Some(by.prefix));
    put(body, "table_size", Some(by.table_size));
}
