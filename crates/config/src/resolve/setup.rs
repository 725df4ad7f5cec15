//! What hosts need before their first deployment.

use std::path::Path;

use lockgate_model::{
    ComposeLayout, HostFolder, HostProgram, HostSetup, HostUpload, Millis, PATIENCE_DEFAULT, Router, Runtime,
    Template,
};

use super::reader::{Holes, Reader, quote};
use crate::at::{At, Either, Words};
use crate::error::{Kind, Problem};
use crate::raw;
use crate::raw_setup::{Folder, Program, Setup};

/// Longest owner: two names of useradd(8) with their colon.
const OWNER_CHARS_MAX: usize = 65;
/// Set-user-id and the like have no use on a folder here.
const MODE_MAX: u32 = 0o7777;
/// The names by which Compose finds a file in a folder.
const COMPOSE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// `None` where the environment says nothing of what its hosts need.
pub fn resolve(
    reader: &mut Reader<'_>,
    raw: &raw::Environment,
    parts: Option<&(Runtime, Router)>,
) -> Option<Box<HostSetup>> {
    let (runtime, router) = (parts.map(|(runtime, _)| runtime), parts.map(|(_, router)| router));
    let upload = upload(reader, raw, runtime);
    let Some(source) = &raw.setup else {
        return upload.map(|upload| Box::new(HostSetup { upload, ..HostSetup::default() }));
    };
    if runtime.is_none() && raw.runtime.is_none() {
        let hint = "add `runtime: compose`, or leave `setup` out";
        let message = "an environment without a runtime has no hosts to set up";
        reader.report(Problem::new(Kind::MissingKey, source.place, message).hint(hint));
    }
    let Setup { wait_for, patience, docker, lockgate, folders } = &source.value;
    let patience = reader.span("`patience`", patience.as_ref(), Millis(1), PATIENCE_DEFAULT);
    Some(Box::new(HostSetup {
        wait_for: wait_for.as_ref().and_then(|path| absolute(reader, "`wait_for`", path)),
        patience,
        installs_docker: docker.as_ref().is_some_and(|source| installs_docker(reader, source, runtime)),
        program: match lockgate {
            Some(source) => program(reader, source, router),
            None => HostProgram::Running,
        },
        folders: folders
            .0
            .iter()
            .filter_map(|(path, folder)| self::folder(reader, path, &folder.value))
            .collect(),
        upload: upload.unwrap_or_default(),
    }))
}

/// A path on the host that is the same for all services.
fn absolute(reader: &mut Reader<'_>, what: &str, source: &At<String>) -> Option<String> {
    let text = reader.line(what, source)?;
    let path = Path::new(&text);
    let is_plain =
        path.is_absolute() && path.file_name().is_some() && !text.split('/').any(|part| part == "..");
    if !is_plain {
        let hint = "write it from `/` on, without `..`, such as /opt/setup_complete";
        reader.invalid(source.place, format!("{what} {} is no absolute path", quote(source)), hint);
    }
    is_plain.then(|| text.trim_end_matches('/').to_owned())
}

fn installs_docker(reader: &mut Reader<'_>, source: &At<String>, runtime: Option<&Runtime>) -> bool {
    let Some(text) = reader.text(source) else { return false };
    if text != "install" {
        let hint = "write `docker: install`, or leave it out where Docker is brought by other means";
        reader.invalid(source.place, format!("`docker` {} is not valid", quote(source)), hint);
        return false;
    }
    if matches!(runtime, Some(Runtime::Process(_))) {
        let message = "`docker: install` installs what nothing here needs: services are processes";
        reader.conflict(source.place, message, "leave it out, or write `runtime: compose`");
    }
    true
}

fn program(reader: &mut Reader<'_>, source: &At<Program>, router: Option<&Router>) -> HostProgram {
    let named = match &source.value {
        Program::Flag(false) => return HostProgram::Off,
        Program::Flag(true) => return HostProgram::Running,
        Program::Files(Words::Line(text)) => vec![At { value: text.clone(), place: source.place }],
        Program::Files(Words::List(files)) => files.clone(),
    };
    if named.is_empty() {
        let hint = "name a file, `lockgate: dist/lockgate-aarch64`, or write `lockgate: false`";
        reader.invalid(source.place, "`lockgate` is empty", hint);
    }
    if matches!(router, Some(Router::None | Router::Caddy(_) | Router::Nginx(_))) {
        let message = "`lockgate` names a program that no host here needs: it is for `router: builtin`";
        reader.conflict(source.place, message, "leave it out");
    }
    HostProgram::Files(named.iter().filter_map(|one| reader.line("`lockgate`", one)).collect())
}

fn folder(reader: &mut Reader<'_>, path: &At<String>, raw: &Folder) -> Option<HostFolder> {
    let path = absolute(reader, "the folder", path)?;
    let owner = match &raw.owner {
        Some(source) => Some(owner(reader, source)?),
        None => None,
    };
    let mode = match &raw.mode {
        Some(source) => Some(mode(reader, source)?),
        None => None,
    };
    Some(HostFolder { path, owner, mode })
}

fn owner(reader: &mut Reader<'_>, source: &At<String>) -> Option<String> {
    let text = reader.line("`owner`", source)?;
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && name.chars().all(legal)
    };
    let is_good = text.len() <= OWNER_CHARS_MAX && text.splitn(2, ':').all(is_name);
    if !is_good {
        let hint = "write `user`, `user:group`, or numbers: \"1000:1000\"";
        reader.invalid(source.place, format!("`owner` {} is not valid", quote(source)), hint);
    }
    is_good.then_some(text)
}

fn mode(reader: &mut Reader<'_>, source: &At<String>) -> Option<u32> {
    let text = reader.line("`mode`", source)?;
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    let is_octal =
        (3..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| is_octal && *mode <= MODE_MAX);
    if mode.is_none() {
        let hint = "write it as chmod has it: \"0750\"";
        reader.invalid(source.place, format!("`mode` {} is not valid", quote(source)), hint);
    }
    mode
}

/// `None` where nothing is uploaded.
fn upload(
    reader: &mut Reader<'_>,
    raw: &raw::Environment,
    runtime: Option<&Runtime>,
) -> Option<Vec<HostUpload>> {
    let Either::Full(source) = &raw.runtime.as_ref()?.value else { return None };
    let source = source.compose.as_ref()?.value.upload.as_ref()?;
    let named: Vec<At<String>> = match &source.value {
        Words::Line(text) => vec![At { value: text.clone(), place: source.place }],
        Words::List(list) => list.clone(),
    };
    let Some(first) = named.first() else {
        reader.invalid(
            source.place,
            "`upload` is empty",
            "name the Compose file first: `upload: docker-compose.yml`",
        );
        return None;
    };
    let mut files = Vec::new();
    for one in &named {
        files.push(reader.file("`upload`", one, Holes::Slot)?);
    }
    let uploads = below_the_first(reader, &named, &files);
    if let Some(Runtime::Compose(compose)) = runtime {
        let name = base(files[0].as_str());
        match &compose.layout {
            ComposeLayout::Folders(_) if !COMPOSE_NAMES.contains(&name) => {
                let hint =
                    format!("call it docker-compose.yml, or write `file: /…/{name}` in the place of `dir`",);
                reader.conflict(
                    first.place,
                    format!("Compose does not look for {} in a folder", quote(first)),
                    hint,
                );
            }
            ComposeLayout::File(file) if base(file.as_str()) != name => {
                let message =
                    format!("`file` and the first of `upload`, {}, have different names", quote(first));
                reader.conflict(
                    first.place,
                    message,
                    "name the Compose file first, and call it as on the host",
                );
            }
            ComposeLayout::Folders(_) | ComposeLayout::File(_) => {}
        }
    }
    Some(uploads)
}

/// The others keep their place below the first one's folder.
fn below_the_first(reader: &mut Reader<'_>, named: &[At<String>], files: &[Template]) -> Vec<HostUpload> {
    let folder = parent(files[0].as_str());
    let mut uploads: Vec<HostUpload> = Vec::new();
    for (source, file) in named.iter().zip(files) {
        let Some(to) = below(file.as_str(), folder).and_then(|rest| Template::new(rest).ok()) else {
            let message = format!("{} is not below the folder of the first of `upload`", quote(source));
            let hint = "each file keeps its place below the Compose file's folder: put them beside it";
            reader.conflict(source.place, message, hint);
            continue;
        };
        if uploads.iter().any(|known| known.to == to) {
            reader.conflict(source.place, format!("{} is uploaded twice", quote(source)), "keep one of them");
        }
        uploads.push(HostUpload { from: file.clone(), to });
    }
    uploads
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn base(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// What is left of the path below a folder; `./` in front means nothing.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let bare = |text: &'a str| text.strip_prefix("./").unwrap_or(text);
    let folder = folder.strip_prefix("./").unwrap_or(folder);
    match folder {
        "" | "." => Some(bare(path)).filter(|path| !path.starts_with('/')),
        folder => bare(path).strip_prefix(folder)?.strip_prefix('/'),
    }
    .filter(|rest| !rest.is_empty())
}
