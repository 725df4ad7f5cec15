//! The five acts.

use lockgate_model::EventKind;

use super::load::Load;
use super::report::{Act, RESUMED, ROLLED_BACK, Report};
use super::scene::{PlanSteps, Played, Scene};
use crate::args::Format;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::sink::Screen;

pub async fn run(output: &Output) -> Result<Exit, CliError> {
    let began = lockgate_local::now();
    let scene = Scene::set_up()?;
    // With --format json the final object is the only thing on stdout.
    let screen = Screen::on_stderr(output);
    let played = tokio::select! {
        played = play(&scene, &screen) => played,
        _ = tokio::signal::ctrl_c() => Err(CliError::failed("interrupted")),
    };
    screen.finish();
    let cleaned = scene.clean_up().await;
    let (acts, swaps, tally) = played?;
    cleaned?;
    let report = Report::new(acts, swaps, tally, lockgate_local::now().since(began));
    match output.format {
        Format::Json => output.declared(&report),
        Format::Text => output.text(&report.text()),
    }
    Ok(if report.ok { Exit::Succeeded } else { Exit::Failed })
}

async fn play(scene: &Scene, screen: &Screen) -> Result<(Vec<Act>, u32, super::load::Tally), CliError> {
    screen.note("v1 is deployed for the first time, then put under load");
    let first = scene.play(&["deploy", "hello", "v1"], screen, None).await?;
    if first.exit != Some(0) {
        return Err(CliError::failed(format!("the first deployment failed with exit code {:?}", first.exit)));
    }
    let mut acts = vec![act("v1, the first", "live", &first, 0)];
    let mut swaps = first.switches;
    let load = Load::start(&scene.listen);
    let told = [
        ("v2", "v2 under load", "live", 0, "v2: a good release"),
        ("v3", "v3 fails its smoke gate", ROLLED_BACK, 3, "v3 turns healthy, but fails its smoke gate"),
        ("v4", "v4 is never healthy", "v2 untouched", 1, "v4 is never healthy"),
    ];
    for (tag, title, wanted, exit, note) in told {
        screen.note(note);
        let played = scene.play(&["deploy", "hello", tag], screen, None).await?;
        swaps += played.switches;
        acts.push(act(title, wanted, &played, exit));
    }
    screen.note("v5: the orchestrator is killed with SIGKILL right after the switch");
    let killed = scene.play(&["deploy", "hello", "v5"], screen, Some(at_the_switch)).await?;
    screen.note("killed; now `lockgate resume`");
    let resumed = scene.play(&["resume", "hello"], screen, None).await?;
    swaps += killed.switches + resumed.switches;
    acts.push(Act {
        // A kill that came too late would prove nothing.
        ok: killed.exit.is_none() && resumed.exit == Some(0) && live(scene).await? == "v5",
        to_traffic_ms: killed.to_traffic,
        ..act("v5, killed in the middle", RESUMED, &resumed, 0)
    });
    Ok((acts, swaps, load.stop().await))
}

fn at_the_switch(event: &EventKind, steps: &PlanSteps) -> bool {
    matches!(event, EventKind::StepSucceeded { step, .. } if steps.is_switch(*step))
}

fn act(title: &'static str, wanted: &'static str, played: &Played, exit: i32) -> Act {
    let seen = match played.exit {
        Some(0) => "succeeded".to_owned(),
        Some(1) => "failed, nothing was changed".to_owned(),
        Some(3) => "rolled back".to_owned(),
        Some(code) => format!("exit code {code}"),
        None => "killed".to_owned(),
    };
    Act { title, wanted, seen, ok: played.exit == Some(exit), to_traffic_ms: played.to_traffic }
}

/// The tag that is live, looked up on the host.
async fn live(scene: &Scene) -> Result<String, CliError> {
    let observed = lockgate_perform::observe(&scene.site.hosts, lockgate_perform::Depth::Status).await?;
    let live =
        observed.hosts.values().find_map(|host| Some(host.live()?.1.release.as_ref()?.tag.to_string()));
    Ok(live.unwrap_or_default())
}
