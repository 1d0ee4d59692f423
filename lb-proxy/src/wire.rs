//! Reading from and writing to a connection, with patience noted only while it has to wait.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::timer::Patience;

/// Reads once into `room`; 0 is the end of the stream. `room` is not empty.
pub async fn read(from: &mut ReadHalf<'_>, room: &mut [u8], patience: Patience<'_>) -> io::Result<usize> {
    debug_assert!(!room.is_empty());
    let mut waiting = false;
    poll_fn(|cx| {
        let mut into = ReadBuf::new(room);
        match Pin::new(&mut *from).poll_read(cx, &mut into) {
            Poll::Ready(done) => {
                if waiting {
                    patience.clear();
                }
                Poll::Ready(done.map(|()| into.filled().len()))
            }
            Poll::Pending => {
                if !waiting {
                    patience.start();
                    waiting = true;
                }
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits until there is something to read (or the end, or an error), without holding memory for it.
pub async fn readable(from: &mut ReadHalf<'_>, patience: Patience<'_>) -> io::Result<()> {
    let mut waiting = false;
    let stream: &tokio::net::TcpStream = from.as_ref();
    poll_fn(|cx| match stream.poll_read_ready(cx) {
        Poll::Ready(ready) => {
            if waiting {
                patience.clear();
            }
            Poll::Ready(ready)
        }
        Poll::Pending => {
            if !waiting {
                patience.start();
                waiting = true;
            }
            Poll::Pending
        }
    })
    .await
}

/// Writes all of `parts`, in one call where the kernel takes it. Each bit of progress renews the patience.
pub async fn write_all(
    to: &mut WriteHalf<'_>,
    mut parts: &mut [IoSlice<'_>],
    patience: Patience<'_>,
) -> io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    let mut waiting = false;
    poll_fn(|cx| {
        while !parts.is_empty() {
            match Pin::new(&mut *to).poll_write_vectored(cx, parts) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    IoSlice::advance_slices(&mut parts, n);
                    if waiting {
                        patience.clear();
                        waiting = false;
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if !waiting {
                        patience.start();
                        waiting = true;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}
