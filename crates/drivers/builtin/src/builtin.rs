//! The router itself.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use lockgate_model::{FailureKind, HoldBounds, Millis, Slot, Split};
use lockgate_ports::{
    Check, Endpoint, InFlight, PortError, Request, Route, RouteVersion, Router, RouterAnswer, Tried,
    Upstream, http, listens, only_upstream,
};
use lockgate_proxy::{
    ASK_HEADER, ErrorKind, HoldRequest, RELEASE_HEADER, REPLICA_HEADER, Replica, RouteSpec, RouteView,
    SLOT_HEADER, StatusView, Target, UpgradeRequest, UpgradeView,
};
use serde::Deserialize;
use tokio::time::Instant;

use crate::admin::{self, Admin};
use crate::options::{BuiltinOptions, reachable};
use crate::{check, launch, listeners, program, replicas, trial};

/// What the proxy calls a target that is neither slot.
const OUTSIDE: &str = "outside";
/// Longest wait for whoever might listen where the proxy should.
const CONNECT_MILLIS_MAX: u64 = 1_000;
/// How long a proxy that listens already may take until its admin socket answers.
const STARTING_MILLIS_MAX: u64 = 1_000;
/// Pause between two looks for it.
const LOOK_MILLIS: u64 = 20;
/// The longest route id that the proxy takes.
const ROUTE_ID_BYTES_MAX: usize = 64;

/// The built-in proxy; see the crate's documentation.
pub struct Builtin {
    options: BuiltinOptions,
    /// Path of the route in the admin interface.
    route_path: String,
    route_id: String,
}

/// What is read of `routes.json` while no proxy runs.
#[derive(Deserialize)]
struct StoredRoutes {
    routes: Vec<StoredRoute>,
}

#[derive(Deserialize)]
struct StoredRoute {
    id: String,
}

impl Builtin {
    #[must_use]
    pub fn new(options: BuiltinOptions) -> Self {
        let route_id = shortened(&options.route_id);
        Self { route_path: format!("/v1/routes/{route_id}"), route_id, options }
    }

    fn admin(&self) -> Admin<'_> {
        Admin { host: &*self.options.host, dir: &self.options.dir }
    }

    /// Replaces the running proxy by the program at `exe` on the host, without losing a request.
    ///
    /// # Errors
    /// `Unreachable` when none runs, `Other` when the new one did not come up; the old one then serves on.
    pub async fn upgrade(&self, exe: &str) -> Result<(), PortError> {
        let wanted = UpgradeRequest { exe: Some(exe.into()), args: None };
        let body = serde_json::to_vec(&wanted).map_err(|error| PortError::other(error.to_string()))?;
        let upgraded = self.admin().call(&admin::send("POST", "/v1/upgrade", body)).await?;
        let UpgradeView { pid } = upgraded.map_err(|(error, _)| error)?;
        tracing::info!(pid, "the proxy is {exe} now");
        Ok(())
    }

    /// The running proxy; `None` when none runs and this service has no route that one would serve.
    ///
    /// # Errors
    /// `Unreachable` when the service has a route and no proxy serves it.
    async fn status(&self) -> Result<Option<StatusView>, PortError> {
        match self.admin().status().await? {
            Some(status) => Ok(Some(status)),
            None => self.require_no_route().await.map(|()| None),
        }
    }

    /// While no proxy runs: this service has no route that one would serve.
    async fn require_no_route(&self) -> Result<(), PortError> {
        let path = format!("{}/routes.json", self.options.dir);
        let Some(content) = self.options.host.read_own(&path).await?.content else { return Ok(()) };
        // What is not understood may hold our route.
        let has_route = serde_json::from_slice::<StoredRoutes>(&content)
            .map_or(true, |stored| stored.routes.iter().any(|route| route.id == self.route_id));
        if has_route { Err(self.down()) } else { Ok(()) }
    }

    fn down(&self) -> PortError {
        let (dir, listen) = (&self.options.dir, &self.options.listen);
        let hint = match &self.options.launch {
            // One that is typed runs in the foreground, and ends with the terminal.
            Some(_) => "`lockgate resume` starts it again".to_owned(),
            None => format!("start it on the host: lockgate proxy --dir {dir} --listen {listen}"),
        };
        PortError::unreachable(format!("no proxy runs in {dir}, so nothing answers on {listen}")).hint(hint)
    }

    /// Starts the proxy unless one runs.
    ///
    /// # Errors
    /// `Refused` when the one that runs listens elsewhere: a switch would succeed there, and no user would notice.
    async fn ensure_running(&self) -> Result<(), PortError> {
        let status = match self.admin().status().await? {
            Some(status) => status,
            None => self.start().await?,
        };
        listeners::public(&status, &self.options)?;
        Ok(())
    }

    async fn start(&self) -> Result<StatusView, PortError> {
        let Some(argv) = &self.options.launch else { return Err(self.down()) };
        if let Some(status) = self.started_by_another().await? {
            return Ok(status);
        }
        let status = launch::launch(&self.admin(), argv).await?;
        tracing::info!(pid = status.pid, listeners = ?status.listeners, "started the proxy");
        Ok(status)
    }

    /// The proxy that somebody else has started meanwhile: one that is starting listens before its admin socket
    /// answers.
    ///
    /// # Errors
    /// `Refused` when another program listens there: a proxy that cannot would be waited for in vain.
    async fn started_by_another(&self) -> Result<Option<StatusView>, PortError> {
        let Ok(listen) = self.options.listen.parse::<SocketAddr>() else { return Ok(None) };
        let endpoint = Endpoint::Tcp(reachable(listen).to_string());
        let limit = Instant::now() + Duration::from_millis(STARTING_MILLIS_MAX);
        let taken = async || listens(&*self.options.host, &endpoint, Millis(CONNECT_MILLIS_MAX)).await;
        while matches!(taken().await, Ok(true)) {
            if let Some(status) = self.admin().status().await? {
                return Ok(Some(status));
            }
            if Instant::now() >= limit {
                let message = format!("another program listens on {listen}, so the proxy cannot");
                return Err(PortError::new(FailureKind::Refused, message)
                    .hint("stop what listens there, or set router.builtin.listen to another address"));
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
        }
        Ok(None)
    }

    fn spec(&self, target: Target, replicas: Vec<Replica>) -> RouteSpec {
        RouteSpec {
            hosts: self.options.hosts.clone(),
            path_prefix: self.options.path.clone(),
            target,
            response_timeout_ms: self.options.response_timeout.map(|limit| limit.0),
            stall_timeout_ms: self.options.stall_timeout.map(|limit| limit.0),
            trusted_proxies: self.options.trusted_proxies.clone(),
            replicas,
        }
    }

    /// Makes the route this one, if it is still at `expected`.
    async fn put(&self, spec: &RouteSpec, expected: &RouteVersion) -> Result<(), PortError> {
        let body = serde_json::to_vec(spec).map_err(|error| PortError::other(error.to_string()))?;
        let request = conditional(admin::send("PUT", &self.route_path, body), expected);
        match self.admin().call::<RouteView>(&request).await? {
            Ok(_) => Ok(()),
            // Asked for again after an answer that was lost: what was wanted is there already.
            Err((_, view)) if view.current.as_ref().is_some_and(|current| is_at(current, spec)) => Ok(()),
            Err((_, view)) if knows_no_replicas(&view) => self.put_plainly(spec, expected).await,
            Err((error, _)) => Err(error),
        }
    }

    /// For a proxy that is older than this: one address, and whose it is nobody asks there.
    async fn put_plainly(&self, spec: &RouteSpec, expected: &RouteVersion) -> Result<(), PortError> {
        if spec.replicas.len() > 1 {
            return Err(self.too_old("send requests to several containers of a slot"));
        }
        tracing::warn!(
            dir = self.options.dir,
            "the proxy is older than this Lockgate and does not ask whose an address is: lockgate proxy --upgrade"
        );
        Box::pin(self.put(&RouteSpec { replicas: Vec::new(), ..spec.clone() }, expected)).await
    }

    /// Holds the route or lets it go. A route that isn't there has nothing to hold.
    async fn change_hold(&self, method: &'static str, body: Vec<u8>) -> Result<(), PortError> {
        let request = admin::send(method, &format!("{}/hold", self.route_path), body);
        match self.admin().call::<RouteView>(&request).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((_, refused))) if refused.kind == ErrorKind::NotFound => Ok(()),
            Ok(Err((_, refused))) if refused.kind == ErrorKind::MethodNotAllowed => {
                Err(self.too_old("hold requests"))
            }
            Ok(Err((error, _))) => Err(error),
            Err(error) if nothing_there(&error) => self.require_no_route().await,
            Err(error) => Err(error),
        }
    }

    /// The proxy that runs knows nothing of `what`.
    fn too_old(&self, what: &str) -> PortError {
        let dir = &self.options.dir;
        let message = format!("the proxy in {dir} is older than this Lockgate and cannot {what}");
        let hint =
            format!("upgrade it on its host, without losing a request: lockgate proxy --upgrade --dir {dir}");
        PortError::new(FailureKind::Refused, message).hint(hint)
    }

    /// Whether the proxy knows whose the addresses are that it dials. Nothing is said where it does, and where it has no route
    /// of ours.
    async fn check_owners(&self) -> Option<Check> {
        let what = "addresses of the route";
        let view: RouteView = self.admin().call(&admin::get(&self.route_path)).await.ok()?.ok()?;
        view.target.slot.parse::<Slot>().ok()?;
        Some(match view.trouble {
            Some(trouble) => Check::bad(
                what,
                trouble,
                "`lockgate status` says what runs; the proxy asks the engine as the user it runs as, who must be in the group `docker`",
            ),
            None if view.told.iter().all(|replica| replica.owner.is_none()) => Check::warn(
                what,
                format!("whose {} is nobody asks: the route was made by an older Lockgate", view.target.dial),
                "the next deployment makes the proxy ask; until then an engine that restarts may give the address to another",
            ),
            None => return None,
        })
    }

    /// The request as a user's would be, so that it matches this route and no other.
    fn as_users_do(&self, request: &Request, token: &str) -> Request {
        let mut request = request.clone();
        if let Some(prefix) = &self.options.path {
            request.target = below(prefix, &request.target);
        }
        let hosts = &self.options.hosts;
        let given = request.headers.iter().find(|(name, _)| name == "host").map(|(_, host)| host.as_str());
        // Under another name another service would answer.
        if given.is_none_or(|given| !leads_here(hosts, given)) {
            let host = hosts.first().map_or("localhost", String::as_str).to_owned();
            request.headers.retain(|(name, _)| name != "host");
            request = request.header("host", host);
        }
        request.header(ASK_HEADER, token)
    }
}

/// Whether a route for these names, all where there are none, takes requests with this `Host`.
fn leads_here(hosts: &[String], given: &str) -> bool {
    let name = match given.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => given,
    };
    hosts.is_empty() || hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
}

/// `target` when it is below `prefix`, else put below it: elsewhere another service would answer.
fn below(prefix: &str, target: &str) -> String {
    let prefix = prefix.trim_end_matches('/');
    let inside =
        target.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    if inside { target.to_owned() } else { format!("{prefix}{target}") }
}

/// As it is when short enough, else its beginning and a hash of the whole.
pub(crate) fn shortened(id: &str) -> String {
    if id.len() <= ROUTE_ID_BYTES_MAX {
        return id.to_owned();
    }
    // FNV-1a: it only has to keep the few routes of one host apart.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let head: String = id.chars().take(ROUTE_ID_BYTES_MAX - 17).collect();
    format!("{head}-{hash:016x}")
}

fn conditional(request: Request, expected: &RouteVersion) -> Request {
    match expected.0.as_str() {
        "" => request.header("if-none-match", "*"),
        version => request.header("if-match", format!("\"{version}\"")),
    }
}

fn is_at(current: &RouteView, spec: &RouteSpec) -> bool {
    let RouteSpec {
        hosts,
        path_prefix,
        target,
        response_timeout_ms,
        stall_timeout_ms,
        trusted_proxies,
        replicas: wanted,
    } = spec;
    current.target == *target
        && replicas::same(&current.told, wanted)
        && current.hosts == *hosts
        && current.path_prefix == *path_prefix
        && current.response_timeout_ms == *response_timeout_ms
        && current.stall_timeout_ms == *stall_timeout_ms
        && current.trusted_proxies == *trusted_proxies
}

#[async_trait]
impl Router for Builtin {
    fn name(&self) -> &'static str {
        "builtin"
    }

    fn dials_slots(&self) -> bool {
        true
    }

    fn kept_in(&self) -> Option<String> {
        Some(format!("{}/routes.json", self.options.dir))
    }

    fn public(&self) -> Option<SocketAddr> {
        self.options.listen.parse().ok()
    }

    /// Where it runs nothing is to be started; on this machine it is this program.
    async fn launchable(&self) -> Result<(), PortError> {
        let Some(argv) = self.options.launch.as_ref().filter(|_| !self.options.host.id().is_local()) else {
            return Ok(());
        };
        match self.admin().status().await {
            Ok(None) => program::demand(&self.admin(), argv).await,
            // What is the matter with one that runs, its route says.
            Ok(Some(_)) | Err(_) => Ok(()),
        }
    }

    async fn route(&self) -> Result<Route, PortError> {
        match self.admin().call::<RouteView>(&admin::get(&self.route_path)).await {
            Ok(Ok(view)) => Ok(Route {
                split: view.target.slot.parse().ok().map(Split::all_to),
                dial: replicas::dialled(&view),
                version: RouteVersion(view.version.to_string()),
                held: view.hold.is_some(),
                ..Route::default()
            }),
            Ok(Err((_, refused))) if refused.kind == ErrorKind::NotFound => Ok(Route::default()),
            Ok(Err((error, _))) => Err(error),
            Err(error) if nothing_there(&error) => self.require_no_route().await.map(|()| Route::default()),
            Err(error) => Err(error),
        }
    }

    async fn revive(&self) -> Result<(), PortError> {
        match self.status().await {
            // Said before a run changes anything: in the middle of one, going back would be refused too.
            Ok(Some(status)) => listeners::public(&status, &self.options).map(drop),
            Ok(None) => Ok(()),
            Err(error) if nothing_there(&error) => self.ensure_running().await,
            // Anything else is for whoever needs the route to hear of.
            Err(_) => Ok(()),
        }
    }

    async fn set(&self, to: &Split<Upstream>, expected: &RouteVersion) -> Result<(), PortError> {
        let to = only_upstream(to, self.name())?;
        let target = Target {
            slot: to.slot.to_string(),
            release: to.release.digest.to_string(),
            dial: to.endpoint.to_string(),
        };
        let spec = self.spec(target, replicas::told(to));
        // Where it listens was looked at before the run, and is again by who asks through it: were it refused here, going
        // back would be refused as well.
        match self.put(&spec, expected).await {
            Err(error) if nothing_there(&error) => {
                self.ensure_running().await?;
                self.put(&spec, expected).await
            }
            settled => settled,
        }
    }

    async fn try_out(&self, to: &Upstream, request: &Request) -> Result<Tried, PortError> {
        trial::try_out(&self.admin(), &self.as_users_do(request, ""), to).await
    }

    async fn withdraw(&self, dial: Option<&str>, expected: &RouteVersion) -> Result<(), PortError> {
        if self.status().await?.is_none() {
            // No proxy and no route: nothing to take away, and nobody to give a route to.
            return if dial.is_none() { Ok(()) } else { Err(self.down()) };
        }
        if let Some(dial) = dial {
            let target = Target { slot: OUTSIDE.into(), release: OUTSIDE.into(), dial: dial.to_owned() };
            return self.put(&self.spec(target, Vec::new()), expected).await;
        }
        let request = conditional(admin::send("DELETE", &self.route_path, Vec::new()), expected);
        match self.admin().call::<RouteView>(&request).await? {
            Ok(_) => Ok(()),
            Err((_, refused)) if is_gone(&refused) => Ok(()),
            Err((error, _)) => Err(error),
        }
    }

    fn can_hold(&self) -> bool {
        true
    }

    async fn hold(&self, bounds: &HoldBounds) -> Result<(), PortError> {
        let wanted = HoldRequest { time_ms: bounds.time.0, requests_max: bounds.requests_max };
        let body = serde_json::to_vec(&wanted).map_err(|error| PortError::other(error.to_string()))?;
        self.change_hold("POST", body).await
    }

    async fn let_go(&self) -> Result<(), PortError> {
        self.change_hold("DELETE", Vec::new()).await
    }

    async fn in_flight(&self, slot: Slot) -> Result<InFlight, PortError> {
        let Some(status) = self.status().await? else { return Ok(InFlight::default()) };
        let counted = status.in_flight.get(&self.route_id).and_then(|slots| slots.get(slot.as_str()));
        Ok(counted.map_or(InFlight::default(), |count| InFlight {
            requests: count.requests,
            upgraded: count.upgraded,
        }))
    }

    /// A target that is not below the route's path prefix is put below it; without a `host` header the first of the
    /// route's host names is asked for.
    async fn ask(&self, request: &Request) -> Result<RouterAnswer, PortError> {
        let status = self.status().await?.ok_or_else(|| self.down())?;
        let public = Endpoint::Tcp(listeners::public(&status, &self.options)?.to_string());
        let request = self.as_users_do(request, &status.ask_token);
        let answer = http::send(&*self.options.host, &public, request).await?;
        let slot = answer.header(SLOT_HEADER).and_then(|slot| slot.parse().ok());
        let release = answer.header(RELEASE_HEADER).map(str::to_owned);
        Ok(RouterAnswer { answer, slot, release })
    }

    async fn ask_each(&self, request: &Request) -> Result<Vec<RouterAnswer>, PortError> {
        let view = self.admin().call::<RouteView>(&admin::get(&self.route_path)).await;
        let dials: Vec<String> = match view {
            Ok(Ok(view)) => view.replicas.into_iter().map(|replica| replica.dial).collect(),
            // Whoever asks hears of it.
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        if dials.len() < 2 {
            return Ok(vec![self.ask(request).await?]);
        }
        let mut answers = Vec::new();
        for dial in dials {
            answers.push(self.ask(&request.clone().header(REPLICA_HEADER, dial)).await?);
        }
        Ok(answers)
    }

    async fn check(&self) -> Vec<Check> {
        let mut checks = check::checks(&self.admin(), &self.options, None).await;
        checks.extend(self.check_owners().await);
        checks
    }

    async fn check_beside(&self, slot: Slot) -> Vec<Check> {
        check::checks(&self.admin(), &self.options, Some(slot)).await
    }
}

/// A proxy that is older than this refuses what it does not know of.
fn knows_no_replicas(refused: &lockgate_proxy::ErrorView) -> bool {
    refused.kind == ErrorKind::Invalid && refused.message.contains("unknown field `replicas`")
}

/// The route that was to be removed is not there any more.
fn is_gone(refused: &lockgate_proxy::ErrorView) -> bool {
    refused.kind == ErrorKind::NotFound
        || (refused.kind == ErrorKind::VersionMismatch && refused.current.is_none())
}

/// Whether a failure means that nothing runs.
pub(crate) fn nothing_there(error: &PortError) -> bool {
    error.kind == FailureKind::Unreachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_stays_within_the_service() {
        assert_eq!(below("/api", "/api/health?x=1"), "/api/health?x=1");
        assert_eq!(below("/api", "/api?x=1"), "/api?x=1");
        assert_eq!(below("/api/", "/apix"), "/api/apix");
        assert_eq!(below("/", "/health"), "/health");
    }

    #[test]
    fn a_host_that_leads_to_another_service_is_not_asked_for() {
        let hosts = ["shop.example".to_owned(), "www.shop.example".to_owned()];
        for (hosts, given, leads) in [
            (&hosts[..], "www.shop.example", true),
            (&hosts[..], "SHOP.example:8443", true),
            (&hosts[..], "other.example", false),
            (&hosts[..], "[::1]:80", false),
            (&[][..], "other.example", true),
        ] {
            assert_eq!(leads_here(hosts, given), leads, "{given}");
        }
    }

    #[test]
    fn long_route_ids_stay_apart() {
        let long = |end: &str| shortened(&format!("{}{end}", "a".repeat(100)));
        assert_eq!(shortened("shop-web-prod"), "shop-web-prod");
        assert_eq!(long("x").len(), ROUTE_ID_BYTES_MAX);
        assert_ne!(long("x"), long("y"));
    }
}
