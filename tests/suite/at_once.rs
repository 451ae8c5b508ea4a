//! What can be refused at once is refused at once: nobody waits for a deadline to be told so. All deadlines here are far
//! longer than a test may take.

use std::time::Duration;

use harness::{Answer, Certs, Client};

use crate::support::{config, log_in, proxy, setup, webmail};

/// As long as a slow machine may need, and far shorter than the deadlines.
const SOON: Duration = Duration::from_secs(60);
const PATIENT: &str = "[http]\nheader-timeout = \"600s\"\nbody-timeout = \"600s\"\nbody-max-size = \"64KiB\"\n\
    upload-max-size = \"64KiB\"\n";

/// The status of the answer to these bytes, while the client has more to say.
fn status(client: &mut Client, bytes: &[u8]) -> (u16, String) {
    let mut connection = client.connect();
    connection.write(bytes);
    let answer = connection.read_response("GET").expect("an answer");
    connection.read_end().expect("the end");
    (answer.status, answer.text())
}

#[test]
fn what_begins_as_no_request_does_is_refused_at_its_first_byte() {
    let node = webmail(|_| Answer::text("fine"));
    let proxy = proxy(
        &format!("{PATIENT}\n[[log.to]]\nwhat = [\"server\", \"protocol\"]\nlevel = \"debug\"\ntarget = \"stderr\"\n"),
        &[("node-a", &node, "")],
    );
    for (bytes, expected, says) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], 400, "as TLS does"),
        (b"\x16", 400, "as TLS does"),
        (b"\x80", 400, "method"),
        (b"\0", 400, "method"),
        (b"{\"jsonrpc\"", 400, "method"),
        (b"SSH-2.0-x\xff", 400, "method"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ""),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 80\r\n", 400, "PROXY"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c", 400, ""),
    ] {
        let (status, text) = status(&mut proxy.client().timeout(SOON), bytes);
        assert!(status == expected, "{:?}: {status} {text}", String::from_utf8_lossy(bytes));
        proxy.wait_for_log(&format!("refusal=.?[A-Z].*{says}"), SOON);
    }
}

#[test]
fn plain_http_on_a_port_of_tls_is_told_so() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("fine")));
    let pair = certs.server(&["mail.test"]);
    let read = |path: &std::path::Path| std::fs::read(path).expect("a PEM file");
    let listener = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\nhandshake-timeout = \"600s\"\n\
        certificates = [{ chain = \"a.pem\", key = \"a.key\" }]\n";
    let setup = setup().file("a.pem", read(&pair.chain)).file("a.key", read(&pair.key));
    let proxy = setup.serve(&config(&format!("{PATIENT}\n{listener}"), &[("node-a", &node, "")]));
    for bytes in
        [&b"GET / HTTP/1.1\r\nHost: mail.test\r\n\r\n"[..], b"G", &[b"POST / HTTP/1.1\r\n", &[b'x'; 9000][..]].concat()]
    {
        let (status, text) = status(&mut proxy.client().timeout(SOON), bytes);
        assert!(status == 400 && text.contains("HTTPS"), "{status} {text}");
    }
    // An alert, and the end.
    assert_eq!(proxy.client().timeout(SOON).raw(b"\0\0\0\0\0").first(), Some(&21));
    proxy.client().site("mail.test").tls(certs.ca()).get("/").expect(200);
}

#[test]
fn a_body_that_says_it_will_be_too_large_need_not_come() {
    let node = webmail(|request| Answer::text(request.body().len().to_string()));
    let proxy = proxy(PATIENT, &[("node-a", &node, "")]);
    let cookie = log_in(&proxy, "alice").cookie("doorward").expect("a session").to_owned();
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    let part = format!("{chunked}8000\r\n{}\r\n", "x".repeat(0x8000));
    for (rest, expected) in [
        (format!("{chunked}ffffffffffffffff\r\n"), 413),
        (format!("{chunked}ffffffffffffffff\r\nx"), 413),
        (format!("{chunked}FFFFFFFFFFFFFFFFF\r\n"), 400),
        (format!("{chunked}8000000000000000;x=y\r\n"), 413),
        (format!("{chunked}10001\r\n"), 413),
        (format!("{part}8001\r\n"), 413),
        ("Content-Length: 65537\r\n\r\n".to_owned(), 413),
        ("Content-Length: 999999999999999999\r\n\r\n".to_owned(), 413),
        ("Content-Length: 18446744073709551616\r\n\r\n".to_owned(), 400),
        ("Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 65537\r\n\r\n".to_owned(), 413),
        (format!("Content-Type: multipart/form-data; boundary=x\r\n{chunked}10001\r\n"), 413),
    ] {
        for (target, cookie) in [("/in", cookie.as_str()), ("/.doorward/login", "none")] {
            let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nCookie: doorward={cookie}\r\n{rest}");
            let (status, _) = status(&mut proxy.client().timeout(SOON), head.as_bytes());
            assert_eq!(status, expected, "{target}: {rest:.120}");
        }
    }
    assert!(node.hits().iter().all(|seen| seen.target != "/in" || !seen.complete), "{:?}", node.hits());
    // What fits is taken, though the last chunk ends exactly at the limit.
    let whole = format!("{part}8000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x8000));
    let mut connection = proxy.client().timeout(SOON).connect();
    connection.write(format!("POST /in HTTP/1.1\r\nHost: x\r\nCookie: doorward={cookie}\r\n{whole}"));
    assert_eq!(connection.read_response("POST").expect("an answer").text(), "65536");
}

/// Trailers end here, but a request with broken ones is none.
#[test]
fn trailers_are_checked_like_headers() {
    let node = webmail(|request| Answer::text(request.body().len().to_string()));
    let proxy = proxy(PATIENT, &[("node-a", &node, "")]);
    let cookie = log_in(&proxy, "alice").cookie("doorward").expect("a session").to_owned();
    let head =
        format!("POST /in HTTP/1.1\r\nHost: x\r\nCookie: doorward={cookie}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let begin = format!("{head}2\r\nhi\r\n0\r\n");
    let long = format!("X: {}\r\n", "x".repeat(17 << 10));
    let many = "X: y\r\n".repeat(101);
    for bad in [
        ":path: /\r\n",
        "X y: 1\r\n",
        "X : 1\r\n",
        ": 1\r\n",
        "X\r\n",
        "X: a\0\r\n",
        "X: a\n",
        " X: 1\r\n",
        &long,
        &many,
    ] {
        let (status, _) = status(&mut proxy.client().timeout(SOON), format!("{begin}{bad}").as_bytes());
        assert_eq!(status, 400, "{bad:.30}");
    }
    assert!(node.hits().iter().all(|seen| seen.target != "/in" || !seen.complete));
    let good = ["", "X: y\r\n", "x-sum:\tabc \r\nY:\r\n", &"X: y\r\n".repeat(100)];
    for good in good {
        let mut connection = proxy.client().timeout(SOON).connect();
        connection.write(format!("{begin}{good}\r\n"));
        assert_eq!(connection.read_response("POST").expect("an answer").text(), "2");
    }
}
