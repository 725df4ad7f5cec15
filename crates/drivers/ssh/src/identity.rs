//! The key and the host keys of the configuration, for `ssh` to read.
//!
//! They lie in files that the kernel keeps in memory (memfd_create(2)) and that have no name: `ssh` opens them by this process'
//! `/proc/<pid>/fd/<n>`, which only the same user may. So a key is never on a disk, and gone with this process, however that
//! ends. It is gone as soon as `ssh` has authenticated, for it is needed no more. Turned down: an agent of our own, which would
//! live on with the key when we are killed, and a file of mode 0600, which would lie there then until somebody sweeps.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;

use lockgate_model::{HostId, Ssh};
use lockgate_ports::PortError;
use rustix::fs::{MemfdFlags, memfd_create};

/// As ssh wants it of a private key.
const MODE: u32 = 0o600;

/// Dropping it takes the key away.
pub(crate) struct Identity {
    /// Kept open for `ssh`.
    _files: Vec<File>,
    /// For the command line, which holds no secret.
    pub(crate) arguments: Vec<String>,
}

impl Identity {
    /// # Errors
    /// Those of making a file in memory.
    pub(crate) fn of(host: &HostId, settings: &Ssh) -> Result<Identity, PortError> {
        let (mut files, mut arguments) = (Vec::new(), Vec::new());
        if let Some(key) = &settings.key {
            let (file, path) = in_memory("lockgate-key", key.reveal())?;
            files.push(file);
            arguments.extend(["-i".to_owned(), path, "-o".to_owned(), "IdentitiesOnly=yes".to_owned()]);
        }
        if let Some(known) = &settings.known_hosts {
            let (file, path) = in_memory("lockgate-known-hosts", known)?;
            files.push(file);
            for option in [
                format!("UserKnownHostsFile={path}"),
                "GlobalKnownHostsFile=/dev/null".to_owned(),
                "UpdateHostKeys=no".to_owned(),
            ] {
                arguments.extend(["-o".to_owned(), option]);
            }
        }
        arguments
            .extend(user(host, settings).into_iter().flat_map(|user| ["-l".to_owned(), user.to_owned()]));
        Ok(Identity { _files: files, arguments })
    }
}

/// Who logs in, where the host's name says nobody.
pub(crate) fn user<'a>(host: &HostId, settings: &'a Ssh) -> Option<&'a str> {
    settings.user.as_deref().filter(|_| !host.as_str().contains('@'))
}

/// The file, and the path by which programs that this process starts open it.
fn in_memory(name: &str, content: &str) -> Result<(File, String), PortError> {
    let make = || -> std::io::Result<(File, String)> {
        let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(content.as_bytes())?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        Ok((file, path))
    };
    make().map_err(|error| {
        PortError::from(error).context("a key cannot be kept in memory for ssh").without_effect()
    })
}
