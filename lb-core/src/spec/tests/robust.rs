//! Any text at all is answered: by a configuration, or by at least one located mistake. Never by a panic.

use proptest::prelude::*;

use crate::spec::{example, read};

fn answered(text: &str) -> Result<(), TestCaseError> {
    let Err(refused) = read("any", text) else { return Ok(()) };
    prop_assert!(!refused.mistakes.is_empty());
    prop_assert!(!refused.rendered.is_empty());
    let lines = text.split('\n').count();
    let mut before = (0, 0);
    for mistake in &refused.mistakes {
        prop_assert!((1..=lines).contains(&mistake.line), "line {} of {lines}", mistake.line);
        prop_assert!(mistake.column >= 1);
        prop_assert!(before <= (mistake.line, mistake.column), "out of order");
        before = (mistake.line, mistake.column);
    }
    Ok(())
}

/// A document with a bit of everything, to be mutilated.
const RICH: &str = "loadbalancer:
  vip_address: 10.0.0.1
  pools: [{name: web, protocol: HTTP, lb_algorithm: ROUND_ROBIN, members: [{address: '10.0.0.2', protocol_port: 80}],
    healthmonitor: {type: HTTPS, delay: 0.5, timeout: .5, max_retries: 2, http_version: 1.1, domain_name: a.b,
      expected_codes: 200-204, headers: {X-A: 'b'}, expected_body_regex: 'o(k|n)'}, observe: {layer: HTTP}, tls_enabled: true, tls_server_name: a.b}]
  listeners:
  - protocol: HTTP
    protocol_port: 80
    default_pool: {name: \"web\"}
    log: {format: json, target: 'file:/x'}
    insert_headers: {X-Forwarded-For: \"true\"}
    error_pages:
      503: |
        some
        text
  - {\"protocol\": TCP, \"protocol_port\": 81, default_pool: {protocol: TCP, lb_algorithm: SOURCE_IP, hash: {table: MAP, avalanche: true}}}
  - {protocol: TERMINATED_HTTPS, protocol_port: 443, sni_container_refs: ['file:/a', 'file:///b/'], client_authentication:
      NONE, tls_ciphers: 'TLS_AES_128_GCM_SHA256:AES128-SHA', tls_versions: [TLSv1.3], alpn_protocols: [h2], hsts_max_age: 1}
";

/// Pieces that mean something to a reader of YAML or JSON.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "loadbalancer",
        "vip_address",
        "listeners",
        "pools",
        "default_pool",
        "name",
        "log",
        "error_pages",
        "healthmonitor",
        "headers",
        "1.5",
        ": ",
        ":",
        ",",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "? ",
        "\"",
        "'",
        "|",
        ">",
        "&a",
        "*a",
        "!!str ",
        "---",
        "...",
        "%YAML",
        "#",
        "\t",
        "\r\n",
        "\r",
        "é",
        "\u{FEFF}",
        "\u{2028}",
        "\\u12",
        "\\",
        "null",
        "~",
        "true",
        "-1",
        "1e3",
        "0x1",
        "80",
        "10.0.0.1",
        "HTTP",
        " ",
        "<<",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        answered(&text)?;
    }

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        answered(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn meaningful_pieces(text in pieces()) {
        answered(&text)?;
        answered(&format!("loadbalancer:\n  {text}"))?;
        answered(&format!("{{\"loadbalancer\": {{{text}"))?;
    }

    #[test]
    fn mutilated_documents(
        rich in any::<bool>(),
        from in 0.0..1.0f64,
        len in 0usize..30,
        put in pieces(),
    ) {
        let text = if rich { RICH } else { example() };
        let chars: Vec<char> = text.chars().collect();
        let from = (chars.len() as f64 * from) as usize;
        let to = (from + len).min(chars.len());
        let mutilated: String =
            chars[..from].iter().copied().chain(put.chars()).chain(chars[to..].iter().copied()).collect();
        answered(&mutilated)?;
    }
}

#[test]
fn the_rich_document_is_legal_before() {
    super::legal(RICH);
}

#[test]
fn every_beginning_of_a_document_is_answered() {
    for text in [RICH, example()] {
        for (end, _) in text.char_indices() {
            answered(&text[..end]).unwrap();
        }
    }
}
