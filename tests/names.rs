//! Promise: a member may have a name instead of an address. It is where its name leads, moves when that changes, and
//! stays where it was while nobody can say.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use lb_control::events::EventKind::{MemberAddress, MemberDown, MemberUp, PoolUp};
use lb_core::health::{Administrative, Operational};
use rustix::process::geteuid;
use serde_json::{Value, json};
use weir_tests::binaries::bin;
use weir_tests::client::{Client, get};
use weir_tests::dns::{Dns, Says};
use weir_tests::health::{Moody, fast_http};
use weir_tests::member::{Conn, Member};
use weir_tests::message::End;
use weir_tests::netns::allowed;
use weir_tests::node::Node;
use weir_tests::place::Place;
use weir_tests::process::Process;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::{PATIENCE, pause_ms, until, until_true};
use weir_tests::weir::{Control, Weir};

const APP: &str = "app.example.com";

/// Addresses of one's own, with a port that is free on all of them, and a DNS server.
struct World {
    dns: Dns,
    place: Place,
    others: Vec<Place>,
    port: u16,
}

impl World {
    fn new() -> Self {
        let place = Place::new();
        let (dns, port) = (Dns::start(place.socket()), place.socket().port());
        Self { dns, others: (0..3).map(|_| Place::new()).collect(), place, port }
    }

    /// The `n`th address members may have.
    fn ip(&self, n: usize) -> IpAddr {
        self.others[n].ip()
    }

    fn at(&self, n: usize) -> SocketAddr {
        SocketAddr::new(self.ip(n), self.port)
    }

    /// A member at the `n`th address, called so.
    fn member(&self, n: usize) -> Member {
        Member::http(&format!("at{n}"), self.at(n)).only_counting()
    }

    /// A VIP before members `m1`, `m2`, ... that are all called `name`.
    fn setup(&self, mode: Mode, names: &[&str]) -> Setup {
        let named: Vec<String> = (1..=names.len()).map(|n| format!("m{n}")).collect();
        let mut setup = Setup::new(mode, self.place.socket(), named.iter().map(|name| (name.as_str(), self.at(0))));
        for (member, name) in setup.members.iter_mut().zip(names) {
            member.more = json!({"address": name});
        }
        setup
    }

    fn document(&self, setup: &Setup) -> Value {
        let mut document = setup.document(&self.place.path("access.log"));
        document["loadbalancer"]["resolvers"] = json!([self.dns.socket()]);
        document
    }

    fn start(&self, setup: &Setup) -> Weir {
        Weir::start_with(&self.place, &self.document(setup), &[])
    }
}

/// Who answers `n` requests.
fn who(vip: SocketAddr, n: usize) -> Vec<String> {
    let mut all: Vec<String> = (0..n)
        .map(|_| {
            let answer = get(vip, "/");
            answer.header("x-member").map_or_else(|| answer.status().to_string(), str::to_owned)
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

fn until_at(control: &Control, member: &str, at: &str) {
    until_true(PATIENCE, &format!("{member} to be at {at}"), || control.member(member).address == at);
}

#[test]
fn members_of_one_name_are_spread_over_its_addresses_from_the_first_request_on() {
    let world = World::new();
    let _members = [0, 1, 2].map(|n| world.member(n));
    world.dns.says(APP, Says::at(&[world.ip(2), world.ip(0), world.ip(1)]));
    let setup = world.setup(Mode::Http, &[APP, APP, APP]);
    let weir = world.start(&setup);
    assert_eq!(who(setup.vip, 6), ["at0", "at1", "at2"]);
    let served = weir.control.document().loadbalancer.unwrap();
    assert!(served.pools[0].members.iter().all(|member| member.address.to_string() == APP), "{served:?}");
    let known = weir.control.member("m1").resolution.unwrap();
    assert_eq!((known.name.as_str(), known.addresses.len(), known.fault.as_str()), (APP, 3, ""));
    assert_eq!(known.address, weir.control.member("m1").address);
    assert_eq!(weir.control.health_of("m1").operational, Operational::NoCheck);
    // What it tells of itself it takes again.
    let written = lb_core::spec::write(&served);
    weir.control.apply(&written);
    assert_eq!(weir.control.document().loadbalancer.unwrap(), served);
    // The same answer in another order moves nobody.
    let sockets = || ["m1", "m2", "m3"].map(|name| weir.control.member(name).address);
    let before = sockets();
    world.dns.says(APP, Says::at(&[world.ip(0), world.ip(1), world.ip(2)]));
    world.dns.heard(APP);
    assert_eq!(sockets(), before);
    assert_eq!(weir.control.count(MemberAddress), 0);
}

fn echo(conn: &mut Conn) -> Result<(), End> {
    loop {
        let byte = conn.take(1)?;
        conn.send(byte)?;
    }
}

#[test]
fn a_member_moves_with_its_name_and_sessions_go_on_where_they_are() {
    let world = World::new();
    let script = |n: usize, greeting: &'static str| {
        Member::script("m", world.at(n), move |conn| {
            conn.send(greeting)?;
            echo(conn)
        })
    };
    let (_here, _there) = (script(0, "0"), script(1, "1"));
    let steady = Member::script("steady", world.place.socket(), echo);
    world.dns.says(APP, Says::at(&[world.ip(0)]));
    let mut setup = world.setup(Mode::Tcp, &[APP, "127.0.0.1"]);
    setup.members[1].socket = steady.socket();
    setup.members[1].more = json!({});
    setup.members[1].backup = true;
    let weir = world.start(&setup);
    let mut old = Client::connect(setup.vip);
    assert_eq!(old.take(1), b"0");
    world.dns.says(APP, Says::at(&[world.ip(1)]));
    let moved = weir.control.wait_event(MemberAddress, "back/m1", 0, PATIENCE);
    assert_eq!((moved.old, moved.new), (world.at(0).to_string(), world.at(1).to_string()));
    assert_eq!((moved.reason.as_str(), moved.by.as_str()), ("app.example.com leads there", "DNS"));
    assert_eq!(moved.effect, "1 in flight go on at the old address");
    let generation = weir.control.health().generation;
    until_true(PATIENCE, "new work at the new address", || Client::connect(setup.vip).take(1) == b"1");
    old.send("x");
    assert_eq!(old.take(1), b"x", "the old session goes on");
    old.half_close();
    assert_eq!(old.take_to_end(), End::Closed);
    assert_eq!(generation, 1, "it is no new document");
    assert_eq!(weir.control.count(MemberAddress), 1, "and nobody else moved");
}

#[test]
fn a_name_that_leads_nowhere_is_a_member_that_is_down_until_it_leads_somewhere() {
    let world = World::new();
    let _member = world.member(1);
    let steady = Member::http("steady", world.place.socket()).only_counting();
    let mut setup = world.setup(Mode::Http, &[APP]);
    let weir = world.start(&setup);
    let health = weir.control.health_of("m1");
    assert_eq!((health.administrative, health.operational), (Administrative::Ready, Operational::Down));
    assert_eq!(health.reason, "cannot resolve app.example.com: NXDOMAIN");
    assert_eq!(weir.control.member("m1").address, "");
    assert_eq!(weir.control.member("m1").resolution.unwrap().fault, "NXDOMAIN");
    assert_eq!(get(setup.vip, "/").status(), 503);
    let down = weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE);
    assert_eq!((down.by.as_str(), down.reason), ("DNS", health.reason));
    // For another reason now; that turns nothing.
    world.dns.says(APP, Says::ServFail);
    until_true(PATIENCE, "the other reason", || {
        weir.control.health_of("m1").reason == "cannot resolve app.example.com: SERVFAIL"
    });
    assert_eq!(weir.control.count(MemberDown), 1);
    // Another member comes and works; who is nowhere stays so, and nobody is sent there.
    setup.members.push(weir_tests::setup::backend("m2", steady.socket()));
    weir.control.apply(&world.document(&setup));
    assert_eq!(who(setup.vip, 4), ["steady"]);

    world.dns.says(APP, Says::at(&[world.ip(1)]));
    let moved = weir.control.wait_event(MemberAddress, "back/m1", 0, PATIENCE);
    assert_eq!((moved.old.as_str(), moved.new), ("", world.at(1).to_string()));
    let up = weir.control.wait_event(MemberUp, "back/m1", 0, PATIENCE);
    assert_eq!(up.by, "DNS");
    until_true(PATIENCE, "both to be used", || who(setup.vip, 4) == ["at1", "steady"]);
    assert_eq!(weir.control.count(PoolUp), 1, "told when the other member came");
}

#[test]
fn what_was_found_stays_in_use_while_nobody_can_say() {
    let world = World::new();
    let _member = world.member(0);
    world.dns.says(APP, Says::at(&[world.ip(0)]));
    let setup = world.setup(Mode::Http, &[APP]);
    let weir = world.start(&setup);
    let fault = || weir.control.member("m1").resolution.unwrap().fault;
    for (says, words) in [
        (Says::NoSuchName(1), "NXDOMAIN"),
        (Says::NoAddress(1), "it has no address"),
        (Says::ServFail, "SERVFAIL"),
        (Says::at(&["0.0.0.0".parse().unwrap()]), "none of its addresses is one of a host"),
        (Says::Silence, "no DNS server answers"),
    ] {
        world.dns.says(APP, says);
        until_true(PATIENCE + PATIENCE, words, || fault() == words);
        assert_eq!(who(setup.vip, 2), ["at0"], "{words}");
        assert_eq!(weir.control.health_of("m1").operational, Operational::NoCheck, "{words}");
        // Trouble in a row is asked about ever more seldom.
        world.dns.says(APP, Says::at(&[world.ip(0)]));
        until_true(PATIENCE + PATIENCE, "no fault", || fault().is_empty());
    }
    let events = weir.control.events().events;
    assert!(events.iter().all(|event| event.subject.kind != "member"), "nothing happened: {events:?}");
}

#[test]
fn answers_that_do_not_fit_are_had_over_tcp_and_forged_ones_are_passed_over() {
    let world = World::new();
    let _members = [0, 1].map(|n| world.member(n));
    let many: Vec<IpAddr> = (1..=60).map(|n| IpAddr::from([127, 250, 0, n])).chain([world.ip(0)]).collect();
    world.dns.says("many.example.com", Says::Cut(Box::new(Says::at(&many))));
    world.dns.says(APP, Says::AfterForged(Box::new(Says::Alias { ttl: 1, to: "real.example.com" })));
    world.dns.says("real.example.com", Says::at(&[world.ip(1)]));
    let setup = world.setup(Mode::Http, &["many.example.com", APP]);
    let weir = world.start(&setup);
    assert_eq!(weir.control.member("m1").resolution.unwrap().addresses.len(), 61);
    assert!(world.dns.over_tcp() >= 1);
    assert_eq!(weir.control.member("m2").address, world.at(1).to_string());
    // Nonsense says nothing, however much of it comes.
    world.dns.says(APP, Says::Garbage);
    world.dns.heard(APP);
    assert_eq!(weir.control.member("m2").address, world.at(1).to_string());
}

#[test]
fn a_name_that_leads_back_here_is_refused_with_the_reason() {
    let world = World::new();
    let mut setup = world.setup(Mode::Http, &[APP]);
    setup.members[0].socket = setup.vip;
    world.dns.says(APP, Says::at(&[setup.vip.ip()]));
    let weir = world.start(&setup);
    let reason = format!("app.example.com leads to this load balancer's own listener {}", setup.vip);
    assert_eq!(weir.control.health_of("m1").reason, reason);
    assert_eq!(get(setup.vip, "/").status(), 503);
    assert_eq!(weir.control.listener().total_connections, 1, "nothing went round");
    // Later, too.
    let there = SocketAddr::new(world.ip(0), setup.vip.port());
    let _member = Member::http("there", there).only_counting();
    world.dns.says(APP, Says::at(&[world.ip(0), setup.vip.ip()]));
    until_at(&weir.control, "m1", &there.to_string());
    assert_eq!(who(setup.vip, 2), ["there"]);
    let after = weir.control.events().last;
    world.dns.says(APP, Says::at(&[setup.vip.ip()]));
    let moved = weir.control.wait_event(MemberAddress, "back/m1", after, PATIENCE);
    assert_eq!((moved.new.as_str(), moved.reason.as_str()), ("nowhere", reason.as_str()));
    weir.control.wait_event(MemberDown, "back/m1", after, PATIENCE);
    assert_eq!(get(setup.vip, "/").status(), 503);
}

#[test]
fn monitors_ask_where_the_member_is_now() {
    let world = World::new();
    let (here, there) = (Moody::http("here", world.at(0)), Moody::http("there", world.at(1)));
    world.dns.says(APP, Says::at(&[world.ip(0)]));
    let setup = world.setup(Mode::Http, &[APP]).monitor(fast_http());
    let weir = world.start(&setup);
    weir.control.wait_asked();
    here.mood(1);
    weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE);
    assert_eq!((get(setup.vip, "/").status(), there.asked()), (503, 0));
    // Health begins anew: what was known belongs to the old place.
    let after = weir.control.events().last;
    world.dns.says(APP, Says::at(&[world.ip(1)]));
    weir.control.wait_event(MemberUp, "back/m1", after, PATIENCE);
    until_true(PATIENCE, "the new place to be asked", || there.asked() > 0);
    until_true(PATIENCE, "new work", || get(setup.vip, "/").status() == 200);
    let asked = here.asked();
    pause_ms(500);
    assert!(here.asked() <= asked + 1, "the old place is left alone");
    there.mood(1);
    let after = weir.control.events().last;
    weir.control.wait_event(MemberDown, "back/m1", after, PATIENCE);
}

#[test]
fn documents_come_and_go_with_their_names() {
    let world = World::new();
    let _members = [0, 1].map(|n| world.member(n));
    world.dns.says(APP, Says::at(&[world.ip(0)]));
    world.dns.says("b.example.com", Says::at(&[world.ip(1)]));
    let setup = world.setup(Mode::Http, &[APP]);
    let weir = world.start(&setup);
    assert_eq!(who(setup.vip, 2), ["at0"]);
    // Another name, without a request that finds nobody.
    let other = Setup { members: world.setup(Mode::Http, &["b.example.com"]).members, ..setup.clone() };
    weir.control.apply(&world.document(&other));
    assert_eq!(who(setup.vip, 2), ["at1"]);
    let asked = world.dns.asked(APP);
    world.dns.heard("b.example.com");
    assert_eq!(world.dns.asked(APP), asked, "nobody needs it any more");
    // Another server, which knows better.
    let second = Dns::start(world.place.socket());
    second.says("b.example.com", Says::at(&[world.ip(0)]));
    let mut document = world.document(&other);
    document["loadbalancer"]["resolvers"] = json!([second.socket()]);
    weir.control.apply(&document);
    assert_eq!(who(setup.vip, 2), ["at0"]);
    // A refused document changes nothing, and its names are not asked for later.
    let taken = world.member(2);
    let mut refused = world.document(&setup);
    refused["loadbalancer"]["vip_address"] = json!(taken.socket().ip());
    refused["loadbalancer"]["listeners"][0]["protocol_port"] = json!(taken.socket().port());
    assert_eq!(weir.control.put(&refused).status, 409);
    let asked = world.dns.asked(APP);
    second.heard("b.example.com");
    assert_eq!((world.dns.asked(APP), who(setup.vip, 2)), (asked, vec!["at0".to_owned()]));
    // No name: nobody is asked.
    let mut plain = other.clone();
    plain.members[0].more = json!({});
    plain.members[0].socket = world.at(1);
    weir.control.apply(&world.document(&plain));
    assert_eq!(who(setup.vip, 2), ["at1"]);
    let asked = second.asked("b.example.com");
    pause_ms(1500);
    assert_eq!(second.asked("b.example.com"), asked);
}

/// Its place at the old address is taken for long; who waits for one hears that there is another.
#[test]
fn who_waits_for_a_full_member_goes_where_it_moved() {
    let world = World::new();
    let busy = Member::script("at0", world.at(0), |conn| {
        conn.request()?;
        conn.take_to_end();
        Ok(())
    });
    let _free = world.member(1);
    world.dns.says(APP, Says::at(&[world.ip(0)]));
    let mut setup = world.setup(Mode::Http, &[APP]);
    setup.members[0].more = json!({"address": APP, "max_connections": 1});
    let weir = world.start(&setup);
    let [mut first, mut second] = [Client::connect(setup.vip), Client::connect(setup.vip)];
    first.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    busy.wait_requests(1);
    second.send("GET / HTTP/1.1\r\nHost: weir.test\r\n\r\n");
    let waiting = || weir.control.stats().pools[0].queue.waiting;
    until_true(PATIENCE, "somebody to wait", || waiting() == 1);
    world.dns.says(APP, Says::at(&[world.ip(1)]));
    assert_eq!(second.answer().header("x-member"), Some("at1"));
    assert_eq!(waiting(), 0);
}

/// A server that never answers holds up a document for two seconds, and not for longer.
#[test]
fn a_silent_server_holds_up_no_document() {
    let world = World::new();
    world.dns.says(APP, Says::Silence);
    let steady = Member::http("steady", world.place.socket()).only_counting();
    let mut setup = world.setup(Mode::Http, &[APP]);
    setup.members.push(weir_tests::setup::backend("m2", steady.socket()));
    let weir = world.start(&setup);
    assert_eq!(weir.control.health_of("m1").reason, "its name is being resolved");
    assert_eq!(who(setup.vip, 2), ["steady"]);
}

/// The machine's own files, as a data plane sees them: other files are mounted over them for it alone.
#[test]
fn the_machines_files_are_read() {
    if !geteuid().is_root() || !allowed() {
        eprintln!("skipped: mounting files over the machine's needs root");
        return;
    }
    let world = World::new();
    let _members = [0, 1].map(|n| world.member(n));
    let dns = Dns::start(SocketAddr::new(world.place.ip(), 53));
    dns.says("app.corp.example", Says::at(&[world.ip(0)]));
    let resolv = world.place.write("resolv.conf", format!("search corp.example\nnameserver {}\n", dns.socket().ip()));
    let hosts = world.place.write("hosts", format!("127.0.0.1 localhost\n{} db.local db # by hand\n", world.ip(1)));
    let setup = world.setup(Mode::Http, &["app", "DB"]);
    let config = world.place.write("weir.yaml", setup.document(&world.place.path("access.log")).to_string());
    let control = Control::at(world.place.path("control.sock"));
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/resolv.conf && mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script]).arg(resolv).arg(&hosts).arg(bin("lb-proxy"));
    command.arg("--config").arg(config).arg("--control").arg(&control.socket);
    let mut process = Process::start("lb-proxy", command, world.place.path("lb-proxy"));
    process.wait_ready("lb-proxy to serve", || control.try_health().is_some_and(|h| h.generation > 0));
    assert_eq!(who(setup.vip, 4), ["at0", "at1"]);
}

#[test]
fn lbctl_shows_name_and_address_from_within_the_vips_network() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let node = Node::new();
    let member = node.member("m1", 8001);
    let at = SocketAddr::new(member.socket().ip(), 5353);
    let dns = node.members.inside(|| Dns::start(at));
    dns.says(APP, Says::at(&[member.socket().ip()]));
    let mut document = node.document(1, &[&member]);
    document["loadbalancer"]["resolvers"] = json!([at]);
    document["loadbalancer"]["listeners"][0]["default_pool"]["members"][0]["address"] = json!(APP);
    node.apply(&document);
    let status = || String::from_utf8(node.lbctl(&["status", "web1"]).stdout).unwrap();
    let line = format!("member m1  {APP}:8001 → {}", member.socket());
    assert!(status().contains(&line), "{}", status());
    assert_eq!(node.clients.inside(|| get(Node::vip(1), "/").status()), 200);
    dns.says(APP, Says::NoSuchName(1));
    let text = until(PATIENCE, "the fault", || Some(status()).filter(|text| text.contains("its name: NXDOMAIN")));
    assert!(text.contains(&line), "what was found stays: {text}");
}
