//! The switch: whether nginx goes by it, and changing it.

use lockgate_model::{FailureKind, NginxSwitch, Slot};
use lockgate_ports::{PortError, RouteVersion};

use crate::NginxOptions;
use crate::advice::folder;
use crate::included;
use crate::nginx::{Looked, Nginx, Said};
use crate::syntax::At;

/// So that nginx's user, whoever that is, may see it.
const MARKER_MODE: u32 = 0o644;
/// Looks at a file that somebody switches meanwhile.
const LOOKS_MAX: usize = 3;

impl Nginx {
    /// What nginx says otherwise than the file, and where. The newest look: the file may be somebody else's to change.
    ///
    /// # Errors
    /// As [`Nginx::said`].
    pub(crate) async fn otherwise(&self, looked: &mut Looked) -> Result<Option<(Slot, At)>, PortError> {
        let mut turn = 0;
        loop {
            turn += 1;
            let mut otherwise = None;
            for site in self.asked(looked) {
                if let Said::Goes(slot) = self.said(looked, site).await?
                    && slot != looked.slot
                {
                    otherwise = Some((slot, site.at.clone()));
                    break;
                }
            }
            if otherwise.is_none() || turn == LOOKS_MAX {
                return Ok(otherwise);
            }
            let (content, slot) = self.content().await?;
            if content == looked.content {
                return Ok(otherwise);
            }
            (looked.content, looked.slot) = (content, slot);
        }
    }

    /// That nginx goes where the file says, as far as it says where it goes.
    ///
    /// # Errors
    /// As [`Nginx::said`]; `Refused` where it goes elsewhere.
    pub(crate) async fn agreed(&self, mut looked: Looked) -> Result<Looked, PortError> {
        match self.otherwise(&mut looked).await? {
            None => Ok(looked),
            Some((slot, at)) => Err(self.blind(&looked, slot, &at)),
        }
    }

    /// For people: what the file says, and nginx does not do.
    pub(crate) fn told(&self, looked: &Looked, slot: Slot, at: &At) -> String {
        let file = &self.options.marker;
        let says = match (self.is_reloaded(), looked.content.is_some()) {
            (true, _) => format!("says {}", looked.slot),
            (false, true) => "is there".to_owned(),
            (false, false) => "is not there".to_owned(),
        };
        format!("{file} {says}, and nginx goes to {slot} ({at})")
    }

    pub(crate) fn blind(&self, looked: &Looked, slot: Slot, at: &At) -> PortError {
        let message = self.told(looked, slot, at);
        if self.is_reloaded() {
            return PortError::new(FailureKind::Refused, message)
                .hint("has it loaded that? `nginx -t && nginx -s reload` on that host");
        }
        let NginxOptions { marker, seen_as, container, .. } = &self.options;
        let hint = match (looked.content.is_some(), container) {
            (true, None) => format!(
                "nginx's user must be able to look into the folder: `chmod o+x {}` (and the folders above)",
                folder(marker)
            ),
            (true, Some(_)) => format!(
                "a container needs the folder, not the file, and sees it as {seen_as}: `-v {}:{}:ro`; nginx's user there must be able to look into it",
                folder(marker),
                folder(seen_as)
            ),
            (false, _) => format!(
                "nginx sees another {seen_as} than the host's: set `router.nginx.marker` to its path as nginx sees it"
            ),
        };
        PortError::new(FailureKind::Refused, message).hint(hint)
    }

    /// Switches, and asks nginx whether it has. Where it goes elsewhere the marker is put back: no user has got to the slot.
    ///
    /// # Errors
    /// As [`Nginx::agreed`]; with an unknown effect where nginx fell silent after the marker was changed.
    pub(crate) async fn switch(&self, mut looked: Looked, slot: Slot) -> Result<(), PortError> {
        let before = looked.slot;
        if before == slot {
            // What nginx was not told to load is loaded now.
            match self.otherwise(&mut looked).await? {
                None => return Ok(()),
                Some(_) if self.is_reloaded() => {}
                Some((says, at)) => return Err(self.blind(&looked, says, &at)),
            }
        }
        for site in self.asked(&looked) {
            match self.said(&looked, site).await {
                Err(error) if error.is_silence() => return Err(error),
                // Switching may mend it.
                _ => {}
            }
        }
        self.write(slot).await?;
        if self.is_reloaded()
            && let Err(error) = self.reload(&looked.configuration).await
        {
            return Err(self.put_back(before, error).await);
        }
        let (content, written) = self.content().await?;
        let looked = Looked { content, slot: written, ..looked };
        if looked.slot != slot {
            let message =
                format!("{} was switched to {slot} and says {before} right afterwards", self.options.marker);
            return Err(PortError::new(FailureKind::Conflict, message)
                .with_unknown_effect()
                .hint("somebody else switches; find out who, and repeat"));
        }
        match self.agreed(looked).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_silence() => Err(error.with_unknown_effect()),
            // Where it was loaded, somebody may have got there.
            Err(error) if self.is_reloaded() => Err(error.with_unknown_effect()),
            Err(error) => Err(self.put_back(before, error).await),
        }
    }

    /// As the switch was before it failed with `error`.
    async fn put_back(&self, before: Slot, error: PortError) -> PortError {
        match self.write(before).await {
            Ok(()) => error.context("the switch was put back"),
            Err(undo) => {
                let both = format!("{}; and it could not be put back: {}", error.message, undo.message);
                PortError::new(error.kind, both).with_unknown_effect().with_hints(error.hints().clone())
            }
        }
    }

    /// Has the file say the slot.
    pub(crate) async fn write(&self, slot: Slot) -> Result<(), PortError> {
        let marker = &self.options.marker;
        let written = match (self.options.switch, slot) {
            (NginxSwitch::Reload, _) => {
                let content = included::content(&self.label(), &self.dials, slot);
                self.host().write(marker, content.as_bytes(), MARKER_MODE).await
            }
            (NginxSwitch::File, Slot::Green) => self.host().write(marker, b"green\n", MARKER_MODE).await,
            (NginxSwitch::File, _) => self.host().remove(marker).await,
        };
        written.map_err(|error| {
            let host = self.host().id();
            error.context("the switch").or_hint(|| {
                format!("the user that Lockgate is on {host} must be able to make and remove {marker}: it is the switch")
            })
        })
    }

    pub(crate) fn refuse_stale(&self, looked: &Looked, expected: &RouteVersion) -> Result<(), PortError> {
        if looked.version() == *expected {
            return Ok(());
        }
        let message = format!("{} changed meanwhile: it leads to {} now", self.options.marker, looked.slot);
        Err(PortError::new(FailureKind::Conflict, message)
            .hint("somebody else switches; look at the route again and repeat"))
    }
}
