//! Promise: every limit holds, and one client's excess is no other client's trouble.

mod back_pressure;
mod bodies;
mod clients;
mod door;
mod floods;
mod heads;
mod http2;
mod shortage;
mod slow_readers;
mod waiting;
