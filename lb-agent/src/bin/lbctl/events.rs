//! `lbctl events`: what happened, as a table or for programs, and what happens from now on.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lb_control::events::{Event, visible};
use lb_control::lines::Lines;
use lb_control::node::{Named, NodeClient, NodeError, NodeEvent};

use crate::output::{self, Format};

/// Columns and how wide each is at least: those that follow cannot be measured.
const HEAD: [(&str, usize); 6] =
    [("TIME", 23), ("SUBJECT", 20), ("CHANGE", 24), ("REASON", 36), ("BY", 22), ("EFFECT", 0)];

/// What `lbctl events` is to show.
#[derive(Debug, clap::Args)]
pub(crate) struct EventsOptions {
    /// Its name or id; without: all
    name: Option<String>,
    /// Go on with what happens, until interrupted
    #[arg(long)]
    follow: bool,
    /// Only what happened within this time: 90s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = span)]
    since: Option<Duration>,
}

/// Shows events.
pub(crate) async fn events(node: &NodeClient, options: &EventsOptions, format: Format) -> anyhow::Result<()> {
    let oldest_ms = options
        .since
        .map_or(0, |since| output::now_ms().saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    // Before what is kept is fetched, so that nothing falls between.
    let lines = match (options.follow, &options.name) {
        (true, None) => Some(node.follow_all().await?),
        _ => None,
    };
    let mut all = kept(node, options.name.as_deref()).await?;
    let seen: HashMap<String, u64> =
        all.iter().map(|told| (told.loadbalancer.id.clone(), told.event.seq)).collect::<HashMap<_, _>>();
    all.retain(|told| told.event.at_ms >= oldest_ms);
    all.sort_by_key(|told| told.event.at_ms);
    let shows_name = options.name.is_none();
    if !options.follow {
        return output::value(format, &all, |all| table(all, shows_name));
    }
    if format == Format::Table {
        output::text(&table(&all, shows_name))?;
    } else {
        all.iter().try_for_each(|told| one(told, format, shows_name))?;
    }
    match (lines, &options.name) {
        (Some(lines), _) => follow_all(lines, &seen, format).await,
        (None, Some(name)) => follow_one(node, name, &seen, format).await,
        (None, None) => Ok(()),
    }
}

/// What is kept of the one that is named, or of all; each one's in order.
async fn kept(node: &NodeClient, name: Option<&str>) -> Result<Vec<NodeEvent>, NodeError> {
    let of = match name {
        Some(name) => {
            let status = node.status(name).await?.loadbalancer;
            vec![Named { id: status.id, name: status.name }]
        }
        None => node.list().await?.into_iter().map(|all| Named { id: all.id, name: all.name }).collect(),
    };
    let mut all = Vec::new();
    for loadbalancer in of {
        match node.events(&loadbalancer.id, 0, 0).await {
            Ok(told) => {
                let named = |event| NodeEvent { loadbalancer: loadbalancer.clone(), event };
                all.extend(told.events.into_iter().map(named));
            }
            // Removed since it was listed.
            Err(NodeError::NotFound(_)) if name.is_none() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

async fn follow_all(mut lines: Lines, seen: &HashMap<String, u64>, format: Format) -> anyhow::Result<()> {
    while let Some(line) = next(&mut lines).await? {
        let told: NodeEvent = serde_json::from_slice(&line).context("the agent told something unexpected")?;
        if seen.get(&told.loadbalancer.id).is_none_or(|seen| told.event.seq > *seen) {
            one(&told, format, true)?;
        }
    }
    bail!("the agent has ended the stream")
}

async fn follow_one(node: &NodeClient, name: &str, seen: &HashMap<String, u64>, format: Format) -> anyhow::Result<()> {
    let (id, after) = match seen.iter().next() {
        Some((id, seen)) => (id.clone(), *seen),
        None => (node.status(name).await?.loadbalancer.id, 0),
    };
    let mut lines = node.follow(&id, after).await?;
    while let Some(line) = next(&mut lines).await? {
        let event: Event = serde_json::from_slice(&line).context("the agent told something unexpected")?;
        let loadbalancer = Named { id: id.clone(), name: name.to_owned() };
        one(&NodeEvent { loadbalancer, event }, format, false)?;
    }
    // The load balancer is gone; that was told.
    Ok(())
}

async fn next(lines: &mut Lines) -> anyhow::Result<Option<hyper::body::Bytes>> {
    lines.next().await.context("the agent has ended, or this was too slow for what happens")
}

fn table(all: &[NodeEvent], shows_name: bool) -> String {
    if all.is_empty() {
        return "no events\n".to_owned();
    }
    let rows: Vec<Vec<String>> = all.iter().map(|told| cells(told, shows_name)).collect();
    let head = shows_name.then_some("LOADBALANCER").into_iter().chain(HEAD.map(|(head, _)| head));
    output::table(&head.collect::<Vec<_>>(), &rows)
}

/// One event that has just come.
fn one(told: &NodeEvent, format: Format, shows_name: bool) -> anyhow::Result<()> {
    match format {
        Format::Json => output::text(&serde_json::to_string(told)?),
        Format::Yaml => {
            output::text("---")?;
            output::yaml(told)
        }
        Format::Table => {
            let widths = shows_name.then_some(12).into_iter().chain(HEAD.map(|(_, width)| width));
            let cells = cells(told, shows_name).into_iter().zip(widths);
            let line: Vec<String> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
            output::text(line.join("  ").trim_end())
        }
    }
}

fn cells(told: &NodeEvent, shows_name: bool) -> Vec<String> {
    let event = &told.event;
    let label = |name: &str, id: &str| if name.is_empty() { id.to_owned() } else { name.to_owned() };
    let owner = shows_name.then(|| label(&told.loadbalancer.name, &told.loadbalancer.id));
    let subject = format!("{} {}", event.subject.kind, label(&event.subject.name, &event.subject.id));
    let cells = [local(event.at_ms), subject, event.change(), event.reason.clone(), event.by.clone()];
    let cells = owner.into_iter().chain(cells).chain([event.effect.clone()]);
    cells.map(|cell| visible(&cell).into_owned()).collect()
}

/// Where whoever reads it is.
fn local(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S.%3f").to_string()
}

fn span(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err("a number and s, m, h or d: 10m".into()),
    };
    let number: u64 = number.parse().map_err(|_| "a number and s, m, h or d: 10m")?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time() {
        assert_eq!(span("90s"), Ok(Duration::from_secs(90)));
        assert_eq!((span("10m"), span("1d")), (Ok(Duration::from_secs(600)), Ok(Duration::from_secs(86400))));
        for wrong in ["", "m", "10", "10x", "-1m", "1.5h", "99999999999999999999s"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
