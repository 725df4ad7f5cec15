//! What was looked at, and the switch changed.

use lockgate_asking::{BaseUrl, DataPath, Entrance};
use lockgate_model::{FailureKind, Millis, NginxSwitch, Slot, without_query};
use lockgate_ports::{Host, PortError, Request, RouteVersion, RouterAnswer};

use crate::NginxOptions;
use crate::advice::{self, Advice, folder};
use crate::container;
use crate::dials::{Dials, is_group};
use crate::files::{Configuration, Place, Reader};
use crate::follows::{self, By, Found, Routes};
use crate::included;
use crate::site::Site;

/// So that nginx's user, whoever that is, may see it.
const MARKER_MODE: u32 = 0o644;
/// What nginx may name its slot by.
const SLOT_HEADER: &str = "x-lockgate-slot";
/// Longest wait for nginx to say which slot it goes to.
const ASK_SECONDS_MAX: u64 = 5;
/// Looks at a marker that somebody switches meanwhile.
const LOOKS_MAX: usize = 3;

pub(crate) const ENTRANCE: Entrance =
    Entrance { router: "nginx", key: "router.nginx.ask", log: "journalctl -u nginx" };

/// One service's route in one nginx, switched by a marker that it looks for at each request, or by a reload.
pub struct Nginx {
    pub(crate) options: NginxOptions,
    pub(crate) dials: Dials,
    base_url: Option<BaseUrl>,
    reader: Reader,
}

/// What was seen just now.
pub(crate) struct Looked {
    pub configuration: Configuration,
    pub routes: Routes,
    /// What stands in the file that is the switch; `None` when it is not there.
    pub content: Option<Vec<u8>>,
    /// Where nginx goes by it.
    slot: Slot,
    /// Where its container is reached from the host; `None` for this machine.
    address: Option<String>,
}

impl Looked {
    /// Where nginx goes by the file.
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn version(&self) -> RouteVersion {
        RouteVersion(match &self.content {
            Some(content) => format!("marker {}", String::from_utf8_lossy(content)),
            None => "no marker".to_owned(),
        })
    }
}

/// What nginx itself says of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Goes(Slot),
    /// Nothing in that server says it.
    Silent,
}

impl Nginx {
    /// Takes what it is told; connects to nothing.
    ///
    /// # Errors
    /// `Refused` when the `ask` URL cannot be used, a slot has no address, or both have the same.
    pub fn new(options: NginxOptions) -> Result<Nginx, PortError> {
        let base_url = options.ask.as_deref().map(|url| BaseUrl::parse(url, &ENTRANCE)).transpose()?;
        let dial = |slot| {
            options.dial.get(&slot).map(|dial| dial.to_ascii_lowercase()).ok_or_else(|| {
                PortError::new(
                    FailureKind::Refused,
                    format!("nginx is told no address of a slot called {slot}"),
                )
                .hint("the marker switches between blue and green: `strategy: blue-green`")
            })
        };
        let dials = Dials { blue: dial(Slot::Blue)?, green: dial(Slot::Green)? };
        if dials.blue == dials.green {
            let message = format!("both slots would be dialled at {}", dials.blue);
            return Err(PortError::new(FailureKind::Refused, message)
                .hint("put `{slot}` into `router.nginx.dial`, as in `{service}-{slot}:5000`"));
        }
        let place = Place { container: options.container.clone(), config: options.config.clone() };
        Ok(Nginx { options, dials, base_url, reader: Reader::new(place) })
    }

    pub(crate) fn host(&self) -> &dyn Host {
        self.options.host.as_ref()
    }

    /// # Errors
    /// `Refused` for a slot that is neither blue nor green.
    pub(crate) fn dial(&self, slot: Slot) -> Result<&str, PortError> {
        match slot {
            Slot::Blue | Slot::Green => Ok(self.dials.of(slot)),
            Slot::Main => Err(PortError::new(
                FailureKind::Refused,
                format!("nginx has no route to a slot called {slot}"),
            )
            .hint("the marker switches between blue and green: `strategy: blue-green`")),
        }
    }

    pub(crate) fn advice(&self, configuration: &Configuration) -> Advice<'_> {
        let groups = follows::http_groups(&configuration.directives);
        let both = [self.dials.blue.as_str(), self.dials.green.as_str()];
        Advice {
            groups: both.into_iter().filter(|dial| is_group(dial) && groups.contains_key(*dial)).collect(),
            version: configuration.version,
            service: &self.options.service,
            switch: self.options.switch,
            marker: &self.options.seen_as,
            blue: &self.dials.blue,
            green: &self.dials.green,
        }
    }

    /// The service in a variable's name.
    pub(crate) fn label(&self) -> String {
        advice::label(&self.options.service)
    }

    /// What is read next is read anew.
    pub(crate) fn forget(&self) {
        self.reader.forget();
    }

    /// How the file that is included begins.
    pub(crate) fn begin(&self) -> String {
        format!("write it, as long as blue is live:\n{}", included::content(self, Slot::Blue))
    }

    pub(crate) async fn configuration(&self) -> Result<Configuration, PortError> {
        self.reader.read(self.host()).await
    }

    /// What stands in the file that is the switch, and which slot it means.
    async fn content(&self) -> Result<(Option<Vec<u8>>, Slot), PortError> {
        let content = self.host().read(&self.options.marker).await?.content;
        let slot = match (self.options.switch, &content) {
            (NginxSwitch::File, Some(_)) => Slot::Green,
            (NginxSwitch::File, None) => Slot::Blue,
            (NginxSwitch::Reload, content) => included::slot(self, content.as_deref())?,
        };
        Ok((content, slot))
    }

    pub(crate) fn is_reloaded(&self) -> bool {
        self.options.switch == NginxSwitch::Reload
    }

    pub(crate) async fn look(&self) -> Result<Looked, PortError> {
        let (configuration, content) = tokio::join!(self.configuration(), self.content());
        let (configuration, (content, slot)) = (configuration?, content?);
        let routes = self.routes(&configuration)?;
        let address = match (&self.options.container, &self.base_url) {
            (Some(name), None) => container::address(self.host(), name).await?,
            _ => None,
        };
        Ok(Looked { configuration, routes, content, slot, address })
    }

    fn routes(&self, configuration: &Configuration) -> Result<Routes, PortError> {
        let marker = &self.options.seen_as;
        let by = match self.options.switch {
            NginxSwitch::File => By::Marker(marker),
            NginxSwitch::Reload => {
                included::required(self, configuration)?;
                By::Constants([Slot::Blue, Slot::Green].map(|slot| included::constants(self, slot)))
            }
        };
        match follows::find(&configuration.directives, &by, &self.dials) {
            Found::Yes(routes) => Ok(routes),
            Found::No(regardless) => {
                self.reader.forget();
                let Dials { blue, green } = &self.dials;
                let now = match regardless.is_empty() {
                    true => format!("no location of it leads to {blue} or {green}"),
                    false => regardless.join("; "),
                };
                let message = format!("nginx does not go by {marker} ({}): {now}", configuration.main);
                Err(PortError::new(FailureKind::Refused, message).hint(self.advice(configuration).whole()))
            }
            Found::Odd(why) => {
                self.reader.forget();
                let message =
                    format!("not every way of nginx's to the service follows {marker}: {}", why.join("; "));
                Err(PortError::new(FailureKind::Refused, message).hint(self.advice(configuration).whole()))
            }
        }
    }

    /// How to ask for `target` through nginx.
    pub(crate) fn data_path(&self, looked: &Looked, target: &str) -> Result<DataPath, PortError> {
        let whole = match &self.base_url {
            Some(url) => url.data_path(None).prefix + target,
            None => target.to_owned(),
        };
        let fitting = looked.routes.sites.iter().filter_map(|site| Some((site.fits(&whole)?, site)));
        let (_, site) = fitting.max_by_key(|(fits, _)| *fits).ok_or_else(|| {
            let takes: Vec<&str> = looked.routes.places().map(|place| place.takes.text()).collect();
            PortError::new(
                FailureKind::Refused,
                format!("{} cannot be asked through nginx: its locations take only {}", without_query(target), takes.join(", ")),
            )
            .hint("ask for a path that a location takes, or set `router.nginx.ask` to a base URL that leads there")
        })?;
        self.way_to(looked, site)
    }

    fn way_to(&self, looked: &Looked, site: &Site) -> Result<DataPath, PortError> {
        if let Some(url) = &self.base_url {
            return Ok(url.data_path(site.host.clone()));
        }
        site.data_path(looked.address.as_deref()).ok_or_else(|| {
            PortError::new(
                FailureKind::Refused,
                format!("how to ask through nginx cannot be told: {} listens on no address that can be asked, or over TLS under no name", site.at),
            )
            .hint("set `router.nginx.ask` to a URL that reaches the service as seen from the host, such as `https://example.com`")
        })
    }

    pub(crate) async fn ask_along(
        &self,
        path: &DataPath,
        request: &Request,
    ) -> Result<RouterAnswer, PortError> {
        let answer = path.ask(self.host(), &ENTRANCE, request.clone()).await?;
        let slot = answer.header(SLOT_HEADER).and_then(|slot| slot.parse().ok());
        Ok(RouterAnswer { answer, slot, release: None })
    }

    /// What nginx says at the path that its configuration has for it.
    ///
    /// # Errors
    /// `Unreachable` where it does not listen; `Refused` where it says something else than its files do.
    pub(crate) async fn said(&self, looked: &Looked, site: &Site) -> Result<Said, PortError> {
        let path = self.way_to(looked, site)?.without_prefix();
        let bound = Millis::from_secs(ASK_SECONDS_MAX);
        let down = |error: PortError| {
            let host = self.host().id();
            let message = format!("nginx does not answer at {path}: {}", error.message);
            PortError::new(error.kind, message).without_effect().caused_by(error).hint(format!(
                "start nginx on {host} (`systemctl start nginx`); if it serves elsewhere, `router.nginx.ask` says where"
            ))
        };
        let Some(target) = &site.probe else {
            self.host().connect(&path.endpoint, bound).await.map_err(down)?;
            return Ok(Said::Silent);
        };
        let answer = path.ask(self.host(), &ENTRANCE, Request::get(target, bound)).await.map_err(down)?;
        match (answer.status, answer.text().trim().parse()) {
            (200, Ok(slot)) => Ok(Said::Goes(slot)),
            (status, _) => {
                self.reader.forget();
                Err(PortError::new(
                    FailureKind::Refused,
                    format!("nginx answers {status} at {target} ({path}), which {} says otherwise", site.at),
                )
                .hint("has it loaded its configuration since that was changed? `nginx -t && nginx -s reload` on that host; or another site answers there: `router.nginx.ask` sets where it is asked"))
            }
        }
    }

    /// That nginx goes where the marker says, as far as it says where it goes. The newest look: the marker may be somebody
    /// else's to change.
    ///
    /// # Errors
    /// As [`Nginx::said`]; `Refused` where it goes elsewhere.
    pub(crate) async fn agreed(&self, mut looked: Looked) -> Result<Looked, PortError> {
        for turn in 1.. {
            let mut otherwise = None;
            for site in &looked.routes.sites {
                if let Said::Goes(slot) = self.said(&looked, site).await?
                    && slot != looked.slot()
                {
                    otherwise = Some((slot, site.at.clone()));
                    break;
                }
            }
            let Some((slot, at)) = otherwise else { return Ok(looked) };
            let (content, own) = self.content().await?;
            if content == looked.content || turn == LOOKS_MAX {
                return Err(self.blind(&looked, slot, &at.to_string()));
            }
            (looked.content, looked.slot) = (content, own);
        }
        Ok(looked)
    }

    fn blind(&self, looked: &Looked, slot: Slot, at: &str) -> PortError {
        if self.is_reloaded() {
            let message =
                format!("{} says {}, and nginx goes to {slot} ({at})", self.options.marker, looked.slot());
            return PortError::new(FailureKind::Refused, message)
                .hint("has it loaded that? `nginx -t && nginx -s reload` on that host");
        }
        let NginxOptions { marker, seen_as, container, .. } = &self.options;
        let is_there = if looked.content.is_some() { "is there" } else { "is not there" };
        let message = format!("{marker} {is_there}, and nginx goes to {slot} ({at})");
        let folder = folder(marker);
        let hint = match (looked.content.is_some(), container) {
            (true, None) => format!(
                "nginx's user must be able to look into the folder: `chmod o+x {folder}` (and the folders above)"
            ),
            (true, Some(_)) => format!(
                "a container needs the folder, not the file, and sees it as {seen_as}: `-v {folder}:{}:ro`; nginx's user there must be able to look into it",
                self::folder(seen_as)
            ),
            (false, _) => format!(
                "nginx sees another {seen_as} than the host's: set `router.nginx.marker` to its path as nginx sees it"
            ),
        };
        PortError::new(FailureKind::Refused, message).hint(hint)
    }

    /// Switches, and asks nginx whether it has. Where it goes elsewhere the marker is put back: no user has got to the slot.
    ///
    /// # Errors
    /// As [`Nginx::agreed`]; with an unknown effect where nginx fell silent after the marker was changed.
    pub(crate) async fn switch(&self, looked: Looked, slot: Slot) -> Result<(), PortError> {
        let before = looked.slot();
        if before == slot {
            return self.agreed(looked).await.map(drop);
        }
        for site in &looked.routes.sites {
            match self.said(&looked, site).await {
                Err(error) if error.is_silence() => return Err(error),
                // Switching may mend it.
                _ => {}
            }
        }
        self.write(slot).await?;
        if self.is_reloaded()
            && let Err(error) = self.reload(&looked.configuration).await
        {
            return Err(self.put_back(before, error).await);
        }
        let (content, written) = self.content().await?;
        let looked = Looked { content, slot: written, ..looked };
        if looked.slot() != slot {
            let message =
                format!("{} was switched to {slot} and says {before} right afterwards", self.options.marker);
            return Err(PortError::new(FailureKind::Conflict, message)
                .with_unknown_effect()
                .hint("somebody else switches; find out who, and repeat"));
        }
        match self.agreed(looked).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_silence() => Err(error.with_unknown_effect()),
            // Where it was loaded, somebody may have got there.
            Err(error) if self.is_reloaded() => Err(error.with_unknown_effect()),
            Err(error) => Err(self.put_back(before, error).await),
        }
    }

    /// As the switch was before it failed with `error`.
    async fn put_back(&self, before: Slot, error: PortError) -> PortError {
        match self.write(before).await {
            Ok(()) => error.context("the switch was put back"),
            Err(undo) => {
                let both = format!("{}; and it could not be put back: {}", error.message, undo.message);
                PortError::new(error.kind, both).with_unknown_effect().with_hints(error.hints().clone())
            }
        }
    }

    /// Has the file say the slot.
    pub(crate) async fn write(&self, slot: Slot) -> Result<(), PortError> {
        let marker = &self.options.marker;
        let written = match (self.options.switch, slot) {
            (NginxSwitch::Reload, _) => {
                self.host().write(marker, included::content(self, slot).as_bytes(), MARKER_MODE).await
            }
            (NginxSwitch::File, Slot::Green) => self.host().write(marker, b"green\n", MARKER_MODE).await,
            (NginxSwitch::File, _) => self.host().remove(marker).await,
        };
        written.map_err(|error| {
            let host = self.host().id();
            error.context("the switch").or_hint(|| {
                format!("the user that Lockgate is on {host} must be able to make and remove {marker}: it is the switch")
            })
        })
    }

    pub(crate) fn refuse_stale(&self, looked: &Looked, expected: &RouteVersion) -> Result<(), PortError> {
        if looked.version() == *expected {
            return Ok(());
        }
        let message = format!("{} changed meanwhile: it leads to {} now", self.options.marker, looked.slot());
        Err(PortError::new(FailureKind::Conflict, message)
            .hint("somebody else switches; look at the route again and repeat"))
    }
}
