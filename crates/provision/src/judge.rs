//! How it stands with each thing that a host needs. Pure: from what was seen to what is told and done.

use lockgate_model::{SetupItem, SetupKind, SetupState};

use crate::items::{item, noted, refused};
use crate::seen::{Me, Power, Seen};
use crate::wanted::{WantedFile, WantedFolder, WantedVariables};

/// Of a file with secrets.
pub(crate) const VARIABLES_MODE: u32 = 0o600;
/// Everybody's permission to write.
const OTHERS_WRITE: u32 = 0o002;

/// The file that says that the host is ready.
pub(crate) fn ready(path: &str, seen: &Seen) -> SetupItem {
    let state = if *seen == Seen::There { SetupState::There } else { SetupState::Waits };
    item(SetupKind::Ready, path, state)
}

pub(crate) fn folder(wanted: &WantedFolder, seen: &Seen, me: Me, power: Power) -> SetupItem {
    let path = &wanted.path;
    let new = |state| item(SetupKind::Folder, path, state);
    match seen {
        Seen::Folder { mode, uid, gid, user, group } => {
            if wanted.is_ours && wanted.owner.is_none() && *uid != 0 && *uid != me.uid {
                let note = format!(
                    "it belongs to {user}, who could put something else in the place of what is uploaded"
                );
                return refused(
                    new(SetupState::Refused),
                    note,
                    format!("log in as {user}, or `chown {} {path}` on the host", me.uid),
                );
            }
            let others_write = wanted.mode.unwrap_or(*mode) & OTHERS_WRITE != 0;
            if wanted.is_ours && others_write {
                return refused(
                    new(SetupState::Refused),
                    "everybody may write there",
                    format!("`chmod o-w {path}` on the host"),
                );
            }
            let has_owner = wanted.owner.as_ref().is_none_or(|owner| {
                let (wanted_user, wanted_group) =
                    owner.split_once(':').map_or((owner.as_str(), None), |(user, group)| (user, Some(group)));
                let is = |wanted: &str, name: &str, id: u32| wanted == name || wanted.parse() == Ok(id);
                is(wanted_user, user, *uid) && wanted_group.is_none_or(|wanted| is(wanted, group, *gid))
            });
            let has_mode = wanted.mode.is_none_or(|wanted| wanted == *mode);
            match (has_owner, has_mode) {
                (true, true) => new(SetupState::There),
                (false, _) => noted(new(SetupState::Make), format!("it belongs to {user}:{group}")),
                (true, false) => noted(new(SetupState::Make), format!("its mode is {mode:04o}")),
            }
        }
        Seen::Missing { writable: true, .. } => new(SetupState::Make),
        Seen::Missing { writable: false, .. } if power == Power::Sudo => {
            noted(new(SetupState::Make), "by sudo")
        }
        Seen::Missing { writable: false, at } => {
            let note =
                format!("it cannot be made in {at} without root, and there is no sudo without a password");
            let hint = format!(
                "make it once, as root on the host: `install -d -o {} {path}`; or log in as root",
                me.uid
            );
            refused(new(SetupState::Refused), note, hint)
        }
        Seen::There | Seen::File { .. } | Seen::Link | Seen::Other => refused(
            new(SetupState::Refused),
            "something is there that is no folder",
            format!("see what it is, on the host: `ls -ld {path}`"),
        ),
    }
}

/// `rivals`: those that are there.
pub(crate) fn file(wanted: &WantedFile, seen: &Seen, rivals: &[&str], me: Me) -> SetupItem {
    let path = &wanted.path;
    let new = |state| noted(item(SetupKind::File, path, state), format!("from {}", wanted.from));
    if let Some(rival) = rivals.first() {
        let note = format!("{rival} is there, and Compose would take it in its place");
        return refused(
            new(SetupState::Refused),
            note,
            format!("move it away on the host: `mv {rival} {rival}.old`"),
        );
    }
    match seen {
        Seen::Missing { .. } => new(SetupState::Make),
        Seen::File { uid, .. } if *uid != 0 && *uid != me.uid => {
            let note = format!("it belongs to the user with the number {uid}");
            refused(
                new(SetupState::Refused),
                note,
                format!("log in as that user, or `chown {} {path}` on the host", me.uid),
            )
        }
        Seen::File { size, sum, .. } => {
            let same = *size == wanted.content.len() as u64
                && sum.as_ref().is_some_and(|sum| wanted.digest.as_str() == format!("sha256:{sum}"));
            if same {
                item(SetupKind::File, path, SetupState::There)
            } else {
                noted(new(SetupState::Make), format!("it differs from {}", wanted.from))
            }
        }
        Seen::Link => refused(
            new(SetupState::Refused),
            "it is a link, which is not followed",
            format!("remove it on the host: `rm {path}`"),
        ),
        Seen::There | Seen::Folder { .. } | Seen::Other => refused(
            new(SetupState::Refused),
            "something is there that is no file",
            format!("see what it is, on the host: `ls -ld {path}`"),
        ),
    }
}

/// Lockgate owns the file that it wrote: no other is replaced unless somebody says so. `None` where there is nothing to say:
/// nobody wants a variable, and no file has one that Lockgate wrote.
pub(crate) fn variables(wanted: &WantedVariables, seen: &Seen, me: Me) -> Option<SetupItem> {
    match wanted.content.is_empty() && !wanted.is_partial {
        true => stale(wanted, seen, me),
        false => Some(written(wanted, seen, me)),
    }
}

/// Emptied, not removed: a Compose file may name it still (`env_file: .env`), and what is live must be startable again.
fn stale(wanted: &WantedVariables, seen: &Seen, me: Me) -> Option<SetupItem> {
    let Seen::File { is_ours: true, uid, sum, .. } = seen else { return None };
    let digest = wanted.content.digest();
    if sum.as_ref().is_some_and(|sum| digest.as_str() == format!("sha256:{sum}")) {
        return None;
    }
    let new = item(SetupKind::Variables, &wanted.path, SetupState::Make);
    Some(match *uid == me.uid {
        true => noted(new, "`env` of lockgate.yaml is empty now: what Lockgate wrote into it is taken out"),
        false => refused(
            new,
            format!(
                "it has values that Lockgate wrote, `env` is empty now, and it belongs to the user with the number {uid}"
            ),
            format!("remove it on the host: `rm {}`", wanted.path),
        ),
    })
}

fn written(wanted: &WantedVariables, seen: &Seen, me: Me) -> SetupItem {
    let path = &wanted.path;
    let new = |state| item(SetupKind::Variables, path, state);
    let look = || format!("see what it is, on the host: `ls -ld {path}`");
    match seen {
        Seen::Missing { .. } => noted(new(SetupState::Make), wanted.content.summary()),
        Seen::Link => refused(
            new(SetupState::Refused),
            "it is a link, and secrets are not written where it leads",
            format!("remove it on the host: `rm {path}`"),
        ),
        Seen::There | Seen::Folder { .. } | Seen::Other => {
            refused(new(SetupState::Refused), "something is there that is no file", look())
        }
        Seen::File { uid, .. } if *uid != me.uid => {
            let note =
                format!("it belongs to the user with the number {uid}, who could read what is written");
            refused(new(SetupState::Refused), note, look())
        }
        Seen::File { is_ours: false, .. } if !wanted.overwrite => refused(
            new(SetupState::Refused),
            "Lockgate did not write it for this environment",
            format!(
                "take what is in it over into `env` of lockgate.yaml, then `lockgate setup --overwrite-env` puts it in its place; \
                 see it on the host: `cat {path}`"
            ),
        ),
        Seen::File { is_ours: false, .. } => {
            noted(new(SetupState::Make), "Lockgate did not write it, and it is replaced")
        }
        Seen::File { mode, sum, .. } => {
            let digest = wanted.content.digest();
            let same = sum.as_ref().is_some_and(|sum| digest.as_str() == format!("sha256:{sum}"));
            match (same || wanted.is_partial, *mode == VARIABLES_MODE) {
                (true, true) => new(SetupState::There),
                (true, false) => noted(new(SetupState::Make), format!("its mode is {mode:04o}")),
                (false, _) => {
                    noted(new(SetupState::Make), format!("it differs; {}", wanted.content.summary()))
                }
            }
        }
    }
}
