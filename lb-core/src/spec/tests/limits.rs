//! Limits of members and the queue of their pool: what is left out, what means no limit, and mistakes at their place.

use super::{legal, mistakes};
use crate::config::{MAX_CONNECTIONS_MAX, MAX_QUEUE_MAX, Pool};

/// A pool with these keys and a member with those.
fn document(pool: &str, member: &str) -> String {
    format!(
        "loadbalancer:\n  vip_address: 10.0.0.1\n  pools:\n  - name: a\n    protocol: HTTP\n    \
         lb_algorithm: SOURCE_IP\n    members: [{{address: 10.0.0.2, protocol_port: 80{member}}}]\n    {pool}\n"
    )
}

fn read(pool: &str, member: &str) -> Pool {
    legal(&document(pool, member)).pools.remove(0)
}

#[test]
fn without_a_word_there_is_no_limit() {
    for (pool, member) in [("", ""), ("max_queue: -1", ", max_connections: 0"), ("max_queue: null", "")] {
        let pool = read(pool, member);
        assert_eq!((pool.max_queue, pool.timeout_queue_ms, pool.members[0].max_connections), (None, None, None));
    }
}

#[test]
fn limits_are_read() {
    let pool = read("max_queue: 0\n    timeout_queue: 0", ", max_connections: 1");
    assert_eq!((pool.max_queue, pool.timeout_queue_ms, pool.members[0].max_connections), (Some(0), Some(0), Some(1)));
    let pool = read("max_queue: 2147483647\n    timeout_queue: 250", ", max_connections: 2147483647");
    assert_eq!((pool.max_queue, pool.timeout_queue_ms), (Some(MAX_QUEUE_MAX), Some(250)));
    assert_eq!(pool.members[0].max_connections, Some(MAX_CONNECTIONS_MAX));
}

#[test]
fn wrong_limits_are_told() {
    for (pool, member, place, words) in [
        ("max_queue: -2", "", "8:16", "-1"),
        ("max_queue: 2147483648", "", "8:16", "2147483647"),
        ("max_queue: '5'", "", "8:16", "quotes"),
        ("timeout_queue: -1", "", "8:20", "2073600000"),
        ("timeout_queu: 1", "", "8:5", "`timeout_queue`"),
        ("", ", max_connections: -1", "7:71", "2147483647"),
        ("", ", max_conections: 1", "7:54", "`max_connections`"),
    ] {
        let found = mistakes(&document(pool, member));
        let [mistake] = found.as_slice() else { panic!("{pool}{member}: {found:?}") };
        assert!(mistake.starts_with(&format!("{place} ")) && mistake.contains(words), "{pool}{member}: {mistake}");
    }
}
