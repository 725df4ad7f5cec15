//! Hooks in a plan: once in a deployment, on the first host of the first wave on which the release takes another's place.

use lockgate_model::{Action, Hook, HookMoment, Intent, Lane, Release};

use crate::recipe::{HostPlan, Phases, Wanted, lane, step};

impl Wanted<'_> {
    /// Nothing for a rollback, nor where a release is only brought back that had the traffic before: its hooks have run.
    /// `former` is what a host had before.
    pub fn push_hook<'a>(
        &self,
        phases: &mut Phases,
        moment: HookMoment,
        changing: &[HostPlan<'a>],
        former: impl Fn(&HostPlan<'a>) -> Option<&'a Release>,
    ) {
        let hooks = &self.service.hooks;
        let (hook, title) = match moment {
            HookMoment::BeforeSwitch => (&hooks.before_switch, "before the switch"),
            HookMoment::AfterSwitch => (&hooks.after_switch, "after the switch"),
        };
        let deploys = matches!(self.intent, Intent::Deploy { .. });
        let Some(hook) = hook.as_ref().filter(|_| deploys) else { return };
        let is_new = |host: &&HostPlan<'a>| {
            self.again || former(host).is_none_or(|former| !former.same_bytes(&self.release))
        };
        let Some(first) = changing.iter().find(is_new) else { return };
        phases.push(title, false, vec![self.hook_lane(first, moment, hook)]);
        if moment == HookMoment::AfterSwitch {
            // That may have taken long.
            phases.push("look again", false, changing.iter().map(|host| self.look_again(host)).collect());
        }
    }

    fn hook_lane(&self, host: &HostPlan<'_>, moment: HookMoment, hook: &Hook) -> Lane {
        let (hook, release) = (hook.clone(), self.release.clone());
        let runs = Action::RunHook { hook, moment, slot: host.slot, release, run: None };
        lane(host.host, vec![step(runs, vec![Action::EndHook { moment }])])
    }
}
