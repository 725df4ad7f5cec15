//! The jobs in their order, each needing the one before.

use lockgate_model::{Artifact, Failure, FailureKind, ImageTag, Job, Tag, TagVars, quoted};
use lockgate_ports::Head;

use crate::changes::{self, Verdict};
use crate::image_job::{self, Image};
use crate::live::Seen;
use crate::voice::note;
use crate::{Asked, Parts, Ready, Shipped, Stopped, test_job};

/// Longest path that is told of a tree with changes.
const PATH_CHARS_MAX: usize = 80;
/// Paths that are told of it.
const PATHS_SHOWN: usize = 3;

/// All that comes before the deployment. Dropped in the midst of it, what is under way is ended.
///
/// # Errors
/// [`Stopped`]. No job begins after one that has failed.
pub async fn ship(parts: &Parts<'_>, asked: &Asked) -> Result<Shipped, Stopped> {
    // The hosts are asked beside git: neither needs the other, and both take their time.
    let (head, seen) = match asked.force || asked.pushed.is_some() {
        true => (parts.git.head().await, Seen::Unasked),
        false => Seen::beside((parts.status)(), parts.git.head()).await,
    };
    let head = head.map_err(|error| Stopped::before(Failure::from(error)))?;
    let is_dirty = !head.unclean.is_empty();
    // What another job has built is of a commit, whatever lies here.
    let builds = asked.job != Some(Job::Deploy);
    if builds {
        demand_clean(&head, asked).map_err(Stopped::before)?;
    }
    let (tag, others) = tags(parts, &head, is_dirty && builds).map_err(Stopped::before)?;
    // A tree with changes is another one than any that is live.
    let is_certain = asked.force || (is_dirty && builds);
    let mut since = None;
    if !is_certain {
        match changes::look(parts, asked, &head, seen).await.map_err(Stopped::before)? {
            Verdict::Skip { why, live } => return Ok(Shipped::Skipped { why, live }),
            Verdict::Ship { why, since: commit } => {
                since = commit;
                note(parts.voice, format!("there is something to ship: {why}"));
            }
        }
    }
    let again = asked.force;
    let image = Image { parts, head: &head, is_dirty: is_dirty && builds, tag: &tag, others: &others, again };
    let mut allowed = Vec::new();
    let shipped = jobs(asked, &image, &mut allowed).await;
    shipped.map_err(|stopped| {
        let artifact = Artifact { allowed, ..image.of_commit() };
        Stopped { artifact: Some(Box::new(artifact)), since, ..stopped }
    })
}

/// `allowed` gets the tests that failed and were allowed to.
async fn jobs(asked: &Asked, image: &Image<'_, '_>, allowed: &mut Vec<Failure>) -> Result<Shipped, Stopped> {
    let Image { parts, head, tag, .. } = *image;
    if let (None | Some(Job::Test), Some(test)) = (asked.job, &parts.service.ship.test) {
        allowed.extend(test_job::run(parts, test, tag).await?);
    }
    let ready = match asked.job {
        Some(Job::Test) => return Ok(tested(parts, allowed.clone())),
        Some(Job::Build | Job::Push) => {
            let ready = image.make().await?;
            let came_to = built(&ready);
            return Ok(Shipped::Done { came_to, image: Some(ready), allowed: allowed.clone() });
        }
        Some(Job::Deploy) => {
            let found = image_job::find(parts, head, tag).await;
            found.map_err(|failure| Stopped::at(Job::Deploy, tag, parts.mask.failure(failure)))?
        }
        None => image.make().await?,
    };
    let artifact = Artifact { allowed: allowed.clone(), ..ready.artifact };
    Ok(Shipped::Deploy { ready: Ready { artifact, ..ready }, allowed: allowed.clone() })
}

fn tested(parts: &Parts<'_>, allowed: Vec<Failure>) -> Shipped {
    let came_to = match (&parts.service.ship.test, allowed.is_empty()) {
        (None, _) => format!("{} has no `test`, so nothing was run", parts.service.name),
        (Some(_), true) => "the test has passed".to_owned(),
        (Some(_), false) => "the test has failed, which is allowed".to_owned(),
    };
    Shipped::Done { came_to, image: None, allowed }
}

fn built(ready: &Ready) -> String {
    match &ready.artifact.digest {
        Some(digest) => format!("{} is built and in its registry: {digest}", ready.tag),
        None => format!("{} is built", ready.tag),
    }
}

/// What is built is the commit: all of it, and nothing else.
fn demand_clean(head: &Head, asked: &Asked) -> Result<(), Failure> {
    if let Some(first) = head.absent_submodules.first() {
        let shown = quoted(first, PATH_CHARS_MAX);
        return Err(Failure::new(
            FailureKind::Refused,
            format!("the submodule {shown} is not checked out, so what is here is not the commit"),
        )
        .hint("git submodule update --init --recursive; in GitHub Actions `submodules: recursive`"));
    }
    if head.unclean.is_empty() || asked.allow_dirty {
        return Ok(());
    }
    let mut shown: Vec<String> =
        head.unclean.iter().take(PATHS_SHOWN).map(|path| quoted(path, PATH_CHARS_MAX)).collect();
    if head.unclean.len() > PATHS_SHOWN {
        shown.push("…".to_owned());
    }
    let message = format!("not everything here is in the commit: {}", shown.join(", "));
    Err(Failure::new(FailureKind::Refused, message)
        .hint("commit it, or have git ignore it; `--allow-dirty` ships it as it is, under a tag of its own"))
}

/// The release's tag, and the further ones, each once.
fn tags(parts: &Parts<'_>, head: &Head, is_dirty: bool) -> Result<(Tag, Vec<Tag>), Failure> {
    let vars =
        TagVars { commit: &head.commit, is_dirty, branch: head.branch.as_deref(), git_tags: &head.tags };
    let templates = &parts.service.ship.build.tags;
    let mut tags: Vec<Tag> = Vec::new();
    for (place, template) in templates.iter().enumerate() {
        let filled = template.fill(&vars);
        if filled.is_empty() {
            left_out(parts, template, place == 0)?;
        }
        for tag in filled {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
    }
    match tags.split_first() {
        Some((first, others)) => Ok((first.clone(), others.to_vec())),
        None => Err(Failure::new(FailureKind::Refused, "the image would have no tag")
            .hint("write `build: { tags: [\"{sha}\", latest] }`")),
    }
}

fn left_out(parts: &Parts<'_>, template: &ImageTag, is_first: bool) -> Result<(), Failure> {
    let message = format!("no tag comes of {template} here: no branch, or no git tag, leads to the commit");
    match is_first {
        true => Err(Failure::new(FailureKind::Refused, message)
            .hint("begin `tags` with one that every commit has: \"{sha}\"")),
        false => {
            note(parts.voice, message);
            Ok(())
        }
    }
}
