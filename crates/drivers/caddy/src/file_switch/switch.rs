//! The switch itself: what was looked at, and `active_color` written.

use std::sync::Arc;

use lockgate_asking::DataPath;
use lockgate_model::{CaddySwitch, FailureKind, Millis, Slot};
use lockgate_ports::{Host, PortError, Request, RouteVersion, RouterAnswer};
use tokio::sync::OnceCell;

use super::advice::{self, Advice};
use super::configuration::{CADDYFILE, Configuration, Reader, Source};
use super::matcher::{self, Found, Routes};
use crate::ask;
use crate::caddy::Caddy;
use crate::router::SLOT_HEADER;
use crate::tree::Handler;
use crate::version::{self, Seen};

/// As system A's own scripts write it.
const FILE_MODE: u32 = 0o644;
/// What is asked for when only the way there is wanted.
pub(super) const ANY_PATH: &str = "/";
/// Longest wait for a connection to where Caddy serves.
const CONNECT_SECONDS_MAX: u64 = 5;
/// What the switch is told. All texts have their placeholders filled in.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Which switch is configured; `None`: a file where Caddy's configuration goes by it.
    pub switch: Option<CaddySwitch>,
    /// System A's `active_color`: its path on the host.
    pub active_color: String,
    /// Its path as Caddy sees it, which is another one where a container has the folder elsewhere.
    pub seen_as: String,
    /// The Caddyfile or JSON that Caddy was started with, for where its admin API cannot be asked; `None`:
    /// `/etc/caddy/Caddyfile`.
    pub config: Option<String>,
}

pub(crate) struct FileSwitch {
    pub(super) caddy: Arc<Caddy>,
    pub(super) options: FileOptions,
    reader: Reader,
    /// Of the program; it outlives no session.
    version: OnceCell<Seen>,
}

/// What was seen just now.
pub(super) struct Looked {
    /// `None` where neither Caddy nor its file can be read and the switch was configured.
    pub configuration: Option<Configuration>,
    pub routes: Option<Routes>,
    /// What stands in the file; `None` when it is missing.
    pub content: Option<Vec<u8>>,
}

impl Looked {
    /// Where Caddy goes by it.
    pub fn slot(&self) -> Slot {
        if colour_of(self.content.as_deref()) == Some(Slot::Green) { Slot::Green } else { Slot::Blue }
    }

    pub fn version(&self) -> RouteVersion {
        RouteVersion(match &self.content {
            Some(content) => format!("file {}", String::from_utf8_lossy(content)),
            None => "no file".to_owned(),
        })
    }

    fn handlers(&self) -> impl Iterator<Item = &Handler> {
        self.routes.iter().flat_map(|routes| routes.green.iter().chain(&routes.blue))
    }
}

/// The colour that Caddy's matcher sees: the whole content but for one line end.
pub(super) fn colour_of(content: Option<&[u8]>) -> Option<Slot> {
    let text = std::str::from_utf8(content?).ok()?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    match line.strip_suffix('\r').unwrap_or(line) {
        "green" => Some(Slot::Green),
        "blue" => Some(Slot::Blue),
        _ => None,
    }
}

impl FileSwitch {
    pub(crate) fn new(caddy: Arc<Caddy>, options: FileOptions) -> Self {
        let reader = Reader::new(options.config.clone());
        Self { caddy, options, reader, version: OnceCell::new() }
    }

    pub(super) fn host(&self) -> &dyn Host {
        self.caddy.options.host.as_ref()
    }

    /// # Errors
    /// `Refused` where a slot has no address of its own in the configuration.
    pub(super) fn dial(&self, slot: Slot) -> Result<&str, PortError> {
        self.caddy.options.dial.get(&slot).map(String::as_str).ok_or_else(|| {
            PortError::new(FailureKind::Refused, format!("Caddy has no route to a slot called {slot}"))
                .hint("the file switches between blue and green: `strategy: blue-green`")
        })
    }

    fn find(&self, configuration: &Configuration) -> Result<Found, PortError> {
        let (blue, green) = (self.dial(Slot::Blue)?, self.dial(Slot::Green)?);
        Ok(matcher::find(&configuration.value, &self.options.seen_as, blue, green))
    }

    /// Whether Caddy's configuration goes by the file, however badly; `None` where it cannot be read.
    pub(crate) async fn is_found(&self) -> Result<Option<bool>, PortError> {
        match self.reader.read(&self.caddy).await {
            Ok(configuration) => {
                let found = self.find(&configuration)? != Found::No;
                Ok((found || !self.reader.is_wrong_guess(&configuration)).then_some(found))
            }
            Err(error) => {
                tracing::debug!(%error, "whether Caddy goes by a file cannot be seen");
                Ok(None)
            }
        }
    }

    pub(crate) async fn version(&self) -> &Seen {
        self.version.get_or_init(|| version::detect(&self.caddy)).await
    }

    pub(super) async fn refuse_old(&self) -> Result<(), PortError> {
        match self.version().await.number() {
            Some(seen) if seen < version::FILES_ARE_READ => Err(PortError::new(
                FailureKind::Refused,
                format!("Caddy {seen} has no `{{file.…}}`, so {} cannot be its switch: it would go to blue for ever", self.options.active_color),
            )
            .hint("upgrade Caddy to 2.8 or later; or write `switch: admin` and one `reverse_proxy` without the matcher")),
            _ => Ok(()),
        }
    }

    pub(super) async fn look(&self) -> Result<Looked, PortError> {
        let (read, content) =
            tokio::join!(self.reader.read(&self.caddy), self.host().read(&self.options.active_color));
        let content = content?.content;
        let configuration = match read {
            Ok(configuration) => Some(configuration),
            // Told to go by a file, we do so though nobody says how Caddy is set up: asking through it proves it.
            Err(error) if self.options.switch == Some(CaddySwitch::File) && self.asks_elsewhere() => {
                tracing::debug!(%error, "Caddy's configuration cannot be read");
                None
            }
            Err(error) => return Err(error.hint("or set `router.caddy.ask` to the URL at which the host reaches the site, which needs no look at the configuration")),
        };
        let routes = match &configuration {
            Some(configuration) => Some(self.routes(configuration)?),
            None => None,
        };
        Ok(Looked { configuration, routes, content })
    }

    /// Asking needs nothing of Caddy's configuration.
    fn asks_elsewhere(&self) -> bool {
        self.caddy.base_url.is_some()
    }

    fn routes(&self, configuration: &Configuration) -> Result<Routes, PortError> {
        match self.find(configuration)? {
            Found::Yes(routes) => Ok(routes),
            Found::No if self.reader.is_wrong_guess(configuration) => Err(PortError::unreachable(format!(
                "Caddy's admin API at {} does not answer, and {CADDYFILE} has no route that goes by {}",
                self.caddy.admin.shown(),
                self.options.seen_as
            ))
            .hint(format!(
                "start Caddy on {}; or set `router.caddy.config` to the Caddyfile (or JSON) that it was started with",
                self.host().id()
            ))),
            Found::No => Err(PortError::new(
                FailureKind::Refused,
                format!(
                    "`switch: file`, but no route of Caddy's to {} or {} goes by {}",
                    self.dial(Slot::Blue)?,
                    self.dial(Slot::Green)?,
                    self.options.seen_as
                ),
            )
            .hint(format!("put this into its Caddyfile once, in the place of the `reverse_proxy` to the service, and reload it:\n{}", advice::caddyfile(&self.advice())))),
            Found::Odd(why) => Err(PortError::new(
                FailureKind::Refused,
                format!("not every route of Caddy's to the service follows {}: {}", self.options.seen_as, why.join("; ")),
            )
            .hint(format!("each place that dials a slot has both, in this order:\n{}\nwhere Caddy has the folder elsewhere (a container), set `router.caddy.active_color` to the path in its matcher", advice::caddyfile(&self.advice())))),
        }
    }

    pub(super) fn advice(&self) -> Advice<'_> {
        let dial = |slot| self.caddy.options.dial.get(&slot).map_or("<address of the slot>", String::as_str);
        Advice { file: &self.options.seen_as, blue: dial(Slot::Blue), green: dial(Slot::Green) }
    }

    /// How to ask for `target` through Caddy.
    pub(super) fn data_path(&self, looked: &Looked, target: &str) -> Result<DataPath, PortError> {
        let value = looked.configuration.as_ref().map(|configuration| &configuration.value);
        if let Some(url) = &self.caddy.base_url {
            let whole = url.data_path(None).prefix + target;
            let of = |handler: &Handler| ask::host(value?, &handler.path, &whole);
            let host = if url.is_bare_address() { looked.handlers().find_map(of) } else { None };
            return Ok(url.data_path(host));
        }
        let mut refused = None;
        for handler in looked.handlers() {
            match value.map(|value| ask::derive(value, &handler.path, target)) {
                Some(Ok(path)) => return Ok(path),
                Some(Err(error)) => drop(refused.get_or_insert(error)),
                None => {}
            }
        }
        Err(refused.unwrap_or_else(|| {
            PortError::new(FailureKind::Refused, "where Caddy serves the service is not known")
                .hint("set `router.caddy.ask` to the URL at which the host reaches the site")
        }))
    }

    pub(super) async fn ask_along(
        &self,
        path: &DataPath,
        request: &Request,
    ) -> Result<RouterAnswer, PortError> {
        let answer = self.caddy.ask_at(path, request.clone()).await?;
        let slot = answer.header(SLOT_HEADER).and_then(|slot| slot.parse().ok());
        Ok(RouterAnswer { answer, slot, release: None })
    }

    /// The file alone says nothing of whether Caddy runs: where its admin API does not, its own port is tried.
    pub(super) async fn refuse_gone(&self, looked: &Looked) -> Result<(), PortError> {
        if looked.configuration.as_ref().is_some_and(|seen| seen.source == Source::Admin) {
            return Ok(());
        }
        let Ok(path) = self.data_path(looked, ANY_PATH) else { return Ok(()) };
        let timeout = Millis::from_secs(CONNECT_SECONDS_MAX);
        match self.host().connect(&path.endpoint, timeout).await {
            Ok(_) => Ok(()),
            Err(error) => Err(PortError::unreachable(format!("Caddy does not listen at {}", path.endpoint))
                .caused_by(error)
                .hint(format!("start Caddy on {}: `systemctl status caddy`", self.host().id()))),
        }
    }

    /// Has the file name the slot, with or without a line end as it was before: scripts of system A compare it.
    pub(super) async fn write(&self, looked: &Looked, slot: Slot) -> Result<(), PortError> {
        let old = looked.content.as_deref();
        let is_bare = old.is_some_and(|old| !old.is_empty() && !old.ends_with(b"\n"));
        let content = if is_bare { slot.to_string() } else { format!("{slot}\n") };
        let path = &self.options.active_color;
        self.host().write(path, content.as_bytes(), FILE_MODE).await.map_err(|error| self.explain(error))?;
        let seen = self.host().read(path).await?.content;
        if colour_of(seen.as_deref()) != Some(slot) {
            let message = format!("{path} was written and says something else than {slot} right afterwards");
            return Err(PortError::new(FailureKind::Conflict, message)
                .hint("somebody else writes it; find out who, and repeat"));
        }
        Ok(())
    }

    pub(super) fn explain(&self, error: PortError) -> PortError {
        let hint = format!(
            "the user that Lockgate is on {} must be able to write {}: it is the switch",
            self.host().id(),
            self.options.active_color
        );
        error.context("the switch").or_hint(|| hint)
    }

    pub(super) fn refuse_stale(&self, looked: &Looked, expected: &RouteVersion) -> Result<(), PortError> {
        if looked.version() == *expected {
            return Ok(());
        }
        let message =
            format!("{} changed meanwhile: it leads to {} now", self.options.active_color, looked.slot());
        Err(PortError::new(FailureKind::Conflict, message)
            .hint("somebody else writes it; look at the route again and repeat"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_what_caddys_matcher_takes_for_one() {
        for (content, colour) in [
            ("green", Some(Slot::Green)),
            ("green\n", Some(Slot::Green)),
            ("green\r\n", Some(Slot::Green)),
            ("blue\n", Some(Slot::Blue)),
            ("green\n\n", None),
            (" green", None),
            ("Green", None),
            ("", None),
        ] {
            assert_eq!(colour_of(Some(content.as_bytes())), colour, "{content:?}");
        }
        assert_eq!(colour_of(None), None);
    }
}
