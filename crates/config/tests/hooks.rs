//! `before_switch` and `after_switch`: how they are written, and what is refused.

mod common;

use common::{FULL_ENV, bad, good};
use lockgate_model::{HOOK_TIMEOUT_DEFAULT, Hook, Hooks, Millis, ServiceName};

fn file(keys: &str) -> String {
    format!(
        "project: shop\nservices:\n  web:\n    image: ghcr.io/acme/web\n    {keys}\nenvironments:\n  prod:\n    runtime: compose\n"
    )
}

fn hooks(keys: &str) -> Hooks {
    good(&file(keys)).services[&ServiceName::new("web").unwrap()].hooks.clone()
}

fn argv(hook: &Hook) -> Vec<&str> {
    hook.argv.iter().map(lockgate_model::Template::as_str).collect()
}

#[test]
fn text_is_split_at_blanks_and_quotes_and_a_list_stays_as_it_is() {
    assert_eq!(hooks("port: 5000"), Hooks::default());
    for (written, wanted) in [
        ("before_switch: python manage.py migrate", vec!["python", "manage.py", "migrate"]),
        ("before_switch: \"./migrate --note 'a b' $HOME\"", vec!["./migrate", "--note", "a b", "$HOME"]),
        ("before_switch: [sh, -c, \"./a && ./b\"]", vec!["sh", "-c", "./a && ./b"]),
        ("before_switch: { run: ./migrate --to {tag} }", vec!["./migrate", "--to", "{tag}"]),
    ] {
        let written = written.replace("{ run: ./migrate --to {tag} }", "{ run: \"./migrate --to {tag}\" }");
        let hook = hooks(&written).before_switch.unwrap();
        assert_eq!(argv(&hook), wanted, "{written}");
        assert_eq!((hook.timeout, hook.repeat, hook.only_warns), (HOOK_TIMEOUT_DEFAULT, false, false));
    }
}

#[test]
fn more_about_it_is_a_mapping() {
    let both = hooks(
        "before_switch: { run: [./migrate], timeout: 30m, repeat: true }\n    after_switch: { run: ./warm, on_failure: warn }",
    );
    let before = both.before_switch.unwrap();
    assert_eq!((before.timeout, before.repeat, before.only_warns), (Millis::from_secs(1_800), true, false));
    let after = both.after_switch.unwrap();
    assert_eq!((argv(&after), after.only_warns), (vec!["./warm"], true));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let said: Vec<String> = [
        "before_switch: \"\"",
        "before_switch: []",
        "before_switch: \"./migrate 'a\"",
        "before_switch: \"./migrate ${SECRET}\"",
        "before_switch: { timeout: 5m }",
        "before_switch: { run: ./migrate, timeout: 0s }",
        "before_switch: { run: ./migrate, timeout: 30d }",
        "before_switch: { run: ./migrate, on_failure: warn }",
        "after_switch: { run: ./warm, on_failure: ignore }",
        "before_switch: { run: ./migrate, retries: 3 }",
        "before_switch: { run: \"./migrate {slug}\" }",
        "before_switch: 5",
    ]
    .iter()
    .map(|keys| {
        let error = bad(&file(keys));
        let hint = error.hint().unwrap_or("-");
        format!("{keys}\n  {error}\n  {hint}")
    })
    .collect();
    assert!(
        !said
            .iter()
            .any(|text| FULL_ENV.iter().any(|(name, value)| *name == "SECRET" && text.contains(value)))
    );
    insta::assert_snapshot!(said.join("\n"));
}
