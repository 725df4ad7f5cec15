//! The port `Router`.

use async_trait::async_trait;
use lockgate_model::{Slot, Split};
use lockgate_ports::{
    Check, InFlight, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Upstream, http,
    only_upstream,
};
use serde_json::Value;

use crate::ask::{DataPath, is_within};
use crate::caddy::Caddy;
use crate::check;
use crate::options::dial_of;
use crate::tls::TlsHost;

/// Response header by which an app may say in which slot it runs.
const SLOT_HEADER: &str = "x-lockgate-slot";

#[async_trait]
impl Router for Caddy {
    fn name(&self) -> &'static str {
        "caddy"
    }

    async fn route(&self) -> Result<Route, PortError> {
        let live = self.look().await?;
        self.refuse_killing(&live).await?;
        let dials = &live.handler.dials;
        let dial = (!dials.is_empty()).then(|| dials.join(", "));
        let split = self.target(&live).map(Split::all_to);
        Ok(Route { split, dial, version: live.version, held: false })
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        let to = only_upstream(to, self.name())?;
        let dial = self.options.dial.get(&to.slot).cloned().unwrap_or_else(|| dial_of(&to.endpoint));
        let live = self.look().await?;
        if live.handler.dials == [dial.as_str()] && self.target(&live) == Some(to.slot) {
            return self.mend_snippet(&[dial]).await;
        }
        let ghost = self.ghost_dials(&live, to.slot, &dial);
        self.send_to(&live, expected, &[dial], &ghost).await
    }

    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        // As `route` gives it: several addresses are separated by commas, none is a handler without upstreams.
        let dials: Vec<String> = dial
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect();
        let live = self.look().await?;
        if live.handler.dials == dials {
            return self.mend_snippet(&dials).await;
        }
        let ghost = self.dials(&live.config);
        self.send_to(&live, expected, &dials, &ghost).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        let config = self.config().await?;
        let unknown = |why: String| {
            PortError::other(format!("the requests in flight on {slot} cannot be counted: {why}"))
                .hint("the next switch adds the ghost route that keeps the counts; until then wait for the deadline")
        };
        let Some(dial) = self.dials(&config).remove(&slot) else {
            return Err(unknown("its address is not known before the first switch to it".to_owned()));
        };
        let in_ghost = self.ghost.dials(&config).values().any(|known| *known == dial);
        if !in_ghost && !self.find(&config)?.0.dials.contains(&dial) {
            let id = self.ghost.id();
            return Err(unknown(format!(
                "Caddy dials {dial} nowhere, the route {id} is missing (after `caddy reload`?)"
            )));
        }
        let requests = self.counted(&dial).await?;
        match requests {
            Some(requests) => Ok(InFlight { requests, upgraded: 0 }),
            None => Err(unknown(format!("Caddy does not list {dial} in /reverse_proxy/upstreams"))),
        }
    }

    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
        let path = self.data_path(&request.target).await?;
        self.ask_along(&path, request).await
    }

    async fn check(&self) -> Vec<Check> {
        check::check(self).await
    }
}

impl Caddy {
    /// Asks as a user would, along the way that was found.
    pub(crate) async fn ask_along(
        &self,
        path: &DataPath,
        request: &Request,
    ) -> Result<RouterAnswer, PortError> {
        let mut request = request.clone();
        request.target.insert_str(0, &path.prefix);
        // What the route is matched by comes first: under another name another site would answer.
        if let Some(host) = &path.host
            && !request.headers.iter().any(|(name, given)| name == "host" && is_within(given, host))
        {
            request.headers.retain(|(name, _)| name != "host");
            request = request.header("host", host);
        }
        let host = self.options.host.as_ref();
        let answer = match &path.tls {
            None => http::send(host, &path.endpoint, request).await,
            Some(name) => http::send(&TlsHost::new(host, name)?, &path.endpoint, request).await,
        };
        let answer = answer.map_err(|error| {
            let hint =
                format!("was asked at {path}; is that where Caddy serves it? `router.caddy.ask` sets it");
            error.or_hint(|| hint)
        })?;
        let slot = answer.header(SLOT_HEADER).and_then(|slot| slot.parse().ok());
        Ok(RouterAnswer { answer, slot, release: None })
    }

    /// What `/reverse_proxy/upstreams` says of an address; `None` when it is not on the list.
    pub(crate) async fn counted(&self, dial: &str) -> Result<Option<u64>, PortError> {
        let counts = self.admin.get("/reverse_proxy/upstreams").await?.value;
        let counts = counts.as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |count: &&Value| count.get("address").and_then(Value::as_str) == Some(dial);
        Ok(counts.iter().find(of).and_then(|count| count.get("num_requests")).and_then(Value::as_u64))
    }
}
