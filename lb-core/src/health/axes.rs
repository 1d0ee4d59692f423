//! The two axes of a member's state: what the operator wants, and what is observed. Neither ever writes the other.

use serde::{Deserialize, Serialize};

use super::agent_line::AgentAdmin;
use crate::config::{Member, Pool};

/// What the operator wants of a member, or the member's own agent in the operator's stead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Administrative {
    /// It takes work.
    Ready,
    /// It gets no new work (weight 0), and is still asked.
    Drain,
    /// It is not used and not asked (`admin_state_up: false`).
    Maint,
}

impl Administrative {
    /// The document's word and the agent's: the stricter one holds.
    pub fn of(pool: &Pool, member: &Member, agent: Option<AgentAdmin>) -> Self {
        let document = match (pool.admin_state_up && member.admin_state_up, member.weight) {
            (false, _) => Self::Maint,
            (true, 0) => Self::Drain,
            (true, _) => Self::Ready,
        };
        let agent = match agent {
            Some(AgentAdmin::Maint) => Self::Maint,
            Some(AgentAdmin::Drain) => Self::Drain,
            Some(AgentAdmin::Ready) | None => Self::Ready,
        };
        document.max(agent)
    }
}

/// What is observed of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operational {
    /// Nobody asks: it counts as up.
    NoCheck,
    /// All who have a say agree, or nobody has answered yet.
    Up,
    /// Up, and its share of work still grows.
    Starting,
    /// Somebody says no.
    Down,
}

impl Operational {
    /// True if new work may go there.
    pub fn is_up(self) -> bool {
        self != Self::Down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_word_holds() {
        use Administrative::{Drain, Maint, Ready};
        let mut pool = crate::health::tests::pool("");
        let mut member = pool.members.remove(0);
        for (pool_up, member_up, weight, agent, expected) in [
            (true, true, 1, None, Ready),
            (true, true, 1, Some(AgentAdmin::Ready), Ready),
            (true, true, 1, Some(AgentAdmin::Drain), Drain),
            (true, true, 1, Some(AgentAdmin::Maint), Maint),
            (true, true, 0, None, Drain),
            (true, true, 0, Some(AgentAdmin::Ready), Drain),
            (true, false, 1, Some(AgentAdmin::Ready), Maint),
            (false, true, 1, None, Maint),
            (true, false, 0, Some(AgentAdmin::Drain), Maint),
        ] {
            (pool.admin_state_up, member.admin_state_up, member.weight) = (pool_up, member_up, weight);
            assert_eq!(Administrative::of(&pool, &member, agent), expected);
        }
    }
}
