//! The life of the app: boot, listen, accept, die or stop, drain.

use crate::app::App;
use crate::options::HelloOptions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::{Future, pending};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Pause after an accept that failed for want of something (file descriptors), so as not to spin.
const ACCEPT_PAUSE_MS: u64 = 50;

/// Runs the app until SIGTERM or SIGINT, or until it dies as told.
///
/// Returns `Ok` after a stop that was asked for, `Err` for a crash, a death or a port that can't be taken.
pub async fn serve(options: HelloOptions) -> io::Result<()> {
    // The handlers come first: as process 1 of a container, a process without them can't be stopped at all.
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let release = options.version.clone();
    let ignore_term = options.ignore_term;
    let stop = async move {
        loop {
            tokio::select! {
                _ = term.recv() => {
                    if !ignore_term {
                        return Ok("SIGTERM");
                    }
                    log(&format!("ignoring SIGTERM release={release}"))?;
                }
                _ = interrupt.recv() => return Ok("SIGINT"),
            }
        }
    };
    tokio::pin!(stop);

    let slot = options.slot.as_deref().unwrap_or("-");
    log(&format!("start release={} slot={slot} pid={}", options.version, std::process::id()))?;
    if options.crash {
        return Err(io::Error::other("crashing at once, as told by CRASH"));
    }
    tokio::select! {
        () = sleep(options.boot) => {}
        reason = &mut stop => return log(&format!("stop release={} reason={} booting", options.version, reason?)),
    }
    let address = (options.host, options.effective_port());
    let listener = TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}:{}: {error}", address.0, address.1))
    })?;
    serve_on(listener, options, stop).await
}

/// The same on a listener of the caller's, until `stop` yields its reason; `BOOT_MS`, `CRASH`, ports and
/// signals are the caller's business.
pub async fn serve_on(
    listener: TcpListener,
    options: HelloOptions,
    stop: impl Future<Output = io::Result<&'static str>>,
) -> io::Result<()> {
    let release = options.version.clone();
    let slot = options.slot.as_deref().unwrap_or("-");
    log(&format!("ready release={release} slot={slot} listening={}", listener.local_addr()?))?;
    let shutdown_limit = options.shutdown;
    let death = death(&options);
    let stopping = CancellationToken::new();
    let app = Arc::new(App::new(options, stopping.clone()));
    // Dropping the set cuts what is left, so nothing outlives this function on a shared runtime.
    let mut connections = JoinSet::new();

    tokio::pin!(death, stop);
    let reason = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(converse(stream, app.clone(), stopping.clone()))),
                Err(error) => {
                    eprintln!("hello: accept failed: {error}");
                    sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
                }
            },
            Some(ended) = connections.join_next() => ended?,
            reason = &mut stop => break reason?,
            error = &mut death => return Err(error),
        }
    };

    drop(listener);
    stopping.cancel();
    // Upgraded connections have left the set; the gauge still counts them.
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            ended?;
        }
        app.in_flight.none_left().await;
        io::Result::Ok(())
    };
    let cut = match timeout(shutdown_limit, drained).await {
        Ok(drained) => drained.map(|()| 0)?,
        Err(_) => app.in_flight.count(),
    };
    log(&format!("stop release={release} reason={reason} cut={cut}"))
}

/// Serves one connection until its peer leaves; once the app stops, until the request at hand is answered.
async fn converse(stream: TcpStream, app: Arc<App>, stopping: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        eprintln!("hello: connection without TCP_NODELAY: {error}");
    }
    let service = service_fn(move |request| app.clone().answer(request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Peers hang up in the middle all the time; that is theirs to know.
    if let Err(error) = ended
        && !error.is_incomplete_message()
        && !error.is_timeout()
    {
        eprintln!("hello: connection ended: {error}");
    }
}

/// Ends when the app was told to die; never otherwise.
fn death(options: &HelloOptions) -> impl Future<Output = io::Error> + use<> {
    let after = options.die_after.map(|after| options.healthy_after + after);
    async move {
        match after {
            Some(after) => sleep(after).await,
            None => pending().await,
        }
        io::Error::other("dying, as told by DIE_AFTER_MS")
    }
}

fn log(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "hello: {line}")?;
    out.flush()
}
