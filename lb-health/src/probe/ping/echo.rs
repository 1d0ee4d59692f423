//! ICMP echoes and the errors that come instead, as bytes. Pure.
//!
//! Whoever answers must have seen the question: an answer counts only with the random token that was sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Says in a packet dump whose echo this is.
const MARK: &[u8; 8] = b"weirping";

/// An echo request's length: ICMP head, mark, token.
pub(super) const REQUEST_LEN: usize = 24;

/// What tells one question from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of the socket. The kernel sets it if the socket is a datagram one.
    pub id: u16,
    /// Of the question, among those that are out.
    pub sequence: u16,
    /// Random.
    pub token: u64,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An echo.
    Echo(Ask),
    /// An error instead of one, which quotes as much of the question as its sender liked.
    Error {
        /// Whom was asked.
        asked: IpAddr,
        /// The question's id.
        id: u16,
        /// The question's number.
        sequence: u16,
        /// The question's token, if it is quoted that far.
        token: Option<u64>,
        /// `type << 8 | code`.
        kind: i32,
    },
}

/// ICMP's numbers in one family.
struct Numbers {
    request: u8,
    reply: u8,
    /// Destination unreachable, time exceeded.
    errors: [u8; 2],
}

const V4: Numbers = Numbers { request: 8, reply: 0, errors: [3, 11] };
const V6: Numbers = Numbers { request: 128, reply: 129, errors: [1, 3] };
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// An echo request. IPv6's checksum covers addresses that only the kernel knows, so the kernel sets it.
pub(super) fn request(is_v6: bool, ask: Ask) -> [u8; REQUEST_LEN] {
    let mut packet = [0; REQUEST_LEN];
    packet[0] = if is_v6 { V6.request } else { V4.request };
    packet[4..6].copy_from_slice(&ask.id.to_be_bytes());
    packet[6..8].copy_from_slice(&ask.sequence.to_be_bytes());
    packet[8..16].copy_from_slice(MARK);
    packet[16..24].copy_from_slice(&ask.token.to_be_bytes());
    if !is_v6 {
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// RFC 1071.
fn checksum(packet: &[u8; REQUEST_LEN]) -> u16 {
    let sum: u32 = packet.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Reads what a socket gives: an ICMP packet, after its IPv4 head if the socket is a raw one of IPv4.
pub fn hear(is_v6: bool, is_raw: bool, packet: &[u8]) -> Option<Heard> {
    match (is_v6, is_raw) {
        (false, true) => hear_icmp(&V4, after_ipv4(packet)?.1),
        (false, false) => hear_icmp(&V4, packet),
        (true, _) => hear_icmp(&V6, packet),
    }
}

/// Reads what a datagram socket's error queue gives: the question as it was quoted, and about whom.
pub(super) fn hear_error(is_v6: bool, quoted: &[u8], asked: IpAddr, kind: i32) -> Option<Heard> {
    let numbers = if is_v6 { &V6 } else { &V4 };
    let (id, sequence, token) = question(numbers.request, quoted)?;
    Some(Heard::Error { asked, id, sequence, token, kind })
}

fn hear_icmp(numbers: &Numbers, packet: &[u8]) -> Option<Heard> {
    let &[kind, code, ..] = packet else { return None };
    if kind == numbers.reply {
        let (id, sequence, token) = question(numbers.reply, packet)?;
        return Some(Heard::Echo(Ask { id, sequence, token: token? }));
    }
    if !numbers.errors.contains(&kind) {
        return None;
    }
    let quoted = packet.get(8..)?;
    let (asked, quoted) = if numbers.request == V4.request { after_ipv4(quoted)? } else { after_ipv6(quoted)? };
    let (id, sequence, token) = question(numbers.request, quoted)?;
    Some(Heard::Error { asked, id, sequence, token, kind: i32::from(kind) << 8 | i32::from(code) })
}

/// Id, number and token of a question or its echo.
fn question(kind: u8, packet: &[u8]) -> Option<(u16, u16, Option<u64>)> {
    let (head, said) = packet.split_first_chunk::<8>()?;
    if head[0] != kind || head[1] != 0 {
        return None;
    }
    let token = said.strip_prefix(MARK).and_then(|said| said.first_chunk()).copied().map(u64::from_be_bytes);
    Some((u16::from_be_bytes([head[4], head[5]]), u16::from_be_bytes([head[6], head[7]]), token))
}

/// Destination and payload of an IPv4 packet that carries ICMP.
fn after_ipv4(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let head = packet.first_chunk::<20>()?;
    let len = usize::from(head[0] & 0xf) * 4;
    if head[0] >> 4 != 4 || len < 20 || head[9] != ICMP {
        return None;
    }
    Some((IpAddr::V4(Ipv4Addr::new(head[16], head[17], head[18], head[19])), packet.get(len..)?))
}

/// The same of an IPv6 packet; ours have no extension heads.
fn after_ipv6(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (head, payload) = packet.split_first_chunk::<40>()?;
    if head[0] >> 4 != 6 || head[6] != ICMP_V6 {
        return None;
    }
    let destination: [u8; 16] = head[24..].try_into().ok()?;
    Some((IpAddr::V6(Ipv6Addr::from(destination)), payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Ask = Ask { id: 0x1234, sequence: 0xfffe, token: 0x0123_4567_89ab_cdef };

    fn ipv4(destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, ICMP, 0, 0, 10, 0, 0, 1];
        packet.extend_from_slice(&destination);
        packet.extend_from_slice(&[1; 4]);
        packet.extend_from_slice(payload);
        packet
    }

    fn reply(is_v6: bool) -> Vec<u8> {
        let mut packet = request(is_v6, ASK).to_vec();
        packet[0] = if is_v6 { V6.reply } else { V4.reply };
        packet
    }

    #[test]
    fn the_checksum_makes_the_sum_of_all_words_ones() {
        let packet = request(false, ASK);
        let sum: u32 = packet.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn echoes_are_heard_and_other_packets_are_not() {
        assert_eq!(hear(false, false, &reply(false)), Some(Heard::Echo(ASK)));
        assert_eq!(hear(true, false, &reply(true)), Some(Heard::Echo(ASK)));
        assert_eq!(hear(true, true, &reply(true)), Some(Heard::Echo(ASK)));
        assert_eq!(hear(false, true, &ipv4([10, 0, 0, 2], &reply(false))), Some(Heard::Echo(ASK)));
        assert_eq!(hear(false, false, &request(false, ASK)), None, "our own question, looped back");
        assert_eq!(hear(false, false, &reply(false)[..20]), None, "without its token");
        assert_eq!(hear(false, true, &[0x4f; 30]), None);
        assert_eq!(hear(true, true, &[]), None);
    }

    #[test]
    fn errors_tell_which_question_they_are_about() {
        let asked = IpAddr::from([10, 0, 0, 9]);
        let mut error = vec![3, 1, 0, 0, 0, 0, 0, 0];
        error.extend(ipv4([10, 0, 0, 9], &request(false, ASK)));
        let (id, sequence) = (ASK.id, ASK.sequence);
        let heard = |token| Some(Heard::Error { asked, id, sequence, token, kind: 0x301 });
        assert_eq!(hear(false, true, &ipv4([10, 0, 0, 1], &error)), heard(Some(ASK.token)));
        let short = error.len() - 16;
        assert_eq!(hear(false, true, &ipv4([10, 0, 0, 1], &error[..short])), heard(None));
        assert_eq!(hear(false, true, &ipv4([10, 0, 0, 1], &error[..short - 1])), None);
        assert_eq!(hear_error(false, &request(false, ASK), asked, 0x301), heard(Some(ASK.token)));

        let mut inner = vec![0x60, 0, 0, 0, 0, 24, ICMP_V6, 64];
        inner.extend([0; 16]);
        inner.extend(Ipv6Addr::LOCALHOST.octets());
        let error = [&[1, 3, 0, 0, 0, 0, 0, 0], &inner[..], &request(true, ASK)].concat();
        let asked = IpAddr::V6(Ipv6Addr::LOCALHOST);
        assert_eq!(
            hear(true, true, &error),
            Some(Heard::Error { asked, id, sequence, token: Some(ASK.token), kind: 0x103 })
        );
    }
}
