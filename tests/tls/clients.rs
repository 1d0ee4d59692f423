//! Clients' certificates: whose connection is taken, and what members are told of it, beside HAProxy (threats T8).

use std::process::Command;

use serde_json::json;
use weir_tests::certificates::{Authority, DnType, Signed, Term, Wish};
use weir_tests::haproxy::Haproxy;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tls::Trusting;
use weir_tests::tools::run;
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::{HOST, Play, file, terminate};

const X_SSL: [&str; 8] = [
    "X-SSL-Client-Verify",
    "X-SSL-Client-Has-Cert",
    "X-SSL-Client-DN",
    "X-SSL-Client-CN",
    "X-SSL-Issuer",
    "X-SSL-Client-SHA1",
    "X-SSL-Client-Not-Before",
    "X-SSL-Client-Not-After",
];

/// What the authority of clients has signed.
struct Shown {
    good: Signed,
    expired: Signed,
    not_yet: Signed,
    revoked: Signed,
    foreign: Signed,
}

impl Shown {
    fn by(authority: &Authority) -> Self {
        let of = |term| authority.sign_as(&Wish { term, ..Wish::of(&["client.test"]) });
        Self {
            good: of(Term::Good),
            expired: of(Term::Expired),
            not_yet: of(Term::NotYet),
            revoked: of(Term::Good),
            foreign: Authority::new("foreign").sign(&["client.test"]),
        }
    }
}

fn play_asking(word: &str) -> (Play, Shown) {
    let clients = Authority::new("clients");
    let shown = Shown::by(&clients);
    let play = Play::new(|setup, place, _| {
        let ca = clients.write(place, "clients.pem");
        let crl = place.write("crl.pem", clients.revoke(&[&shown.revoked]));
        let fields: serde_json::Map<_, _> = X_SSL.iter().map(|name| ((*name).to_owned(), json!("true"))).collect();
        terminate(
            setup,
            json!({"client_authentication": word, "client_ca_tls_container_ref": file(&ca),
                   "client_crl_container_ref": file(&crl), "insert_headers": fields}),
        );
    });
    (play, shown)
}

#[test]
fn only_good_certificates_are_taken_and_none_where_that_is_optional() {
    for word in ["OPTIONAL", "MANDATORY"] {
        let (play, shown) = play_asking(word);
        let get = |certificate: Option<&Signed>| {
            Trusting::new(&play.authority, certificate).get(play.vip(), HOST, "/echo").map(|answer| answer.text())
        };
        let text = get(Some(&shown.good)).unwrap();
        assert!(text.contains("X-SSL-Client-Has-Cert: 1\r\n") && text.contains("X-SSL-Client-CN: client.test\r\n"));
        let none = get(None);
        assert_eq!(none.is_ok(), word == "OPTIONAL", "{word}: {none:?}");
        if let Ok(text) = none {
            assert!(text.contains("X-SSL-Client-Has-Cert: 0\r\n") && text.contains("X-SSL-Client-CN: \r\n"), "{text}");
        } else {
            play.wait_reason("TLS: the client showed no certificate");
        }
        for (certificate, reason) in [
            (&shown.expired, "TLS: the client's certificate has expired"),
            (&shown.not_yet, "TLS: the client's certificate is not valid yet"),
            (&shown.revoked, "TLS: the client's certificate is revoked"),
            (&shown.foreign, "TLS: the client's certificate is from an authority that is not trusted"),
        ] {
            let refused = get(Some(certificate));
            assert!(refused.is_err(), "{word}: {reason}: {refused:?}");
            play.wait_reason(reason);
        }
        assert_eq!(play.member.requests(), if word == "OPTIONAL" { 2 } else { 1 });
    }
}

/// An old list is no list: as HAProxy, nobody who has to be looked up in it is let in. It is told of, and never comes in
/// the place of one that is good.
#[test]
fn a_list_past_its_end_lets_in_nobody_who_shows_a_certificate() {
    let (one, other) = (Place::new(), Place::new());
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients"));
    let (good, revoked) = (clients.sign(&["client.test"]), clients.sign(&["revoked.test"]));
    let (own, ca) = (authority.sign(&[HOST]).write(&one, "own.pem"), clients.write(&one, "clients.pem"));
    let list = |term| clients.revoke_for(&[&revoked], term);
    let crl = one.write("crl.pem", list(Term::Expired));
    let member = Member::http("m1", one.socket());
    for (word, theirs_word) in [("OPTIONAL", "optional"), ("MANDATORY", "required")] {
        one.write("crl.pem", list(Term::Expired));
        let mut theirs = Setup::new(Mode::Http, one.socket(), [("m1", member.socket())]);
        theirs.log_format = Some("json");
        let mut ours = theirs.clone();
        theirs.haproxy_bind = format!(
            "ssl crt {} ca-file {} crl-file {} verify {theirs_word}",
            own.display(),
            ca.display(),
            crl.display()
        );
        ours.vip = other.socket();
        terminate(
            &mut ours,
            json!({"default_tls_container_ref": file(&own), "client_authentication": word,
                   "client_ca_tls_container_ref": file(&ca), "client_crl_container_ref": file(&crl)}),
        );
        let (_haproxy, weir) = (Haproxy::start(&one, &theirs), Weir::start(&other, &ours));
        let is_served = |to, shown: Option<&Signed>| Trusting::new(&authority, shown).get(to, HOST, "/x").is_ok();
        for shown in [None, Some(&good), Some(&revoked)] {
            let served = [theirs.vip, ours.vip].map(|to| is_served(to, shown));
            assert_eq!(served, [shown.is_none() && word == "OPTIONAL"; 2], "{word} {shown:?}");
        }
        until_true(PATIENCE, "the reason", || {
            super::reasons(&weir)
                .contains(&"TLS: the revocation list for the client's certificate has expired".to_owned())
        });
        let listed = weir.control.stats().certificates;
        let list_issued: Vec<_> = listed.iter().map(|listed| listed.list_issued_ms.is_some()).collect();
        assert_eq!((list_issued, listed[0].subject.as_str()), (vec![true, false], "/CN=clients/O=weir tests"));

        // A list that is good lets them in again; then an old one is refused, and the good one stays.
        one.write("crl.pem", list(Term::Good));
        assert_eq!(weir.control.must("POST", "/v1/tls", b"").status, 200);
        until_true(PATIENCE, "the new list", || is_served(ours.vip, Some(&good)));
        assert!(!is_served(ours.vip, Some(&revoked)));
        one.write("crl.pem", list(Term::Expired));
        let document = ours.document(&other.path("access.log"));
        for refused in [weir.control.must("POST", "/v1/tls", b""), weir.control.put(&document)] {
            assert_eq!(refused.status, 409);
            assert!(refused.body.contains("crl.pem: its revocation list expired on 2020-03-04"), "{}", refused.body);
        }
        assert!(is_served(ours.vip, Some(&good)));
        one.write("crl.pem", "-----BEGIN X509 CRL-----\nMAAA\n-----END X509 CRL-----\n");
        let refused = weir.control.must("POST", "/v1/tls", b"");
        assert!(refused.status == 409 && refused.body.contains("list cannot be read"), "{}", refused.body);
    }
}

/// A list without extensions, as `openssl ca` makes it when it is told of none.
fn list_of_version_1(place: &Place) -> String {
    let path = |name: &str| place.path(name).display().to_string();
    place.write("index.txt", "");
    place.write(
        "ca.cnf",
        format!("[ca]\ndefault_ca = own\n[own]\ndatabase = {}\ndefault_md = sha256\n", path("index.txt")),
    );
    let (key, own) = (path("v1.key"), path("v1.pem"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=clients"];
    run(Command::new("openssl").args(["req", "-x509", "-keyout", &key, "-out", &own]).args(curve));
    let config = path("ca.cnf");
    let made = ["ca", "-gencrl", "-crldays", "30", "-config", &config, "-keyfile", &key, "-cert", &own];
    run(Command::new("openssl").args(made))
}

#[test]
fn a_list_of_version_1_is_refused_by_its_own_name_and_reason() {
    let (place, authority) = (Place::new(), Authority::new("clients"));
    let ca = authority.write(&place, "ca.pem");
    let own = authority.sign(&[HOST]).write(&place, "own.pem");
    place.write("crl.pem", authority.revoke(&[]));
    let crl = place.path("crl.pem");
    let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", place.socket())]);
    terminate(
        &mut setup,
        json!({"default_tls_container_ref": file(&own), "client_authentication": "MANDATORY",
               "client_ca_tls_container_ref": file(&ca), "client_crl_container_ref": file(&crl)}),
    );
    let weir = Weir::start(&place, &setup);
    place.write("crl.pem", list_of_version_1(&place));
    let refused = weir.control.must("POST", "/v1/tls", b"");
    assert!(refused.status == 409 && refused.body.contains("crl.pem: its revocation list"), "{}", refused.body);
    assert!(refused.body.contains("it is of version 1"), "{}", refused.body);
}

/// The same over HTTP/2, where all streams share one certificate.
#[test]
fn members_hear_of_the_certificate_over_http2_too() {
    let (play, shown) = play_asking("OPTIONAL");
    let pem = shown.good.write(&play.place, "client.pem");
    let words =
        ["--http2", "--cert", pem.to_str().unwrap(), "-H", "X-SSL-Client-Has-Cert: 7", "-H", "x-ssl-client-cn: x"];
    let text = super::curl(&play.place, play.vip(), &play.authority, &words);
    assert!(
        text.contains("X-SSL-Client-CN: client.test\r\n") && text.contains("X-SSL-Client-Has-Cert: 1\r\n"),
        "{text}"
    );
    assert_eq!(text.to_ascii_lowercase().matches("x-ssl-").count(), 8, "the client's own stayed: {text}");
}

/// Lines of an echoed request that tell of certificates.
fn told(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("X-SSL-") || line.starts_with("x-ssl-"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn members_are_told_what_haproxy_tells_them() {
    let (one, other) = (Place::new(), Place::new());
    let (authority, clients) = (Authority::new("authority"), Authority::new("clients & co/ü"));
    let (own, ca) = (authority.sign(&[HOST]).write(&one, "own.pem"), clients.write(&one, "clients.pem"));
    let member = Member::http("m1", one.socket());
    let mut theirs = Setup::new(Mode::Http, one.socket(), [("m1", member.socket())]);
    let values = [
        "%[ssl_c_verify]",
        "%[ssl_c_used]",
        "%{+Q}[ssl_c_s_dn]",
        "%{+Q}[ssl_c_s_dn(cn)]",
        "%{+Q}[ssl_c_i_dn]",
        "%{+Q}[ssl_c_sha1,hex]",
        "%{+Q}[ssl_c_notbefore]",
        "%{+Q}[ssl_c_notafter]",
    ];
    let lines: Vec<_> =
        X_SSL.iter().zip(values).map(|(name, value)| format!("\n  http-request set-header {name} {value}")).collect();
    theirs.haproxy_bind =
        format!("ssl crt {} ca-file {} verify optional{}", own.display(), ca.display(), lines.concat());
    let mut ours = theirs.clone();
    ours.vip = other.socket();
    let fields: serde_json::Map<_, _> = X_SSL.iter().map(|name| ((*name).to_owned(), json!("true"))).collect();
    terminate(
        &mut ours,
        json!({"default_tls_container_ref": file(&own), "client_authentication": "OPTIONAL",
               "client_ca_tls_container_ref": file(&ca), "insert_headers": fields}),
    );
    let (_haproxy, _weir) = (Haproxy::start(&one, &theirs), Weir::start(&other, &ours));
    let subject = |subject| clients.sign_as(&Wish { subject, ..Wish::of(&["client.example.com"]) });
    let shown = [
        None,
        Some(subject(vec![(DnType::OrganizationName, "oslb")])),
        Some(subject(vec![])),
        Some(subject(vec![
            (DnType::CountryName, "DE"),
            (DnType::StateOrProvinceName, "Bayern"),
            (DnType::LocalityName, "München"),
            (DnType::OrganizationName, "a/b=c, \"d\" + e"),
            (DnType::OrganizationalUnitName, "unit"),
            (DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "who@example.com"),
            (DnType::CustomDnType(vec![2, 5, 4, 5]), "0815"),
            (DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), "uid"),
        ])),
    ];
    // What a client claims of itself is replaced by both.
    let request = format!(
        "GET /echo HTTP/1.1\r\nHost: {HOST}\r\nX-SSL-Client-CN: admin\r\nx-ssl-client-cn: root\r\n\
         X-SSL-Client-Has-Cert: 1\r\nX-SSL-Client-Verify: 0\r\nX-SSL-Client-DN: /CN=admin\r\n\r\n"
    );
    for certificate in &shown {
        let ask = |vip| {
            let mut client = Trusting::new(&authority, certificate.as_ref()).connect(vip, HOST).unwrap();
            client.send(&request).unwrap();
            told(&client.answer().unwrap().text())
        };
        let (haproxy, weir) = (ask(theirs.vip), ask(ours.vip));
        assert_eq!(haproxy.len(), 8);
        let same_names = |lines: &[String]| lines.iter().map(|line| line.to_ascii_lowercase()).collect::<Vec<_>>();
        assert_eq!(same_names(&haproxy), same_names(&weir));
    }
}
