//! Which release gave an answer.

use lockgate_model::{Probe, Release, Slot, Vars, Verify};
use lockgate_ports::RouterAnswer;

/// From here on the answer is a failure of the server, whoever gave it.
pub(crate) const SERVER_ERROR_MIN: u16 = 500;

/// How sure it is that the release that was asked for gave an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribution {
    /// The router named the slot, or the answer has what tells the release from others.
    ThisRelease,
    /// A good answer that does not say whose it is.
    Unknown,
}

/// All that is known is asked for: a router that names its slot does not make up for a body that is another release's,
/// nor for a failure. `Err` is what was seen instead.
pub(crate) fn attribute(
    answer: &RouterAnswer,
    slot: Slot,
    release: &Release,
    verify: Option<&Verify>,
    probe: &Probe,
) -> Result<Attribution, String> {
    let status = answer.answer.status;
    if status >= SERVER_ERROR_MIN || (verify.is_none() && !probe.health.status().contains(status)) {
        return Err(format!("the answer was {status}, wanted {}", probe.health.status()));
    }
    if let Some(seen) = answer.slot.filter(|seen| *seen != slot) {
        return Err(format!("{seen} answers, wanted {slot}"));
    }
    if let Some(verify) = verify {
        says(answer, slot, release, verify)?;
    }
    Ok(if answer.slot.is_some() || verify.is_some() {
        Attribution::ThisRelease
    } else {
        Attribution::Unknown
    })
}

/// Whether the answer has what tells this release's from another's; `Err` is what it has instead.
pub(crate) fn says(
    answer: &RouterAnswer,
    slot: Slot,
    release: &Release,
    verify: &Verify,
) -> Result<(), String> {
    let vars = Vars {
        service: Some(&release.service),
        environment: None,
        slot: Some(slot),
        port: None,
        tag: Some(&release.tag),
        digest: Some(&release.digest),
    };
    if let Some(body) = &verify.body {
        let wanted = body.fill(&vars).map_err(|error| error.to_string())?;
        if !contains_whole(&answer.answer.text(), &wanted) {
            return Err(format!("the body does not contain {wanted:?}"));
        }
    }
    if let Some((name, value)) = &verify.header {
        let wanted = value.fill(&vars).map_err(|error| error.to_string())?;
        let seen = answer.answer.header(&name.to_ascii_lowercase()).unwrap_or("missing");
        if seen != wanted {
            return Err(format!("header {name} is {seen:?}, wanted {wanted:?}"));
        }
    }
    Ok(())
}

/// Whether `text` contains `wanted`, and not only as a part of a longer tag: `v1.1` is not in `v1.10`, `v1.1.2` or
/// `v1.1-rc1`, but in `v1.1.` at the end of a sentence.
fn contains_whole(text: &str, wanted: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(wanted).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + wanted.len()..].chars();
        let joins_before = wanted.starts_with(is_word) && before.is_some_and(is_word);
        let joins_after = wanted.ends_with(is_word)
            && match after.next() {
                Some('.' | '-') => after.next().is_some_and(is_word),
                next => next.is_some_and(is_word),
            };
        !joins_before && !joins_after
    })
}

#[cfg(test)]
mod tests {
    use lockgate_model::{Digest, Health, HttpHealth, Millis, ServiceName, StatusRange, Tag, Template};
    use lockgate_ports::Answer;

    use super::*;

    fn asked(
        status: u16,
        body: &str,
        slot: Option<Slot>,
        verify: Option<&str>,
    ) -> Result<Attribution, String> {
        let answer = Answer { status, body: body.into(), ..Answer::default() };
        let release = Release {
            service: ServiceName::new("web").unwrap(),
            tag: Tag::new("v1.1").unwrap(),
            digest: Digest::new(format!("sha256:{}", "0".repeat(64))).unwrap(),
            image: None,
            commit: None,
            provenance: None,
        };
        let verify = verify.map(|body| Verify {
            path: "/version".into(),
            body: Some(Template::new(body).unwrap()),
            header: None,
        });
        let health = Health::Http(HttpHealth {
            path: "/".into(),
            timeout: Millis(1),
            passes: 1,
            status: StatusRange::OK,
            body: None,
            headers: std::collections::BTreeMap::new(),
        });
        let probe = Probe { health, port: None, origin: None };
        attribute(
            &RouterAnswer { answer, slot, release: None },
            Slot::Blue,
            &release,
            verify.as_ref(),
            &probe,
        )
    }

    #[test]
    fn a_slot_that_the_router_names_is_certain_and_another_is_refused() {
        assert_eq!(asked(200, "", Some(Slot::Blue), None), Ok(Attribution::ThisRelease));
        assert!(asked(200, "", Some(Slot::Green), None).unwrap_err().contains("green answers"));
        assert_eq!(asked(200, "", None, None), Ok(Attribution::Unknown));
    }

    #[test]
    fn what_verify_asks_for_is_looked_at_though_the_router_names_the_slot() {
        assert_eq!(asked(200, "v1.1", Some(Slot::Blue), Some("{tag}")), Ok(Attribution::ThisRelease));
        assert!(asked(200, "v1.0", Some(Slot::Blue), Some("{tag}")).unwrap_err().contains("v1.1"));
        assert!(asked(200, "v1.1", Some(Slot::Green), Some("{tag}")).is_err());
    }

    #[test]
    fn a_failure_is_no_answer_of_a_release() {
        for verify in [None, Some("{tag}")] {
            assert!(asked(503, "v1.1", Some(Slot::Blue), verify).unwrap_err().contains("503"), "{verify:?}");
        }
        assert!(asked(404, "", Some(Slot::Blue), None).is_err());
    }

    #[test]
    fn a_tag_is_not_found_within_a_longer_one() {
        for body in
            ["v1.1", "version v1.1.", "v1.10 and v1.1", "{\"version\":\"v1.1\"}", "web-v1.1", "v1.1\n"]
        {
            assert!(contains_whole(body, "v1.1"), "{body}");
        }
        for body in ["v1.10", "v1.1.2", "v1.1-rc1", "xv1.1", "v1.1_2", ""] {
            assert!(!contains_whole(body, "v1.1"), "{body}");
        }
        assert!(contains_whole("tag=v1.1;x", "tag=v1.1;"));
    }
}
