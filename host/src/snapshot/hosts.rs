//! Which node a value of the host attribute means: a back-end's name, its address, or its URL.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::back::NodeSpec;

/// Nodes, by their number, by what may name them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Hosts {
    /// Names and aliases, which are unique.
    by_name: HashMap<String, usize>,
    /// `host:port`, `host` and URLs; `None` where several nodes have it.
    by_address: HashMap<String, Option<usize>>,
}

impl Hosts {
    pub(super) fn build(nodes: &[Arc<NodeSpec>]) -> Self {
        let mut hosts = Self::default();
        for (number, node) in nodes.iter().enumerate() {
            hosts.by_name.extend(node.names().map(|name| (name.to_lowercase(), number)));
            let (authority, url) = (node.authority().to_lowercase(), folded(node.url()));
            let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host).to_owned();
            let bare = host.trim_matches(['[', ']']).to_owned();
            let mut names = vec![authority, host, bare, url];
            names.sort();
            names.dedup();
            for name in names {
                match hosts.by_address.entry(name) {
                    Entry::Vacant(free) => drop(free.insert(Some(number))),
                    // It would be a guess which of them is meant.
                    Entry::Occupied(mut taken) => drop(taken.insert(None)),
                }
            }
        }
        hosts
    }

    /// The node that a value names. Behind the first blank is the label of a `labeledURI` (RFC 2079).
    pub(super) fn find(&self, value: &str) -> Option<usize> {
        let value = value.trim();
        // Sessions have a name as it is here.
        let by_name = self.by_name.get(value).or_else(|| self.by_name.get(&value.to_lowercase()));
        by_name.copied().or_else(|| *self.by_address.get(&folded(value.split_whitespace().next()?))?)
    }
}

/// URLs with and without the port of their scheme and a `/` at the end are one; only a path's case counts.
fn folded(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.trim_end_matches('.').to_lowercase() };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (scheme, authority) = (scheme.to_lowercase(), authority.to_lowercase());
    let port = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(port).unwrap_or(&authority);
    format!("{scheme}://{authority}{}", path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, url: &str) -> Arc<NodeSpec> {
        let text = format!(
            "[[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n[[site]]\nhosts = [\"*\"]\n\
             [[backend]]\nname = \"{name}\"\nurl = \"{url}\"\nrecipe = \"roundcube\"\n"
        );
        let source = Arc::new(crate::config::Source::new("test", text));
        let config = crate::config::parse(&source, std::path::Path::new(".")).unwrap().backends;
        Arc::new(NodeSpec::build(&config[0], std::path::Path::new(".")).unwrap())
    }

    #[test]
    fn a_value_is_a_name_or_an_address_or_a_url() {
        let nodes = [
            node("Node-A", "http://10.0.0.1:8080/Mail/"),
            node("node-b", "https://mail-b.example.test/"),
            node("node-c", "http://10.0.0.2:8001/"),
            node("node-d", "http://10.0.0.2:8002/"),
            node("10.0.0.1", "http://[::1]:80/"),
        ];
        let hosts = Hosts::build(&nodes);
        let check = |value: &str, name: Option<&str>| {
            assert_eq!(hosts.find(value).map(|number| nodes[number].name()), name, "{value}");
        };
        check(" node-a ", Some("Node-A"));
        check("10.0.0.1:8080", Some("Node-A"));
        check("10.0.0.1", Some("10.0.0.1"));
        check("http://10.0.0.1:8080/Mail webmail of A", Some("Node-A"));
        check("http://10.0.0.1:8080/mail", None);
        check("https://10.0.0.1:8080/Mail", None);
        check("Mail-B.example.test", Some("node-b"));
        check("mail-b.example.test.", Some("node-b"));
        check("mail-b.example.test:443", Some("node-b"));
        check("HTTPS://MAIL-B.example.test:443 webmail", Some("node-b"));
        check("10.0.0.2", None);
        check("10.0.0.2:8002", Some("node-d"));
        check("::1", Some("10.0.0.1"));
        check("[::1]", Some("10.0.0.1"));
        check("http://[::1]/", Some("10.0.0.1"));
        for nobody in ["", " ", "node-x", "10.0.0.1:25", "http://", "://", "10.0.0.3"] {
            check(nobody, None);
        }
    }
}
