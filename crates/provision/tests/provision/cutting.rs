//! This machine as a host whose connection breaks after some calls.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use lockgate_local::Local;
use lockgate_model::{HostId, Millis, SetupHeadway};
use lockgate_ports::{
    Command, Ended, Endpoint, Host, HostFile, HostStream, LineSink, Output, PortError, Swapped, Upload,
    Uploaded,
};
use lockgate_provision::Told;

/// Counts the calls, each of which is a request over a network, and answers no more than so many.
pub struct Cutting {
    /// Another than `local`: nobody takes this process' environment for the host's.
    id: HostId,
    inner: Local,
    calls: AtomicUsize,
    most: usize,
    /// Who acts there, by number; `None`: whoever runs the test.
    user: Option<u32>,
    /// For every command.
    variables: Vec<(String, String)>,
}

impl Cutting {
    pub fn after(most: usize) -> Cutting {
        let id = HostId::new("box").unwrap();
        Cutting {
            id,
            inner: Local::new(),
            calls: AtomicUsize::new(0),
            most,
            user: None,
            variables: Vec::new(),
        }
    }

    pub fn as_user(user: u32) -> Cutting {
        Cutting { user: Some(user), ..Cutting::never() }
    }

    pub fn with(name: &str, value: &str) -> Cutting {
        Cutting { variables: vec![(name.to_owned(), value.to_owned())], ..Cutting::never() }
    }

    /// With more variables, for every command.
    pub fn and_with(mut self, name: &str, value: &str) -> Cutting {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn never() -> Cutting {
        Cutting::after(usize::MAX)
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Who acts there; `None`: whoever runs the test.
    pub fn and_user(mut self, user: Option<u32>) -> Cutting {
        self.user = user;
        self
    }

    fn as_there(&self, command: &Command) -> Command {
        let mut command = command.clone();
        command.env.extend(self.variables.iter().cloned());
        if let Some(user) = self.user {
            let become_them =
                ["setpriv", &format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"];
            command.argv.splice(0..0, become_them.map(str::to_owned));
        }
        command
    }

    fn call(&self) -> Result<(), PortError> {
        match self.calls.fetch_add(1, Ordering::Relaxed) < self.most {
            true => Ok(()),
            false => Err(PortError::unreachable("the connection broke")),
        }
    }
}

#[async_trait]
impl Host for Cutting {
    fn id(&self) -> &HostId {
        &self.id
    }
    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        self.call()?;
        self.inner.exec(&self.as_there(command)).await
    }
    async fn exec_lines(&self, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError> {
        self.call()?;
        self.inner.exec_lines(&self.as_there(command), sink).await
    }
    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.call()?;
        self.inner.read(path).await
    }
    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.call()?;
        self.inner.read_own(path).await
    }
    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.call()?;
        self.inner.write(path, content, mode).await
    }
    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.call()?;
        self.inner.write_own(path, content, mode).await
    }
    async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded, PortError> {
        self.call()?;
        self.inner.upload(upload).await
    }
    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        self.call()?;
        self.inner.names(folder, prefix).await
    }
    async fn remove(&self, path: &str) -> Result<(), PortError> {
        self.call()?;
        self.inner.remove(path).await
    }
    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        self.call()?;
        self.inner.swap(path, expected, content).await
    }
    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        self.call()?;
        self.inner.connect(endpoint, timeout).await
    }
    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.call()?;
        self.inner.disk_free_mib(path).await
    }
}

/// Keeps what is told.
#[derive(Debug, Default)]
pub struct Heard(pub Mutex<Vec<SetupHeadway>>);

impl Heard {
    pub fn made(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let made = |headway: &SetupHeadway| match headway {
            SetupHeadway::Made { kind, name, .. } => {
                Some(format!("{} {}", kind.as_str(), name.rsplit('/').next().unwrap()))
            }
            SetupHeadway::Waits { .. } | SetupHeadway::Said { .. } => None,
        };
        heard.iter().filter_map(made).collect()
    }

    pub fn said(&self) -> Vec<String> {
        let heard = self.0.lock().unwrap();
        let said = |headway: &SetupHeadway| match headway {
            SetupHeadway::Said { line, .. } => Some(line.clone()),
            SetupHeadway::Waits { .. } | SetupHeadway::Made { .. } => None,
        };
        heard.iter().filter_map(said).collect()
    }
}

impl Told for Heard {
    fn headway(&self, headway: &SetupHeadway) {
        self.0.lock().unwrap().push(headway.clone());
    }
}
