//! The line for cron that calls `lockgate run-schedule`.

use std::path::Path;

use lockgate_model::Schedule;

/// Where schedules differ, or are in a time zone of their own, cron only has to call often enough: what is due is known here.
const OFTEN: &str = "*/5 * * * *";

/// When, and what. Cron takes the zone of its machine, and not all of what a schedule may say.
pub fn line(program: &str, config: &Path, environment: Option<&str>, schedules: &[&Schedule]) -> String {
    format!("{} {}", when(schedules), command(program, config, environment))
}

/// As cron and then a shell read it. `config` is absolute.
pub fn command(program: &str, config: &Path, environment: Option<&str>) -> String {
    let mut words = vec![program.to_owned(), "-c".to_owned(), config.to_string_lossy().into_owned()];
    words.extend(environment.into_iter().flat_map(|name| ["--env".to_owned(), name.to_owned()]));
    words.extend(["run-schedule", "--log"].map(str::to_owned));
    // Cron takes `%` for the end of a line, whatever a shell would.
    shell_words::join(&words).replace('%', "\\%")
}

fn when<'s>(schedules: &[&'s Schedule]) -> &'s str {
    let Some(first) = schedules.first() else { return OFTEN };
    let is_alike = schedules.iter().all(|one| one.cron == first.cron && one.zone.is_none());
    let is_plain = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit() || b"*,-/".contains(&byte));
    let fields = first.cron.as_str().split(' ');
    match is_alike && fields.clone().count() == 5 && fields.clone().all(is_plain) {
        true => first.cron.as_str(),
        false => OFTEN,
    }
}

#[cfg(test)]
mod tests {
    use lockgate_model::{Cron, Millis, Pick, Zone};

    use super::*;

    fn schedule(cron: &str, zone: Option<Zone>) -> Schedule {
        let cron = Cron::new(cron).unwrap();
        Schedule {
            cron,
            zone,
            deploy: Pick::LatestSemver,
            pre_releases: false,
            catch_up: Millis::from_secs(3600),
        }
    }

    #[test]
    fn the_line_comes_when_the_schedule_does_where_cron_can_say_that() {
        let (five, six) = (schedule("0 5 * * *", None), schedule("0 6 * * *", None));
        let elsewhere = schedule("0 5 * * *", Some(Zone::utc()));
        let last = schedule("0 5 L * *", None);
        let named = schedule("0 5 * * mon-fri", None);
        for (schedules, wanted) in [
            (vec![&five], "0 5 * * *"),
            (vec![&five, &five], "0 5 * * *"),
            (vec![&five, &six], OFTEN),
            (vec![&elsewhere], OFTEN),
            (vec![&last], OFTEN),
            (vec![&named], OFTEN),
        ] {
            assert_eq!(when(&schedules), wanted, "{schedules:?}");
        }
    }

    #[test]
    fn the_command_is_quoted_for_the_shell_and_for_cron() {
        let five = schedule("0 5 * * *", None);
        let line =
            |config: &str, environment| line("/opt/lockgate", Path::new(config), environment, &[&five]);
        assert_eq!(
            line("/srv/shop/lockgate.yaml", None),
            "0 5 * * * /opt/lockgate -c /srv/shop/lockgate.yaml run-schedule --log"
        );
        assert_eq!(
            line("/srv/my 100% shop/lockgate.yaml", Some("prod")),
            "0 5 * * * /opt/lockgate -c '/srv/my 100\\% shop/lockgate.yaml' --env prod run-schedule --log"
        );
    }
}
