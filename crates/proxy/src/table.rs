//! The routing table: immutable, replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use ipnet::IpNet;

use crate::hold::Gate;
use crate::pool::Dial;
use crate::replicas::Replicas;
use crate::slots::SlotStats;
use crate::store::StoredRoute;
use crate::wire::{ContainerOwner, ErrorKind, ErrorView, Owner, Replica, RouteSpec, Target};

const HOSTS_MAX: usize = 64;
const TRUSTED_PROXIES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
const RELEASE_BYTES_MAX: usize = 256;
const PREFIX_BYTES_MAX: usize = 1024;
const REPLICAS_MAX: usize = 64;
const LABELS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 1024;
const TIMEOUT_MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// One target as requests use it. It is replaced, connections and all, whenever slot, release or dial change.
#[derive(Debug)]
pub(crate) struct LiveTarget {
    pub(crate) route: String,
    pub(crate) target: Target,
    pub(crate) response_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) stats: Arc<SlotStats>,
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) slot_header: HeaderValue,
    pub(crate) release_header: HeaderValue,
}

/// Where a route's requests go, and what stands before it while the route is held.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) live: Arc<LiveTarget>,
    pub(crate) gate: Option<Arc<Gate>>,
}

/// A route together with its way.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) stored: StoredRoute,
    pub(crate) way: Way,
}

/// Prefix (without a trailing slash) and way, longest prefix first.
type Prefixes = Vec<(String, Way)>;

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) by_id: BTreeMap<String, Entry>,
    by_host: HashMap<String, Prefixes>,
    any_host: Prefixes,
}

impl Table {
    pub(crate) fn build(entries: Vec<Entry>) -> Self {
        let mut table = Self::default();
        for entry in entries {
            let spec = &entry.stored.spec;
            let prefix = canonical_prefix(spec.path_prefix.as_deref()).to_owned();
            if spec.hosts.is_empty() {
                table.any_host.push((prefix, entry.way.clone()));
            } else {
                for host in &spec.hosts {
                    let prefixes = table.by_host.entry(host.to_ascii_lowercase()).or_default();
                    prefixes.push((prefix.clone(), entry.way.clone()));
                }
            }
            table.by_id.insert(entry.stored.id.clone(), entry);
        }
        let longest_first =
            |prefixes: &mut Prefixes| prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        table.by_host.values_mut().for_each(longest_first);
        longest_first(&mut table.any_host);
        table
    }

    /// The way for a host (without port) and a path, if there is one.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Way> {
        let named = if self.by_host.is_empty() {
            None
        } else if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.by_host.get(&host.to_ascii_lowercase())
        } else {
            self.by_host.get(host)
        };
        named.and_then(|prefixes| longest(prefixes, path)).or_else(|| longest(&self.any_host, path))
    }
}

fn longest<'a>(prefixes: &'a Prefixes, path: &str) -> Option<&'a Way> {
    let found = prefixes.iter().find(|(prefix, _)| {
        let rest = path.strip_prefix(prefix.as_str());
        prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    found.map(|(_, way)| way)
}

fn canonical_prefix(prefix: Option<&str>) -> &str {
    prefix.unwrap_or_default().trim_end_matches('/')
}

/// Two routes claim the same requests when they share a host (or both take any) and a prefix.
pub(crate) fn collide(a: &RouteSpec, b: &RouteSpec) -> bool {
    let same_host = match (a.hosts.is_empty(), b.hosts.is_empty()) {
        (true, true) => true,
        (false, false) => {
            a.hosts.iter().any(|host| b.hosts.iter().any(|other| other.eq_ignore_ascii_case(host)))
        }
        _ => false,
    };
    same_host && canonical_prefix(a.path_prefix.as_deref()) == canonical_prefix(b.path_prefix.as_deref())
}

/// Whether `id` can name a route, and `spec` can be served.
pub(crate) fn validate(id: &str, spec: &RouteSpec) -> Result<(), ErrorView> {
    let invalid = |message: String| Err(ErrorView::new(ErrorKind::Invalid, message));
    if !is_name(id) {
        return invalid(format!("a route's id is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -, not {id:?}"));
    }
    if !is_name(&spec.target.slot) {
        let slot = &spec.target.slot;
        return invalid(format!("a slot is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 . _ -, not {slot:?}"));
    }
    let release = &spec.target.release;
    if release.is_empty()
        || release.len() > RELEASE_BYTES_MAX
        || !release.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return invalid(format!(
            "a release is 1 to {RELEASE_BYTES_MAX} visible ASCII characters, not {release:?}"
        ));
    }
    if let Err(reason) = Dial::parse(&spec.target.dial) {
        return invalid(reason);
    }
    if spec.hosts.len() > HOSTS_MAX {
        return invalid(format!("a route has at most {HOSTS_MAX} hosts"));
    }
    if let Some(host) = spec.hosts.iter().find(|host| !is_host(host)) {
        return invalid(format!("{host:?} is not a host name without port"));
    }
    if let Some(prefix) = &spec.path_prefix
        && (!prefix.starts_with('/') || prefix.len() > PREFIX_BYTES_MAX || prefix.contains(['?', '#', ' ']))
    {
        return invalid(format!("a path prefix starts with / and has no ?, # or space, not {prefix:?}"));
    }
    for (name, limit) in
        [("response_timeout_ms", spec.response_timeout_ms), ("stall_timeout_ms", spec.stall_timeout_ms)]
    {
        if limit.is_some_and(|limit| limit == 0 || limit > TIMEOUT_MS_MAX) {
            return invalid(format!("{name} is 1 to {TIMEOUT_MS_MAX}"));
        }
    }
    if spec.trusted_proxies.len() > TRUSTED_PROXIES_MAX {
        return invalid(format!("a route has at most {TRUSTED_PROXIES_MAX} trusted proxies"));
    }
    Ok(())
}

/// Whether a target can be served by these replicas. What they name is put into questions to an engine.
pub(crate) fn validate_replicas(replicas: &[Replica], target: &Target) -> Result<(), String> {
    if replicas.len() > REPLICAS_MAX {
        return Err(format!("a route has at most {REPLICAS_MAX} replicas"));
    }
    if replicas.first().is_some_and(|first| first.dial != target.dial) {
        return Err("the first replica's dial is the target's".to_owned());
    }
    for replica in replicas {
        Dial::parse(&replica.dial)?;
        match &replica.owner {
            Some(Owner::Container(container)) => validate_container(container)?,
            Some(Owner::Process(_)) | None => {}
        }
    }
    Ok(())
}

fn validate_container(container: &ContainerOwner) -> Result<(), String> {
    let ContainerOwner { engine, id, labels, network, port, process: _ } = container;
    if !engine.is_absolute() {
        return Err(format!("an engine is the absolute path of its socket, not {}", engine.display()));
    }
    if !(12..=64).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(format!("a container's id is 12 to 64 hex digits, not {id:?}"));
    }
    let texts = labels.iter().flat_map(|(name, value)| [name, value]).chain(network);
    if labels.len() > LABELS_MAX || texts.into_iter().any(|text| text.len() > LABEL_BYTES_MAX) {
        return Err(format!("an owner has at most {LABELS_MAX} labels of {LABEL_BYTES_MAX} bytes"));
    }
    if *port == 0 {
        return Err("a container listens on a port from 1 on".to_owned());
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

/// A name, an IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &str) -> bool {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !host.is_empty() && host.len() <= 253 && host.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Idle;
    use crate::slots::SlotRegister;

    fn spec(hosts: &[&str], prefix: Option<&str>) -> RouteSpec {
        let target = Target { slot: "blue".into(), release: "r1".into(), dial: "127.0.0.1:1".into() };
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        RouteSpec { hosts, path_prefix: prefix.map(str::to_owned), ..RouteSpec::to(target) }
    }

    fn entry(id: &str, spec: RouteSpec) -> Entry {
        let live = Arc::new(LiveTarget {
            route: id.to_owned(),
            target: spec.target.clone(),
            response_timeout: Duration::from_secs(1),
            stall_timeout: Duration::from_secs(1),
            trusted_proxies: Vec::new(),
            stats: SlotRegister::default().enlist(id, "blue"),
            replicas: Replicas::new(
                "127.0.0.1:1",
                &[],
                Idle { seconds: Duration::from_secs(1), connections_max: 1 },
            ),
            slot_header: HeaderValue::from_static("blue"),
            release_header: HeaderValue::from_static("r1"),
        });
        let stored = StoredRoute { id: id.to_owned(), version: 1, spec, hold: None, replicas: Vec::new() };
        Entry { stored, way: Way { live, gate: None } }
    }

    #[test]
    fn a_named_host_wins_over_any_and_the_longest_prefix_wins_within() {
        let table = Table::build(vec![
            entry("any", spec(&[], None)),
            entry("any-api", spec(&[], Some("/api/"))),
            entry("named", spec(&["App.example"], Some("/"))),
            entry("named-v2", spec(&["app.example"], Some("/api/v2"))),
        ]);
        let found = |host, path| table.find(host, path).map(|way| way.live.route.as_str());
        assert_eq!(found("other", "/"), Some("any"));
        assert_eq!(found("other", "/api"), Some("any-api"));
        assert_eq!(found("other", "/api/x"), Some("any-api"));
        assert_eq!(found("other", "/apix"), Some("any"));
        assert_eq!(found("APP.example", "/api"), Some("named"));
        assert_eq!(found("app.example", "/api/v2/x"), Some("named-v2"));
        assert_eq!(found("app.example", "*"), Some("named"));
    }

    #[test]
    fn without_a_matching_host_or_prefix_nothing_is_found() {
        let table = Table::build(vec![entry("api", spec(&["app.example"], Some("/api")))]);
        assert!(table.find("app.example", "/").is_none());
        assert!(table.find("else.example", "/api").is_none());
    }

    #[test]
    fn routes_collide_when_they_claim_the_same_requests() {
        assert!(collide(&spec(&[], None), &spec(&[], Some("/"))));
        assert!(collide(&spec(&["a", "B"], Some("/x")), &spec(&["b"], Some("/x/"))));
        assert!(!collide(&spec(&["a"], None), &spec(&[], None)));
        assert!(!collide(&spec(&["a"], None), &spec(&["a"], Some("/x"))));
    }

    #[test]
    fn a_spec_that_cannot_be_served_is_refused() {
        let broken: [fn(&mut RouteSpec); 9] = [
            |spec| spec.target.dial = "nowhere".into(),
            |spec| spec.target.dial = "unix:relative".into(),
            |spec| spec.target.slot = "b l".into(),
            |spec| spec.target.release = "r\r\n1".into(),
            |spec| spec.hosts = vec!["a:80".into()],
            |spec| spec.path_prefix = Some("api".into()),
            |spec| spec.response_timeout_ms = Some(0),
            |spec| spec.stall_timeout_ms = Some(0),
            |spec| spec.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(); TRUSTED_PROXIES_MAX + 1],
        ];
        for (n, breaks) in broken.iter().enumerate() {
            let mut spec = spec(&["[::1]", "app.example"], Some("/api"));
            assert_eq!(validate("app", &spec), Ok(()));
            breaks(&mut spec);
            assert_eq!(
                validate("app", &spec).map_err(|error| error.kind),
                Err(ErrorKind::Invalid),
                "case {n}"
            );
        }
        assert!(validate("a/b", &spec(&[], None)).is_err());
    }
}
