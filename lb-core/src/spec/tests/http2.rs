//! HTTP/2 without asking first, in documents.

use super::{legal, mistakes};

fn document(listener: &str, pool: &str) -> String {
    format!(
        "loadbalancer:
  vip_address: 10.0.0.1
  listeners:
  - {{protocol_port: 80, {listener}}}
  pools:
  - {{name: p, lb_algorithm: ROUND_ROBIN, {pool}}}
"
    )
}

#[test]
fn it_is_off_unless_written() {
    for (written, expected) in
        [("", false), (", http2_prior_knowledge: false", false), (", http2_prior_knowledge: true", true)]
    {
        let config = legal(&document(&format!("protocol: HTTP{written}"), &format!("protocol: HTTP{written}")));
        assert_eq!(config.listeners[0].http2_prior_knowledge, expected, "{written}");
        assert_eq!(config.pools[0].http2_prior_knowledge, expected, "{written}");
    }
}

#[test]
fn it_is_for_http_without_tls() {
    let on = "http2_prior_knowledge: true";
    for (listener, expected) in [
        ("TCP", "is only for HTTP listeners, and this one is TCP | leave it out"),
        ("HTTPS", "is only for HTTP listeners, and this one is HTTPS | leave it out"),
        (
            "TERMINATED_HTTPS, default_tls_container_ref: 'file:/a'",
            "is only for HTTP listeners, and this one is TERMINATED_HTTPS | with TLS it is agreed on by ALPN: put h2 \
             into `alpn_protocols`",
        ),
    ] {
        let found = mistakes(&document(&format!("protocol: {listener}, {on}"), "protocol: TCP"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("4:") && found[0].ends_with(expected), "{found:?}");
    }
    for (pool, expected) in [
        ("TCP", "is only for HTTP pools, and this one is TCP | leave it out"),
        ("PROXY", "is only for HTTP pools, and this one is PROXY | leave it out"),
        ("PROXYV2", "is only for HTTP pools, and this one is PROXYV2 | leave it out"),
        (
            "HTTP, tls_enabled: true",
            "both `http2_prior_knowledge` and `tls_enabled` are given | with TLS it is agreed on by ALPN: put h2 into \
             `alpn_protocols`",
        ),
    ] {
        let found = mistakes(&document("protocol: HTTP", &format!("protocol: {pool}, {on}")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("6:") && found[0].ends_with(expected), "{found:?}");
    }
    let typo = mistakes(&document("protocol: HTTP, http2_prior_knowlege: true", "protocol: HTTP"));
    assert!(
        typo[0].ends_with("unknown key `http2_prior_knowlege` | did you mean `http2_prior_knowledge`?"),
        "{typo:?}"
    );
}
