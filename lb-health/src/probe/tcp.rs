//! `TCP`: a connection that is made and closed. With a PROXY header, that is sent before it is closed.

use lb_core::config::monitor::ProxyVersion;
use lb_core::health::{Bad, Good, Step};
use lb_core::proxy_protocol::{Ends, Written};

use crate::prober::Target;
use crate::wire::{Wire, begin};

/// Connects and closes. A connection that is there at once costs neither a registration nor a wait.
pub(crate) async fn ask(target: &Target, proxy: Option<ProxyVersion>, step: &mut Step) -> Result<Good, Bad> {
    *step = Step::Connect;
    let begun = begin(target)?;
    let Some(version) = proxy else {
        if !begun.connected {
            begun.established(target.address).await?;
        }
        return Ok(Good::Connected);
    };
    let plain = begun.established(target.address).await?;
    let header = Written::local(version, Ends { source: plain.local()?, destination: target.address });
    Wire::Plain(plain).send(&header, step, Step::ProxyHeader).await?;
    Ok(Good::Connected)
}
