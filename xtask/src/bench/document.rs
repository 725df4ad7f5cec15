//! `docs/benchmarks.md`: made of one run, or some of its sections put anew.

use super::report::Report;
use super::{Machine, load_average};

/// All of it, of one run.
pub fn whole(machine: &Machine, reports: &[Report]) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench --write` on {}, at commit {}. Do not edit it: run that again.\n\n\
         Machine: {}. With {}. Load averages were {} before the run and {} after it: more than the number of \
         processors means that others worked beside it, which slows both what is measured and its floor.\n\n\
         Every figure has its floor beside it, measured in the same run and in turn, repetition by repetition. Times are \
         median / worst. \"Over\" is the difference between neighbours in time, so it is not the difference of the medians. \
         The program is {}.\n",
        machine.date,
        machine.commit,
        machine.hardware,
        machine.software.join(", "),
        machine.load,
        load_average(),
        match std::env::var_os("LOCKGATE_BIN") {
            Some(_) => "one that was given (`LOCKGATE_BIN`), so perhaps not of that commit",
            None => "the `dist` build, as it is installed",
        },
    );
    for report in reports {
        text.push('\n');
        text.push_str(&report.markdown());
    }
    text
}

/// The text with these sections in the place of those of the same name, or at its end; each says of which run it is.
pub fn with(before: &str, machine: &Machine, reports: &[Report]) -> String {
    let mut sections: Vec<String> = before.split_inclusive('\n').fold(Vec::new(), |mut sections, line| {
        match sections.last_mut() {
            Some(section) if !line.starts_with("## ") => section.push_str(line),
            _ => sections.push(line.to_owned()),
        }
        sections
    });
    for report in reports {
        let text = dated(&report.markdown(), machine);
        match sections.iter_mut().find(|section| section.starts_with(&format!("## `{}`", report.name))) {
            Some(section) => *section = format!("{}\n", text.trim_end()),
            None => sections.push(format!("{}\n", text.trim_end())),
        }
    }
    let sections: Vec<&str> = sections.iter().map(|section| section.trim_end()).collect();
    sections.join("\n\n") + "\n"
}

fn dated(section: &str, machine: &Machine) -> String {
    let (title, rest) = section.split_once('\n').unwrap_or((section, ""));
    format!(
        "{title}\n\n*A run of its own on {}, at commit {}; load averages were {} before it and {} after it.*\n{rest}",
        machine.date,
        machine.commit,
        machine.load,
        load_average(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_one_before_it_and_a_new_one_comes_last() {
        let machine = Machine {
            date: "2026-11-27 05:00 UTC".into(),
            commit: "abc".into(),
            hardware: String::new(),
            software: Vec::new(),
            load: "0.10 0.20 0.30".into(),
        };
        let report = |name| Report { meaning: format!("new {name}"), ..Report::new(name, "a title") };
        let before = "# Benchmarks\n\nhead\n\n## `ssh`: old\n\nold ssh\n\n## `swaps`: old\n\nold swaps\n";
        let text = with(before, &machine, &[report("ssh"), report("switch")]);
        let places: Vec<usize> =
            ["head", "## `ssh`: a title", "new ssh", "old swaps", "## `switch`", "new switch"]
                .map(|what| text.find(what).unwrap_or_else(|| panic!("{what}: {text}")))
                .to_vec();
        assert!(places.is_sorted(), "{text}");
        assert!(
            !text.contains("old ssh") && text.contains("at commit abc; load averages were 0.10"),
            "{text}"
        );
        assert_eq!(with(&text, &machine, &[]), text);
    }
}
