//! The port `Router`, by a file.

use async_trait::async_trait;
use lockgate_model::{FailureKind, Slot, Split};
use lockgate_ports::{
    Check, Endpoint, InFlight, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Tried,
    Upstream, only_upstream,
};

use super::switch::{FileSwitch, colour_of};
use super::{check, counts, reading};

/// What a dial is followed by where Caddy goes to blue because the file names no colour.
const FOR_WANT: &str = " (active_color names no colour)";

#[async_trait]
impl Router for FileSwitch {
    fn name(&self) -> &'static str {
        "caddy"
    }

    async fn route(&self) -> Result<Route, PortError> {
        let looked = self.look().await?;
        self.refuse_old().await?;
        self.refuse_gone(&looked).await?;
        let slot = looked.slot();
        let want = if colour_of(looked.content.as_deref()).is_none() { FOR_WANT } else { "" };
        let dial = Some(format!("{}{want}", self.dial(slot)?));
        Ok(Route { split: Some(Split::all_to(slot)), dial, version: looked.version(), ..Route::default() })
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        let to = only_upstream(to, self.name())?;
        self.dial(to.slot)?;
        let looked = self.look().await?;
        self.refuse_old().await?;
        if colour_of(looked.content.as_deref()) == Some(to.slot) {
            return Ok(());
        }
        self.refuse_stale(&looked, expected)?;
        self.write(&looked, to.slot).await
    }

    /// Its configuration leads nobody to a slot but by the file, and is never changed.
    async fn try_out(&self, _: &Upstream, _: &Request) -> Result<Tried, PortError> {
        Ok(Tried::NotAsked(
            "the switch is a file, and no request gets to the other slot before it says so".to_owned(),
        ))
    }

    /// Back to a file that names no colour is back to none.
    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        let looked = self.look().await?;
        self.refuse_stale(&looked, expected)?;
        let dial = dial.unwrap_or_default();
        let [blue, green] = [self.dial(Slot::Blue)?, self.dial(Slot::Green)?];
        if dial.strip_suffix(FOR_WANT) == Some(blue) {
            let path = &self.options.active_color;
            return self.host().remove(path).await.map_err(|error| self.explain(error));
        }
        match dial {
            dial if dial == blue => self.write(&looked, Slot::Blue).await,
            dial if dial == green => self.write(&looked, Slot::Green).await,
            _ => Err(PortError::new(
                FailureKind::Refused,
                format!("Caddy dialled {dial:?} before, which is neither slot's address, and the file leads only to those"),
            )
            .hint("`router.caddy.dial` or Caddy's configuration was changed since; put Caddy's routes right by hand")),
        }
    }

    async fn goes_by_active_color(&self) -> Result<bool, PortError> {
        Ok(true)
    }

    async fn in_force(&self, _: Slot) -> Result<(), PortError> {
        let looked = self.look().await?;
        reading::certain(self, &looked).await
    }

    async fn remarks(&self) -> Vec<String> {
        let file = &self.options.active_color;
        let mut remarks = vec![format!(
            "the switch is {file}, which Caddy reads at each request: its configuration is not changed"
        )];
        if let Ok(dial) = self.dial(Slot::Blue)
            && let Err(error) = counts::of_caddy(self, dial).await
        {
            remarks.push(counts::said(&error));
        }
        remarks
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        self.in_flight_at(slot, None).await
    }

    async fn in_flight_at(&self, slot: Slot, endpoint: Option<&Endpoint>) -> Result<InFlight, PortError> {
        counts::in_flight(self, slot, endpoint).await
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
