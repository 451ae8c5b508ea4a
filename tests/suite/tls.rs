//! TLS in front: certificates by name, HTTP/2, and a bad certificate that leaves the old one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::{Answer, Certs, Proxy, Setup};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned};

use crate::support::{config, last, setup, webmail};

fn listener(pair: &str) -> String {
    format!(
        "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:0\"\ncertificates = [\n\
         {{ names = [\"mail.test\", \"*.mail.test\"], chain = \"{pair}.pem\", key = \"a.key\" }},\n\
         {{ names = [\"other.test\"], chain = \"b.pem\", key = \"b.key\" }} ]\n"
    )
}

fn files(certs: &Certs) -> Setup {
    let mut setup = setup();
    for (name, hosts) in [("a", &["mail.test", "*.mail.test"][..]), ("b", &["other.test"])] {
        let pair = certs.server(hosts);
        let read = |path: &std::path::Path| std::fs::read(path).expect("a PEM file");
        setup = setup.file(&format!("{name}.pem"), read(&pair.chain)).file(&format!("{name}.key"), read(&pair.key));
    }
    setup
}

#[test]
fn each_name_has_its_certificate_and_cookies_are_secure() {
    let (certs, node) = (
        Certs::new(),
        webmail(|request| Answer::text(request.seen.header("x-forwarded-proto").unwrap_or("").to_owned())),
    );
    let proxy = files(&certs).serve(&config(&listener("a"), &[("node-a", &node, "")]));
    for name in ["mail.test", "x.mail.test", "other.test"] {
        let mut client = proxy.client().site(name).tls(certs.ca()).follow();
        assert_eq!(last(client.login("alice", "alice-secret")).text(), "https", "{name}");
        assert!(client.cookie("__Host-doorward").is_some());
    }
    let mut stranger = proxy.client().site("stranger.test").tls(certs.ca());
    assert!(stranger.try_connect().is_err(), "the certificate is for another name");
}

#[test]
fn a_certificate_whose_key_does_not_fit_leaves_the_old_one() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let proxy = files(&certs).serve(&config(&listener("a"), &[("node-a", &node, "")]));
    let from = proxy.log().len();
    let file = "doorward.toml".to_owned();
    proxy.write(&file, config(&listener("b"), &[("node-a", &node, "")]));
    proxy.wait_for_log_after(from, "certificates\\[0\\].key", Duration::from_secs(15));
    proxy.client().site("mail.test").tls(certs.ca()).get("/").expect(200);
}

/// Trusts anybody, and keeps the OCSP response that came along.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<u8>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().expect("a lock") = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519, SignatureScheme::RSA_PSS_SHA256]
    }
}

/// A client that remembers its tickets, of one version of TLS.
fn tls_client(version: &'static rustls::SupportedProtocolVersion, seen: &Arc<Seen>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("a version");
    Arc::new(builder.dangerous().with_custom_certificate_verifier(seen.clone()).with_no_client_auth())
}

/// One request: how the handshake went, and the answer.
fn visit(address: SocketAddr, client: &Arc<ClientConfig>, name: &str) -> std::io::Result<(HandshakeKind, String)> {
    let tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let session = ClientConnection::new(client.clone(), name).expect("a session");
    let mut stream = StreamOwned::new(session, tcp);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: mail.test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok((stream.conn.handshake_kind().expect("a handshake"), answer))
}

#[test]
fn keys_are_agreed_on_so_that_what_is_recorded_today_is_not_read_by_a_quantum_computer() {
    use rustls::NamedGroup::{X25519, X25519MLKEM768, secp256r1};
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let proxy = files(&certs).serve(&config(&listener("a"), &[("node-a", &node, "")]));
    // What a client offers, in its order, and what is agreed on.
    for (offered, agreed) in [
        (&[X25519MLKEM768, X25519][..], X25519MLKEM768),
        // A client sends its share of its favourite alone, and another round would cost it time.
        (&[X25519, X25519MLKEM768], X25519),
        (&[secp256r1], secp256r1),
    ] {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let all = std::mem::take(&mut provider.kx_groups);
        provider.kx_groups =
            offered.iter().filter_map(|name| all.iter().find(|g| g.name() == *name).copied()).collect();
        let builder = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
        let trusting = builder.expect("TLS 1.3").dangerous().with_custom_certificate_verifier(Arc::<Seen>::default());
        let name = ServerName::try_from("mail.test").expect("a name");
        let session = ClientConnection::new(Arc::new(trusting.with_no_client_auth()), name).expect("a session");
        let tcp = TcpStream::connect(proxy.address("public")).expect("a connection");
        let mut stream = StreamOwned::new(session, tcp);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: mail.test\r\nConnection: close\r\n\r\n").expect("a request");
        stream.read_to_string(&mut String::new()).expect("an answer");
        let group = stream.conn.negotiated_key_exchange_group().map(|group| group.name());
        assert_eq!(group, Some(agreed), "{offered:?}");
    }
}

#[test]
fn a_listener_may_refuse_tls_1_2_and_no_early_data_is_taken() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (more, of_old) in [("", true), ("[listener.tls]\nmin-version = \"1.3\"\n", false)] {
        let proxy = files(&certs).serve(&config(&format!("{}{more}", listener("a")), &[("node-a", &node, "")]));
        let seen = Arc::default();
        let answered = |version| visit(proxy.address("public"), &tls_client(version, &seen), "mail.test").is_ok();
        assert!(answered(new));
        assert_eq!(answered(old), of_old, "{more}");
    }
}

#[test]
fn tickets_are_good_at_every_front_door_with_the_same_keys_and_after_a_reload() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let keys = harness::temp_dir();
    let key_file = keys.path().join("ticket.keys");
    let shared = format!("{}[tls]\nticket-key-file = \"{}\"\n", listener("a"), key_file.display());
    let serve = |text: &str| files(&certs).serve(&config(text, &[("node-a", &node, "")]));
    let (first, second, alone) = (serve(&shared), serve(&shared), serve(&listener("a")));
    for (version, other) in [(&rustls::version::TLS12, "31s"), (&rustls::version::TLS13, "32s")] {
        let (client, seen) = (tls_client(version, &Arc::default()), Arc::default());
        let kind = |proxy: &Proxy| visit(proxy.address("public"), &client, "mail.test").expect("an answer").0;
        assert_eq!(kind(&first), HandshakeKind::Full);
        assert_eq!(kind(&first), HandshakeKind::Resumed);
        assert_eq!(kind(&second), HandshakeKind::Resumed, "another front door with the same keys");
        assert_ne!(kind(&alone), HandshakeKind::Resumed, "one with keys of its own");
        let client = tls_client(version, &seen);
        let kind = |proxy: &Proxy| visit(proxy.address("public"), &client, "mail.test").expect("an answer").0;
        kind(&alone);
        let from = alone.log().len();
        let text = format!("drain-timeout = \"{other}\"\n{}", config(&listener("a"), &[("node-a", &node, "")]));
        alone.write("doorward.toml", text);
        alone.wait_for_log_after(from, "reloaded", Duration::from_secs(15));
        assert_eq!(kind(&alone), HandshakeKind::Resumed, "random keys outlive a reload");
    }
    // A new key in front: the old one still opens. Without the old one, nothing does.
    let client = tls_client(&rustls::version::TLS13, &Arc::default());
    let kind = || visit(first.address("public"), &client, "mail.test").expect("an answer").0;
    kind();
    let old = std::fs::read_to_string(&key_file).expect("keys");
    for (text, resumed) in
        [(format!("{}\n{old}", "A".repeat(43) + "="), true), (format!("{}\n", "B".repeat(42) + "A="), false)]
    {
        let from = first.log().len();
        std::fs::write(&key_file, text).expect("new keys");
        first.wait_for_log_after(from, "reloaded", Duration::from_secs(15));
        assert_eq!(kind() == HandshakeKind::Resumed, resumed);
    }
}

#[test]
fn an_ocsp_response_is_sent_along_and_follows_its_file() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let text = listener("a").replace("key = \"a.key\"", "key = \"a.key\", ocsp = \"a.ocsp\"");
    let proxy = files(&certs).file("a.ocsp", b"\x30\x01x").serve(&config(&text, &[("node-a", &node, "")]));
    let seen: Arc<Seen> = Arc::default();
    let stapled = || {
        let client = tls_client(&rustls::version::TLS13, &seen);
        visit(proxy.address("public"), &client, "mail.test").expect("an answer");
        seen.0.lock().expect("a lock").clone()
    };
    assert_eq!(stapled(), b"\x30\x01x");
    let from = proxy.log().len();
    proxy.write("a.ocsp", b"\x30\x01y");
    proxy.wait_for_log_after(from, "reloaded", Duration::from_secs(15));
    assert_eq!(stapled(), b"\x30\x01y");
    let from = proxy.log().len();
    proxy.write("a.ocsp", b"");
    proxy.wait_for_log_after(from, "certificates\\[0\\].ocsp", Duration::from_secs(15));
    assert_eq!(stapled(), b"\x30\x01y", "the old one stays");
}

#[test]
fn clients_with_a_certificate_are_known_by_it_and_others_are_refused() {
    let (certs, strangers) = (Certs::new(), Certs::new());
    let node =
        webmail(|request| Answer::text(request.seen.header("x-doorward-client-subject").unwrap_or("-").to_owned()));
    let (alice, stranger) = (certs.client("alice, O=Admin"), strangers.client("alice"));
    for kind in ["required", "optional"] {
        let more = format!("[listener.tls]\nclient-auth = \"{kind}\"\nclient-ca = \"ca.pem\"\n");
        let setup = files(&certs).file("ca.pem", std::fs::read(certs.ca()).expect("a CA"));
        let proxy = setup.serve(&config(&format!("{}{more}", listener("a")), &[("node-a", &node, "")]));
        let as_alice = || proxy.client().site("mail.test").tls_as(certs.ca(), &alice);
        let answer = last(as_alice().follow().login("alice", "alice-secret"));
        assert_eq!(answer.text(), "CN=alice\\2C\\20O\\3DAdmin", "{kind}");
        let mut wrong = proxy.client().site("mail.test").tls_as(certs.ca(), &stranger);
        assert!(wrong.try_send(harness::Request::new("GET", "/")).is_err(), "{kind}");
        let mut nobody = proxy.client().site("mail.test").tls(certs.ca());
        let answer = nobody.try_send(harness::Request::new("GET", "/").header("X-Doorward-Client-Subject", "CN=root"));
        assert_eq!(answer.is_ok_and(|answer| answer.status == 200), kind == "optional");
    }
    let ran = files(&certs).refused(&config(
        &format!("{}[listener.tls]\nclient-auth = \"required\"\n", listener("a")),
        &[("node-a", &node, "")],
    ));
    assert!(ran.stderr.contains("listener[0].tls.client-ca"), "{}", ran.stderr);
}

#[test]
fn with_client_certificates_a_connection_is_for_one_site() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let alice = certs.client("alice");
    let more = "[listener.tls]\nclient-auth = \"required\"\nclient-ca = \"ca.pem\"\n\
        [[site]]\nhosts = [\"mail.test\", \"www.mail.test\"]\n[[site]]\nhosts = [\"other.test\"]\n";
    let setup = files(&certs).file("ca.pem", std::fs::read(certs.ca()).expect("a CA"));
    let proxy = setup.serve(&config(&format!("{}{more}", listener("a")), &[("node-a", &node, "")]));
    let mut connection = proxy.client().site("mail.test").tls_as(certs.ca(), &alice).connect();
    for (host, status) in [("mail.test", 200), ("www.mail.test", 200), ("other.test", 421)] {
        // The connection is the one that was made for mail.test.
        connection.write(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(connection.read_response("GET").expect("an answer").status, status, "{host}");
    }
}

#[test]
fn a_plain_listener_sends_browsers_to_the_secure_one_and_that_one_keeps_them() {
    let (certs, node) = (Certs::new(), webmail(|_| Answer::text("x")));
    let sites = "[[site]]\nhosts = [\"mail.test\", \"*.mail.test\"]\n[http]\nhsts = \"max-age=31536000\"\n";
    for (value, port) in [("true", ""), ("8443", ":8443")] {
        let plain =
            format!("[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\nredirect-to-https = {value}\n{sites}");
        let proxy = files(&certs).serve(&config(&format!("{}{plain}", listener("a")), &[("node-a", &node, "")]));
        let mut client = proxy.client_of("plain").host("X.mail.test:80");
        let answer = client.get("/a?b=c").expect(301);
        assert_eq!(answer.header("location"), Some(format!("https://x.mail.test{port}/a?b=c").as_str()));
        assert_eq!(answer.header("strict-transport-security"), None);
        assert_eq!(client.post_form("/a", &[("x", "y")]).status, 308);
        // A name that no site has is not repeated.
        let answer = proxy.client_of("plain").host("evil.example").get("/").expect(200);
        assert_eq!(answer.header("location"), None);
        let mut client = proxy.client().site("mail.test").tls(certs.ca());
        assert_eq!(client.get("/").expect(200).header("strict-transport-security"), Some("max-age=31536000"));
    }
    let text =
        "[[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\nredirect-to-https = true\n[http]\nhsts = \"x\"\n";
    let ran = setup().refused(&config(text, &[("node-a", &node, "")]));
    for key in ["listener[0].redirect-to-https", "http.hsts"] {
        assert!(ran.stderr.contains(key), "{key} in {}", ran.stderr);
    }
}
