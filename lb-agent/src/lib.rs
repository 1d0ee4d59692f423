//! Minds the load balancers of a node: keeps their documents, and sees to it that what runs is what they say.
//!
//! [`node`] knows all of them; [`store`] keeps their documents through crashes. For each one a [`keeper`] compares
//! what is [`desired`] with what is [`actual`], lets [`reconcile`] (pure) say what to do, and its [`hands`] do it:
//! [`netns`] and [`link`] make its namespace and plug its VIP, [`instance`] runs its data plane. [`api`] is how people
//! and tools talk to the agent, [`status`] what they are shown, [`timeline`] what happened.

pub mod actual;
pub mod api;
pub mod config;
pub mod desired;
mod explain;
mod files;
pub mod hands;
pub mod instance;
pub mod keeper;
pub mod link;
pub mod log;
pub mod netns;
pub mod node;
pub mod reconcile;
pub mod secret;
pub mod status;
pub mod store;
#[cfg(test)]
mod testing;
pub mod timeline;

use std::error::Error;
use std::path::PathBuf;

/// An error and its causes in one line; a cause whose words the line already ends with is not said again.
pub fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.ends_with(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}

/// A program of ours: beside the running one, else in `PATH`.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.iter().filter_map(|own| own.parent()).map(|folder| folder.join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&path).map(|folder| folder.join(name)).collect();
    beside.chain(listed).find(|candidate| candidate.is_file())
}
