//! The program is replaced while it runs: nobody is refused, and nobody's connection is closed.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Answer, Backend, Proxy};
use rustix::process::{Pid, Signal};

use crate::support::{config, log_in, setup, webmail};

const TEXT: &str = "[admin]\nsocket = \"admin.sock\"\n[session]\nkey-file = \"session.keys\"\n\
    [[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\n\
    [listener.limits]\nmax-interval-connections = 0\npeer-max-interval-connections = 0\n\
    [[listener]]\nname = \"file\"\naddress = \"unix:web.sock\"\n";

fn start() -> (Backend, Proxy) {
    let node = webmail(|_| Answer::text("inbox"));
    let proxy = setup().serve(&config(TEXT, &[("node-a", &node, "")]));
    (node, proxy)
}

/// A connection of its own, and one request on it.
fn ask(mut stream: impl std::io::Read + std::io::Write) -> std::io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(std::io::Error::other(answer)) }
}

fn process(proxy: &Proxy) -> u64 {
    proxy.status()["pid"].as_u64().expect("a number")
}

#[test]
fn another_process_takes_over_and_no_connection_is_refused_or_closed() {
    let (_node, mut proxy) = start();
    let mut client = log_in(&proxy, "alice");
    client.get("/x").expect(200);
    let (opened, address, old) = (client.opened(), proxy.address("public"), process(&proxy));
    let (enough, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let asking = TcpStream::connect(address).and_then(ask);
                    // Whoever waits for the others would wait for ever.
                    enough.fetch_or(asking.is_err(), Ordering::Relaxed);
                    asking.expect("an answer");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (status, body) = proxy.admin("POST", "/upgrade");
        let upgraded = asked.load(Ordering::Relaxed);
        while status == 200 && !enough.load(Ordering::Relaxed) && asked.load(Ordering::Relaxed) < upgraded + 50 {
            std::thread::yield_now();
        }
        enough.store(true, Ordering::Relaxed);
        assert_eq!(status, 200, "{body}");
        assert_ne!(process(&proxy), old);
    });
    assert_eq!(client.get("/x").expect(200).text(), "inbox");
    assert_eq!(client.opened(), opened, "the connection is the same");
    ask(UnixStream::connect(proxy.dir().join("web.sock")).expect("the Unix socket")).expect("an answer");
    client.close();
    assert!(proxy.program().wait(Duration::from_secs(25)).success(), "the old process ends with its last connection");
    // The session goes on in the new process, and so do the sockets' files.
    assert_eq!(client.get("/x").expect(200).text(), "inbox");
    ask(UnixStream::connect(proxy.dir().join("web.sock")).expect("the Unix socket")).expect("an answer");
    // What took over can be followed in its turn.
    let second = process(&proxy);
    assert_eq!(proxy.admin("POST", "/upgrade").0, 200);
    assert_ne!(process(&proxy), second);
    ask(TcpStream::connect(address).expect("a connection")).expect("an answer");
    end(&proxy);
}

/// Ends the process that serves now, which the harness did not start, and waits until it has removed its socket.
fn end(proxy: &Proxy) {
    let process = i32::try_from(process(proxy)).ok().and_then(Pid::from_raw).expect("a process");
    rustix::process::kill_process(process, Signal::TERM).expect("it runs");
    let started = Instant::now();
    while proxy.dir().join("admin.sock").exists() {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not end");
        std::thread::yield_now();
    }
}

#[test]
fn a_process_that_does_not_come_up_changes_nothing() {
    let (_node, proxy) = start();
    let old = process(&proxy);
    proxy.write("doorward.toml", "nope = 1");
    let (status, body) = proxy.admin("POST", "/upgrade");
    assert_eq!(status, 409, "{body}");
    assert_eq!(process(&proxy), old);
    proxy.client().get("/").expect(200);
    ask(UnixStream::connect(proxy.dir().join("web.sock")).expect("the Unix socket")).expect("an answer");
}

#[test]
fn systemd_is_told_how_far_it_is() {
    let node = webmail(|_| Answer::text("x"));
    let setup = setup();
    let path = setup.dir().join("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    systemd.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let told = || {
        let mut text = [0; 200];
        let length = systemd.recv(&mut text).expect("a word");
        String::from_utf8_lossy(&text[..length]).lines().next().unwrap_or_default().to_owned()
    };
    let setup = setup.env("NOTIFY_SOCKET", path.to_str().expect("a path"));
    let mut proxy = setup.serve(&config("", &[("node-a", &node, "")]));
    assert_eq!(told(), "READY=1");
    proxy.reload();
    assert_eq!((told(), told()), ("RELOADING=1".to_owned(), "READY=1".to_owned()));
    assert!(proxy.terminate().success());
    assert_eq!(told(), "STOPPING=1");
}
