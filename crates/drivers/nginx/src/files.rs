//! nginx's configuration: as `nginx -T` says it, else as its files are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lockgate_model::{FailureKind, Millis, TOLD_CHARS_MAX, quoted};
use lockgate_ports::{Command, Host, Output, PortError};

use crate::syntax::{self, Directive};
use crate::tree::{self, Files};
use crate::version::Version;

/// Where Debian's package, and nginx's own image, have it.
pub(crate) const CONFIG: &str = "/etc/nginx/nginx.conf";
const DUMP: &str = include_str!("sh/dump.sh");
const LIST: &str = include_str!("sh/list.sh");
/// Longest wait for `nginx -T`, and for a list of files.
const LOOK_SECONDS_MAX: u64 = 10;
/// How long a configuration is believed before it is read again, for that starts a program.
const READ_SECONDS_MAX: u64 = 10;
/// Most files of a configuration.
const FILES_MAX: usize = 500;
/// Longest configuration, all files together.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a command's output is kept of (`Output::stdout`).
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Before each file in what `nginx -T` prints.
const HEADING: &str = "# configuration file ";

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// nginx itself, by `nginx -T`.
    Nginx,
    /// Its files were read, for we may not start it.
    Files,
}

/// A whole configuration, includes and all.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub directives: Vec<Directive>,
    pub main: String,
    /// All its files, as nginx names them.
    pub paths: BTreeSet<String>,
    pub source: Source,
    /// `None` where no nginx could be asked.
    pub version: Option<Version>,
}

/// Where it is to be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the container that nginx runs in; `None`: on the host.
    pub container: Option<String>,
    /// The first file; `None`: where nginx itself looks for it.
    pub config: Option<String>,
}

/// Reads it; remembers it for a moment.
pub(crate) struct Reader {
    place: Place,
    read: std::sync::Mutex<Option<(Instant, Configuration)>>,
}

impl Reader {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, read: std::sync::Mutex::default() }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Configuration)>> {
        self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What was read is read anew the next time.
    pub(crate) fn forget(&self) {
        *self.remembered() = None;
    }

    /// # Errors
    /// `NotFound` where there is neither nginx nor its configuration; `Unauthorized` where we may read neither; `Refused` for
    /// one that is broken, with nginx's own words or with file and line.
    pub(crate) async fn read(&self, host: &dyn Host) -> Result<Configuration, PortError> {
        let known = self.remembered().clone();
        if let Some((at, known)) = known
            && at.elapsed() < Duration::from_secs(READ_SECONDS_MAX)
        {
            return Ok(known);
        }
        let read = self.read_now(host).await?;
        *self.remembered() = Some((Instant::now(), read.clone()));
        Ok(read)
    }

    async fn read_now(&self, host: &dyn Host) -> Result<Configuration, PortError> {
        let given = |text: &Option<String>| text.as_deref().unwrap_or("-").to_owned();
        let argv = ["sh", "-c", DUMP, "dump.sh"].map(str::to_owned);
        let argv = argv.into_iter().chain([given(&self.place.container), given(&self.place.config)]);
        let command = Command::new(argv).timeout(Millis::from_secs(LOOK_SECONDS_MAX));
        let output = host.exec(&command).await?;
        let version = Version::of(output.stdout_text().lines().next().unwrap_or_default());
        let (files, source) = if output.ok() {
            (dumped(&output)?, Source::Nginx)
        } else {
            (self.without_nginx(host, &output).await?, Source::Files)
        };
        let main = files.main.clone();
        let directives = tree::expand(&files)?;
        Ok(Configuration { directives, main, paths: files.texts.into_keys().collect(), source, version })
    }

    /// Whoever is not root may seldom start nginx, which opens its logs and certificates even to look; its files are mostly
    /// everybody's to read.
    async fn without_nginx(&self, host: &dyn Host, output: &Output) -> Result<Files, PortError> {
        let said = output.stderr_text();
        let is_missing = output.code == 127;
        if self.place.container.is_some() || !(is_missing || is_forbidden(&said)) {
            return Err(self.broken(output.code, &said));
        }
        let main = self.place.config.as_deref().unwrap_or(CONFIG);
        let files = read_files(host, main).await;
        files.map_err(|error| match (error.kind, is_missing) {
            (FailureKind::NotFound, true) => PortError::not_found(format!(
                "{} has neither the program nginx nor {main}", host.id()
            ))
            .caused_by(error)
            .hint("install nginx there; or, where it runs in a container, set `router.nginx.container` to its name"),
            _ => error.or_hint(|| {
                format!("let the user that Lockgate is on {} read nginx's configuration: `chmod o+rX` of {main} and what it includes", host.id())
            }),
        })
    }

    fn broken(&self, code: i32, said: &str) -> PortError {
        // The test's own summary is last, and what is wrong before it.
        let telling = |line: &&str| line.contains("[emerg]") || line.contains("[crit]");
        let line = said.lines().find(telling).or_else(|| said.trim().lines().next_back()).unwrap_or_default();
        let words = quoted(line.trim_start_matches("nginx: "), TOLD_CHARS_MAX);
        match &self.place.container {
            Some(name) if !said.contains("nginx: ") => PortError::unreachable(format!(
                "nginx's configuration cannot be read in the container {name} (exit {code}): {words}"
            ))
            .without_effect()
            .hint(format!("`docker exec {name} nginx -T` on that host says more; is `router.nginx.container` its name?")),
            _ => PortError::new(FailureKind::Refused, format!("nginx's configuration is broken: {words}"))
                .hint("`nginx -t` on that host says the same; nginx runs on with what it had, and would not start again"),
        }
    }
}

fn is_forbidden(said: &str) -> bool {
    ["(13: Permission denied)", "(1: Operation not permitted)"].iter().any(|why| said.contains(why))
}

/// # Errors
/// `TooLarge` where the beginning is missing, for only the end of an output is kept.
fn dumped(output: &Output) -> Result<Files, PortError> {
    if output.stdout.len() >= OUTPUT_BYTES_MAX {
        return Err(PortError::too_large("nginx's configuration", OUTPUT_BYTES_MAX).without_effect());
    }
    let text = output.stdout_text();
    let mut files = Files::default();
    let mut current: Option<(String, String)> = None;
    for line in text.split_inclusive('\n') {
        let heading = line.strip_prefix(HEADING).and_then(|rest| rest.trim_end().strip_suffix(':'));
        match (heading, &mut current) {
            (Some(path), _) => {
                if files.main.is_empty() {
                    path.clone_into(&mut files.main);
                }
                files.texts.extend(current.replace((path.to_owned(), String::new())));
            }
            (None, Some((_, content))) => content.push_str(line),
            (None, None) => {}
        }
    }
    files.texts.extend(current);
    match files.main.is_empty() {
        false => Ok(files),
        true => Err(PortError::other("`nginx -T` printed no configuration").without_effect()),
    }
}

/// The file and all that it includes.
async fn read_files(host: &dyn Host, main: &str) -> Result<Files, PortError> {
    let mut files = Files { main: main.to_owned(), texts: BTreeMap::new() };
    let mut wanted = BTreeSet::from([main.to_owned()]);
    let mut bytes = 0;
    while !wanted.is_empty() {
        if files.texts.len() + wanted.len() > FILES_MAX {
            let message = format!("nginx's configuration has more than {FILES_MAX} files");
            return Err(PortError::new(FailureKind::TooLarge, message).without_effect());
        }
        let paths: Vec<String> = std::mem::take(&mut wanted).into_iter().collect();
        let mut patterns = Vec::new();
        for (path, file) in paths.iter().zip(host.read_each(&paths).await) {
            let content = file.map_err(|error| error.context(path))?.content;
            let content = content.ok_or_else(|| PortError::not_found(format!("{path} is not there")))?;
            bytes += content.len();
            if bytes > BYTES_MAX {
                return Err(PortError::too_large("nginx's configuration", BYTES_MAX).without_effect());
            }
            let text = String::from_utf8_lossy(&content).into_owned();
            patterns.extend(tree::included(&files.main, &syntax::parse(path, &text)?));
            files.texts.insert(path.clone(), text);
        }
        wanted = listed(host, &patterns).await?;
        wanted.retain(|path| !files.texts.contains_key(path));
    }
    Ok(files)
}

/// The files that patterns stand for. One that is no pattern is taken as it is: that it is missing is said by who reads it.
async fn listed(host: &dyn Host, patterns: &[String]) -> Result<BTreeSet<String>, PortError> {
    let (globs, plain): (Vec<String>, Vec<String>) =
        patterns.iter().cloned().partition(|pattern| tree::is_glob(pattern));
    let mut found: BTreeSet<String> = plain.into_iter().collect();
    if globs.is_empty() {
        return Ok(found);
    }
    let argv = ["sh", "-c", LIST, "list.sh"].map(str::to_owned).into_iter().chain(globs);
    let output = host.exec(&Command::new(argv).timeout(Millis::from_secs(LOOK_SECONDS_MAX))).await?;
    let text = output.stdout_text();
    found.extend(text.lines().filter(|line| line.starts_with('/')).map(str::to_owned));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(code: i32, stdout: &str) -> Output {
        Output { code, stdout: stdout.into(), stderr: Vec::new() }
    }

    #[test]
    fn what_nginx_prints_is_taken_apart_into_its_files() {
        let text = "# nginx version: nginx/1.22.1\n# configuration file /etc/nginx/nginx.conf:\na;\nb;\n\n# configuration file /etc/nginx/x:\nc;\n";
        let files = dumped(&output(0, text)).unwrap();
        assert_eq!(files.main, "/etc/nginx/nginx.conf");
        assert_eq!(files.texts["/etc/nginx/nginx.conf"], "a;\nb;\n\n");
        assert_eq!(files.texts["/etc/nginx/x"], "c;\n");
        assert!(dumped(&output(0, "hello")).is_err());
        let error = dumped(&output(0, &"x".repeat(OUTPUT_BYTES_MAX))).unwrap_err();
        assert_eq!(error.kind, FailureKind::TooLarge);
    }

    #[test]
    fn a_broken_configuration_is_told_in_nginxs_words() {
        let reader = Reader::new(Place { container: None, config: None });
        let said = "nginx: [emerg] open() \"/etc/nginx/x\" failed (2: No such file or directory) in /etc/nginx/nginx.conf:7\nnginx: configuration file /etc/nginx/nginx.conf test failed\n";
        let error = reader.broken(1, said);
        assert_eq!(error.kind, FailureKind::Refused);
        assert!(error.message.ends_with("in /etc/nginx/nginx.conf:7"), "{error}");
        let reader = Reader::new(Place { container: Some("edge".into()), config: None });
        let error = reader.broken(1, "Error: No such container: edge\n");
        assert_eq!(error.kind, FailureKind::Unreachable);
        assert!(error.hints().to_string().contains("docker exec edge nginx -T"), "{error:?}");
        assert!(reader.broken(1, said).message.contains("is broken"));
    }
}
