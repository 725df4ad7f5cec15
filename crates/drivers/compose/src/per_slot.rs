//! What people take for one thing and each slot has for itself: named volumes, folders beside its Compose file, and the
//! services that it depends on.

use std::collections::{BTreeMap, BTreeSet};

use lockgate_ports::Check;
use serde_json::Value;

use crate::place::Place;

/// What the check of `depends_on` is about.
pub(crate) const NEEDED: &str = "services beside it";

/// Of one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PerSlot {
    /// Named volumes of the service whose full names Compose makes up from its project: name in the file, full name.
    pub volumes: BTreeMap<String, String>,
    /// Files and folders within the slot's own folder that the service may write to: place in the container, place on the host.
    pub binds: BTreeMap<String, String>,
    /// What `depends_on` names.
    pub needed: Vec<String>,
}

impl PerSlot {
    /// From Compose's own document, of either version, and the slot's service in it.
    pub(crate) fn of(document: &Value, service: &Value, place: &Place) -> Self {
        let project = document.get("name").and_then(Value::as_str).or(place.project.as_deref());
        let mounts = service.get("volumes").and_then(Value::as_array);
        let mounts: Vec<&Value> = mounts.into_iter().flatten().collect();
        let keys = mounts.iter().filter_map(|mount| volume(mount));
        let within = format!("{}/", place.dir.trim_end_matches('/'));
        let is_within = |(_, source): &(String, String)| source.starts_with(&within);
        let binds = mounts.iter().filter_map(|mount| bind(mount)).filter(is_within).collect();
        let made_up = |key: &str| {
            let full = format!("{}_{key}", project?);
            let volume = document.get("volumes").and_then(|volumes| volumes.get(key));
            let field = |name: &str| volume.and_then(|volume| volume.get(name));
            let is_external =
                field("external").is_some_and(|external| !matches!(external, Value::Bool(false)));
            let is_named = field("name").is_some_and(|name| name.as_str() != Some(&full));
            (!is_external && !is_named).then(|| (key.to_owned(), full))
        };
        let needed = match service.get("depends_on") {
            Some(Value::Object(map)) => map.keys().cloned().collect(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Self { volumes: keys.filter_map(made_up).collect(), binds, needed }
    }
}

/// The named volume that is mounted, as mappings (v2) or `uploads:/srv:rw` (v1) say it; `None` for folders of the host and
/// nameless volumes.
fn volume(mount: &Value) -> Option<&str> {
    match mount {
        Value::String(short) => {
            let (source, _target) = short.split_once(':')?;
            (!source.starts_with(['/', '.', '~'])).then_some(source)
        }
        Value::Object(long) => {
            let field = |name: &str| long.get(name).and_then(Value::as_str);
            field("source").filter(|_| field("type") == Some("volume"))
        }
        _ => None,
    }
}

/// Where a file or folder of the host is mounted that may be written to, and which; as mappings (v2) or
/// `/srv/web/uploads:/uploads:rw` (v1) say it.
fn bind(mount: &Value) -> Option<(String, String)> {
    match mount {
        Value::String(short) => {
            let mut parts = short.split(':');
            let (source, target) = (parts.next()?, parts.next()?);
            let read_only = parts.next().is_some_and(|mode| mode.split(',').any(|word| word == "ro"));
            (source.starts_with('/') && !read_only).then(|| (target.to_owned(), source.to_owned()))
        }
        Value::Object(long) => {
            let field = |name: &str| long.get(name).and_then(Value::as_str);
            let read_only = long.get("read_only").and_then(Value::as_bool).unwrap_or(false);
            let (source, target) = (field("source")?, field("target")?);
            (field("type") == Some("bind") && !read_only).then(|| (target.to_owned(), source.to_owned()))
        }
        _ => None,
    }
}

/// `None` when the slots have all that they write to outside of volumes in common.
pub(crate) fn check_binds([blue, green]: &[PerSlot; 2]) -> Option<Check> {
    let apart: Vec<String> = blue
        .binds
        .iter()
        .filter_map(|(target, one)| {
            Some((target, one, green.binds.get(target).filter(|other| *other != one)?))
        })
        .map(|(target, one, other)| format!("{target} is another place in each slot: {one} and {other}"))
        .collect();
    (!apart.is_empty()).then(|| {
        Check::warn(
            "folders beside the Compose files",
            apart.join("; "),
            "what users upload into one is missing after the next deployment: mount one place outside of the slots' folders, \
             or write `:ro` behind it if the app only reads it",
        )
    })
}

/// `None` when the slots have all their volumes in common.
pub(crate) fn check_volumes([blue, green]: &[PerSlot; 2]) -> Option<Check> {
    let apart: Vec<String> = blue
        .volumes
        .iter()
        .filter_map(|(key, one)| Some((key, one, green.volumes.get(key).filter(|other| *other != one)?)))
        .map(|(key, one, other)| format!("{key} is another one in each slot: {one} and {other}"))
        .collect();
    (!apart.is_empty()).then(|| {
        Check::warn(
            "named volumes",
            apart.join("; "),
            "users see the other one's data after each deployment: under `volumes:` of both Compose files give it the \
             same `name:`, or make it `external`",
        )
    })
}

/// `places` are those of all slots, at least one. `None` when nothing is missing.
pub(crate) fn check_missing(missing: &BTreeSet<&str>, places: &[Place], typed: &str) -> Option<Check> {
    let first = places.first().filter(|_| !missing.is_empty())?;
    let names = missing.iter().copied().collect::<Vec<_>>();
    let (listed, verb) = (names.join(", "), if names.len() == 1 { "does" } else { "do" });
    let mend = match places.iter().all(|place| place.same_project(first)) {
        true => format!("start it yourself: `{typed} -f {} up -d {}`", first.path(), names.join(" ")),
        false => format!(
            "put {listed} into a Compose project of its own, on a network that both slots are on, start that yourself, and \
             take `depends_on` out"
        ),
    };
    let seen = format!("Lockgate starts {} alone (`--no-deps`), and {listed} {verb} not run", first.service);
    Some(Check::warn(NEEDED, seen, mend))
}

#[cfg(test)]
mod tests {
    use lockgate_model::Slot;

    use super::*;

    fn place(slot: Slot) -> Place {
        Place {
            slot,
            dir: format!("/srv/web/{slot}"),
            files: vec!["compose.yaml".into()],
            contents: vec![Vec::new()],
            dot_env: None,
            service: "web".into(),
            project: Some(format!("web-{slot}")),
        }
    }

    fn volumes(document: &str) -> [PerSlot; 2] {
        [Slot::Blue, Slot::Green].map(|slot| {
            let document: Value = serde_json::from_str(&document.replace("SLOT", slot.as_str())).unwrap();
            PerSlot::of(&document, &document["services"]["web"], &place(slot))
        })
    }

    #[test]
    fn a_volume_that_each_slot_has_for_itself_is_told_and_no_other() {
        let v2 = r#"{"name": "web-SLOT", "services": {"web": {"volumes": [
            {"type": "volume", "source": "uploads", "target": "/u"}, {"type": "bind", "source": "/a", "target": "/a"},
            {"type": "volume", "source": "shared", "target": "/s"}, {"type": "volume", "source": "outer", "target": "/o"},
            {"type": "volume", "source": "meant", "target": "/m"}, {"type": "volume", "target": "/nameless"}]}},
            "volumes": {"uploads": {"name": "web-SLOT_uploads"}, "shared": {"name": "shared"},
            "outer": {"name": "outer", "external": true}, "meant": {"name": "cache-SLOT"}}}"#;
        let v1 = r#"{"services": {"web": {"volumes": ["uploads:/u:rw", "/a:/a:rw", "outer:/o:rw", "/nameless"]}},
            "volumes": {"uploads": null, "outer": {"external": {"name": "o"}}}}"#;
        for document in [v2, v1] {
            let check = check_volumes(&volumes(document)).unwrap();
            let wanted = "uploads is another one in each slot: web-blue_uploads and web-green_uploads";
            assert_eq!(check.seen, wanted);
        }
        assert_eq!(
            check_volumes(&volumes(&v2.replace("web-SLOT", "web"))),
            None,
            "one project has one volume"
        );
    }

    #[test]
    fn a_folder_beside_the_compose_file_that_the_app_writes_to_is_told() {
        let v2 = r#"{"services": {"web": {"volumes": [
            {"type": "bind", "source": "/srv/web/SLOT/uploads", "target": "/u"},
            {"type": "bind", "source": "/srv/web/SLOT/conf", "target": "/c", "read_only": true},
            {"type": "bind", "source": "/srv/shared/SLOT", "target": "/meant"},
            {"type": "bind", "source": "/srv/web/common", "target": "/common"}, {"type": "volume", "target": "/n"}]}}}"#;
        let v1 = r#"{"services": {"web": {"volumes": ["/srv/web/SLOT/uploads:/u:rw", "/srv/web/SLOT/conf:/c:z,ro",
            "/srv/shared/SLOT:/meant:rw", "/srv/web/common:/common:rw", "named:/n:rw", "/n"]}}}"#;
        for document in [v2, v1] {
            let check = check_binds(&volumes(document)).unwrap();
            let wanted = "/u is another place in each slot: /srv/web/blue/uploads and /srv/web/green/uploads";
            assert_eq!(check.seen, wanted);
        }
        assert_eq!(check_binds(&volumes(&v2.replace("SLOT/uploads", "uploads"))), None, "one place for both");
    }

    #[test]
    fn what_a_service_depends_on_is_read_in_both_forms() {
        for form in [r#"{"db": {"condition": "service_started"}, "redis": {}}"#, r#"["db", "redis"]"#] {
            let document = format!(r#"{{"services": {{"web": {{"depends_on": {form}}}}}}}"#);
            assert_eq!(volumes(&document)[0].needed, ["db", "redis"]);
        }
    }
}
