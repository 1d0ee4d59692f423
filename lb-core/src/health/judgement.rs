//! One member's health over all who have a say: its pool's monitors, its agent, and live traffic.
//!
//! A member is up while nobody says no. Who was not asked yet says nothing, so a member starts as up. The thread
//! that asks writes it; workers see only the word it sets in [`crate::member::MemberState`].

use super::agent_line::{AgentAdmin, AgentHealth, AgentLine, AgentWeight};
use super::axes::{Administrative, Operational};
use super::slow_start::{self, WHOLE_PERMILLE};
use super::turn::{Cause, Turn};
use super::{Bad, Change, Machine, Outcome, Pace, ProbeResult, Rules, Standing, Tally};
use crate::config::monitor::HealthMonitor;
use crate::config::{Member, Pool, WEIGHT_MAX};
use crate::id::MonitorId;
use crate::time::Millis;

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    watches: Vec<Watch>,
    agent: Agent,
    /// Its name leads nowhere.
    is_nowhere: bool,
    up: bool,
    since: Millis,
    /// When it last came up from down or left maintenance; `None`: never.
    came_up: Option<Millis>,
    cause: Option<Cause>,
}

/// What one monitor knows of the member.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Whose.
    pub monitor: MonitorId,
    /// How its answers counted.
    pub machine: Machine,
    /// The last answer; `None`: none yet.
    pub last: Option<Last>,
    timeout_ms: u64,
    /// The last timeout was not believed.
    doubted: bool,
}

/// The last answer to a monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// What was heard.
    pub result: ProbeResult,
    /// How it counted.
    pub tally: Option<Tally>,
    /// When.
    pub at: Millis,
}

/// What the member's agent last said; what it never mentioned is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// Whether the member is well.
    pub health: Option<AgentHealth>,
    /// Whether it wants work.
    pub admin: Option<AgentAdmin>,
    /// How much.
    pub weight: Option<AgentWeight>,
    /// How many at once.
    pub maxconn: Option<u32>,
    /// Why.
    pub reason: Box<str>,
}

impl Judgement {
    /// A member nobody has asked yet. Monitors that are administratively down have no say.
    pub fn new(monitors: &[HealthMonitor], now: Millis) -> Self {
        Self::resumed(monitors, &[], now)
    }

    /// A member that stood like this in another process.
    pub fn resumed(monitors: &[HealthMonitor], standings: &[(MonitorId, Standing)], now: Millis) -> Self {
        let watch = |monitor: &HealthMonitor| {
            let known = standings.iter().find(|(id, _)| *id == monitor.id);
            Watch::new(monitor, known.map_or(Standing::Unasked, |(_, standing)| *standing))
        };
        let watches: Vec<Watch> = monitors.iter().filter(|m| m.admin_state_up).map(watch).collect();
        let up = watches.iter().all(|watch| watch.machine.is_up());
        Self { watches, agent: Agent::default(), is_nowhere: false, up, since: now, came_up: None, cause: None }
    }

    /// What another process needs to go on from here.
    pub fn standings(&self) -> Vec<(MonitorId, Standing)> {
        self.watches.iter().map(|watch| (watch.monitor, watch.machine.standing())).collect()
    }

    /// True if new work may go to the member.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Since when it is up, or down.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// What last turned it; `None`: it has been up since it is known.
    pub fn cause(&self) -> Option<&Cause> {
        self.cause.as_ref()
    }

    /// What each monitor knows, in the document's order.
    pub fn watches(&self) -> &[Watch] {
        &self.watches
    }

    /// What its agent last said.
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// How soon that monitor should ask again; `None` if it has no say.
    pub fn pace(&self, monitor: MonitorId) -> Option<Pace> {
        self.watches.iter().find(|watch| watch.monitor == monitor).map(|watch| watch.machine.pace())
    }

    /// An answer to `monitor`. What was our own fault, and one timeout that took far longer than it may (the clock
    /// jumped, or we did not run), do not count.
    pub fn heard(&mut self, monitor: MonitorId, result: ProbeResult, now: Millis) -> Option<Turn> {
        let watch = self.watches.iter_mut().find(|watch| watch.monitor == monitor)?;
        if watch.doubts(&result) {
            return None;
        }
        let passed = match &result.outcome {
            Outcome::Passed(_) => true,
            Outcome::Failed(Bad::Ours(_)) => {
                watch.last = Some(Last { result, tally: None, at: now });
                return None;
            }
            Outcome::Failed(_) => false,
        };
        watch.machine.observe(passed);
        let tally = watch.machine.tally();
        watch.last = Some(Last { result: result.clone(), tally, at: now });
        self.turn(Cause::Probe { monitor, result, tally }, now)
    }

    /// Live traffic failed so often in a row: that counts as one bad answer to every monitor, which should all be
    /// asked at once ([`super::Schedule::hasten`]). Says nothing new of a member that is down.
    pub fn suspected(&mut self, failures: u32, now: Millis) -> Option<Turn> {
        if !self.up {
            return None;
        }
        for watch in &mut self.watches {
            watch.machine.observe(false);
        }
        self.turn(Cause::Traffic { failures }, now)
    }

    /// A line of the member's agent. What it does not mention stays.
    pub fn agent_said(&mut self, line: AgentLine, now: Millis) -> Option<Turn> {
        let agent = &mut self.agent;
        agent.health = line.health.or(agent.health);
        agent.admin = line.admin.or(agent.admin);
        agent.weight = line.weight.or(agent.weight);
        agent.maxconn = line.maxconn.or(agent.maxconn);
        agent.reason.clone_from(&line.reason);
        let health = agent.health?;
        self.turn(Cause::Agent { health, reason: line.reason }, now)
    }

    /// Its name leads nowhere, for the reason given: it is down until it is somewhere, and then it is another one's
    /// turn to judge it. A later reason replaces this one.
    pub fn is_nowhere(&mut self, fault: &str, now: Millis) -> Option<Turn> {
        self.is_nowhere = true;
        let cause = Cause::Name { fault: fault.into() };
        if matches!(self.cause, Some(Cause::Name { .. })) {
            self.cause = Some(cause.clone());
        }
        self.turn(cause, now)
    }

    /// Another document: monitors that stay keep what they know, under their new rules; a new one begins where
    /// the member stands. `with_agent`: there is still an agent that has a say.
    pub fn reloaded(&mut self, monitors: &[HealthMonitor], with_agent: bool, now: Millis) -> Option<Turn> {
        let begin = if self.up { Standing::Unasked } else { Standing::Down { good_in_a_row: 0, of: 1 } };
        let known = std::mem::take(&mut self.watches);
        let watch = |monitor: &HealthMonitor| match known.iter().find(|watch| watch.monitor == monitor.id) {
            Some(known) => known.under(monitor),
            None => Watch::new(monitor, begin),
        };
        self.watches = monitors.iter().filter(|m| m.admin_state_up).map(watch).collect();
        if !with_agent {
            self.agent = Agent::default();
        }
        self.turn(Cause::Document, now)
    }

    /// The operator took the member out of maintenance: nothing is known of it, and it starts slowly.
    pub fn left_maintenance(&mut self, now: Millis) -> Option<Turn> {
        for watch in &mut self.watches {
            *watch =
                Watch { machine: Machine::new(watch.machine.rules()), last: None, doubted: false, ..watch.clone() };
        }
        self.agent = Agent::default();
        self.came_up = Some(now);
        self.turn(Cause::Maintenance, now)
    }

    /// The operational axis at `now`.
    pub fn operational(&self, slow_start_ms: u64, now: Millis) -> Operational {
        if !self.up {
            Operational::Down
        } else if slow_start::share_permille(slow_start_ms, self.came_up, now) < WHOLE_PERMILLE {
            Operational::Starting
        } else if self.watches.is_empty() && self.agent.health.is_none() {
            Operational::NoCheck
        } else {
            Operational::Up
        }
    }

    /// The administrative axis: the document's word and the agent's. An agent that asks for no weight drains.
    pub fn administrative(&self, pool: &Pool, member: &Member) -> Administrative {
        let idle = matches!(self.agent.weight, Some(AgentWeight::Percent(0) | AgentWeight::Absolute(0)));
        let said = Administrative::of(pool, member, self.agent.admin);
        if idle { said.max(Administrative::Drain) } else { said }
    }

    /// The share of its weight that `member` should get at `now`, in thousandths: what its agent asks for, and
    /// slow start. 0: no new work.
    pub fn share_permille(&self, pool: &Pool, member: &Member, now: Millis) -> u32 {
        if self.administrative(pool, member) != Administrative::Ready {
            return 0;
        }
        let most = u32::from(WEIGHT_MAX) * WHOLE_PERMILLE / u32::from(member.weight.max(1));
        let asked = match self.agent.weight {
            None => WHOLE_PERMILLE,
            Some(AgentWeight::Percent(percent)) => (u32::from(percent) * 10).min(most),
            Some(AgentWeight::Absolute(weight)) => {
                (u32::from(weight) * WHOLE_PERMILLE).div_ceil(u32::from(member.weight.max(1)))
            }
        };
        let grown = slow_start::share_permille(pool.slow_start_ms, self.came_up, now);
        (u64::from(asked) * u64::from(grown)).div_ceil(u64::from(WHOLE_PERMILLE)) as u32
    }

    /// How far the member has grown by slow start at `now`, in thousandths: so far its limit has, too.
    pub fn grown_permille(&self, slow_start_ms: u64, now: Millis) -> u32 {
        slow_start::share_permille(slow_start_ms, self.came_up, now)
    }

    /// The limit its agent asks for; `None`: it asks for none, or took it back with `maxconn:0`.
    pub fn limit_asked(&self) -> Option<u32> {
        self.agent.maxconn.filter(|most| *most > 0)
    }

    /// When [`Self::share_permille`] grows by itself; `None`: it does not.
    pub fn next_share_at(&self, slow_start_ms: u64, now: Millis) -> Option<Millis> {
        slow_start::next_step(slow_start_ms, self.came_up, now).filter(|_| self.up)
    }

    /// Sets the verdict anew; a turn if it changed.
    fn turn(&mut self, cause: Cause, now: Millis) -> Option<Turn> {
        let agrees = self.agent.health.is_none_or(AgentHealth::is_up);
        let up = !self.is_nowhere && agrees && self.watches.iter().all(|watch| watch.machine.is_up());
        if up == self.up {
            return None;
        }
        self.up = up;
        self.since = now;
        if up {
            self.came_up = Some(now);
        }
        self.cause = Some(cause.clone());
        Some(Turn { change: if up { Change::CameUp } else { Change::WentDown }, cause })
    }
}

impl Watch {
    fn new(monitor: &HealthMonitor, standing: Standing) -> Self {
        Self {
            monitor: monitor.id,
            machine: Machine::resumed(Rules::from(monitor), standing),
            last: None,
            timeout_ms: monitor.timeout_ms,
            doubted: false,
        }
    }

    fn under(&self, monitor: &HealthMonitor) -> Self {
        let machine = self.machine.with_rules(Rules::from(monitor));
        Self { machine, timeout_ms: monitor.timeout_ms, ..self.clone() }
    }

    /// A timeout is noticed soon after its time. Much later means that we were not there, so the member may have
    /// answered. Two in a row are believed: a member must not stay up because we are slow.
    fn doubts(&mut self, result: &ProbeResult) -> bool {
        let may_take_us = (self.timeout_ms * 2).max(self.timeout_ms + DOUBT_AFTER_MS) * 1000;
        let timeout = matches!(result.outcome, Outcome::Failed(Bad::Timeout(_)));
        self.doubted = timeout && !self.doubted && u64::from(result.took_us) > may_take_us;
        self.doubted
    }
}

/// A timeout noticed later than this, and later than twice its time, is doubted.
const DOUBT_AFTER_MS: u64 = 500;
