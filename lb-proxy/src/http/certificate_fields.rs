//! `X-SSL-*`: what a client's certificate says, in fields for members. What the client itself sent under these names
//! never reaches them.

use lb_core::config::InsertHeaders;

use super::h1::fields::{is_spelled_like, write_field};
use crate::tls::facts::{ClientFacts, Told};

/// One of the fields: its name, whether it is wanted, and its value.
struct Row {
    name: &'static str,
    wanted: fn(&InsertHeaders) -> bool,
    /// Of the certificate; without one, `absent`.
    value: fn(&ClientFacts) -> &str,
    absent: &'static str,
}

/// Octavia's fields with HAProxy's values.
const ROWS: [Row; 8] = [
    // A certificate that is not good leads to no connection, so this is 0 wherever it is read.
    Row { name: "X-SSL-Client-Verify", wanted: |i| i.x_ssl_client_verify, value: |_| "0", absent: "0" },
    Row { name: "X-SSL-Client-Has-Cert", wanted: |i| i.x_ssl_client_has_cert, value: |_| "1", absent: "0" },
    Row { name: "X-SSL-Client-DN", wanted: |i| i.x_ssl_client_dn, value: |f| &f.subject, absent: "" },
    Row {
        name: "X-SSL-Client-CN",
        wanted: |i| i.x_ssl_client_cn,
        value: |f| f.subject_field("CN").unwrap_or_default(),
        absent: "",
    },
    Row { name: "X-SSL-Issuer", wanted: |i| i.x_ssl_issuer, value: |f| &f.issuer, absent: "" },
    Row { name: "X-SSL-Client-SHA1", wanted: |i| i.x_ssl_client_sha1, value: |f| &f.sha1, absent: "" },
    Row {
        name: "X-SSL-Client-Not-Before",
        wanted: |i| i.x_ssl_client_not_before,
        value: |f| &f.not_before,
        absent: "",
    },
    Row { name: "X-SSL-Client-Not-After", wanted: |i| i.x_ssl_client_not_after, value: |f| &f.not_after, absent: "" },
];

/// True if a field of that name, or of one that some readers take for it, is written here, and the client's own stops.
pub fn replaces(insert: &InsertHeaders, name: &[u8]) -> bool {
    ROWS.iter().any(|row| (row.wanted)(insert) && is_spelled_like(name, row.name))
}

/// Writes those that are wanted.
pub fn write(insert: &InsertHeaders, told: &Told, out: &mut Vec<u8>) {
    let facts = told.certificate.as_ref();
    for row in ROWS.iter().filter(|row| (row.wanted)(insert)) {
        write_field(out, row.name.as_bytes(), facts.map_or(row.absent, row.value).as_bytes());
    }
}
