//! The local host with something that happens at the worst moment.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::{HostId, Millis};
use lockgate_ports::{
    Command, Endpoint, Host, HostFile, HostStream, Output, PortError, Request, Swapped, http,
};

use crate::support::local;

/// Once a file has been written, sends `request` to `endpoint`; programs do not exist, or are looked for in `programs` first.
pub struct Hooked {
    inner: Arc<dyn Host>,
    hook: Option<(Endpoint, Request)>,
    programs: Option<String>,
}

impl Hooked {
    pub fn without_programs() -> Hooked {
        Hooked { inner: local(), hook: None, programs: None }
    }

    /// A host that has other programs than this one: those in `folder` are found first.
    pub fn with_programs(folder: &std::path::Path) -> Hooked {
        Hooked { inner: local(), hook: None, programs: Some(folder.display().to_string()) }
    }

    /// Waits until nobody listens there.
    async fn is_gone(&self, endpoint: &Endpoint) {
        let bound = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while self.inner.connect(endpoint, Millis::from_secs(1)).await.is_ok() {
            assert!(std::time::Instant::now() < bound, "it still listens at {endpoint}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    pub fn meddling(endpoint: Endpoint, request: Request) -> Hooked {
        Hooked { inner: local(), hook: Some((endpoint, request)), programs: None }
    }
}

#[async_trait]
impl Host for Hooked {
    fn id(&self) -> &HostId {
        self.inner.id()
    }

    async fn exec(&self, command: &Command) -> Result<Output, PortError> {
        let Some(programs) = &self.programs else {
            return Err(PortError::not_found(format!("{} is not installed", command.argv[0])));
        };
        let path = format!("PATH={programs}:{}", std::env::var("PATH").unwrap());
        let mut command = command.clone();
        command.argv.splice(0..0, ["env".to_owned(), path]);
        self.inner.exec(&command).await
    }

    async fn read(&self, path: &str) -> Result<HostFile, PortError> {
        self.inner.read(path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.inner.write(path, content, mode).await?;
        if let Some((endpoint, request)) = &self.hook {
            let answer = http::send(self.inner.as_ref(), endpoint, request.clone()).await?;
            assert_eq!(answer.status, 200, "{}", answer.text());
            if request.target == "/stop" {
                self.is_gone(endpoint).await;
            }
        }
        Ok(())
    }

    async fn read_own(&self, path: &str) -> Result<HostFile, PortError> {
        self.inner.read_own(path).await
    }

    async fn write_own(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PortError> {
        self.inner.write_own(path, content, mode).await
    }

    async fn exec_lines(
        &self,
        command: &lockgate_ports::Command,
        sink: &mut dyn lockgate_ports::LineSink,
    ) -> Result<lockgate_ports::Ended, PortError> {
        self.inner.exec_lines(command, sink).await
    }

    async fn upload(
        &self,
        upload: lockgate_ports::Upload<'_>,
    ) -> Result<lockgate_ports::Uploaded, PortError> {
        self.inner.upload(upload).await
    }

    async fn names(&self, folder: &str, prefix: &str) -> Result<Vec<String>, PortError> {
        self.inner.names(folder, prefix).await
    }

    async fn remove(&self, path: &str) -> Result<(), PortError> {
        self.inner.remove(path).await
    }

    async fn swap(&self, path: &str, expected: Option<&[u8]>, content: &[u8]) -> Result<Swapped, PortError> {
        self.inner.swap(path, expected, content).await
    }

    async fn connect(&self, endpoint: &Endpoint, timeout: Millis) -> Result<Box<dyn HostStream>, PortError> {
        self.inner.connect(endpoint, timeout).await
    }

    async fn disk_free_mib(&self, path: &str) -> Result<u64, PortError> {
        self.inner.disk_free_mib(path).await
    }
}
