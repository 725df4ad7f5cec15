//! Somebody who is told of some things alone.

use std::sync::Arc;

use async_trait::async_trait;
use lockgate_model::NotifyAbout;
use lockgate_ports::{Check, Message, Notifier, PortError, Posted};

/// A notifier that hears only what it is to be told of.
pub struct Routed {
    notifier: Arc<dyn Notifier>,
    about: NotifyAbout,
}

impl Routed {
    /// `notifier` is told of what `about` has.
    #[must_use]
    pub fn new(notifier: Arc<dyn Notifier>, about: NotifyAbout) -> Self {
        Self { notifier, about }
    }
}

#[async_trait]
impl Notifier for Routed {
    fn name(&self) -> String {
        self.notifier.name()
    }

    async fn send(&self, message: &Message, earlier: Option<&Posted>) -> Result<Option<Posted>, PortError> {
        match self.about.has(message.kind, &message.environment) {
            true => self.notifier.send(message, earlier).await,
            // Where the run's message is stays known, for what comes next of it.
            false => Ok(earlier.cloned()),
        }
    }

    async fn check(&self) -> Check {
        self.notifier.check().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use lockgate_ports::MessageKind;

    use super::*;
    use crate::fixtures::message;

    #[derive(Default)]
    struct Heard(Mutex<Vec<(MessageKind, bool)>>);

    #[async_trait]
    impl Notifier for Heard {
        fn name(&self) -> String {
            "heard".to_owned()
        }

        async fn send(
            &self,
            message: &Message,
            earlier: Option<&Posted>,
        ) -> Result<Option<Posted>, PortError> {
            self.0.lock().unwrap().push((message.kind, earlier.is_some()));
            Ok(Some(Posted::new("here")))
        }

        async fn check(&self) -> Check {
            Check::ok(self.name(), "well")
        }
    }

    #[tokio::test]
    async fn what_is_not_to_be_told_is_passed_over_and_the_runs_message_stays_known() {
        let heard = Arc::new(Heard::default());
        let kinds = Some([MessageKind::Starting, MessageKind::Failed].into());
        let routed = Routed::new(heard.clone(), NotifyAbout { kinds, environments: None });
        let mut posted = None;
        for kind in [MessageKind::Starting, MessageKind::Success, MessageKind::Failed] {
            posted = routed.send(&message(kind), posted.as_ref()).await.unwrap();
        }
        assert_eq!(*heard.0.lock().unwrap(), [(MessageKind::Starting, false), (MessageKind::Failed, true)]);
        assert_eq!(routed.check().await.what, "heard");
    }
}
