//! Links of namespaces, over netlink: the veth pair of a VIP, its address and its routes.
//!
//! Every function blocks and opens its own netlink socket in the calling thread's namespace. Calling one again
//! completes what an earlier call, cut short, left half done.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::actual::Plugged;
use crate::desired::Plug;
use crate::netns::{self, NetnsError};

/// Why a link is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A bridge that nobody asked us to make.
    #[error("bridge {0} does not exist on this node (create it, or set create_bridge: true for its network)")]
    NoBridge(String),
    /// The kernel refused.
    #[error("cannot {step} {link}: {why}")]
    Refused {
        /// What was tried.
        step: &'static str,
        /// On which link.
        link: String,
        /// What the kernel said.
        why: String,
    },
}

/// The two ends of a VIP's link.
#[derive(Clone, Copy, Debug)]
pub struct Ends<'a> {
    /// Namespace of the inner end.
    pub namespace: &'a str,
    /// Name of the end inside, which holds the address.
    pub inner: &'a str,
    /// Name of the end here, which belongs to the bridge.
    pub outer: &'a str,
}

/// Sees to it that the VIP is plugged. A second address on the link is left alone.
pub fn plug(ends: Ends<'_>, plug: &Plug) -> Result<(), LinkError> {
    netlink(async |handle| outer_end(&handle, ends, plug).await)?;
    netns::inside(ends.namespace, || netlink(async |handle| inner_end(&handle, ends.inner, plug).await))?
}

/// Removes the VIP's link, or what there is of it.
pub fn unplug(ends: Ends<'_>) -> Result<(), LinkError> {
    netlink(async |handle| remove(&handle, ends.outer).await)?;
    if netns::exists(ends.namespace) {
        netns::inside(ends.namespace, || netlink(async |handle| remove(&handle, ends.inner).await))??;
    }
    Ok(())
}

/// Takes addresses off the inner end.
pub fn trim(ends: Ends<'_>, addresses: &[(IpAddr, u8)]) -> Result<(), LinkError> {
    netns::inside(ends.namespace, || {
        netlink(async |handle| {
            let Some(link) = get(&handle, ends.inner).await? else { return Ok(()) };
            for message in addresses_of(&handle, ends.inner, link.header.index).await? {
                if address_of(&message).is_some_and(|address| addresses.contains(&address)) {
                    let gone = handle.address().del(message).execute().await;
                    gone.map_err(|e| refused("remove an address of", ends.inner, &e))?;
                }
            }
            Ok(())
        })
    })?
}

/// What there is; `None` when an end is missing. `ready` only says that both ends are up.
pub fn observe(ends: Ends<'_>) -> Result<Option<Plugged>, LinkError> {
    let outer = netlink(async |handle| {
        let Some(link) = get(&handle, ends.outer).await? else { return Ok(None) };
        let bridge = match controller_of(&link) {
            Some(index) => name_of(&handle, index).await?,
            None => None,
        };
        Ok(Some((is_up(&link), bridge)))
    })?;
    let Some((outer_up, bridge)) = outer else { return Ok(None) };
    netns::inside(ends.namespace, || {
        netlink(async |handle| {
            let Some(link) = get(&handle, ends.inner).await? else { return Ok(None) };
            let addresses = addresses_of(&handle, ends.inner, link.header.index).await?;
            let addresses: BTreeSet<_> = addresses.iter().filter_map(address_of).collect();
            Ok(Some(Plugged { addresses, bridge: bridge.clone(), ready: outer_up && is_up(&link) }))
        })
    })?
}

/// Sees to it that a bridge exists and is up.
pub fn bridge(name: &str) -> Result<(), LinkError> {
    netlink(async |handle| ensure_bridge(&handle, name).await)
}

async fn ensure_bridge(handle: &Handle, name: &str) -> Result<(), LinkError> {
    if get(handle, name).await?.is_none() {
        let made = handle.link().add(LinkBridge::new(name).up().build()).execute().await;
        // Another load balancer's turn may have made it meanwhile.
        if let Err(error) = made
            && get(handle, name).await?.is_none()
        {
            return Err(refused("make bridge", name, &error));
        }
    }
    Ok(())
}

async fn outer_end(handle: &Handle, ends: Ends<'_>, plug: &Plug) -> Result<(), LinkError> {
    if plug.create_bridge {
        ensure_bridge(handle, &plug.bridge).await?;
    }
    let bridge = get(handle, &plug.bridge).await?.ok_or_else(|| LinkError::NoBridge(plug.bridge.clone()))?;

    let has_inner =
        netns::inside(ends.namespace, || netlink(async |handle| Ok(get(&handle, ends.inner).await?.is_some())))??;
    if !has_inner {
        // An outer end without its inner one is a leftover: both are made anew, in one step.
        remove(handle, ends.outer).await?;
        let namespace = netns::open(ends.namespace)?;
        let inner = LinkMessageBuilder::<LinkUnspec>::new().name(ends.inner).setns_by_fd(namespace.as_raw_fd()).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(ends.outer)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(inner)))
            .build();
        handle.link().add(pair).execute().await.map_err(|e| refused("make veth pair", ends.outer, &e))?;
    }
    let outer = get(handle, ends.outer).await?;
    let outer = outer.ok_or_else(|| refused_words("find", ends.outer, "its other end exists, but not this one"))?;
    let mut set = LinkUnspec::new_with_index(outer.header.index).controller(bridge.header.index).up();
    if let Some(mtu) = plug.mtu {
        set = set.mtu(mtu);
    }
    handle.link().set(set.build()).execute().await.map_err(|e| refused("plug into the bridge", ends.outer, &e))
}

async fn inner_end(handle: &Handle, inner: &str, plug: &Plug) -> Result<(), LinkError> {
    if let Some(lo) = get(handle, "lo").await? {
        up(handle, "lo", lo.header.index).await?;
    }
    let link = get(handle, inner).await?.ok_or_else(|| refused_words("find", inner, "no such link"))?;
    let index = link.header.index;
    if let Some(mtu) = plug.mtu {
        let set = LinkUnspec::new_with_index(index).mtu(mtu).build();
        handle.link().set(set).execute().await.map_err(|e| refused("set the mtu of", inner, &e))?;
    }
    tune(inner);
    allow_echoes();

    let held = addresses_of(handle, inner, index).await?;
    let is_new = !held.iter().any(|message| address_of(message) == Some((plug.vip, plug.prefix_len)));
    if is_new {
        let mut request = handle.address().add(index, plug.vip, plug.prefix_len);
        // Nobody else is asked whether they have it: the operator said that it is ours, now.
        if plug.vip.is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        request.execute().await.map_err(|e| refused("give the VIP to", inner, &e))?;
    }
    if is_new && is_up(&link) {
        announce_now(handle, inner, &link).await?;
    }
    up(handle, inner, index).await?;
    match plug.gateway {
        Some(gateway) => default_route(handle, inner, index, gateway).await,
        None => Ok(()),
    }
}

/// The kernel announces addresses (gratuitous ARP, unsolicited neighbour advertisement) when the link comes up, and
/// a second address stays when the first is taken off. Where `/proc/sys` is read-only, clients learn the address
/// by asking, so a failure is no fault.
fn tune(link: &str) {
    for (family, key) in [("ipv4", "arp_notify"), ("ipv6", "ndisc_notify"), ("ipv4", "promote_secondaries")] {
        let _ = std::fs::write(format!("/proc/sys/net/{family}/conf/{link}/{key}"), "1");
    }
}

/// Health monitors of type PING send ICMP echoes as an ordinary user, which a new namespace allows to nobody. Where
/// `/proc/sys` is read-only, the data plane opens a socket for them before it gives up root.
fn allow_echoes() {
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}

/// On a link that is up already: it announces, too, when it is given its hardware address, even the one it has.
async fn announce_now(handle: &Handle, name: &str, link: &LinkMessage) -> Result<(), LinkError> {
    let mac =
        link.attributes.iter().find_map(|a| if let LinkAttribute::Address(mac) = a { Some(mac.clone()) } else { None });
    let Some(mac) = mac else { return Ok(()) };
    let set = LinkUnspec::new_with_index(link.header.index).address(mac).build();
    handle.link().set(set).execute().await.map_err(|e| refused("announce the VIP on", name, &e))
}

async fn default_route(handle: &Handle, name: &str, index: u32, gateway: IpAddr) -> Result<(), LinkError> {
    let route = match gateway {
        IpAddr::V4(gateway) => {
            RouteMessageBuilder::<std::net::Ipv4Addr>::new().output_interface(index).gateway(gateway).onlink().build()
        }
        IpAddr::V6(gateway) => {
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().output_interface(index).gateway(gateway).onlink().build()
        }
    };
    handle.route().add(route).replace().execute().await.map_err(|e| refused("set the default route of", name, &e))
}

async fn up(handle: &Handle, name: &str, index: u32) -> Result<(), LinkError> {
    let set = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(set).execute().await.map_err(|e| refused("bring up", name, &e))
}

async fn remove(handle: &Handle, name: &str) -> Result<(), LinkError> {
    let Some(link) = get(handle, name).await? else { return Ok(()) };
    match handle.link().del(link.header.index).execute().await {
        Ok(()) => Ok(()),
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(refused("remove", name, &error)),
    }
}

async fn get(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, LinkError> {
    one(handle.link().get().match_name(name).execute().try_next().await, name)
}

async fn name_of(handle: &Handle, index: u32) -> Result<Option<String>, LinkError> {
    let link = one(handle.link().get().match_index(index).execute().try_next().await, "a bridge")?;
    let name = |a: &LinkAttribute| if let LinkAttribute::IfName(name) = a { Some(name.clone()) } else { None };
    Ok(link.and_then(|link| link.attributes.iter().find_map(name)))
}

fn one(answer: Result<Option<LinkMessage>, rtnetlink::Error>, name: &str) -> Result<Option<LinkMessage>, LinkError> {
    match answer {
        Ok(link) => Ok(link),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(refused("look at", name, &error)),
    }
}

async fn addresses_of(handle: &Handle, name: &str, index: u32) -> Result<Vec<AddressMessage>, LinkError> {
    let all: Result<Vec<_>, _> = handle.address().get().set_link_index_filter(index).execute().try_collect().await;
    all.map_err(|e| refused("read the addresses of", name, &e))
}

/// `None` for link-local addresses, which the kernel gives by itself.
fn address_of(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let local = |a: &AddressAttribute| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None };
    let plain = |a: &AddressAttribute| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None };
    if message.header.family == AddressFamily::Inet6 && message.header.scope == AddressScope::Link {
        return None;
    }
    let attributes = &message.attributes;
    let ip = attributes.iter().find_map(local).or_else(|| attributes.iter().find_map(plain))?;
    Some((ip, message.header.prefix_len))
}

fn controller_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|a| if let LinkAttribute::Controller(index) = a { Some(*index) } else { None })
}

fn is_up(link: &LinkMessage) -> bool {
    link.header.flags.contains(LinkFlags::Up)
}

fn is_missing(error: &rtnetlink::Error) -> bool {
    const ENODEV: i32 = 19;
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -ENODEV)
}

fn refused(step: &'static str, link: &str, error: &rtnetlink::Error) -> LinkError {
    let why = match error {
        rtnetlink::Error::NetlinkError(message) => io::Error::from_raw_os_error(-message.raw_code()).to_string(),
        other => other.to_string(),
    };
    refused_words(step, link, &why)
}

fn refused_words(step: &'static str, link: &str, why: &str) -> LinkError {
    LinkError::Refused { step, link: link.to_owned(), why: why.to_owned() }
}

/// Runs a conversation with the kernel about the calling thread's namespace. Must not be called from async code.
fn netlink<T: Send>(talk: impl AsyncFnOnce(Handle) -> Result<T, LinkError> + Send) -> Result<T, LinkError> {
    let failed = |error: io::Error| refused_words("talk to the kernel about", "links", &error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        let connection = tokio::spawn(connection);
        let result = talk(handle).await;
        connection.abort();
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::sandbox;

    const ENDS: Ends<'static> = Ends { namespace: "qlbaas-t", inner: "ns-t", outer: "lb-t" };

    fn wanted(vip: &str) -> Plug {
        let vip: IpAddr = vip.parse().unwrap();
        let gateway = if vip.is_ipv4() { "20.20.20.1" } else { "fd00:20::1" };
        Plug {
            vip,
            prefix_len: if vip.is_ipv4() { 24 } else { 64 },
            gateway: Some(gateway.parse().unwrap()),
            bridge: "br-t".into(),
            create_bridge: true,
            mtu: Some(1400),
        }
    }

    #[test]
    fn plugged_changed_and_unplugged() {
        sandbox::run(|| {
            netns::create(ENDS.namespace, None).unwrap();
            assert_eq!(observe(ENDS).unwrap(), None);
            let first = wanted("20.20.20.6");
            for _ in 0..2 {
                plug(ENDS, &first).unwrap();
                let seen = observe(ENDS).unwrap().unwrap();
                assert!(seen.satisfies(&first), "{seen:?}");
                assert_eq!(seen.addresses.len(), 1);
            }
            // The VIP moves: the new address comes beside, the old one goes.
            let second = Plug { bridge: "br-u".into(), ..wanted("20.20.20.7") };
            plug(ENDS, &second).unwrap();
            trim(ENDS, &[(first.vip, 24)]).unwrap();
            let seen = observe(ENDS).unwrap().unwrap();
            assert!(seen.satisfies(&second) && seen.addresses.len() == 1, "{seen:?}");
            let bound =
                netns::inside(ENDS.namespace, || lb_control::listen::listen("20.20.20.7:80".parse().unwrap(), 2));
            assert_eq!(bound.unwrap().unwrap().len(), 2);
            unplug(ENDS).unwrap();
            unplug(ENDS).unwrap();
            assert_eq!(observe(ENDS).unwrap(), None);
            netns::delete(ENDS.namespace).unwrap();
        });
    }

    #[test]
    fn ipv6_is_usable_at_once() {
        sandbox::run(|| {
            netns::create(ENDS.namespace, None).unwrap();
            let wanted = wanted("fd00:20::6");
            plug(ENDS, &wanted).unwrap();
            let bound =
                netns::inside(ENDS.namespace, || lb_control::listen::listen("[fd00:20::6]:80".parse().unwrap(), 1));
            bound.unwrap().unwrap();
            assert!(observe(ENDS).unwrap().unwrap().satisfies(&wanted));
            netns::delete(ENDS.namespace).unwrap();
        });
    }

    #[test]
    fn half_made_links_are_completed() {
        sandbox::run(|| {
            netns::create(ENDS.namespace, None).unwrap();
            let wanted = wanted("20.20.20.6");
            // An outer end whose inner one never arrived.
            netlink(async |handle| {
                let pair = LinkVeth::new(ENDS.outer, "elsewhere").build();
                handle.link().add(pair).execute().await.map_err(|e| refused("make", ENDS.outer, &e))
            })
            .unwrap();
            assert_eq!(observe(ENDS).unwrap(), None);
            plug(ENDS, &wanted).unwrap();
            assert!(observe(ENDS).unwrap().unwrap().satisfies(&wanted));
            // Taken down by somebody.
            netlink(async |handle| {
                let link = get(&handle, ENDS.outer).await?.unwrap();
                let down = LinkUnspec::new_with_index(link.header.index).down().build();
                handle.link().set(down).execute().await.map_err(|e| refused("down", ENDS.outer, &e))
            })
            .unwrap();
            assert!(!observe(ENDS).unwrap().unwrap().ready);
            plug(ENDS, &wanted).unwrap();
            assert!(observe(ENDS).unwrap().unwrap().ready);
            netns::delete(ENDS.namespace).unwrap();
        });
    }

    #[test]
    fn a_missing_bridge_is_explained() {
        sandbox::run(|| {
            netns::create(ENDS.namespace, None).unwrap();
            let error = plug(ENDS, &Plug { create_bridge: false, ..wanted("20.20.20.6") }).unwrap_err();
            assert!(error.to_string().contains("bridge br-t does not exist"), "{error}");
            netns::delete(ENDS.namespace).unwrap();
        });
    }
}
