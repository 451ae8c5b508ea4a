//! Live parts: events as they happen, sent to a browser that keeps a connection open (server-sent events).
//!
//! Invariants: a browser that reads slowly loses events and is told how many; it holds up nobody but itself, and what
//! waits for it is bounded.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Frame};
use tokio::sync::mpsc;

use crate::feed::{Event, Feed, Filter};

/// Pieces that wait for a browser, each of at most [`PIECE`] decisions.
const WAITING: usize = 2;
/// So many decisions are shown in each turn: more than these nobody reads.
const PIECE: usize = 50;
const TURN: Duration = Duration::from_millis(500);
/// A line that means nothing, so that a browser that is gone is noticed.
const SILENCE: Duration = Duration::from_secs(15);

/// The body of an answer that goes on.
pub(super) struct Live(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Live {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Live {
    /// Begins to send the events that pass the filter, as `show` makes them HTML, as long as whoever
    /// looks may look; none where too many watch already.
    pub(super) fn start(
        feed: &Arc<Feed>,
        filter: Filter,
        show: impl Fn(&Event) -> String + Send + 'static,
        is_alive: impl Fn() -> bool + Send + 'static,
    ) -> Option<Self> {
        let mut viewer = feed.view(filter)?;
        let (sender, pieces) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            while is_alive() {
                let (events, lost) = match tokio::time::timeout(SILENCE, viewer.next()).await {
                    Ok(Some(news)) => news,
                    Ok(None) => return,
                    Err(_) if sender.send(Bytes::from_static(b": still here\n\n")).await.is_err() => return,
                    Err(_) => continue,
                };
                let surplus = events.len().saturating_sub(PIECE);
                let lost = lost + surplus as u64;
                let mut piece = String::new();
                if lost > 0 {
                    piece.push_str(&format!("event: lost\ndata: {lost}\n\n"));
                }
                piece.push_str("event: more\n");
                // The newest first.
                for event in events[surplus..].iter().rev() {
                    for line in show(event).trim().lines() {
                        piece.push_str("data: ");
                        piece.push_str(line);
                        piece.push('\n');
                    }
                }
                piece.push('\n');
                // A browser that does not read is waited for here, while its events are lost and counted.
                if sender.send(piece.into()).await.is_err() {
                    return;
                }
                tokio::time::sleep(TURN).await;
            }
        });
        Some(Self(pieces))
    }
}
