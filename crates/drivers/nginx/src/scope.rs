//! What variables hold with the marker and without it: `set` and `if (-f …)`, as nginx's rewrite module runs them. Pure.

use std::collections::BTreeMap;

use lockgate_model::Slot;

use crate::syntax::Directive;

/// Whether the marker is there, and which slot that means.
pub(crate) const WORLDS: [(bool, Slot); 2] = [(false, Slot::Blue), (true, Slot::Green)];

/// What a condition asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Whether the marker is there (`true`) or not.
    Marker(bool),
    /// Something else, which may be so or not.
    Other,
}

impl Condition {
    /// Of an `if`, for the marker at this path.
    pub(crate) fn of(directive: &Directive, marker: &str) -> Condition {
        let text = directive.args.join(" ");
        let inner = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
        let mut words = inner.unwrap_or_default().trim().splitn(2, char::is_whitespace);
        match (words.next(), words.next().map(str::trim)) {
            (Some("-f" | "-e"), Some(path)) if path == marker => Condition::Marker(true),
            (Some("!-f" | "!-e"), Some(path)) if path == marker => Condition::Marker(false),
            _ => Condition::Other,
        }
    }

    /// Whether the block is run; `None`: perhaps.
    pub(crate) fn holds(self, is_there: bool) -> Option<bool> {
        match self {
            Condition::Marker(wanted) => Some(wanted == is_there),
            Condition::Other => None,
        }
    }
}

/// Variables that `set` has given a value, in one world. `None`: one of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Variables(BTreeMap<String, Option<String>>);

impl Variables {
    /// What `map "" $name { default value; }` says of names that have always one value.
    pub(crate) fn constants(directives: &[Directive]) -> Variables {
        let mut variables = Variables::default();
        for one in directives.iter().filter(|one| one.name == "map") {
            let ([source, name], [only]) = (one.args.as_slice(), one.children()) else { continue };
            if source.is_empty() && only.name == "default" && is_whole(only.first()) {
                let name = name.trim_start_matches('$').to_owned();
                variables.0.insert(name, Some(only.first().to_owned()));
            }
        }
        variables
    }

    /// What the directives of one server or location make of them, in their order.
    pub(crate) fn run(&mut self, directives: &[Directive], marker: &str, is_there: bool) {
        for one in directives {
            match (one.name.as_str(), one.args.as_slice()) {
                ("set", [name, value]) => {
                    let value = self.fill(value);
                    let name = name.trim_start_matches('$').to_owned();
                    self.0.insert(name, is_whole(&value).then_some(value));
                }
                ("if", _) => match Condition::of(one, marker).holds(is_there) {
                    Some(true) => self.run(one.children(), marker, is_there),
                    Some(false) => {}
                    None => self.doubt(one.children()),
                },
                _ => {}
            }
        }
    }

    /// What may be set to something else.
    fn doubt(&mut self, directives: &[Directive]) {
        for one in directives {
            if let ("set", Some(name)) = (one.name.as_str(), one.args.first()) {
                self.0.insert(name.trim_start_matches('$').to_owned(), None);
            }
            self.doubt(one.children());
        }
    }

    /// The text with the variables that are known filled in; the others stay as they are written.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, after, written) = match braced {
                Some((name, after)) => (name, after, format!("${{{name}}}")),
                None => {
                    let legal = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
                    let (name, after) = rest.split_at(rest.find(legal).unwrap_or(rest.len()));
                    (name, after, format!("${name}"))
                }
            };
            match self.0.get(name) {
                Some(Some(value)) => filled.push_str(value),
                Some(None) | None => filled.push_str(&written),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

/// No variable is left in it.
pub(crate) fn is_whole(text: &str) -> bool {
    !text.contains('$')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::parse;

    fn filled(script: &str, text: &str) -> [String; 2] {
        let script = parse("/x", script).unwrap();
        WORLDS.map(|(is_there, _)| {
            let mut variables = Variables::default();
            variables.run(&script, "/m/green_is_live", is_there);
            variables.fill(text)
        })
    }

    #[test]
    fn a_variable_is_what_was_set_last_where_the_marker_says_so() {
        let script = "set $a blue; if (-f /m/green_is_live) { set $a green; set $b \"x$a\"; }";
        assert_eq!(filled(script, "http://w_$a/"), ["http://w_blue/", "http://w_green/"]);
        assert_eq!(filled(script, "${a}:$b"), ["blue:$b", "green:xgreen"]);
        let turned = "set $a green; if ( !-f \"/m/green_is_live\" ) { set $a blue; }";
        assert_eq!(filled(turned, "$a"), ["blue", "green"]);
        assert_eq!(filled("set $a 1; if (-e /m/green_is_live) { set $a 2; }", "$a"), ["1", "2"]);
    }

    #[test]
    fn a_map_of_nothing_is_a_constant() {
        let text = "map \"\" $a { default blue; } map $host $b { default x; } map \"\" $c { default $host; }";
        let variables = Variables::constants(&parse("/x", text).unwrap());
        assert_eq!(variables.fill("$a $b $c"), "blue $b $c");
    }

    #[test]
    fn what_another_condition_may_set_is_not_known() {
        let script = "set $a blue; if ($http_x) { set $a green; }";
        assert_eq!(filled(script, "$a"), ["$a", "$a"]);
        assert_eq!(filled("set $a blue; if (-f /m/other) { set $a green; }", "$a"), ["$a", "$a"]);
        assert_eq!(filled("set $a $host; set $b $a;", "$a $b $ 5$"), ["$a $b $ 5$", "$a $b $ 5$"]);
    }
}
