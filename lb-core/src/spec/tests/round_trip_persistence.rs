//! Legal ways to remember clients, generated.

use proptest::prelude::*;

use crate::config::persistence::*;

/// Any but those that read requests, if `http` is false.
pub(super) fn persistence(http: bool) -> BoxedStrategy<Option<SessionPersistence>> {
    let by_address = source_ips().prop_map(SessionPersistence::SourceIp);
    if !http {
        return prop::option::of(by_address).boxed();
    }
    let cookies = http_cookies().prop_map(SessionPersistence::HttpCookie);
    let sessions = app_cookies().prop_map(SessionPersistence::AppCookie);
    prop::option::of(prop_oneof![by_address, cookies, sessions]).boxed()
}

fn seconds() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1), Just(PERSISTENCE_S_MAX), 1..=PERSISTENCE_S_MAX]
}

fn names() -> impl Strategy<Value = String> {
    "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}"
}

fn source_ips() -> impl Strategy<Value = SourceIp> {
    (prop::option::of(seconds()), 0u8..=32, 1u8..=128, 1..=TABLE_SIZE_MAX).prop_map(
        |(timeout_s, ipv4_prefix, ipv6_prefix, table_size)| SourceIp {
            timeout_s,
            ipv4_prefix,
            ipv6_prefix,
            table_size,
        },
    )
}

fn http_cookies() -> impl Strategy<Value = HttpCookie> {
    let mode = prop_oneof![inserts().prop_map(CookieMode::Insert), Just(CookieMode::Rewrite), Just(CookieMode::Prefix)];
    (names(), mode).prop_map(|(cookie_name, mode)| HttpCookie { cookie_name, mode })
}

fn inserts() -> impl Strategy<Value = Insert> {
    let same_site = prop::option::of(prop::sample::select(vec![SameSite::Strict, SameSite::Lax, SameSite::None]));
    let domains = prop::collection::vec("\\.?[a-z]([a-z0-9-]{0,9}[a-z])?(\\.[a-z]{1,5}){0,3}", 0..DOMAINS_MAX);
    let ages = (prop::option::of(seconds()), prop::option::of(seconds()), prop::option::of(seconds()));
    (any::<[bool; 6]>(), same_site, domains, ages).prop_map(|(flags, same_site, domains, ages)| {
        let [indirect, nocache, post_only, preserve, http_only, secure] = flags;
        let (max_age_s, max_idle_s, max_life_s) = ages;
        let secure = secure || same_site == Some(SameSite::None);
        Insert {
            indirect,
            nocache,
            post_only,
            preserve,
            http_only,
            secure,
            same_site,
            domains,
            max_age_s,
            max_idle_s,
            max_life_s,
        }
    })
}

fn app_cookies() -> impl Strategy<Value = AppCookie> {
    let in_url = prop::option::of(prop::sample::select(vec![InUrl::PathParameter, InUrl::Query]));
    let limits = (seconds(), 1..=APP_COOKIE_LEN_MAX, 1..=TABLE_SIZE_MAX);
    (names(), limits, in_url, any::<[bool; 2]>()).prop_map(|(cookie_name, limits, in_url, [request_learn, prefix])| {
        let (timeout_s, length, table_size) = limits;
        AppCookie { cookie_name, timeout_s, length, in_url, request_learn, prefix, table_size }
    })
}
