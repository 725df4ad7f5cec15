//! What has to stand in nginx's configuration, ready to paste.

use lockgate_model::NginxSwitch;

use crate::dials::{is_group, name_of};
use crate::version::{GROUPS_KEEP_ALIVE, Version};

/// The switch that a configuration is to be made for.
pub(crate) struct Advice<'a> {
    pub service: &'a str,
    pub switch: NginxSwitch,
    /// The file that is the switch, as nginx sees it.
    pub marker: &'a str,
    /// An address, or an upstream group.
    pub blue: &'a str,
    pub green: &'a str,
    /// The groups that are there, of those two.
    pub groups: Vec<&'a str>,
    pub version: Option<Version>,
}

impl Advice<'_> {
    /// For the `server` block, before its locations.
    pub(crate) fn server(&self) -> String {
        let Advice { service, marker, blue, green, .. } = self;
        let (label, marker) = (label(self.service), quoted(marker));
        let is_named = [blue, green].into_iter().any(|dial| !is_group(dial) && name_of(dial).is_some());
        // Docker's own; a container has another address each time it is made.
        let resolver = if is_named { "resolver 127.0.0.11 valid=1s;\n" } else { "" };
        let probe = format!(
            "location = /.lockgate/{service} {{\n\tdefault_type text/plain;\n\treturn 200 $slot_of_{label};\n}}"
        );
        if self.switch == NginxSwitch::Reload {
            return format!("{resolver}{probe}");
        }
        format!(
            "{resolver}set $slot_of_{label} blue;\nset $dial_of_{label} {blue};\nif (-f {marker}) {{\n\tset $slot_of_{label} green;\n\tset $dial_of_{label} {green};\n}}\n{probe}"
        )
    }

    /// For each location, in the place of its `proxy_pass`.
    pub(crate) fn location(&self) -> String {
        let label = label(self.service);
        format!("proxy_pass http://$dial_of_{label};\nproxy_redirect http://$dial_of_{label}/ /;")
    }

    /// For the section `http`: the groups that are not there. Only who runs the slots knows where they listen.
    pub(crate) fn upstreams(&self) -> String {
        // It is an error to older ones, which keep none unless they are told to.
        let keeps = self.version.is_some_and(|version| version >= GROUPS_KEEP_ALIVE);
        let keepalive = if keeps { "\n\tkeepalive 0;" } else { "" };
        let missing = [("blue", self.blue), ("green", self.green)].into_iter();
        let missing = missing.filter(|(_, dial)| is_group(dial) && !self.groups.contains(dial));
        let one = |(slot, name)| {
            format!("upstream {name} {{\n\tserver 127.0.0.1:<port of {slot}>;{keepalive}\n}}\n")
        };
        let include = match self.switch {
            NginxSwitch::File => String::new(),
            NginxSwitch::Reload => format!("include {};\n", quoted(self.marker)),
        };
        missing.map(one).collect::<String>() + &include
    }

    /// All of it, with where each belongs.
    pub(crate) fn whole(&self) -> String {
        let upstreams = match self.upstreams() {
            none if none.is_empty() => none,
            some => format!("above the `server` block:\n{some}"),
        };
        format!(
            "{upstreams}in the `server` block, before its locations:\n{}\nin each location that leads to the service, in the place of its `proxy_pass`:\n{}\nthen: nginx -t && nginx -s reload",
            self.server(),
            self.location()
        )
    }
}

/// A part of a variable's name.
pub(crate) fn label(service: &str) -> String {
    service.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// As an argument of nginx's: what would end it stands in quotes.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@,=:~%".contains(c);
    match path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

pub(crate) fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dials::Dials;
    use crate::follows::{By, Found, find};
    use crate::syntax::parse;

    /// What is pasted is what is looked for.
    #[test]
    fn the_snippet_is_a_switch() {
        for (service, marker, blue, green) in [
            ("web", "/srv/apps/web/green_is_live", "127.0.0.1:5001", "127.0.0.1:5002"),
            ("1st-shop", "/srv/my \"apps\"/x/green_is_live", "shop-blue:80", "shop-green:80"),
            ("web", "/srv/apps/web/green_is_live", "web_blue", "web_green"),
        ] {
            let (groups, version) = (Vec::new(), Some(Version(1, 30, 0)));
            let advice = Advice { service, switch: NginxSwitch::File, marker, blue, green, groups, version };
            let upstreams = advice.upstreams().replace("<port of blue>", "5001");
            let text = format!(
                "http {{ {} server {{ {} location / {{ {} }} }} }}",
                upstreams.replace("<port of green>", "5002"),
                advice.server(),
                advice.location()
            );
            let dials = Dials { blue: blue.to_owned(), green: green.to_owned() };
            let Found::Yes(routes) = find(&parse("/x", &text).unwrap(), &By::Marker(marker), &dials) else {
                panic!("{text}")
            };
            assert_eq!(routes.sites[0].probe, Some(format!("/.lockgate/{service}")));
            assert!(routes.doubts.is_empty(), "{:?}", routes.doubts);
            assert!(routes.groups.values().all(|group| group.keepalive == Some(0)), "{:?}", routes.groups);
            let old = Advice { version: Some(Version(1, 22, 1)), ..advice };
            assert!(!old.whole().contains("keepalive"), "it would not start: {}", old.whole());
        }
    }
}
