//! Workflows of GitHub Actions, whole.

use lockgate_config::init::{Branch, BuiltImage, On, PinnedAction, Workflow, github_actions};
use lockgate_model::ServiceName;

fn plain(on: On) -> Workflow {
    Workflow { on, branch: Branch::new("main").unwrap(), build: None, service: None, action: None }
}

fn building(image: &str) -> Workflow {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    Workflow {
        build: Some(BuiltImage::new(image).unwrap()),
        service: Some(ServiceName::new("web").unwrap()),
        action: Some(PinnedAction::new(&format!("acme/lockgate@{commit}")).unwrap()),
        ..plain(On::MergeQueue)
    }
}

#[test]
fn what_something_else_built_is_deployed_when_it_is_pushed() {
    insta::assert_snapshot!(github_actions(&plain(On::Push)));
}

#[test]
fn what_waits_in_the_merge_queue_is_built_and_deployed_by_the_action() {
    insta::assert_snapshot!(github_actions(&building("ghcr.io/acme/web")));
}

#[test]
fn another_registry_has_a_login_of_its_own() {
    let workflow = Workflow { action: None, on: On::Push, ..building("registry.shop.example:5000/web") };
    insta::assert_snapshot!(github_actions(&workflow));
}
