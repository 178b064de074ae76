//! Several new objects of a folder at once.
//!
//! An object on its own costs three trips through the file system's journal: its file, and its
//! folder twice or more; and all of them on a disk that the ring may share. Here the files of one
//! stage are flushed side by side, which one commit of the journal can serve, and each folder
//! once. What counts stays as it is: an object appears under its name with all of its bytes, or
//! not at all, and is durable when the call returns.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Files that are flushed at the same time.
const PARALLEL_SYNCS: usize = 8;
/// Names that are tried for a file that is not complete yet; others are what crashes left.
const MAX_STAGED: u32 = 1000;

/// A file with all bytes of an object, not yet under its name.
struct Staged {
    file: File,
    at: PathBuf,
    name: PathBuf,
}

/// Creates objects below `root`; their names are relative paths without `.` and `..`. Gives the
/// indices of those whose names were taken, whatever their bytes. Blocks.
///
/// # Errors
/// Those of the operating system. Some of the objects may then be there: doing the same again
/// is safe.
pub(super) fn create_all(root: &Path, objects: &[(String, Bytes)]) -> io::Result<Vec<usize>> {
    let mut folders = BTreeSet::new();
    let mut staged = Vec::with_capacity(objects.len());
    let written = stage_all(root, objects, &mut folders, &mut staged)
        .and_then(|()| sync_all(&staged))
        .and_then(|()| name_all(&staged));
    for file in &staged {
        // One that stays is no object: its name says so.
        let _gone = fs::remove_file(&file.at);
    }
    let taken = written?;
    for folder in &folders {
        File::open(folder)?.sync_all()?;
    }
    Ok(taken)
}

fn stage_all(
    root: &Path,
    objects: &[(String, Bytes)],
    folders: &mut BTreeSet<PathBuf>,
    staged: &mut Vec<Staged>,
) -> io::Result<()> {
    for (name, bytes) in objects {
        let name = root.join(name);
        let folder = name.parent().unwrap_or(root);
        make_folder(root, folder, folders)?;
        folders.insert(folder.to_owned());
        let (file, at) = stage(&name)?;
        staged.push(Staged { file, at, name });
        if let Some(Staged { file, .. }) = staged.last_mut() {
            file.write_all(bytes)?;
        }
    }
    Ok(())
}

/// A new file beside the name, which listings take for no object (as `object_store` names them).
fn stage(name: &Path) -> io::Result<(File, PathBuf)> {
    for number in 1..MAX_STAGED {
        let mut at = name.as_os_str().to_owned();
        at.push(format!("#{number}"));
        match OpenOptions::new().write(true).create_new(true).open(&at) {
            Ok(file) => return Ok((file, at.into())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many unfinished files lie beside an object"))
}

/// Makes a folder and those above it; notes whose entries that changed.
fn make_folder(root: &Path, folder: &Path, changed: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let missing: Vec<&Path> = folder
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(root) && !ancestor.is_dir())
        .collect();
    for folder in missing.iter().rev() {
        match fs::create_dir(folder) {
            // Made by another log's writer in between: it counts as ours, for the flush.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        changed.extend(folder.parent().map(Path::to_owned));
    }
    Ok(())
}

fn sync_all(staged: &[Staged]) -> io::Result<()> {
    let share = staged.len().div_ceil(PARALLEL_SYNCS).max(1);
    let sync = |files: &[Staged]| files.iter().try_for_each(|staged| staged.file.sync_all());
    let mut shares = staged.chunks(share);
    let own = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let sync = &sync;
        let threads: Vec<_> = shares.map(|files| scope.spawn(move || sync(files))).collect();
        let mut all = sync(own);
        for thread in threads {
            let one = thread.join().unwrap_or_else(|_| Err(io::Error::other("a flush panicked")));
            all = all.and(one);
        }
        all
    })
}

/// Gives the files their names. A name is never taken from another file.
fn name_all(staged: &[Staged]) -> io::Result<Vec<usize>> {
    let mut taken = Vec::new();
    for (index, file) in staged.iter().enumerate() {
        match fs::hard_link(&file.at, &file.name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken.push(index),
            linked => linked?,
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, bytes: &[u8]) -> (String, Bytes) {
        (name.to_owned(), Bytes::copy_from_slice(bytes))
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn objects_appear_whole_and_nothing_else_stays() {
        let root = tempfile::tempdir().unwrap();
        let many: Vec<_> =
            (0..40u8).map(|n| object(&format!("t/{}/{n}", n % 3), &[n; 9])).collect();
        assert_eq!(create_all(root.path(), &many).unwrap(), [] as [usize; 0]);
        for (name, bytes) in &many {
            assert_eq!(fs::read(root.path().join(name)).unwrap(), &bytes[..]);
        }
        assert_eq!(files(&root.path().join("t")), ["0", "1", "2"]);
        assert_eq!(files(&root.path().join("t/2")).len(), 13);
    }

    #[test]
    fn a_name_that_is_taken_keeps_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        create_all(root.path(), &[object("a/1", b"one")]).unwrap();
        // What a crash left beside it is no hindrance.
        fs::write(root.path().join("a/2#1"), b"torn").unwrap();
        let again = [object("a/1", b"other"), object("a/2", b"two")];
        assert_eq!(create_all(root.path(), &again).unwrap(), [0]);
        assert_eq!(fs::read(root.path().join("a/1")).unwrap(), b"one");
        assert_eq!(fs::read(root.path().join("a/2")).unwrap(), b"two");
        assert_eq!(files(&root.path().join("a")), ["1", "2", "2#1"]);
    }

    #[test]
    fn what_cannot_be_written_is_an_error_and_leaves_no_object() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), b"").unwrap();
        let objects = [object("good", b"1"), object("file/below", b"2")];
        create_all(root.path(), &objects).unwrap_err();
        assert_eq!(files(root.path()), ["file"]);
    }
}
