//! Sessions of one orchestrator in one process: who may go on, who is refused, and what becomes of one that is undone, left
//! or that nobody listens to. On a paused clock.

mod artifact;
mod named;
mod scene;
mod telling;
mod wake;

use lockgate_model::{
    Aim, By, CheckWant, EnvironmentName, EventKind, FailureKind, Gates, HistoryFilter, HostId, LogsWant,
    Moment, Outcome, Refusal, Requester, Resume, ServiceName, Slot, Tag, Told, Want,
};
use lockgate_orchestrator::Orchestrator;
use scene::{Scene, deploy, heard, kim, web};

#[tokio::test(start_paused = true)]
async fn a_session_tells_its_run_its_events_and_its_end() {
    let scene = Scene::new();
    let mut session = scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap();
    assert_eq!(session.run.now(), None, "nothing has begun");
    let run = session.run.first().await.unwrap();
    let report = session.end().await.unwrap();
    assert_eq!((report.run, report.outcome), (Some(run), Outcome::Succeeded { warnings: Vec::new() }));
    // Nobody listened meanwhile, and it went on.
    let told = heard(&mut session).await;
    let events: Vec<_> = told
        .into_iter()
        .map(|told| match told {
            Told::Event(event) => *event,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(events, scene.orchestrator.events_of(run).await.unwrap(), "it is what the journal has");
    assert!(matches!(events.last().unwrap().kind, EventKind::RunEnded { .. }));
    assert_eq!(scene.live().as_deref(), Some("v1"));
    let again = scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap().end().await.unwrap();
    assert_eq!(again.run, None, "there is nothing to do");
}

#[tokio::test(start_paused = true)]
async fn of_two_sessions_in_one_process_the_second_is_refused_until_the_first_has_ended() {
    let scene = Scene::new();
    scene.door.shut();
    let mut first = scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    let mut second = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    assert_ne!(first.session, second.session);
    let refusal = second.end().await.unwrap_err();
    let Refusal::Held { holder, failure, .. } = &refusal else { panic!("{refusal:?}") };
    assert_eq!((holder.session.as_str(), refusal.exit().code()), (first.session.as_str(), 6));
    assert!(failure.message.contains("kim@desk (pid 7) holds the lease on web1"), "{failure}");
    let told = heard(&mut second).await;
    assert!(
        matches!(&told[..], [Told::Waiting { owner, up_to }] if owner == "kim@desk" && up_to.0 == 15_000),
        "{told:?}"
    );
    assert_eq!(second.run.now(), None);
    scene.door.open();
    assert_eq!(first.end().await.unwrap().outcome.as_str(), "succeeded");
    assert_eq!(scene.live().as_deref(), Some("v1"));
    let mut third = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    let report = third.end().await.unwrap();
    assert_eq!((report.outcome.as_str(), report.recovered), ("succeeded", None));
    assert_eq!(scene.live().as_deref(), Some("v2"));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_left_is_taken_over_by_the_next_session() {
    let scene = Scene::new();
    scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap().end().await.unwrap();
    scene.door.shut();
    let mut first = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    let run = first.run.now().unwrap();
    first.stop.leave();
    let refusal = first.end().await.unwrap_err();
    let Refusal::Abandoned { abandoned } = &refusal else { panic!("{refusal:?}") };
    assert_eq!((abandoned.run, refusal.exit().code()), (Some(run), 4));
    assert_eq!(abandoned.release.as_ref().unwrap().tag.as_str(), "v2");
    let line = abandoned.line();
    assert_eq!(line.result.live[&HostId::new("web1").unwrap()], Slot::Blue, "v1 serves");
    assert_eq!(line.result.commands, ["lockgate --env prod status web", "lockgate --env prod resume web"]);
    let told = heard(&mut first).await;
    assert_eq!(told.last(), Some(&Told::Leaving));
    assert!(!told.iter().any(
        |told| matches!(told, Told::Event(event) if matches!(event.kind, EventKind::UnwindStarted { .. }))
    ));
    // What was under way is kept while whoever had it left holds the handle, and no longer.
    scene.door.is_met_by(1).await;
    drop(first);
    scene.door.is_met_by(0).await;
    scene.door.open();
    let mut second = scene.orchestrator.resume(&Resume::of(web()), &kim()).await.unwrap();
    let resumed = second.end().await.unwrap();
    assert_eq!(resumed.refusal, None);
    let [ended] = &resumed.ended[..] else { panic!("{resumed:?}") };
    assert_eq!((ended.run, ended.outcome.as_str()), (run, "succeeded"));
    assert_eq!((resumed.exit().code(), scene.live().as_deref()), (0, Some("v2")));
    let adopted = heard(&mut second)
        .await
        .into_iter()
        .any(|told| matches!(told, Told::Event(event) if matches!(event.kind, EventKind::Adopted { .. })));
    assert!(adopted, "it is the very run that goes on");
}

#[tokio::test(start_paused = true)]
async fn what_was_left_ends_by_itself_where_the_handle_is_kept() {
    let scene = Scene::new();
    scene.door.shut();
    let mut session = scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    session.stop.leave();
    session.end().await.unwrap_err();
    scene.door.is_met_by(0).await;
    assert!(session.run.now().is_some());
    // The lease is renewed no longer: the next one goes on after its lifetime.
    scene.door.open();
    let report = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap().end().await.unwrap();
    assert_eq!(report.recovered.unwrap().0, session.run.now().unwrap());
    assert_eq!(scene.live().as_deref(), Some("v2"));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_undone_with_who_wanted_it_and_why() {
    let scene = Scene::new();
    scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap().end().await.unwrap();
    for (by, reason) in [
        (kim(), "interrupted by the user"),
        (kim().why("the wrong tag"), "interrupted by the user: the wrong tag"),
        (Requester::person("lee@laptop").why("the wrong tag"), "interrupted by lee@laptop: the wrong tag"),
        (Requester::new(By::Ci, "shop#17"), "interrupted by ci shop#17"),
    ] {
        scene.door.shut();
        let mut session = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
        scene.door.is_met_by(1).await;
        session.stop.undo(&by);
        // Who comes second does not change why.
        session.stop.undo(&Requester::person("max@phone"));
        scene.door.open();
        let report = session.end().await.unwrap();
        assert_eq!(report.exit().code(), 1, "{report:?}");
        assert_eq!(report.outcome.failure().unwrap().message, reason);
        assert_eq!(scene.live().as_deref(), Some("v1"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_undone_before_it_has_begun_changes_nothing() {
    let scene = Scene::new();
    scene.door.shut();
    let first = scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    let mut second = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    second.stop.undo(&Requester::new(By::Agent, "claude"));
    let refusal = second.end().await.unwrap_err();
    let message = &refusal.failure().unwrap().message;
    assert_eq!(
        message,
        "interrupted by agent claude while kim@desk (pid 7) held the lease; nothing was changed"
    );
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_handle_is_dropped_goes_on_to_its_end() {
    let scene = Scene::new();
    drop(scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap());
    assert_eq!(scene.is_over().await, "succeeded");
    assert_eq!(scene.live().as_deref(), Some("v1"));
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_task_is_ended_says_that_nothing_is_known() {
    let scene = Scene::new();
    scene.door.shut();
    let (started, session) = std::sync::mpsc::channel();
    let orchestrator = scene.orchestrator.clone();
    // What goes on in a runtime that ends goes with it.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        started.send(runtime.block_on(orchestrator.start(&deploy("v1"), &kim())).unwrap()).unwrap();
    })
    .join()
    .unwrap();
    let mut session = session.recv().unwrap();
    let refusal = session.end().await.unwrap_err();
    assert!(matches!(refusal, Refusal::CutOff { .. }), "{refusal:?}");
    assert_eq!(refusal.exit().code(), 7);
    assert!(refusal.failure().unwrap().hints.to_string().contains("`lockgate resume`"));
    assert_eq!(heard(&mut session).await, []);
}

#[tokio::test(start_paused = true)]
async fn history_says_who_asked_where_that_is_not_plainly_who_ran_it() {
    let scene = Scene::new();
    let agent = Requester::new(By::Agent, "claude for kim").why("the fix for #12");
    for (tag, requester) in [("v1", &kim()), ("v2", &agent)] {
        scene.orchestrator.start(&deploy(tag), requester).await.unwrap().end().await.unwrap();
    }
    let filter = HistoryFilter { limit: 20, ..HistoryFilter::default() };
    let runs = scene.orchestrator.history(&filter).await.unwrap();
    let shown: Vec<_> = runs
        .iter()
        .map(|run| (run.release.tag.as_str(), run.owner.as_str(), run.requester.as_ref()))
        .collect();
    assert_eq!(shown, [("v2", "kim@desk", Some(&agent)), ("v1", "kim@desk", None)]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_make_sense_is_refused_with_what_would() {
    let scene = Scene::new();
    let prod = || Some(EnvironmentName::new("prod").unwrap());
    let refused = async |want: Want| {
        let refusal = scene.orchestrator.start(&want, &kim()).await.map(drop).unwrap_err();
        assert_eq!(refusal.exit().code(), 2, "{refusal:?}");
        let failure = refusal.failure().unwrap().clone();
        (failure.message, failure.hints.to_string())
    };
    let app = Want::deploy(ServiceName::new("app").unwrap(), Tag::new("v1").unwrap());
    assert_eq!(refused(app).await, ("there is no service \"app\"".into(), "there are: web".into()));
    let in_test = deploy("v1").in_environment(EnvironmentName::new("test").unwrap());
    assert_eq!(
        refused(in_test).await,
        ("environment test is only checked, never deployed to".into(), "choose one with --env: prod".into())
    );
    let nowhere = deploy("v1").in_environment(EnvironmentName::new("nowhere").unwrap());
    assert_eq!(
        refused(nowhere).await,
        ("there is no environment \"nowhere\"".into(), "there are: test, prod".into())
    );
    let skip =
        |host: &str| Want { skip: vec![HostId::new(host).unwrap()], environment: prod(), ..deploy("v1") };
    assert_eq!(
        refused(skip("web9")).await,
        ("prod has no host \"web9\" that could be left out".into(), "there are: web1".into())
    );
    assert_eq!(
        refused(skip("web1")).await,
        ("without web1 no host of prod is left".into(), "there are: web1".into())
    );
    let check = CheckWant { service: web(), environment: None, moment: Moment::After };
    let refusal = scene.orchestrator.check(&check).await.unwrap_err();
    assert_eq!(refusal.failure().unwrap().hints.to_string(), "set environments.prod.after in lockgate.yaml");
    assert_eq!(scene.live(), None);
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_answers_while_a_session_is_under_way() {
    let scene = Scene::new();
    scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap().end().await.unwrap();
    scene.door.shut();
    let mut session = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    let planned = scene.orchestrator.plan(&deploy("v3")).await.unwrap();
    assert!(planned.changes);
    let [status] = &scene.orchestrator.status(None, None).await.unwrap()[..] else { panic!("one service") };
    assert_eq!((status.image_tag().as_deref(), status.word().as_str()), (Some("v1"), "in_progress"));
    assert!(status.notes().contains("kim@desk is at work on v2"), "{}", status.notes());
    let logs = LogsWant { service: web(), environment: None, slot: None, lines: 5 };
    let [log] = &scene.orchestrator.logs(&logs).await.unwrap()[..] else { panic!("one host") };
    assert_eq!((log.slot, &log.failure), (Some(Slot::Blue), &None));
    scene.door.open();
    session.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_agreed_to_runs_that_plan_or_none() {
    let scene = Scene::new();
    let orchestrator = &scene.orchestrator;
    let digest = async |want: &Want| orchestrator.plan(want).await.unwrap().digest.unwrap();
    let end = async |want: Want| orchestrator.start(&want, &kim()).await.unwrap().end().await;
    let first = digest(&deploy("v1")).await;
    assert_eq!(digest(&deploy("v1")).await, first, "the same plan has the same name");
    let report = end(deploy("v1").exactly(first.clone())).await.unwrap();
    assert_eq!((report.outcome.as_str(), scene.live().as_deref()), ("succeeded", Some("v1")));

    let second = digest(&deploy("v2")).await;
    assert_ne!(second, digest(&deploy("v3")).await);
    assert_ne!(second, digest(&Want { aim: only_swap("v2"), ..deploy("v2") }).await);
    end(deploy("v3")).await.unwrap();
    for (want, plan) in [(deploy("v2"), second), (deploy("v3"), first)] {
        let refusal = end(want.exactly(plan)).await.unwrap_err();
        let failure = refusal.failure().unwrap();
        assert_eq!((failure.kind, refusal.exit().code()), (FailureKind::Conflict, 1), "{failure}");
        assert!(failure.message.contains("not what was agreed to"), "{failure}");
    }
    assert_eq!(scene.live().as_deref(), Some("v3"));
    // It has given its lease back.
    end(deploy("v2")).await.unwrap();
}

fn only_swap(tag: &str) -> Aim {
    Aim::Deploy { tag: Tag::new(tag).unwrap(), gates: Gates::None, again: false, artifact: None }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_agreed_to_brings_nothing_else_to_its_end() {
    let scene = Scene::new();
    scene.orchestrator.start(&deploy("v1"), &kim()).await.unwrap().end().await.unwrap();
    let plan = scene.orchestrator.plan(&deploy("v3")).await.unwrap().digest.unwrap();
    scene.door.shut();
    let mut left = scene.orchestrator.start(&deploy("v2"), &kim()).await.unwrap();
    scene.door.is_met_by(1).await;
    left.stop.leave();
    assert!(matches!(left.end().await.unwrap_err(), Refusal::Abandoned { .. }));
    drop(left);
    scene.door.open();
    let mut session = scene.orchestrator.start(&deploy("v3").exactly(plan), &kim()).await.unwrap();
    let refusal = session.end().await.unwrap_err();
    assert!(refusal.failure().unwrap().message.contains("left unfinished"), "{refusal:?}");
    let [status] = &scene.orchestrator.status(None, None).await.unwrap()[..] else { panic!("one service") };
    assert!(status.notes().contains("a run was left unfinished"), "{}", status.notes());
    // Whoever did not agree to a plan has it brought to its end, as ever.
    scene.orchestrator.start(&deploy("v3"), &kim()).await.unwrap().end().await.unwrap();
    assert_eq!(scene.live().as_deref(), Some("v3"));
}
