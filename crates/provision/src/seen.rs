//! What a host says of what it has, read from `sh/look.sh`. It may say anything: what is read here is bounded, and words that
//! go into something to type hold nothing that a shell reads otherwise.

/// Longest word of a host's own.
const WORD_CHARS_MAX: usize = 100;
/// Longest path of a program.
const PATH_CHARS_MAX: usize = 1000;

/// All that a host says in one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looked {
    pub me: Me,
    /// The name of whoever acts; its number where the name is none that could be typed.
    pub user: String,
    /// `None` where it was not asked for.
    pub docker: Option<SeenDocker>,
    /// `None` where it was not asked for.
    pub program: Option<SeenProgram>,
    /// Of each path, in the order in which it was asked for.
    pub seen: Vec<Seen>,
    pub power: Power,
}

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

/// What a host says of its Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenDocker {
    /// Whose `docker` is there.
    pub cli: Cli,
    pub engine: Engine,
    /// Of Compose, version 1 or later; `None` where there is none.
    pub compose: Option<String>,
    /// The distribution's package of the engine.
    pub is_installed: bool,
    /// Its installation has begun and not ended.
    pub is_broken_off: bool,
    /// Packages of docker.com's are there.
    pub has_foreign_packages: bool,
    /// This user is in the group `docker`.
    pub is_member: bool,
    pub has_apt: bool,
    /// `ID` of os-release, such as `debian`; empty where it says none.
    pub system: String,
    /// `VERSION_ID` of os-release; `None` as in Debian's testing.
    pub release: Option<String>,
    /// For people; may be empty.
    pub name: String,
}

/// Whose command line is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cli {
    None,
    Distribution,
    DockerCom,
    Snap,
    /// Podman's, which calls itself `docker`.
    Podman,
    /// No package's that is known.
    Other,
}

/// How the engine answers this user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Engine {
    /// With its version, where it says one.
    Up(Option<String>),
    Denied,
    Down,
}

/// What a host says of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenProgram {
    /// As `uname -s` has it.
    pub system: String,
    /// As `uname -m` has it.
    pub machine: String,
    /// This user may write to its folder.
    pub is_writable: bool,
    pub kind: SeenKind,
    /// Whose it is; `None` where it is not there or may not be read.
    pub uid: Option<u32>,
    pub size: Option<u64>,
    /// SHA-256 in hexadecimal, of what a link leads to, too.
    pub sum: Option<String>,
    /// What it says of itself.
    pub version: Option<String>,
    /// Where a login without a terminal finds it, or where it would be put; `None` where there is no such place.
    pub path: Option<String>,
}

/// What stands at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeenKind {
    None,
    File,
    Link,
    Other,
}

/// All that the script says of `asked` things; `None` where that is not what it says.
pub(crate) fn parse(text: &str, asked: usize) -> Option<Looked> {
    let mut lines = text.lines();
    let mut who = lines.next()?.strip_prefix("me ")?.splitn(3, ' ');
    let uid = who.next()?.parse().ok()?;
    let user = who.nth(1).filter(|name| is_word(name)).map_or_else(|| format!("{uid}"), str::to_owned);
    let (mut seen, mut docker, mut program) = (Vec::new(), None, None);
    for line in lines.by_ref().take(asked) {
        match line.split_once(' ') {
            Some(("docker", rest)) if docker.is_none() => docker = Some(self::docker(rest)?),
            Some(("program", rest)) if program.is_none() => program = Some(self::program(rest)?),
            _ => seen.push(one(line)?),
        }
    }
    let power = match lines.next()?.strip_prefix("power ")? {
        "root" => Power::Root,
        "sudo" => Power::Sudo,
        "none" => Power::None,
        "unasked" => Power::Unasked,
        _ => return None,
    };
    let said = seen.len() + usize::from(docker.is_some()) + usize::from(program.is_some());
    let is_all = said == asked && lines.next().is_none();
    is_all.then_some(Looked { me: Me { uid }, user, docker, program, seen, power })
}

/// It can be shown and typed as it is.
fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._+~-".contains(c);
    !text.is_empty() && text.len() <= WORD_CHARS_MAX && text.chars().all(is_plain) && !text.starts_with('-')
}

/// `None` where there is none; an error where it is not a word.
fn word(text: &str) -> Result<Option<String>, ()> {
    match text {
        "-" => Ok(None),
        word if is_word(word) => Ok(Some(word.to_owned())),
        _ => Err(()),
    }
}

fn docker(rest: &str) -> Option<SeenDocker> {
    let words: Vec<&str> = rest.split(' ').collect();
    let [cli, engine, version, compose, package, foreign, member, apt, id, release, name @ ..] = &words[..]
    else {
        return None;
    };
    Some(SeenDocker {
        cli: match *cli {
            "none" => Cli::None,
            "distribution" => Cli::Distribution,
            "docker.com" => Cli::DockerCom,
            "snap" => Cli::Snap,
            "podman" => Cli::Podman,
            "other" => Cli::Other,
            _ => return None,
        },
        engine: match *engine {
            "up" => Engine::Up(word(version).ok()?),
            "denied" => Engine::Denied,
            "down" => Engine::Down,
            _ => return None,
        },
        compose: word(compose).ok()?,
        is_installed: *package == "installed",
        is_broken_off: !matches!(*package, "installed" | "none" | "not-installed" | "config-files"),
        has_foreign_packages: *foreign == "yes",
        is_member: *member == "yes",
        has_apt: *apt == "yes",
        system: word(id).ok()?.unwrap_or_default(),
        release: word(release).ok()?,
        name: lockgate_model::quoted(&name.join(" "), WORD_CHARS_MAX),
    })
}

fn program(rest: &str) -> Option<SeenProgram> {
    let mut words = rest.splitn(9, ' ');
    let mut next = || words.next();
    let (system, machine) = (word(next()?).ok()??, word(next()?).ok()??);
    let is_writable = next()? == "yes";
    let kind = match next()? {
        "none" => SeenKind::None,
        "file" => SeenKind::File,
        "link" => SeenKind::Link,
        "other" => SeenKind::Other,
        _ => return None,
    };
    let (uid, size, sum) = (next()?.parse().ok(), next()?.parse().ok(), word(next()?).ok()?);
    let version = word(next()?).ok()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    let path = next()?;
    let is_path = path.starts_with('/') && path.len() <= PATH_CHARS_MAX && path.chars().all(is_plain);
    let path = is_path.then(|| path.to_owned());
    Some(SeenProgram { system, machine, is_writable, kind, uid, size, sum, version, path })
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
        let Looked { me, user, seen, power, .. } = parse(text, 7).unwrap();
        assert_eq!((me.uid, user.as_str(), power), (1000, "ann", Power::Sudo));
        assert_eq!(seen[1], Seen::Missing { writable: false, at: "/srv/a b".into() });
        let (user, group) = ("root".to_owned(), "root".to_owned());
        assert_eq!(seen[2], Seen::Folder { mode: 0o755, uid: 0, gid: 0, user, group });
        assert_eq!(seen[4], Seen::File { mode: 0o600, uid: 0, size: 3, sum: None, is_ours: true });
        assert_eq!(parse(text, 6), None, "a line too many");
        assert_eq!(parse(text, 8), None, "one too few");
        for odd in ["", "me x\npower root\n", "me 0 0 root\nwhat\npower root\n", "me 0 0 root\npower all\n"] {
            assert_eq!(parse(odd, usize::from(odd.contains("what"))), None, "{odd:?}");
        }
        assert_eq!(parse("me 7 7 a;reboot\npower root\n", 0).unwrap().user, "7");
    }

    fn one_of(line: &str) -> Option<Looked> {
        parse(&format!("me 0 0 root\n{line}\npower root\n"), 1)
    }

    fn docker_of(line: &str) -> SeenDocker {
        one_of(line).unwrap().docker.unwrap()
    }

    #[test]
    fn what_is_said_of_docker_is_read_and_nothing_that_could_be_typed_otherwise() {
        let line = "docker distribution up 20.10.24+dfsg1 1.29.2 installed no yes yes debian 12 Debian GNU/Linux 12 (bookworm)";
        let seen = docker_of(line);
        assert_eq!((seen.cli, seen.compose.as_deref()), (Cli::Distribution, Some("1.29.2")));
        assert_eq!(seen.engine, Engine::Up(Some("20.10.24+dfsg1".into())));
        assert_eq!((seen.system.as_str(), seen.release.as_deref()), ("debian", Some("12")));
        assert_eq!(seen.name, "Debian GNU/Linux 12 (bookworm)");
        assert!(seen.is_installed && !seen.is_broken_off && seen.is_member && seen.has_apt);
        let bare = docker_of("docker none down - - none no no no - - ");
        assert_eq!((bare.cli, bare.engine, bare.release), (Cli::None, Engine::Down, None));
        let half = docker_of("docker none down - - half-configured no no yes ubuntu 24.04 U");
        assert!(half.is_broken_off && !half.is_installed);
        for odd in [
            "docker",
            "docker mine up 1 2 installed no no yes debian 12 D",
            "docker none sideways - - none no no yes debian 12 D",
            "docker none up $(reboot) - none no no yes debian 12 D",
            "docker none down - - none no no yes debian;reboot 12 D",
        ] {
            assert_eq!(one_of(odd), None, "{odd}");
        }
        let named = docker_of("docker none down - - none no no yes x 1 a\u{1b}[2J`b`");
        assert_eq!(named.name, "a\\x1b[2J'b'");
    }

    #[test]
    fn what_is_said_of_a_program_is_read_and_a_path_that_could_be_typed_otherwise_is_none() {
        let line = "program Linux x86_64 yes file 0 12 abc 0.1.0 /usr/local/bin/lockgate";
        let seen = one_of(line).unwrap().program.unwrap();
        assert_eq!((seen.kind, seen.uid, seen.size), (SeenKind::File, Some(0), Some(12)));
        assert_eq!(
            (seen.sum.as_deref(), seen.version.as_deref(), seen.path.as_deref()),
            (Some("abc"), Some("0.1.0"), Some("/usr/local/bin/lockgate"))
        );
        for path in ["-", "bin/lockgate", "/a b/lockgate", "/a;reboot/lockgate", "/a`b`"] {
            let line = format!("program Linux armv7l no none - - - - {path}");
            let seen = one_of(&line).unwrap().program.unwrap();
            assert_eq!((seen.path, seen.uid, seen.version), (None, None, None), "{path}");
        }
        for odd in [
            "program Linux",
            "program Linux x86_64 yes thing 0 1 a b /c",
            "program L;x x86_64 no none - - - - /c",
        ] {
            assert_eq!(one_of(odd), None, "{odd}");
        }
    }
}
