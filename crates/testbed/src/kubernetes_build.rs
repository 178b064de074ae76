//! Where the programs of a Kubernetes cluster come from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dirs::find_program;
use crate::process::output;
use crate::{Error, install};

/// The folder of the Go module in `assets/` that names every version.
const FOLDER: &str = "kubernetes";

/// The programs of a control plane, and its client.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) etcd: PathBuf,
    pub(crate) apiserver: PathBuf,
    pub(crate) kubectl: PathBuf,
}

impl Programs {
    /// Those of the folder that `KUBEBUILDER_ASSETS` names, if it has all three; else they are
    /// built by Go, once, into the cache folder.
    pub(crate) fn find() -> Result<Self, Error> {
        let named = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        if let Some(found) = named.and_then(|dir| dir.canonicalize().ok()).map(Self::of)
            && [&found.etcd, &found.apiserver, &found.kubectl].into_iter().all(|p| p.is_file())
        {
            return Ok(found);
        }
        build("kubernetes", &["go.mod", "go.sum"], "tool", |bin| {
            // Its package's folder gives it the name.
            fs::rename(bin.join("server"), bin.join("etcd"))
        })
        .map(Self::of)
    }

    fn of(dir: PathBuf) -> Self {
        let program = |name: &str| dir.join(name);
        Self {
            etcd: program("etcd"),
            apiserver: program("kube-apiserver"),
            kubectl: program("kubectl"),
        }
    }
}

/// The stand-in for a kubelet, built once.
pub(crate) fn kubelet() -> Result<PathBuf, Error> {
    let files = ["go.mod", "go.sum", "main.go"];
    let bin = build("kubernetes-kubelet", &files, ".", |bin| {
        // The module's name is the program's.
        fs::rename(bin.join("kubernetes"), bin.join("kubelet"))
    })?;
    Ok(bin.join("kubelet"))
}

/// The program with an informer, built once.
pub(crate) fn informer() -> Result<PathBuf, Error> {
    let files = ["go.mod", "go.sum", "informer/main.go"];
    let bin = build("kubernetes-informer", &files, "./informer", |_| Ok(()))?;
    Ok(bin.join("informer"))
}

/// Builds `packages` of the module into the folder `bin` of `cache/name`, and gives that folder.
fn build(
    name: &str,
    files: &[&str],
    packages: &str,
    mend: impl FnOnce(&Path) -> std::io::Result<()>,
) -> Result<PathBuf, Error> {
    if find_program("go", &[]).is_none() {
        let how = "install Go 1.26 or newer, or name a folder with kube-apiserver, etcd and \
                   kubectl by KUBEBUILDER_ASSETS";
        return Err(Error::missing("go", how));
    }
    let recipe = install::recipe(FOLDER, files)?;
    let link = link_flags(&recipe)?;
    let recipe = recipe + &link;
    let dir = install::once(name, &recipe, |dir| {
        install::copy(FOLDER, files, dir)?;
        let bin = dir.join("bin");
        let fail = |e| Error::failed(format!("preparing {}", bin.display()), e);
        fs::create_dir_all(&bin).map_err(fail)?;
        let mut go = Command::new("go");
        go.args(["build", "-buildvcs=false", "-mod=readonly", "-trimpath", "-ldflags", &link]);
        go.arg("-o").arg(bin.join("")).arg(packages);
        // No C compiler, and no library of this machine.
        go.env("CGO_ENABLED", "0").current_dir(dir);
        output("go build", &mut go)?;
        mend(&bin).map_err(fail)
    })?;
    Ok(dir.join("bin"))
}

/// What Kubernetes' own build tells the linker: the version, which `go_mod` has.
fn link_flags(go_mod: &str) -> Result<String, Error> {
    let mut words = go_mod.lines().map(str::split_whitespace);
    let version = words
        .find_map(|mut words| (words.next() == Some("k8s.io/kubernetes")).then(|| words.next())?);
    let mut parts = version.unwrap_or_default().trim_start_matches('v').split('.');
    let (Some(major), Some(minor), Some(patch)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::failed("reading go.mod", "it names no version of Kubernetes"));
    };
    let set = "-X k8s.io/component-base/version.git";
    // Without what only debuggers read: a third less.
    Ok(format!("-s -w {set}Version=v{major}.{minor}.{patch} {set}Major={major} {set}Minor={minor}"))
}
