//! The driver itself: the route found, and the traffic sent elsewhere.

use std::collections::BTreeSet;

use lockgate_asking::{BaseUrl, DataPath};
use lockgate_model::{FailureKind, Slot};
use lockgate_ports::{Answer, PortError, Request, RouteVersion, Upstream};
use serde_json::Value;

use crate::CaddyOptions;
use crate::admin::{Admin, Change, TRIES_MAX};
use crate::ask::{self, ENTRANCE};
use crate::dials::{self, Dials};
use crate::ghost::{Ghost, Known};
use crate::members::{self, IdSeen, Members, Unfit, list};
use crate::options::{admin_endpoint, dial_of};
use crate::rewrite::{self, Rewrite};
use crate::snippet;
use crate::tree::Handler;

/// Looks at a configuration that changes while it is looked at.
const LOOKS_MAX: usize = 3;

/// One service's route in one Caddy.
pub struct Caddy {
    pub(crate) options: CaddyOptions,
    pub(crate) admin: Admin,
    pub(crate) ghost: Ghost,
    pub(crate) base_url: Option<BaseUrl>,
}

/// The route as it was seen just now.
pub(crate) struct Live {
    pub config: Value,
    pub members: Members,
    pub version: RouteVersion,
    /// Of what a switch writes, for `If-Match`; `None` where Caddy gives none.
    etag: Option<String>,
}

impl Caddy {
    /// Takes what it is told; connects to nothing.
    ///
    /// # Errors
    /// `Refused` when the admin address or the `ask` URL cannot be used, or both slots have the same address.
    pub fn new(mut options: CaddyOptions) -> Result<Caddy, PortError> {
        for dial in options.dial.values_mut() {
            *dial = dials::written(dial)?;
        }
        let endpoint = admin_endpoint(&options.admin)?;
        let base_url = options.ask.as_deref().map(|url| BaseUrl::parse(url, &ENTRANCE)).transpose()?;
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

    /// All handlers that send requests of the service to a slot.
    ///
    /// # Errors
    /// `NotFound` when there are none; `Refused` when something sends to a slot in a way that a switch would not change.
    pub(crate) fn find(&self, config: &Value) -> Result<Members, PortError> {
        let dials = self.dials(config);
        let slots: Vec<&str> = dials.values().map(String::as_str).collect();
        members::find(config, self.options.id.as_deref(), &dials).map_err(|unfit| match unfit {
            Unfit::None { others, id } => self.no_route(&others, id, &slots),
            Unfit::Several(handlers) => PortError::new(
                FailureKind::Refused,
                format!("which route is meant cannot be told, {} fit: {}", handlers.len(), list(&handlers)),
            )
            .hint("put the `@id` of `router.caddy.id` on the one `reverse_proxy` that is meant"),
            Unfit::NotUnderstood(reasons) => PortError::new(
                FailureKind::Refused,
                format!("Caddy may send requests to a slot in a way that no switch changes: {}", reasons.join("; ")),
            )
            .hint(format!(
                "give it static upstreams, and nothing but the live slot's plain address: `reverse_proxy {}`; Lockgate \
                 switches all of them together",
                slots.first().copied().unwrap_or("<address of the live slot>")
            )),
        })
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

    /// Reads the configuration and the ETag of what a switch writes, both of the same moment.
    pub(crate) async fn look(&self) -> Result<Live, PortError> {
        let mut last = None;
        for _ in 0..LOOKS_MAX {
            let config = self.config().await?;
            let members = self.find(&config)?;
            let place = rewrite::place(&members);
            match self.admin.get(&place.url()).await {
                Ok(tagged) if tagged.value == *place.get(&config).unwrap_or(&Value::Null) => {
                    let version = version_of(&members);
                    return Ok(Live { config, members, version, etag: tagged.etag });
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

    /// Gives all handlers their new upstreams, with the ghost and the snippet in step.
    pub(crate) async fn send_to(
        &self,
        live: &Live,
        expected: &RouteVersion,
        lists: Vec<Value>,
        known: &Known,
    ) -> Result<(), PortError> {
        refuse_stale(live, expected)?;
        let rewrite = Rewrite::of(&live.members, lists);
        let snippet = match &self.options.snippet {
            Some(path) => Some((path, snippet::text(&rewrite.first_dials())?)),
            None => None,
        };
        // The ghost first: a switch without it would lose the old slot's count.
        self.ghost.ensure(&self.admin, &live.config, live.members.first(), known).await?;
        let written = match &snippet {
            Some((path, text)) => snippet::write(self.options.host.as_ref(), path, text).await?,
            None => None,
        };
        match (self.put_where_they_are(live, rewrite).await, written) {
            (Ok(()), _) => Ok(()),
            (Err(error), Some(written)) if !error.outcome_unknown() => Err(written.take_back(error).await),
            (Err(error), _) => Err(error),
        }
    }

    /// Writes the upstreams, also where the handlers have moved meanwhile, by a ghost that was put before them.
    async fn put_where_they_are(&self, live: &Live, mut rewrite: Rewrite) -> Result<(), PortError> {
        let mut moved = None;
        for _ in 0..LOOKS_MAX {
            let live = moved.as_ref().unwrap_or(live);
            let refused = match self.put(live, &rewrite).await {
                Ok(()) => return self.confirm(&rewrite).await,
                Err(error) => error,
            };
            let Ok(again) = self.look().await else { return Err(refused) };
            if rewrite.is_as(&again.members) {
                return Ok(());
            }
            // A request whose answer never came finds nothing to change there any more, or the same to change.
            let around = |again: &Live| again.version == live.version && again.etag != live.etag;
            match Some(again).filter(around) {
                Some(again) => {
                    rewrite = Rewrite::of(&again.members, rewrite.into_lists());
                    moved = Some(again);
                }
                None => return Err(refused),
            }
        }
        Err(moved.as_ref().map_or_else(|| changed(live), changed))
    }

    /// Caddy may take a change and have another one right afterwards.
    async fn confirm(&self, rewrite: &Rewrite) -> Result<(), PortError> {
        let seen = self.admin.get(&rewrite.path.url()).await?;
        if rewrite.is_in(&seen.value) {
            return Ok(());
        }
        let message =
            format!("Caddy took {} and does not dial it right afterwards", rewrite.dials().join(", "));
        Err(PortError::new(FailureKind::Conflict, message)
            .hint("somebody else changes this Caddy; look at the route again"))
    }

    /// Writes the upstreams. A broken connection is looked into: under `If-Match` the change may be repeated, for it
    /// cannot be made twice.
    async fn put(&self, live: &Live, rewrite: &Rewrite) -> Result<(), PortError> {
        let now = rewrite.path.get(&live.config).unwrap_or(&Value::Null);
        let Some(wanted) = rewrite.apply(now) else { return Err(changed(live)) };
        let change = if now.is_null() { Change::Put } else { Change::Patch };
        let path = rewrite.path.url();
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
            if rewrite.is_in(&seen.value) {
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
                let members = self.find(&config)?;
                let whole = url.data_path(None).prefix + target;
                // The URL's own path decides; the routes are only asked for the host they match.
                let host = members.handlers().find_map(|handler| ask::host(&config, &handler.path, &whole));
                Ok(url.data_path(host))
            }
            None => {
                let config = self.config().await?;
                let members = self.find(&config)?;
                let mut paths = members.handlers().map(|handler| ask::derive(&config, &handler.path, target));
                let first = paths.next().unwrap_or_else(|| Err(PortError::other("no handler")));
                first.or_else(|error| paths.find_map(Result::ok).ok_or(error))
            }
        }
    }

    /// What Caddy is to dial for it.
    pub(crate) fn dial_for(&self, to: &Upstream) -> String {
        self.options.dial.get(&to.slot).cloned().unwrap_or_else(|| dial_of(&to.endpoint))
    }

    pub(crate) async fn ask_at(&self, path: &DataPath, request: Request) -> Result<Answer, PortError> {
        path.ask(self.options.host.as_ref(), &ENTRANCE, request).await
    }

    /// What the ghost dials once `slot` is at `dial`: both slots, and whatever else is dialled of them before and after.
    pub(crate) fn known(&self, live: &Live, slot: Option<(Slot, &str)>, lists: &[Value]) -> Known {
        let mut slots = self.dials(&live.config);
        if let Some((slot, dial)) = slot {
            // A runtime may give a slot an address that the other slot once had.
            slots.retain(|_, address| address != dial);
            slots.insert(slot, dial.to_owned());
        }
        let now = live.members.dials().into_iter();
        let then = lists.iter().flat_map(crate::tree::dials);
        let others: BTreeSet<String> =
            now.chain(then).filter(|dial| !slots.values().any(|known| known == dial)).collect();
        // What was dialled before Lockgate is not its own.
        let others = others.into_iter().filter(|dial| dials::leads(&slots, dial).slot().is_some()).collect();
        Known { slots, others }
    }
}

fn refuse_stale(live: &Live, expected: &RouteVersion) -> Result<(), PortError> {
    if &live.version == expected { Ok(()) } else { Err(changed(live)) }
}

fn changed(live: &Live) -> PortError {
    let message = format!("the route changed meanwhile: {} now", live.members.describe());
    PortError::new(FailureKind::Conflict, message)
        .hint("somebody else changes this route; look at it again and repeat")
}

/// What is the service's, wherever in the configuration it is: others change what is around it, and move it.
fn version_of(members: &Members) -> RouteVersion {
    RouteVersion(content(members).into_iter().map(Value::to_string).collect::<Vec<_>>().join("\n"))
}

/// What the handlers dial, wherever they are.
fn content(members: &Members) -> Vec<&Value> {
    members.handlers().map(|handler| &handler.upstreams).collect()
}
