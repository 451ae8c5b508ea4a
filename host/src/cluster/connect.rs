//! The connection to the store: TCP or TLS, the account, the primary among servers or by Sentinel.
//!
//! Invariants: each step has its deadline; what comes from the store is bounded between two looks at it.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::settings::Settings;
use crate::secret::Secret;

/// How long one server may take for a connection, with TLS and the account.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a command may take; then the store is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The port of a server whose address names none, and of a Sentinel.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// Bytes that are read before somebody looks: more than a page of answers, less than what hurts.
const READ: usize = 64 << 20;
/// Messages that wait, and bytes of one; who misses one compares.
const MESSAGES: usize = 4096;
const LONGEST: usize = 64 << 10;

/// An open connection to the primary.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// What other doors say.
    pub(super) messages: mpsc::Receiver<Vec<u8>>,
    /// Whether one of them was lost.
    pub(super) missed: Arc<AtomicBool>,
    /// It is told of when the connection has ended.
    pub(super) gone: Arc<Notify>,
    /// How much may be read until somebody looks again.
    budget: Arc<AtomicUsize>,
    /// Which server it is.
    pub(super) server: String,
    /// What the server does when its memory is full.
    pub(super) policy: String,
}

impl Link {
    /// Somebody looks at what was read: as much again may come.
    pub(super) fn looked(&self) {
        self.budget.store(READ, Ordering::Relaxed);
    }

    /// The same for who reads beside.
    pub(super) fn looking(&self) -> impl Fn() + Send + use<> {
        let budget = self.budget.clone();
        move || budget.store(READ, Ordering::Relaxed)
    }
}

/// Connects to the primary.
pub(super) async fn connect(settings: &Settings) -> Result<Link, String> {
    let mut told = "there is no server".to_owned();
    for url in primaries(settings).await? {
        match timeout(CONNECT, open(settings, &url)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => told = format!("{url}: {error}"),
            Err(_) => told = format!("{url}: it does not answer"),
        }
    }
    Err(told)
}

/// The servers that may be the primary: those of the configuration, or the one that a Sentinel names.
async fn primaries(settings: &Settings) -> Result<Vec<Url>, String> {
    let Some((sentinel, password)) = &settings.sentinel else { return Ok(settings.store.clone()) };
    let mut told = "there is no Sentinel".to_owned();
    for url in &sentinel.hosts {
        let asked = timeout(CONNECT, ask_sentinel(settings, url, (&sentinel.master, password.as_ref()))).await;
        match asked {
            Ok(Ok(primary)) => return Ok(vec![primary]),
            Ok(Err(error)) => told = format!("Sentinel {url}: {error}"),
            Err(_) => told = format!("Sentinel {url}: it does not answer"),
        }
    }
    Err(told)
}

async fn ask_sentinel(
    settings: &Settings,
    url: &Url,
    (master, password): (&str, Option<&Secret>),
) -> Result<Url, String> {
    let info = account(None, password).set_protocol(ProtocolVersion::RESP2);
    let stream = stream(settings, url, SENTINEL_PORT, &Arc::default()).await.map_err(|error| error.to_string())?;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    let (mut connection, driver) =
        MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(|error| error.to_string())?;
    let driver = tokio::spawn(driver);
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(master);
    let answer: redis::RedisResult<Option<(String, u16)>> = command.query_async(&mut connection).await;
    driver.abort();
    let (host, port) = answer
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("it knows no primary \"{}\"", master.escape_debug()))?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Url::parse(&format!("{}://{host}:{port}", url.scheme())).map_err(|error| error.to_string())
}

fn account(user: Option<&str>, password: Option<&Secret>) -> RedisConnectionInfo {
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let info = user.into_iter().fold(info, RedisConnectionInfo::set_username);
    password.into_iter().fold(info, |info, password| info.set_password(password.expose()))
}

async fn open(settings: &Settings, url: &Url) -> Result<Link, String> {
    let told = |error: redis::RedisError| error.to_string();
    let budget = Arc::new(AtomicUsize::new(READ));
    let stream = stream(settings, url, PORT, &budget).await.map_err(|error| error.to_string())?;
    let (missed, gone) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let (sender, messages) = mpsc::channel(MESSAGES);
    let push = {
        let (missed, gone) = (missed.clone(), gone.clone());
        move |push: PushInfo| {
            match (push.kind, push.data.into_iter().nth(1)) {
                (PushKind::Disconnection, _) => gone.notify_one(),
                (PushKind::Message, Some(Value::BulkString(bytes))) => {
                    let is_missed = bytes.len() > LONGEST || sender.try_send(bytes).is_err();
                    missed.fetch_or(is_missed, Ordering::AcqRel);
                }
                _ => {}
            }
            Ok::<(), redis::aio::SendError>(())
        }
    };
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE)).set_push_sender(push);
    let info = account(settings.user.as_deref(), settings.password.as_ref()).set_protocol(ProtocolVersion::RESP3);
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(told)?;
    tokio::spawn(driver);
    let about: String = redis::cmd("INFO").query_async(&mut connection).await.map_err(told)?;
    let said = |key: &str| about.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap_or_default();
    if said("role") != "master" {
        return Err("it is no primary".to_owned());
    }
    let policy = said("maxmemory_policy").to_owned();
    connection.subscribe(settings.key("news")).await.map_err(told)?;
    let server = url.host_str().unwrap_or_default().to_owned();
    let server = format!("{server}:{}", url.port().unwrap_or(PORT));
    Ok(Link { connection, messages, missed, gone, budget, server, policy })
}

/// Either kind of stream.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn stream(settings: &Settings, url: &Url, port: u16, budget: &Arc<AtomicUsize>) -> Result<Bounded, Error> {
    if budget.load(Ordering::Relaxed) == 0 {
        budget.store(READ, Ordering::Relaxed);
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let tcp = TcpStream::connect((host.as_str(), url.port().unwrap_or(port))).await?;
    tcp.set_nodelay(true)?;
    let inner: Box<dyn Io> = if url.scheme() == "rediss" {
        let name = ServerName::try_from(host).map_err(Error::other)?;
        Box::new(TlsConnector::from(settings.tls.clone()).connect(name, tcp).await?)
    } else {
        Box::new(tcp)
    };
    Ok(Bounded { inner, budget: budget.clone() })
}

/// A stream of which only so much is read until somebody looks.
struct Bounded {
    inner: Box<dyn Io>,
    budget: Arc<AtomicUsize>,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<(), Error>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        let count = buf.filled().len() - before;
        let left = self.budget.load(Ordering::Relaxed);
        if count > left {
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, "the store says more than was asked for")));
        }
        self.budget.fetch_sub(count, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
