//! A proxy of our own, two slots behind it, and what can be seen of it from outside.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
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
    programs: Programs,
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
        let (programs, processes) = (programs.clone(), [blue, green]);
        let scene = Self { proxy, address, slots, clients, programs, _processes: processes, _dir: dir };
        scene.switch("blue")?;
        Ok(scene)
    }

    /// The same anew: a process keeps memory that it needed once.
    pub fn anew(&self) -> Result<Self> {
        Self::set(&self.programs, self.clients)
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
        Ok(self.gauges("lockgate_proxy_connections")? as usize)
    }

    /// How many requests the proxy has sent to slots and not answered to their end.
    pub fn in_flight(&self) -> Result<usize> {
        Ok(self.gauges("lockgate_proxy_in_flight")? as usize)
    }

    /// The sum of a metric over all its labels.
    fn gauges(&self, name: &str) -> Result<u64> {
        let metrics = http::send(&self.proxy.admin(), &Request::get("/metrics"))?;
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let values = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{'])))
            .map(|rest| rest.rsplit(' ').next().and_then(|value| value.parse::<u64>().ok()));
        let values: Option<Vec<u64>> = values.collect();
        let values = values.filter(|values| !values.is_empty());
        Ok(values.with_context(|| format!("no {name} in the metrics"))?.iter().sum())
    }

    pub fn admin(&self) -> Address {
        self.proxy.admin()
    }
}

/// What the kernel keeps for all TCP sockets of this machine, in bytes.
pub fn kernel_memory() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/net/sockstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:")).context("no TCP in sockstat")?;
    let pages = line.split_once(" mem ").map(|(_, pages)| pages.trim()).context("no mem in sockstat")?;
    let page = place::run(Command::new("getconf").arg("PAGESIZE"))?;
    Ok(pages.parse::<u64>()? * page.trim().parse::<u64>()?)
}
