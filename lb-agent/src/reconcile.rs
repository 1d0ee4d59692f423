//! What to do next: desired × actual → actions. Pure, so that every situation can be tried without a machine.
//!
//! Rules the order keeps: sockets are there before the document that uses them, and go after the document that
//! does not; a VIP's new address comes before, its old one goes after; a data plane whose document exists is never
//! stopped; what is not marked as ours is not touched.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::actual::{Actual, Instance};
use crate::desired::Desired;

/// One step towards what is desired. Each may be repeated without harm.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the run folder: from here on, what has this load balancer's names is ours.
    Mark,
    /// Make the namespace; if a data plane runs, the one it is in gets its name back.
    CreateNamespace,
    /// Link, address, routes: complete what is half there.
    PlugVip,
    /// Take over a data plane that runs: watch it, get duplicates of its sockets, learn what it serves.
    AdoptInstance,
    /// Listen on an address with so many sockets in all.
    OpenSockets(SocketAddr, usize),
    /// Start a data plane.
    StartInstance,
    /// Give the data plane those sockets of these addresses that it has not.
    OfferSockets(Vec<SocketAddr>),
    /// Have the data plane serve the document.
    Configure,
    /// Close the agent's duplicates of these addresses' sockets.
    CloseSockets(Vec<SocketAddr>),
    /// Take addresses off the VIP's link.
    TrimAddresses(Vec<(IpAddr, u8)>),
    /// Let the data plane end: sessions may finish until the deadline.
    DrainInstance,
    /// Remove the VIP's link.
    Unplug,
    /// Remove the namespace.
    DeleteNamespace,
    /// Remove the run folder: nothing is left.
    Unmark,
}

/// Somebody else's namespace has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign;

/// What leads from `actual` to `desired`, in order; empty when there is nothing to do. `desired` is `None` when there
/// is to be nothing. After [`Action::AdoptInstance`] more is known, so the list ends there: observe and ask again.
pub fn plan(desired: Option<&Desired>, actual: &Actual) -> Result<Vec<Action>, Foreign> {
    if actual.namespace && !actual.marked {
        return if desired.is_some() { Err(Foreign) } else { Ok(Vec::new()) };
    }
    Ok(match desired {
        Some(desired) => build_up(desired, actual),
        None => tear_down(actual),
    })
}

fn build_up(desired: &Desired, actual: &Actual) -> Vec<Action> {
    let mut actions = Vec::new();
    if !actual.marked {
        actions.push(Action::Mark);
    }
    if !actual.namespace {
        actions.push(Action::CreateNamespace);
    }
    if actual.instance == Instance::Found {
        actions.push(Action::AdoptInstance);
        return actions;
    }
    if !actual.plug.as_ref().is_some_and(|plugged| plugged.satisfies(&desired.plug)) {
        actions.push(Action::PlugVip);
    }
    // More workers want more sockets. Fewer do not: each socket that is closed refuses those who wait in it.
    let held = |addr: &SocketAddr| actual.sockets.get(addr).copied().unwrap_or(0);
    let missing = desired.sockets.iter().filter(|(addr, count)| held(addr) < **count);
    actions.extend(missing.map(|(addr, count)| Action::OpenSockets(*addr, *count)));

    let (served, offered) = match &actual.instance {
        Instance::Running { served, offered } => (served.clone(), offered.clone()),
        Instance::Absent | Instance::Found => {
            actions.push(Action::StartInstance);
            (None, BTreeMap::new())
        }
    };
    let given = |addr: &SocketAddr| offered.get(addr).copied().unwrap_or(0);
    let to_offer = desired.sockets.iter().filter(|(addr, count)| given(addr) < held(addr).max(**count));
    let to_offer: Vec<SocketAddr> = to_offer.map(|(addr, _)| *addr).collect();
    // The data plane lets go of sockets no document wants when it is given one, be it the same.
    let has_too_much = offered.keys().any(|addr| !desired.sockets.contains_key(addr));
    let is_behind = served.as_ref() != Some(&desired.document) || !to_offer.is_empty() || has_too_much;
    if !to_offer.is_empty() {
        actions.push(Action::OfferSockets(to_offer));
    }
    if is_behind {
        actions.push(Action::Configure);
    }

    let surplus: Vec<SocketAddr> =
        actual.sockets.keys().filter(|a| !desired.sockets.contains_key(a)).copied().collect();
    if !surplus.is_empty() {
        actions.push(Action::CloseSockets(surplus));
    }
    let ours = (desired.plug.vip, desired.plug.prefix_len);
    let addresses = actual.plug.iter().flat_map(|plugged| &plugged.addresses);
    let surplus: Vec<(IpAddr, u8)> = addresses.filter(|address| **address != ours).copied().collect();
    if !surplus.is_empty() {
        actions.push(Action::TrimAddresses(surplus));
    }
    actions
}

fn tear_down(actual: &Actual) -> Vec<Action> {
    let mut actions = Vec::new();
    if actual.instance == Instance::Found {
        return vec![Action::AdoptInstance];
    }
    // First, so that nobody waits in a queue that will never be served.
    if !actual.sockets.is_empty() {
        actions.push(Action::CloseSockets(actual.sockets.keys().copied().collect()));
    }
    if actual.instance != Instance::Absent {
        actions.push(Action::DrainInstance);
    }
    if actual.marked {
        // Also when the link is only half there.
        actions.push(Action::Unplug);
        if actual.namespace {
            actions.push(Action::DeleteNamespace);
        }
        actions.push(Action::Unmark);
    }
    actions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actual::Plugged;
    use crate::config::Config;
    use crate::testing::document;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn desired(vip: u8, ports: &[u16]) -> Desired {
        let text = "networks: [{name: n, cidr: 20.20.20.0/24, bridge: br}]";
        let config = Config::parse(std::path::Path::new("t"), text).unwrap();
        Desired::on(&config, Arc::new(document("web", &format!("20.20.20.{vip}"), ports)), 2).unwrap()
    }

    /// What the world does when an action is carried out.
    fn act(action: &Action, desired: Option<&Desired>, world: &mut Actual) {
        match action {
            Action::Mark => world.marked = true,
            Action::CreateNamespace => world.namespace = true,
            Action::PlugVip => {
                let plug = &desired.unwrap().plug;
                let mut addresses = world.plug.take().map(|p| p.addresses).unwrap_or_default();
                addresses.insert((plug.vip, plug.prefix_len));
                world.plug = Some(Plugged { addresses, bridge: Some(plug.bridge.clone()), ready: true });
            }
            Action::AdoptInstance => {
                assert_eq!(world.instance, Instance::Found);
                // It may serve anything and hold any sockets.
                let offered = [("20.20.20.6:80".parse().unwrap(), 2), ("20.20.20.6:99".parse().unwrap(), 2)];
                world.sockets.extend(offered);
                let offered = offered.into_iter().collect();
                world.instance = Instance::Running { served: None, offered };
            }
            Action::OpenSockets(addr, count) => assert!(world.sockets.insert(*addr, *count).unwrap_or(0) < *count),
            Action::StartInstance => {
                assert_eq!(world.instance, Instance::Absent);
                world.instance = Instance::Running { served: None, offered: Default::default() };
            }
            Action::OfferSockets(addrs) => {
                let Instance::Running { offered, .. } = &mut world.instance else { panic!("offered to nobody") };
                assert!(addrs.iter().all(|a| world.sockets.contains_key(a)), "offered what is not open");
                offered.extend(addrs.iter().map(|a| (*a, world.sockets[a])));
            }
            Action::Configure => {
                let Instance::Running { served, offered } = &mut world.instance else { panic!("configured nobody") };
                let document = desired.unwrap().document.clone();
                assert!(document.sockets().all(|a| offered.contains_key(&a)), "a document before its sockets");
                offered.retain(|a, _| desired.unwrap().sockets.contains_key(a));
                *served = Some(document);
            }
            Action::CloseSockets(addrs) => {
                if let (Instance::Running { served, offered }, Some(_)) = (&mut world.instance, desired) {
                    let used = served.iter().flat_map(|d| d.sockets().collect::<Vec<_>>());
                    assert!(used.into_iter().all(|a| !addrs.contains(&a)), "closed what is served");
                    offered.retain(|a, _| !addrs.contains(a));
                }
                world.sockets.retain(|a, _| !addrs.contains(a));
            }
            Action::TrimAddresses(addresses) => {
                world.plug.as_mut().unwrap().addresses.retain(|a| !addresses.contains(a));
            }
            Action::DrainInstance => {
                assert!(desired.is_none(), "a data plane whose document exists was stopped");
                world.instance = Instance::Absent;
            }
            Action::Unplug => world.plug = None,
            Action::DeleteNamespace => {
                assert_eq!(world.instance, Instance::Absent);
                world.namespace = false;
            }
            Action::Unmark => world.marked = false,
        }
    }

    /// Rounds until nothing is left to do.
    fn converge(desired: Option<&Desired>, world: &mut Actual) -> usize {
        for round in 0..5 {
            let actions = plan(desired, world).unwrap();
            if actions.is_empty() {
                return round;
            }
            for action in &actions {
                act(action, desired, world);
            }
        }
        panic!("does not settle: {:?}", plan(desired, world));
    }

    #[test]
    fn from_nothing_to_served_and_back() {
        let wanted = desired(6, &[80, 81]);
        let mut world = Actual::default();
        let actions = plan(Some(&wanted), &world).unwrap();
        let addr = |port| SocketAddr::new(wanted.plug.vip, port);
        assert_eq!(
            actions,
            [
                Action::Mark,
                Action::CreateNamespace,
                Action::PlugVip,
                Action::OpenSockets(addr(80), 2),
                Action::OpenSockets(addr(81), 2),
                Action::StartInstance,
                Action::OfferSockets(vec![addr(80), addr(81)]),
                Action::Configure,
            ]
        );
        assert_eq!(converge(Some(&wanted), &mut world), 1);
        converge(None, &mut world);
        assert_eq!(world, Actual::default());
    }

    #[test]
    fn a_dead_data_plane_needs_no_new_sockets() {
        let wanted = desired(6, &[80]);
        let mut world = Actual::default();
        converge(Some(&wanted), &mut world);
        world.instance = Instance::Absent;
        let addr = SocketAddr::new(wanted.plug.vip, 80);
        let actions = plan(Some(&wanted), &world).unwrap();
        assert_eq!(actions, [Action::StartInstance, Action::OfferSockets(vec![addr]), Action::Configure]);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let world = Actual { namespace: true, ..Actual::default() };
        assert_eq!(plan(Some(&desired(6, &[80])), &world), Err(Foreign));
        assert_eq!(plan(None, &world), Ok(vec![]));
    }

    fn any_desired() -> impl Strategy<Value = Option<Desired>> {
        let up = (1..9u8, proptest::collection::btree_set(80..86u16, 0..4))
            .prop_map(|(vip, ports)| desired(vip, &ports.into_iter().collect::<Vec<_>>()));
        proptest::option::weighted(0.8, up)
    }

    /// Anything a crash, an earlier agent or somebody's hand may leave behind.
    fn any_world() -> impl Strategy<Value = Actual> {
        let plug = (proptest::collection::btree_set(1..9u8, 0..3), any::<bool>(), any::<bool>()).prop_map(
            |(ips, b, ready)| {
                let addresses = ips.into_iter().map(|ip| (IpAddr::from([20, 20, 20, ip]), 24)).collect();
                Plugged { addresses, bridge: b.then(|| "br".to_owned()), ready }
            },
        );
        (any::<bool>(), proptest::option::of(plug), 0..3u8, any_desired()).prop_map(
            |(namespace, plug, kind, served)| {
                let served = served.map(|d| d.document);
                let offered: BTreeMap<_, _> =
                    served.iter().flat_map(|d| d.sockets().map(|a| (a, 2)).collect::<Vec<_>>()).collect();
                let sockets = offered.clone();
                match kind {
                    0 => Actual { marked: true, namespace, plug, sockets, instance: Instance::Absent },
                    1 => Actual { marked: true, namespace, plug, instance: Instance::Found, ..Actual::default() },
                    _ => Actual {
                        marked: true,
                        namespace,
                        plug,
                        sockets,
                        instance: Instance::Running { served, offered },
                    },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn every_world_settles_and_stays(mut world in any_world(), wanted in any_desired(), next in any_desired()) {
            for wanted in [&wanted, &next, &wanted] {
                converge(wanted.as_ref(), &mut world);
                prop_assert_eq!(plan(wanted.as_ref(), &world).unwrap(), vec![]);
                match wanted {
                    None => prop_assert_eq!(&world, &Actual::default()),
                    Some(wanted) => {
                        let sockets: Vec<_> = world.sockets.keys().collect();
                        prop_assert_eq!(sockets, wanted.sockets.keys().collect::<Vec<_>>());
                        let plug = world.plug.as_ref().unwrap();
                        prop_assert_eq!(plug.addresses.len(), 1);
                        prop_assert!(plug.satisfies(&wanted.plug));
                    }
                }
            }
        }
    }
}
