//! What has to stand in Caddy's configuration, ready to paste.

use serde_json::json;

/// The switch that a configuration is to be made for.
pub(super) struct Advice<'a> {
    /// As Caddy sees it.
    pub file: &'a str,
    pub blue: &'a str,
    pub green: &'a str,
}

/// For a Caddyfile, to stand in the place of the one `reverse_proxy`. The headers say which slot answers.
pub(super) fn caddyfile(advice: &Advice<'_>) -> String {
    let Advice { file, blue, green } = advice;
    let side = |matcher: &str, dial: &str, slot: &str| {
        format!(
            "handle{matcher} {{\n\treverse_proxy {dial} {{\n\t\theader_down X-Lockgate-Slot {slot}\n\t}}\n}}"
        )
    };
    format!(
        "@green vars {{file.{file}}} green\n{}\n{}",
        side(" @green", green, "green"),
        side("", blue, "blue")
    )
}

/// As routes of JSON, to stand in the place of the one route; what that is matched by goes into both.
pub(super) fn routes(advice: &Advice<'_>) -> String {
    let Advice { file, blue, green } = advice;
    let proxy = |dial: &str, slot: &str| {
        json!([{
            "handler": "reverse_proxy",
            "upstreams": [{"dial": dial}],
            "headers": {"response": {"set": {"X-Lockgate-Slot": [slot]}}},
        }])
    };
    let green = json!({"match": [{"vars": {format!("{{file.{file}}}"): ["green"]}}], "handle": proxy(green, "green")});
    let blue = json!({"handle": proxy(blue, "blue")});
    format!("{green},\n{blue}")
}

pub(super) fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_it_word_for_word() {
        let readme = include_str!("../../../../../README.md");
        let (blue, green) = ("web-blue:5000", "web-green:5000");
        let advice = Advice { file: "/srv/apps/web/active_color", blue, green };
        assert!(readme.contains(&caddyfile(&advice)), "{}", caddyfile(&advice));
    }

    #[test]
    fn the_folder_is_what_is_mounted() {
        assert_eq!(folder("/srv/apps/web/active_color"), "/srv/apps/web");
        assert_eq!(folder("/active_color"), "/");
    }
}
