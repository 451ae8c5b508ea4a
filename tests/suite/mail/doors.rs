//! Doors for mail programs in front of the nodes of the real stack.

use harness::{Node, Proxy, Setup, Stack};

/// Doors with an account of the directory, listeners (name, protocol, and what else there is of each), and what a back-end says
/// of its mail servers.
pub(super) fn doors(
    stack: &Stack,
    (mode, (dn, password)): (&str, (&str, &str)),
    listeners: &[(&str, &str, &str)],
    servers: impl Fn(&Node) -> String,
) -> Proxy {
    let (chain, key) = stack.server_pair();
    let certificates = format!("certificates = [{{ chain = \"{}\", key = \"{}\" }}]", chain.display(), key.display());
    let limits = "[listener.limits]\npeer-max-interval-connections = 0\nmax-interval-connections = 0";
    let mut text = format!(
        "[[log.to]]\nwhat = [\"server\", \"login\", \"access\"]\ntarget = \"stderr\"\n[directory]\nkind = \"ldap\"\nurls = {:?}\nca = \"{}\"\nbase = \"{}\"\nbind-dn = \"{dn}\"\n\
         bind-password-file = \"bind.secret\"\n[authentication]\nmode = \"{mode}\"\n[[site]]\nhosts = [\"*\"]\n",
        stack.ldaps(),
        stack.ca().display(),
        stack.people_dn()
    );
    for (name, protocol, more) in listeners {
        text.push_str(&format!(
            "[[listener]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\naddress = \"127.0.0.1:0\"\n{more}\n{certificates}\n{limits}\n"
        ));
    }
    for node in ["A", "B"].map(|name| stack.node(name)) {
        text.push_str(&format!(
            "[[backend]]\nname = \"{}\"\nurl = \"{}\"\nrecipe = \"roundcube\"\n{}[backend.tls]\nca = \"{}\"\n",
            node.mail_host,
            node.http,
            servers(node),
            stack.ca().display()
        ));
    }
    Setup::new().file("bind.secret", format!("{password}\n")).serve(&text)
}
