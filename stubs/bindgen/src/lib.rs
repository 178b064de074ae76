//! Stands in for bindgen in the build of the pg_query crate, so that building needs no libclang.
//!
//! It is not bindgen: it has only the calls that pg_query 18.1's build script makes, and answers
//! them with bindings that the real bindgen made once from the same headers. The headers, and the
//! layout that both compilers give the structs, are checked in every build. README.md says why
//! this exists, why it is sound, how to regenerate the bindings and when to drop it.
//!
//! ```no_run
//! bindgen::Builder::default().header("…/pg_query.h").generate()?.write_to_file("bindings.rs")?;
//! # Ok::<(), bindgen::Error>(())
//! ```

mod layout;

use std::path::{Path, PathBuf};
use std::{env, fs};

/// What the real bindgen 0.66.1 made of [`HEADERS`].
const BINDINGS: &str = include_str!("pg_query_18_1.rs");
/// The headers that the bindings are of: the one that is named, and those of its folder that it
/// includes.
const HEADERS: [&str; 3] = ["pg_query.h", "pg_query_scan_tokens.h", "postgres_deparse.h"];
/// FNV-1a (64 bits) of the three headers' bytes, one after the other.
const HEADERS_DIGEST: u64 = 0xbfd4_a1cc_dbf5_a410;
/// Targets for which the layout and the calling convention were thought through.
const SYSTEMS: [&str; 2] = ["linux", "macos"];
const PROCESSORS: [&str; 2] = ["x86_64", "aarch64"];

/// Why no bindings are handed out. The remedy is in each message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A header could not be read, or the bindings not be written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: std::io::Error,
    },
    /// The target is not one of those the bindings are right for.
    #[error(
        "greffier's checked-in bindings for pg_query are right for 64-bit Linux and macOS on \
         x86_64 and aarch64 only, not for {0}: remove the [patch.crates-io] entry for bindgen and \
         install libclang (see stubs/bindgen/README.md)"
    )]
    Target(String),
    /// The header is not pg_query 18.1's.
    #[error(
        "the headers beside {path} are not those that greffier's checked-in bindings were made of \
         (digest {found:#018x}): regenerate them, see stubs/bindgen/README.md"
    )]
    Header {
        /// The header that was named.
        path: PathBuf,
        /// The digest of what was found.
        found: u64,
    },
    /// The C compiler lays a struct out in another way, or there is none.
    #[error(
        "the C compiler does not confirm the struct layout of greffier's checked-in bindings for \
         pg_query (see stubs/bindgen/README.md): {0}"
    )]
    Layout(#[from] cc::Error),
}

/// Takes the header's path.
#[derive(Debug, Default)]
pub struct Builder {
    header: PathBuf,
}

impl Builder {
    /// The header to bind; it must be pg_query 18.1's `pg_query.h`, its other headers beside it.
    #[must_use]
    pub fn header(mut self, path: impl AsRef<str>) -> Self {
        self.header = PathBuf::from(path.as_ref());
        self
    }

    /// Checks target, headers and layout.
    ///
    /// # Errors
    ///
    /// [`Error`], if the checked-in bindings may not be right. Reads the variables that cargo sets
    /// for build scripts.
    pub fn generate(self) -> Result<Bindings, Error> {
        check_target(
            &env::var("CARGO_CFG_TARGET_OS").unwrap_or_default(),
            &env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default(),
            &env::var("CARGO_CFG_TARGET_POINTER_WIDTH").unwrap_or_default(),
        )?;
        let found = digest(&self.header)?;
        if found != HEADERS_DIGEST {
            return Err(Error::Header { path: self.header, found });
        }
        confirm_layout(&self.header)?;
        Ok(Bindings(()))
    }
}

/// Bindings that were found right for this build.
#[derive(Debug)]
pub struct Bindings(());

impl Bindings {
    /// Writes them, with the assertions that rustc checks.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn write_to_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let text = format!("{BINDINGS}{}", layout::rust_assertions());
        fs::write(&path, text).map_err(|error| Error::Io { path: path.as_ref().to_owned(), error })
    }
}

fn check_target(system: &str, processor: &str, pointer_width: &str) -> Result<(), Error> {
    // A 32-bit ABI on a 64-bit processor (x32, ILP32) has the processor's name.
    if SYSTEMS.contains(&system) && PROCESSORS.contains(&processor) && pointer_width == "64" {
        return Ok(());
    }
    Err(Error::Target(format!("{processor} {system}, {pointer_width}-bit pointers")))
}

/// The digest of the header and those beside it.
fn digest(header: &Path) -> Result<u64, Error> {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for name in HEADERS {
        let path = header.with_file_name(name);
        let bytes = fs::read(&path).map_err(|error| Error::Io { path, error })?;
        for byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    Ok(hash)
}

/// Has the C compiler that compiles the parser compile the layout's assertions too.
fn confirm_layout(header: &Path) -> Result<(), Error> {
    let folder = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let file = folder.join("greffier_layout.c");
    let text = layout::c_assertions("pg_query.h");
    fs::write(&file, text).map_err(|error| Error::Io { path: file.clone(), error })?;
    cc::Build::new()
        .file(&file)
        .include(header.parent().unwrap_or(Path::new(".")))
        .cargo_metadata(false)
        .try_compile("greffier_layout")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every struct with fields is in the table with all of them, and no other.
    #[test]
    fn the_table_covers_the_bindings() {
        let mut found = BTreeSet::new();
        for part in BINDINGS.split("pub struct ").skip(1) {
            let (name, rest) = part.split_once(" {").unwrap();
            let (body, _) = rest.split_once("\n}").unwrap();
            for line in body.lines() {
                if let Some((field, _)) =
                    line.trim().strip_prefix("pub ").and_then(|l| l.split_once(": "))
                {
                    found.insert(format!("{name}.{field}"));
                }
            }
        }
        let table: BTreeSet<String> = layout::LAYOUT
            .iter()
            .flat_map(|it| it.fields.iter().map(move |(field, _)| format!("{}.{field}", it.name)))
            .collect();
        assert_eq!(table, found);
        assert!(found.len() > 40);
    }

    /// Types whose size differs between the targets are not in the bindings.
    #[test]
    fn the_bindings_hold_no_type_that_differs() {
        for word in ["c_long", "c_ulong", "wchar", "c_longdouble", "union ", "packed", "size_t"] {
            assert!(!BINDINGS.contains(word), "{word}");
        }
    }

    #[test]
    fn other_targets_are_refused() {
        for (system, processor, width) in [
            ("windows", "x86_64", "64"),
            ("linux", "x86_64", "32"),
            ("linux", "riscv64", "64"),
            ("", "", ""),
        ] {
            assert!(check_target(system, processor, width).is_err());
        }
        for system in SYSTEMS {
            for processor in PROCESSORS {
                assert!(check_target(system, processor, "64").is_ok());
            }
        }
    }

    #[test]
    fn other_headers_have_another_digest() {
        let folder = env::temp_dir().join(format!("greffier-headers-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in HEADERS {
            fs::write(folder.join(name), "int x;").unwrap();
        }
        let found = digest(&folder.join("pg_query.h"));
        fs::remove_dir_all(&folder).unwrap();
        assert_ne!(found.unwrap(), HEADERS_DIGEST);
        assert!(matches!(digest(&folder.join("pg_query.h")), Err(Error::Io { .. })));
    }
}
