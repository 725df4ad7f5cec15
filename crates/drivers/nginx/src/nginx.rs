//! What was looked at, and nginx asked.

use lockgate_asking::{BaseUrl, DataPath, Entrance};
use lockgate_model::{FailureKind, Millis, NginxSwitch, Slot, without_query};
use lockgate_ports::{Host, PortError, Request, RouteVersion, RouterAnswer};

use crate::NginxOptions;
use crate::advice::{self, Advice};
use crate::container;
use crate::dials::{Dials, is_group};
use crate::files::{Configuration, Place, Reader};
use crate::follows::{self, By, Found, Routes};
use crate::included;
use crate::site::Site;

/// What nginx may name its slot by.
const SLOT_HEADER: &str = "x-lockgate-slot";
/// Longest wait for nginx to say which slot it goes to.
const ASK_SECONDS_MAX: u64 = 5;

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
    pub slot: Slot,
    /// Where its container is reached from the host; `None` for this machine.
    pub address: Option<String>,
}

impl Looked {
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

    /// # Errors
    /// `Refused` where nginx does not include the file that is ours.
    fn required(&self, configuration: &Configuration) -> Result<(), PortError> {
        let path = &self.options.seen_as;
        if configuration.paths.contains(path) {
            return Ok(());
        }
        self.reader.forget();
        let message = format!("nginx does not include {path} ({})", configuration.main);
        Err(PortError::new(FailureKind::Refused, message).hint(self.advice(configuration).whole()))
    }

    pub(crate) async fn configuration(&self) -> Result<Configuration, PortError> {
        self.reader.read(self.host()).await
    }

    /// What stands in the file that is the switch, and which slot it means.
    pub(crate) async fn content(&self) -> Result<(Option<Vec<u8>>, Slot), PortError> {
        let content = self.host().read(&self.options.marker).await?.content;
        let slot = match (self.options.switch, &content) {
            (NginxSwitch::File, Some(_)) => Slot::Green,
            (NginxSwitch::File, None) => Slot::Blue,
            (NginxSwitch::Reload, content) => {
                included::slot(&self.options.marker, &self.label(), &self.dials, content.as_deref())?
            }
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
                self.required(configuration)?;
                let label = self.label();
                By::Constants(
                    [Slot::Blue, Slot::Green].map(|slot| included::constants(&label, &self.dials, slot)),
                )
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

    /// The servers that can be asked: behind a URL with a name only the one of that name.
    pub(crate) fn asked<'a>(&self, looked: &'a Looked) -> Vec<&'a Site> {
        let sites = &looked.routes.sites;
        let Some(url) = self.base_url.as_ref().filter(|url| !url.is_bare_address()) else {
            return sites.iter().collect();
        };
        let host = url.data_path(None).host;
        sites.iter().find(|site| site.host == host).or(sites.first()).into_iter().collect()
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
}
