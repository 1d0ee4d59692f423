//! Connections at rest: each has had one request answered and waits for nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context;

use crate::scenario::Request;
use crate::wire::Answer;

/// One request on a connection, read to its end; the body's length.
pub fn ask(stream: &mut (impl Read + Write), request: &[u8]) -> anyhow::Result<u64> {
    stream.write_all(request)?;
    let (mut answer, mut bytes) = (Answer::default(), [0; 16384]);
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            answer.end()?;
            return Ok(answer.body);
        }
        if answer.feed(&bytes[..count])? {
            return Ok(answer.body);
        }
    }
}

/// The same; the bytes as they came.
pub fn ask_text(stream: &mut (impl Read + Write), request: &[u8]) -> anyhow::Result<String> {
    stream.write_all(request)?;
    let (mut answer, mut bytes, mut all) = (Answer::default(), [0; 16384], Vec::new());
    loop {
        let count = stream.read(&mut bytes)?;
        all.extend_from_slice(&bytes[..count]);
        if count == 0 || answer.feed(&bytes[..count])? {
            return Ok(String::from_utf8_lossy(&all).into_owned());
        }
    }
}

/// Opens one.
pub fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&to, Duration::from_secs(10)).with_context(|| format!("connect to {to}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens `count`, has one request answered on each, and hands them over.
pub fn open(to: SocketAddr, request: &Request, count: usize) -> anyhow::Result<Vec<TcpStream>> {
    let request = request.bytes();
    let mut all = Vec::with_capacity(count);
    for n in 0..count {
        let mut stream = connect(to)?;
        ask(&mut stream, &request).with_context(|| format!("the first request of idle connection {n}"))?;
        all.push(stream);
    }
    Ok(all)
}
