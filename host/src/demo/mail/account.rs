//! Who has a mailbox at a node.

use std::sync::Arc;

use doorward_wire::mail::sasl::{self, Plain};

use super::letter::{self, Letter};

/// One mailbox owner.
pub(in crate::demo) struct Account {
    /// The names that the node takes.
    pub(in crate::demo) names: [&'static str; 2],
    /// The password.
    pub(in crate::demo) password: &'static str,
    /// The display name.
    pub(in crate::demo) owner: &'static str,
    /// The mail address.
    pub(in crate::demo) address: &'static str,
}

/// The accounts of a node.
pub(in crate::demo) type Accounts = Arc<[Account]>;

/// The mailbox of whoever has this name and password.
pub(super) fn mailbox_of(accounts: &[Account], name: &[u8], password: &[u8]) -> Option<Vec<Letter>> {
    let fits = |account: &&Account| {
        account.names.iter().any(|known| known.as_bytes() == name) && account.password.as_bytes() == password
    };
    accounts.iter().find(fits).map(|account| letter::mailbox(account.owner, account.address))
}

/// The same by a response of PLAIN in base64.
pub(super) fn mailbox_by_plain(accounts: &[Account], response: &[u8]) -> Option<Vec<Letter>> {
    let plain = Plain::read(&sasl::initial(response)?)?;
    mailbox_of(accounts, plain.name.as_bytes(), plain.password.as_bytes())
}
