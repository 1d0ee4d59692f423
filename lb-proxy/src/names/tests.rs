//! Messages read, and names asked for over real sockets of this process; time is paused where time is what matters.

use std::net::IpAddr;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, Rtype, Serial, Ttl};
use domain::rdata::{A, Aaaa, Cname, Soa};
use lb_core::names::{Fault, Found};
use proptest::prelude::*;
use tokio::net::UdpSocket;

use super::lookup::lookup;
use super::message::{Answer, Family, Question, Reading};

fn name(text: &str) -> Name<Vec<u8>> {
    Name::vec_from_str(text).unwrap()
}

/// One record of an answer.
#[derive(Clone, Debug)]
enum Line {
    A(&'static str, u32, [u8; 4]),
    Aaaa(&'static str, u32),
    Alias(&'static str, u32, &'static str),
    /// In the authority: TTL and minimum.
    Soa(u32, u32),
}

/// An answer to `question` (as it was sent).
fn answer(question: &[u8], rcode: Rcode, lines: &[Line]) -> Vec<u8> {
    let question = Message::from_octets(question.to_vec()).unwrap();
    let mut answer = MessageBuilder::new_vec().start_answer(&question, rcode).unwrap();
    for line in lines {
        match line {
            Line::A(owner, ttl, address) => {
                answer.push((name(owner), Ttl::from_secs(*ttl), A::new((*address).into()))).unwrap();
            }
            Line::Aaaa(owner, ttl) => {
                let data = Aaaa::new("2001:db8::1".parse().unwrap());
                answer.push((name(owner), Ttl::from_secs(*ttl), data)).unwrap();
            }
            Line::Alias(owner, ttl, to) => {
                answer.push((name(owner), Ttl::from_secs(*ttl), Cname::new(name(to)))).unwrap();
            }
            Line::Soa(..) => {}
        }
    }
    let mut authority = answer.authority();
    for line in lines {
        if let Line::Soa(ttl, minimum) = line {
            let [serial, times] = [Serial(1), Serial(2)];
            let zeroes = Ttl::from_secs(times.0);
            let data = Soa::new(name("ns"), name("mail"), serial, zeroes, zeroes, zeroes, Ttl::from_secs(*minimum));
            authority.push((name("example.com"), Ttl::from_secs(*ttl), data)).unwrap();
        }
    }
    authority.finish()
}

fn asked() -> Question {
    Question::new(7, "app.example.com", Family::V4).unwrap()
}

fn said(rcode: Rcode, lines: &[Line]) -> Answer {
    match asked().read(&answer(&asked().message(), rcode, lines)) {
        Reading::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn found(addresses: &[[u8; 4]], ttl_s: u32) -> Answer {
    Answer::Found(Found { addresses: addresses.iter().map(|a| IpAddr::from(*a)).collect(), ttl_s })
}

const APP: &str = "App.Example.COM";

#[test]
fn addresses_are_found_along_aliases_with_the_least_ttl() {
    let ok = Rcode::NOERROR;
    assert_eq!(
        said(ok, &[Line::A(APP, 9, [10, 0, 0, 1]), Line::A(APP, 5, [10, 0, 0, 2])]),
        found(&[[10, 0, 0, 1], [10, 0, 0, 2]], 5)
    );
    // In any order, and others' records do not count.
    let lines = [
        Line::A("other.example.com", 1, [10, 0, 0, 9]),
        Line::A("c.example.com", 60, [10, 0, 0, 3]),
        Line::Alias("b.example.com", 4, "c.example.com"),
        Line::Alias(APP, 30, "b.example.com"),
        Line::Aaaa("c.example.com", 1),
    ];
    assert_eq!(said(ok, &lines), found(&[[10, 0, 0, 3]], 4));
    let alias = |to: &str, ttl_s| Answer::Alias { to: to.to_owned(), ttl_s };
    assert_eq!(said(ok, &[Line::Alias(APP, 30, "elsewhere.example.org")]), alias("elsewhere.example.org", 30));
    // In a circle: whoever follows it counts.
    let nowhere = [Line::Alias(APP, 30, ".")];
    assert_eq!(said(ok, &nowhere), Answer::NoAddress { ttl_s: Some(30) }, "an alias to the root leads nowhere");
    let circle = [Line::Alias(APP, 30, "b.example.com"), Line::Alias("b.example.com", 30, APP)];
    assert!(matches!(said(ok, &circle), Answer::Alias { .. }));
}

#[test]
fn no_is_believed_as_long_as_the_zone_says() {
    let soa = Line::Soa(20, 7);
    assert_eq!(said(Rcode::NXDOMAIN, std::slice::from_ref(&soa)), Answer::NoSuchName { ttl_s: Some(7) });
    assert_eq!(said(Rcode::NXDOMAIN, &[]), Answer::NoSuchName { ttl_s: None });
    assert_eq!(said(Rcode::NOERROR, std::slice::from_ref(&soa)), Answer::NoAddress { ttl_s: Some(7) });
    assert_eq!(said(Rcode::NOERROR, &[Line::Aaaa(APP, 5)]), Answer::NoAddress { ttl_s: None });
    let nothing = [Line::Alias(APP, 30, "b.example.com"), soa];
    assert_eq!(said(Rcode::NOERROR, &nothing), Answer::NoAddress { ttl_s: Some(7) });
    assert_eq!(said(Rcode::SERVFAIL, &[]), Answer::Refusal("SERVFAIL".into()));
    assert_eq!(said(Rcode::REFUSED, &[]), Answer::Refusal("REFUSED".into()));
}

#[test]
fn only_answers_to_this_question_are_read() {
    let lines = [Line::A(APP, 9, [10, 0, 0, 1])];
    let reads = |bytes: &[u8]| asked().read(bytes);
    let good = answer(&asked().message(), Rcode::NOERROR, &lines);
    assert!(matches!(reads(&good), Reading::Answer(_)));
    let other_id = answer(&Question::new(8, "app.example.com", Family::V4).unwrap().message(), Rcode::NOERROR, &lines);
    assert_eq!(reads(&other_id), Reading::NotOurs);
    let other_name = answer(&Question::new(7, "b.example.com", Family::V4).unwrap().message(), Rcode::NOERROR, &lines);
    assert_eq!(reads(&other_name), Reading::NotOurs);
    let other_type =
        answer(&Question::new(7, "app.example.com", Family::V6).unwrap().message(), Rcode::NOERROR, &lines);
    assert_eq!(reads(&other_type), Reading::NotOurs);
    assert_eq!(reads(&asked().message()), Reading::NotOurs, "a question");
    let mut cut = good.clone();
    cut[2] |= 2;
    assert_eq!(reads(&cut), Reading::Cut);
    // The head is right and the rest is not there.
    let torn = &good[..good.len() - 3];
    assert_eq!(reads(torn), Reading::Answer(Answer::Refusal("an answer that cannot be read".into())));
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        asked().read(&bytes);
    }

    /// The beginning is an answer to the question, so the rest is looked at.
    #[test]
    fn whatever_follows_a_good_head_is_read_or_refused(
        rest in prop::collection::vec(any::<u8>(), 0..600),
        flips in prop::collection::vec((0_usize..200, any::<u8>()), 0..4),
        counts in any::<[u8; 6]>(),
    ) {
        let lines = [Line::Alias(APP, 30, "b.example.com"), Line::A("b.example.com", 9, [10, 0, 0, 1]), Line::Soa(1, 2)];
        let mut bytes = answer(&asked().message(), Rcode::NOERROR, &lines);
        for (at, byte) in flips {
            let length = bytes.len();
            bytes[12 + at % (length - 12)] ^= byte;
        }
        asked().read(&bytes);
        let mut bytes = asked().message();
        bytes[2] |= 0x80;
        bytes[6..12].copy_from_slice(&counts);
        bytes.extend(rest);
        asked().read(&bytes);
    }
}

/// A server in this process: what it says to each question, in turn for each family.
async fn server(reply: impl Fn(&[u8], usize) -> Vec<Vec<u8>> + Send + 'static) -> std::net::SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 600];
        for n in 0.. {
            let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
            for answer in reply(&bytes[..length], n) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

fn wants_v4(question: &[u8]) -> bool {
    Message::from_octets(question).unwrap().sole_question().unwrap().qtype() == Rtype::A
}

#[tokio::test]
async fn forged_and_torn_datagrams_are_passed_over() {
    let at = server(|question, _| {
        let lines = if wants_v4(question) { vec![Line::A(APP, 5, [10, 0, 0, 1])] } else { vec![] };
        let good = answer(question, Rcode::NOERROR, &lines);
        let mut forged = answer(question, Rcode::NOERROR, &[Line::A(APP, 5, [6, 6, 6, 6])]);
        forged[0] ^= 1;
        vec![forged, b"garbage".to_vec(), Vec::new(), question.to_vec(), good]
    })
    .await;
    let found = lookup(&"app.example.com".parse().unwrap(), &[at]).await.unwrap();
    assert_eq!(found, Found { addresses: vec![[10, 0, 0, 1].into()], ttl_s: 5 });
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_cannot() {
    let broken = server(|question, _| vec![answer(question, Rcode::SERVFAIL, &[])]).await;
    let good = server(|question, _| {
        let line = if wants_v4(question) { Line::A(APP, 5, [10, 0, 0, 1]) } else { Line::Aaaa(APP, 3) };
        vec![answer(question, Rcode::NOERROR, &[line])]
    })
    .await;
    let name = "app.example.com".parse().unwrap();
    let found = lookup(&name, &[broken, good]).await.unwrap();
    assert_eq!((found.addresses.len(), found.ttl_s), (2, 3));
    assert_eq!(lookup(&name, &[broken]).await, Err(Fault::Server("SERVFAIL".into())));
    // Nobody listens there: known at once.
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(lookup(&name, &[nobody]).await, Err(Fault::Silent));
    assert!(lookup(&name, &[nobody, good]).await.is_ok());
}

#[tokio::test]
async fn aliases_are_followed_where_the_server_does_not() {
    let chain = |endless: bool| {
        move |question: &[u8], _: usize| {
            let message = Message::from_octets(question.to_vec()).unwrap();
            let qname = message.sole_question().unwrap().qname().to_string();
            let lines: &[Line] = match qname.as_str() {
                "app.example.com" => &[Line::Alias("app.example.com", 9, "b.example.com")],
                "b.example.com" if endless => &[Line::Alias("b.example.com", 9, "app.example.com")],
                _ if wants_v4(question) => &[Line::A("b.example.com", 30, [10, 0, 0, 1])],
                _ => &[Line::Soa(1, 1)],
            };
            vec![answer(question, Rcode::NOERROR, lines)]
        }
    };
    let name = "app.example.com".parse().unwrap();
    let found = lookup(&name, &[server(chain(false)).await]).await.unwrap();
    assert_eq!(found, Found { addresses: vec![[10, 0, 0, 1].into()], ttl_s: 9 });
    assert_eq!(lookup(&name, &[server(chain(true)).await]).await, Err(Fault::Chain));
}

#[tokio::test(start_paused = true)]
async fn silence_has_an_end() {
    let silent = server(|_, _| Vec::new()).await;
    let began = tokio::time::Instant::now();
    assert_eq!(lookup(&"app.example.com".parse().unwrap(), &[silent, silent]).await, Err(Fault::Silent));
    assert_eq!(began.elapsed().as_secs(), 8, "two servers, two seconds each, twice");
    let eight = [silent; 8];
    assert_eq!(lookup(&"app.example.com".parse().unwrap(), &eight).await, Err(Fault::Silent));
    assert_eq!(began.elapsed().as_secs(), 38, "and never more than thirty seconds");
}
