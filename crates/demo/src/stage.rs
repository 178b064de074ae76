//! Everything of a greffier in one process: issuer, target, log, gate and proxy.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit_sink::store::{ChunkConfig, ChunkDir, LogStore, Publisher, PublisherConfig, Store};
use audit_sink::{Log, LogConfig};
use dev_issuer::{Claims, DevIssuer};
use gate::Gate;
use gate::local::LocalJournal;
use records::{Body, Instance};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, LocalSet};

use crate::{DemoError, Show, kube, mcp, pg, ssh, web};

/// For whom tokens are meant.
const AUDIENCE: &str = "https://greffier.demo";
/// The log's name in the store.
pub(crate) const LOG_ID: &str = "demo";
/// The log's origin: the name of its key.
const ORIGIN: &str = "greffier.demo/log";
/// The ring: small, so that it is made at once.
const SEGMENTS: u32 = 2;
const SEGMENT_BYTES: u64 = 1024 * 1024;
/// How long sessions may take to end, and the store to take what is left.
const CLOSING: Duration = Duration::from_secs(10);
/// How long sessions may take to end once they are asked to.
const LEAVING: Duration = Duration::from_secs(7);

/// What is behind the proxy.
#[derive(Debug)]
pub(crate) enum Behind {
    Postgres(Box<pg::Behind>),
    Ssh(Box<ssh::Behind>),
    Http(web::Behind),
    Mcp(mcp::Behind),
    Kubernetes(kube::Behind),
}

impl Behind {
    /// In words.
    pub(crate) fn words(&self) -> &str {
        match self {
            Behind::Postgres(behind) => &behind.words,
            Behind::Ssh(behind) => &behind.words,
            Behind::Http(behind) => &behind.words,
            Behind::Mcp(behind) => &behind.words,
            Behind::Kubernetes(behind) => &behind.words,
        }
    }
}

impl Behind {
    /// How to try it, as lines for a shell. Writes the files that they name.
    pub(crate) fn try_it(
        &self,
        port: u16,
        token: &str,
        dir: &Path,
    ) -> Result<Vec<String>, DemoError> {
        match self {
            Behind::Postgres(behind) => Ok(behind.try_it(port, token)),
            Behind::Ssh(behind) => behind.try_it(port, token, dir),
            Behind::Http(_) => Ok(web::Behind::try_it(port, token)),
            Behind::Mcp(_) => mcp::Behind::try_it(port, token, dir),
            Behind::Kubernetes(_) => Ok(kube::Behind::try_it(port, token)),
        }
    }
}

/// The proxy in front.
#[derive(Clone)]
enum Proxy {
    Postgres(postgres::Proxy),
    Ssh(::ssh::Proxy),
    Http(http_proxy::Proxy),
}

impl Proxy {
    async fn serve(&self, tcp: TcpStream, peer: SocketAddr, shutdown: impl Future<Output = ()>) {
        match self {
            Proxy::Postgres(proxy) => proxy.serve(tcp, peer, shutdown).await,
            Proxy::Ssh(proxy) => proxy.serve(tcp, peer, shutdown).await,
            Proxy::Http(proxy) => proxy.serve(tcp, peer, shutdown).await,
        }
    }
}

/// The whole thing, running.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) port: u16,
    pub(crate) issuer: DevIssuer,
    pub(crate) behind: Behind,
    pub(crate) store: PathBuf,
    pub(crate) key: tlog::Verifier,
    pub(crate) log_store: LogStore,
    log: Log,
    publisher: Arc<Publisher>,
    gate: Gate,
    closing: watch::Sender<bool>,
    serving: JoinHandle<()>,
    epoch: u64,
}

impl Stage {
    pub(crate) async fn set(dir: &Path, show: &Show) -> Result<Stage, DemoError> {
        let issuer = DevIssuer::start().await?;
        let (behind, rules, vocabulary) = match show {
            Show::Postgres { upstream } => {
                let behind = pg::Behind::set(dir, upstream.as_deref()).await?;
                (Behind::Postgres(Box::new(behind)), pg::POLICY, ::postgres::VOCABULARY)
            }
            Show::Ssh => {
                let behind = ssh::Behind::set().await?;
                (Behind::Ssh(Box::new(behind)), ssh::POLICY, ::ssh::VOCABULARY)
            }
            Show::Http => {
                let behind = web::Behind::set().await?;
                (Behind::Http(behind), web::POLICY, http_proxy::VOCABULARY)
            }
            Show::Mcp => {
                let behind = mcp::Behind::set().await?;
                (Behind::Mcp(behind), mcp::POLICY, http_proxy::mcp::VOCABULARY)
            }
            Show::Kubernetes => {
                let behind = kube::Behind::set().await?;
                (Behind::Kubernetes(behind), kube::POLICY, http_proxy::kubernetes::VOCABULARY)
            }
        };
        let verifier = verifier(issuer.iss())?;
        let opened = open_log(dir).await?;
        let journal =
            LocalJournal::new(opened.log.clone(), opened.publisher.clone(), opened.chunks);
        let known = policy::Known { vocabularies: &[vocabulary], targets: None, kinds: None };
        let policy: policy::Config = toml::from_str(rules).map_err(DemoError::settings)?;
        let policy = policy::Policy::compile(&policy, &known)
            .map_err(|problems| DemoError::Settings(format!("{problems:?}")))?;
        let gate = Gate::new(Arc::new(verifier), Arc::new(policy), Arc::new(journal));
        gate.record(Body::LogOpened(instance(opened.epoch))).await?;
        let proxy = match &behind {
            Behind::Postgres(behind) => {
                Proxy::Postgres(::postgres::Proxy::new(gate.clone(), behind.proxy()?))
            }
            Behind::Ssh(behind) => Proxy::Ssh(::ssh::Proxy::new(gate.clone(), behind.proxy()?)),
            Behind::Http(behind) => {
                Proxy::Http(http_proxy::Proxy::new(gate.clone(), behind.proxy()?))
            }
            Behind::Mcp(behind) => {
                Proxy::Http(http_proxy::Proxy::new(gate.clone(), behind.proxy()?))
            }
            Behind::Kubernetes(behind) => {
                Proxy::Http(http_proxy::Proxy::new(gate.clone(), behind.proxy()?))
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (closing, watching) = watch::channel(false);
        Ok(Stage {
            port,
            issuer,
            behind,
            store: opened.store,
            key: opened.key,
            log_store: opened.log_store,
            log: opened.log,
            publisher: opened.publisher,
            gate,
            closing,
            serving: start(listener, proxy, watching)?,
            epoch: opened.epoch,
        })
    }

    /// A token for an agent that acts for a person.
    pub(crate) fn agent_token(&self, lifetime: Duration) -> Result<String, DemoError> {
        Ok(self.issuer.mint(agent().lifetime(lifetime))?)
    }

    /// A token of the same agent that ended a while ago.
    pub(crate) fn expired_token(&self) -> Result<String, DemoError> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let hour_ago = now.map_or(0, |now| now.as_secs()).saturating_sub(3600);
        Ok(self.issuer.mint(agent().with("iat", hour_ago.into()))?)
    }

    /// A token for a person.
    pub(crate) fn person_token(&self, name: &str, lifetime: Duration) -> Result<String, DemoError> {
        let claims = Claims::new(name).audience(AUDIENCE).client("people").lifetime(lifetime);
        Ok(self.issuer.mint(claims)?)
    }

    /// Waits until everything so far is in the store.
    pub(crate) async fn publish(&self) -> Result<(), DemoError> {
        Ok(tokio::time::timeout(CLOSING, self.publisher.wait_published(self.log.size())).await??)
    }

    /// Lets sessions end, seals the log, and takes away what was made in a real database.
    pub(crate) async fn close(self) -> Result<(), DemoError> {
        // Nobody listens any more if the serving task has ended; then there is nothing to close.
        let _nobody = self.closing.send(true);
        tokio::time::timeout(CLOSING, self.serving)
            .await?
            .map_err(|e| DemoError::Lost(e.to_string()))?;
        self.gate.record(Body::LogSealed(instance(self.epoch))).await?;
        tokio::time::timeout(CLOSING, self.publisher.seal()).await??;
        self.log.close()?;
        match self.behind {
            Behind::Postgres(behind) => behind.close().await,
            Behind::Ssh(_) | Behind::Http(_) | Behind::Mcp(_) | Behind::Kubernetes(_) => Ok(()),
        }
    }
}

fn agent() -> Claims {
    Claims::new("alice").audience(AUDIENCE).client("agents").acting(&["invoice-agent"])
}

fn instance(epoch: u64) -> Instance<'static> {
    Instance {
        program: concat!("greffier-demo ", env!("CARGO_PKG_VERSION")).into(),
        host: "localhost".into(),
        pid: std::process::id(),
        epoch,
    }
}

/// Serves on a thread of its own, as the programs do: connections of HTTP stay on the thread that
/// accepted them. The task ends when the serving has.
fn start(
    listener: TcpListener,
    proxy: Proxy,
    closing: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, DemoError> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (done, ended) = oneshot::channel();
    std::thread::Builder::new().name("proxy".into()).spawn(move || {
        LocalSet::new().block_on(&runtime, async move {
            match TcpListener::from_std(listener) {
                Ok(listener) => serve(listener, proxy, closing).await,
                Err(error) => tracing::error!(%error, "the proxy can't listen"),
            }
        });
        // Nobody waits after an error.
        let _nobody = done.send(());
    })?;
    Ok(tokio::spawn(async move {
        // A thread that panicked is gone, too.
        let _ended = ended.await;
    }))
}

async fn serve(listener: TcpListener, proxy: Proxy, mut closing: watch::Receiver<bool>) {
    let mut sessions = JoinSet::new();
    let watching = closing.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((tcp, peer)) = accepted else { break };
                let (proxy, mut closing) = (proxy.clone(), watching.clone());
                sessions.spawn_local(async move {
                    let shutdown = async move {
                        // Closing, or the stage is gone: either way it is time to end.
                        let _gone = closing.wait_for(|closing| *closing).await;
                    };
                    proxy.serve(tcp, peer, shutdown).await;
                });
            }
            _ = closing.wait_for(|closing| *closing) => break,
            Some(_ended) = sessions.join_next() => {}
        }
    }
    drop(listener);
    // An answer without an end is cut off.
    let _late =
        tokio::time::timeout(LEAVING, async { while sessions.join_next().await.is_some() {} })
            .await;
}

fn verifier(iss: &str) -> Result<identity::Verifier, DemoError> {
    let config = format!(
        r#"
        [issuer.demo]
        iss = "{iss}"
        audiences = ["{AUDIENCE}"]
        algorithms = ["ES256"]
        may_mint = ["agent", "human"]
        allow_insecure_loopback = true
        [[issuer.demo.rule]]
        name = "agents"
        kind = "agent"
        when = {{ client_id = {{ equals = "agents" }} }}
        actor_from = "act"
        [[issuer.demo.rule]]
        name = "people"
        kind = "human"
        when = {{ client_id = {{ equals = "people" }} }}
        "#
    );
    let config: identity::Config = toml::from_str(&config).map_err(DemoError::settings)?;
    let fetcher = identity::HttpFetcher::new(&config).map_err(DemoError::settings)?;
    identity::Verifier::new(&config, fetcher).map_err(|e| DemoError::Settings(format!("{e:?}")))
}

struct Opened {
    log: Log,
    publisher: Arc<Publisher>,
    chunks: ChunkDir,
    store: PathBuf,
    log_store: LogStore,
    key: tlog::Verifier,
    epoch: u64,
}

async fn open_log(dir: &Path) -> Result<Opened, DemoError> {
    let signer = tlog::Signer::generate(ORIGIN)?;
    let key = signer.verifier().clone();
    let mut config = LogConfig::new(dir.join("ring"), LOG_ID);
    (config.segments, config.segment_bytes) = (SEGMENTS, SEGMENT_BYTES);
    let (log, recovered) = Log::open(config, signer.clone())?;
    let store = dir.join("store");
    let log_store = Store::open(&store.to_string_lossy())?.log(LOG_ID)?;
    let claimed =
        log_store.claim_epoch(&signer, (recovered.size, recovered.root), "greffier demo").await?;
    let chunks = ChunkDir::open(&dir.join("chunks"), ChunkConfig::default())?;
    let mut publishing = PublisherConfig::new((recovered.size, recovered.root));
    publishing.chunks = Some(chunks.clone());
    publishing.epoch = Some(claimed.number);
    let publisher =
        Publisher::start(log_store.clone(), Arc::new(log.clone()), signer, publishing).await?;
    std::fs::write(dir.join("log.vkey"), format!("{key}\n"))?;
    Ok(Opened {
        log,
        publisher: Arc::new(publisher),
        chunks,
        store,
        log_store,
        key,
        epoch: recovered.epoch,
    })
}

/// A word that nobody can guess.
pub(crate) fn random_word() -> Result<String, DemoError> {
    Ok(hex::encode(random()?))
}

fn random() -> Result<[u8; 32], DemoError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| DemoError::Settings("no random numbers".into()))?;
    Ok(bytes)
}

/// Rules for masking, made ready.
pub(crate) fn masking(rules: &str) -> Result<Arc<masking::Policy>, DemoError> {
    let key = random()?;
    let masking: masking::Config = toml::from_str(rules).map_err(DemoError::settings)?;
    let masking = masking::Policy::compile(&masking, Some(&key))
        .map_err(|problems| DemoError::Settings(format!("{problems:?}")))?;
    Ok(Arc::new(masking))
}
