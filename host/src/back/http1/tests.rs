//! What is sent to a node, and what may come of it: a connection against a node in memory.

use http_body_util::Full;
use hyper::Request;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::upload::{Incoming, Rules, Source};

/// A node, and a connection to it.
fn pair() -> (DuplexStream, Connection) {
    let (node, line) = duplex(1 << 20);
    (node, Connection::new(Box::new(line)))
}

fn request(method: &str, body: Outgoing) -> Outbound {
    Request::builder().method(method).uri("/x?y").header("host", "a").body(body).unwrap().into()
}

fn own(text: &'static str) -> Outgoing {
    Outgoing::Whole(Full::new(Bytes::from_static(text.as_bytes())))
}

/// A client's body of known or unknown length; `None` breaks it off.
struct Client(std::cell::RefCell<Vec<Option<&'static str>>>, Option<u64>);

impl Source for Client {
    fn poll_frame(&self, _: u64, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, crate::upload::Cut>>> {
        let mut parts = self.0.borrow_mut();
        if parts.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(parts.remove(0).map(|part| Frame::data(part.into())).ok_or(crate::upload::Cut)))
    }

    fn size_hint(&self, _: u64) -> SizeHint {
        self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn client(parts: &[Option<&'static str>], length: Option<u64>) -> Outgoing {
    let rules =
        Rules { limit: ("x", 1000), timeout: std::time::Duration::from_secs(9), min_rate: 0, scarce_min_rate: 0 };
    let source = std::rc::Rc::new(Client(std::cell::RefCell::new(parts.to_vec()), length));
    Outgoing::Client(crate::upload::Upload::new(Incoming::Http1(source, 1), rules))
}

#[tokio::test]
async fn a_request_is_framed_by_its_body() {
    let head = |method: &str| format!("{method} /x?y HTTP/1.1\r\nhost: a\r\n");
    let check = async |method: &str, body: Outgoing, rest: &str| {
        let (mut node, connection) = pair();
        let mut outbound = request(method, body);
        let mut exchange = Exchange::new(connection, &mut outbound);
        node.write_all(b"HTTP/1.1 204 \r\n\r\n").await.unwrap();
        let answer = exchange.head(outbound.request.method()).await;
        assert!(answer.is_ok(), "{answer:?}");
        drop(exchange);
        let mut got = String::new();
        node.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, head(method) + rest);
    };
    check("GET", Outgoing::nothing(), "\r\n").await;
    check("POST", Outgoing::nothing(), "content-length: 0\r\n\r\n").await;
    check("POST", own("hello"), "content-length: 5\r\n\r\nhello").await;
    check("PUT", client(&[Some("he"), Some("llo")], Some(5)), "content-length: 5\r\n\r\nhello").await;
    // What comes together goes out together.
    let chunks = "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    check("POST", client(&[Some("he"), Some("llo")], None), chunks).await;
}

/// An answer as it came: its status, its body or why there is none, and whether the connection can be used again.
async fn answer(
    method: &str,
    bytes: &[u8],
    step: usize,
    ends: bool,
) -> (Result<u16, String>, Result<String, String>, bool) {
    let (mut node, connection) = pair();
    let mut outbound = request(method, Outgoing::nothing());
    let mut exchange = Exchange::new(connection, &mut outbound);
    let write = async {
        for part in bytes.chunks(step) {
            node.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        (!ends).then_some(node)
    };
    let read = async {
        let head = match exchange.head(outbound.request.method()).await {
            Ok(head) => head,
            Err(error) => return (Err(error.to_string()), Ok(String::new()), false),
        };
        let mut body = Vec::new();
        let broken = loop {
            match std::future::poll_fn(|cx| exchange.poll_frame(cx)).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => body.extend_from_slice(&data),
                    Err(frame) => body.extend_from_slice(format!("{:?}", frame.into_trailers().unwrap()).as_bytes()),
                },
                Some(Err(error)) => break Some(error.to_string()),
                None => break None,
            }
        };
        let whole = broken.map_or_else(|| Ok(String::from_utf8(body).unwrap()), Err);
        (Ok(head.status().as_u16()), whole, exchange.end().is_some())
    };
    let (node, came) = tokio::join!(write, read);
    drop(node);
    came
}

#[tokio::test]
async fn an_answer_ends_where_its_framing_says() {
    let check = async |method: &str, text: &str, status: u16, body: &str, again: bool| {
        for step in [text.len(), 1, 7] {
            // Only what is framed by the end of the connection needs that.
            let came = answer(method, text.as_bytes(), step, body == "all").await;
            assert_eq!(came, (Ok(status), Ok(body.to_owned()), again), "{text:?} in steps of {step}");
        }
    };
    check("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true).await;
    check("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true).await;
    check("GET", "HTTP/1.1 200 \r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true).await;
    check("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\n", 200, "hi", true)
        .await;
    let trailers = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n";
    check("GET", trailers, 200, "hi{\"x-sum\": \"1\"}", true).await;
    // What Connection names ends here in trailers, too.
    let named = "HTTP/1.1 200 OK\r\nConnection: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\nX-More: 1\r\n\r\n";
    check("GET", named, 200, "hi{\"x-more\": \"1\"}", true).await;
    check("GET", "HTTP/1.1 200 OK\r\n\r\nall", 200, "all", false).await;
    check("GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false).await;
    check("GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", true).await;
    check("GET", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nhi", 200, "hi", false).await;
    check("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 200, "", true).await;
    check("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", true).await;
    check("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", 204, "", true).await;
    check("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", 304, "", true).await;
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    check("GET", &format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), 200, "hi", true).await;
    // Surplus bytes are nobody's answer.
    let surplus =
        answer("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n", 99, false).await;
    assert_eq!(surplus, (Ok(200), Ok("hi".to_owned()), false));
}

#[tokio::test]
async fn an_answer_with_two_meanings_has_none() {
    let headers = |count: usize| "X: y\r\n".repeat(count);
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX y: z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "<html>\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\n{}\r\n", headers(257)),
        &format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(320 << 10)),
    ] {
        let (head, ..) = answer("GET", text.as_bytes(), 50_000, true).await;
        assert!(head.is_err(), "{:.80}", text);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_whole_one() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ne000000000000000\r\nhi",
    ] {
        let (head, body, again) = answer("GET", text.as_bytes(), 99, true).await;
        assert!(head.is_ok() && body.is_err() && !again, "{text:?}");
    }
    for text in ["HTTP", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (head, ..) = answer("GET", text.as_bytes(), 99, true).await;
        assert_eq!(head.unwrap_err(), Error::Closed.to_string(), "{text:?}");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_end_of_the_request_or_instead_of_it() {
    // The node answers, and reads no more.
    let (mut node, connection) = pair();
    let endless: Vec<_> = std::iter::repeat_n(Some("0123456789"), 90).collect();
    let mut outbound = request("POST", client(&endless, None));
    let mut exchange = Exchange::new(connection, &mut outbound);
    node.write_all(b"HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n").await.unwrap();
    drop(node);
    // Not a byte of it could be written, so nothing is told of an answer that belongs to nobody.
    assert!(matches!(exchange.head(&Method::POST).await, Err(Error::Unwritten)));
    let (mut node, connection) = pair();
    let mut outbound = request("POST", client(&[Some("one"), None], None));
    let mut exchange = Exchange::new(connection, &mut outbound);
    node.write_all(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert!(matches!(exchange.head(&Method::POST).await, Err(Error::Request)), "the client broke it off");
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_on_still_gets_its_answer() {
    let (mut node, line) = duplex(64);
    let mut outbound = request("POST", own("a body that does not fit into what the node takes at once, far from it"));
    let mut exchange = Exchange::new(Connection::new(Box::new(line)), &mut outbound);
    let early = async {
        let mut some = [0; 64];
        node.read_exact(&mut some).await.unwrap();
        node.write_all(b"HTTP/1.1 413 \r\nContent-Length: 0\r\n\r\n").await.unwrap();
        drop(node);
    };
    let (head, ()) = tokio::join!(exchange.head(&Method::POST), early);
    assert_eq!(head.unwrap().status(), 413);
    assert!(exchange.end().is_none());
}

#[tokio::test]
async fn a_kept_connection_is_good_while_nothing_comes() {
    let (node, mut connection) = pair();
    assert!(connection.is_quiet());
    drop(node);
    assert!(!connection.is_quiet(), "closed");
    let (mut node, mut connection) = pair();
    node.write_all(b"HTTP/1.1 408 \r\n\r\n").await.unwrap();
    assert!(!connection.is_quiet(), "an answer that nobody asked for");
}

#[tokio::test]
async fn what_belongs_to_the_connection_ends_with_it_but_for_a_change_of_the_protocol() {
    let head = async |text: &str| {
        let (mut node, connection) = pair();
        let mut outbound = request("GET", Outgoing::nothing());
        let mut exchange = Exchange::new(connection, &mut outbound);
        node.write_all(text.as_bytes()).await.unwrap();
        let head = exchange.head(&Method::GET).await.unwrap();
        let names: Vec<_> = head.headers().keys().map(ToString::to_string).collect();
        (names.join(" "), exchange.into_parts().1)
    };
    let (names, _) =
        head("HTTP/1.1 200 OK\r\nKEEP-ALIVE: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\nTE: x\r\nETag: 1\r\n\r\n").await;
    assert_eq!(names, "etag");
    let (names, behind) = head("HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello").await;
    assert_eq!((names.as_str(), &behind[..]), ("connection upgrade", &b"hello"[..]));
}
