//! PgBouncer in session mode: the pooler people know, as a yardstick.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::dirs::{Account, find_program, server_dir, spare_port};
use crate::process::{Server, Stop};
use crate::{Error, Postgres};

/// How long it may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A running PgBouncer before a [`Postgres`]. Ended when dropped.
#[derive(Debug)]
pub struct PgBouncer {
    server: Server,
    port: u16,
}

impl PgBouncer {
    /// Starts it in session mode: any user without a password, no TLS, the
    /// upstream login as the superuser's where the upstream asks for one.
    ///
    /// # Errors
    /// [`Error::Missing`] without a `pgbouncer` program; [`Error::Failed`]
    /// when it does not start to listen.
    pub fn start(upstream: &Postgres) -> Result<Self, Error> {
        let bin = find_program("pgbouncer", &[PathBuf::from("/usr/sbin")])
            .ok_or_else(|| Error::missing("PgBouncer", "apt-get install pgbouncer"))?;
        let account = Account::ordinary()?;
        let dir = server_dir("pgbouncer-", account)?;
        let port = spare_port()?;
        let fail = |e| Error::failed("configuring PgBouncer", e);
        let users = dir.path().join("users.txt");
        fs::write(&users, format!("\"postgres\" \"{}\"\n", upstream.password())).map_err(fail)?;
        let ini = dir.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = session\nmax_client_conn = 2000\ndefault_pool_size = 1000\n\
             ignore_startup_parameters = extra_float_digits,options\nlog_connections = 0\n\
             log_disconnections = 0\n",
            upstream.port(),
            users.display(),
        );
        fs::write(&ini, text).map_err(fail)?;
        account.own_all(dir.path()).map_err(fail)?;
        let mut server = Server::new("pgbouncer", dir, Stop::Int);
        let mut command = Command::new(bin);
        command.arg(&ini);
        server.spawn(command, account)?;
        server.wait_until(START_LIMIT, |_| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { server, port })
    }

    /// The TCP port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id (for memory and CPU figures).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }
}
