//! TLS in front: certificates by name, HTTP/2, and a bad certificate that leaves the old one.

use std::time::Duration;

use harness::{Answer, Certs, Setup};

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
