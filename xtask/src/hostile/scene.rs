//! A proxy of our own, two slots behind it, and what can be seen of it from outside.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::bench::http::{self, Address, Request};
use crate::bench::place::{self, Programs, Proxy, Running};

/// Nothing that is asked of the proxy in passing may take longer.
const READ_SECONDS_MAX: u64 = 10;

pub struct Scene {
    pub proxy: Proxy,
    pub address: SocketAddr,
    /// Ports of `blue` and `green`, both `hello`; the route begins at blue.
    pub slots: [u16; 2],
    /// How many hostile clients there are at once.
    pub clients: usize,
    _processes: [Running; 2],
    _dir: TempDir,
}

impl Scene {
    pub fn set(programs: &Programs, clients: usize) -> Result<Self> {
        let dir = place::folder()?;
        let (blue, blue_port) = place::healthy_hello(programs, "blue-1")?;
        let (green, green_port) = place::healthy_hello(programs, "green-1")?;
        let proxy = Proxy::start(programs, &dir.path().join("proxy"))?;
        let address = proxy.listen.parse().context("the proxy's address")?;
        let slots = [blue_port, green_port];
        let scene = Self { proxy, address, slots, clients, _processes: [blue, green], _dir: dir };
        scene.switch("blue")?;
        Ok(scene)
    }

    /// Sends the route to `blue` or `green`.
    pub fn switch(&self, slot: &str) -> Result<()> {
        let port = self.slots[usize::from(slot == "green")];
        self.proxy.switch(slot, &format!("{slot}-1"), port)
    }

    /// The release that answers now.
    pub fn release(&self) -> Result<String> {
        let answer = http::send(&self.proxy.public(), &Request::get("/version"))?;
        Ok(String::from_utf8_lossy(&answer.body).trim().to_owned())
    }

    /// A new connection on which these bytes were sent.
    pub fn say(&self, bytes: &[u8]) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(READ_SECONDS_MAX)))?;
        stream.write_all(bytes)?;
        Ok(stream)
    }

    /// What the proxy's memory holds, in bytes.
    pub fn memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.proxy.process.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// How many client connections the proxy has.
    pub fn connections(&self) -> Result<usize> {
        let metrics = http::send(&self.proxy.admin(), &Request::get("/metrics"))?;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let value = metrics.lines().find_map(|line| line.strip_prefix("lockgate_proxy_connections "));
        Ok(value.context("no connections in the metrics")?.parse()?)
    }

    pub fn admin(&self) -> Address {
        self.proxy.admin()
    }
}
