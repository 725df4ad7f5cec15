//! The port `Router`.

use async_trait::async_trait;
use lockgate_model::{FailureKind, Slot, Split};
use lockgate_ports::{
    Check, Endpoint, InFlight, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Tried,
    Upstream, only_upstream,
};

use crate::nginx::Nginx;
use crate::{check, counts};

#[async_trait]
impl Router for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    async fn route(&self) -> Result<Route, PortError> {
        let mut looked = self.look().await?;
        let (slot, torn) = match self.otherwise(&mut looked).await? {
            None => (looked.slot, None),
            // What it does is the truth, and the next switch has both agree.
            Some((slot, at)) if self.is_reloaded() => (slot, Some(self.told(&looked, slot, &at))),
            Some((slot, at)) => return Err(self.blind(&looked, slot, &at)),
        };
        let dial = Some(self.dial(slot)?.to_owned());
        let version = looked.version();
        Ok(Route { split: Some(Split::all_to(slot)), dial, version, torn, ..Route::default() })
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        let to = only_upstream(to, self.name())?;
        self.dial(to.slot)?;
        let looked = self.look().await?;
        if looked.slot != to.slot {
            self.refuse_stale(&looked, expected)?;
        }
        self.switch(looked, to.slot).await
    }

    /// Its configuration leads nobody to a slot but by the switch.
    async fn try_out(&self, _: &Upstream, _: &Request) -> Result<Tried, PortError> {
        Ok(Tried::NotAsked(
            "the switch is a file, and no request gets to the other slot before it is there".to_owned(),
        ))
    }

    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        let looked = self.look().await?;
        self.refuse_stale(&looked, expected)?;
        let dial = dial.unwrap_or("nothing");
        let slot = [Slot::Blue, Slot::Green].into_iter().find(|slot| self.dials.of(*slot) == dial);
        let slot = slot.ok_or_else(|| {
            let message = format!(
                "nginx dialled {dial:?} before, which is neither slot's address, and the switch leads only to those"
            );
            PortError::new(FailureKind::Refused, message)
                .hint("`router.nginx.dial` was changed since; put nginx's configuration right by hand")
        })?;
        self.switch(looked, slot).await
    }

    async fn in_force(&self, slot: Slot) -> Result<(), PortError> {
        let looked = self.look().await?;
        if let Some(site) = looked.routes.sites.iter().find(|site| site.probe.is_none()) {
            let message = format!(
                "{} has no location in which nginx says where it goes, and no answer says which slot gave it",
                site.at
            );
            return Err(PortError::new(FailureKind::Refused, message).hint(format!(
                "set `verify` to what tells releases apart; or {}",
                self.advice(&looked.configuration).whole()
            )));
        }
        let looked = self.agreed(looked).await?;
        match looked.slot == slot {
            true => Ok(()),
            false => Err(PortError::new(
                FailureKind::Refused,
                format!("nginx goes to {}, not to {slot}", looked.slot),
            )
            .hint("somebody else switches; look at the route again and repeat")),
        }
    }

    async fn remarks(&self) -> Vec<String> {
        let file = &self.options.marker;
        let mut remarks = vec![match self.is_reloaded() {
            false => format!(
                "the switch is {file}, which nginx looks for at each request: its configuration is not changed"
            ),
            true => format!(
                "the switch is {file}, with which nginx is reloaded: that closes kept connections, on some of which a request is \
                 just coming, and WebSockets keep workers of before, and the old slot, until the deadline; `switch: file` loses nothing"
            ),
        }];
        // Where it cannot be looked at the route says why.
        if let Ok(looked) = self.look().await {
            remarks.extend(counts::inexact(&looked.routes, looked.configuration.version));
        }
        remarks
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        self.in_flight_at(slot, None).await
    }

    async fn in_flight_at(&self, slot: Slot, endpoint: Option<&Endpoint>) -> Result<InFlight, PortError> {
        self.dial(slot)?;
        let looked = self.look().await?;
        let dials = looked.routes.dials.as_ref().unwrap_or(&self.dials);
        let counted = counts::in_flight(self.host(), slot, dials.of(slot), endpoint).await?;
        if counted.requests > 0 || !self.is_reloaded() {
            return Ok(counted);
        }
        let may_come_back = self.may_come_back(&looked.configuration, slot, looked.slot).await?;
        Ok(InFlight { requests: u64::from(may_come_back), upgraded: 0 })
    }

    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
        let looked = self.look().await?;
        let path = self.data_path(&looked, &request.target)?;
        self.ask_along(&path, request).await
    }

    async fn check(&self) -> Vec<Check> {
        check::check(self).await
    }
}
