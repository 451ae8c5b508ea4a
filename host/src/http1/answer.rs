//! The head of an answer: written with the framing of its body (RFC 9112, sections 6 and 7).
//!
//! Pure, but for the clock that tells the date.

use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

use doorward_wire::http1::options_of;
use hyper::body::SizeHint;
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode, Version, header};

use super::body::{Encoder, is_bodiless};
use super::outbox::{Outbox, write_header};

use crate::times::seconds_now;

/// What an answer depends on besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The version of the request.
    pub version: Version,
    /// Only the head was asked for.
    pub head_only: bool,
    /// The connection goes on after it.
    pub keeps: bool,
}

/// Writes a head. The result is how the body is written; none where none is. Where the answer itself says so, the connection
/// ends after it.
///
/// HTTP/1.0 knows no chunks: a body of unknown length ends with the connection.
pub fn write_answer(out: &mut Outbox, parts: &Parts, size: &SizeHint, asked: &mut Asked) -> Option<Encoder> {
    let status = parts.status;
    let modern = asked.version != Version::HTTP_10;
    let buffer = out.buffer();
    buffer.reserve(1 << 10);
    buffer.extend_from_slice(if modern { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
    buffer.extend_from_slice(status.as_str().as_bytes());
    buffer.push(b' ');
    buffer.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    buffer.extend_from_slice(b"\r\n");
    // A change of the protocol says so itself.
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    let mut dated = false;
    for (name, value) in &parts.headers {
        let ours = *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING;
        if !ours && (switches || *name != header::CONNECTION) {
            dated |= *name == header::DATE;
            write_header(buffer, name, value.as_bytes());
        } else if *name == header::CONNECTION {
            asked.keeps &= !options_of(value.as_bytes()).any(|option| option.eq_ignore_ascii_case(b"close"));
        }
    }
    if !dated {
        write_date(buffer);
    }
    if !switches && !asked.keeps {
        buffer.extend_from_slice(b"connection: close\r\n");
    } else if !modern {
        buffer.extend_from_slice(b"connection: keep-alive\r\n");
    }
    let encoder = match size.exact() {
        _ if asked.head_only || is_bodiless(status) => None,
        Some(length) => Some(Encoder::Length(length)),
        None if modern => Some(Encoder::Chunked),
        None => Some(Encoder::Close),
    };
    match encoder {
        Some(encoder) => encoder.announce(out),
        None => write_length_of_no_body(out, status, &parts.headers, size),
    }
    out.buffer().extend_from_slice(b"\r\n");
    encoder
}

/// The length that a body would have that is not sent (RFC 9110, section 8.6): what the answer says of it, or what it is.
fn write_length_of_no_body(out: &mut Outbox, status: StatusCode, headers: &HeaderMap, size: &SizeHint) {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return;
    }
    if let Some(length) = headers.get(header::CONTENT_LENGTH) {
        write_header(out.buffer(), &header::CONTENT_LENGTH, length.as_bytes());
    } else if let Some(length) = size.exact().filter(|length| *length > 0) {
        Encoder::Length(length).announce(out);
    }
}

/// Writes the date (RFC 9110, section 6.6.1), which is made once a second.
fn write_date(buffer: &mut Vec<u8>) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = RefCell::default();
    }
    let now = seconds_now();
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now {
            (*second, *text) = (now, httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now)));
        }
        buffer.extend_from_slice(b"date: ");
        buffer.extend_from_slice(text.as_bytes());
        buffer.extend_from_slice(b"\r\n");
    });
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::*;

    const ASKED: Asked = Asked { version: Version::HTTP_11, head_only: false, keeps: true };

    fn written(response: Response<()>, size: Option<u64>, mut asked: Asked) -> (String, Option<Encoder>) {
        let mut out = Outbox::default();
        let size = size.map_or_else(SizeHint::default, SizeHint::with_exact);
        let encoder = write_answer(&mut out, &response.into_parts().0, &size, &mut asked);
        (String::from_utf8(std::mem::take(out.buffer())).unwrap(), encoder)
    }

    fn answer(status: u16, headers: &[(&str, &str)]) -> Response<()> {
        let builder = headers
            .iter()
            .fold(Response::builder().status(status), |builder, (name, value)| builder.header(*name, *value));
        builder.header("date", "D").body(()).unwrap()
    }

    #[test]
    fn a_body_is_framed_as_its_length_is_known() {
        let check = |size, asked: Asked, lines: &str, encoder| {
            let (head, how) = written(
                answer(200, &[("content-length", "9"), ("transfer-encoding", "x"), ("connection", "y")]),
                size,
                asked,
            );
            let version = if asked.version == Version::HTTP_10 { "1.0" } else { "1.1" };
            assert_eq!(head, format!("HTTP/{version} 200 OK\r\ndate: D\r\n{lines}\r\n"));
            assert_eq!(how, encoder);
        };
        let old = Asked { version: Version::HTTP_10, keeps: false, ..ASKED };
        check(Some(5), ASKED, "content-length: 5\r\n", Some(Encoder::Length(5)));
        check(Some(0), ASKED, "content-length: 0\r\n", Some(Encoder::Length(0)));
        check(None, ASKED, "transfer-encoding: chunked\r\n", Some(Encoder::Chunked));
        check(None, old, "connection: close\r\n", Some(Encoder::Close));
        check(
            Some(5),
            Asked { keeps: true, ..old },
            "connection: keep-alive\r\ncontent-length: 5\r\n",
            Some(Encoder::Length(5)),
        );
        check(
            Some(5),
            Asked { keeps: false, ..ASKED },
            "connection: close\r\ncontent-length: 5\r\n",
            Some(Encoder::Length(5)),
        );
        // What the answer says of a body that is not sent stays.
        check(Some(0), Asked { head_only: true, ..ASKED }, "content-length: 9\r\n", None);
    }

    #[test]
    fn some_answers_have_no_body() {
        let head = |status, headers: &[_], size, asked| written(answer(status, headers), size, asked);
        let only = Asked { head_only: true, ..ASKED };
        assert_eq!(
            head(204, &[("content-length", "0")], Some(0), ASKED).0,
            "HTTP/1.1 204 No Content\r\ndate: D\r\n\r\n"
        );
        assert_eq!(head(304, &[], Some(0), ASKED).0, "HTTP/1.1 304 Not Modified\r\ndate: D\r\n\r\n");
        assert_eq!(head(200, &[], Some(7), only).0, "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-length: 7\r\n\r\n");
        assert_eq!(head(200, &[], None, only).0, "HTTP/1.1 200 OK\r\ndate: D\r\n\r\n");
        let (switch, encoder) = head(101, &[("connection", "upgrade"), ("upgrade", "x")], Some(0), ASKED);
        assert_eq!(switch, "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\ndate: D\r\n\r\n");
        assert_eq!(encoder, None);
    }

    #[test]
    fn an_answer_without_a_date_gets_one() {
        let (head, _) = written(Response::new(()), Some(0), ASKED);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\ndate: ") && head.contains(" GMT\r\n"), "{head}");
    }
}
