//! The port `Router`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use lockgate_model::{Slot, Split};
use lockgate_ports::{
    Check, InFlight, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Tried, Upstream,
    only_upstream,
};
use serde_json::Value;

use crate::caddy::Caddy;
use crate::dials::leads;
use crate::{check, streams, tree, trial};

/// Response header by which an app may say in which slot it runs.
pub(crate) const SLOT_HEADER: &str = "x-lockgate-slot";

#[async_trait]
impl Router for Caddy {
    fn name(&self) -> &'static str {
        "caddy"
    }

    async fn route(&self) -> Result<Route, PortError> {
        let live = self.look().await?;
        let dials = live.members.dials();
        let dial = (!dials.is_empty()).then(|| dials.join(", "));
        let (split, torn) = (live.members.split(), live.members.torn());
        let cuts = streams::cuts(self, &live).await.map(|cut| cut.told());
        Ok(Route { split, dial, version: live.version, torn, cuts, ..Route::default() })
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        let to = only_upstream(to, self.name())?;
        let dial = self.dial_for(to);
        let live = self.look().await?;
        let lists = live.members.at(&dial);
        if lists == live.members.lists() && live.members.split() == Some(Split::all_to(to.slot)) {
            return self.mend_snippet(&live.members.first().dials).await;
        }
        let known = self.known(&live, Some((to.slot, &dial)), &lists);
        self.send_to(&live, expected, lists, &known).await
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
        if live.members.dials() == dials {
            return self.mend_snippet(&live.members.first().dials).await;
        }
        let lists = live.members.back_to(&dials, &self.dials(&live.config));
        let known = self.known(&live, None, &lists);
        self.send_to(&live, expected, lists, &known).await
    }

    async fn try_out(&self, to: &Upstream, request: &Request) -> Result<Tried, PortError> {
        trial::try_out(self, to, request).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        let config = self.config().await?;
        let unknown = |why: String| {
            PortError::other(format!("the requests in flight on {slot} cannot be counted: {why}"))
                .hint("the next switch adds the ghost route that keeps the counts; until then wait for the deadline")
        };
        let dials = self.dials(&config);
        let Some(dial) = dials.get(&slot) else {
            return Err(unknown("its address is not known before the first switch to it".to_owned()));
        };
        let in_ghost = self.ghost.dials(&config).values().any(|known| known == dial);
        let leads_there = |dial: &String| leads(&dials, dial).slot() == Some(slot);
        if !in_ghost && !tree::handlers(&config).iter().any(|handler| handler.dials.iter().any(leads_there)) {
            let id = self.ghost.id();
            return Err(unknown(format!(
                "Caddy dials {dial} nowhere, the route {id} is missing (after `caddy reload`?)"
            )));
        }
        let counts = self.admin.get("/reverse_proxy/upstreams").await?.value;
        // One that drains is listed beside the others by Caddy 2.11, so an address may be there twice.
        let mut listed: BTreeMap<&str, u64> = BTreeMap::new();
        for count in counts.as_array().map(Vec::as_slice).unwrap_or_default() {
            let address = count.get("address").and_then(Value::as_str);
            let requests = count.get("num_requests").and_then(Value::as_u64);
            let Some((address, requests)) = address.zip(requests) else { continue };
            if leads(&dials, address).slot() == Some(slot) {
                let seen = listed.entry(address).or_default();
                *seen = requests.max(*seen);
            }
        }
        match listed.is_empty() {
            false => Ok(InFlight { requests: listed.values().sum(), upgraded: 0 }),
            true => Err(unknown(format!("Caddy does not list {dial} in /reverse_proxy/upstreams"))),
        }
    }

    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
        let path = self.data_path(&request.target).await?;
        let answer = self.ask_at(&path, request.clone()).await?;
        let slot = answer.header(SLOT_HEADER).and_then(|slot| slot.parse().ok());
        Ok(RouterAnswer { answer, slot, release: None })
    }

    async fn check(&self) -> Vec<Check> {
        check::check(self).await
    }
}
