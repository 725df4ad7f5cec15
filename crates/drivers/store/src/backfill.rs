//! Fills in what version 2 knows of a run: its project and its digest.

use lockgate_model::{Digest, ProjectName};

use crate::connection::{Connection, Value};
use crate::error::Trouble;
use crate::record::subject;

/// Runs that are read at once.
const PAGE: i64 = 500;

/// Of all runs that lack it. A run whose first event or release cannot be read is taken for one of a project that another run
/// is of (a file is of one folder); it stays damaged. Where there is none, it stays as it is.
pub(crate) async fn fill_in(connection: &mut Connection) -> Result<(), Trouble> {
    let mut fallback: Option<ProjectName> = None;
    let mut unreadable = Vec::new();
    let mut after = String::new();
    loop {
        let sql = "SELECT CAST(runs.run AS TEXT) AS run, CAST(runs.release AS TEXT) AS release, \
                   (SELECT CAST(events.kind AS TEXT) FROM events WHERE events.run = runs.run AND events.seq = 0) AS kind \
                   FROM runs WHERE runs.project = '' AND runs.run > $1 ORDER BY runs.run LIMIT $2";
        let rows = connection.rows(sql, &[after.clone().into(), PAGE.into()]).await?;
        for row in &rows {
            after = row.text("run")?;
            let project = row.text_or_none("kind")?.as_deref().and_then(project_of);
            let digest = digest_of(&row.text("release")?);
            match (project, digest) {
                (Some(project), Some(digest)) => {
                    set(connection, &after, &project, &digest).await?;
                    fallback = Some(project);
                }
                (_, digest) => unreadable.push((after.clone(), digest)),
            }
        }
        if rows.is_empty() {
            break;
        }
    }
    for (run, digest) in unreadable {
        if let Some(project) = &fallback {
            set(connection, &run, project, digest.as_deref().unwrap_or_default()).await?;
        }
    }
    Ok(())
}

/// Whether a program of version 1 has begun a run since the schema was brought up.
pub(crate) async fn is_needed(connection: &mut Connection) -> Result<bool, Trouble> {
    let sql = "SELECT CAST(runs.run AS TEXT) AS run FROM runs WHERE runs.project = '' LIMIT 1";
    Ok(connection.row(sql, &[]).await?.is_some())
}

async fn set(
    connection: &mut Connection,
    run: &str,
    project: &ProjectName,
    digest: &str,
) -> Result<(), Trouble> {
    let values: [Value; 4] =
        [run.into(), project.as_str().into(), digest.into(), subject(run, project.as_str(), digest).into()];
    connection
        .change("UPDATE runs SET project = $2, digest = $3, subject = $4 WHERE run = $1", &values)
        .await?;
    Ok(())
}

fn project_of(kind: &str) -> Option<ProjectName> {
    let kind: serde_json::Value = serde_json::from_str(kind).ok()?;
    kind.get("plan")?.get("project")?.as_str()?.parse().ok()
}

fn digest_of(release: &str) -> Option<String> {
    let release: serde_json::Value = serde_json::from_str(release).ok()?;
    let digest: Digest = release.get("digest")?.as_str()?.parse().ok()?;
    Some(digest.to_string())
}
