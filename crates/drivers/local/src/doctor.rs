//! What `doctor` looks at on this machine.

use lockgate_ports::{Check, Host, PortError, Swapped};

use crate::{Local, holder_identity};

pub(crate) async fn check(host: &Local) -> Vec<Check> {
    let system = rustix::system::uname();
    let seen = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
    vec![Check::ok("this machine", seen), identity(), files(host).await]
}

fn identity() -> Check {
    let identity = holder_identity();
    if identity.boot_id.is_empty() || identity.started == 0 {
        Check::warn(
            "process identity",
            "/proc is not readable: a lease left by a killed run is only free when it expires",
            "mount /proc",
        )
    } else {
        Check::ok("process identity", format!("{} process {}", identity.owner, identity.pid))
    }
}

/// Swaps a file as a lease is swapped.
async fn files(host: &Local) -> Check {
    let what = "locked files";
    let mend = "make the temporary folder writable and put it on a local file system";
    // Everybody may write in the temporary folder itself.
    let folder = std::env::temp_dir().join(format!("lockgate-doctor-{}", std::process::id()));
    let path = folder.join("file").display().to_string();
    let swapped = host.swap(&path, None, b"doctor").await;
    let lock = host.remove(&format!("{path}.lock")).await;
    let removed =
        host.remove(&path).await.and(lock).and(std::fs::remove_dir(&folder).map_err(PortError::from));
    match (swapped, removed) {
        (Ok(Swapped::Yes), Ok(())) => Check::ok(what, "flock, fsync and rename work"),
        (Ok(Swapped::No), Ok(())) => Check::warn(what, format!("{path} was already there"), "try again"),
        (Err(error), _) | (_, Err(error)) => Check::bad(what, error.to_string(), mend),
    }
}
