//! A row that goes on through ends of agents and data planes, and what becomes of it when the disk does not.

use super::*;
use lb_control::events::EventKind;

const ID: &str = "1f0c2a52-6a40-4d62-a3d5-0d2f1f6f2a11";

fn id() -> LoadBalancerId {
    LoadBalancerId(ID.parse().unwrap())
}

fn path(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join(format!("{ID}.events"))
}

fn plane_event(seq: u64, kind: EventKind) -> Event {
    let subject = Subject { kind: "member".into(), id: "1".into(), name: "web/web-1".into() };
    let [old, new, reason, by, effect] = ["UP", "DOWN", "HTTP 500", "monitor m", ""].map(str::to_owned);
    Event { seq, at_ms: seq, kind, subject, old, new, reason, by, effect }
}

fn from_plane(row: u64, seqs: std::ops::RangeInclusive<u64>) -> Events {
    let events = seqs.clone().map(|seq| plane_event(seq, EventKind::MemberDown)).collect();
    Events { row, last: *seqs.end(), events }
}

fn tell(timeline: &Arc<Timeline>, new: &str) {
    let kind = EventKind::LoadBalancer;
    timeline.tell(&Told { kind, change: ["", new], reason: "", by: THE_AGENT, effect: "" });
}

async fn seqs(timeline: &Arc<Timeline>, after: u64) -> Vec<u64> {
    timeline.after(0, after).await.events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn both_sources_make_one_row_that_goes_on_after_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Timelines::start(dir.path());
    let timeline = shared.open(id());
    tell(&timeline, "made");
    assert!(timeline.take(from_plane(5, 1..=3)));
    shared.flush().await;
    let before = timeline.after(0, 0).await;
    assert_eq!(before.last, 4);

    // Another agent: what it has seen is not told again, what is new is.
    let shared = Timelines::start(dir.path());
    let timeline = shared.open(id());
    assert_eq!(timeline.after(0, 0).await, before);
    assert_eq!(timeline.plane(), Cursor { row: 5, seq: 3 });
    assert!(timeline.take(from_plane(5, 2..=4)));
    assert!(!timeline.take(from_plane(5, 1..=4)), "known already");
    // Another data plane counts from one again.
    assert!(timeline.take(from_plane(6, 1..=2)));
    assert_eq!(seqs(&timeline, 4).await, [5, 6, 7]);
    assert_eq!(timeline.after(before.row, 6).await.events.len(), 1);
    assert_eq!(timeline.after(before.row + 1, 6).await.events.len(), 7, "another row: the number means nothing");
}

/// An operator's change of a member stands in its document's event; a member's own agent's wish stands nowhere else.
#[tokio::test]
async fn a_change_of_a_member_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let timeline = Timelines::start(dir.path()).open(id());
    let by = |seq, who: &str| Event { by: who.to_owned(), ..plane_event(seq, EventKind::MemberAdministrative) };
    timeline.take(Events { row: 5, last: 2, events: vec![by(1, OPERATOR), by(2, "the member's agent")] });
    let kept = timeline.after(0, 0).await.events;
    assert_eq!(kept.iter().map(|event| event.by.as_str()).collect::<Vec<_>>(), ["the member's agent"]);
}

#[tokio::test]
async fn what_the_agent_tells_itself_is_not_taken_from_the_data_plane() {
    let dir = tempfile::tempdir().unwrap();
    let timeline = Timelines::start(dir.path()).open(id());
    let kinds = [EventKind::DataPlaneStarted, EventKind::Document, EventKind::MemberUp, EventKind::Document];
    let events = (1..).zip(kinds).map(|(seq, kind)| plane_event(seq, kind)).collect();
    timeline.take(Events { row: 5, last: 4, events });
    let kept = timeline.after(0, 0).await.events;
    assert_eq!(kept.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::MemberUp]);
    assert_eq!(timeline.plane().seq, 4, "they would be fetched for ever");
}

#[tokio::test]
async fn old_ones_are_on_disk_only_and_the_oldest_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Timelines::start(dir.path());
    let timeline = shared.open(id());
    let most = 3 * EVENTS_KEPT as u64;
    for seq in 1..=most {
        tell(&timeline, &seq.to_string());
        if seq % 100 == 0 {
            shared.flush().await;
        }
    }
    shared.flush().await;
    assert_eq!(lock(&timeline.state).recent.len(), RECENT_MAX);
    let all = seqs(&timeline, 0).await;
    assert_eq!(all, (most - EVENTS_KEPT as u64 + 1..=most).collect::<Vec<_>>());
    assert_eq!(seqs(&timeline, most - 100).await, (most - 99..=most).collect::<Vec<_>>());
    assert!(seqs(&timeline, most).await.is_empty());
}

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_nothing_but_room() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Timelines::start(dir.path());
    let timeline = shared.open(id());
    // A folder in the way stands for any disk that takes no file, also for root.
    std::fs::create_dir(dir.path().join(format!("{ID}.events.new"))).unwrap();
    for n in 1..=EVENTS_KEPT as u64 + 10 {
        tell(&timeline, &n.to_string());
    }
    assert!(!timeline.save() && lock(&timeline.file).fault_is_told);
    assert_eq!(timeline.after(0, 0).await.events.len(), EVENTS_KEPT, "bounded");
    std::fs::remove_dir(dir.path().join(format!("{ID}.events.new"))).unwrap();
    assert!(timeline.save() && !lock(&timeline.file).fault_is_told);
    assert_eq!(Timelines::start(dir.path()).open(id()).after(0, 0).await.events.len(), EVENTS_KEPT);
    assert_eq!(lock(&timeline.state).recent.len(), RECENT_MAX);
}

#[tokio::test]
async fn forgotten_is_gone_and_another_row_begins() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Timelines::start(dir.path());
    let timeline = shared.open(id());
    tell(&timeline, "made");
    shared.flush().await;
    let row = timeline.after(0, 0).await.row;
    assert!(path(&dir).exists());
    tell(&timeline, "not written yet");
    timeline.forget("", "asked for", "the operator (uid 7)").await;
    shared.flush().await;
    assert!(!path(&dir).exists());
    tell(&timeline, "made");
    shared.flush().await;
    let again = timeline.after(row, 1).await;
    assert!(again.row > row && again.events.len() == 1 && again.last == 1, "{again:?}");
    // Of one nobody knows any more.
    shared.sweep(|known| known == id());
    assert!(path(&dir).exists());
    shared.sweep(|_| false);
    assert!(!path(&dir).exists());
}

fn lines(pieces: &mut follow::Pieces) -> Vec<String> {
    let mut text = Vec::new();
    while let Ok(Ok(piece)) = pieces.try_recv() {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn followers_get_all_in_order_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Timelines::start(dir.path());
    let timeline = shared.open(id());
    let other = shared.open(LoadBalancerId::for_name("other"));
    timeline.rename("web");
    tell(&timeline, "one");
    tell(&timeline, "two");
    let (mut mine, mut all) = (timeline.follow(1).unwrap(), shared.follow().unwrap());
    settle().await;
    tell(&other, "elsewhere");
    tell(&timeline, "three");
    settle().await;
    let told: Vec<Event> = lines(&mut mine).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.iter().map(|event| event.new.as_str()).collect::<Vec<_>>(), ["two", "three"]);
    let told: Vec<NodeEvent> = lines(&mut all).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.iter().map(|told| told.event.new.as_str()).collect::<Vec<_>>(), ["elsewhere", "three"]);
    assert_eq!((told[1].loadbalancer.name.as_str(), told[1].loadbalancer.id.as_str()), ("web", ID));

    timeline.forget("", "asked for", "x").await;
    let last = mine.recv().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&last).contains("\"removed\""));
    assert!(mine.recv().await.is_none(), "the stream goes on");
}

#[tokio::test]
async fn followers_are_few_and_those_that_lag_are_cut() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Timelines::start(dir.path());
    let timeline = shared.open(id());
    let mut all: Vec<_> = (0..FOLLOWERS_MAX).map(|_| shared.follow().unwrap()).collect();
    assert!(shared.follow().is_err() && timeline.follow(0).is_err());
    assert!(timeline.wait(0, 0, Duration::from_secs(1)).await.is_err());
    drop(all.split_off(1));
    settle().await;
    drop(timeline.follow(0).unwrap());
    for n in 0..=LAG_MAX + 20 {
        tell(&timeline, &n.to_string());
    }
    settle().await;
    let mut cut = false;
    while let Some(piece) = all[0].recv().await {
        cut |= piece.is_err();
    }
    assert!(cut, "a reader that missed events is not told");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_news_or_with_time() {
    let dir = tempfile::tempdir().unwrap();
    let timeline = Timelines::start(dir.path()).open(id());
    assert!(timeline.wait(0, 0, Duration::from_secs(60)).await.unwrap().events.is_empty());
    let waiting = tokio::spawn({
        let timeline = timeline.clone();
        async move { timeline.wait(0, 0, Duration::from_secs(60)).await.unwrap() }
    });
    settle().await;
    tell(&timeline, "one");
    assert_eq!(waiting.await.unwrap().events.len(), 1);
}
