//! L7 policies of a listener that passes TLS through, crossing the border: all they can go by is what a ClientHello says and who
//! sent it, and all they can do is to choose a pool or to close.

use super::l7::{CHANGING, word};
use super::{Border, NodeId, types};
use crate::client_hello::ServerName;
use crate::config::ListenerProtocol;
use crate::config::l7::{CompareType, Comparison, PercentKey, Test};
use crate::spec::mistake::shown;
use types::PolicyAction;

impl Border<'_> {
    /// Reports policies where nothing is read that they could go by.
    pub(super) fn may_have_policies(&mut self, at: NodeId, used: bool, protocol: Option<ListenerProtocol>) {
        if used && protocol == Some(ListenerProtocol::Tcp) {
            let message = "`l7policies` is only for HTTP and HTTPS listeners, and this one is TCP";
            let help = "leave it out; a listener of protocol HTTPS chooses by the server name of its clients";
            self.mistake(self.tree.spot_of_key(at, "l7policies"), message, help.to_owned());
        }
    }

    /// Reports what a policy would do to requests, where none are read.
    pub(super) fn only_what_is_relayed(&mut self, policy: &types::L7Policy, protocol: Option<ListenerProtocol>) {
        let (at, Some(action), Some(ListenerProtocol::Https)) = (policy.at, policy.action, protocol) else { return };
        if matches!(action, PolicyAction::RedirectToUrl | PolicyAction::RedirectPrefix) {
            let message = format!("an HTTPS listener passes TLS through: it cannot answer with {}", word(action));
            let help = "REDIRECT_TO_POOL or REJECT; a listener of protocol TERMINATED_HTTPS can";
            self.mistake(self.tree.spot_of(at, "action"), message, help.to_owned());
        }
        let acts = matches!(action, PolicyAction::Pass | PolicyAction::RedirectToPool);
        let written = |key: &&&str| {
            let entry = self.tree.entry(at, key);
            entry.is_some_and(|entry| !self.tree.is_null(entry.value) && !self.tree.is_rejected(entry.value))
        };
        // Of other actions it is reported already.
        let idle: Vec<&str> = CHANGING.iter().filter(|_| acts).filter(written).copied().collect();
        for key in idle {
            let message = format!("`{key}` is for requests, and an HTTPS listener passes TLS through");
            let help = "leave it out, or make the protocol TERMINATED_HTTPS";
            self.mistake(self.tree.spot_of_key(at, key), message, help.to_owned());
        }
    }

    /// Reports a rule about what such a listener does not see, or about a name that no client can ask for.
    pub(super) fn rule_of_connection(&mut self, at: NodeId, kind: Option<types::RuleType>, test: Option<&Test>) {
        use types::RuleType as Type;
        let Some(kind) = kind else { return };
        if !matches!(kind, Type::HostName | Type::SourceIp | Type::Percent) {
            let message = format!("an HTTPS listener passes TLS through: it sees nothing of {}", kind.word());
            let help = "HOST_NAME, SOURCE_IP or PERCENT; a listener of protocol TERMINATED_HTTPS reads requests";
            self.mistake(self.tree.spot_of(at, "type"), message, help.to_owned());
            return;
        }
        match test {
            Some(Test::HostName(comparison)) => self.asked_name(at, comparison),
            Some(Test::Percent(_, PercentKey::Cookie(_) | PercentKey::Header(_))) => {
                let message = "an HTTPS listener passes TLS through: it sees no cookies and no fields";
                let help = "`SOURCE_IP`; without a key each connection is drawn anew";
                self.mistake(self.tree.spot_of(at, "key"), message, help.to_owned());
            }
            _ => {}
        }
    }

    /// A name with a port, a star or a last dot is nobody's: the rule would never hold.
    fn asked_name(&mut self, at: NodeId, comparison: &Comparison) {
        let Comparison { compare, value } = comparison;
        let is_part = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        let may_be = match compare {
            CompareType::Regex => true,
            CompareType::EqualTo => !value.ends_with('.') && ServerName::parse(value).is_some(),
            CompareType::EndsWith => is_part && !value.ends_with('.'),
            CompareType::StartsWith | CompareType::Contains => is_part,
        };
        if may_be {
            return;
        }
        let message = format!("no client asks for a server with {} in its name", shown(value));
        let help = match value.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') => format!("`compare_type: ENDS_WITH` with {}", shown(rest)),
            _ => "letters, digits, hyphens and dots: no port, no dot at the end, no address".to_owned(),
        };
        self.mistake(self.tree.spot_of(at, "value"), message, help);
    }
}
