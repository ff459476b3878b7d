//! The wire: one script and its steps as Redis gets them. `worker` encodes batches, `transaction` the one
//! step of an EXEC.

use redis::Pipeline;

use crate::store::{Clock, Retention, Script, invocation::EncodedInvocation};

/// The arguments that the runner takes before its steps.
#[derive(Clone)]
pub(in crate::store) struct RunnerArgs {
    pub clock: Clock,
    pub retention: Retention,
}

impl RunnerArgs {
    /// Adds one script to a pipeline: EVALSHA (or EVAL with `send_source`), the keys of all steps, the
    /// runner's own arguments, and for each step its operation, its numbers of keys and arguments, its
    /// fingerprint and its arguments. `runner.lua` reads it.
    pub fn encode<'a>(
        &self,
        pipeline: &mut Pipeline,
        script: &Script,
        send_source: bool,
        steps: impl Iterator<Item = &'a EncodedInvocation> + Clone,
    ) {
        if send_source {
            pipeline.cmd("EVAL").arg(&script.source);
        } else {
            pipeline.cmd("EVALSHA").arg(&script.sha1);
        }
        pipeline.arg(steps.clone().map(|invocation| invocation.keys.len()).sum::<usize>());
        for invocation in steps.clone() {
            for key in invocation.keys.iter() {
                pipeline.arg(key);
            }
        }
        let Retention { idempotency_ttl_ms, transaction_ttl_ms, history } = self.retention;
        pipeline.arg(self.clock.ahead_ms()).arg(idempotency_ttl_ms);
        pipeline.arg(transaction_ttl_ms).arg(history);
        for EncodedInvocation { step, keys, args, fingerprint, .. } in steps {
            let own_keys = keys.len() - usize::from(!fingerprint.is_empty());
            pipeline.arg(*step).arg(own_keys).arg(args.len()).arg(fingerprint);
            for arg in args.iter() {
                pipeline.arg(arg);
            }
        }
        pipeline.ignore_errors();
    }
}
