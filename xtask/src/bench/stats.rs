//! Numbers of repeated measurements.

use std::time::Duration;

/// Milliseconds, one for each repetition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1000.0);
    }

    pub fn push_value(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn extend(&mut self, other: &Samples) {
        self.0.extend(&other.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[count / 2],
            count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
        }
    }

    pub fn worst(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// What each repetition took more than the one measured beside it.
    pub fn minus(&self, floor: &Samples) -> Samples {
        Samples(self.0.iter().zip(&floor.0).map(|(one, other)| one - other).collect())
    }

    /// Each repetition in shares of the one measured beside it.
    pub fn over(&self, floor: &Samples) -> Samples {
        Samples(self.0.iter().zip(&floor.0).map(|(one, other)| one / other).collect())
    }

    /// `median / worst` as the tables show them.
    pub fn shown(&self) -> String {
        match self.is_empty() {
            true => "–".to_owned(),
            false => format!("{} / {}", number(self.median()), number(self.worst())),
        }
    }
}

/// Three digits that matter, and no more than two behind the point.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.to_vec())
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(samples(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(samples(&[4.0, 1.0]).worst(), 4.0);
    }

    #[test]
    fn differences_are_taken_between_neighbours_in_time() {
        assert_eq!(samples(&[5.0, 9.0]).minus(&samples(&[1.0, 2.0])), samples(&[4.0, 7.0]));
        assert_eq!(samples(&[5.0, 9.0]).over(&samples(&[1.0, 2.0])), samples(&[5.0, 4.5]));
    }

    #[test]
    fn numbers_show_what_matters() {
        assert_eq!(samples(&[0.123, 12.34]).shown(), "6.23 / 12.3");
        assert_eq!(number(1234.5), "1234");
        assert_eq!(Samples::default().shown(), "–");
    }
}
