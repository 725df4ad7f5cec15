//! Proxies of ours on a host, for whoever finds that one of them has a port: one that is left over from a configuration
//! with `router: builtin` names itself nowhere else.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_ports::{Host, Occupant, Occupants};
use lockgate_proxy::{RoutesView, StatusView};

use crate::admin::{self, Admin};
use crate::builtin::shortened;

/// The proxies in these folders of a host.
pub struct Proxies {
    pub host: Arc<dyn Host>,
    /// Absolute, each once.
    pub dirs: Vec<String>,
    /// What the service's own route would be called, as in [`crate::BuiltinOptions`].
    pub route_id: String,
}

#[async_trait]
impl Occupants for Proxies {
    async fn on(&self, port: u16) -> Option<Occupant> {
        for dir in &self.dirs {
            let admin = Admin { host: &*self.host, dir };
            // One that cannot be asked names itself no more than a stranger.
            let Ok(Some(status)) = admin.status().await else { continue };
            if status.listeners.iter().any(|bound| bound.port() == port) {
                return Some(self.occupant(&admin, &status).await);
            }
        }
        None
    }
}

impl Proxies {
    async fn occupant(&self, admin: &Admin<'_>, status: &StatusView) -> Occupant {
        let who = format!("Lockgate's own proxy (process {}, in {})", status.pid, admin.dir);
        let routes = match admin.call::<RoutesView>(&admin::get("/v1/routes")).await {
            Ok(Ok(view)) => Some(view.routes),
            Ok(Err(_)) | Err(_) => None,
        };
        let own = shortened(&self.route_id);
        let others = routes.map(|routes| {
            let ids = routes.into_iter().map(|route| route.id);
            ids.filter(|id| *id != own).collect::<Vec<_>>()
        });
        Occupant { who, mend: mend(status.pid, admin, others.as_deref()) }
    }
}

/// `others`: routes of other services; `None` where it could not be asked for them.
fn mend(pid: u32, admin: &Admin<'_>, others: Option<&[String]>) -> String {
    let back = "put `router: builtin` back";
    match others {
        Some([]) => {
            let routes = format!("{}/routes.json", admin.dir);
            let routes = shell_words::quote(&routes);
            let on =
                if admin.host.id().is_local() { String::new() } else { format!(" on {}", admin.host.id()) };
            format!(
                "no other service is behind it, so stop it{on}: `kill {pid} && rm {routes}`, from when on nothing answers until \
                 the deployment is through; or {back}"
            )
        }
        Some(others) => format!(
            "it also serves {}, so it stays: have the service publish another port, or {back}",
            others.join(", ")
        ),
        None => format!("have the service publish another port, or {back}"),
    }
}

#[cfg(test)]
mod tests {
    use lockgate_local::Local;

    use super::*;

    #[test]
    fn a_proxy_behind_which_others_are_is_not_to_be_stopped() {
        let host = Local::new();
        let admin = Admin { host: &host, dir: "/srv/it's here/proxy" };
        let alone = mend(41, &admin, Some(&[]));
        assert!(alone.contains(r"`kill 41 && rm '/srv/it'\''s here/proxy/routes.json'`"), "{alone}");
        for others in [Some(&["shop-prod-api".to_owned()][..]), None] {
            let said = mend(41, &admin, others);
            assert!(!said.contains("kill") && said.contains("publish another port"), "{said}");
            assert_eq!(said.contains("shop-prod-api"), others.is_some(), "{said}");
        }
    }
}
