//! `MYSQL`: the greeting, and with a user a login without a password, ended as a client ends it.
//!
//! A server counts a connection that ends after the greeting as an interrupted handshake, and may block a host after
//! many of them (`max_connect_errors`). A login, even a refused one, is not counted like that: that is what the user is for.

pub mod packet;

use lb_core::config::monitor::{MysqlProbe, ProxyVersion};
use lb_core::health::{Bad, Good, Step};
use lb_core::proxy_protocol::{Ends, Written};

use crate::prober::Target;
use crate::wire::{Wire, connect};
use packet::{Greeting, LoginReply, Packet};

/// Replies to a login at most: a switch of method, more about it, and the end.
const REPLIES_MAX: usize = 4;

/// A MySQL probe.
#[derive(Debug)]
pub(crate) struct Mysql {
    user: Option<Box<str>>,
}

impl Mysql {
    pub(crate) fn new(probe: &MysqlProbe) -> Self {
        Self { user: probe.user.as_deref().map(Into::into) }
    }
}

/// Reads the greeting and logs in if there is a user.
pub(crate) async fn ask(
    mysql: &Mysql,
    target: &Target,
    proxy: Option<ProxyVersion>,
    step: &mut Step,
) -> Result<Good, Bad> {
    let plain = connect(target, step).await?;
    let ends = proxy.map(|version| Ok::<_, Bad>((version, plain.local()?))).transpose()?;
    let mut wire = Wire::Plain(plain);
    if let Some((version, source)) = ends {
        let header = Written::local(version, Ends { source, destination: target.address });
        wire.send(&header, step, Step::ProxyHeader).await?;
    }
    let mut said = Vec::new();
    let greeting = read(&mut wire, &mut said, step).await?;
    match packet::greeting(&greeting.payload) {
        Ok(Greeting::Hello) => {}
        Ok(Greeting::Refusal(code, words)) => return Err(Bad::Mysql(code, words)),
        Err(why) => return Err(Bad::Malformed(why)),
    }
    if let Some(user) = &mysql.user {
        let login = packet::login(user, greeting.number.wrapping_add(1));
        wire.send(&login, step, Step::Send).await?;
        logged_in(&mut wire, &mut said, step).await?;
        wire.send(packet::QUIT, step, Step::Send).await?;
    }
    Ok(Good::Greeting)
}

async fn logged_in(wire: &mut Wire, said: &mut Vec<u8>, step: &mut Step) -> Result<(), Bad> {
    for _ in 0..REPLIES_MAX {
        let reply = read(wire, said, step).await?;
        match packet::login_reply(&reply.payload).map_err(Bad::Malformed)? {
            LoginReply::Welcome => return Ok(()),
            LoginReply::Refusal(code, words) => return Err(Bad::Mysql(code, words)),
            LoginReply::Switch(answer) => {
                let answer = packet::framed(answer, reply.number.wrapping_add(1));
                wire.send(&answer, step, Step::Send).await?;
            }
            LoginReply::GoOn => {}
        }
    }
    Err(Bad::Malformed("a login without an end".into()))
}

/// The next packet; what came after it stays in `said`.
async fn read(wire: &mut Wire, said: &mut Vec<u8>, step: &mut Step) -> Result<Packet, Bad> {
    loop {
        if let Some((packet, len)) = packet::first(said).map_err(Bad::Malformed)? {
            said.drain(..len);
            return Ok(packet);
        }
        if wire.read(said, step).await? == 0 {
            return Err(Bad::Closed(Step::Answer, None));
        }
    }
}
