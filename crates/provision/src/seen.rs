//! What a host says of a path, read from `sh/look.sh`.

/// Who acts on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Me {
    pub uid: u32,
}

/// By what power what this user may not do can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    Root,
    /// Without a password.
    Sudo,
    None,
    /// Nothing needs it.
    Unasked,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Something is there, and what it is was not asked.
    There,
    /// `at`: the nearest folder above that is there; `writable`: this user may make it there.
    Missing {
        writable: bool,
        at: String,
    },
    /// `owner`: user and group by name, each its number where it has none.
    Folder {
        mode: u32,
        uid: u32,
        gid: u32,
        user: String,
        group: String,
    },
    /// `sum`: SHA-256 in hexadecimal; `None` where it may not be read. `is_ours`: it says that Lockgate wrote it for this
    /// environment.
    File {
        mode: u32,
        uid: u32,
        size: u64,
        sum: Option<String>,
        is_ours: bool,
    },
    Link,
    /// A device, a FIFO, a socket.
    Other,
}

/// All that the script says; `None` where that is not what it says.
pub(crate) fn parse(text: &str, paths: usize) -> Option<(Me, Vec<Seen>, Power)> {
    let mut lines = text.lines();
    let me = Me { uid: lines.next()?.strip_prefix("me ")?.split(' ').next()?.parse().ok()? };
    let seen = lines.by_ref().take(paths).map(one).collect::<Option<Vec<_>>>()?;
    let power = match lines.next()?.strip_prefix("power ")? {
        "root" => Power::Root,
        "sudo" => Power::Sudo,
        "none" => Power::None,
        "unasked" => Power::Unasked,
        _ => return None,
    };
    (seen.len() == paths && lines.next().is_none()).then_some((me, seen, power))
}

fn one(line: &str) -> Option<Seen> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split(' ').collect();
    match (word, &words[..]) {
        ("there", _) => Some(Seen::There),
        ("link", _) => Some(Seen::Link),
        ("other", _) => Some(Seen::Other),
        ("missing", [writable, ..]) => {
            let at = rest.split_once(' ')?.1.to_owned();
            Some(Seen::Missing { writable: *writable == "yes", at })
        }
        ("folder", [mode, uid, gid, user, group]) => Some(Seen::Folder {
            mode: u32::from_str_radix(mode, 8).ok()?,
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            user: (*user).to_owned(),
            group: (*group).to_owned(),
        }),
        ("file", [mode, uid, size, sum, whose]) => Some(Seen::File {
            mode: u32::from_str_radix(mode, 8).ok()?,
            uid: uid.parse().ok()?,
            size: size.parse().ok()?,
            sum: Some((*sum).to_owned()).filter(|sum| sum != "-"),
            is_ours: *whose == "ours",
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_says_is_read_and_nothing_else() {
        let text = "me 1000 1000 ann\nthere\nmissing no /srv/a b\nfolder 755 0 0 root root\nfile 644 1000 3 ab others\nfile 600 0 3 - ours\nlink\nother\npower sudo\n";
        let (me, seen, power) = parse(text, 7).unwrap();
        assert_eq!((me.uid, power), (1000, Power::Sudo));
        assert_eq!(seen[1], Seen::Missing { writable: false, at: "/srv/a b".into() });
        let (user, group) = ("root".to_owned(), "root".to_owned());
        assert_eq!(seen[2], Seen::Folder { mode: 0o755, uid: 0, gid: 0, user, group });
        assert_eq!(seen[4], Seen::File { mode: 0o600, uid: 0, size: 3, sum: None, is_ours: true });
        assert_eq!(parse(text, 6), None, "a line too many");
        assert_eq!(parse(text, 8), None, "one too few");
        for odd in ["", "me x\npower root\n", "me 0 0 root\nwhat\npower root\n", "me 0 0 root\npower all\n"] {
            assert_eq!(parse(odd, usize::from(odd.contains("what"))), None, "{odd:?}");
        }
    }
}
