//! A lock that somebody else holds.

use lockgate_model::{HostId, quoted};

use crate::PortError;

/// Longest name of a program that is shown, in characters.
const NAME_CHARS_MAX: usize = 40;

/// Who holds a lock, as far as its machine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process id on the machine that has the lock.
    pub pid: u32,
    /// Its program's name, as its machine has it; `None` where that is not known.
    pub name: Option<String>,
    /// It was stopped (SIGSTOP, Ctrl-Z, a debugger), so it does not let go by itself.
    pub is_stopped: bool,
}

impl LockHolder {
    /// What is said when the lock was not had within `seconds`: nothing has changed. `None` where nobody knows who has it.
    #[must_use]
    pub fn refusal(holder: Option<&LockHolder>, lock: &str, seconds: u64, host: &HostId) -> PortError {
        let on = if host.is_local() { String::new() } else { format!("on {host}: ") };
        let (by, hint) = match holder {
            None => (String::new(), format!("see who holds it: `lsof {lock}`")),
            Some(LockHolder { pid, name, is_stopped }) => {
                let name = name.as_ref().map(|name| format!(" ({})", quoted(name, NAME_CHARS_MAX)));
                let by = format!(" by process {pid}{}", name.unwrap_or_default());
                match is_stopped {
                    true => (
                        format!("{by}, which is stopped"),
                        format!("let it go on: `kill -CONT {pid}`, or end it: `kill -KILL {pid}`"),
                    ),
                    false => (by, format!("see what it does: `ps -fp {pid}`, or end it: `kill {pid}`")),
                }
            }
        };
        PortError::timed_out(format!("{lock} was locked for {seconds} s{by}; nothing changed"))
            .without_effect()
            .hint(format!("{on}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_who_holds_a_lock_and_what_to_type() {
        let said = |holder: Option<LockHolder>, host: &str| {
            let host = HostId::new(host).unwrap();
            let error = LockHolder::refusal(holder.as_ref(), "/srv/lease.json.lock", 10, &host);
            format!("{}; {}", error.message, error.hints())
        };
        let holder = |name: Option<&str>, is_stopped| {
            Some(LockHolder { pid: 42, name: name.map(str::to_owned), is_stopped })
        };
        assert_eq!(
            said(None, "local"),
            "/srv/lease.json.lock was locked for 10 s; nothing changed; see who holds it: `lsof /srv/lease.json.lock`"
        );
        assert_eq!(
            said(holder(Some("`rm`\n"), true), "web1"),
            "/srv/lease.json.lock was locked for 10 s by process 42 ('rm'\\n), which is stopped; nothing changed; \
             on web1: let it go on: `kill -CONT 42`, or end it: `kill -KILL 42`"
        );
        assert_eq!(
            said(holder(None, false), "local"),
            "/srv/lease.json.lock was locked for 10 s by process 42; nothing changed; \
             see what it does: `ps -fp 42`, or end it: `kill 42`"
        );
    }
}
