//! Giving up what root may do once sockets are bound. Of all capabilities one is kept, to bind a low port when
//! a later document asks for it.

use std::path::Path;

use anyhow::Context;
use caps::{CapSet, Capability, CapsHashSet};
use lb_core::config::{LoadBalancer, LogTarget};
use nix::unistd::{Gid, Uid, User, chown, setgid, setgroups, setuid};

/// Raises the soft limit of descriptors to the hard one: connections are the business of this process.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Descriptors this process may have.
pub fn descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Becomes `user` if the process is root's; does nothing otherwise. Must be called while there is one thread.
pub fn drop_root(user: &str, config: Option<&LoadBalancer>) -> anyhow::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let account = User::from_name(user)
        .with_context(|| format!("cannot look up the user {user}"))?
        .with_context(|| format!("there is no user called {user}"))?;
    if account.uid.is_root() {
        return Ok(());
    }
    give_log_files(config, account.uid, account.gid);
    caps::securebits::set_keepcaps(true).context("cannot keep capabilities")?;
    setgroups(&[account.gid]).context("cannot leave root's groups")?;
    setgid(account.gid).context("cannot change the group")?;
    setuid(account.uid).context("cannot change the user")?;
    let kept = CapsHashSet::from([Capability::CAP_NET_BIND_SERVICE]);
    caps::set(None, CapSet::Effective, &kept).context("cannot set effective capabilities")?;
    caps::set(None, CapSet::Permitted, &kept).context("cannot set permitted capabilities")?;
    rustix::thread::set_no_new_privs(true).context("cannot forbid new privileges")?;
    Ok(())
}

/// Log files that do not exist yet are made now, as the user that will write them.
fn give_log_files(config: Option<&LoadBalancer>, uid: Uid, gid: Gid) {
    let targets = config.iter().flat_map(|c| &c.listeners).map(|l| &l.log.target);
    for target in targets {
        let LogTarget::File(path) = target else { continue };
        let path: &Path = path;
        if !path.exists() && std::fs::File::create(path).is_ok() {
            // If this fails the lines are dropped and counted, as with any sink that cannot be opened.
            let _ = chown(path, Some(uid), Some(gid));
        }
    }
}
