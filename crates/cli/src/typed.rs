//! Commands in what is said, as they have to be typed here: with the `-c FILE` and the `--env NAME` of the command that
//! says them. Rooms below know neither, so their hints name the bare command, and this is the one place that adds both.

use std::borrow::Cow;

use clap::CommandFactory;
use lockgate_model::{Event, EventKind, Failure, Outcome};
use serde_json::Value;

use crate::args::{Args, Global};

const NAME: &str = "lockgate ";
/// They read no configuration.
const WITHOUT: [&str; 7] = ["demo", "demo-app", "completions", "schema", "proxy", "trigger", "help"];
/// Members of JSON objects that hold what is said to people.
const SAID: [&str; 4] = ["hint", "mend", "note", "notes"];
/// Members that list commands and what is said to people.
const LISTS: [&str; 2] = ["commands", "hints"];

#[derive(Debug, Clone, Default)]
pub struct Typed {
    /// Quoted for a shell; `None` where the file is found by itself.
    config: Option<String>,
    env: Option<String>,
    /// The subcommands that take both.
    names: Vec<String>,
}

impl Typed {
    pub fn new(global: &Global) -> Self {
        let quoted = |text: &str| shell_words::quote(text).into_owned();
        let command = Args::command();
        let names = command.get_subcommands().map(clap::Command::get_name);
        Self {
            config: global.config.as_ref().map(|path| quoted(&path.to_string_lossy())),
            env: global.env.as_deref().map(quoted),
            names: names.filter(|name| !WITHOUT.contains(name)).map(str::to_owned).collect(),
        }
    }

    pub fn adds_nothing(&self) -> bool {
        self.config.is_none() && self.env.is_none()
    }

    /// Commands in backticks, and those that have a line of their own. Lines of a log stay as they are.
    pub fn in_text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.adds_nothing() || !text.contains(NAME) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(text.split_inclusive('\n').map(|line| self.in_line(line)).collect())
    }

    fn in_line(&self, line: &str) -> String {
        if line.trim_start().starts_with("| ") {
            return line.to_owned();
        }
        let mut whole = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(NAME) {
            let (before, command) = rest.split_at(at);
            whole.push_str(before);
            let quoted = whole.ends_with('`');
            let end = command.find(if quoted { '`' } else { '\n' }).unwrap_or(command.len());
            let (command, behind) = command.split_at(end);
            match quoted || whole.trim().is_empty() {
                true => whole.push_str(&self.in_command(command)),
                false => whole.push_str(command),
            }
            rest = behind;
        }
        whole + rest
    }

    fn in_command(&self, command: &str) -> String {
        let mut words = command.split_whitespace().skip(1);
        let is_ours = |word: &str| word.starts_with('-') || self.names.iter().any(|name| name == word);
        if !words.next().is_some_and(is_ours) {
            return command.to_owned();
        }
        let has = |option| command.split_whitespace().any(|word| word == option);
        let config = self.config.as_ref().filter(|_| !has("-c") && !has("--config"));
        let env = self.env.as_ref().filter(|_| !has("--env"));
        // Behind it, for the command is what people look for.
        let words = command.trim_end();
        let mut typed = words.to_owned();
        typed.extend(config.map(|file| format!(" -c {file}")));
        typed.extend(env.map(|name| format!(" --env {name}")));
        typed + &command[words.len()..]
    }

    /// What is said to people in any object or list of it, in place.
    pub fn in_json(&self, value: &mut Value) {
        if self.adds_nothing() {
            return;
        }
        match value {
            Value::Array(all) => all.iter_mut().for_each(|one| self.in_json(one)),
            Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        Value::String(text) if SAID.contains(&name.as_str()) => {
                            *text = self.in_text(text).into_owned()
                        }
                        Value::Array(all) if LISTS.contains(&name.as_str()) => {
                            all.iter_mut().for_each(|one| {
                                if let Value::String(text) = one {
                                    *text = self.in_text(text).into_owned();
                                }
                            })
                        }
                        other => self.in_json(other),
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The hints and commands of an event.
    pub fn in_event<'t>(&self, event: &'t Event) -> Cow<'t, Event> {
        if self.adds_nothing() {
            return Cow::Borrowed(event);
        }
        let mut event = event.clone();
        match &mut event.kind {
            EventKind::StepFailed { failure, .. }
            | EventKind::UndoFailed { failure, .. }
            | EventKind::UnwindStarted { cause: failure } => self.in_failure(failure),
            EventKind::RunEnded { outcome } => self.in_outcome(outcome),
            EventKind::RunStarted { .. }
            | EventKind::Adopted { .. }
            | EventKind::Intended { .. }
            | EventKind::StepStarted { .. }
            | EventKind::StepSucceeded { .. }
            | EventKind::UndoStarted { .. }
            | EventKind::UndoSucceeded { .. }
            | EventKind::Committed => {}
        }
        Cow::Owned(event)
    }

    fn in_outcome(&self, outcome: &mut Outcome) {
        match outcome {
            Outcome::Succeeded { warnings } => warnings.iter_mut().for_each(|one| self.in_failure(one)),
            Outcome::Failed { failure } | Outcome::RolledBack { failure } => self.in_failure(failure),
            Outcome::Stuck(stuck) => {
                self.in_failure(&mut stuck.failure);
                stuck.undo_failures.iter_mut().for_each(|one| self.in_failure(one));
                for command in &mut stuck.commands {
                    *command = self.in_text(command).into_owned();
                }
            }
        }
    }

    fn in_failure(&self, failure: &mut Failure) {
        let hints = std::mem::take(&mut failure.hints);
        failure.hints = hints.map(|hint| self.in_text(&hint).into_owned());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn typed(args: &[&str]) -> Typed {
        let args = [&["lockgate"], args, &["status"]].concat();
        Typed::new(&Args::try_parse_from(args).unwrap().global)
    }

    #[test]
    fn a_command_is_told_with_the_file_and_the_environment_that_were_typed() {
        let here = typed(&["-c", "my shop/lock gate.yaml", "--env", "prod"]);
        let table = [
            ("`lockgate resume` ends it", "`lockgate resume -c 'my shop/lock gate.yaml' --env prod` ends it"),
            (
                "see `lockgate --env test logs web`, then `lockgate deploy web v1`",
                "see `lockgate --env test logs web -c 'my shop/lock gate.yaml'`, then `lockgate deploy web v1 -c 'my shop/lock gate.yaml' --env prod`",
            ),
            (
                "next: type, in this order:\n  lockgate --env prod status web\n  lockgate doctor\n",
                "next: type, in this order:\n  lockgate --env prod status web -c 'my shop/lock gate.yaml'\n  lockgate doctor -c 'my shop/lock gate.yaml' --env prod\n",
            ),
            // No commands of ours, or such that read no configuration.
            ("`lockgate schema` tells what each key takes", "`lockgate schema` tells what each key takes"),
            ("start it on the host: lockgate proxy --dir x", "start it on the host: lockgate proxy --dir x"),
            ("the lockgate status page; a `lockgate lease`", "the lockgate status page; a `lockgate lease`"),
            (
                "its last log lines:\n    | try `lockgate resume`",
                "its last log lines:\n    | try `lockgate resume`",
            ),
            (
                "`lockgate -c other.yaml --env test plan web v1`",
                "`lockgate -c other.yaml --env test plan web v1`",
            ),
        ];
        for (said, wanted) in table {
            assert_eq!(here.in_text(said), wanted);
            assert_eq!(here.in_text(&here.in_text(said)), wanted, "twice");
            assert_eq!(Typed::default().in_text(said), said);
        }
        assert_eq!(typed(&["--env", "prod"]).in_text("`lockgate resume`"), "`lockgate resume --env prod`");
    }

    #[test]
    fn programs_are_told_the_same_and_nothing_else_is_touched() {
        let mut value = serde_json::json!({
            "error": { "hint": "`lockgate resume`", "hints": ["`lockgate resume`", "x"], "message": "`lockgate resume`", "logs": ["`lockgate resume`"] },
            "result": [{ "commands": ["lockgate --env prod resume web"] }],
            "line": "lockgate resume",
            "commands": 3,
        });
        typed(&["-c", "x.yaml"]).in_json(&mut value);
        let wanted = serde_json::json!({
            "error": {
                "hint": "`lockgate resume -c x.yaml`", "hints": ["`lockgate resume -c x.yaml`", "x"], "message": "`lockgate resume`", "logs": ["`lockgate resume`"],
            },
            "result": [{ "commands": ["lockgate --env prod resume web -c x.yaml"] }],
            "line": "lockgate resume",
            "commands": 3,
        });
        assert_eq!(value, wanted);
    }
}
