//! A stream that becomes a file.
//!
//! The pieces are written to a temporary file on a thread for what waits for the disk, one after the other, so that not
//! more than two of them are in memory. What has come is counted and hashed on its way; when it is what it should be, it
//! takes the old file's place.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use lockgate_model::Millis;
use lockgate_ports::{PIECE_BYTES, Pieces, PortError, Uploaded};

use crate::files::{self, failed};
use crate::host::aside;
use crate::temporary::{self, Temporary};

pub(crate) async fn run(mut pieces: Pieces<'_>) -> Result<Uploaded, PortError> {
    let (path, stall) = (PathBuf::from(pieces.path()), pieces.stall());
    let begun = path.clone();
    let mut new = within(stall, &path, aside(move || begin(&begun))).await?;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    loop {
        pieces.next(&mut piece).await?;
        if piece.is_empty() {
            break;
        }
        let at = path.clone();
        let write = aside(move || {
            let mut new = new;
            new.file.write_all(&piece).map_err(|error| unwritten(&at, error))?;
            Ok((new, piece))
        });
        (new, piece) = within(stall, &path, write).await?;
    }
    let given = pieces.given()?;
    let (size, mode) = (given.size, pieces.mode());
    let (at, bound) = (path.clone(), pieces.settled_within());
    match tokio::time::timeout(bound.duration(), aside(move || end(new, &at, size, mode))).await {
        Ok(ended) => ended.map(|()| given),
        // It goes on by itself, and may come to its end.
        Err(_) => Err(too_slow(bound, &path).with_unknown_effect()),
    }
}

fn begin(path: &Path) -> Result<Temporary, PortError> {
    files::make_folder(path)?;
    files::require_own(path)?;
    temporary::remove_left(path);
    Temporary::beside(path).map_err(|error| unwritten(path, error))
}

/// Nobody else has the file open, so what it has is what was written.
fn end(mut new: Temporary, path: &Path, size: u64, mode: u32) -> Result<(), PortError> {
    require_size(&new.file, path, size)?;
    files::finish(&new.file, mode).map_err(|error| unwritten(path, error))?;
    new.rename(path).map_err(|error| unwritten(path, error))?;
    files::settle(path)
}

fn require_size(file: &File, path: &Path, size: u64) -> Result<(), PortError> {
    let seen = file.metadata().map_err(|error| unwritten(path, error))?.len();
    match seen == size {
        true => Ok(()),
        false => {
            let odd = format!("{seen} bytes of {size} are there after all was written");
            Err(unwritten(path, std::io::Error::other(odd)))
        }
    }
}

/// One step on the disk, within the stall bound. What is given up goes on to its own end, and its temporary file with it.
async fn within<T>(
    stall: Millis,
    path: &Path,
    step: impl Future<Output = Result<T, PortError>>,
) -> Result<T, PortError> {
    match tokio::time::timeout(stall.duration(), step).await {
        Ok(done) => done.map_err(PortError::without_effect),
        Err(_) => Err(too_slow(stall, path).without_effect()),
    }
}

fn too_slow(bound: Millis, path: &Path) -> PortError {
    let shown = path.display();
    PortError::timed_out(format!("writing {shown} did not go on: the disk took longer than {bound}"))
        .hint(format!("see what keeps the disk of {shown} busy: `iostat -x 1 5`"))
}

fn unwritten(path: &Path, error: std::io::Error) -> PortError {
    failed("write", path, error.into()).without_effect()
}
