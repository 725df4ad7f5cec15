//! `before_switch` and `after_switch` of a service.

use lockgate_model::{HOOK_SECONDS_MAX, HOOK_TIMEOUT_DEFAULT, Hook, HookMoment, Hooks, Millis};

use super::reader::{Reader, quote, reference};
use crate::at::{At, Words};
use crate::raw;
use crate::raw_hook::{self, HookMapping};

pub fn resolve(reader: &mut Reader<'_>, raw: &raw::Service) -> Hooks {
    let mut of = |source: &Option<At<raw_hook::Hook>>, moment| {
        source.as_ref().and_then(|source| hook(reader, source, moment))
    };
    Hooks {
        before_switch: of(&raw.before_switch, HookMoment::BeforeSwitch),
        after_switch: of(&raw.after_switch, HookMoment::AfterSwitch),
    }
}

fn hook(reader: &mut Reader<'_>, source: &At<raw_hook::Hook>, moment: HookMoment) -> Option<Hook> {
    let what = format!("`{moment}`");
    let full = match &source.value {
        raw_hook::Hook::Command(words) => {
            let run = At { value: words.clone(), place: source.place };
            let argv = command(reader, &what, &run)?;
            return Some(Hook { argv, timeout: HOOK_TIMEOUT_DEFAULT, repeat: false, only_warns: false });
        }
        raw_hook::Hook::Full(full) => full,
    };
    let Some(run) = &full.run else {
        let hint = format!("write `{moment}: {{ run: \"python manage.py migrate\" }}`");
        reader.invalid(source.place, format!("{what} has no `run`"), hint);
        return None;
    };
    let timeout = match &full.timeout {
        Some(timeout) => reader.span_within(
            "`timeout`",
            timeout,
            Millis::from_secs(1),
            Millis::from_secs(HOOK_SECONDS_MAX),
        ),
        None => Some(HOOK_TIMEOUT_DEFAULT),
    };
    let only_warns = on_failure(reader, full, moment);
    let repeat = full.repeat.as_ref().is_some_and(|repeat| repeat.value);
    Some(Hook { argv: command(reader, &what, run)?, timeout: timeout?, repeat, only_warns: only_warns? })
}

/// True when a failure is only told.
fn on_failure(reader: &mut Reader<'_>, full: &HookMapping, moment: HookMoment) -> Option<bool> {
    let Some(source) = &full.on_failure else { return Some(false) };
    if moment == HookMoment::BeforeSwitch {
        let message = "`on_failure` is of `after_switch`: where `before_switch` fails nothing is changed";
        reader.conflict(source.place, message, "leave it out");
        return None;
    }
    match reader.text(source)?.as_str() {
        "undo" => Some(false),
        "warn" => Some(true),
        _ => {
            let message = format!("`on_failure` {} is not known", quote(source));
            reader.invalid(source.place, message, "write `undo` or `warn`");
            None
        }
    }
}

fn command(reader: &mut Reader<'_>, what: &str, run: &At<Words>) -> Option<Vec<lockgate_model::Template>> {
    if let Some(place) = reference(run) {
        let message = format!("{what} cannot have `${{…}}`: its arguments are shown and kept");
        let hint = "it has the app's environment: write `$NAME` in a script, as in `[\"sh\", \"-c\", \"… \\\"$NAME\\\"\"]`";
        reader.invalid(place, message, hint);
        return None;
    }
    reader.argv(what, run)
}
