//! The chain of a store's audit: each entry has a checksum over itself and the checksum of the entry before it.

use serde::{Deserialize, Serialize};

use crate::{Digest, Exit};

/// Of the entry that is before the first one.
const BEFORE_THE_FIRST: &str = "";

/// An entry of the audit as it is kept, whatever is in it.
///
/// `hash` is the SHA-256, in 64 lower-case hex digits, of four lines without a line feed behind the last: the hash of the entry
/// before it (empty for the first), its number, its project, and its text as it is kept, which has no line feed. So an entry
/// cannot be changed, taken out, put in or moved without all that come after it being written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLink {
    /// Rises by one with each entry of the store, from 0.
    pub seq: u64,
    /// The name of the project that it is of.
    pub project: String,
    /// The entry, as JSON.
    pub entry: String,
    /// As it is kept. Empty where there is none.
    pub hash: String,
}

impl AuditLink {
    /// What its hash has to be behind an entry with the hash `before`.
    #[must_use]
    pub fn hash_behind(&self, before: &str) -> String {
        let Self { seq, project, entry, .. } = self;
        let digest = Digest::of(format!("{before}\n{seq}\n{project}\n{entry}").as_bytes());
        digest.as_str()["sha256:".len()..].to_owned()
    }
}

/// The end of a chain, for people to keep elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The last entry's number.
    pub seq: u64,
    /// Its hash, 64 hex digits.
    pub hash: String,
}

/// `17:9f86d0…`, as it is kept and read back.
impl std::fmt::Display for AuditHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl std::str::FromStr for AuditHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (seq, hash) =
            text.split_once(':').ok_or("it is NUMBER:HASH, as `lockgate audit verify` prints it")?;
        let seq = seq.parse().map_err(|_| "in NUMBER:HASH the number is a whole one, from 0 on")?;
        match hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            true => Ok(Self { seq, hash: hash.to_owned() }),
            false => Err("in NUMBER:HASH the hash has 64 lower-case hex digits"),
        }
    }
}

/// The first place where a chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditBreak {
    /// The entry that is not as it was written, or that is missing.
    pub seq: u64,
    /// What is wrong with it.
    pub what: AuditFault,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditFault {
    /// There is none of that number, and there are later ones.
    Missing,
    /// Its text, its project or its number was changed, or the entry before it is another one.
    Changed,
    /// It has no hash.
    Unchained,
    /// It is not the one that somebody has kept the hash of: the end was cut off or all was written anew.
    NotAsKept,
}

impl AuditFault {
    /// In words: `it is missing`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AuditFault::Missing => "it is missing",
            AuditFault::Changed => {
                "it was changed, or stands behind another entry than it was written behind"
            }
            AuditFault::Unchained => "it has no hash",
            AuditFault::NotAsKept => {
                "it is not the one that was kept: entries were cut off, or all was written anew"
            }
        }
    }
}

/// What checking came to, as `lockgate audit verify --format json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerified {
    /// Always `audit`.
    pub event: String,
    /// Whether all that can be known is as it was written.
    pub whole: bool,
    /// So many entries from the first on are as they were written, of all projects.
    pub entries: u64,
    /// The last of them: by it a later check knows whether entries were cut off. `None`: there is none.
    pub last: Option<AuditHead>,
    /// The first that is not. `None`: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<AuditBreak>,
    /// The exit code.
    pub exit: u8,
}

/// Checks a chain, entry by entry from the first.
#[derive(Debug, Clone, Default)]
pub struct AuditChain {
    last: Option<AuditHead>,
    /// What somebody has kept of an earlier check, until that entry was met.
    kept: Option<AuditHead>,
}

impl AuditChain {
    /// One in which that entry has to be.
    #[must_use]
    pub fn with(kept: Option<AuditHead>) -> Self {
        Self { last: None, kept }
    }

    /// The end of what was checked. `None`: nothing yet.
    #[must_use]
    pub fn last(&self) -> Option<&AuditHead> {
        self.last.as_ref()
    }

    /// The number of the entry that is checked next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.seq + 1)
    }

    /// The next entry that there is.
    ///
    /// # Errors
    /// It does not go on where the chain ended.
    pub fn check(&mut self, link: &AuditLink) -> Result<(), AuditBreak> {
        let seq = self.next();
        let broken = |what| Err(AuditBreak { seq, what });
        let before = self.last.as_ref().map_or(BEFORE_THE_FIRST, |last| last.hash.as_str());
        if link.seq != seq {
            return broken(AuditFault::Missing);
        }
        if link.hash.is_empty() {
            return broken(AuditFault::Unchained);
        }
        if link.hash != link.hash_behind(before) {
            return broken(AuditFault::Changed);
        }
        if let Some(kept) = self.kept.take_if(|kept| kept.seq == seq)
            && kept.hash != link.hash
        {
            return broken(AuditFault::NotAsKept);
        }
        self.last = Some(AuditHead { seq, hash: link.hash.clone() });
        Ok(())
    }

    /// What it came to: with what [`AuditChain::check`] found, or where there are no more entries.
    #[must_use]
    pub fn verified(&self, broken: Option<AuditBreak>) -> AuditVerified {
        let cut_off =
            || self.kept.as_ref().map(|kept| AuditBreak { seq: kept.seq, what: AuditFault::NotAsKept });
        let broken = broken.or_else(cut_off);
        let exit = if broken.is_none() { Exit::Succeeded } else { Exit::Failed };
        AuditVerified {
            event: "audit".to_owned(),
            whole: broken.is_none(),
            entries: self.next(),
            last: self.last.clone(),
            broken,
            exit: exit.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(entries: &[&str]) -> Vec<AuditLink> {
        let mut links: Vec<AuditLink> = Vec::new();
        for (seq, entry) in (0..).zip(entries) {
            let before = links.last().map_or(BEFORE_THE_FIRST.to_owned(), |last| last.hash.clone());
            let mut link =
                AuditLink { seq, project: "shop".into(), entry: (*entry).to_owned(), hash: String::new() };
            link.hash = link.hash_behind(&before);
            links.push(link);
        }
        links
    }

    fn checked(links: &[AuditLink]) -> Result<Option<AuditHead>, AuditBreak> {
        let mut chain = AuditChain::default();
        links.iter().try_for_each(|link| chain.check(link))?;
        Ok(chain.last().cloned())
    }

    #[test]
    fn a_chain_that_nobody_has_touched_is_whole_and_its_end_is_told() {
        let links = chain(&["a", "b", "c"]);
        let head = checked(&links).unwrap().unwrap();
        assert_eq!((head.seq, &head.hash), (2, &links[2].hash));
        assert_eq!(checked(&[]), Ok(None));
        assert_eq!(head.to_string().parse::<AuditHead>().unwrap(), head);
        assert!("2".parse::<AuditHead>().is_err() && "2:ABC".parse::<AuditHead>().is_err());
        // Whoever has another program can check it, too: `printf '\n0\nshop\na' | sha256sum`.
        assert_eq!(links[0].hash, "0cc4b38ba2b929c7fa3179675d6c8c88cda288b37ea8331c55a76f103bb96c1f");
    }

    #[test]
    fn whatever_is_done_to_a_chain_is_found_at_its_first_place_but_for_a_cut_off_end() {
        let whole = chain(&["a", "b", "c", "d"]);
        let broken = |change: &dyn Fn(&mut Vec<AuditLink>)| {
            let mut links = whole.clone();
            change(&mut links);
            checked(&links).map_err(|broken| (broken.seq, broken.what))
        };
        let (missing, changed) = (AuditFault::Missing, AuditFault::Changed);
        assert_eq!(broken(&|links| links[1].entry = "x".into()), Err((1, changed)));
        assert_eq!(broken(&|links| links[1].project = "x".into()), Err((1, changed)));
        assert_eq!(broken(&|links| drop(links.remove(0))), Err((0, missing)));
        assert_eq!(broken(&|links| drop(links.remove(2))), Err((2, missing)));
        assert_eq!(broken(&|links| links[2].hash.clear()), Err((2, AuditFault::Unchained)));
        let swapped = |links: &mut Vec<AuditLink>| {
            links.swap(1, 2);
            links[1].seq = 1;
            links[2].seq = 2;
        };
        assert_eq!(broken(&swapped), Err((1, changed)));
        let taken_out_and_numbered_anew = |links: &mut Vec<AuditLink>| {
            links.remove(1);
            (0..).zip(links).for_each(|(seq, link)| link.seq = seq);
        };
        assert_eq!(broken(&taken_out_and_numbered_anew), Err((1, changed)));
        assert_eq!(broken(&|links| drop(links.pop())).unwrap().unwrap().seq, 2, "this cannot be known");
    }

    #[test]
    fn by_what_somebody_has_kept_a_cut_off_end_and_an_audit_that_was_written_anew_are_found() {
        let (whole, anew) = (chain(&["a", "b", "c", "d"]), chain(&["a", "x", "c", "d"]));
        let kept = AuditHead { seq: 2, hash: whole[2].hash.clone() };
        let verified = |links: &[AuditLink]| {
            let mut chain = AuditChain::with(Some(kept.clone()));
            let broken = links.iter().try_for_each(|link| chain.check(link)).err();
            chain.verified(broken)
        };
        let good = verified(&whole);
        assert_eq!((good.whole, good.entries, good.exit), (true, 4, 0));
        assert!(verified(&whole[..3]).whole);
        for links in [&whole[..2], &anew, &[]] {
            let bad = verified(links);
            assert_eq!(bad.broken, Some(AuditBreak { seq: 2, what: AuditFault::NotAsKept }));
            assert_eq!((bad.whole, bad.exit), (false, 1));
        }
    }
}
