//! The same look on a host, as functions of a POSIX shell.

/// Exit code of a script that found something that is not ours, and did nothing.
pub const NOT_OURS: i32 = 77;
/// How a report's line begins; then why (`kind`, `owner`, `group` or `all`), the mode as `ls -l` shows it, the owner's
/// uid, that of the user who acts, and the path.
pub(crate) const REPORT: &str = "lockgate-not-ours";

/// `lg_ours` and `lg_quick`, as `sh/ours.sh` says them; a script that calls them sets `lg_me` first.
pub const SHELL: &str = include_str!("sh/ours.sh");

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::Foreign;

    /// Somebody whom these tests never run as.
    const STRANGER: u32 = 65534;

    fn shells() -> Vec<Vec<&'static str>> {
        let shells = [vec!["sh"], vec!["busybox", "sh"], vec!["bash"]];
        let is_there = |shell: &Vec<&str>| {
            Command::new(shell[0])
                .args(&shell[1..])
                .args(["-c", ":"])
                .output()
                .is_ok_and(|end| end.status.success())
        };
        shells.into_iter().filter(is_there).collect()
    }

    /// What it reports, by every shell that is here; `None` when all is ours.
    fn seen(function: &str, paths: &[&Path]) -> Option<String> {
        let script = format!("lg_me=; {SHELL}{function} \"$@\"");
        let mut all: Vec<Option<String>> = Vec::new();
        for shell in shells() {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).args(["-c", &script, "sh"]).args(paths).env_remove("SUDO_UID");
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            let told =
                Foreign::reported(&said).map(|foreign| format!("{}; {}", foreign.message, foreign.hint));
            assert_eq!(output.status.success(), told.is_none(), "{shell:?}: {said}");
            all.push(told);
        }
        assert!(all.windows(2).all(|two| two[0] == two[1]), "{all:#?}");
        all.pop().unwrap()
    }

    #[test]
    fn a_shell_judges_as_we_do() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("it's one"), dir.path().join("it's one/a file"));
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
        };
        assert_eq!(seen("lg_ours", &[&folder, &file]), None, "what is not there is nobody's");
        crate::make_folder(&folder).unwrap();
        std::fs::write(&file, "x").unwrap();
        let both: [&Path; 2] = [&folder, &file];
        let says = |function: &str, wanted: &str| {
            let told = seen(function, &both).unwrap_or_default();
            assert!(told.contains(wanted), "{wanted}: {told:?}");
        };
        chmod(&file, 0o644);
        assert_eq!(seen("lg_ours", &both), None);
        assert_eq!(seen("lg_quick", &both), None);
        for (path, mode, plain) in [(&folder, 0o757, 0o755), (&file, 0o602, 0o644)] {
            chmod(path, mode);
            says("lg_ours", &format!("{} can be written by every user", path.display()));
            says("lg_ours", "`chmod go-w '");
            chmod(path, plain);
        }
        for function in ["lg_ours", "lg_quick"] {
            std::fs::remove_file(&file).unwrap();
            symlink("/etc/passwd", &file).unwrap();
            says(function, &format!("{} is a symbolic link", file.display()));
            std::fs::remove_file(&file).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, &file, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
            says(function, &format!("{} is a FIFO", file.display()));
            std::fs::remove_file(&file).unwrap();
            std::fs::write(&file, "x").unwrap();
        }
        if crate::owner::me() != 0 {
            eprintln!("skipped: only root can give files away");
            return;
        }
        for (path, mode) in [(&folder, 0o775), (&file, 0o664)] {
            chmod(path, mode);
            assert_eq!(seen("lg_ours", &both), None, "nobody else is in root's group");
            chown(path, None, Some(STRANGER)).unwrap();
            says("lg_ours", "can be written by its group");
            chmod(path, mode & !0o020);
            assert_eq!(seen("lg_ours", &both), None);
            chown(path, Some(STRANGER), None).unwrap();
            for function in ["lg_ours", "lg_quick"] {
                says(function, &format!("{} belongs to uid 65534", path.display()));
            }
            chown(path, Some(0), Some(0)).unwrap();
        }
    }
}
