//! This machine, seen by somebody else.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{HostId, Millis};
use lockgate_ports::{
    Command, Ended, Endpoint, Host, HostFile, HostStream, LineSink, Output, PortError, Swapped, Upload,
    Uploaded,
};

use crate::support::local;

/// This machine, on which programs are started by another one.
pub struct Prefixed(Arc<dyn Host>, Vec<String>);

impl Prefixed {
    /// Nobody starts them, who may do nothing.
    pub fn by_nobody() -> Arc<dyn Host> {
        let who = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
        Arc::new(Self(local(), who.map(str::to_owned).into()))
    }

    /// Those of a folder are found first.
    pub fn with_programs_of(folder: &Path) -> Arc<dyn Host> {
        let path = format!("PATH={}:{}", folder.display(), std::env::var("PATH").unwrap());
        Arc::new(Self(local(), vec!["env".to_owned(), path]))
    }
}

#[async_trait]
impl Host for Prefixed {
    fn id(&self) -> &HostId {
        self.0.id()
    }

    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        let mut command = command.clone();
        command.argv.splice(0..0, self.1.iter().cloned());
        self.0.exec(&command).await
    }

    async fn exec_lines(&self, command: &Command, sink: &mut dyn LineSink) -> Result<Ended, PortError> {
        self.0.exec_lines(command, sink).await
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.0.read(path).await
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.0.read_own(path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.0.write(path, content, mode).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.0.write_own(path, content, mode).await
    }

    async fn upload(&self, upload: Upload<'_>) -> Result<Uploaded, PortError> {
        self.0.upload(upload).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        self.0.names(folder, prefix).await
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        self.0.remove(path).await
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        self.0.swap(path, expected, content).await
    }

    async fn connect(&self, endpoint: &Endpoint, bound: Millis) -> Result<Box<dyn HostStream>, PortError> {
        self.0.connect(endpoint, bound).await
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.0.disk_free_mib(path).await
    }
}
