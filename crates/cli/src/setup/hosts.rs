//! What each host of an environment needs: from the configuration and the files of this machine.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lockgate_model::{
    ComposeLayout, Digest, Environment, HostId, HostProgram, HostSetup, HostUpload, Project, RegistryHost,
    RegistryLogin, Repository, Router, Runtime, Secret, ServiceName, SlotDelivery, Template, Vars,
};
use lockgate_own::OwnError;
use lockgate_provision::{
    DotEnv, ProgramFile, UPLOAD_FILE_BYTES_MAX, Wanted, WantedFile, WantedFolder, WantedProgram,
    WantedVariables,
};

use crate::error::CliError;
use crate::wiring::{ComposeFolder, Wires};

/// The names by which Compose finds a file in a folder, the first before the others.
const COMPOSE_NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const FILE_MODE: u32 = 0o644;
const PROGRAM_MODE: u32 = 0o755;
/// The owner's permission to run a file.
const MAY_RUN: u32 = 0o100;
/// Largest program that is uploaded: ours has some 30 MB, and with all that a debugger wants 200.
const PROGRAM_BYTES_MAX: u64 = 512 * 1024 * 1024;
const MEBIBYTE: u64 = 1024 * 1024;
/// The program that runs, also where its file has been replaced meanwhile.
const RUNNING: &str = "/proc/self/exe";

/// What is wanted of the hosts of one environment.
pub struct HostsWant<'a> {
    pub project: &'a Project,
    pub environment: &'a Environment,
    pub slots: &'a SlotDelivery,
    pub setup: &'a HostSetup,
    /// Put a `.env` in the place of one that somebody else wrote.
    pub overwrite_env: bool,
    /// Read once, for all hosts.
    program: OnceCell<WantedProgram>,
}

impl<'a> HostsWant<'a> {
    pub fn new(
        project: &'a Project,
        environment: &'a Environment,
        slots: &'a SlotDelivery,
        setup: &'a HostSetup,
    ) -> Self {
        Self { project, environment, slots, setup, overwrite_env: false, program: OnceCell::new() }
    }

    /// # Errors
    /// A usage error for a file of this machine that cannot be uploaded, and where two would become the same.
    pub fn on(&self, wires: &Wires, id: &HostId) -> Result<Wanted, CliError> {
        let places = wires.compose_folders(self.environment, id)?;
        let mut wanted = Wanted::nothing(self.setup.patience);
        wanted.wait_for.clone_from(&self.setup.wait_for);
        wanted.docker = self.setup.installs_docker;
        wanted.program = self.program(id)?;
        for place in &places {
            for (number, upload) in self.setup.upload.iter().enumerate() {
                let file = self.file(place, upload, number == 0)?;
                self.add_file(&mut wanted, file)?;
            }
            self.add_folder(&mut wanted, place);
        }
        for folder in &self.setup.folders {
            match wanted.folders.iter_mut().find(|known| known.path == folder.path) {
                Some(known) => (known.owner, known.mode) = (folder.owner.clone(), folder.mode),
                None => wanted.folders.push(WantedFolder {
                    path: folder.path.clone(),
                    owner: folder.owner.clone(),
                    mode: folder.mode,
                    is_ours: false,
                }),
            }
        }
        wanted.variables = self.variables(&places)?;
        wanted.logins = self.logins(&places);
        // A folder comes before those within it.
        wanted.folders.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(wanted)
    }

    /// The proxy on a host is this program, which this machine has and another one has to get.
    fn program(&self, id: &HostId) -> Result<Option<WantedProgram>, CliError> {
        let is_needed = matches!(self.slots.router, Router::Builtin(_)) && !id.is_local();
        if !is_needed || self.setup.program == HostProgram::Off {
            return Ok(None);
        }
        if let Some(known) = self.program.get() {
            return Ok(Some(known.clone()));
        }
        let read = match &self.setup.program {
            HostProgram::Files(names) => {
                let files = names.iter().map(|name| named_program(&self.project.root.join(name), name));
                WantedProgram { files: files.collect::<Result<_, _>>()?, is_named: true }
            }
            HostProgram::Running | HostProgram::Off => {
                let (content, _) = whole(Path::new(RUNNING), PROGRAM_BYTES_MAX).map_err(|why| {
                    CliError::usage(
                        format!("this program, which the hosts need, {why}"),
                        "name one: `setup: { lockgate: path/to/lockgate }`, or none: `lockgate: false`",
                    )
                })?;
                let version = Some(env!("CARGO_PKG_VERSION").to_owned());
                let file = ProgramFile::new("this program", version, content);
                WantedProgram { files: vec![file], is_named: false }
            }
        };
        Ok(Some(self.program.get_or_init(|| read).clone()))
    }

    /// What the services in each folder have in their `env`, taken together; a folder without any has an empty one.
    fn variables(&self, places: &[ComposeFolder<'_>]) -> Result<Vec<WantedVariables>, CliError> {
        let mut folders: BTreeMap<&str, BTreeMap<&str, (&ServiceName, &Secret)>> = BTreeMap::new();
        let mut partial: Vec<&str> = Vec::new();
        for place in places {
            // A folder without any: what Lockgate wrote there before is taken out.
            let known = folders.entry(&place.path).or_default();
            if !place.service.env_from.is_empty() {
                partial.push(&place.path);
            }
            for (name, value) in &place.service.env {
                let (whose, first) = known.entry(name).or_insert((&place.service.name, value));
                if *first != value {
                    return Err(CliError::usage(
                        format!(
                            "{name} has different values in {whose} and {}, which have one .env",
                            place.service.name
                        ),
                        "name {service} in `dir`, so that each has a folder of its own, or call one of them otherwise",
                    ));
                }
            }
        }
        let one = |(folder, values): (&str, BTreeMap<&str, (&ServiceName, &Secret)>)| {
            let values = values.into_iter().map(|(name, (_, value))| (name, value));
            let content = DotEnv::new(&self.project.name, &self.environment.name, values)
                .map_err(|unwritable| CliError::usage(unwritable.to_string(), unwritable.hint()))?;
            let (path, is_partial) = (format!("{folder}/.env"), partial.contains(&folder));
            Ok(WantedVariables { path, content, overwrite: self.overwrite_env, is_partial })
        };
        folders.into_iter().map(one).collect()
    }

    /// Of the registries that the services' images come from. A process needs none.
    fn logins(&self, places: &[ComposeFolder<'_>]) -> BTreeMap<RegistryHost, RegistryLogin> {
        let images = places.iter().filter_map(|place| Repository::new(place.service.image.as_deref()?).ok());
        let known = images.filter_map(|image| {
            let registry = image.registry();
            Some((registry.clone(), self.project.registries.get(registry)?.clone()))
        });
        known.collect()
    }

    fn add_folder(&self, wanted: &mut Wanted, place: &ComposeFolder<'_>) {
        if wanted.folders.iter().all(|known| known.path != place.path) {
            wanted.folders.push(WantedFolder {
                path: place.path.clone(),
                owner: None,
                mode: None,
                is_ours: !self.setup.upload.is_empty() || !place.service.env.is_empty(),
            });
        }
    }

    fn add_file(&self, wanted: &mut Wanted, file: WantedFile) -> Result<(), CliError> {
        match wanted.files.iter().find(|known| known.path == file.path) {
            Some(known) if known.digest == file.digest => Ok(()),
            Some(known) => Err(CliError::usage(
                format!("{} and {} would both become {}", known.from, file.from, file.path),
                "name {service} or {slot} in `dir`, so that each has a folder of its own",
            )),
            None => {
                wanted.files.push(file);
                Ok(())
            }
        }
    }

    fn file(
        &self,
        place: &ComposeFolder<'_>,
        upload: &HostUpload,
        is_compose: bool,
    ) -> Result<WantedFile, CliError> {
        let from = self.fill(place, &upload.from)?;
        let (content, mode) = read(&self.project.root.join(&from), &from)?;
        let to = self.fill(place, &upload.to)?;
        let is_found_by_name = matches!(&self.slots.runtime, Runtime::Compose(runtime)
            if matches!(runtime.layout, ComposeLayout::Folders(_)));
        let rivals = match is_compose && is_found_by_name {
            true => COMPOSE_NAMES
                .iter()
                .take_while(|name| **name != to)
                .map(|name| format!("{}/{name}", place.path))
                .collect(),
            false => Vec::new(),
        };
        let digest = Digest::of(&content);
        Ok(WantedFile { path: format!("{}/{to}", place.path), from, content, digest, mode, rivals })
    }

    fn fill(&self, place: &ComposeFolder<'_>, template: &Template) -> Result<String, CliError> {
        let vars = Vars {
            service: Some(&place.service.name),
            environment: Some(&self.environment.name),
            slot: Some(place.slot),
            ..Vars::default()
        };
        let filled = template.fill(&vars);
        filled.map_err(|error| {
            CliError::usage(
                format!("`upload: {template}`: {error}"),
                "it may hold {service}, {environment} and {slot}",
            )
        })
    }
}

/// A program of this machine that somebody named.
fn named_program(path: &Path, named: &str) -> Result<ProgramFile, CliError> {
    let hint = "name static programs for Linux; relative ones start at the folder of lockgate.yaml";
    let of =
        |why: &dyn std::fmt::Display| CliError::usage(format!("`lockgate` names {named}, which {why}"), hint);
    let (content, _) = whole(path, PROGRAM_BYTES_MAX).map_err(|why| of(&why))?;
    let file = ProgramFile::new(named, None, content);
    file.unfit().map_or(Ok(file), |unfit| Err(of(&unfit)))
}

/// A file of this machine, and the mode that it gets on a host.
fn read(path: &Path, named: &str) -> Result<(Vec<u8>, u32), CliError> {
    let unreadable = |why: String| {
        CliError::usage(
            format!("`upload` names {named}, which {why}"),
            "name a file; relative ones start at the folder of lockgate.yaml",
        )
    };
    let (content, metadata) = whole(path, UPLOAD_FILE_BYTES_MAX).map_err(unreadable)?;
    let may_run = metadata.permissions().mode() & MAY_RUN != 0;
    Ok((content, if may_run { PROGRAM_MODE } else { FILE_MODE }))
}

/// All of a file, or why not, as the end of a sentence about it.
fn whole(path: &Path, bytes_max: u64) -> Result<(Vec<u8>, Metadata), String> {
    let file = match lockgate_own::open(path) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Err("is not there".to_owned()),
        Err(OwnError::Io(error)) => return Err(format!("cannot be read: {error}")),
        Err(_) => return Err("is no file".to_owned()),
    };
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let metadata = file.metadata().map_err(unreadable)?;
    let mut content = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut content).map_err(unreadable)?;
    match content.len() as u64 > bytes_max {
        true => Err(format!("has more than {} MiB", bytes_max / MEBIBYTE)),
        false => Ok((content, metadata)),
    }
}
