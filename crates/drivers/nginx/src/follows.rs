//! Where nginx's configuration goes by the marker: the ways to the slots, with it and without it. Pure.

use std::collections::BTreeMap;

use lockgate_model::Slot;

use crate::dials::{self, Dials, Group, Leads, is_group, is_pass, leads, name_of};
use crate::scope::{Condition, Variables, WORLDS};
use crate::site::{Place, Site, Takes};
use crate::syntax::{At, Directive};

/// What the configuration makes of the marker.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// No way to a slot asks for it. The places that lead to a slot all the same.
    No(Vec<String>),
    /// Every way to a slot follows it.
    Yes(Routes),
    /// Some do, and what is said here keeps it from being the switch.
    Odd(Vec<String>),
}

/// The ways that follow the marker.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Routes {
    pub sites: Vec<Site>,
    /// What may lead to a slot and cannot be told, or may not lead there for long; a sentence each.
    pub doubts: Vec<String>,
    /// The groups that are dialled, by name.
    pub groups: BTreeMap<String, Group>,
    /// Where the slots are; `None` where nothing leads there.
    pub dials: Option<Dials>,
}

impl Routes {
    /// `3 locations`, `1 location`.
    pub(crate) fn count(&self) -> String {
        match self.places().count() {
            1 => "1 location".to_owned(),
            count => format!("{count} locations"),
        }
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        self.sites.iter().flat_map(|site| &site.places)
    }
}

/// What decides between the slots.
pub(crate) enum By<'a> {
    /// Whether a file is there: its path as nginx sees it.
    Marker(&'a str),
    /// What a file that is included says: for blue, and for green.
    Constants([Variables; 2]),
}

/// Looks for the ways to the slots in a whole configuration, and whether they go by the switch.
pub(crate) fn find(directives: &[Directive], by: &By<'_>, dials: &Dials) -> Found {
    let groups = http_groups(directives);
    let resolved = dials.resolved(&groups);
    let (marker, constants) = match by {
        By::Marker(path) => (*path, Default::default()),
        // No condition asks for a file without a name.
        By::Constants(constants) => ("", constants.clone()),
    };
    let seen = Seen { is_named: matches!(by, By::Constants(_)), ..Seen::default() };
    let mut search = Search { marker, constants, dials: &resolved, groups, seen, lacks_group: false };
    search.several([&dials.blue, &dials.green]);
    for section in directives {
        match section.name.as_str() {
            "http" => search.http(section),
            "stream" => search.stream(section),
            _ => {}
        }
    }
    let mut seen = search.seen;
    seen.routes.dials = Some(resolved);
    seen.verdict()
}

/// The upstream groups of what is HTTP.
pub(crate) fn http_groups(directives: &[Directive]) -> BTreeMap<String, Group> {
    let sections = directives.iter().filter(|section| section.name == "http");
    sections.flat_map(|section| dials::groups(section.children())).collect()
}

#[derive(Default)]
struct Seen {
    routes: Routes,
    /// Ways to a slot that do not go by the marker.
    regardless: Vec<String>,
    odd: Vec<String>,
    /// The marker is asked for somewhere.
    is_named: bool,
}

impl Seen {
    fn verdict(mut self) -> Found {
        if self.routes.sites.is_empty() && !self.is_named {
            return Found::No(self.regardless);
        }
        self.odd.extend(self.regardless);
        match (self.odd.is_empty(), self.routes.sites.is_empty()) {
            (true, false) => Found::Yes(self.routes),
            (true, true) => Found::No(Vec::new()),
            (false, _) => Found::Odd(self.odd),
        }
    }
}

/// What a block has from those around it.
#[derive(Clone, Default)]
struct Around {
    /// Where a cache of what files are there is switched on.
    cache: Option<At>,
    has_resolver: bool,
    /// `proxy_request_buffering off`.
    is_unbuffered: bool,
}

impl Around {
    fn within(&self, block: &[Directive]) -> Around {
        let mut around = self.clone();
        for one in block {
            match one.name.as_str() {
                "open_file_cache" => around.cache = (one.first() != "off").then(|| one.at.clone()),
                "resolver" => around.has_resolver = true,
                "proxy_request_buffering" => around.is_unbuffered = one.first() == "off",
                _ => {}
            }
        }
        around
    }
}

struct Search<'a> {
    marker: &'a str,
    /// What variables hold everywhere, in each of the worlds.
    constants: [Variables; 2],
    dials: &'a Dials,
    groups: BTreeMap<String, Group>,
    seen: Seen,
    /// What is dialled by a group's name has none.
    lacks_group: bool,
}

impl Search<'_> {
    fn http(&mut self, http: &Directive) {
        let around = Around::default().within(http.children());
        for server in http.children().iter().filter(|one| one.name == "server") {
            let around = around.within(server.children());
            self.conditions(server.children(), &around);
            let variables = [0, 1].map(|at| self.run(&self.constants[at], server, WORLDS[at].0));
            let mut site = Site::of(server);
            self.locations(server, &around, &variables, &mut site);
            if !site.places.is_empty() {
                self.seen.routes.sites.push(site);
            }
        }
    }

    /// Of several servers in a slot's group nginx takes one after the other, and which one answered nobody can say.
    fn several(&mut self, dials: [&String; 2]) {
        for name in dials {
            if is_group(name) && !self.groups.contains_key(name) {
                self.seen.odd.push(format!("nginx has no upstream group {name}"));
                self.lacks_group = true;
            }
            let count = self.groups.get(name).map_or(1, |group| group.servers.len());
            if count != 1 {
                self.seen.odd.push(format!("the group {name} has {count} servers, and a slot is one"));
                self.seen.is_named = true;
            }
        }
    }

    /// No request of it can be told by a file.
    fn stream(&mut self, stream: &Directive) {
        let groups = dials::groups(stream.children());
        for server in stream.children().iter().filter(|one| one.name == "server") {
            for pass in server.children().iter().filter(|one| is_pass(one)) {
                if let Leads::Slot(..) | Leads::Mixed(_) = leads(pass.first(), &groups, self.dials) {
                    let (at, text) = (&pass.at, pass.text());
                    self.seen
                        .regardless
                        .push(format!("{at}: `{text}` in `stream` leads to a slot whatever the switch says"));
                }
            }
        }
    }

    fn run(&self, from: &Variables, block: &Directive, is_there: bool) -> Variables {
        let mut variables = from.clone();
        variables.run(block.children(), self.marker, is_there);
        variables
    }

    /// A cache would remember for a while whether the marker is there.
    fn conditions(&mut self, block: &[Directive], around: &Around) {
        for one in block.iter().filter(|one| one.name == "if") {
            if Condition::of(one, self.marker) == Condition::Other {
                continue;
            }
            self.seen.is_named = true;
            if let Some(cache) = &around.cache {
                self.seen.odd.push(format!(
                    "{cache}: `open_file_cache` keeps what {} asks for, so a switch would be seen late: put `open_file_cache off;` beside that `if`",
                    one.at
                ));
            }
        }
    }

    fn locations(&mut self, block: &Directive, around: &Around, server: &[Variables; 2], site: &mut Site) {
        for location in block.children().iter().filter(|one| one.name == "location") {
            let around = around.within(location.children());
            self.conditions(location.children(), &around);
            // Those of a location around it are not run.
            let variables = [0, 1].map(|at| self.run(&server[at], location, WORLDS[at].0));
            if let Some(path) = probe(location, &variables) {
                site.probe = Some(path);
            }
            for pass in self.passes(location, &variables) {
                self.judge(&pass, location, &around, site);
            }
            self.locations(location, &around, server, site);
        }
    }

    /// Everything in the location that sends requests on, and where it leads with the marker and without.
    fn passes(&self, location: &Directive, variables: &[Variables; 2]) -> Vec<Pass> {
        let mut passes = Vec::new();
        // Worlds in which an `if` with a pass of its own takes the request.
        let mut is_taken = [false; 2];
        for block in
            location.children().iter().filter(|one| matches!(one.name.as_str(), "if" | "limit_except"))
        {
            let condition = match block.name.as_str() {
                "if" => Condition::of(block, self.marker),
                _ => Condition::Other,
            };
            for pass in block.children().iter().filter(|one| is_pass(one)) {
                let reached = WORLDS.map(|(is_there, _)| condition.holds(is_there));
                passes.push(self.pass(pass, variables, reached.map(|reached| reached != Some(false))));
                (0..2).for_each(|at| is_taken[at] |= reached[at] == Some(true));
            }
        }
        for pass in location.children().iter().filter(|one| is_pass(one)) {
            passes.push(self.pass(pass, variables, is_taken.map(|is_taken| !is_taken)));
        }
        passes
    }

    fn pass(&self, pass: &Directive, variables: &[Variables; 2], reached: [bool; 2]) -> Pass {
        let leads = [0, 1].map(|at| match reached[at] {
            true => leads(&variables[at].fill(pass.first()), &self.groups, self.dials),
            false => Leads::Nowhere,
        });
        Pass { at: pass.at.clone(), text: pass.text(), leads }
    }

    fn judge(&mut self, pass: &Pass, location: &Directive, around: &Around, site: &mut Site) {
        let told = format!("{}: `{}`", pass.at, pass.text);
        let slots = pass.leads.each_ref().map(|leads| match leads {
            Leads::Slot(slot, _) => Some(*slot),
            _ => None,
        });
        for (at, leads) in pass.leads.iter().enumerate() {
            match leads {
                Leads::Mixed(group) => {
                    self.seen.odd.push(format!("{told}: the group {group} has a slot and something else"));
                    return;
                }
                Leads::Unclear(_) if at == 0 => self
                    .seen
                    .routes
                    .doubts
                    .push(format!("{told} may lead to a slot: what its variables hold cannot be told")),
                _ => {}
            }
        }
        match slots {
            [None, None] => return,
            [Some(blue), Some(green)] if blue == green => {
                self.seen.regardless.push(format!("{told} leads to {blue} whatever the switch says"));
                return;
            }
            _ => {}
        }
        for ((is_there, wanted), leads) in WORLDS.iter().zip(&pass.leads) {
            let when = if *is_there { "when green is to be live" } else { "when blue is to be live" };
            match leads {
                Leads::Slot(slot, _) if slot == wanted => {}
                Leads::Slot(slot, _) => self.seen.odd.push(format!("{told} leads to {slot} {when}")),
                Leads::Elsewhere(where_to) => {
                    self.seen
                        .odd
                        .push(format!("{told} leads to {where_to} {when}, which is no slot's address"));
                }
                Leads::Unclear(_) => {
                    self.seen.odd.push(format!("{told}: where it leads {when} cannot be told"));
                }
                Leads::Nowhere | Leads::Mixed(_) => {}
            }
        }
        self.reach(pass, &told, around);
        let groups = pass.leads.iter().filter_map(|leads| match leads {
            Leads::Slot(_, group) => group.clone(),
            _ => None,
        });
        let groups: Vec<String> = groups.collect();
        for name in &groups {
            self.seen
                .routes
                .groups
                .extend(self.groups.get_key_value(name).map(|(n, g)| (n.clone(), g.clone())));
        }
        site.places.push(Place {
            at: pass.at.clone(),
            takes: Takes::of(location),
            groups,
            buffers: !around.is_unbuffered && pass.text.starts_with("proxy_pass"),
        });
    }

    /// Whether nginx finds what is dialled by a name.
    fn reach(&mut self, pass: &Pass, told: &str, around: &Around) {
        for leads in &pass.leads {
            let Leads::Slot(slot, group) = leads else { continue };
            let Some(name) = name_of(self.dials.of(*slot)) else { continue };
            match group.as_ref().map(|group| self.groups.get(group)) {
                None if !around.has_resolver && !self.lacks_group => self.seen.odd.push(format!(
                    "{told}: nginx has no `resolver`, so it does not find {name}: in a container on Docker's networks, `resolver 127.0.0.11 valid=1s;`"
                )),
                Some(Some(group)) if !group.resolves => self.seen.routes.doubts.push(format!(
                    "{told}: nginx looks {name} up only when it loads its configuration, and a container has another address each time it is made: dial the name in the location, with `resolver 127.0.0.11 valid=1s;`, or give the container a fixed address"
                )),
                _ => {}
            }
        }
    }
}

struct Pass {
    at: At,
    text: String,
    /// Without the marker, and with it.
    leads: [Leads; 2],
}

/// The path of a location that does nothing but say the slot.
fn probe(location: &Directive, variables: &[Variables; 2]) -> Option<String> {
    let Takes::Exact(path) = Takes::of(location) else { return None };
    let said = location.children().iter().find(|one| one.name == "return")?;
    let ("200", [_, text]) = (said.first(), said.args.as_slice()) else { return None };
    let names = [Slot::Blue, Slot::Green].map(|slot| slot.to_string());
    let filled = variables.each_ref().map(|variables| variables.fill(text));
    (filled.each_ref().map(|text| text.trim().to_owned()) == names).then_some(path)
}

#[cfg(test)]
#[path = "follows_tests.rs"]
mod tests;
