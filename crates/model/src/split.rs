//! What a router does with traffic: the shares that slots get.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Slot;

/// All of the traffic, in percent.
const WHOLE: u8 = 100;

/// What can get a share: a slot, or where one is to be reached.
pub trait InSlot {
    /// The slot whose share it is.
    fn slot(&self) -> Slot;
}

impl InSlot for Slot {
    fn slot(&self) -> Slot {
        *self
    }
}

/// Shares of the traffic in percent, each at least 1, no slot twice, that add up to 100. One slot with all of it is the usual
/// one. In the order of slots, so that equal splits compare as equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Vec<(T, u8)>", into = "Vec<(T, u8)>")]
#[serde(bound(serialize = "T: InSlot + Clone + Serialize", deserialize = "T: InSlot + Deserialize<'de>"))]
pub struct Split<T = Slot>(Vec<(T, u8)>);

/// Shares that are no split, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSplit {
    /// A share of nothing: what gets none is not named.
    #[error("the share of {0} is 0 %, so it gets no traffic: leave it out")]
    Nothing(Slot),
    /// A slot with two shares.
    #[error("{0} has two shares")]
    Twice(Slot),
    /// The shares' sum, which is not 100.
    #[error("the shares add up to {0} %, not to 100 %")]
    NotWhole(u32),
}

impl<T: InSlot> Split<T> {
    /// The usual one: 100 for one slot.
    #[must_use]
    pub fn all_to(one: T) -> Self {
        Self(vec![(one, WHOLE)])
    }

    /// # Errors
    /// [`InvalidSplit`] says which rule the shares break.
    pub fn new(shares: impl IntoIterator<Item = (T, u8)>) -> Result<Self, InvalidSplit> {
        let mut shares: Vec<(T, u8)> = shares.into_iter().collect();
        shares.sort_by_key(|(one, _)| one.slot());
        if let Some((one, _)) = shares.iter().find(|(_, share)| *share == 0) {
            return Err(InvalidSplit::Nothing(one.slot()));
        }
        if let Some(twice) = shares.windows(2).find(|two| two[0].0.slot() == two[1].0.slot()) {
            return Err(InvalidSplit::Twice(twice[0].0.slot()));
        }
        let sum: u32 = shares.iter().map(|(_, share)| u32::from(*share)).sum();
        if sum != u32::from(WHOLE) {
            return Err(InvalidSplit::NotWhole(sum));
        }
        Ok(Self(shares))
    }

    /// The slot gets some of the traffic.
    #[must_use]
    pub fn sends_to(&self, slot: Slot) -> bool {
        self.0.iter().any(|(one, _)| one.slot() == slot)
    }

    /// What gets all of it; `None` when several share it.
    #[must_use]
    pub fn only(&self) -> Option<&T> {
        match self.0.as_slice() {
            [(one, _)] => Some(one),
            _ => None,
        }
    }

    /// The slot that gets most of it; of equal ones the first.
    #[must_use]
    pub fn most(&self) -> Slot {
        let mut shares = self.0.iter();
        let first = shares.next().map_or((Slot::Main, 0), |(one, share)| (one.slot(), *share));
        let more = |most: (Slot, u8), (one, share): &(T, u8)| {
            if *share > most.1 { (one.slot(), *share) } else { most }
        };
        shares.fold(first, more).0
    }

    /// Each with its share, 1 to 100, in the order of slots.
    pub fn shares(&self) -> impl Iterator<Item = (&T, u8)> {
        self.0.iter().map(|(one, share)| (one, *share))
    }
}

impl<T: InSlot> TryFrom<Vec<(T, u8)>> for Split<T> {
    type Error = InvalidSplit;

    fn try_from(shares: Vec<(T, u8)>) -> Result<Self, InvalidSplit> {
        Self::new(shares)
    }
}

impl<T> From<Split<T>> for Vec<(T, u8)> {
    fn from(split: Split<T>) -> Self {
        split.0
    }
}

/// `green`, or `blue 90 %, green 10 %`.
impl<T: InSlot> fmt::Display for Split<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(one) = self.only() {
            return write!(f, "{}", one.slot());
        }
        for (index, (one, share)) in self.shares().enumerate() {
            write!(f, "{}{} {share} %", if index == 0 { "" } else { ", " }, one.slot())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[(Slot, u8)]) -> Result<Split, InvalidSplit> {
        Split::new(shares.iter().copied())
    }

    #[test]
    fn every_slot_with_a_share_gets_traffic_and_no_other() {
        let canary = split(&[(Slot::Green, 10), (Slot::Blue, 90)]).unwrap();
        assert!(canary.sends_to(Slot::Blue) && canary.sends_to(Slot::Green) && !canary.sends_to(Slot::Main));
        assert_eq!((canary.only(), canary.most()), (None, Slot::Blue));
        assert_eq!(canary.to_string(), "blue 90 %, green 10 %");
        let usual = Split::all_to(Slot::Green);
        assert_eq!((usual.only(), usual.most()), (Some(&Slot::Green), Slot::Green));
        assert!(!usual.sends_to(Slot::Blue));
        assert_eq!(usual.to_string(), "green");
        assert_eq!(split(&[(Slot::Blue, 50), (Slot::Green, 50)]).unwrap().most(), Slot::Blue);
    }

    #[test]
    fn what_does_not_add_up_to_all_of_it_is_no_split() {
        assert_eq!(split(&[]), Err(InvalidSplit::NotWhole(0)));
        assert_eq!(split(&[(Slot::Blue, 99)]), Err(InvalidSplit::NotWhole(99)));
        assert_eq!(split(&[(Slot::Blue, 200), (Slot::Green, 200)]), Err(InvalidSplit::NotWhole(400)));
        assert_eq!(split(&[(Slot::Blue, 100), (Slot::Green, 0)]), Err(InvalidSplit::Nothing(Slot::Green)));
        assert_eq!(split(&[(Slot::Blue, 50), (Slot::Blue, 50)]), Err(InvalidSplit::Twice(Slot::Blue)));
    }

    #[test]
    fn it_is_read_as_it_was_written_and_checked_when_it_is_read() {
        let canary = split(&[(Slot::Blue, 90), (Slot::Green, 10)]).unwrap();
        let text = serde_json::to_string(&canary).unwrap();
        assert_eq!(text, r#"[["blue",90],["green",10]]"#);
        assert_eq!(serde_json::from_str::<Split>(&text).unwrap(), canary);
        assert!(serde_json::from_str::<Split>(r#"[["blue",90]]"#).is_err());
    }
}
