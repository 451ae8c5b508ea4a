//! Route policies say which node a mail program gets, too.

use harness::{Guest, Question};

use super::node::MailNode;
use super::{Doors, USUAL};

#[test]
fn a_route_policy_sends_a_mail_program_to_another_node_in_every_mode() {
    let guest = Guest::new(Question::Route).extra("(data (i32.const 2048) \"node-b\")").answer(
        "(i32.store8 (i32.const 16) (i32.const 1)) (i32.store8 (i32.const 20) (i32.const 1))
         (i32.store (i32.const 24) (i32.const 2048)) (i32.store (i32.const 28) (i32.const 6)) i32.const 16",
    );
    let folder = harness::temp_dir();
    let file = folder.path().join("move.wasm");
    std::fs::write(&file, guest.build()).expect("a file");
    let policy = format!("[[policy]]\nname = \"move\"\nasks = \"route\"\nfile = \"{}\"\n", file.display());
    for mode in ["ldap-password", "back-end"] {
        let (a, b, pop3) =
            (MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::imap("IMAP4rev1 AUTH=PLAIN"), MailNode::pop3(true));
        let extra = USUAL.replace("\"back-end\"", &format!("{mode:?}"));
        let nodes = [("node-a", &a, &pop3, ""), ("node-b", &b, &pop3, "")];
        let doors = Doors::start(&format!("{extra}{policy}"), &nodes);
        let _in = doors.talk("imap").logged_in("alice", "alice-secret");
        assert_eq!((a.logins().len(), b.logins().len()), (0, 1), "{mode}");
    }
}
