//! Leases against a record in memory, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use crate::common::Record;
use lockgate_engine::{LeaseError, LeaseStore, Leases};
use lockgate_model::{
    BELIEVED_TTL_SECONDS_MAX, Failure, FailureKind, HostId, Identity, LeaseRecord, Millis, Outcome,
    RECORD_BYTES_MAX, RunEnd, RunId, Stuck, TOKEN_MAX, Timestamp, WhoIsLive,
};
use tokio::time::Instant;

const TTL: Millis = Millis::from_secs(15);

fn leases(record: &Arc<Record>, pid: u32) -> Leases {
    Leases {
        stores: vec![record.clone()],
        identity: Identity {
            owner: format!("user{pid}"),
            boot_id: format!("boot{pid}"),
            pid,
            started: 1,
            session: "one".into(),
        },
        surely_dead: Arc::new(|_| false),
        ttl: TTL,
    }
}

#[tokio::test(start_paused = true)]
async fn a_living_holder_keeps_its_lease() {
    let record = Record::of("web1");
    let first = leases(&record, 1).acquire().await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let second = leases(&record, 2).acquire().await;
    assert!(
        matches!(second, Err(LeaseError::Held { ref holder, .. }) if holder.pid == 1),
        "{:?}",
        second.err()
    );
    first.fence.check(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_answer_lets_no_other_lease_expire() {
    let (alive, dead) = (Record::of("alive"), Record::of("dead"));
    let both = Leases { stores: vec![alive.clone(), dead.clone()], ..leases(&alive, 1) };
    let _held = both.acquire().await.unwrap();
    *dead.look.lock().unwrap() = Duration::from_secs(300);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let holder = alive.record().holder.unwrap();
    assert!(!holder.has_expired(alive.now()), "{holder:?}");
}

#[tokio::test(start_paused = true)]
async fn one_machine_under_two_names_is_refused_and_its_lease_given_back() {
    let record = Record::of("web1");
    for names in [["web1", "web2"], ["web1", "web0"]] {
        let alias = record.alias(names[1]);
        let other = Record::of("web5");
        let twice = Leases { stores: vec![record.clone(), other.clone(), alias], ..leases(&record, 1) };
        let Err(LeaseError::Host(failure)) = twice.acquire().await else { panic!("it was taken twice") };
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("are the same machine"), "{failure}");
        assert!(record.record().holder.is_none() && other.record().holder.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_blocks_for_one_lifetime_and_is_fenced_out() {
    let record = Record::of("web1");
    let first = leases(&record, 1).acquire().await.unwrap();
    first.fence.fall_silent();
    let start = Instant::now();
    let second = leases(&record, 2).acquire().await.unwrap();
    assert!(start.elapsed() <= TTL.duration() + Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(record.record().token, 2);
    let lost = first.fence.check(None).await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::LeaseLost);
    second.fence.check(None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_found_out_though_the_hosts_clock_goes_back() {
    let record = Record::of("web1");
    let first = leases(&record, 1).acquire().await.unwrap();
    first.fence.fall_silent();
    *record.clock_error_millis.lock().unwrap() = -3_600_000;
    let start = Instant::now();
    leases(&record, 2).acquire().await.unwrap();
    assert!(start.elapsed() <= TTL.duration() + Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(first.fence.check(None).await.unwrap_err().kind, FailureKind::LeaseLost);
}

/// Found by the simulation: a look that takes long says nothing about how long the lease has looked like that.
#[tokio::test(start_paused = true)]
async fn a_look_that_takes_long_does_not_steal_a_living_lease() {
    let record = Record::of("web1");
    let first = leases(&record, 1).acquire().await.unwrap();
    *record.look.lock().unwrap() = Duration::from_secs(40);
    let second = leases(&record, 2).acquire().await;
    assert!(matches!(second, Err(LeaseError::Held { .. })), "{:?}", second.err());
    first.fence.check(None).await.unwrap();
}

/// A run that succeeds is as fast as it was.
#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_can_have_taken_is_not_looked_at_again() {
    let record = Record::of("web1");
    let held = leases(&record, 1).acquire().await.unwrap();
    let operations = || record.counts.lock().unwrap().operations;
    for _ in 0..20 {
        let before = operations();
        held.fence.confirm_overdue().await.unwrap();
        assert_eq!(operations(), before, "it is renewed in time");
        held.fence.confirm().await.unwrap();
        assert_eq!(operations(), before + 1);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_not_renewed_for_its_life_is_looked_at_and_one_that_was_lost_is_told_first() {
    let (web1, web2, dead) = (Record::of("web1"), Record::of("web2"), Record::of("dead"));
    let all = Leases { stores: vec![dead.clone(), web1.clone(), web2.clone()], ..leases(&web1, 1) };
    let first = all.acquire().await.unwrap();
    first.fence.fall_silent();
    tokio::time::sleep(TTL.duration()).await;
    first.fence.confirm_overdue().await.unwrap();
    let renewed = web1.record().holder.unwrap();
    assert!(!renewed.has_expired(web1.now()), "nobody has it: it goes on");
    tokio::time::sleep(TTL.duration()).await;
    let second = leases(&web2, 2).acquire().await.unwrap();
    *dead.is_silent.lock().unwrap() = true;
    for looked in [first.fence.confirm_overdue().await, first.fence.confirm().await] {
        let lost = looked.unwrap_err();
        assert_eq!((lost.kind, lost.host.as_ref()), (FailureKind::LeaseLost, Some(&web2.host)));
    }
    assert_eq!(web2.record().token, 2);
    second.fence.check(None).await.unwrap();
}

/// The host's clock was set forward, for example.
#[tokio::test(start_paused = true)]
async fn a_lease_that_a_heartbeat_has_seen_lost_is_looked_at_before_its_time() {
    let record = Record::of("web1");
    let held = leases(&record, 1).acquire().await.unwrap();
    record.take_over();
    held.fence.confirm_overdue().await.unwrap();
    tokio::time::sleep(TTL.duration() / 3 + Duration::from_millis(1)).await;
    let lost = held.fence.confirm_overdue().await.unwrap_err();
    assert_eq!(lost.kind, FailureKind::LeaseLost);
}

/// It may be the only one that cannot be put back.
#[tokio::test(start_paused = true)]
async fn a_host_that_has_fallen_silent_is_not_waited_for_to_confirm_a_lease() {
    let (web1, dead) = (Record::of("web1"), Record::of("dead"));
    let both = Leases { stores: vec![dead.clone(), web1.clone()], ..leases(&web1, 1) };
    let held = both.acquire().await.unwrap();
    *dead.every_look.lock().unwrap() = Duration::from_secs(300);
    let start = Instant::now();
    let notice = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        dead.noticed.notify_waiters();
    };
    let (looked, ()) = tokio::join!(held.fence.confirm(), notice);
    assert_eq!(looked.unwrap_err().host, Some(dead.host.clone()));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_check_says_how_long_the_lease_is_safe_and_renews_one_that_is_not() {
    let record = Record::of("web1");
    let held = leases(&record, 1).acquire().await.unwrap();
    held.fence.fall_silent();
    assert_eq!(held.fence.check(None).await.unwrap(), TTL.duration());
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(held.fence.check(None).await.unwrap(), Duration::from_secs(7));
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(held.fence.check(None).await.unwrap(), TTL.duration(), "it was renewed");
    assert_eq!(record.record().holder.unwrap().renewed_at, record.now());
}

/// Whose clock said when the run ended is no matter: the next one may come from another machine.
#[tokio::test(start_paused = true)]
async fn how_long_ago_a_run_ended_is_told_by_the_hosts_own_clock() {
    const YEAR_MILLIS: i64 = 365 * 24 * 3600 * 1000;
    for error in [-YEAR_MILLIS, 0, YEAR_MILLIS] {
        let record = Record::of("web1");
        let first = leases(&record, 1).acquire().await.unwrap();
        assert!(first.quiet.is_empty(), "no run has ended yet");
        let at = Timestamp(record.now().0 + error);
        let outcome = Outcome::Succeeded { warnings: Vec::new() };
        first.fence.finish(&RunEnd { run: RunId(uuid::Uuid::nil()), at, outcome }, true).await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
        let second = leases(&record, 2).acquire().await.unwrap();
        assert_eq!(second.quiet[&record.host], Millis::from_secs(60), "{error}");
        assert_eq!(second.last[&record.host].at, at, "people are told by the clock of who ran it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_given_up_is_free_at_once() {
    let record = Record::of("web1");
    leases(&record, 1).acquire().await.unwrap().fence.release().await.unwrap();
    let start = Instant::now();
    leases(&record, 2).acquire().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// A record that grows with what apps and hosts say is one day too large to be read back, by anybody.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_run_is_noted_without_what_has_no_bound() {
    let record = Record::of("web1");
    let wordy = |message: &str| {
        Failure::new(FailureKind::Unhealthy, message.repeat(100_000))
            .logs(vec!["TOKEN=hunter2".into(); 1_000])
    };
    let stuck = Stuck {
        failure: wordy("it is sick"),
        undo_failures: vec![wordy("it stays"); 1_000],
        seen: WhoIsLive::default(),
        commands: vec!["lockgate resume".into()],
    };
    let warnings = vec![wordy("it is left"); 1_000];
    let ends = [
        Outcome::Stuck(stuck),
        Outcome::Failed { failure: wordy("it is sick") },
        Outcome::RolledBack { failure: wordy("it is sick") },
        Outcome::Succeeded { warnings },
    ];
    for outcome in ends {
        let end = RunEnd { run: RunId(uuid::Uuid::nil()), at: Timestamp(1), outcome };
        leases(&record, 1).acquire().await.unwrap().fence.finish(&end, true).await.unwrap();
        let written = record.content.lock().unwrap().clone().unwrap();
        assert!(written.len() <= RECORD_BYTES_MAX, "{} bytes", written.len());
        assert!(!String::from_utf8_lossy(&written).contains("hunter2"));
        let last = record.record().last.unwrap().outcome;
        assert_eq!(last.as_str(), end.outcome.as_str());
        assert!(last.failure().is_none_or(|failure| failure.message.starts_with("it is sick")));
        if let Outcome::Stuck(stuck) = last {
            assert!(stuck.undo_failures[0].message.starts_with("it stays"), "{stuck:?}");
            assert_eq!(stuck.commands, [""; 0], "what to type is said by who ran it, never by a record");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_broken_off_acquiring_took_is_given_up_and_what_others_hold_is_told() {
    let (mine, theirs) = (Record::of("web1"), Record::of("web1"));
    drop(leases(&mine, 1).acquire().await.unwrap());
    drop(leases(&theirs, 2).acquire().await.unwrap());
    let both = Leases { stores: vec![mine.clone(), theirs.clone()], ..leases(&mine, 1) };
    assert_eq!(both.give_up().await.unwrap().owner, "user2");
    assert!(mine.record().holder.is_none());
    assert_eq!(theirs.record().holder.unwrap().owner, "user2");
}

#[tokio::test(start_paused = true)]
async fn many_hosts_that_take_long_to_reach_are_held_by_leases_that_are_all_young() {
    let records: Vec<Arc<Record>> = (0..100).map(|_| Record::of("web1")).collect();
    for record in &records {
        *record.look.lock().unwrap() = Duration::from_secs(1);
    }
    let stores = records.iter().map(|record| record.clone() as Arc<dyn LeaseStore>).collect();
    let acquired = Leases { stores, ..leases(&records[0], 1) }.acquire().await.unwrap();
    acquired.fence.check(None).await.unwrap();
    let (first, last) = (records[0].record(), records[99].record());
    let age = last.holder.unwrap().renewed_at.since(first.holder.unwrap().renewed_at);
    assert!(age < Millis::from_secs(1), "the first is {age} older than the last");
}

/// Whoever can write the record can say anything of its holder, and must not block others for ever.
#[tokio::test(start_paused = true)]
async fn a_forged_holder_blocks_for_a_bounded_time_and_its_name_is_one_short_line() {
    for (renewed_at, ttl) in
        [(i64::MAX, u64::MAX), (i64::MIN, u64::MAX), (i64::MAX, 0), (1_000_000_000, u64::MAX)]
    {
        let record = Record::of("web1");
        let first = leases(&record, 1).acquire().await.unwrap();
        first.fence.fall_silent();
        let mut forged = record.record();
        let holder = forged.holder.as_mut().unwrap();
        (holder.renewed_at, holder.ttl) = (Timestamp(renewed_at), Millis(ttl));
        holder.owner = format!("kim\n`rm -rf /`{}", "x".repeat(100_000));
        *record.content.lock().unwrap() = Some(serde_json::to_vec(&forged).unwrap());
        let start = Instant::now();
        let second = leases(&record, 2).acquire().await.unwrap();
        let bound = Duration::from_secs(BELIEVED_TTL_SECONDS_MAX + 1);
        assert!(start.elapsed() <= bound, "{renewed_at} {ttl}: {:?}", start.elapsed());
        assert_eq!(first.fence.check(None).await.unwrap_err().kind, FailureKind::LeaseLost);
        let mut forged = record.record();
        forged.holder.as_mut().unwrap().pid = 77;
        forged.holder.as_mut().unwrap().owner = format!("kim\n`rm -rf /`{}", "x".repeat(100_000));
        *record.content.lock().unwrap() = Some(serde_json::to_vec(&forged).unwrap());
        let lost = second.fence.check(None).await.unwrap_err();
        assert!(lost.message.starts_with("the lease was taken over by kim\\n'rm -rf /'xx"), "{lost}");
        assert!(lost.message.len() < 200, "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_rise_is_refused_with_what_to_type() {
    for (token, taken) in [(u64::MAX, false), (TOKEN_MAX, false), (TOKEN_MAX - 1, true), (0, true)] {
        let record = Record::of("web1");
        let forged = LeaseRecord { token, ..LeaseRecord::default() };
        *record.content.lock().unwrap() = Some(serde_json::to_vec(&forged).unwrap());
        match leases(&record, 1).acquire().await {
            Ok(acquired) => {
                assert!(taken, "{token}");
                assert_eq!(record.record().token, token + 1);
                acquired.fence.check(None).await.unwrap();
                acquired.fence.release().await.unwrap();
            }
            Err(LeaseError::Host(failure)) => {
                assert!(!taken, "{token}: {failure}");
                assert_eq!((failure.kind, record.record().token), (FailureKind::Refused, token));
                assert!(failure.message.contains(&token.to_string()), "{failure}");
                assert!(failure.hints.to_string().contains("move it away on web1 with `mv "));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Two sessions of one daemon are two holders, though they are one process.
#[tokio::test(start_paused = true)]
async fn two_sessions_of_one_process_do_not_take_each_others_lease() {
    let record = Record::of("web1");
    let first = leases(&record, 1).acquire().await.unwrap();
    let mut other = leases(&record, 1);
    other.identity.session = "two".into();
    assert!(matches!(other.acquire().await, Err(LeaseError::Held { .. })));
    assert!(other.give_up().await.is_some(), "it is somebody else's");
    first.fence.check(None).await.unwrap();
    first.fence.release().await.unwrap();
    other.acquire().await.unwrap().fence.check(None).await.unwrap();
}

/// The slowest of many hosts is waited for, not the sum of all; so is a check of a step that concerns no single host.
#[tokio::test(start_paused = true)]
async fn hosts_are_asked_beside_each_other_and_every_lease_is_renewed_from_the_first_on() {
    let records: Vec<Arc<Record>> = (0..200).map(|number| Record::of(&format!("web{number:03}"))).collect();
    let stores = || records.iter().map(|record| record.clone() as Arc<dyn LeaseStore>).collect();
    for record in &records {
        *record.every_look.lock().unwrap() = Duration::from_millis(80);
    }
    let fleet = Leases { stores: stores(), ..leases(&records[0], 1) };
    let began = Instant::now();
    let held = fleet.acquire().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let began = Instant::now();
    held.fence.check(None).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    held.fence.release().await.unwrap();
    // The last host takes longer to answer than a lease lives.
    *records[199].every_look.lock().unwrap() = Duration::from_secs(20);
    let held = fleet.acquire().await.unwrap();
    for record in &records[..199] {
        let holder = record.record().holder.unwrap();
        assert!(!holder.has_expired(record.now()), "{} was left to expire", record.host);
    }
    drop(held);
}

/// Nobody waits while holding: what was taken beside a lease that somebody else holds is given back first.
#[tokio::test(start_paused = true)]
async fn who_has_to_wait_for_one_host_holds_no_other() {
    let (web1, web2, web3) = (Record::of("web1"), Record::of("web2"), Record::of("web3"));
    let theirs = leases(&web2, 2).acquire().await.unwrap();
    theirs.fence.fall_silent();
    let all = Leases { stores: vec![web1.clone(), web2.clone(), web3.clone()], ..leases(&web1, 1) };
    let mut acquire = std::pin::pin!(all.acquire());
    assert!(tokio::time::timeout(Duration::from_secs(5), acquire.as_mut()).await.is_err(), "it is watched");
    assert!(web1.record().holder.is_none() && web3.record().holder.is_none());
    leases(&web1, 3).acquire().await.unwrap().fence.release().await.unwrap();
    let held = acquire.await.unwrap();
    held.fence.check(None).await.unwrap();
    assert_eq!(theirs.fence.check(None).await.unwrap_err().kind, FailureKind::LeaseLost);
}

/// As the program wrote it before leases belonged to sessions.
#[test]
fn an_older_holder_is_nobody_of_ours() {
    let old = r#"{"owner":"me","boot_id":"boot1","pid":1,"started":1,"since":5,"renewed_at":6,"ttl":15000}"#;
    let holder: lockgate_model::Holder = serde_json::from_str(old).unwrap();
    let identity = leases(&Record::of("web1"), 1).identity;
    assert!(!identity.is(&holder));
}

#[tokio::test(start_paused = true)]
async fn leases_are_taken_where_hosts_answer_and_say_whom_a_run_left_out() {
    let (web1, web2, web3) = (Record::of("web1"), Record::of("web2"), Record::of("web3"));
    let all = || Leases { stores: vec![web3.clone(), web1.clone(), web2.clone()], ..leases(&web1, 1) };
    // The first by name, too.
    *web1.is_silent.lock().unwrap() = true;
    assert!(matches!(all().acquire().await, Err(LeaseError::Host(failure)) if failure.is_silence()));
    let (acquired, gone) = all().acquire_reached().await.unwrap();
    assert_eq!(gone.keys().map(HostId::as_str).collect::<Vec<_>>(), ["web1"]);
    assert!(web1.record().holder.is_none() && web2.record().holder.is_some());
    // Somebody who reaches all of them is kept away by those that are held.
    *web1.is_silent.lock().unwrap() = false;
    let other = Leases { stores: vec![web1.clone(), web2.clone()], ..leases(&web1, 2) };
    assert!(matches!(other.acquire().await, Err(LeaseError::Held { place, .. }) if place == web2.place));
    assert!(web1.record().holder.is_none(), "nobody waits while holding");

    acquired.fence.leave_out(gone.into_keys().collect());
    let end =
        |number, outcome| RunEnd { run: RunId(uuid::Uuid::from_u128(number)), at: Timestamp(5), outcome };
    let succeeded = || Outcome::Succeeded { warnings: Vec::new() };
    acquired.fence.finish(&end(7, succeeded()), true).await.unwrap();
    let left_out = web2.record().left_out.unwrap();
    assert_eq!(
        (left_out.run, left_out.by.as_str(), left_out.at),
        (end(7, succeeded()).run, "user1", Timestamp(5))
    );
    assert_eq!(left_out.hosts, std::slice::from_ref(&web1.host));
    assert!(web1.record().left_out.is_none());
    // Who was left out is behind until a run on all succeeds.
    let failed = Outcome::Failed { failure: Failure::new(FailureKind::Other, "x") };
    all().acquire().await.unwrap().fence.finish(&end(8, failed), true).await.unwrap();
    assert_eq!(web3.record().left_out, Some(left_out));
    all().acquire().await.unwrap().fence.finish(&end(9, succeeded()), true).await.unwrap();
    assert_eq!(web3.record().left_out, None);
}

#[tokio::test(start_paused = true)]
async fn where_no_host_answers_there_is_nothing_to_take() {
    let (web1, web2) = (Record::of("web1"), Record::of("web2"));
    for record in [&web1, &web2] {
        *record.is_silent.lock().unwrap() = true;
    }
    let both = Leases { stores: vec![web2, web1.clone()], ..leases(&web1, 1) };
    let Err(LeaseError::Host(failure)) = both.acquire_reached().await else { panic!("a lease was taken") };
    assert_eq!(failure.host, Some(web1.host.clone()));
}
