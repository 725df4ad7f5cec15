//! How many containers a slot's file wants for its service, and why there may be no more than one.

use serde_json::Value;

/// Words by which a file says it. What other files say is known only to Compose.
const WORDS: [&str; 4] = ["replicas", "scale", "extends", "include"];

/// From Compose's own document: `scale`, or `deploy.replicas`; 1 where it says neither.
pub(crate) fn wanted(service: &Value) -> u64 {
    let deploy = service.get("deploy");
    let is_replicated = deploy.and_then(|deploy| deploy.get("mode")).is_none_or(|mode| mode == "replicated");
    let replicas = deploy.and_then(|deploy| deploy.get("replicas")).filter(|_| is_replicated);
    replicas.or(service.get("scale")).and_then(Value::as_u64).unwrap_or(1)
}

/// Whether the files may want more than one, so that Compose is worth asking.
pub(crate) fn may_be_said(contents: &[Vec<u8>]) -> bool {
    let has = |content: &[u8], word: &str| content.windows(word.len()).any(|part| part == word.as_bytes());
    contents.iter().any(|content| WORDS.iter().any(|word| has(content, word)))
}

/// A service that wants more than one container, and what of it they cannot share.
pub(crate) struct Several<'a> {
    /// `web in /srv/web/blue/docker-compose.yml`.
    pub service: String,
    pub containers: u64,
    pub container_name: Option<&'a str>,
    /// The fixed host ports that it publishes.
    pub ports: Vec<u16>,
    pub host_network: bool,
    /// The router that cannot do with several; `None` for one that can.
    pub unbalanced: Option<&'static str>,
}

impl Several<'_> {
    /// Empty when they can run beside each other, and each gets its part of the traffic.
    pub(crate) fn conflicts(&self) -> Vec<String> {
        let Self { service, containers, .. } = self;
        if *containers < 2 {
            return Vec::new();
        }
        let wants = format!("{service} wants {containers} containers (`deploy.replicas` or `scale`)");
        let mut found = Vec::new();
        if let Some(router) = self.unbalanced {
            found.push(format!(
                "{wants}, and {router} cannot be asked whether each of them answers: let it have one, or use `router: \
                 {{ builtin: … }}`, which sends each its part"
            ));
        }
        if let Some(name) = self.container_name {
            found.push(format!("{wants}, and the one name {name} for them: take `container_name` out"));
        }
        for port in &self.ports {
            found.push(format!(
                "{wants}, which cannot all publish the host port {port}: take it out of `ports`, for the router reaches \
                 containers without it"
            ));
        }
        if self.host_network {
            found.push(format!(
                "{wants}, which cannot all listen on one port of the host: use a bridge network instead of `network_mode: host`"
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_number_is_scale_or_replicas_unless_another_mode_says_otherwise() {
        for (service, number) in [
            (json!({}), 1),
            (json!({ "scale": 2 }), 2),
            (json!({ "deploy": { "replicas": 3 } }), 3),
            (json!({ "deploy": { "mode": "replicated", "replicas": 3 }, "scale": 3 }), 3),
            (json!({ "deploy": { "resources": {} }, "scale": 2 }), 2),
            (json!({ "deploy": { "mode": "global", "replicas": 3 } }), 1),
        ] {
            assert_eq!(wanted(&service), number, "{service}");
        }
        assert!(may_be_said(&[b"services: { web: { scale: 2 } }".to_vec()]));
        assert!(!may_be_said(&[b"services: { web: {} }".to_vec()]));
    }

    #[test]
    fn what_several_containers_cannot_share_is_said_and_one_may_have() {
        let several = |containers, unbalanced| Several {
            service: "web in /srv/docker-compose.yml".into(),
            containers,
            container_name: Some("web-blue"),
            ports: vec![80],
            host_network: true,
            unbalanced,
        };
        assert!(several(1, Some("caddy")).conflicts().is_empty());
        let said = several(2, Some("caddy")).conflicts();
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said[0].contains("wants 2 containers") && said[0].contains("caddy cannot"), "{said:?}");
        assert_eq!(several(2, None).conflicts().len(), 3);
        let plain =
            Several { container_name: None, ports: Vec::new(), host_network: false, ..several(2, None) };
        assert!(plain.conflicts().is_empty());
    }
}
