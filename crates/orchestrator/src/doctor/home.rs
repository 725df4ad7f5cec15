//! Whether the service's state on a host can be written.

use lockgate_own::{Foreign, NOT_OURS, SHELL};
use lockgate_ports::{Check, Command, HostPorts, STATE_FREE_MIB_MIN};

const MAY_WRITE: &str = include_str!("../sh/may-write.sh");

/// What makes that succeed. Slots' folders may be in `home`, with files of apps that are to keep their owners.
fn let_write(home: &str) -> String {
    let (home, within) =
        (shell_words::quote(home).into_owned(), shell_words::quote(&state_folder(home)).into_owned());
    format!(
        "let this user write there: `sudo mkdir -p {within} && sudo chown \"$USER\" {home} && sudo chown -R \"$USER\" \
         {within}`"
    )
}

fn state_folder(home: &str) -> String {
    format!("{home}/.lockgate")
}

/// The lease must be writable, or nothing can run.
pub(super) async fn check(ports: &HostPorts) -> Check {
    let what = "state folder";
    let folder = state_folder(&ports.home);
    let script = format!("lg_me=; {SHELL}{MAY_WRITE}");
    let asked = Command::new(["sh", "-c", &script, "sh", &ports.home, &folder]);
    let (may_write, free) = tokio::join!(ports.host.exec(&asked), ports.host.disk_free_mib(&folder));
    let mend = let_write(&ports.home);
    match (may_write, free) {
        (Ok(output), _) if output.code == NOT_OURS => {
            let foreign = Foreign::reported(&output.stderr_text());
            let (seen, mend) = foreign.map_or((folder, mend), |foreign| (foreign.message, foreign.hint));
            Check::bad(what, seen, mend)
        }
        (Ok(output), _) if !output.ok() => {
            let seen = format!("this user may not write {}", output.stdout_text().trim());
            Check::bad(what, seen, mend)
        }
        (Ok(_), Ok(free)) if free < STATE_FREE_MIB_MIN => Check::bad(
            what,
            format!("no space left on the disk that holds {}", ports.home),
            format!("free space there: `df -h` on {} shows how much there is", ports.id),
        ),
        (Ok(_), Ok(_)) => Check::ok(what, format!("{} can be written", ports.home)),
        (Err(error), _) => Check::bad(what, error.to_string(), mend),
        (_, Err(error)) => Check::bad(what, error.to_string(), "see that the disk can be looked at: `df -h`"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Somebody whom these tests never run as.
    const STRANGER: u32 = 65534;

    fn shell(script: &str, args: &[&str]) -> bool {
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args(args).status().unwrap().success()
    }

    #[test]
    fn what_is_to_be_typed_makes_the_state_folder_this_users_whether_it_is_there_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let me = dir.path().metadata().unwrap().uid();
        for (name, is_there) in [("it's there", true), ("not yet/there", false)] {
            let home = dir.path().join(name);
            let (state, app) = (home.join(".lockgate"), home.join("blue"));
            if is_there {
                for folder in [&state, &app] {
                    std::fs::create_dir_all(folder).unwrap();
                }
                std::fs::write(state.join("lease.json"), "{}").unwrap();
                // Only root can give files away; for others it is theirs already.
                if me == 0 {
                    for path in [&home, &state, &state.join("lease.json"), &app] {
                        std::os::unix::fs::chown(path, Some(STRANGER), None).unwrap();
                    }
                }
            }
            let mend = let_write(home.to_str().unwrap());
            let typed =
                mend.split('`').nth(1).unwrap().replace("sudo ", "").replace("$USER", &me.to_string());
            assert!(shell(&typed, &[]), "{typed}");
            let owner = |path: &Path| path.metadata().unwrap().uid();
            assert_eq!((owner(&home), owner(&state)), (me, me));
            if is_there {
                assert_eq!(owner(&state.join("lease.json")), me);
                assert!(me != 0 || owner(&app) == STRANGER, "what apps have they keep");
            }
            assert!(shell(
                &format!("lg_me=; {SHELL}{MAY_WRITE}"),
                &[home.to_str().unwrap(), state.to_str().unwrap()]
            ));
        }
    }
}
