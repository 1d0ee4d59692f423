//! Which certificates and revocation lists are in use, and a word in time before one ends. On the control thread: when
//! others come into use, when one comes nearer its end, and every six hours.

use std::collections::BTreeMap;

use lb_control::events::{Event, EventKind, Subject};
use lb_control::stats::{CERTIFICATES_MAX, CertificateStats};
use lb_core::config::LoadBalancer;
use lb_core::expiry::{self, Stage};
use lb_core::time::Millis;

use super::table::{Shows, TlsTable};

/// From one look to the next, at most: the calendar may jump.
const LOOK_EVERY_MS: u64 = 6 * 60 * 60 * 1000;

/// All certificates and revocation lists of `table`, which was compiled from `config`: each once, the first to end first.
pub fn in_use(table: &TlsTable, config: &LoadBalancer) -> Vec<CertificateStats> {
    let mut found: BTreeMap<(i64, &std::path::Path), CertificateStats> = BTreeMap::new();
    let user = |shows| match shows {
        Shows::Listener(place) => config.listeners.get(place).map(|listener| format!("listener {}", listener.label())),
        Shows::Pool(place) => config.pools.get(place).map(|pool| format!("pool {}", pool.label())),
    };
    for (shows, certificate) in table.certificates() {
        let not_after_ms = certificate.not_after.saturating_mul(1000);
        let entry = found.entry((not_after_ms, &certificate.path)).or_insert_with(|| CertificateStats {
            path: certificate.path.display().to_string(),
            subject: certificate.subject.clone(),
            names: certificate.names.clone(),
            list_issued_ms: None,
            not_after_ms,
            used_by: Vec::new(),
        });
        entry.used_by.extend(user(shows).filter(|user| !entry.used_by.contains(user)));
    }
    for (shows, list) in table.revocations() {
        let not_after_ms = list.ends.saturating_mul(1000);
        let entry = found.entry((not_after_ms, &list.path)).or_insert_with(|| CertificateStats {
            path: list.path.display().to_string(),
            subject: list.issuer.clone(),
            names: Vec::new(),
            list_issued_ms: Some(list.issued.saturating_mul(1000)),
            not_after_ms,
            used_by: Vec::new(),
        });
        if !entry.names.contains(&list.issuer) {
            entry.names.push(list.issuer.clone());
        }
        entry.used_by.extend(user(shows).filter(|user| !entry.used_by.contains(user)));
    }
    found.into_values().collect()
}

/// The same, as far as it is listed.
pub fn listed(table: &TlsTable, config: &LoadBalancer) -> Vec<CertificateStats> {
    let mut all = in_use(table, config);
    all.truncate(CERTIFICATES_MAX);
    all
}

/// Tells each certificate's last 30, 7 and 1 days and its end, each once.
#[derive(Debug, Default)]
pub struct Countdown {
    told: expiry::Countdown,
    due: Option<Millis>,
}

impl Countdown {
    /// Others are in use: the next look is at once.
    pub fn hasten(&mut self) {
        self.due = None;
    }

    /// Looks if it is time to. Returns what is to be told, and when to look again; never where there is nothing that ends.
    pub fn look(
        &mut self,
        table: &TlsTable,
        config: &LoadBalancer,
        now: Millis,
        unix_ms: u64,
    ) -> (Vec<Event>, Option<Millis>) {
        if table.certificates().next().is_none() && table.revocations().next().is_none() {
            *self = Self::default();
            return (Vec::new(), None);
        }
        if self.due.is_some_and(|due| due > now) {
            return (Vec::new(), self.due);
        }
        let now_ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        let all = in_use(table, config);
        let next_ms = all.iter().filter_map(|certificate| certificate.term().next_stage_ms(now_ms)).min();
        let wait_ms = next_ms.and_then(|next_ms| u64::try_from(next_ms.saturating_sub(now_ms)).ok());
        let due = now.after(wait_ms.map_or(LOOK_EVERY_MS, |wait_ms| wait_ms.min(LOOK_EVERY_MS)));
        self.due = Some(due);
        let news = self.told.look(all.iter().map(|certificate| (&*certificate.path, certificate.term())), now_ms);
        (news.into_iter().map(|(place, stage)| event(&all[place], stage, now_ms)).collect(), Some(due))
    }
}

fn event(certificate: &CertificateStats, stage: Stage, now_ms: i64) -> Event {
    let CertificateStats { path, names, used_by, list_issued_ms, .. } = certificate;
    let (kind, is_for, used, ended) = match list_issued_ms {
        None => ("certificate", "is for", "shown by", "whoever verifies it refuses the connection"),
        Some(_) => ("revocation list", "was made by", "used by", "whoever has to be looked up in it is refused"),
    };
    let subject = Subject { kind: kind.to_owned(), id: path.clone(), name: path.clone() };
    let day =
        jiff::Timestamp::from_millisecond(certificate.not_after_ms).map_or_else(|_| String::new(), |at| at.to_string());
    let effect = match stage {
        Stage::Expired => ended,
        Stage::Far | Stage::Days30 | Stage::Days7 | Stage::Day1 => "",
    };
    Event {
        new: expiry::words(certificate.not_after_ms, now_ms),
        reason: format!("it ends at {day}, {is_for} {} and {used} {}", few(names), few(used_by)),
        effect: effect.to_owned(),
        ..Event::new(EventKind::CertificateExpiry, subject)
    }
}

/// Some of `all`, for one line.
fn few(all: &[String]) -> String {
    const SOME: usize = 4;
    match all.len().checked_sub(SOME) {
        _ if all.is_empty() => "nobody".to_owned(),
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..SOME].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tls::table::Compiler;

    const HOUR_MS: u64 = 60 * 60 * 1000;

    fn document(folder: &Path) -> LoadBalancer {
        let text = format!(
            "loadbalancer:\n  vip_address: 192.0.2.1\n  listeners:\n    - name: a\n      protocol: TERMINATED_HTTPS\n      \
             protocol_port: 443\n      default_tls_container_ref: file:{0}/own.pem\n    - name: b\n      protocol: TERMINATED_HTTPS\n      \
             protocol_port: 444\n      default_tls_container_ref: file:{0}/own.pem\n",
            folder.display()
        );
        lb_core::spec::read("test", &text).unwrap_or_else(|m| panic!("{}", m.rendered))
    }

    #[test]
    fn a_certificate_of_two_listeners_is_told_once_and_looked_at_every_six_hours() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("own.pem"), crate::tls::tests::bundle("weir.test").0).unwrap();
        let config = document(folder.path());
        let table = Compiler::default().compile(&config, &TlsTable::default()).unwrap();
        let listed = listed(&table, &config);
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (&listed[0].names, &listed[0].used_by),
            (&vec!["weir.test".into()], &vec!["listener a".into(), "listener b".into()])
        );

        let end_ms = u64::try_from(listed[0].not_after_ms).unwrap();
        let six_days_before = end_ms - 6 * 24 * HOUR_MS;
        let mut countdown = Countdown::default();
        let (news, next) = countdown.look(&table, &config, Millis(5), six_days_before);
        assert_eq!(next, Some(Millis(5 + 6 * HOUR_MS)));
        let lines: Vec<_> = news.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert!(
            line.starts_with("certificate /") && line.contains("own.pem: expires in 6 days: it ends at "),
            "{line}"
        );
        assert!(line.ends_with("is for weir.test and shown by listener a, listener b"), "{line}");

        // Not before it is time to, and not the same again.
        assert_eq!(countdown.look(&table, &config, Millis(6), end_ms), (Vec::new(), next));
        let (news, next) = countdown.look(&table, &config, Millis(5 + 6 * HOUR_MS), six_days_before + 6 * HOUR_MS);
        assert_eq!((news, next), (Vec::new(), Some(Millis(5 + 12 * HOUR_MS))));
        // Others come into use: at once.
        countdown.hasten();
        let (news, _) = countdown.look(&table, &config, Millis(7 + 6 * HOUR_MS), end_ms);
        assert!(news[0].to_string().contains("has expired today"), "{}", news[0]);
        // Nobody shows any: no further looks.
        assert_eq!(countdown.look(&TlsTable::default(), &config, Millis(8), 0), (Vec::new(), None));
    }

    #[test]
    fn a_folder_is_no_certificate() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("own.pem")).unwrap();
        let config = document(folder.path());
        let refused = Compiler::default().compile(&config, &TlsTable::default()).unwrap_err().to_string();
        assert!(refused.ends_with("own.pem: is a folder: name a file in it"), "{refused}");
        // Nor is one whose files somebody else has read for us.
        std::fs::remove_dir(folder.path().join("own.pem")).unwrap();
        let compiler = Compiler::default();
        let within = folder.path().join("own.pem/a.pem");
        compiler.files.give([(within, crate::tls::tests::bundle("weir.test").0)].into());
        let refused = compiler.compile(&config, &TlsTable::default()).unwrap_err().to_string();
        assert!(refused.ends_with("own.pem: is a folder: name a file in it"), "{refused}");
    }
}
