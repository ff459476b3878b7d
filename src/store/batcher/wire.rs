//! The wire: one script and its steps as Redis gets them. `worker` encodes batches, `transaction` the one
//! step of an EXEC, `user_script` a script of a caller.

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
    /// fingerprint with the caller's key, and its arguments. `runner.lua` reads it.
    pub fn encode<'a>(
        &self,
        pipeline: &mut Pipeline,
        script: &Script,
        send_source: bool,
        steps: impl Iterator<Item = &'a EncodedInvocation> + Clone,
    ) {
        let body = if send_source { &script.source } else { &script.sha1 };
        pipeline.cmd(script.command(send_source)).arg(body);
        pipeline.arg(steps.clone().map(|invocation| invocation.keys.len()).sum::<usize>());
        for invocation in steps.clone() {
            for key in invocation.keys.iter() {
                pipeline.arg(key);
            }
        }
        let Retention { idempotency_ttl_ms, transaction_ttl_ms, history } = self.retention;
        pipeline.arg(self.clock.ahead_ms()).arg(idempotency_ttl_ms);
        pipeline.arg(transaction_ttl_ms).arg(history);
        for EncodedInvocation { step, keys, args, fingerprint, actor, .. } in steps {
            let own_keys = keys.len() - usize::from(!fingerprint.is_empty());
            pipeline.arg(*step).arg(own_keys).arg(args.len());
            match actor.is_empty() {
                true => pipeline.arg(fingerprint),
                false => pipeline.arg(format!("{fingerprint}@{actor}")),
            };
            for arg in args.iter() {
                pipeline.arg(arg);
            }
        }
        pipeline.ignore_errors();
    }

    /// The words of EVAL for one step, as the debugger is sent them.
    pub fn words(&self, script: &Script, step: &EncodedInvocation) -> Vec<Vec<u8>> {
        let mut pipeline = Pipeline::with_capacity(1);
        self.encode(&mut pipeline, script, true, [step].into_iter());
        let words = pipeline.cmd_iter().flat_map(redis::Cmd::args_iter).map(|word| match word {
            redis::Arg::Simple(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        });
        words.collect()
    }
}
