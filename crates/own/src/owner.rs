//! Users whose files are taken, and groups that have nobody else in them.

use std::fs::File;
use std::io::Read;

use rustix::process::geteuid;

/// As much of `/etc/passwd` and `/etc/group` as is read.
const ACCOUNTS_BYTES_MAX: u64 = 4 * 1024 * 1024;
const ROOT: u32 = 0;

/// The user who acts.
pub(crate) fn me() -> u32 {
    geteuid().as_raw()
}

/// The user who acts, root, and whom root acts for.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == ROOT || uid == me() || (me() == ROOT && behind_sudo() == Some(uid))
}

fn behind_sudo() -> Option<u32> {
    std::env::var("SUDO_UID").ok()?.parse().ok()
}

/// The user's name, if this machine's `/etc/passwd` has it.
#[must_use]
pub fn user_name(uid: u32) -> Option<String> {
    let accounts = accounts("/etc/passwd")?;
    let line = accounts.lines().find(|line| number(line, 2) == Some(uid))?;
    line.split(':').next().map(str::to_owned)
}

/// The group is the user's own and nobody else is in it, by this machine's files: where accounts come from elsewhere,
/// that is not known and so not so.
pub(crate) fn is_private(uid: u32, gid: u32) -> bool {
    let both = accounts("/etc/passwd").zip(accounts("/etc/group"));
    both.is_some_and(|(users, groups)| is_private_by(&users, &groups, uid, gid))
}

fn is_private_by(users: &str, groups: &str, uid: u32, gid: u32) -> bool {
    let mut within = users.lines().filter(|line| number(line, 3) == Some(gid)).peekable();
    let Some(name) = within.peek().and_then(|line| line.split(':').next()) else { return false };
    if !within.all(|line| number(line, 2) == Some(uid)) {
        return false;
    }
    let mut named = groups.lines().filter(|line| number(line, 2) == Some(gid)).peekable();
    named.peek().is_some()
        && named.all(|line| {
            let members = line.split(':').nth(3).unwrap_or_default();
            line.split(':').next() == Some(name) && (members.is_empty() || members == name)
        })
}

fn number(line: &str, field: usize) -> Option<u32> {
    line.split(':').nth(field)?.parse().ok()
}

fn accounts(path: &str) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(ACCOUNTS_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_private_only_when_nobody_else_is_in_it() {
        let users = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n\
                     eve:x:1002:50::/:/bin/sh\nmax:x:1003:1003::/:/bin/sh\nzoe:x:1004:1003::/:/bin/sh\n";
        let groups = "root:x:0:\nann:x:1000:\nbob:x:1001:bob,eve\nstaff:x:50:\nmax:x:1003:max\n";
        let private = |uid, gid| is_private_by(users, groups, uid, gid);
        assert!(private(0, 0) && private(1000, 1000));
        assert!(!private(1001, 1001), "eve is in it");
        assert!(!private(1002, 50), "not the user's own");
        assert!(!private(1003, 1003), "zoe's too");
        assert!(!private(1000, 0) && !private(7, 7));
        assert!(!is_private_by(users, "", 1000, 1000), "not known");
    }
}
