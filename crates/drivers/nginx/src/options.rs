//! What the driver is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockgate_model::{NginxSwitch, Slot};
use lockgate_ports::Host;

/// One service's route in one nginx. All texts have their placeholders filled in.
#[derive(Clone)]
pub struct NginxOptions {
    /// Where nginx runs.
    pub host: Arc<dyn Host>,
    /// The service, for names in what is to be pasted.
    pub service: String,
    /// What a switch changes.
    pub switch: NginxSwitch,
    /// The file that is the switch, by its path on the host: there while green is live; with [`NginxSwitch::Reload`], the one in
    /// which it stands where the live slot is.
    pub marker: String,
    /// Its path as nginx sees it, which is another one where a container has the folder elsewhere.
    pub seen_as: String,
    /// What nginx dials for each slot: `127.0.0.1:5001`, `web-blue:5000`.
    pub dial: BTreeMap<Slot, String>,
    /// The first file of nginx's configuration; `None`: where nginx itself looks for it.
    pub config: Option<String>,
    /// Name of the container that nginx runs in; `None`: on the host.
    pub container: Option<String>,
    /// Base URL for asking through nginx, as seen from the host; absent: found in its configuration. An `https` URL is asked on
    /// the host's own loopback, with the URL's name as the server's name.
    pub ask: Option<String>,
}
