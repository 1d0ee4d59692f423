//! Rules about a client's certificate: real certificates, beside HAProxy with the expressions Octavia's templates write, and
//! wherever TLS ends: over HTTP/2 and in sessions that are resumed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use weir_tests::certificates::{Authority, DnType, Signed, Wish};
use weir_tests::haproxy::Haproxy;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::tls::Trusting;
use weir_tests::weir::Weir;

use super::differential::acl;
use super::secured::{HOST, curl};
use super::{POOLS, document};

/// All three types, with every comparison of the one that has them all.
fn rules() -> Vec<Value> {
    let dn = |key: &str, compare: &str, value: &str| json!({"type": "SSL_DN_FIELD", "compare_type": compare, "key": key, "value": value});
    vec![
        json!({"type": "SSL_CONN_HAS_CERT", "compare_type": "EQUAL_TO", "value": "True"}),
        json!({"type": "SSL_VERIFY_RESULT", "compare_type": "EQUAL_TO", "value": "0"}),
        json!({"type": "SSL_VERIFY_RESULT", "compare_type": "EQUAL_TO", "value": "10"}),
        dn("CN", "EQUAL_TO", "client.example.com"),
        dn("cn", "STARTS_WITH", "client."),
        dn("CN", "ENDS_WITH", ".COM"),
        dn("O", "CONTAINS", "sl"),
        dn("O", "REGEX", "^(oslb|weir)$"),
        dn("OU", "EQUAL_TO", "first"),
        dn("OU", "EQUAL_TO", "second"),
        dn("L", "EQUAL_TO", "München"),
        dn("emailAddress", "ENDS_WITH", "@example.com"),
        dn("ST", "CONTAINS", "a/b=c, \"d"),
        dn("serialNumber", "EQUAL_TO", "0815"),
        dn("UID", "REGEX", "."),
    ]
}

/// Nobody, and people with more and less to say of themselves.
fn shown(clients: &Authority) -> Vec<Option<Signed>> {
    let subject = |subject: Vec<(DnType, &'static str)>| {
        Some(clients.sign_as(&Wish { subject, ..Wish::of(&["client.example.com"]) }))
    };
    vec![
        None,
        subject(vec![(DnType::OrganizationName, "oslb")]),
        subject(vec![]),
        Some(clients.sign(&["other.example.org"])),
        subject(vec![
            (DnType::CountryName, "DE"),
            (DnType::StateOrProvinceName, "a/b=c, \"d\" + e"),
            (DnType::LocalityName, "München"),
            (DnType::OrganizationName, "Oslb & weir"),
            (DnType::OrganizationalUnitName, "first"),
            (DnType::CustomDnType(vec![2, 5, 4, 11]), "second"),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "who@example.com"),
            (DnType::CustomDnType(vec![2, 5, 4, 5]), "0815"),
            (DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), "uid"),
        ]),
    ]
}

/// Policies that write into a request which rules hold, and one for clients without a certificate.
fn policies() -> Vec<Value> {
    let mark = |(r, rule): (usize, &Value)| json!({"action": "PASS", "rules": [rule], "append_request_headers": {"X-Match": format!("r{r}")}});
    let mut all: Vec<Value> = rules().iter().enumerate().map(mark).collect();
    let mut without = rules().remove(0);
    without["invert"] = json!(true);
    all.push(json!({"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "b"}, "rules": [without]}));
    let known = json!([rules()[0], rules()[3]]);
    all.push(json!({"action": "REDIRECT_TO_POOL", "redirect_pool": {"name": "a"}, "rules": known}));
    all
}

/// The same policies for HAProxy.
fn haproxy(vip: SocketAddr, members: &[Member], own: &Path, ca: &Path) -> String {
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 2000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 50s\n  \
         timeout server 50s\nfrontend front\n  bind {vip} ssl crt {} ca-file {} verify optional\n  default_backend main\n",
        own.display(),
        ca.display()
    );
    for (r, rule) in rules().iter().enumerate() {
        text.push_str(&acl(&format!("r{r}"), rule));
    }
    for r in 0..rules().len() {
        writeln!(text, "  http-request add-header X-Match r{r} if r{r}").unwrap();
    }
    text.push_str("  use_backend b if !r0\n  use_backend a if r0 r3\n");
    for (pool, member) in POOLS.iter().zip(members) {
        writeln!(text, "backend {pool}\n  server {} {}", member.name(), member.socket()).unwrap();
    }
    text
}

/// Which member answered, and which rules held.
fn verdict(vip: SocketAddr, authority: &Authority, certificate: Option<&Signed>) -> String {
    let mut client = Trusting::new(authority, certificate).connect(vip, HOST).unwrap();
    let answer = client.get(HOST, "/echo").unwrap();
    let by = answer.head.get("x-member").unwrap_or("nobody").to_owned();
    format!("{by}: {}", held(&answer.text()))
}

/// What an echoed request was marked with.
fn held(text: &str) -> String {
    text.lines()
        .filter_map(|line| line.strip_prefix("X-Match: ").or(line.strip_prefix("x-match: ")))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A Weir that asks clients for certificates, which need not have one.
struct Play {
    weir: Weir,
    vip: SocketAddr,
    members: Vec<Member>,
    authority: Authority,
    clients: Authority,
    place: Place,
}

impl Play {
    fn new() -> Self {
        let place = Place::new();
        let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
        let (own, ca) = (authority.sign(&[HOST]).write(&place, "own.pem"), clients.write(&place, "clients.pem"));
        let members: Vec<Member> =
            POOLS.iter().map(|pool| Member::http(&format!("on-{pool}"), place.socket())).collect();
        let vip = place.socket();
        let mut document = document(&place, vip, &members, &json!(policies()));
        let listener = &mut document["loadbalancer"]["listeners"][0];
        listener["protocol"] = json!("TERMINATED_HTTPS");
        listener["default_tls_container_ref"] = json!(format!("file:{}", own.display()));
        listener["client_authentication"] = json!("OPTIONAL");
        listener["client_ca_tls_container_ref"] = json!(format!("file:{}", ca.display()));
        let weir = Weir::start_with(&place, &document, &[]);
        Self { weir, vip, members, authority, clients, place }
    }
}

#[test]
fn rules_about_certificates_hold_where_octavias_expressions_do() {
    let play = Play::new();
    let theirs = Place::new();
    let own = play.authority.sign(&[HOST]).write(&theirs, "own.pem");
    let ca = play.clients.write(&theirs, "clients.pem");
    let vip = theirs.socket();
    let _haproxy = Haproxy::start_with(&theirs, &haproxy(vip, &play.members, &own, &ca), vip);
    let mut found = Vec::new();
    for certificate in shown(&play.clients) {
        let expected = verdict(vip, &play.authority, certificate.as_ref());
        found.push(verdict(play.vip, &play.authority, certificate.as_ref()));
        assert_eq!(found.last(), Some(&expected));
    }
    assert_eq!(found[0], "on-b: r1", "who shows nothing has nothing wrong with it");
    assert!(found[1].starts_with("on-a: r0 r1 r3 r4") && found[3].starts_with("on-main: r0 r1"), "{found:?}");
    // Each holds of somebody, but the one about an error: who has one gets no connection.
    for r in 0..rules().len() {
        let somewhere = found.iter().any(|verdict| verdict.split(' ').any(|word| word == format!("r{r}")));
        assert_eq!(somewhere, !matches!(r, 2 | 5 | 9), "{}", rules()[r]);
    }
}

#[test]
fn a_resumed_session_is_its_certificates() {
    let play = Play::new();
    let known = play.clients.sign(&["client.example.com"]);
    let clients = Trusting::new(&play.authority, Some(&known)).resuming();
    let answers = |resumed: bool| {
        let mut client = clients.connect(play.vip, HOST).unwrap();
        let answer = client.get(HOST, "/echo").unwrap();
        assert_eq!(client.is_resumed(), resumed);
        (answer.head.get("x-member").map(str::to_owned), held(&answer.text()))
    };
    let first = answers(false);
    assert_eq!(first.0.as_deref(), Some("on-a"));
    assert_eq!(answers(true), first);
    assert_eq!(answers(true), first);
    let matched: Vec<u64> = play.weir.control.listener().l7policies.iter().map(|policy| policy.matched).collect();
    assert_eq!((matched[0], matched[1], matched[2]), (3, 3, 0));
}

#[test]
fn all_streams_of_a_connection_share_its_certificate() {
    let play = Play::new();
    let pem = play.clients.sign(&["client.example.com"]).write(&play.place, "client.pem");
    let known = curl(&play.place, play.vip, &play.authority, &["--cert", pem.to_str().unwrap()], &["/echo", "/echo"]);
    let nobody = curl(&play.place, play.vip, &play.authority, &[], &["/echo"]);
    let by: Vec<_> = known.iter().map(|answer| answer.field("x-member")).collect();
    assert_eq!(by, [Some("on-a"), Some("on-a")]);
    assert_eq!(held(&known[1].body), held(&known[0].body));
    assert!(held(&known[0].body).starts_with("r0 r1 r3 r4"));
    assert_eq!((nobody[0].field("x-member"), held(&nobody[0].body).as_str()), (Some("on-b"), "r1"));
}
