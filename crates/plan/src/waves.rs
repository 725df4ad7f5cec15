//! Which hosts go together.

use lockgate_model::{HostId, Wave};

/// Cuts the hosts into waves, in order; hosts that the waves leave over make one more.
pub(crate) fn cut(hosts: &[HostId], waves: &[Wave]) -> Vec<Vec<HostId>> {
    let total = hosts.len();
    let mut rest = hosts;
    let mut cut = Vec::new();
    for wave in waves {
        let wanted = match wave {
            Wave::Hosts(count) => *count as usize,
            Wave::Percent(percent) => (total * usize::from(*percent)).div_ceil(100).max(1),
            Wave::Rest => rest.len(),
        };
        let (wave, left) = rest.split_at(wanted.min(rest.len()));
        if !wave.is_empty() {
            cut.push(wave.to_vec());
        }
        rest = left;
    }
    if !rest.is_empty() {
        cut.push(rest.to_vec());
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_then_a_quarter_then_the_rest() {
        let hosts: Vec<HostId> = (0..10).map(|n| HostId::new(format!("web{n}")).unwrap()).collect();
        let sizes =
            |hosts: &[HostId], waves: &[Wave]| cut(hosts, waves).iter().map(Vec::len).collect::<Vec<_>>();
        let default = [Wave::Hosts(1), Wave::Percent(25), Wave::Rest];
        assert_eq!(sizes(&hosts, &default), [1, 3, 6]);
        assert_eq!(sizes(&hosts[..1], &default), [1]);
        assert_eq!(sizes(&hosts[..2], &default), [1, 1]);
        assert_eq!(sizes(&hosts, &[Wave::Hosts(4)]), [4, 6], "nobody is left out");
        assert_eq!(sizes(&[], &default), [0usize; 0]);
    }
}
