//! The driver itself: the route found, and the traffic sent elsewhere.

use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{PortError, RouteVersion};
use serde_json::Value;

use crate::CaddyOptions;
use crate::admin::{Admin, Change, TRIES_MAX};
use crate::ask::{self, BaseUrl, DataPath};
use crate::ghost::{Dials, Ghost};
use crate::options::admin_endpoint;
use crate::tree::{self, By, Handler, IdSeen, Search};
use crate::{snippet, version};

/// Looks at a configuration that changes while it is looked at.
const LOOKS_MAX: usize = 3;

/// One service's route in one Caddy.
pub struct Caddy {
    pub(crate) options: CaddyOptions,
    pub(crate) admin: Admin,
    pub(crate) ghost: Ghost,
    base_url: Option<BaseUrl>,
}

/// The route as it was seen just now.
pub(crate) struct Live {
    pub config: Value,
    pub handler: Handler,
    pub by: By,
    pub version: RouteVersion,
    /// For `If-Match`; `None` where Caddy gives none.
    etag: Option<String>,
}

impl Caddy {
    /// Takes what it is told; connects to nothing.
    ///
    /// # Errors
    /// `Refused` when the admin address or the `ask` URL cannot be used, or both slots have the same address.
    pub fn new(options: CaddyOptions) -> Result<Caddy, PortError> {
        let endpoint = admin_endpoint(&options.admin)?;
        let base_url = options.ask.as_deref().map(BaseUrl::parse).transpose()?;
        if let (Some(blue), Some(green)) = (options.dial.get(&Slot::Blue), options.dial.get(&Slot::Green))
            && blue == green
        {
            return Err(PortError::new(
                FailureKind::Refused,
                format!("both slots would be dialled at {blue}"),
            )
            .hint("put `{slot}` into `router.caddy.dial`, as in `{service}-{slot}:5000`"));
        }
        let admin = Admin::new(options.host.clone(), endpoint, options.admin.clone());
        let ghost = Ghost::new(&options.label);
        Ok(Caddy { options, admin, ghost, base_url })
    }

    /// The whole configuration.
    pub(crate) async fn config(&self) -> Result<Value, PortError> {
        Ok(self.admin.get("/config/").await?.value)
    }

    /// The slots' addresses: as configured, else as the ghost remembers them.
    pub(crate) fn dials(&self, config: &Value) -> Dials {
        let mut dials = self.ghost.dials(config);
        dials.extend(self.options.dial.iter().map(|(slot, dial)| (*slot, dial.clone())));
        dials
    }

    pub(crate) fn find(&self, config: &Value) -> Result<(Handler, By), PortError> {
        let dials = self.dials(config);
        let slots: Vec<&str> = dials.values().map(String::as_str).collect();
        match tree::search(config, self.options.id.as_deref(), &slots) {
            Search::Found { handler, .. } if handler.dynamic => Err(PortError::new(
                FailureKind::Refused,
                format!("the reverse_proxy at {} has dynamic upstreams, so a switch would change nothing", handler.path),
            )
            .hint("give it static upstreams: `reverse_proxy <address of the live slot>`")),
            Search::Found { handler, by } => Ok((handler, by)),
            Search::None { others, id } => Err(self.no_route(&others, id, &slots)),
            Search::Several(handlers) => Err(PortError::new(
                FailureKind::Refused,
                format!("which route is meant cannot be told, {} fit: {}", handlers.len(), list(&handlers)),
            )
            .hint("give the one that is meant an `@id` in Caddy's JSON and set `router.caddy.id` to it; a Caddyfile cannot have one, so there only one `reverse_proxy` may dial the service")),
        }
    }

    fn no_route(&self, others: &[Handler], id: IdSeen, slots: &[&str]) -> PortError {
        let dialled = match slots {
            [] => "no slot's address is known to look for".to_owned(),
            slots => format!("no reverse_proxy dials {}", slots.join(" or ")),
        };
        let wanted = self.options.id.as_deref().unwrap_or_default();
        let why = match id {
            IdSeen::NotConfigured => dialled,
            IdSeen::Missing => format!("nothing has the @id {wanted:?}, and {dialled}"),
            IdSeen::WithoutHandler => format!("there is no reverse_proxy in what has the @id {wanted:?}"),
        };
        let there = match others {
            [] => "it has no reverse_proxy at all".to_owned(),
            others => format!("it has {}", list(others)),
        };
        let name = self.options.id.clone().unwrap_or_else(|| format!("{}_upstream", self.options.label));
        let dial = slots.first().copied().unwrap_or("<address of the live slot>");
        PortError::not_found(format!(
            "Caddy at {} has no route for the service: {why}; {there}",
            self.admin.shown()
        ))
        .hint(format!(
            "have `reverse_proxy {dial}` in the Caddyfile{}",
            others.first().map(|one| self.mark(one, &name)).unwrap_or_default()
        ))
    }

    /// How to give the handler an id, typed as it is.
    fn mark(&self, handler: &Handler, name: &str) -> String {
        let shown = self.admin.shown().trim_end_matches('/');
        let socket = shown.strip_prefix("unix:").or_else(|| shown.strip_prefix("unix/"));
        let at = match socket {
            Some(socket) => format!("--unix-socket {socket} http://localhost"),
            None => shown.to_owned(),
        };
        format!(
            ", or mark the handler that is meant, such as the one that dials {}: `curl -X POST -H 'content-type: \
             application/json' -d '\"{name}\"' {at}{}/@id` and set `router.caddy.id: {name}`",
            handler.dials.join(" and "),
            handler.path.url()
        )
    }

    /// Reads the configuration and the ETag of the upstreams in it, both of the same moment.
    pub(crate) async fn look(&self) -> Result<Live, PortError> {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let config = self.config().await?;
            let (handler, by) = self.find(&config)?;
            let path = handler.upstreams_path().url();
            match self.admin.get(&path).await {
                Ok(tagged) if tagged.value == handler.upstreams => {
                    let content = || format!("{path} {}", handler.upstreams);
                    let version = RouteVersion(tagged.etag.clone().unwrap_or_else(content));
                    return Ok(Live { config, handler, by, version, etag: tagged.etag });
                }
                Ok(_) => {}
                // The path may be gone because the configuration changed in between.
                Err(error) if matches!(error.kind, FailureKind::Other | FailureKind::NotFound) => {
                    last = Some(error)
                }
                Err(error) => return Err(error),
            }
        }
        let changing =
            || PortError::new(FailureKind::Conflict, "Caddy's configuration changes while it is looked at");
        Err(last.unwrap_or_else(changing))
    }

    /// The handlers whose requests a change of configuration would kill, and the version that makes it so.
    pub(crate) async fn endangered(
        &self,
        config: &Value,
        handler: &Handler,
    ) -> (Vec<Handler>, Option<version::Version>) {
        let mut flushing = tree::handlers(config);
        flushing.retain(|one| one.flushes_at_once);
        if flushing.is_empty() {
            return (flushing, None);
        }
        let version = version::detect(self.options.host.as_ref()).await;
        match version {
            Some(seen) if seen >= version::STREAMS_SURVIVE => flushing.clear(),
            Some(_) => {}
            None => flushing.retain(|one| one.path.route() == handler.path.route()),
        }
        (flushing, version)
    }

    pub(crate) async fn refuse_killing(&self, live: &Live) -> Result<(), PortError> {
        let (endangered, version) = self.endangered(&live.config, &live.handler).await;
        if endangered.is_empty() {
            return Ok(());
        }
        let version = version.map_or_else(|| "of unknown version".to_owned(), |version| version.to_string());
        Err(PortError::new(
            FailureKind::Refused,
            format!(
                "Caddy {version} would kill every request in flight of the reverse_proxy with `flush_interval -1` at any switch: {}",
                list(&endangered)
            ),
        )
        .hint("upgrade Caddy to 2.7 or later, or take `flush_interval -1` out (Caddy flushes event streams by itself)"))
    }

    /// Sends the traffic to `dials`, with the ghost and the snippet in step.
    pub(crate) async fn send_to(
        &self,
        live: &Live,
        expected: &RouteVersion,
        dials: &[String],
        ghost: &Dials,
    ) -> Result<(), PortError> {
        self.refuse_killing(live).await?;
        refuse_stale(live, expected)?;
        let snippet = match &self.options.snippet {
            Some(path) => Some((path, snippet::text(dials)?)),
            None => None,
        };
        // The ghost first: a switch without it would lose the old slot's count.
        self.ghost.ensure(&self.admin, &live.config, &live.handler.path.server(), ghost).await?;
        let written = match &snippet {
            Some((path, text)) => snippet::write(self.options.host.as_ref(), path, text).await?,
            None => None,
        };
        match (self.put(live, dials).await, written) {
            (Ok(()), _) => {}
            (Err(error), Some(written)) if !error.outcome_unknown() => {
                return Err(written.take_back(error).await);
            }
            (Err(error), _) => return Err(error),
        }
        let seen = self.admin.get(&live.handler.upstreams_path().url()).await?;
        let seen = tree::dials(&seen.value);
        if seen != dials {
            return Err(PortError::new(
                FailureKind::Conflict,
                format!("Caddy took {} and dials {} right afterwards", dials.join(", "), seen.join(", ")),
            )
            .hint("somebody else changes this Caddy; look at the route again"));
        }
        Ok(())
    }

    /// Writes the upstreams. A broken connection is looked into: under `If-Match` the change may be repeated, for it
    /// cannot be made twice.
    async fn put(&self, live: &Live, dials: &[String]) -> Result<(), PortError> {
        let wanted = upstreams(&live.handler.upstreams, dials);
        let change = if live.handler.upstreams.is_null() { Change::Put } else { Change::Patch };
        let path = live.handler.upstreams_path().url();
        let mut broken: Option<PortError> = None;
        for _ in 0..TRIES_MAX {
            match self.admin.change(change, &path, &wanted, live.etag.as_deref()).await {
                Ok(()) => return Ok(()),
                // One of several tries that may have done it is enough to make it unknown.
                Err(error) if error.kind == FailureKind::Unreachable => {
                    broken = Some(broken.filter(PortError::outcome_unknown).unwrap_or(error));
                }
                Err(error) if broken.is_none() => return Err(error),
                // A conflict after a broken connection may be with our own change.
                Err(error) => tracing::debug!(%error, "after a broken connection"),
            }
            let Ok(seen) = self.admin.get(&path).await else { break };
            if tree::dials(&seen.value) == dials {
                return Ok(());
            }
            if live.etag.is_none() || seen.etag != live.etag {
                break;
            }
        }
        Err(broken.unwrap_or_else(|| PortError::unreachable("the connection to Caddy's admin API broke")))
    }

    /// Has the snippet name what is dialled, where Caddy itself needs no change.
    pub(crate) async fn mend_snippet(&self, dials: &[String]) -> Result<(), PortError> {
        if let Some(path) = &self.options.snippet {
            snippet::write(self.options.host.as_ref(), path, &snippet::text(dials)?).await?;
        }
        Ok(())
    }

    /// How to ask for `target` (path and query) through Caddy.
    pub(crate) async fn data_path(&self, target: &str) -> Result<DataPath, PortError> {
        match &self.base_url {
            Some(url) if !url.is_bare_address() => Ok(url.data_path(None)),
            Some(url) => {
                let config = self.config().await?;
                let (handler, _) = self.find(&config)?;
                let whole = url.data_path(None).prefix + target;
                // The URL's own path decides; the routes are only asked for the host they match.
                let host = ask::host(&config, &handler.path, &whole);
                Ok(url.data_path(host))
            }
            None => {
                let config = self.config().await?;
                let (handler, _) = self.find(&config)?;
                ask::derive(&config, &handler.path, target)
            }
        }
    }

    /// What the ghost dials once `slot` is at `dial`.
    pub(crate) fn ghost_dials(&self, live: &Live, slot: Slot, dial: &str) -> Dials {
        let mut dials = self.dials(&live.config);
        // A runtime may give a slot an address that the other slot once had.
        dials.retain(|_, address| address != dial);
        dials.insert(slot, dial.to_owned());
        dials
    }

    pub(crate) fn target(&self, live: &Live) -> Option<Slot> {
        let [dialled] = live.handler.dials.as_slice() else { return None };
        self.dials(&live.config).into_iter().find(|(_, dial)| dial == dialled).map(|(slot, _)| slot)
    }
}

fn refuse_stale(live: &Live, expected: &RouteVersion) -> Result<(), PortError> {
    if &live.version == expected {
        return Ok(());
    }
    Err(PortError::new(
        FailureKind::Conflict,
        format!("the route changed meanwhile: {} now", live.handler.describe()),
    )
    .hint("somebody else changes this route; look at it again and repeat"))
}

/// The new list: each address with the first upstream's other settings (`max_requests`), which a switch must keep.
fn upstreams(now: &Value, dials: &[String]) -> Value {
    let model = now.get(0).and_then(Value::as_object).cloned().unwrap_or_default();
    let one = |(index, dial): (usize, &String)| {
        let mut upstream = model.clone();
        if index > 0 {
            upstream.remove("@id");
        }
        upstream.insert("dial".to_owned(), Value::String(dial.clone()));
        Value::Object(upstream)
    };
    Value::Array(dials.iter().enumerate().map(one).collect())
}

fn list(handlers: &[Handler]) -> String {
    handlers.iter().map(Handler::describe).collect::<Vec<_>>().join("; ")
}
