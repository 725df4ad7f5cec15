//! A person's program in a slot's container, or in one of its own.

use lockgate_model::{Release, Slot};
use lockgate_ports::{Command, PortError, demand_values};

use crate::compose::Compose;
use crate::overlay::Pins;

impl Compose {
    /// In the first of several containers.
    pub(crate) async fn enter(
        &self,
        slot: Slot,
        argv: &[String],
        is_tty: bool,
    ) -> Result<Command, PortError> {
        let running = self.some_running_in(slot).await?;
        let Some(first) = running.first() else {
            return Err(PortError::not_found(format!("no container of {slot} runs")));
        };
        let mut command = Command::new(["docker", "exec", "--interactive"]);
        if is_tty {
            command = command.arg("--tty");
        }
        command = command.arg(&first.summary.id);
        for argument in argv {
            command = command.arg(argument);
        }
        for (name, value) in self.locator.address().await?.variables() {
            command = command.env(name, value);
        }
        Ok(command)
    }

    /// As `docker compose run --rm` makes it; it holds no slot.
    pub(crate) async fn enter_new(
        &self,
        slot: Slot,
        release: &Release,
        argv: &[String],
        is_tty: bool,
    ) -> Result<Command, PortError> {
        demand_values(&self.service)?;
        let (place, image) = tokio::join!(self.own_place(slot), self.on_host(release));
        let (place, image) = (place?, image?);
        let Some(image) = image else {
            let reference = self.reference(release)?;
            return Err(PortError::not_found(format!("the image {reference} is not on {}", self.host.id()))
                .hint("deploy it again, which fetches it"));
        };
        let cli = self.cli.found_in(&place.dir).await?;
        let pins = Pins { release, image: &image, own: None, pull_policy: !cli.is_v1() };
        let overlay = self.write_one_off(&place, &pins, None).await?;
        let mut files: Vec<&str> = place.files.iter().map(String::as_str).collect();
        files.push(&overlay.file);
        let mut args = vec!["run", "--rm", "--no-deps"];
        if !is_tty {
            args.push("-T");
        }
        args.push(&place.service);
        args.extend(argv.iter().map(String::as_str));
        let mut env = self.interpolation(slot, Some(release.tag.as_str()));
        env.extend(overlay.values.clone());
        self.cli.command(&place, &files, &env, &args).await
    }
}
