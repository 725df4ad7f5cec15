//! With the git that is installed, in clones made here.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use lockgate_git::{GitCli, GitOptions};
use lockgate_local::Local;
use lockgate_model::{COMMITS_TOLD_MAX, CommitSha, Commits, FailureKind};
use lockgate_ports::{Between, Changed, Git};
use tempfile::TempDir;

const AUTHOR: [&str; 4] = ["-c", "user.name=Kim", "-c", "user.email=kim@shop.example"];

fn git(folder: &Path, args: &[&str]) -> String {
    let allow = ["-c", "protocol.file.allow=always", "-c", "init.defaultBranch=main"];
    let output =
        Command::new("git").current_dir(folder).args(AUTHOR).args(allow).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn commit(folder: &Path, file: &str, content: &str, message: &str) -> CommitSha {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    git(folder, &["add", "--", file]);
    git(folder, &["commit", "-q", "-m", message]);
    CommitSha::new(git(folder, &["rev-parse", "HEAD"])).unwrap()
}

/// A repository with one commit.
fn repository() -> (TempDir, CommitSha) {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q"]);
    let first = commit(folder.path(), "a.txt", "1", "First\n\nbody");
    (folder, first)
}

fn asked(folder: &Path) -> GitCli {
    asked_without(folder, &[])
}

fn asked_without(folder: &Path, unset: &[&str]) -> GitCli {
    GitCli::new(GitOptions {
        host: Arc::new(Local::new()),
        folder: folder.to_str().unwrap().to_owned(),
        unset: unset.iter().map(|name| (*name).to_owned()).collect(),
    })
}

#[tokio::test]
async fn what_is_checked_out_is_told_with_its_author_branch_and_tags() {
    let (folder, first) = repository();
    git(folder.path(), &["tag", "v1"]);
    git(folder.path(), &["tag", "-a", "-m", "x", "web/v1"]);
    let head = asked(folder.path()).head().await.unwrap();
    assert_eq!((&head.commit, head.author.as_str(), head.subject.as_str()), (&first, "Kim", "First"));
    assert_eq!((head.branch.as_deref(), head.is_shallow, head.folder.as_str()), (Some("main"), false, ""));
    assert_eq!(head.tags, ["v1", "web/v1"]);
    assert_eq!((head.unclean, head.absent_submodules), (vec![], vec![]));
    assert!(head.at.0 > 1_700_000_000_000, "{}", head.at.0);

    let below = folder.path().join("shop");
    std::fs::create_dir(&below).unwrap();
    git(folder.path(), &["checkout", "-q", "--detach"]);
    let head = asked(&below).head().await.unwrap();
    assert_eq!((head.branch, head.folder.as_str()), (None, "shop/"));
}

#[tokio::test]
async fn a_file_that_is_not_in_the_commit_makes_it_unclean_but_for_ours_and_for_ignored_ones() {
    let (folder, _) = repository();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    write(".lockgate/journal.db", "x");
    let unclean = async || asked(folder.path()).head().await.unwrap().unclean;
    assert_eq!(unclean().await, [""; 0]);
    write(".gitignore", "*.log\n");
    write("noise.log", "x");
    write("new file \u{e9}.txt", "x");
    write("a.txt", "2");
    assert_eq!(unclean().await, ["a.txt", ".gitignore", "new file \u{e9}.txt"]);
}

#[tokio::test]
async fn what_has_changed_between_two_commits_is_told_by_path_whatever_is_in_it() {
    let (folder, first) = repository();
    commit(folder.path(), "src/\u{e9} x.py", "1", "Second");
    git(folder.path(), &["mv", "a.txt", "b.txt"]);
    git(folder.path(), &["commit", "-q", "-m", "--upload-pack=x"]);
    let third = CommitSha::new(git(folder.path(), &["rev-parse", "HEAD"])).unwrap();
    let git = asked(folder.path());
    let wanted = ["a.txt", "b.txt", "src/\u{e9} x.py"].map(str::to_owned).to_vec();
    assert_eq!(git.changed(&first, &third).await.unwrap(), Changed::Files(wanted.clone()));
    assert_eq!(git.changed(&third, &first).await.unwrap(), Changed::Files(wanted), "either way");
    assert_eq!(git.changed(&third, &third).await.unwrap(), Changed::Files(Vec::new()));
    assert_eq!(git.head().await.unwrap().subject, "--upload-pack=x");
    let nobodys = CommitSha::new("1".repeat(40)).unwrap();
    assert_eq!(git.changed(&nobodys, &third).await.unwrap(), Changed::Missing(nobodys));
}

#[tokio::test]
async fn more_files_than_are_read_are_too_many_and_never_a_part() {
    let (folder, first) = repository();
    let many = folder.path().join("many");
    std::fs::create_dir(&many).unwrap();
    for number in 0..6_000 {
        std::fs::write(many.join(format!("{number:0200}")), "").unwrap();
    }
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "Many"]);
    let second = CommitSha::new(git(folder.path(), &["rev-parse", "HEAD"])).unwrap();
    assert_eq!(asked(folder.path()).changed(&first, &second).await.unwrap(), Changed::TooMany);
}

#[tokio::test]
async fn a_shallow_clone_says_so_and_which_commit_it_does_not_have() {
    let (folder, first) = repository();
    let second = commit(folder.path(), "a.txt", "2", "Second");
    let clone = tempfile::tempdir().unwrap();
    let from = format!("file://{}", folder.path().display());
    git(clone.path(), &["clone", "-q", "--depth", "1", &from, "c"]);
    let git = asked(&clone.path().join("c"));
    assert!(git.head().await.unwrap().is_shallow);
    assert_eq!(git.changed(&first, &second).await.unwrap(), Changed::Missing(first));
}

/// How many, and the subjects that are told.
fn short(commits: &Commits) -> (u64, Vec<&str>) {
    (commits.count, commits.newest.iter().filter_map(|commit| commit.subject.as_deref()).collect())
}

#[tokio::test]
async fn the_commits_between_two_are_told_the_newest_first_and_of_many_the_number() {
    let (folder, first) = repository();
    let git = asked(folder.path());
    let between = async |from: &CommitSha, to: &CommitSha| match git.between(from, to).await.unwrap() {
        Between::Commits { brought, taken_back } => (brought, taken_back),
        other => panic!("{other:?}"),
    };
    let second = commit(folder.path(), "a.txt", "2", "Say <!channel> `x` \u{1b}[2J\n\nand a body");
    let third = commit(folder.path(), "a.txt", "3", "Third");
    let (brought, taken_back) = between(&first, &third).await;
    assert_eq!(short(&brought), (2, vec!["Third", "Say <!channel> 'x' \\x1b[2J"]));
    assert_eq!(taken_back, Commits::default());
    assert_eq!(
        (brought.newest[0].id.as_str(), brought.newest[0].author.as_deref()),
        (third.as_str(), Some("Kim"))
    );
    // Going back.
    let (brought, taken_back) = between(&third, &second).await;
    assert_eq!((short(&brought), short(&taken_back)), ((0, vec![]), (1, vec!["Third"])));
    assert_eq!(between(&third, &third).await, (Commits::default(), Commits::default()));

    // Another branch has one of its own.
    self::git(folder.path(), &["checkout", "-q", "-b", "other", second.as_str()]);
    let other = commit(folder.path(), "b.txt", "1", "Other");
    let (brought, taken_back) = between(&third, &other).await;
    assert_eq!((short(&brought), short(&taken_back)), ((1, vec!["Other"]), (1, vec!["Third"])));

    let mut last = other.clone();
    for number in 0..COMMITS_TOLD_MAX + 3 {
        last = commit(folder.path(), "b.txt", &format!("{number} x"), &format!("Number {number}"));
    }
    let (brought, _) = between(&other, &last).await;
    assert_eq!((brought.count, brought.newest.len()), (13, COMMITS_TOLD_MAX));
    assert_eq!(brought.newest[0].subject.as_deref(), Some("Number 12"));
}

#[tokio::test]
async fn commits_that_are_not_there_or_of_another_history_are_said_to_be_that() {
    let (folder, first) = repository();
    let git = asked(folder.path());
    let [one, another] = ["1", "2"].map(|digit| CommitSha::new(digit.repeat(40)).unwrap());
    assert_eq!(git.between(&one, &first).await.unwrap(), Between::Missing(one.clone()));
    assert_eq!(git.between(&first, &one).await.unwrap(), Between::Missing(one.clone()));
    assert_eq!(git.between(&one, &another).await.unwrap(), Between::Missing(another));
    self::git(folder.path(), &["checkout", "-q", "--orphan", "apart"]);
    let apart = commit(folder.path(), "c.txt", "1", "Apart");
    assert_eq!(git.between(&first, &apart).await.unwrap(), Between::Unrelated);

    let clone = tempfile::tempdir().unwrap();
    let from = format!("file://{}", folder.path().display());
    self::git(clone.path(), &["clone", "-q", "--depth", "1", &from, "c"]);
    let shallow = asked(&clone.path().join("c"));
    assert_eq!(shallow.between(&first, &apart).await.unwrap(), Between::Missing(first));
    let nothing = tempfile::tempdir().unwrap();
    let error = asked(nothing.path()).between(&one, &apart).await.unwrap_err();
    assert_eq!(error.kind, FailureKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_submodule_that_is_not_checked_out_is_named() {
    let (library, _) = repository();
    let (folder, _) = repository();
    let from = library.path().to_str().unwrap().to_owned();
    git(folder.path(), &["submodule", "--quiet", "add", &from, "lib/x"]);
    git(folder.path(), &["commit", "-q", "-m", "With a library"]);
    assert_eq!(asked(folder.path()).head().await.unwrap().absent_submodules, [""; 0]);
    let clone = tempfile::tempdir().unwrap();
    git(clone.path(), &["clone", "-q", folder.path().to_str().unwrap(), "c"]);
    let head = asked(&clone.path().join("c")).head().await.unwrap();
    assert_eq!((head.absent_submodules, head.unclean), (vec!["lib/x".to_owned()], vec![]));
}

#[tokio::test]
async fn where_there_is_no_clone_no_commit_or_no_git_that_is_said() {
    let said = async |git: &GitCli| {
        let error = git.head().await.unwrap_err();
        assert!(!error.hints().is_empty(), "{error}");
        (error.kind, error.message)
    };
    let nothing = tempfile::tempdir().unwrap();
    let (kind, message) = said(&asked(nothing.path())).await;
    assert_eq!(kind, FailureKind::NotFound);
    assert!(message.contains("is in no git repository"), "{message}");
    git(nothing.path(), &["init", "-q"]);
    let (kind, message) = said(&asked(nothing.path())).await;
    assert!(kind == FailureKind::NotFound && message.contains("no commit yet"), "{message}");
}

/// What a hook or a CI system has set would lead elsewhere; and a clone's own settings would start programs.
#[tokio::test]
async fn neither_the_environment_nor_the_clone_s_settings_decide_what_is_asked() {
    let (folder, first) = repository();
    let trap = folder.path().join("trap");
    let script = format!("touch {}/sprung", folder.path().display());
    git(folder.path(), &["config", "core.fsmonitor", &script]);
    git(folder.path(), &["config", "diff.external", &script]);
    git(folder.path(), &["config", "log.showSignature", "true"]);
    let second = commit(folder.path(), "a.txt", "2", "Second");
    std::fs::remove_file(folder.path().join("sprung")).ok();
    let git = asked_without(folder.path(), &["GIT_DIR", "GIT_EXTERNAL_DIFF"]);
    assert_eq!(git.head().await.unwrap().commit, second);
    assert_eq!(git.changed(&first, &second).await.unwrap(), Changed::Files(vec!["a.txt".into()]));
    assert!(!folder.path().join("sprung").exists() && !trap.exists());
}
