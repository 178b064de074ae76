//! An S3 server that nobody here wrote, in this process, on a spare port.
#![allow(unreachable_pub, reason = "a test's own module, of more than one package")]
#![allow(clippy::unwrap_used, reason = "what can't be set up fails its test")]

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

pub const BUCKET: &str = "audit";

/// A server over a temporary folder; ends with the test's runtime.
pub struct Server {
    _folder: tempfile::TempDir,
    pub endpoint: String,
    pub secret: String,
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let secret = tlog::Signer::generate("secret").unwrap().verifier().to_string();
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("test", secret.as_str()));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { _folder: folder, endpoint, secret }
    }
}
