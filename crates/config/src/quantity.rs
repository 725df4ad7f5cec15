//! Lengths of time, sizes, statuses and waves as people write them.

use lockgate_model::{Millis, StatusRange, Wave};

/// Longest accepted length of time; a longer one is a slip of the unit.
pub const SPAN_HOURS_MAX: u64 = 7 * 24;
pub const SPAN_EXPECTS: &str = "a length of time such as 250ms, 60s, 10m or 2h (a bare number is seconds)";
pub const SIZE_EXPECTS: &str = "a size such as 500MiB or 1GiB";
pub const STATUS_EXPECTS: &str = "a HTTP status such as 200, 2xx or 200-399";
pub const WAVE_EXPECTS: &str = "a number of hosts, a share from 1% to 100%, or `rest`";

/// `250ms`, `60s`, `1.5m`, `2h`, and several of them from the largest unit to the smallest, as Lockgate prints them:
/// `1m30s`. A bare number is seconds. At most [`SPAN_HOURS_MAX`].
pub fn span(text: &str) -> Option<Millis> {
    const UNITS: [(&str, f64); 4] = [("h", 3_600_000.0), ("m", 60_000.0), ("s", 1000.0), ("ms", 1.0)];
    let mut rest = text.trim();
    if let Some((seconds, "")) = number_and_unit(rest) {
        return bounded((seconds * 1000.0).round());
    }
    let (mut units, mut millis) = (UNITS.as_slice(), 0.0);
    while !rest.is_empty() {
        let (number, behind) = number_and_unit(rest)?;
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let at = units.iter().position(|(unit, _)| *unit == &behind[..end])?;
        millis += (number * units[at].1).round();
        units = &units[at + 1..];
        rest = &behind[end..];
    }
    // A length has at least one part: without one there was no text.
    if text.trim().is_empty() { None } else { bounded(millis) }
}

fn bounded(millis: f64) -> Option<Millis> {
    (millis <= (SPAN_HOURS_MAX * 3_600_000) as f64).then_some(Millis(millis as u64))
}

/// `500MiB`, `1GiB`, `2GB`; in MiB, rounded up. `0` needs no unit.
pub fn size_mib(text: &str) -> Option<u64> {
    const MIB: f64 = 1_048_576.0;
    let (number, unit) = number_and_unit(text)?;
    let bytes = match unit {
        "MiB" | "M" => MIB,
        "GiB" | "G" => MIB * 1024.0,
        "TiB" | "T" => MIB * 1024.0 * 1024.0,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "" if number == 0.0 => 1.0,
        _ => return None,
    };
    let mib = (number * bytes / MIB).ceil();
    // A petabyte: more is a slip, and every number below it is exact as a float.
    (mib <= 1024.0 * 1024.0 * 1024.0).then_some(mib as u64)
}

/// A number without sign or exponent, then letters.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse::<f64>().ok()?;
    Some((number, text[end..].trim_start()))
}

/// `200`, `2xx`, `200-399`.
pub fn status(text: &str) -> Option<StatusRange> {
    let text = text.trim();
    let code = |text: &str| {
        (text.len() == 3)
            .then(|| text.parse::<u16>().ok().filter(|code| (100..=599).contains(code)))
            .flatten()
    };
    if let Some(class) = text.strip_suffix("xx") {
        let from = code(&format!("{class}00"))?;
        return Some(StatusRange { from, to: from + 99 });
    }
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (code(from.trim())?, code(to.trim())?),
        None => (code(text)?, code(text)?),
    };
    (from <= to).then_some(StatusRange { from, to })
}

/// `1`, `25%`, `rest`.
pub fn wave(text: &str) -> Option<Wave> {
    let text = text.trim();
    if text == "rest" {
        return Some(Wave::Rest);
    }
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Wave::Percent);
    }
    text.parse().ok().filter(|hosts| *hosts > 0).map(Wave::Hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, millis) in [
            ("250ms", 250),
            ("60s", 60_000),
            ("1.5m", 90_000),
            ("2h", 7_200_000),
            ("90", 90_000),
            (" 5 s ", 5000),
            ("1m30s", 90_000),
            ("1h0m", 3_600_000),
            ("1m 30s", 90_000),
            ("1h1m1.001s", 3_661_001),
            ("1m7ms", 60_007),
        ] {
            assert_eq!(span(text), Some(Millis(millis)), "{text}");
        }
        for bad in [
            "",
            " ",
            "s",
            "-5s",
            "5d",
            "30s1m",
            "1m1m",
            "1m30",
            "1mm",
            "1m-5s",
            "168h1ms",
            "1e3s",
            "5 s s",
            "1.2.3s",
            "inf",
            "NaN",
            "169h",
            "99999999999999999999h",
        ] {
            assert_eq!(span(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_length_that_is_printed_is_read_as_the_same() {
        let same = |millis: u64| {
            let shown = Millis(millis).to_string();
            assert_eq!(span(&shown), Some(Millis(millis)), "{shown}");
        };
        let longest = SPAN_HOURS_MAX * 3_600_000;
        (0..=125_000).for_each(same);
        [3_599_999, 3_600_000, 3_600_001, 86_400_000, longest - 1, longest].into_iter().for_each(same);
        // A linear congruential generator, so that the values are the same every time.
        let mut random: u64 = 11;
        for _ in 0..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            same((random >> 16) % (longest + 1));
        }
    }

    #[test]
    fn sizes_are_rounded_up_to_mib() {
        for (text, mib) in
            [("500MiB", 500), ("1GiB", 1024), ("1.5 G", 1536), ("1GB", 954), ("0", 0), ("2TiB", 2_097_152)]
        {
            assert_eq!(size_mib(text), Some(mib), "{text}");
        }
        for bad in ["500", "-1MiB", "1KiB", "x", "99999999TiB"] {
            assert_eq!(size_mib(bad), None, "{bad}");
        }
    }

    #[test]
    fn statuses_and_waves() {
        let shown = ["200", "2xx", "200-399"].map(|text| status(text).unwrap().to_string());
        assert_eq!(shown, ["200", "2xx", "200-399"]);
        for bad in ["", "99", "600", "6xx", "20x", "399-200", "200-", "+200", "xx"] {
            assert_eq!(status(bad), None, "{bad}");
        }
        assert_eq!(
            ["1", "25%", "rest"].map(wave),
            [Some(Wave::Hosts(1)), Some(Wave::Percent(25)), Some(Wave::Rest)]
        );
        for bad in ["0", "0%", "101%", "-1", "all", "1.5", ""] {
            assert_eq!(wave(bad), None, "{bad}");
        }
    }
}
