//! One GET over a Unix socket, written and read by hand: while nothing comes it costs a descriptor and no buffer. An
//! agent has one waiting for each data plane of its node, most of them for days.

use std::io;

use hyper::StatusCode;
use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// Fields a head may have.
const FIELDS_MAX: usize = 32;

/// Sends the question.
pub(crate) async fn ask(stream: &mut UnixStream, uri: &str) -> io::Result<()> {
    // The other side closes when it has answered: the end of the body is the end of the stream.
    let head = format!("GET {uri} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await
}

/// Reads the answer to its end.
pub(crate) async fn answer(stream: &mut UnixStream) -> Result<(StatusCode, Bytes), String> {
    let mut all = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut all).await.map_err(|error| error.to_string())?;
    let (status, length, begin) = head(&all)?;
    let body = Bytes::from(all).slice(begin..);
    // Cut short by the other side's end, or by the limit above.
    if body.len() != length {
        return Err(format!("{} bytes came instead of {length}", body.len()));
    }
    Ok((status, body))
}

/// Status, length of the body, and where it begins.
fn head(all: &[u8]) -> Result<(StatusCode, usize, usize), String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let begin = match response.parse(all).map_err(|error| error.to_string())? {
        httparse::Status::Complete(begin) => begin,
        httparse::Status::Partial => return Err("the connection was closed before the head was whole".into()),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("no status")?;
    let length = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
    Ok((status, length.ok_or("the answer does not say how long it is")?, begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, ClientError};
    use crate::server::{Request, Response, bind_socket, serve};
    use std::time::Duration;

    async fn later(request: Request) -> Response {
        tokio::time::sleep(Duration::from_millis(20)).await;
        match request.path.as_str() {
            "/v" => Response::json(StatusCode::OK, &vec!["x".repeat(100_000); 3]),
            _ => Response::text(StatusCode::NOT_FOUND, "no"),
        }
    }

    #[tokio::test]
    async fn waits_for_an_answer_and_reads_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        tokio::spawn(serve(bind_socket(&path, 0o600, None).unwrap(), later));
        // The limit is for what comes after the wait.
        let client = Client::new(&path).with_timeout(Duration::from_secs(5));
        let said: Vec<String> = client.wait_for("/v?a=1", Duration::from_secs(5)).await.unwrap();
        assert_eq!((said.len(), said[2].len()), (3, 100_000));
        let error = client.wait_for::<String>("/no", Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ClientError::Status { status: StatusCode::NOT_FOUND, .. }), "{error}");
        let hasty = client.with_timeout(Duration::from_millis(5));
        let error = hasty.wait_for::<String>("/v", Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    }

    #[test]
    fn heads_that_are_cut_are_refused() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(head(whole), Ok((StatusCode::OK, 2, whole.len() - 2)));
        for cut in 0..whole.len() - 2 {
            assert!(head(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").is_err());
    }
}
