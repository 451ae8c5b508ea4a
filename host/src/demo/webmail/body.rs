//! The body of an answer: whole, a download of a known pattern, or events that tick.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior};

/// The pattern's period: byte number `n` of a download is `n % 251`. A prime, so that no block size hides a slip.
const PERIOD: u8 = 251;

/// Bytes in one frame of a download: whole periods, so that each frame is the same bytes.
const BLOCK: usize = 64 * PERIOD as usize;

/// How many events `/events` sends before it ends.
const TICKS: u32 = 3;

/// The time between two events. Tests of this file's neighbours need not wait for it.
const BEAT: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(1) };

/// What goes out after the head.
pub(super) enum Body {
    /// Bytes at hand; `None` when they are sent.
    Whole(Option<Bytes>),
    /// So many bytes of the pattern, cut from one block.
    Download {
        /// What is still to be sent.
        left: u64,
        /// One block of the pattern.
        block: Bytes,
    },
    /// An event each second, the first at once.
    Ticks {
        /// Beats each second.
        timer: Interval,
        /// How many were sent.
        sent: u32,
        /// Whose events these are.
        node: String,
    },
}

impl Body {
    /// These bytes.
    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::Whole(Some(bytes.into()))
    }

    /// So many bytes of the pattern, made as they are sent.
    pub(super) fn download(bytes: u64) -> Self {
        let block: Vec<u8> = (0..PERIOD).cycle().take(BLOCK).collect();
        Self::Download { left: bytes, block: block.into() }
    }

    /// Server-sent events, one a second.
    pub(super) fn ticks(node: &str) -> Self {
        let mut timer = tokio::time::interval(BEAT);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Ticks { timer, sent: 0, node: node.to_owned() }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Self::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()),
            Self::Download { left: 0, .. } | Self::Ticks { sent: TICKS, .. } => None,
            Self::Download { left, block } => {
                let length = usize::try_from(*left).unwrap_or(BLOCK).min(BLOCK);
                *left -= length as u64;
                Some(block.slice(..length))
            }
            Self::Ticks { timer, sent, node } => {
                ready!(timer.poll_tick(cx));
                *sent += 1;
                let data = serde_json::json!({"node": node, "tick": sent});
                Some(format!("event: tick\nid: {sent}\ndata: {data}\n\n").into())
            }
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Download { left, .. } => *left == 0,
            Self::Ticks { sent, .. } => *sent == TICKS,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Download { left, .. } => SizeHint::with_exact(*left),
            Self::Ticks { .. } => SizeHint::default(),
        }
    }
}
