//! Points in time that come again: a cron line, and the time zone that it is meant in.
//!
//! What a change of the clocks does is as Debian's cron has it. A line whose minutes and hours are named (`30 2 * * *`) comes
//! once a day: a time that the day does not have comes at the moment of the change, and one that it has twice comes the first
//! time. A line whose minutes or hours begin with `*` follows the clock on the wall: what is left out does not come, what is
//! shown twice comes twice.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use jiff::Zoned;
use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::{Millis, Timestamp};

/// Longest cron line: all 60 minutes and all 24 hours fit.
const CRON_LENGTH_MAX: usize = 300;
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];
/// How far a change of the clocks moves them at most, and an hour: a country that changes sides of the date line leaves out
/// a day.
const CHANGE_HOURS_MAX: i64 = 25;
/// The longest time without a tick that is looked back over: a 29 February that is left out at a century, and more.
const LOOK_BACK_MAX: Millis = Millis::from_secs(9 * 366 * 24 * 3600);
const LOOK_BACK_MIN: Millis = Millis::from_secs(3600);

/// A text that is no cron line, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no cron line: {reason}")]
pub struct InvalidCron {
    /// As it was written.
    pub text: String,
    /// Which rule it breaks, as half a sentence.
    pub reason: String,
}

/// A cron line: five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. It comes at least once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    pattern: croner::Cron,
    /// Its minutes or hours begin with `*`.
    follows_the_wall: bool,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl Cron {
    /// # Errors
    /// [`InvalidCron`] says which field is wrong.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidCron> {
        let text: String = text.into();
        match parse(&text) {
            Ok((pattern, follows_the_wall)) => {
                let words: Vec<&str> = text.split_whitespace().collect();
                Ok(Self { text: words.join(" "), pattern, follows_the_wall })
            }
            Err(reason) => Err(InvalidCron { text, reason }),
        }
    }

    /// With single spaces.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first tick after `at`. `None` when there is none before the calendar's end.
    #[must_use]
    pub fn next_after(&self, zone: &Zone, at: Timestamp) -> Option<Timestamp> {
        let now = zone.at(at)?;
        if self.follows_the_wall {
            let next = self.pattern.find_next_occurrence(&now, false).ok()?;
            return Some(Timestamp(next.timestamp().as_millisecond()));
        }
        // What the clock shows is never before what it showed then, so the first that comes later is the next one.
        let mut shown =
            now.datetime().checked_sub(jiff::SignedDuration::from_hours(CHANGE_HOURS_MAX)).ok()?;
        loop {
            shown = self.pattern.find_next_occurrence(&shown, false).ok()?;
            let tick = zone.first_of(shown)?;
            if tick > at {
                return Some(tick);
            }
        }
    }

    /// The last tick that is not after `at`. `None` when there was none in the nine years before.
    #[must_use]
    pub fn last_by(&self, zone: &Zone, at: Timestamp) -> Option<Timestamp> {
        let mut back = LOOK_BACK_MIN;
        while back <= LOOK_BACK_MAX {
            if let Some(tick) = self.last_within(zone, at, back) {
                return Some(tick);
            }
            back = Millis(back.0 * 2);
        }
        self.last_within(zone, at, LOOK_BACK_MAX)
    }

    /// The last tick that is not after `at` and less than `back` before it.
    #[must_use]
    pub fn last_within(&self, zone: &Zone, at: Timestamp, back: Millis) -> Option<Timestamp> {
        let mut from = Timestamp(at.0.saturating_sub_unsigned(back.0));
        let mut last = None;
        while let Some(tick) = self.next_after(zone, from).filter(|tick| *tick <= at) {
            last = Some(tick);
            from = tick;
        }
        last
    }
}

fn parse(text: &str) -> Result<(croner::Cron, bool), String> {
    if text.len() > CRON_LENGTH_MAX {
        return Err(format!("it is longer than {CRON_LENGTH_MAX} characters"));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let is_named = matches!(fields.as_slice(), [name] if name.starts_with('@'));
    if !is_named && fields.len() != FIELDS.len() {
        return Err("it does not have five fields".to_owned());
    }
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let pattern = parser.parse(&fields.join(" ")).map_err(|error| match is_named {
        true => "known are @hourly, @daily, @weekly, @monthly and @yearly".to_owned(),
        false => wrong_field(&parser, &fields).unwrap_or_else(|| error.to_string()),
    })?;
    // Whatever its days and months ask for comes within some years, or never.
    if pattern.find_next_occurrence(&date(2000, 1, 1).at(0, 0, 0, 0), true).is_err() {
        return Err("there is no such day".to_owned());
    }
    let begins = |index: usize| fields.get(index).is_some_and(|field| field.starts_with('*'));
    let follows = if is_named { text.trim().eq_ignore_ascii_case("@hourly") } else { begins(0) || begins(1) };
    Ok((pattern, follows))
}

/// The first field that cannot stand alone.
fn wrong_field(parser: &CronParser, fields: &[&str]) -> Option<String> {
    let alone = |index: usize| {
        let mut line = ["*"; FIELDS.len()];
        line[index] = fields[index];
        parser.parse(&line.join(" ")).is_err()
    };
    let index = (0..FIELDS.len()).find(|index| alone(*index))?;
    Some(format!("`{}` is no {}", fields[index], FIELDS[index]))
}

impl TryFrom<String> for Cron {
    type Error = InvalidCron;
    fn try_from(text: String) -> Result<Self, InvalidCron> {
        Self::new(text)
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> String {
        cron.text
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A time zone with its rules. Who makes one looks them up: nothing is read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// `name` is for people, as `Europe/Berlin`.
    #[must_use]
    pub fn new(name: impl Into<String>, rules: TimeZone) -> Self {
        Self { name: name.into(), rules }
    }

    /// The zone without an offset and without changes of the clock.
    #[must_use]
    pub fn utc() -> Self {
        Self::new("UTC", TimeZone::UTC)
    }

    /// As people write it: `Europe/Berlin`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// RFC 3339 with the zone's offset, to the second: `2026-11-20T12:00:01+01:00`. A time beyond the calendar is written
    /// `@<ms>`.
    #[must_use]
    pub fn rfc3339(&self, at: Timestamp) -> String {
        let shown = |at: Zoned| at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        self.at(at).map_or_else(|| format!("@{}", at.0), shown)
    }

    fn at(&self, at: Timestamp) -> Option<Zoned> {
        Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.rules.clone()))
    }

    /// When the clock shows this, the first time; where it never does, when it is put forward over it.
    fn first_of(&self, shown: DateTime) -> Option<Timestamp> {
        let found = self.rules.to_ambiguous_timestamp(shown);
        let at = match found.offset() {
            AmbiguousOffset::Unambiguous { .. } => found.unambiguous().ok()?,
            AmbiguousOffset::Fold { .. } => found.earlier().ok()?,
            AmbiguousOffset::Gap { before, .. } => {
                let beyond = before.to_timestamp(shown).ok()?;
                // What precedes a change is the one before it, also at the very moment.
                let behind = beyond.checked_add(jiff::SignedDuration::from_secs(1)).ok()?;
                match self.rules.preceding(behind).next() {
                    Some(change) => change.timestamp(),
                    None => beyond,
                }
            }
        };
        Some(Timestamp(at.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules since 1996, as tzdata writes them.
    fn zone(name: &str) -> Zone {
        let rules = match name {
            "Europe/Berlin" => "CET-1CEST,M3.5.0,M10.5.0/3",
            "America/New_York" => "EST5EDT,M3.2.0,M11.1.0",
            // Half an hour.
            "Australia/Lord_Howe" => "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
            // At midnight: some days begin at one.
            "Asia/Beirut" => "EET-2EEST,M3.5.0/0,M10.5.0/0",
            "UTC" => "UTC0",
            other => panic!("{other} has no rules here"),
        };
        Zone::new(name, TimeZone::posix(rules).unwrap())
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    /// The ticks after `from` and not after `to`.
    fn ticks(line: &str, name: &str, from: &str, to: &str) -> Vec<String> {
        let (cron, zone) = (Cron::new(line).unwrap(), zone(name));
        let (mut from, to) = (at(from), at(to));
        let mut ticks = Vec::new();
        while let Some(tick) = cron.next_after(&zone, from).filter(|tick| *tick <= to) {
            assert!(tick > from, "{line}: it goes forward");
            assert_eq!(cron.last_by(&zone, tick), Some(tick), "{line}: what has come is the last");
            ticks.push(zone.rfc3339(tick));
            from = tick;
        }
        ticks
    }

    #[test]
    fn an_hour_that_does_not_exist_and_one_that_exists_twice() {
        let spring = ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
        let autumn = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        /// Fields, zone, from and until when, and the ticks.
        type Row<'a> = (&'a str, &'a str, (&'a str, &'a str), &'a [&'a str]);
        let table: &[Row<'_>] = &[
            // The usual time is the same time on the wall, an hour earlier or later in the world.
            (
                "0 5 * * *",
                "Europe/Berlin",
                spring,
                &["2026-03-29T05:00:00+02:00", "2026-03-30T05:00:00+02:00"],
            ),
            (
                "0 5 * * *",
                "Europe/Berlin",
                autumn,
                &["2026-10-25T05:00:00+01:00", "2026-10-26T05:00:00+01:00"],
            ),
            // 02:30 does not exist on the 29th: at the change. It exists twice on the 25th: the first.
            (
                "30 2 * * *",
                "Europe/Berlin",
                spring,
                &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
            ),
            (
                "30 2 * * *",
                "Europe/Berlin",
                autumn,
                &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
            ),
            // Several that do not exist are one tick, also together with one that does.
            (
                "0,30 2,3 29 3 *",
                "Europe/Berlin",
                spring,
                &["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"],
            ),
            (
                "0,30 2 25 10 *",
                "Europe/Berlin",
                autumn,
                &["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00"],
            ),
            // What follows the wall.
            (
                "0 */2 29 3 *",
                "Europe/Berlin",
                ("2026-03-28T23:30:00Z", "2026-03-29T04:00:00Z"),
                &["2026-03-29T04:00:00+02:00", "2026-03-29T06:00:00+02:00"],
            ),
            (
                "30 * * * *",
                "Europe/Berlin",
                ("2026-10-24T23:45:00Z", "2026-10-25T02:45:00Z"),
                &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"],
            ),
            (
                "30 2 * * *",
                "America/New_York",
                ("2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z"),
                &["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"],
            ),
            (
                "30 1 * * *",
                "America/New_York",
                ("2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z"),
                &["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
            ),
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                ("2026-10-03T00:00:00Z", "2026-10-04T16:00:00Z"),
                &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
            ),
            (
                "45 1 * * *",
                "Australia/Lord_Howe",
                ("2026-04-04T12:00:00Z", "2026-04-05T16:00:00Z"),
                &["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
            ),
            (
                "@daily",
                "Asia/Beirut",
                ("2026-03-28T12:00:00Z", "2026-03-29T22:00:00Z"),
                &["2026-03-29T01:00:00+03:00", "2026-03-30T00:00:00+03:00"],
            ),
            ("30 2 * * *", "UTC", spring, &["2026-03-29T02:30:00+00:00", "2026-03-30T02:30:00+00:00"]),
        ];
        for (line, name, (from, to), wanted) in table {
            assert_eq!(ticks(line, name, from, to), *wanted, "{line} in {name}");
        }
    }

    /// From wherever one looks the next tick is the same: no tick is lost or given twice by asking in between.
    #[test]
    fn every_minute_around_a_change_agrees_on_the_next_tick_and_the_last() {
        for (name, days) in [
            ("Europe/Berlin", ["2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z"]),
            ("Australia/Lord_Howe", ["2026-10-03T10:00:00Z", "2026-04-04T10:00:00Z"]),
            ("Asia/Beirut", ["2026-03-28T18:00:00Z", "2026-10-24T18:00:00Z"]),
        ] {
            for line in
                ["30 2 * * *", "0,30 0-3 * * *", "15 * * * *", "*/20 * * * *", "0 */3 * * *", "@daily"]
            {
                let (cron, zone) = (Cron::new(line).unwrap(), zone(name));
                for day in days {
                    let start = at(day);
                    let mut known: Option<Timestamp> = None;
                    for minute in 0..12 * 60 {
                        let now = Timestamp(start.0 + minute * 60_000 + 500);
                        let next = cron.next_after(&zone, now).unwrap();
                        let what = format!("{line} in {name} at {}", zone.rfc3339(now));
                        assert!(next > now, "{what}");
                        if let Some(known) = known {
                            assert!(
                                next == known || known <= now,
                                "{what}: {} was left out",
                                zone.rfc3339(known)
                            );
                        }
                        if minute % 30 == 0 {
                            let last = cron.last_by(&zone, now).unwrap();
                            assert_eq!(cron.next_after(&zone, last), Some(next), "{what}");
                        }
                        known = Some(next);
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_tick_is_found_however_long_ago_it_was() {
        let now = at("2026-11-26T20:00:00Z");
        for (line, wanted) in [
            ("* * * * *", "2026-11-26T20:00:00+00:00"),
            ("0 5 * * *", "2026-11-26T05:00:00+00:00"),
            ("@monthly", "2026-11-01T00:00:00+00:00"),
            ("0 5 24 12 *", "2025-12-24T05:00:00+00:00"),
            ("0 0 29 2 *", "2024-02-29T00:00:00+00:00"),
            ("30 4 * 1 *", "2026-01-31T04:30:00+00:00"),
        ] {
            let last = Cron::new(line).unwrap().last_by(&Zone::utc(), now).unwrap();
            assert_eq!(Zone::utc().rfc3339(last), wanted, "{line}");
        }
    }

    #[test]
    fn what_is_no_cron_line_is_said_with_its_field() {
        for (line, reason) in [
            ("", "it does not have five fields"),
            ("5 * *", "it does not have five fields"),
            ("0 0 5 * * *", "it does not have five fields"),
            ("61 5 * * *", "`61` is no minute"),
            ("0 24 * * *", "`24` is no hour"),
            ("0 5 0 * *", "`0` is no day of the month"),
            ("0 5 * 13 *", "`13` is no month"),
            ("0 5 * * 8", "`8` is no day of the week"),
            ("0 five * * *", "`FIVE` is no hour"),
            ("0 5 * * MUN", "is no day of the week"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("5-1 * * * *", "`5-1` is no minute"),
            ("0 0 30 2 *", "there is no such day"),
            ("@reboot", "known are @hourly"),
            ("@daily x", "it does not have five fields"),
        ] {
            let error = Cron::new(line).expect_err(line);
            assert!(error.reason.to_uppercase().contains(&reason.to_uppercase()), "{line}: {}", error.reason);
        }
        assert!(Cron::new("0 5 * * *".repeat(99)).is_err());
        for (line, kept) in [("  0  5 * * mon-fri ", "0 5 * * mon-fri"), ("@DAILY", "@DAILY")] {
            assert_eq!(Cron::new(line).unwrap().as_str(), kept);
        }
    }
}
