//! The mail servers of the demonstration's nodes: IMAP and POP3, with a small mailbox of each user that nothing changes. They
//! know nothing of the proxy before them.
//!
//! Invariants: what a client may send is bounded, and so is the time that it may be silent; connections are counted.

mod account;
mod imap;
mod letter;
mod pop3;
mod speak;

use std::sync::Arc;
use std::time::Duration;

use doorward_wire::mail::scan::{Found, Limits, Scanner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub(super) use account::{Account, Accounts};
pub(super) use imap::Imap;
pub(super) use pop3::Pop3;
use speak::Speak;

/// Connections at once.
const MAX_CONNECTIONS: usize = 1024;
/// A client that says nothing for so long is gone; programs renew an IDLE each 29 minutes.
const SILENCE: Duration = Duration::from_mins(35);
/// Bytes of a command with its literals.
const COMMAND: usize = 16 << 10;

/// Serves all connections to a socket.
pub(super) async fn serve<S: Speak + Send>(socket: TcpListener, accounts: Accounts) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, _)) => {
                let accounts = accounts.clone();
                tokio::spawn(async move {
                    let _ = converse::<S>(stream, accounts).await;
                    drop(place);
                });
            }
            // Too few descriptors, perhaps: others may leave meanwhile.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse<S: Speak>(mut stream: TcpStream, accounts: Accounts) -> std::io::Result<()> {
    let (mut talk, greeting) = S::begin(accounts);
    stream.write_all(greeting.as_bytes()).await?;
    let limits = Limits { command: COMMAND, long: COMMAND, literal: COMMAND, is_long: |_| false };
    let (mut scanner, mut read) = (Scanner::new(S::LITERALS, limits), Vec::new());
    loop {
        match scanner.scan(&read) {
            Found::More => {
                let more = tokio::time::timeout(SILENCE, stream.read_buf(&mut read)).await;
                if more.map_err(|_| std::io::ErrorKind::TimedOut)?? == 0 {
                    return Ok(());
                }
            }
            Found::Command(length) => {
                let command: Vec<u8> = read.drain(..length).collect();
                scanner.next();
                let answer = talk.hear(&command);
                stream.write_all(&answer.text).await?;
                if answer.is_last {
                    return stream.shutdown().await;
                }
            }
            Found::Waits(_) => {
                stream.write_all(b"+ Ready\r\n").await?;
                scanner.invited(&read);
            }
            // Nothing that a mailbox takes which nobody changes is as large.
            Found::Refuse(_) | Found::TooLarge | Found::Nul => return Ok(()),
        }
    }
}
