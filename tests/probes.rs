//! Promise: each kind of probe tells a real server that lives from one that does not: nginx, OpenSSL, MariaDB, the kernel.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lb_core::config::monitor::{
    ExpectedBody, ExpectedCodes, HealthMonitor, HttpProbe, HttpVersion, MysqlProbe, Probe, TlsProbe,
};
use lb_core::health::{Bad, Good, Outcome, Step};
use lb_core::id::{LoadBalancerId, MonitorId};
use lb_health::{Pinger, Prober, Shared, Target};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use weir_tests::netns::{Netns, allowed};
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::process::Process;
use weir_tests::tools::run;

const TIMEOUT_MS: u64 = 2000;

fn http(body: &str) -> HttpProbe {
    HttpProbe {
        method: "GET".to_owned(),
        url_path: "/".to_owned(),
        version: HttpVersion::V1_1,
        domain_name: Some("weir.test".to_owned()),
        expected_codes: ExpectedCodes(vec![(200, 299)]),
        headers: Vec::new(),
        expected_body: Some(ExpectedBody::Text(body.to_owned())),
    }
}

fn monitor(probe: Probe, timeout_ms: u64) -> HealthMonitor {
    HealthMonitor {
        id: MonitorId::derived(LoadBalancerId::for_name("probes").0, "monitor"),
        name: String::new(),
        admin_state_up: true,
        probe,
        delay_ms: timeout_ms,
        delay_fast_ms: timeout_ms,
        delay_down_ms: timeout_ms,
        timeout_ms,
        max_retries: 2,
        max_retries_down: 3,
        send_proxy: None,
        tags: Vec::new(),
    }
}

/// Asks `times`, with the sockets of `pinger`, on a runtime of this thread.
fn ask_often(probe: Probe, address: SocketAddr, timeout_ms: u64, pinger: Pinger, times: usize) -> Vec<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let prober = Prober::new(&monitor(probe, timeout_ms), &Shared::new(pinger)).unwrap();
        let mut outcomes = Vec::new();
        for _ in 0..times {
            outcomes
                .push(prober.ask(Target { address, source: None, send_proxy: None, over_tls: false }).await.outcome);
        }
        outcomes
    })
}

fn ask(probe: Probe, address: SocketAddr) -> Outcome {
    ask_often(probe, address, TIMEOUT_MS, Pinger::new(), 1).remove(0)
}

/// A key and a certificate of version 1 for it, as `openssl` makes them from a request; and one as it should be.
fn certificates(folder: &Path) -> [String; 3] {
    let path = |name: &str| folder.join(name).display().to_string();
    let [key, old, new, request] = ["key.pem", "old.pem", "new.pem", "request.pem"].map(path);
    let openssl = |words: &[&str]| run(Command::new("openssl").args(words));
    let subject = ["-subj", "/CN=weir.test"];
    openssl(&[&["req", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &request][..], &subject].concat());
    openssl(&["x509", "-req", "-in", &request, "-signkey", &key, "-out", &old]);
    let name = ["-addext", "subjectAltName=DNS:weir.test", "-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(&[&["req", "-x509", "-key", &key, "-out", &new][..], &subject, &name].concat());
    [key, old, new]
}

#[test]
fn nginx_is_asked_over_http_and_https() {
    let place = Place::new();
    let nginx = Nginx::start(&place, "m1", place.socket());
    assert_eq!(ask(Probe::Tcp, nginx.socket), Outcome::Passed(Good::Connected));
    assert_eq!(ask(Probe::Http(http("m1")), nginx.socket), Outcome::Passed(Good::Status(200)));
    assert_eq!(ask(Probe::Http(http("m2")), nginx.socket), Outcome::Failed(Bad::Body));

    let [key, _, certificate] = certificates(&place.path(""));
    let tls = Nginx::start_tls(&place, "m2", place.socket(), &certificate, &key);
    let verified = TlsProbe { verify: true, ca_file: Some(certificate.into()), sni: None };
    for probe in [TlsProbe::default(), verified.clone()] {
        assert_eq!(ask(Probe::Https(http("m2"), probe), tls.socket), Outcome::Passed(Good::Status(200)));
    }
    let other = TlsProbe { sni: Some("other.test".to_owned()), ..verified };
    let why = "certificate is not valid for the name other.test";
    assert_eq!(ask(Probe::Https(http("m2"), other), tls.socket), Outcome::Failed(Bad::Tls(why.into())));
    assert_eq!(ask(Probe::Http(http("m2")), tls.socket), Outcome::Failed(Bad::Status(400)), "plain to a TLS port");
    let why = Outcome::Failed(Bad::Tls("not TLS".into()));
    assert_eq!(ask(Probe::TlsHello(TlsProbe::default()), nginx.socket), why);
}

#[test]
fn openssl_greets_in_tls_1_2_and_1_3_even_with_an_old_certificate() {
    let place = Place::new();
    let [key, old, _] = certificates(&place.path(""));
    for version in ["-tls1_2", "-tls1_3"] {
        let socket = place.socket();
        let mut server = Command::new("openssl");
        server.args(["s_server", "-quiet", version, "-key", &key, "-cert", &old, "-accept", &socket.to_string()]);
        let mut server = Process::start("s_server", server, place.path(version));
        server.wait_port(socket);
        let outcome = ask(Probe::TlsHello(TlsProbe::default()), socket);
        assert_eq!(outcome, Outcome::Passed(Good::Tls), "{version}");
    }
}

#[test]
fn mariadb_greets_and_lets_in() {
    let place = Place::new();
    let (data, words) = (place.path("data"), place.path("init.sql"));
    let [folder, local] = [data.display().to_string(), place.path("db.sock").display().to_string()];
    let [folder, local] = [format!("--datadir={folder}"), format!("--socket={local}")];
    run(Command::new("mariadb-install-db").args(["--no-defaults", "--user=root", "--skip-test-db", &folder]));
    std::fs::write(&words, "CREATE USER weir@'%';\n").unwrap();
    let socket = place.socket();
    let mut server = Command::new("mariadbd");
    server.args(["--no-defaults", "--user=root", "--skip-name-resolve", &folder, &local]).args([
        format!("--init-file={}", words.display()),
        format!("--bind-address={}", socket.ip()),
        format!("--port={}", socket.port()),
    ]);
    let mut server = Process::start("mariadbd", server, place.path("mariadbd"));
    server.wait_port(socket);

    let mysql = |user: Option<&str>| Probe::Mysql(MysqlProbe { user: user.map(str::to_owned) });
    assert_eq!(ask(mysql(None), socket), Outcome::Passed(Good::Greeting));
    let aborted = || {
        let query =
            "SELECT SUM(VARIABLE_VALUE) FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME LIKE 'ABORTED%'";
        run(Command::new("mariadb").args(["--no-defaults", "--user=root", "-N", "-e", query, &local]))
    };
    let before = aborted();
    let outcomes = ask_often(mysql(Some("weir")), socket, TIMEOUT_MS, Pinger::new(), 5);
    assert_eq!(outcomes, vec![Outcome::Passed(Good::Greeting); 5]);
    assert_eq!(aborted(), before, "MariaDB takes us for a client that broke off");
    let Outcome::Failed(Bad::Mysql(1045, words)) = ask(mysql(Some("stranger")), socket) else {
        panic!("a user that does not exist was let in");
    };
    assert!(words.starts_with("Access denied for user 'stranger'@"), "{words}");
}

/// Allows every group to ping by datagram sockets in this thread's namespace, or none.
fn allow_ping(everybody: bool) {
    let range = if everybody { "0 2147483647" } else { "1 0" };
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", range).unwrap();
}

fn drop_capabilities() {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none }).unwrap();
}

const HOSTS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

fn ping(host: &str, timeout_ms: u64, pinger: Pinger) -> Outcome {
    ask_often(Probe::Ping, host.parse().unwrap(), timeout_ms, pinger, 3).pop().unwrap()
}

/// True if this test must be left out, which it then says.
fn skipped() -> bool {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
    }
    !allowed()
}

#[test]
fn ping_needs_no_root_once_its_sockets_are_open() {
    if skipped() {
        return;
    }
    let denied = Outcome::Failed(Bad::Ours(nix_eacces()));
    for everybody in [true, false] {
        for host in HOSTS {
            let outcomes = Netns::new().inside(|| {
                allow_ping(everybody);
                let ahead = Pinger::open_ahead();
                drop_capabilities();
                [ping(host, TIMEOUT_MS, ahead), ping(host, TIMEOUT_MS, Pinger::new())]
            });
            let unaided = if everybody { Outcome::Passed(Good::Echo) } else { denied.clone() };
            assert_eq!(outcomes, [Outcome::Passed(Good::Echo), unaided], "{host}, everybody may: {everybody}");
        }
    }
}

fn nix_eacces() -> i32 {
    rustix::io::Errno::ACCESS.raw_os_error()
}

/// An ICMP error is told as what it is, at once, on both kinds of socket; silence takes the timeout.
#[test]
fn ping_hears_errors_and_waits_in_silence() {
    if skipped() {
        return;
    }
    let rules = "table inet t { chain in { type filter hook input priority 0; \
        icmp type echo-request ip daddr 127.0.0.1 reject with icmp type host-prohibited; \
        icmpv6 type echo-request reject with icmpv6 type admin-prohibited; \
        icmp type echo-request drop; \n } \n }";
    let errors = [3 << 8 | 10, 1 << 8 | 1];
    for everybody in [true, false] {
        let ns = Netns::new();
        ns.run(&["nft", rules]);
        let began = Instant::now();
        let outcomes = ns.inside(|| {
            allow_ping(everybody);
            HOSTS.map(|host| ping(host, TIMEOUT_MS, Pinger::open_ahead()))
        });
        assert!(began.elapsed() < Duration::from_millis(TIMEOUT_MS), "an error is known at once");
        assert_eq!(outcomes, errors.map(|kind| Outcome::Failed(Bad::Unreachable(kind))), "everybody may: {everybody}");
        let silent = ns.inside(|| ping("127.0.0.2:0", 100, Pinger::open_ahead()));
        assert_eq!(silent, Outcome::Failed(Bad::Timeout(Step::Answer)));
        let no_route = ns.inside(|| ping("192.0.2.1:0", TIMEOUT_MS, Pinger::open_ahead()));
        assert_eq!(no_route, Outcome::Failed(Bad::Unreachable(rustix::io::Errno::NETUNREACH.raw_os_error())));
    }
}
