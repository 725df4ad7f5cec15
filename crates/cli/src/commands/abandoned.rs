//! What is said of a run that was left as it is.

use lockgate_model::Abandoned;
use lockgate_render::{clean, failure_text, hosts_text, live_text};

use super::Context;
use crate::args::Format;

pub fn tell(context: &Context<'_>, abandoned: &Abandoned) {
    let (output, status) = (context.output, &abandoned.status);
    if output.format == Format::Json {
        output.json(&abandoned.line());
        return;
    }
    let (service, environment) = (&status.service, &status.environment);
    let mut lines =
        vec![output.paint.red(&format!("abandoned: {service} in {environment} is left as it is"))];
    lines.push("now, as far as is known:".to_owned());
    for host in &abandoned.hosts {
        let place = hosts_text(std::slice::from_ref(host));
        lines.push(match (status.observed.hosts.get(host), status.unseen.get(host)) {
            (Some(seen), _) => format!("  {place}: {}", live_text(seen)),
            (None, Some(why)) => format!("  {place}: not known: {}", failure_text(why, output.paint)),
            (None, None) => format!("  {place}: not known"),
        });
    }
    lines.push(format!("{} type, in this order:", output.paint.bold("next:")));
    lines.extend(abandoned.commands().iter().map(|command| format!("  {}", clean(command))));
    output.text(&lines.join("\n"));
}
