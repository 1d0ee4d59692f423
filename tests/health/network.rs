//! Promise: when all members fall silent at once because this node lost its network, that is what is said.

use lb_control::events::EventKind::{MemberDown, NetworkBack, NetworkLost, PoolDown, PoolUp};
use weir_tests::health::monitor;
use weir_tests::member::Member;
use weir_tests::netns::{Netns, allowed};
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::wait::PATIENCE;
use weir_tests::weir::Weir;

#[test]
fn a_node_without_network_blames_itself_and_not_its_members() {
    if !allowed() {
        eprintln!("skipped: network namespaces need root");
        return;
    }
    let (hub, here, there) = (Netns::new(), Netns::new(), Netns::new());
    hub.bridge("br0");
    let ours = hub.plug("br0", &here, "10.66.1.9/24");
    hub.plug("br0", &there, "10.66.1.1/24");
    let at = |port: u16| format!("10.66.1.1:{port}").parse().unwrap();
    let place = Place::new();
    let mut members: Vec<Member> =
        [81, 82].map(|port| there.inside(|| Member::http("m", at(port)).only_counting())).into();
    let vip = "10.66.1.9:80".parse().unwrap();
    let setup = Setup::new(Mode::Http, vip, [("m1", at(81)), ("m2", at(82))]).monitor(monitor("TCP", 200, 150));
    let weir = Weir::start_in(&here, &place, &setup);
    weir.control.wait_asked();

    // One alone, and then the other, with their network as it should be: nothing of the kind is said.
    members[0].kill();
    let first = weir.control.wait_event(MemberDown, "back/m1", 0, PATIENCE).seq;
    members[1].kill();
    let down = weir.control.wait_event(PoolDown, "back", first, PATIENCE).seq;
    there.inside(|| members.iter_mut().for_each(Member::start));
    let up = weir.control.wait_event(PoolUp, "back", down, PATIENCE).seq;
    assert_eq!(weir.control.count(NetworkLost), 0, "members that refuse are heard");
    weir_tests::wait::until_true(PATIENCE, "both to be up", || {
        ["m1", "m2"].iter().all(|name| weir.control.health_of(name).share_permille == 500)
    });

    hub.ip(&format!("link set {ours} down"));
    let lost = weir.control.wait_event(NetworkLost, "back", up, PATIENCE);
    assert!(lost.reason.starts_with("2 members, all that worked, fell silent"), "{lost:?}");
    assert!(lost.reason.ends_with("no carrier on eth0") && lost.new == "this node lost its network", "{lost:?}");
    assert!(weir.process.stderr().contains("no carrier on eth0"));
    hub.ip(&format!("link set {ours} up"));
    let back = weir.control.wait_event(NetworkBack, "back", lost.seq, PATIENCE);
    weir.control.wait_event(PoolUp, "back", back.seq - 1, PATIENCE);

    // The interface itself taken down, and by whoever may do that.
    weir_tests::wait::until_true(PATIENCE, "both to be up", || {
        ["m1", "m2"].iter().all(|name| weir.control.health_of(name).share_permille == 500)
    });
    here.ip("link set eth0 down");
    let lost = weir.control.wait_event(NetworkLost, "back", back.seq, PATIENCE);
    assert!(lost.reason.contains("no interface is up") && lost.reason.contains("eth0"), "{lost:?}");
    here.ip("link set eth0 up");
    weir.control.wait_event(NetworkBack, "back", lost.seq, PATIENCE);
    assert_eq!((weir.control.count(NetworkLost), weir.control.count(NetworkBack)), (2, 2));
}
