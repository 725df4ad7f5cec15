//! Volumes without a name, which `VOLUME` in an image makes, and a mount of a Compose file that names none.

use futures_util::future::try_join_all;
use lockgate_model::Slot;
use lockgate_ports::{Check, PortError};

use crate::api::Container;
use crate::compose::Compose;
use crate::held::Held;

/// Digits of the name that Docker gives a volume that has none.
const NAME_DIGITS: usize = 64;

/// Where they are mounted.
fn nameless(container: &Container) -> Vec<&str> {
    let is_one = |name: &str| name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mounts = container.mounts.iter().filter(|mount| mount.kind == "volume" && is_one(&mount.name));
    mounts.map(|mount| mount.destination.as_str()).collect()
}

impl Compose {
    /// For `doctor`: of the containers that run now; `None` where none has such a volume. The next release starts with what
    /// its own image has there.
    pub(crate) async fn check_nameless(&self) -> Result<Option<Check>, PortError> {
        let held = self.held().await?;
        let looks = held.iter().filter(|one| one.runs()).map(|one| self.nameless_in(one));
        let found: Vec<(Slot, Vec<String>)> = try_join_all(looks).await?;
        let found: Vec<String> = found
            .into_iter()
            .filter(|(_, paths)| !paths.is_empty())
            .map(|(slot, paths)| format!("{slot} keeps {} in a volume without a name", paths.join(", ")))
            .collect();
        Ok((!found.is_empty()).then(|| {
            Check::warn(
                "volumes without a name",
                format!("{} (`VOLUME` in its image, or a mount that names none)", found.join("; ")),
                "what is written there does not come along: each deployment starts with what the new image has there. For \
                 what must stay mount a volume with a name there, under `volumes:` of the Compose file; old ones stay until \
                 `docker volume prune`",
            )
        }))
    }

    async fn nameless_in(&self, held: &Held) -> Result<(Slot, Vec<String>), PortError> {
        let container = self.engine.container(&held.summary.id).await?.unwrap_or_default();
        Ok((held.slot, nameless(&container).into_iter().map(str::to_owned).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_volumes_that_nobody_named_are_told() {
        let mount = |kind: &str, name: &str, at: &str| serde_json::json!({ "Type": kind, "Name": name, "Source": "/x", "Destination": at });
        let digits = "0123456789abcdef".repeat(4);
        let mounts = [
            mount("volume", &digits, "/data"),
            mount("volume", "uploads", "/uploads"),
            mount("volume", &"g".repeat(64), "/g"),
            serde_json::json!({ "Type": "bind", "Source": "/etc/x", "Destination": "/etc/x" }),
            mount("volume", &digits, "/cache"),
        ];
        let container: Container = serde_json::from_value(serde_json::json!({ "Mounts": mounts })).unwrap();
        assert_eq!(nameless(&container), ["/data", "/cache"]);
        let none: Container = serde_json::from_value(serde_json::json!({ "Mounts": null })).unwrap();
        assert!(nameless(&none).is_empty());
    }
}
