//! The programs and libraries that building and testing need.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::stage::{in_ci, show, stage};

/// Something from Debian, or something this file only asks for.
struct Need {
    what: &'static str,
    /// Debian packages that bring it; empty when Debian's is too old.
    debian: &'static [&'static str],
    /// How to get it where apt-get may not be used or is no help.
    otherwise: &'static str,
    there: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        what: "a C compiler and make",
        debian: &["gcc", "libc6-dev", "make"],
        otherwise: "install gcc or clang, and make",
        there: || program("cc") && program("make"),
    },
    Need {
        what: "PostgreSQL 15 or newer",
        debian: &["postgresql", "postgresql-client"],
        otherwise: "install PostgreSQL and put its bin folder into PATH",
        there: || program("initdb") || any_under("/usr/lib/postgresql", "bin/initdb"),
    },
    Need {
        what: "PgBouncer",
        debian: &["pgbouncer"],
        otherwise: "install pgbouncer",
        there: || program("pgbouncer") || Path::new("/usr/sbin/pgbouncer").exists(),
    },
    Need {
        what: "an OpenSSH server",
        debian: &["openssh-server"],
        otherwise: "install OpenSSH's server",
        there: || program("sshd") || Path::new("/usr/sbin/sshd").exists(),
    },
    Need {
        what: "OpenSSH's clients",
        debian: &["openssh-client"],
        otherwise: "install OpenSSH's clients (ssh, scp, sftp, ssh-keygen)",
        there: || program("ssh") && program("sftp") && program("ssh-keygen"),
    },
    Need {
        what: "rsync and git",
        debian: &["rsync", "git"],
        otherwise: "install rsync and git",
        there: || program("rsync") && program("git"),
    },
    Need {
        what: "PuTTY's and Dropbear's clients",
        debian: &["putty-tools", "dropbear-bin"],
        otherwise: "install plink, psftp and dbclient",
        there: || program("plink") && program("psftp") && program("dbclient"),
    },
    Need {
        what: "lftp and curl",
        debian: &["lftp", "curl"],
        otherwise: "install lftp and curl",
        there: || program("lftp") && program("curl"),
    },
    Need {
        what: "sshfs",
        debian: &["sshfs"],
        otherwise: "install sshfs and fusermount3",
        there: || program("sshfs") && program("fusermount3"),
    },
    Need {
        what: "htop and vim",
        debian: &["htop", "vim"],
        otherwise: "install htop and vim",
        there: || program("htop") && program("vim"),
    },
    Need {
        what: "an X server without a screen, and programs for it",
        debian: &["xvfb", "xauth", "x11-utils"],
        otherwise: "install Xvfb, xauth, xdpyinfo and xprop",
        there: || ["Xvfb", "xauth", "xdpyinfo", "xprop"].into_iter().all(program),
    },
    Need {
        what: "a browser without a screen",
        debian: &["chromium-headless-shell"],
        otherwise: "install Chromium",
        there: || ["chromium-headless-shell", "chromium", "google-chrome"].into_iter().any(program),
    },
    Need {
        what: "a netcat that hands on its connection",
        debian: &["netcat-openbsd"],
        otherwise: "install OpenBSD's netcat as nc.openbsd",
        there: || program("nc.openbsd"),
    },
    Need {
        what: "OpenSSH's own regression suite",
        debian: &["openssh-tests"],
        otherwise: "only Debian packages it",
        there: || Path::new("/usr/lib/openssh/regress/test-exec.sh").exists(),
    },
    Need {
        what: "the openssl command",
        debian: &["openssl"],
        otherwise: "install openssl",
        there: || program("openssl"),
    },
    Need {
        what: "Python 3 with venv",
        debian: &["python3", "python3-venv"],
        otherwise: "install Python 3.9 or newer",
        there: || {
            let mut probe = Command::new("python3");
            probe.args(["-c", "import venv, ensurepip"]);
            probe.output().is_ok_and(|o| o.status.success())
        },
    },
    Need {
        what: "a JDK with Maven",
        debian: &["default-jdk-headless", "maven"],
        otherwise: "install a JDK 17 or newer and Maven",
        there: || program("java") && program("mvn"),
    },
    Need {
        what: "Node.js 20 or newer with npm",
        debian: &[],
        otherwise: "install Node.js 20 or newer (Debian 12's is too old)",
        there: || program("node") && program("npm"),
    },
    Need {
        what: "Go 1.26 or newer",
        debian: &[],
        otherwise: "install Go 1.26 or newer (Debian 12's is too old)",
        there: || program("go"),
    },
];

/// Installs what is missing, where that is allowed; names what stays missing.
/// That is an error in CI only: elsewhere the tests that need it are skipped.
pub(crate) fn ensure() -> Result<(), String> {
    stage("what this machine must have", || {
        let missing: Vec<&Need> = NEEDS.iter().filter(|n| !(n.there)()).collect();
        let packages: Vec<&str> = missing.iter().flat_map(|n| n.debian).copied().collect();
        if !packages.is_empty() && may_install() {
            install(&packages)?;
        }
        let still: Vec<&Need> = missing.into_iter().filter(|n| !(n.there)()).collect();
        for need in &still {
            println!("MISSING {}: {}", need.what, how(need));
        }
        match still.first() {
            Some(_) if in_ci() => Err(format!("{} things are missing", still.len())),
            Some(_) => Ok(()),
            None => {
                println!("everything is there");
                Ok(())
            }
        }
    })
}

fn how(need: &Need) -> String {
    if need.debian.is_empty() {
        need.otherwise.to_owned()
    } else {
        format!("apt-get install {}, or {}", need.debian.join(" "), need.otherwise)
    }
}

fn may_install() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n");
    root && program("apt-get")
}

fn install(packages: &[&str]) -> Result<(), String> {
    let apt = || {
        let mut c = Command::new("apt-get");
        c.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
        c
    };
    show(apt().args(["-qq", "update"]))?;
    show(apt().args(["-qq", "-y", "install", "--no-install-recommends"]).args(packages))
}

fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

fn any_under(folder: &str, inner: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.path().join(inner)).any(|p| p.exists())
}
