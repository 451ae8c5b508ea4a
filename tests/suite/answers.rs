//! What the standards ask of whoever reads an answer, one MUST a row: RFC 9110 (HTTP), 9112 (HTTP/1.1) and 6265 (cookies).
//! The node says the bytes, the browser is seen to get what is right.

use harness::{Answer, Request};

use crate::support::{log_in, one_worker, webmail};

/// What the browser gets.
enum Gets {
    /// This status and body; these headers with exactly these lines.
    Answer(u16, &'static str, &'static [(&'static str, &'static [&'static str])]),
    /// 502: the answer has no meaning.
    BadGateway,
    /// A head, and a body that is seen not to be whole.
    Broken,
}
use Gets::{Answer as A, BadGateway, Broken};

struct Must {
    section: &'static str,
    method: &'static str,
    says: &'static str,
    gets: Gets,
}

const fn must(section: &'static str, says: &'static str, gets: Gets) -> Must {
    Must { section, method: "GET", says, gets }
}

const fn head(section: &'static str, says: &'static str, gets: Gets) -> Must {
    Must { section, method: "HEAD", says, gets }
}

/// In the bytes, `$` is CR LF, and `~` a good status line with it.
const MUSTS: &[Must] = &[
    // Status line and lines in general.
    must("9112, 2.2: a lone CR is invalid, or a blank", "~X: a\rb$Content-Length: 0$$", BadGateway),
    must(
        "9112, 2.2: a line before the first header that begins with a blank",
        "~ X: y$Content-Length: 0$$",
        BadGateway,
    ),
    must("9112, 4: the reason may be missing", "HTTP/1.1 200$Content-Length: 2$$hi", A(200, "hi", &[])),
    must("9112, 4: the reason may be anything", "HTTP/1.1 404 n\u{e9}ant$Content-Length: 2$$hi", A(404, "hi", &[])),
    must("9110, 15: a status that is not known", "HTTP/1.1 299 X$Content-Length: 2$$hi", A(299, "hi", &[])),
    must("9110, 15: a status has three digits", "HTTP/1.1 2000 X$Content-Length: 2$$hi", BadGateway),
    must("9110, 2.5: another major version", "HTTP/2.0 200 OK$Content-Length: 2$$hi", BadGateway),
    // Header lines.
    must(
        "9112, 5.1: a blank before the colon goes",
        "~X-A : y$Content-Length: 2$$hi",
        A(200, "hi", &[("x-a", &["y"])]),
    ),
    must(
        "9112, 5.1: also where it frames the body",
        "~Content-Length \t: 2$$hi",
        A(200, "hi", &[("content-length", &["2"])]),
    ),
    must("9112, 5.1: also where it frames the body", "~Transfer-Encoding : chunked$$2$hi$0$$", A(200, "hi", &[])),
    must(
        "9112, 5.1: also of a cookie",
        "~Set-Cookie : a=1$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=1"])]),
    ),
    must("9112, 5.1: a blank in a name", "~X A: y$Content-Length: 0$$", BadGateway),
    must("9112, 5.2: a folded line: 502, or blanks", "~X: a$ b$Content-Length: 0$$", BadGateway),
    must(
        "9110, 5.5: blanks around a value are none of it",
        "~X-A: \t a b \t$Content-Length: 0$$",
        A(200, "", &[("x-a", &["a b"])]),
    ),
    must("9110, 5.5: NUL is invalid, or a blank", "~X: a\0b$Content-Length: 0$$", BadGateway),
    must("9110, 5.5: bytes beyond ASCII stay", "~X-A: \u{e9}$Content-Length: 0$$", A(200, "", &[("x-a", &["\u{e9}"])])),
    must(
        "9110, 5.3: the order of lines stays",
        "~X-A: 2$X-B: 0$x-a: 1$Content-Length: 0$$",
        A(200, "", &[("x-a", &["2", "1"])]),
    ),
    must("9110, 5.1: unknown headers go on", "~X-Unknown: 1$Content-Length: 0$$", A(200, "", &[("x-unknown", &["1"])])),
    must(
        "9110, 5.6.1.2: empty elements of a list",
        "~Connection: , ,x-a,$X-A: 1$Content-Length: 2$$hi",
        A(200, "hi", &[("x-a", &[])]),
    ),
    // What is of one connection.
    must(
        "9110, 7.6.1: what Connection names",
        "~Connection: X-A$Connection: x-b$X-A: 1$X-B: 2$X-C: 3$Content-Length: 0$$",
        A(200, "", &[("x-a", &[]), ("x-b", &[]), ("x-c", &["3"])]),
    ),
    must(
        "9110, 7.6.1: also where it stands before",
        "~X-A: 1$X-A: 2$Connection: keep-alive, X-A$Content-Length: 0$$",
        A(200, "", &[("x-a", &[])]),
    ),
    must(
        "9110, 7.6.1: also in trailers",
        "~Connection: x-a$Transfer-Encoding: chunked$$2$hi$0$X-A: 1$$",
        A(200, "hi", &[]),
    ),
    must(
        "9110, 7.6.1: what is known to be of it",
        "~Keep-Alive: 5$Proxy-Connection: x$TE: x$Upgrade: h2c$Proxy-Authenticate: Basic$Content-Length: 0$$",
        A(
            200,
            "",
            &[
                ("keep-alive", &[]),
                ("proxy-connection", &[]),
                ("te", &[]),
                ("upgrade", &[]),
                ("proxy-authenticate", &[]),
            ],
        ),
    ),
    must("9110, 7.8: 101 that nobody asked for", "HTTP/1.1 101 X$Connection: upgrade$Upgrade: websocket$$", BadGateway),
    // Interim answers.
    must(
        "9110, 15.2: any number of them, not expected",
        "HTTP/1.1 100 Continue$$HTTP/1.1 103 X$Link: </a>$$HTTP/1.1 199 X$$~Content-Length: 2$$hi",
        A(200, "hi", &[("link", &[])]),
    ),
    must(
        "9112, 6.3: they have no body, whatever they say",
        "HTTP/1.1 103 X$Content-Length: 5$$~Content-Length: 2$$hi",
        A(200, "hi", &[]),
    ),
    must(
        "9112, 6.3: they have no body, whatever they say",
        "HTTP/1.1 102 X$Transfer-Encoding: chunked$$~Content-Length: 2$$hi",
        A(200, "hi", &[]),
    ),
    // Which answers have no body.
    head("9112, 6.3: HEAD", "~Content-Length: 7$$", A(200, "", &[("content-length", &["7"])])),
    head("9112, 6.3: HEAD", "~Transfer-Encoding: chunked$$", A(200, "", &[])),
    must("9112, 6.3: 204", "HTTP/1.1 204 X$Content-Length: 7$$", A(204, "", &[("content-length", &[])])),
    must("9112, 6.3: 204", "HTTP/1.1 204 X$Transfer-Encoding: chunked$$", A(204, "", &[("transfer-encoding", &[])])),
    must("9112, 6.3: 304", "HTTP/1.1 304 X$Content-Length: 7$ETag: \"x\"$$", A(304, "", &[("etag", &["\"x\""])])),
    must("9112, 6.3: 304", "HTTP/1.1 304 X$Transfer-Encoding: chunked$$", A(304, "", &[])),
    // Where a body ends.
    must("9112, 6.3: without a length, at the end of the connection", "~$all of it", A(200, "all of it", &[])),
    must(
        "9110, 8.6: several lengths that are the same",
        "~Content-Length: 2$Content-Length: 2$$hi",
        A(200, "hi", &[("content-length", &["2"])]),
    ),
    must("9112, 6.3: several that are not", "~Content-Length: 2$Content-Length: 3$$hi!", BadGateway),
    must("9112, 6.3: an invalid length", "~Content-Length: 2x$$hi", BadGateway),
    must("9112, 6.3: an invalid length", "~Content-Length: -2$$hi", BadGateway),
    must("9110, 8.6: a length that overflows", "~Content-Length: 18446744073709551618$$hi", BadGateway),
    must("9112, 6.3: a length and chunks", "~Content-Length: 2$Transfer-Encoding: chunked$$2$hi$0$$", BadGateway),
    must("9112, 6.1: chunks in HTTP/1.0", "HTTP/1.0 200 OK$Transfer-Encoding: chunked$$2$hi$0$$", BadGateway),
    must("9112, 6.1: a coding that nobody asked for", "~Transfer-Encoding: gzip, chunked$$2$hi$0$$", BadGateway),
    must("9112, 6.1: chunked twice", "~Transfer-Encoding: chunked, chunked$$2$hi$0$$", BadGateway),
    must("9112, 8: less than its length", "~Content-Length: 9$$hi", Broken),
    must("9112, 8: no last chunk", "~Transfer-Encoding: chunked$$2$hi$", Broken),
    must("9112, 6.3: more than its length", "~Content-Length: 2$$hi and more", A(200, "hi", &[])),
    // Chunks.
    must("9112, 7: names of codings in any letters", "~Transfer-Encoding: ChunKed$$2$hi$0$$", A(200, "hi", &[])),
    must(
        "9112, 7.1: zeros, and letters of either case",
        "~Transfer-Encoding: chunked$$00A$0123456789$0a$0123456789$00$$",
        A(200, "01234567890123456789", &[]),
    ),
    must(
        "9112, 7.1.1: extensions are ignored",
        "~Transfer-Encoding: chunked$$2;a;b=c;d=\"e;f\"$hi$0;x$$",
        A(200, "hi", &[]),
    ),
    must(
        "9112, 7.1.1: with bad blanks before them",
        "~Transfer-Encoding: chunked$$2 \t; a = b$hi$0 ;x$$",
        A(200, "hi", &[]),
    ),
    must("9112, 7.1: a size that overflows", "~Transfer-Encoding: chunked$$10000000000000002$hi$0$$", Broken),
    must("9112, 7.1: a size that is none", "~Transfer-Encoding: chunked$$+2$hi$0$$", Broken),
    must("9112, 7.1: data and no line end", "~Transfer-Encoding: chunked$$2$hi!$0$$", Broken),
    // Other.
    must("9110, 6.6.1: a Date is added", "~Content-Length: 0$$", A(200, "", &[("content-length", &["0"])])),
    must(
        "9110, 6.6.1: or stays",
        "~Date: Sun, 06 Nov 1994 08:49:37 GMT$Content-Length: 0$$",
        A(200, "", &[("date", &["Sun, 06 Nov 1994 08:49:37 GMT"])]),
    ),
    // Cookies.
    must(
        "9110, 5.3: never joined, nor taken apart",
        "~Set-Cookie: a=1, b=2$Set-Cookie: c=3; Expires=Wed, 21 Oct 2037 07:28:00 GMT$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=1, b=2", "c=3; Expires=Wed, 21 Oct 2037 07:28:00 GMT"])]),
    ),
    must(
        "6265, 5.2: without a name it is none",
        "~Set-Cookie: =doorward=x$Set-Cookie: doorward$Set-Cookie: =$Set-Cookie: ;$Set-Cookie: a=$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a="])]),
    ),
    must(
        "6265, 5.2: blanks around names and values",
        "~Set-Cookie: \t doorward \t= x; Path=/$Set-Cookie:  a=1 ;  HttpOnly$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=1; HttpOnly"])]),
    ),
    must(
        "6265, 5.2: any bytes",
        "~Set-Cookie: a=\u{e9}\u{fc}; Path=/\u{e9}$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=\u{e9}\u{fc}; Path=/\u{e9}"])]),
    ),
    must(
        "6265, 5.2: attributes in any letters",
        "~Set-Cookie: a=1; DOMAIN=n; sEcUrE; hTTPonly; MAX-AGE = 5$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=1; hTTPonly; MAX-AGE = 5"])]),
    ),
    must(
        "6265, 5.2: unknown attributes, empty ones",
        "~Set-Cookie: a=1;; Partitioned; x=y; Priority=High$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=1; Partitioned; x=y; Priority=High"])]),
    ),
    must(
        "6265, 5.3: of several the last one counts",
        "~Set-Cookie: a=1; Path=/x; Domain=n; Path=/y$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=1; Path=/x; Path=/y"])]),
    ),
    must(
        "6265, 5.3: several of one name",
        "~Set-Cookie: a=1$Set-Cookie: a=2$Content-Length: 0$$",
        A(200, "", &[("set-cookie", &["a=1", "a=2"])]),
    ),
];

fn bytes(says: &str) -> String {
    says.replace('~', "HTTP/1.1 200 OK$").replace('$', "\r\n")
}

#[test]
fn an_answer_is_read_as_the_standards_say() {
    let node = webmail(|request| {
        let number = request.what().1.trim_start_matches("/must/");
        match number.parse::<usize>() {
            Ok(number) => Answer::raw(bytes(MUSTS[number].says)),
            Err(_) => Answer::text("fine"),
        }
    });
    let proxy = one_worker("", &[("node-a", &node, "")]);
    let mut client = log_in(&proxy, "alice");
    let mut wrong = Vec::new();
    for (number, must) in MUSTS.iter().enumerate() {
        let answer = client.try_send(Request::new(must.method, &format!("/must/{number}")));
        let right = match (&must.gets, &answer) {
            (Broken, Err(_)) => true,
            (BadGateway, Ok(answer)) => answer.status == 502,
            (A(status, body, headers), Ok(answer)) => {
                (answer.status, answer.text().as_str()) == (*status, body)
                    && headers.iter().all(|(name, lines)| answer.headers.all(name) == *lines)
                    && answer.headers.all("date").len() == 1
            }
            _ => false,
        };
        if !right {
            wrong.push(format!("{}\n  {:?}\n  {answer:?}", must.section, must.says));
        }
        if answer.is_err() {
            client.close();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    client.get("/fine").expect(200);
}
