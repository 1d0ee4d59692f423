//! Headers to members: when they go out, what they say, and that no connection is lent to another client.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use lb_core::config::monitor::ProxyVersion;
use lb_core::health::Operational;
use lb_core::proxy_protocol::{Ends, Written};
use serde_json::json;
use weir_tests::client::Client;
use weir_tests::member::{Conn, Member, behave, ok};
use weir_tests::message::{End, pattern};
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, until_true};
use weir_tests::weir::Weir;

use super::{GET, V1, trusting, v2};

const PATIENT: Duration = Duration::from_secs(8);

/// The header of version 1 for a client of loopback.
fn line(client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    format!("PROXY TCP4 {} {} {} {}\r\n", client.ip(), vip.ip(), client.port(), vip.port()).into_bytes()
}

/// The same in version 2.
fn block(client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let octets = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => v4.ip().octets(),
        SocketAddr::V6(_) => unreachable!("loopback of tests is IPv4"),
    };
    let ports = [client.port().to_be_bytes(), vip.port().to_be_bytes()].concat();
    v2(0x21, 0x11, &[&octets(client)[..], &octets(vip), &ports].concat())
}

fn address(client: &mut Client) -> SocketAddr {
    client.wire().stream().local_addr().unwrap()
}

/// Takes a header of version 1 from a connection.
fn take_line(conn: &mut Conn) -> Result<Vec<u8>, End> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.extend(conn.take(1)?);
    }
    Ok(line)
}

/// Takes one of version 2 without extensions.
fn take_block(conn: &mut Conn) -> Result<Vec<u8>, End> {
    let mut block = conn.take(16)?;
    let rest = conn.take(usize::from(block[15]))?;
    block.extend(rest);
    Ok(block)
}

/// A member that takes a header once for each connection and then behaves.
fn well_behaved(name: &str, at: SocketAddr) -> Member {
    let answer_as = name.to_owned();
    Member::script(name, at, move |conn| {
        take_line(conn)?;
        loop {
            let (head, body) = conn.request()?;
            if !behave(conn, &answer_as, &head, &body)? {
                conn.close();
                return Ok(());
            }
        }
    })
}

struct Play {
    weir: Weir,
    setup: Setup,
    members: Vec<Member>,
    place: Place,
}

/// A pool of `protocol` with members made by `member`.
fn play(
    mode: Mode,
    protocol: &str,
    count: usize,
    member: impl Fn(&str, SocketAddr) -> Member,
    tune: impl FnOnce(&mut Setup),
) -> Play {
    let place = Place::new();
    let members: Vec<Member> = (1..=count).map(|n| member(&format!("m{n}"), place.socket())).collect();
    let mut setup = Setup::new(mode, place.socket(), members.iter().map(|m| (m.name(), m.socket())))
        .pool_keys(json!({"protocol": protocol}));
    tune(&mut setup);
    let weir = Weir::start(&place, &setup);
    Play { weir, setup, members, place }
}

impl Play {
    /// Everything the first member got, connection by connection, once all have ended.
    fn visits(&self) -> Vec<Vec<u8>> {
        let visits = || self.members[0].visits();
        until_true(PATIENCE, "all connections to end", || visits().iter().all(|visit| visit.end.is_some()));
        visits().into_iter().map(|visit| visit.bytes).collect()
    }
}

/// What one read of a member finds when a client has asked for something.
fn first_read(mode: Mode, protocol: &str, says: &[u8]) -> (Vec<u8>, SocketAddr, SocketAddr) {
    let place = Place::new();
    let listener = TcpListener::bind(place.socket()).unwrap();
    let setup = Setup::new(mode, place.socket(), [("m1", listener.local_addr().unwrap())])
        .pool_keys(json!({"protocol": protocol}));
    let _weir = Weir::start(&place, &setup);
    let mut client = Client::connect(setup.vip);
    client.send(says);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENT)).unwrap();
    let mut bytes = vec![0; 65_536];
    let n = stream.read(&mut bytes).unwrap();
    bytes.truncate(n);
    (bytes, address(&mut client), setup.vip)
}

/// Header, head and a body that is there go out in one segment.
#[test]
fn the_header_goes_out_with_the_request() {
    let post = "POST / HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\nhello";
    let streamed = "POST / HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    for (protocol, header) in [("PROXY", line as fn(_, _) -> Vec<u8>), ("PROXYV2", block)] {
        for (says, ends_with) in [(GET, "\r\n\r\n"), (post, "\r\n\r\nhello"), (streamed, "5\r\nhello\r\n")] {
            let (bytes, client, vip) = first_read(Mode::Http, protocol, says.as_bytes());
            let expected = header(client, vip);
            assert!(bytes.starts_with(&expected), "{}", bytes.escape_ascii());
            let rest = &bytes[expected.len()..];
            assert!(rest.starts_with(&says.as_bytes()[..3]), "{}", bytes.escape_ascii());
            assert!(rest.ends_with(ends_with.as_bytes()), "{}", bytes.escape_ascii());
        }
    }
}

/// A client that says nothing is introduced all the same: the member may be the one to speak first.
#[test]
fn a_member_that_speaks_first_does_not_wait() {
    let greets = |name: &str, at| {
        Member::script(name, at, |conn| {
            take_block(conn)?;
            conn.send("220 welcome\r\n")?;
            let word = conn.take(4)?;
            conn.send(word)
        })
    };
    let play = play(Mode::Tcp, "PROXYV2", 1, greets, |_| ());
    let mut client = Client::connect(play.setup.vip);
    assert_eq!(client.take(13), b"220 welcome\r\n");
    client.send("QUIT");
    assert_eq!(client.take(4), b"QUIT");
    let header = block(address(&mut client), play.setup.vip);
    client.leave();
    assert_eq!(play.visits(), [[&header[..], b"QUIT"].concat()]);
    play.weir.wait_log(1);
    let figures = play.weir.control.listener();
    assert_eq!((figures.bytes_in, figures.bytes_out), (4, 17), "the header is none of the client's bytes");
}

/// One connection to the member for each of the client's, its header once in front.
#[test]
fn a_connection_serves_one_client() {
    let play = play(Mode::Http, "PROXY", 1, well_behaved, |_| ());
    let mut headers = Vec::new();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(play.setup.vip)).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").status(), 200);
        }
    }
    for mut client in clients {
        headers.push(line(address(&mut client), play.setup.vip));
        // The next in line must not get what this one leaves behind.
        client.leave();
    }
    let mut last = Client::connect(play.setup.vip);
    headers.push(line(address(&mut last), play.setup.vip));
    assert_eq!(last.get("/").status(), 200);
    last.leave();
    let visits = play.visits();
    assert_eq!(visits.len(), 4);
    for (bytes, header) in visits.iter().zip(&headers) {
        assert!(bytes.starts_with(header), "{}", bytes.escape_ascii());
        assert_eq!(bytes.windows(6).filter(|w| w == b"PROXY ").count(), 1);
    }
    let figures = play.weir.control.member("m1");
    assert_eq!((figures.connects, figures.reuses, figures.idle_connections), (4, 6, 0));
}

/// Many clients at once, on several workers: each member's connection has heard of one client only.
#[test]
fn clients_are_never_mixed_up() {
    let play = play(Mode::Http, "PROXY", 2, well_behaved, |setup| {
        trusting(setup, true);
        setup.workers = 2;
    });
    let vip = play.setup.vip;
    let threads: Vec<_> = (0..16u8)
        .map(|host| {
            std::thread::spawn(move || {
                for round in 0..5 {
                    let mut client = Client::connect(vip);
                    client.send(format!("PROXY TCP4 192.0.2.{host} 198.51.100.2 {} 80\r\n", 1000 + round));
                    for _ in 0..4 {
                        assert_eq!(client.get(&format!("/for-{host}-")).status(), 200);
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for member in &play.members {
        until_true(PATIENCE, "all connections to end", || member.visits().iter().all(|visit| visit.end.is_some()));
        for visit in member.visits() {
            let text = String::from_utf8_lossy(&visit.bytes).into_owned();
            let host = text.strip_prefix("PROXY TCP4 192.0.2.").unwrap().split(' ').next().unwrap();
            let (asked, own) = (text.matches("GET /").count(), text.matches(&format!("GET /for-{host}- ")).count());
            assert!(asked > 0 && asked == own, "{text}");
        }
    }
}

/// A client that falls silent keeps no connection of a member's busy.
#[test]
fn a_silent_client_gives_its_connection_up() {
    let play = play(Mode::Http, "PROXY", 1, well_behaved, |_| ());
    let mut client = Client::connect(play.setup.vip);
    client.get("/");
    assert_eq!(play.weir.control.member("m1").connects, 1);
    until_true(PATIENCE, "the connection to be closed", || play.members[0].visits()[0].end.is_some());
    until_true(PATIENCE, "and be out of the figures", || play.weir.control.member("m1").idle_connections == 0);
    assert_eq!(client.get("/").status(), 200);
    let header = line(address(&mut client), play.setup.vip);
    client.leave();
    for bytes in play.visits() {
        assert!(bytes.starts_with(&header));
    }
}

/// A kept connection that the member closed is replaced, and the new one begins with the header again.
#[test]
fn a_new_connection_after_a_dead_one_begins_anew() {
    let hangs_up = |name: &str, at| {
        Member::script(name, at, |conn| {
            take_line(conn)?;
            conn.request()?;
            conn.send(ok("once"))?;
            if conn.number < 2 {
                conn.request()?;
                conn.close();
            }
            Ok(())
        })
    };
    let play = play(Mode::Http, "PROXY", 1, hangs_up, |_| ());
    let mut client = Client::connect(play.setup.vip);
    for _ in 0..3 {
        assert_eq!(client.get("/").status(), 200);
    }
    let header = line(address(&mut client), play.setup.vip);
    client.leave();
    let member = &play.members[0];
    assert_eq!(member.connections(), 3);
    until_true(PATIENCE, "the last connection to end", || member.visits()[2].end.is_some());
    for visit in member.visits() {
        let bytes = visit.bytes;
        assert!(bytes.starts_with(&[&header[..], b"GET / "].concat()), "{}", bytes.escape_ascii());
    }
}

/// A request that moves on to another member is introduced there, too.
#[test]
fn a_repeated_request_is_introduced_again() {
    let falls = |name: &str, at| {
        let (falls, name_inside) = (name == "m1", name.to_owned());
        Member::script(name, at, move |conn| {
            take_line(conn)?;
            let (head, body) = conn.request()?;
            if falls {
                conn.close();
                return Ok(());
            }
            behave(conn, &name_inside, &head, &body).map(|_| ())
        })
    };
    let play = play(Mode::Http, "PROXY", 2, falls, |_| ());
    let mut client = Client::connect(play.setup.vip);
    assert_eq!(client.get("/").header("x-member"), Some("m2"));
    let header = line(address(&mut client), play.setup.vip);
    client.leave();
    for member in &play.members {
        until_true(PATIENCE, "it to end", || member.visits()[0].end.is_some() || member.name() == "m1");
        let bytes = member.visits()[0].bytes.clone();
        assert!(bytes.starts_with(&[&header[..], b"GET / "].concat()), "{}", bytes.escape_ascii());
    }
}

#[test]
fn long_bodies_follow_their_header() {
    let play = play(Mode::Http, "PROXY", 1, well_behaved, |_| ());
    let data = pattern(300_000);
    let mut client = Client::connect(play.setup.vip);
    for _ in 0..2 {
        client.send("POST /body HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 300000\r\n\r\n");
        client.send(&data);
        assert!(client.answer().body.data == data);
    }
    assert_eq!(play.members[0].connections(), 1);
}

/// What a balancer before us said of its client is what the member is told, with all that came behind it.
#[test]
fn a_header_that_came_in_goes_out_again() {
    let echo = |name: &str, at| {
        Member::script(name, at, |conn| {
            take_block(conn)?;
            loop {
                let byte = conn.take(1)?;
                conn.send(byte)?;
            }
        })
    };
    let play = play(Mode::Tcp, "PROXYV2", 1, echo, |setup| trusting(setup, true));
    // As much as one read can find, so that nothing is left to put a longer header in front.
    let data = pattern(100_000);
    let mut client = Client::connect(play.setup.vip);
    client.send([V1.as_bytes(), &data].concat());
    assert!(client.take(data.len()) == data);
    client.leave();
    let header = v2(0x21, 0x11, super::V4_ENDS);
    assert!(play.visits()[0] == [header, data].concat());
    play.weir.wait_log(1);
    assert_eq!(play.weir.control.listener().bytes_in, 100_000);
}

/// LOCAL from a balancer before us: members are told of the connection that is there.
#[test]
fn what_came_in_without_addresses_goes_out_with_our_own() {
    let play = play(Mode::Http, "PROXY", 1, well_behaved, |setup| trusting(setup, true));
    let mut client = Client::connect(play.setup.vip);
    client.send([&v2(0x20, 0, b"")[..], GET.as_bytes()].concat());
    assert_eq!(client.answer().status(), 200);
    let header = line(address(&mut client), play.setup.vip);
    client.leave();
    assert!(play.visits()[0].starts_with(&header));
}

/// One pool behind listeners of both kinds.
#[test]
fn a_pool_follows_each_of_its_listeners() {
    let place = Place::new();
    let member = well_behaved("m1", place.socket());
    let (web, raw) = (place.socket(), place.socket());
    let document = json!({"loadbalancer": {
        "name": "both", "vip_address": place.ip(), "workers": 1,
        "pools": [{
            "name": "told", "protocol": "PROXY", "lb_algorithm": "ROUND_ROBIN",
            "members": [{"name": "m1", "address": place.ip(), "protocol_port": member.socket().port()}],
        }],
        "listeners": [
            {"name": "web", "protocol": "HTTP", "protocol_port": web.port(), "default_pool": {"name": "told"}},
            {"name": "raw", "protocol": "TCP", "protocol_port": raw.port(), "default_pool": {"name": "told"}},
        ],
    }});
    let _weir = Weir::start_with(&place, &document, &[]);
    for vip in [web, raw] {
        let mut client = Client::connect(vip);
        let header = line(address(&mut client), vip);
        // Only where requests are read are two spaces of a value one's own to keep or to drop.
        client.send("GET /echo HTTP/1.1\r\nHost: weir.test\r\nX-Spaces:   a\r\n\r\n");
        let text = client.answer().text();
        assert_eq!(text.contains("X-Spaces:   a"), vip == raw, "{text}");
        let visit = member.connections() - 1;
        client.leave();
        until_true(PATIENCE, "the connection to end", || member.visits()[visit].end.is_some());
        assert!(member.visits()[visit].bytes.starts_with(&header));
    }
}

/// Connections of a time when members wanted no header are not used once they do, and the other way round.
#[test]
fn a_pool_that_changes_its_protocol_begins_anew() {
    let either = |name: &str, at| {
        let name_inside = name.to_owned();
        Member::script(name, at, move |conn| {
            loop {
                let (head, body) = conn.request()?;
                // A line before the request line shows as the request line.
                assert!(body.data.is_empty());
                behave(conn, &name_inside, &head, &body)?;
            }
        })
    };
    let mut play = play(Mode::Http, "HTTP", 1, either, |_| ());
    let mut client = Client::connect(play.setup.vip);
    for (protocol, first) in [("HTTP", "GET"), ("PROXY", "PROXY"), ("HTTP", "GET"), ("PROXY", "PROXY")] {
        play.setup.pool["protocol"] = json!(protocol);
        play.weir.control.apply(&play.setup.document(&play.place.path("access.log")));
        for _ in 0..2 {
            assert_eq!(client.get("/").status(), 200);
            let requests = play.members[0].seen();
            let last = requests.last().unwrap();
            let same: Vec<&str> =
                requests.iter().filter(|r| r.connection == last.connection).map(|r| r.head.word(0)).collect();
            assert_eq!(same[0], first, "the connection began otherwise");
        }
    }
}

/// A member that wants headers is asked with one, unless it is asked elsewhere.
#[test]
fn monitors_send_what_the_pool_sends() {
    for (protocol, keys) in [
        ("PROXY", json!({})),
        ("PROXYV2", json!({})),
        // Version 2 to who was told of version 1 in the pool's name: nginx reads both.
        ("PROXY", json!({"send_proxy": "PROXYV2"})),
    ] {
        let place = Place::new();
        let nginx = Nginx::start_proxied(&place, "m1", place.socket());
        let elsewhere = Nginx::start(&place, "m2", place.socket());
        let mut monitor =
            json!({"type": "HTTP", "delay": 0.2, "timeout": 0.2, "max_retries": 1, "max_retries_down": 1});
        for (key, value) in keys.as_object().unwrap() {
            monitor[key] = value.clone();
        }
        let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", nginx.socket), ("m2", nginx.socket)])
            .monitor(monitor)
            .pool_keys(json!({"protocol": protocol}));
        setup.members[1].socket = place.socket();
        setup.members[1].more = json!({"monitor_port": elsewhere.socket.port()});
        if keys != json!({}) {
            setup.members.truncate(1);
        }
        let weir = Weir::start(&place, &setup);
        weir.control.wait_asked();
        for member in &setup.members {
            assert!(
                weir.control.health_of(&member.name).operational == Operational::Up,
                "{protocol} {keys}: {:?}",
                weir.control.health_of(&member.name)
            );
        }
    }
}

/// IPv6 throughout: the client, the VIP and the member.
#[test]
fn ipv6_ends_are_told_as_such() {
    for (protocol, version) in [("PROXY", ProxyVersion::V1), ("PROXYV2", ProxyVersion::V2)] {
        let place = Place::new();
        let member = TcpListener::bind("[::1]:0").unwrap();
        let vip = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
        let setup = Setup::new(Mode::Http, vip, [("m1", member.local_addr().unwrap())])
            .pool_keys(json!({"protocol": protocol}));
        let _weir = Weir::start(&place, &setup);
        let mut client = Client::connect(vip);
        client.send(GET);
        let (mut stream, _) = member.accept().unwrap();
        stream.set_read_timeout(Some(PATIENT)).unwrap();
        let expected = Written::of(version, Ends { source: address(&mut client), destination: vip });
        let mut bytes = vec![0; expected.len() + 4];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [&expected, &b"GET "[..]].concat());
    }
}
