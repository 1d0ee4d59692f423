//! Whatever comes over a control socket as JSON, what is understood of it means the same when it is said again; and names survive the
//! way through a URI.

use lb_control::events::{Event, Events, visible};
use lb_control::instance::{Applied, DocumentReply, Failed, GivenFiles, Health, Imported, Refused};
use lb_control::node::{
    AgentHealth, ApplyReply, DeleteReply, NodeEvent, NotFound, Status, Summary, percent_decode, percent_encode,
};
use lb_control::stats::Stats;
use lb_core::config::LoadBalancer;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) fn run(said: &[u8]) {
    let kinds: &[fn(&[u8])] = &[
        again::<Applied>,
        again::<DocumentReply>,
        again::<Failed>,
        again::<GivenFiles>,
        again::<Health>,
        again::<Imported>,
        again::<Refused>,
        again::<AgentHealth>,
        again::<ApplyReply>,
        again::<DeleteReply>,
        again::<NodeEvent>,
        again::<NotFound>,
        again::<Status>,
        again::<Summary>,
        again::<Stats>,
        again::<Event>,
        again::<Events>,
        again::<LoadBalancer>,
    ];
    for kind in kinds {
        kind(said);
    }
    if let Ok(files) = serde_json::from_slice::<GivenFiles>(said)
        && let Ok(files) = files.decode()
    {
        assert_eq!(GivenFiles::new(files.clone()).decode().ok(), Some(files));
    }
    let Ok(text) = std::str::from_utf8(said) else { return };
    assert_eq!(percent_decode(&percent_encode(text)).as_deref(), Some(text));
    assert!(!visible(text).contains(char::is_control));
    if let Some(decoded) = percent_decode(text) {
        assert_eq!(percent_decode(&percent_encode(&decoded)), Some(decoded));
    }
}

/// What is read as a `T` is written, and read as the same.
fn again<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(said: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(said) else { return };
    let written = serde_json::to_vec(&read).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<T>(&written).expect("what was written can be read"), read);
}
