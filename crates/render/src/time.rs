//! Points in time as people write them, in this machine's time zone (`TZ`, `/etc/localtime`).

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use lockgate_model::{Timestamp, Zone};

/// Where the machine's zone is, as [tzfile(5)](https://man7.org/linux/man-pages/man5/tzfile.5.html) has it.
const LOCALTIME: &str = "/etc/localtime";

static ZONE: LazyLock<TimeZone> = LazyLock::new(zone);

/// RFC 3339 with offset, to the second: `2026-11-20T12:00:01+01:00`. A time beyond the calendar is written `@<ms>`.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format_in(at, "%Y-%m-%dT%H:%M:%S%:z", ZONE.clone())
}

/// `12:00:01`.
#[must_use]
pub fn clock_time(at: Timestamp) -> String {
    format_in(at, "%H:%M:%S", ZONE.clone())
}

/// This machine's time zone, with its name where the machine tells one. For who has a millisecond.
#[must_use]
pub fn here() -> Zone {
    let zone = TimeZone::system();
    let name = zone.iana_name().filter(|_| !zone.is_unknown()).map(str::to_owned);
    Zone::new(name.unwrap_or_else(|| "local time".to_owned()), zone)
}

/// This machine's. To learn the name of the zone in `/etc/localtime` the library reads all of the machine's zones, a
/// millisecond in the middle of a deployment; its offsets are in the file itself.
fn zone() -> TimeZone {
    if std::env::var_os("TZ").is_none()
        && let Ok(content) = std::fs::read(LOCALTIME)
        && let Ok(zone) = TimeZone::tzif(LOCALTIME, &content)
    {
        return zone;
    }
    TimeZone::system()
}

fn format_in(at: Timestamp, format: &str, zone: TimeZone) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(instant) => instant.to_zoned(zone).strftime(format).to_string(),
        Err(_) => format!("@{}", at.0),
    }
}

/// [`clock_time`] in UTC, so that snapshots are the same everywhere.
#[cfg(test)]
pub(crate) fn clock_time_utc(at: Timestamp) -> String {
    format_in(at, "%H:%M:%S", TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "%Y-%m-%dT%H:%M:%S%:z";

    #[test]
    fn the_offset_is_that_of_the_zone_on_that_day() {
        let berlin = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let winter = Timestamp(1_763_683_201_999);
        assert_eq!(format_in(winter, FORMAT, berlin.clone()), "2025-11-21T01:00:01+01:00");
        assert_eq!(format_in(Timestamp(1_782_864_000_000), FORMAT, berlin), "2026-07-01T02:00:00+02:00");
        assert_eq!(format_in(winter, FORMAT, TimeZone::UTC), "2025-11-21T00:00:01+00:00");
    }

    #[test]
    fn what_is_written_in_local_time_is_the_same_instant() {
        for at in [0, 1_763_683_201_000, 4_102_444_799_000] {
            let read: jiff::Timestamp = rfc3339(Timestamp(at)).parse().unwrap();
            assert_eq!(read.as_millisecond(), at);
        }
    }

    #[test]
    fn the_zone_is_the_one_that_the_library_finds() {
        for at in [0, 1_763_683_201_000, 1_782_864_000_000].map(Timestamp) {
            assert_eq!(format_in(at, FORMAT, zone()), format_in(at, FORMAT, TimeZone::system()));
        }
    }

    #[test]
    fn a_time_beyond_the_calendar_is_still_written() {
        assert_eq!(rfc3339(Timestamp(i64::MAX)), format!("@{}", i64::MAX));
    }
}
