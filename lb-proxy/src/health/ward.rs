//! One member under watch: what is known of it, and the questions that are due.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lb_core::config::{Member, Pool};
use lb_core::health::{Administrative, Bad, Judgement, Outcome, ProbeResult, Schedule, Spread};
use lb_core::id::{MemberId, MonitorId, PoolId};
use lb_core::member::MemberState;
use lb_core::time::Millis;
use lb_health::{AgentProber, Prober, Target};

/// See the module.
#[derive(Debug)]
pub(super) struct Ward {
    pub(super) pool: PoolId,
    pub(super) member: MemberId,
    /// What workers read. Also names the ward: the same member at the same address keeps it.
    pub(super) state: Arc<MemberState>,
    pub(super) judgement: Judgement,
    /// As of the last event.
    pub(super) administrative: Administrative,
    pub(super) asks: Vec<Ask>,
    /// When its share is due to grow.
    pub(super) share_at: Option<Millis>,
    /// It takes work only when no ordinary member can.
    pub(super) backup: bool,
    /// When it was last up, or down, in milliseconds since 1970.
    pub(super) since_ms: u64,
}

/// One question that is asked again and again.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) who: Who,
    pub(super) schedule: Schedule,
    pub(super) asker: Arc<Asker>,
    pub(super) target: Target,
}

/// On whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Monitor(MonitorId),
    Agent,
}

/// How.
#[derive(Debug)]
pub(super) enum Asker {
    Monitor(Prober),
    Agent(AgentProber),
    #[cfg(test)]
    Panics(std::sync::atomic::AtomicUsize),
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    Result(ProbeResult),
    Line(Result<Box<[u8]>, Bad>),
}

impl Heard {
    /// The question failed here.
    pub(super) fn nothing(who: Who) -> Self {
        let ours = Bad::Ours(libc::ECANCELED);
        match who {
            Who::Monitor(_) => Self::Result(ProbeResult { outcome: Outcome::Failed(ours), took_us: 0 }),
            Who::Agent => Self::Line(Err(ours)),
        }
    }
}

impl Asker {
    pub(super) async fn ask(&self, target: Target) -> Heard {
        match self {
            #[cfg(test)]
            Self::Panics(times) => {
                times.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                panic!("as told");
            }
            Self::Monitor(prober) => Heard::Result(prober.ask(target).await),
            Self::Agent(prober) => Heard::Line(prober.ask(target).await),
        }
    }
}

/// Askers of one pool, compiled once for all its members.
#[derive(Debug)]
pub(super) struct Askers {
    pub(super) pool: PoolId,
    pub(super) each: Vec<(Who, Arc<Asker>)>,
}

impl Ward {
    /// True if a member of `pool` needs somebody to mind it.
    pub(super) fn needed(pool: &Pool) -> bool {
        let by_name = || pool.members.iter().any(|member| member.address.name().is_some());
        !pool.monitors.is_empty() || pool.agent_check.is_some() || pool.slow_start_ms > 0 || by_name()
    }

    pub(super) fn new(pool: &Pool, member: &Member, state: Arc<MemberState>, now: Millis) -> Self {
        Self {
            pool: pool.id,
            member: member.id,
            state,
            judgement: Judgement::new(&pool.monitors, now),
            administrative: Administrative::of(pool, member, None),
            asks: Vec::new(),
            share_at: None,
            backup: member.backup,
            since_ms: super::timeline::unix_ms(),
        }
    }

    /// The questions `pool` asks of `member` now, which listens at `address`. Those that were asked before keep their
    /// place in time. A member in maintenance is not asked, nor one whose name leads nowhere.
    pub(super) fn arrange(
        &mut self,
        (pool, member): (&Pool, &Member),
        address: Option<IpAddr>,
        askers: &Askers,
        places: &mut Places,
        now: Millis,
    ) {
        let known = std::mem::take(&mut self.asks);
        for (who, asker) in &askers.each {
            let spread = places.next();
            let interval_ms = interval_ms(pool, &self.judgement, *who);
            let Some(address) = address.filter(|_| Administrative::of(pool, member, None) != Administrative::Maint)
            else {
                continue;
            };
            let mut schedule = known
                .iter()
                .find(|ask| ask.who == *who)
                .map_or_else(|| Schedule::new(spread, interval_ms, now), |ask| ask.schedule);
            schedule.moved(spread, interval_ms, now);
            let send_proxy = pool.probe_header(member);
            let over_tls = pool.tls.is_some() && !member.is_monitored_elsewhere();
            let address = address_for(pool, member, address, *who);
            let target = Target { address, source: None, send_proxy, over_tls };
            self.asks.push(Ask { who: *who, schedule, asker: Arc::clone(asker), target });
        }
    }
}

/// How soon `who` asks again.
pub(super) fn interval_ms(pool: &Pool, judgement: &Judgement, who: Who) -> u64 {
    match who {
        Who::Monitor(id) => {
            let monitor = pool.monitors.iter().find(|monitor| monitor.id == id);
            monitor.zip(judgement.pace(id)).map_or(1_000, |(monitor, pace)| pace.interval_ms(monitor))
        }
        Who::Agent => pool.agent_check.as_ref().map_or(1_000, |check| check.delay_ms),
    }
}

fn address_for(pool: &Pool, member: &Member, address: IpAddr, who: Who) -> SocketAddr {
    let port = pool.agent_check.as_ref().map(|check| check.port).filter(|_| who == Who::Agent);
    let socket = member.monitor_socket(address);
    port.map_or(socket, |port| SocketAddr::new(socket.ip(), port))
}

/// Places in time for all questions of a data plane, so that they are spread evenly.
#[derive(Debug)]
pub(super) struct Places {
    position: u32,
    count: u32,
    seed: u64,
}

impl Places {
    pub(super) fn new(count: usize, seed: u64) -> Self {
        Self { position: 0, count: count as u32, seed }
    }

    fn next(&mut self) -> Spread {
        let spread = Spread { position: self.position, count: self.count, seed: self.seed };
        self.position += 1;
        spread
    }
}
