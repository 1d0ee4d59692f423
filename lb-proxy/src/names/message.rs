//! DNS messages: a question written, an answer read (RFC 1035). Pure; bytes from the network end here.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, Name, ParsedName};
use domain::rdata::{A, Aaaa, Cname, Soa};
use lb_core::names::Found;

/// Names that lead to names, in a row.
pub const ALIASES_MAX: usize = 8;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}

/// One question, as it was asked.
#[derive(Debug)]
pub struct Question {
    id: u16,
    name: Name<Vec<u8>>,
    family: Family,
}

/// What a message is to whoever waits for an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// No answer to this question: somebody else's, a late one, or forged.
    NotOurs,
    /// The answer did not fit: it is to be had over TCP.
    Cut,
    /// This.
    Answer(Answer),
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Addresses.
    Found(Found),
    /// The name is an alias, and nothing more is said of the name it leads to.
    Alias {
        /// That name.
        to: String,
        /// For so many seconds.
        ttl_s: u32,
    },
    /// There is no such name.
    NoSuchName {
        /// For so many seconds, if that was said.
        ttl_s: Option<u32>,
    },
    /// There is, but without an address.
    NoAddress {
        /// For so many seconds, if that was said.
        ttl_s: Option<u32>,
    },
    /// The server cannot or will not, in a word.
    Refusal(Box<str>),
}

impl Question {
    /// For addresses of `name`, which is complete. `None` for what is no name.
    pub fn new(id: u16, name: &str, family: Family) -> Option<Self> {
        Some(Self { id, name: Name::vec_from_str(name).ok()?, family })
    }

    fn rtype(&self) -> Rtype {
        match self.family {
            Family::V4 => Rtype::A,
            Family::V6 => Rtype::AAAA,
        }
    }

    /// As it is sent over UDP.
    pub fn message(&self) -> Vec<u8> {
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(self.id);
        message.header_mut().set_rd(true);
        let mut message = message.question();
        // A question fits: nothing else is in the message.
        let _ = message.push((&self.name, self.rtype()));
        message.finish()
    }

    /// Reads what came back.
    pub fn read(&self, bytes: &[u8]) -> Reading {
        let Ok(message) = Message::from_octets(bytes) else { return Reading::NotOurs };
        let header = message.header();
        if header.id() != self.id || !header.qr() || header.opcode() != Opcode::QUERY {
            return Reading::NotOurs;
        }
        let Ok(question) = message.sole_question() else { return Reading::NotOurs };
        if *question.qname() != self.name || question.qtype() != self.rtype() || question.qclass() != Class::IN {
            return Reading::NotOurs;
        }
        if header.tc() {
            return Reading::Cut;
        }
        let answer = match header.rcode() {
            Rcode::NOERROR => self.follow(&message),
            Rcode::NXDOMAIN => Ok(Answer::NoSuchName { ttl_s: negative_ttl_s(&message) }),
            rcode => Ok(Answer::Refusal(rcode_word(rcode))),
        };
        Reading::Answer(answer.unwrap_or_else(|_| Answer::Refusal("an answer that cannot be read".into())))
    }

    /// From the name asked for along its aliases to addresses, as far as the message tells.
    fn follow(&self, message: &Message<&[u8]>) -> Result<Answer, ParseError> {
        let mut name: ParsedName<&[u8]> = *message.sole_question()?.qname();
        let mut ttl_s = u32::MAX;
        for hops in 0..=ALIASES_MAX {
            let step = self.step(message, name)?;
            if !step.addresses.is_empty() {
                return Ok(Answer::Found(Found { addresses: step.addresses, ttl_s: ttl_s.min(step.ttl_s) }));
            }
            ttl_s = ttl_s.min(step.ttl_s);
            match step.alias {
                // Nobody lives at the root, and nothing could be asked about it.
                Some(next) if next.is_root() => return Ok(Answer::NoAddress { ttl_s: Some(ttl_s) }),
                Some(next) => name = next,
                None if hops > 0 && negative_ttl_s(message).is_none() => {
                    return Ok(Answer::Alias { to: name.to_string(), ttl_s });
                }
                None => return Ok(Answer::NoAddress { ttl_s: negative_ttl_s(message) }),
            }
        }
        Ok(Answer::Alias { to: name.to_string(), ttl_s })
    }

    /// What the message says of one name.
    fn step<'m>(&self, message: &'m Message<&[u8]>, name: ParsedName<&'m [u8]>) -> Result<Step<'m>, ParseError> {
        let mut step = Step { addresses: Vec::new(), alias: None, ttl_s: u32::MAX };
        for record in message.answer()? {
            let record = record?;
            if record.class() != Class::IN || record.owner() != name {
                continue;
            }
            let address = match (self.family, record.rtype()) {
                (Family::V4, Rtype::A) => record.to_record::<A>()?.map(|r| IpAddr::V4(r.data().addr())),
                (Family::V6, Rtype::AAAA) => record.to_record::<Aaaa>()?.map(|r| IpAddr::V6(r.data().addr())),
                (_, Rtype::CNAME) => {
                    if let Some(alias) = record.to_record::<Cname<_>>()? {
                        step.alias = Some(*alias.data().cname());
                        step.ttl_s = step.ttl_s.min(record.ttl().as_secs());
                    }
                    None
                }
                _ => None,
            };
            if let Some(address) = address {
                step.addresses.push(address);
                step.ttl_s = step.ttl_s.min(record.ttl().as_secs());
            }
        }
        Ok(step)
    }
}

struct Step<'m> {
    addresses: Vec<IpAddr>,
    alias: Option<ParsedName<&'m [u8]>>,
    ttl_s: u32,
}

/// How long "no" may be believed: the smaller of the zone's SOA's own TTL and its minimum (RFC 2308).
fn negative_ttl_s(message: &Message<&[u8]>) -> Option<u32> {
    let soa = message.authority().ok()?.limit_to_in::<Soa<_>>().flatten().next()?;
    Some(soa.ttl().as_secs().min(soa.data().minimum().as_secs()))
}

fn rcode_word(rcode: Rcode) -> Box<str> {
    match rcode {
        Rcode::FORMERR => "FORMERR".into(),
        Rcode::SERVFAIL => "SERVFAIL".into(),
        Rcode::NOTIMP => "NOTIMP".into(),
        Rcode::REFUSED => "REFUSED".into(),
        other => format!("response code {}", other.to_int()).into(),
    }
}
