//! What sends traffic to a slot, for one service on one host.

use std::net::SocketAddr;

use async_trait::async_trait;
use lockgate_model::{FailureKind, HoldBounds, InSlot, Release, Slot, Split};

use crate::{Answer, Check, Endpoint, PortError, Replica, Request};

/// Opaque: what the router's state was when it was read. [`Router::set`] swaps only against this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteVersion(pub String);

/// The service's route as the router has it now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Which slots get traffic; `None` when it has no route or dials something that is no slot.
    pub split: Option<Split>,
    /// What it dials, in its own words; `None` when it has no route. Where [`Router::dials_slots`], all addresses as
    /// [`all_dials`](crate::all_dials) writes them, and something else where it does not send requests to one of them.
    pub dial: Option<String>,
    /// What it is now, so that a change can say what it was made for.
    pub version: RouteVersion,
    /// True while requests wait at the router instead of being sent on: see [`Router::hold`].
    pub held: bool,
    /// What sends where, in the router's own words, where several parts of the router ought to send to the same slot and do
    /// not: another address of the service, a path of its own. `None` where they agree. [`Router::set`] has them agree.
    pub torn: Option<String>,
    /// What a switch would cut of this service's requests in flight, and what to do about it. `None`: nothing that is known.
    pub cuts: Option<String>,
}

impl Route {
    /// The slot gets traffic, however little.
    #[must_use]
    pub fn sends_to(&self, slot: Slot) -> bool {
        self.split.as_ref().is_some_and(|split| split.sends_to(slot))
    }

    /// The slot that gets all of it; `None` where several do or none does.
    #[must_use]
    pub fn only(&self) -> Option<Slot> {
        self.split.as_ref()?.only().copied()
    }

    /// The slot that gets most of it; `None` where none gets any.
    #[must_use]
    pub fn most(&self) -> Option<Slot> {
        self.split.as_ref().map(Split::most)
    }
}

/// Where to send traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The slot that gets traffic.
    pub slot: Slot,
    /// What runs in it; a router that can names it in its answers.
    pub release: Release,
    /// The slot's address as seen from the host; a router whose configuration names the address to dial uses that. Of several
    /// replicas the first one's.
    pub endpoint: Endpoint,
    /// All that are to get requests, each with an endpoint. Empty: `endpoint` alone, and whose it is nobody knows.
    pub replicas: Vec<Replica>,
}

impl InSlot for Upstream {
    fn slot(&self) -> Slot {
        self.slot
    }
}

/// The one upstream of a split, for a router that cannot share traffic out.
///
/// # Errors
/// `Refused` when there are several.
pub fn only_upstream<'a>(to: &'a Split<Upstream>, router: &str) -> Result<&'a Upstream, PortError> {
    to.only().ok_or_else(|| {
        let message =
            format!("the router {router} cannot split the traffic of a service, and {to} was wanted");
        PortError::new(FailureKind::Refused, message).hint("send all of it to one slot")
    })
}

/// Requests that a slot has not finished answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InFlight {
    /// Requests that it has begun to answer, or will.
    pub requests: u64,
    /// WebSockets and other upgraded connections, where the router counts them apart.
    pub upgraded: u64,
}

/// An answer that came through the router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAnswer {
    /// What was answered.
    pub answer: Answer,
    /// Who answered, where the router can say so for this very request.
    pub slot: Option<Slot>,
    /// Digest of the release that answered, where the router can say so.
    pub release: Option<String>,
}

/// What came of asking a slot through the router before any user is sent there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// The slot answered, whatever it said.
    Answered {
        /// Where it was reached, in the router's own words.
        dial: String,
        /// Its status; `None` where it let itself be connected to and no more was asked.
        status: Option<u16>,
    },
    /// The router says that it does not reach it.
    NotReached {
        /// Where it was looked for, in the router's own words.
        dial: String,
        /// The router's own words.
        why: String,
    },
    /// It could not be asked, which says nothing about the slot. Why, for the log.
    NotAsked(String),
}

/// What sends traffic to slots, for one service on one host.
#[async_trait]
pub trait Router: Send + Sync {
    /// For people: `caddy`, `builtin`.
    fn name(&self) -> &'static str;

    /// False only for [`NoRouter`].
    fn sends_traffic(&self) -> bool {
        true
    }

    /// True when a route's dial is the endpoint that the runtime gave for the slot, so that one which differs is out of
    /// date.
    fn dials_slots(&self) -> bool {
        false
    }

    /// Where it listens on the host for users, or will once a change starts it; `None` where that is not ours to say.
    fn public(&self) -> Option<SocketAddr> {
        None
    }

    /// The file on the host in which its routes are kept while it does not run; `None` where that is not ours to say.
    fn kept_in(&self) -> Option<String> {
        None
    }

    /// Reads the live state, never a cache.
    ///
    /// # Errors
    /// `Unreachable` when the router is down; `NotFound` when it lacks what the configuration names (the `@id`);
    /// `Refused` when it is set up such that a switch would drop requests. Each with a hint.
    async fn route(&self) -> Result<Route, PortError>;

    /// Brings the router up again where that is ours to do: the built-in proxy after a reboot, with the routes it had.
    /// Does nothing when it runs, when it never ran, or when somebody else looks after it.
    ///
    /// # Errors
    /// `Unreachable` when it does not come up; `Refused` when the one that runs does not listen where it should.
    async fn revive(&self) -> Result<(), PortError> {
        Ok(())
    }

    /// Whether it runs, or a change would start it: what is needed for that is there. Changes nothing.
    ///
    /// # Errors
    /// `NotFound` when what starts it is missing on the host, with a hint; `Unreachable` when the host does not answer.
    async fn launchable(&self) -> Result<(), PortError> {
        Ok(())
    }

    /// Whether [`Router::set`] takes a split of several slots.
    fn can_split(&self) -> bool {
        false
    }

    /// Sends new requests to the upstreams of `to` by their shares, atomically: when it returns, the change is in force and
    /// outlives a restart of the router as well as the router allows. Does nothing when `to` has the traffic already
    /// with the same releases and addresses. Requests in flight finish where they are.
    ///
    /// # Errors
    /// `Refused` for several upstreams by a router that cannot split ([`only_upstream`]); `Conflict` when the route is no
    /// longer at `expected` (nothing is changed in both cases); else as [`Router::route`].
    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError>;

    /// Asks the slot on the router's own way to it, as it will be dialled once it has traffic. No user is sent there, and
    /// nothing else changes for users. A router that can only send users' requests to a slot has not asked.
    ///
    /// # Errors
    /// As [`Router::route`].
    async fn try_out(&self, to: &Upstream, request: &Request) -> Result<Tried, PortError> {
        let _ = (to, request);
        Ok(Tried::NotAsked(format!("the router {} cannot", self.name())))
    }

    /// Puts back what was there before Lockgate's first switch: dial `dial`, or with `None` remove the route.
    ///
    /// # Errors
    /// As [`Router::set`].
    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError>;

    /// Whether [`Router::hold`] is more than a refusal.
    fn can_hold(&self) -> bool {
        false
    }

    /// From its return on no new request is sent to any slot: requests wait, at most `bounds.requests_max` of them and
    /// each for at most `bounds.time`; any beyond that are answered 503 with `Retry-After`. The body of a request that
    /// waits is not read beyond a bound, and a client that goes away frees its place. Requests in flight go on, and only
    /// they are counted by [`Router::in_flight`]. [`Router::set`] and [`Router::withdraw`] work meanwhile and let
    /// nothing go. A restart of the router keeps the hold.
    ///
    /// Holding what is held is no error: the bounds are the new ones, and the hold's time begins anew (a request's own
    /// does not). `bounds.time` after the newest call it ends by itself, as by [`Router::let_go`], so that it does not
    /// outlive an orchestrator that is gone. Does nothing where the service has no route. The route's version does not
    /// change with it.
    ///
    /// # Errors
    /// `Refused` by a router that cannot; else as [`Router::route`].
    async fn hold(&self, bounds: &HoldBounds) -> Result<(), PortError> {
        let _ = bounds;
        Err(cannot_hold(self.name()))
    }

    /// Sends the requests that wait, and all later ones, to where the route leads now. Does nothing when nothing is held.
    ///
    /// # Errors
    /// As [`Router::hold`].
    async fn let_go(&self) -> Result<(), PortError> {
        Err(cannot_hold(self.name()))
    }

    /// Requests that the slot has not finished answering, even when it has lost the traffic; exact or too high, never
    /// too low by more than what one call takes.
    ///
    /// # Errors
    /// As [`Router::route`].
    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError>;

    /// Sends a request through the router's data path, as a user's request would come: it waits too while requests are
    /// held.
    ///
    /// # Errors
    /// `Unreachable` when the router does not listen; an error status is an answer, not an error.
    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError>;

    /// As [`Router::ask`], once for each replica that it sends requests to. At least one answer.
    ///
    /// # Errors
    /// As [`Router::ask`].
    async fn ask_each(&self, request: &Request) -> Result<Vec<RouterAnswer>, PortError> {
        Ok(vec![self.ask(request).await?])
    }

    /// As [`Router::in_flight`], for a router that cannot tell by itself where the slot answers: `endpoint` is where the runtime
    /// says that it does, as seen from the host; `None` where it does not say.
    ///
    /// # Errors
    /// As [`Router::in_flight`].
    async fn in_flight_at(&self, slot: Slot, endpoint: Option<&Endpoint>) -> Result<InFlight, PortError> {
        let _ = endpoint;
        self.in_flight(slot).await
    }

    /// System A's `active_color` is this router's own switch, so only [`Router::set`] and [`Router::withdraw`] write it: whoever
    /// else did would switch the traffic.
    ///
    /// # Errors
    /// Where it cannot be told, as [`Router::route`]; then nobody else may write it either.
    async fn goes_by_active_color(&self) -> Result<bool, PortError> {
        Ok(false)
    }

    /// That new requests really go to the slot which [`Router::route`] names, as far as it can be known without an answer that
    /// says who gave it. A router which was asked for its route itself has nothing to add.
    ///
    /// # Errors
    /// `Refused` where that is not certain, with what would make it so.
    async fn in_force(&self, slot: Slot) -> Result<(), PortError> {
        let _ = slot;
        Ok(())
    }

    /// What a plan says of how this router is switched and drained, a sentence each. Empty where there is nothing special.
    async fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// What a deployment will need of this router, looked at without changing anything.
    async fn check(&self) -> Vec<Check>;

    /// As [`Router::check`], where a slot of the service itself has [`Router::public`] until a deployment takes its place:
    /// nobody else is to be stopped then. `slot`: which.
    async fn check_beside(&self, slot: Slot) -> Vec<Check> {
        let _ = slot;
        self.check().await
    }
}

fn cannot_hold(router: &str) -> PortError {
    PortError::new(FailureKind::Refused, format!("the router {router} cannot hold requests"))
}

/// In the place of a router where there is none: no route, nothing in flight, nothing that could be changed. What is live is
/// then what runs.
pub struct NoRouter;

impl NoRouter {
    fn refused() -> PortError {
        PortError::new(FailureKind::Refused, "there is no router (`router: none`)")
    }
}

#[async_trait]
impl Router for NoRouter {
    fn name(&self) -> &'static str {
        "none"
    }

    fn sends_traffic(&self) -> bool {
        false
    }

    async fn route(&self) -> Result<Route, PortError> {
        Ok(Route::default())
    }

    async fn set(&self, _: &Split<Upstream>, _: &RouteVersion) -> Result<(), PortError> {
        Err(Self::refused())
    }

    async fn withdraw(&self, _: Option<&str>, _: &RouteVersion) -> Result<(), PortError> {
        Err(Self::refused())
    }

    async fn in_flight(&self, _: Slot) -> Result<InFlight, PortError> {
        Ok(InFlight::default())
    }

    async fn ask(&self, _: &Request) -> Result<RouterAnswer, PortError> {
        Err(Self::refused())
    }

    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }
}
