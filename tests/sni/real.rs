//! openssl and curl shake hands with the nginx they asked for: what is relayed is their own TLS, from end to end.

use std::process::{Command, Stdio};

use weir_tests::certificates::Authority;
use weir_tests::nginx::Nginx;
use weir_tests::tls::Trusting;
use weir_tests::tools::{output, run};

use super::*;

#[test]
fn everybody_sees_the_certificate_of_whom_they_asked_for() {
    let (place, authority) = (Place::new(), Authority::new("authority"));
    let trusted = authority.write(&place, "authority.pem").display().to_string();
    let servers: Vec<Nginx> = POOLS
        .iter()
        .map(|pool| {
            let name = format!("{pool}.test");
            let bundle = authority.sign(&[&name]).write(&place, &format!("{pool}.pem")).display().to_string();
            Nginx::start_tls(&place, &format!("on-{pool}"), place.socket(), &bundle, &bundle)
        })
        .collect();
    let vip = place.socket();
    let mut document = document(
        &place,
        vip,
        &[],
        &json!([
            to_pool("one", "a", &[named("EQUAL_TO", "a.test")]),
            to_pool("two", "b", &[named("EQUAL_TO", "b.test")]),
        ]),
    );
    let pool = |(pool, server): (&&str, &Nginx)| {
        json!({
            "name": pool, "protocol": "HTTPS", "lb_algorithm": "ROUND_ROBIN",
            "members": [{"name": format!("on-{pool}"), "address": server.socket.ip(), "protocol_port": server.socket.port()}],
        })
    };
    document["loadbalancer"]["pools"] = json!(POOLS.iter().zip(&servers).map(pool).collect::<Vec<_>>());
    let play = Weir::start_with(&place, &document, &[]);
    let (ip, port) = (vip.ip().to_string(), vip.port());

    for pool in POOLS {
        let name = format!("{pool}.test");
        let resolve = format!("{name}:{port}:{ip}");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--cacert", &trusted, "--resolve", &resolve]);
        assert_eq!(run(curl.arg(format!("https://{name}:{port}/"))), format!("on-{pool}\n"));

        for version in ["-tls1_2", "-tls1_3"] {
            let words = ["s_client", "-connect", &vip.to_string(), "-servername", &name, "-CAfile", &trusted];
            let mut openssl = Command::new("openssl");
            openssl.args(words).args(["-verify_return_error", "-verify_hostname", &name, version]);
            let said = output(openssl.stdin(Stdio::null()));
            let told = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(told.contains("Verify return code: 0 (ok)"), "{pool} {version}: {told}");
        }
        // rustls, whose ClientHello has a key share of post-quantum size.
        let answer = Trusting::new(&authority, None).get(vip, &name, "/").unwrap();
        assert_eq!(answer.text(), format!("on-{pool}\n"));
    }
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-connect", &vip.to_string(), "-noservername", "-CAfile", &trusted]);
    let said = output(openssl.stdin(Stdio::null()));
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(told.contains("CN = main.test") || told.contains("CN=main.test"), "{told}");

    let lines: Vec<Value> = play.wait_log(13).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |policy: &str, name: &str| {
        lines.iter().filter(|line| line["policy"] == policy && line["server_name"] == name).count()
    };
    assert_eq!((count("one", "a.test"), count("two", "b.test")), (4, 4), "{lines:?}");
    let nameless = lines.iter().find(|line| line["no_server_name"] == "the ClientHello names no server");
    assert_eq!(nameless.map(|line| &line["pool"]), Some(&json!("main")));
}
