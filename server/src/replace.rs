//! A file that is whole whenever the power fails.
//!
//! Writing over a file leaves half of it when the program dies in the middle. So the new content goes into a new file
//! beside it, which is forced to the disk and then renamed: the system puts one in the place of the other in one
//! step, and who opens the file finds all of the old content or all of the new. The folder is forced to the disk
//! last, for the name is in there: only then is the change sure to last, and may be promised to somebody.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces the content of the file at `path`, or makes the file. When this returns, the new content lasts.
///
/// Only one thread may do so at a time: the new file always has the same name, `path` with `.new` behind it, so that
/// what a crash leaves behind is overwritten and does not pile up.
///
/// # Errors
/// The system refuses; the file is as it was, or has the new content. Something else than a file, such as `/dev/null`,
/// is not replaced.
pub(crate) fn replace(path: &Path, content: &str) -> io::Result<()> {
    let path = follow(path)?;
    let mut new = OsString::from(&path);
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    File::open(folder_of(&path))?.sync_all()
}

/// The file that `path` leads to: a link stays one.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path.into()),
        found => found?,
    };
    if path.is_file() { Ok(path) } else { Err(io::Error::other("it is no file")) }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
