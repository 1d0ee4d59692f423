//! Servers that greet like MySQL, and agents.

use std::time::Duration;

use lb_core::config::monitor::{AgentCheck, MysqlProbe, Probe};
use lb_core::health::{Bad, Good, Outcome, Step};
use lb_health::AgentProber;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::script::{TIMEOUT_MS, ask_with, at, member, to_end};

const HELLO: &[u8] = b"\x1c\0\0\0\x0a5.5.5-10.11\0\x01\0\0\0abcdefgh\0\xff\xf7";

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    [&[payload.len() as u8, 0, 0, number], payload].concat()
}

fn mysql(user: Option<&str>) -> Probe {
    Probe::Mysql(MysqlProbe { user: user.map(str::to_owned) })
}

async fn read_packet(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; usize::from(head[0])];
    stream.read_exact(&mut payload).await.unwrap();
    payload
}

#[tokio::test]
async fn mysql_greets_or_says_why_not() {
    let greets = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        member(move |mut stream| {
            let bytes = bytes.clone();
            async move {
                let _ = stream.write_all(&bytes).await;
                let _ = to_end(&mut stream).await;
            }
        })
    };
    assert_eq!(ask_with(mysql(None), greets(HELLO).await).await, Outcome::Passed(Good::Greeting));
    let full = greets(&packet(0, b"\xff\x10\x04Too many connections")).await;
    assert_eq!(ask_with(mysql(None), full).await, Outcome::Failed(Bad::Mysql(1040, "Too many connections".into())));
    let blocked = greets(&packet(0, b"\xff\x69\x04Host 'x' is blocked")).await;
    assert_eq!(ask_with(mysql(None), blocked).await, Outcome::Failed(Bad::Mysql(1129, "Host 'x' is blocked".into())));
    let silent = greets(b"").await;
    assert_eq!(ask_with(mysql(None), silent).await, Outcome::Failed(Bad::Timeout(Step::Answer)));
    let half = greets(&HELLO[..20]).await;
    assert_eq!(ask_with(mysql(None), half).await, Outcome::Failed(Bad::Timeout(Step::Answer)));
    let ssh = greets(b"SSH-2.0-x\r\n").await;
    assert_eq!(
        ask_with(mysql(None), ssh).await,
        Outcome::Failed(Bad::Malformed("not MySQL: \"SSH-2.0-x\\r\\n\"".into()))
    );
}

#[tokio::test]
async fn a_login_may_be_asked_to_prove_itself_otherwise_and_says_goodbye() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let address = member(move |mut stream| {
        let tell = tell.clone();
        async move {
            stream.write_all(HELLO).await.unwrap();
            let login = read_packet(&mut stream).await;
            assert!(login[32..].starts_with(b"weir\0"));
            stream.write_all(&packet(2, b"\xfecaching_sha2_password\0abc\0")).await.unwrap();
            assert_eq!(read_packet(&mut stream).await, b"\0");
            stream.write_all(&packet(4, b"\0\0\0\x02\0\0\0")).await.unwrap();
            tell.send(read_packet(&mut stream).await).unwrap();
        }
    })
    .await;
    assert_eq!(ask_with(mysql(Some("weir")), address).await, Outcome::Passed(Good::Greeting));
    assert_eq!(told.recv().await.unwrap(), b"\x01", "COM_QUIT");
}

#[tokio::test]
async fn a_refused_login_is_told_and_an_endless_one_left() {
    let replies = |reply: &[u8]| {
        let reply = packet(2, reply);
        member(move |mut stream| {
            let reply = reply.clone();
            async move {
                let _ = stream.write_all(HELLO).await;
                read_packet(&mut stream).await;
                for _ in 0..1000 {
                    let _ = stream.write_all(&reply).await;
                }
                let _ = to_end(&mut stream).await;
            }
        })
    };
    let denied = replies(b"\xff\x15\x04#28000Access denied for user 'weir'").await;
    let expected = Bad::Mysql(1045, "Access denied for user 'weir'".into());
    assert_eq!(ask_with(mysql(Some("weir")), denied).await, Outcome::Failed(expected));
    let endless = replies(b"\x01\x03").await;
    let expected = Bad::Malformed("a login without an end".into());
    assert_eq!(ask_with(mysql(Some("weir")), endless).await, Outcome::Failed(expected));
}

fn agent(send: &str) -> AgentProber {
    AgentProber::new(&AgentCheck { port: 1, delay_ms: 1000, timeout_ms: TIMEOUT_MS, send: send.to_owned() })
}

#[tokio::test]
async fn an_agent_says_one_line() {
    let echo = member(|mut stream| async move {
        let mut said = [0; 64];
        let n = stream.read(&mut said).await.unwrap();
        stream.write_all(b"up 50% ").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        stream.write_all(&said[..n]).await.unwrap();
        let _ = to_end(&mut stream).await;
    })
    .await;
    assert_eq!(agent("# hello\n").ask(at(echo)).await.as_deref(), Ok(&b"up 50% # hello"[..]));
    let closes = member(|mut stream| async move { drop(stream.write_all(b"drain").await) }).await;
    assert_eq!(agent("").ask(at(closes)).await.as_deref(), Ok(&b"drain"[..]));
    let silent = member(|mut stream| async move { drop(to_end(&mut stream).await) }).await;
    assert_eq!(agent("").ask(at(silent)).await, Err(Bad::Timeout(Step::Answer)));
    let nothing = member(|stream| async move { drop(stream) }).await;
    assert_eq!(agent("").ask(at(nothing)).await, Err(Bad::Closed(Step::Answer, None)));
    let endless = member(|mut stream| async move { while stream.write_all(b"up").await.is_ok() {} }).await;
    assert_eq!(agent("").ask(at(endless)).await, Err(Bad::Malformed("a line of more than 1024 bytes".into())));
}
