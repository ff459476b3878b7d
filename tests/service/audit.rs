//! An auditor: reads all accounts and holds of a space at one moment, and panics where an invariant
//! does not hold.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;

use crate::support::Service;

/// Reads everything in one script, so that nothing moves in between. Only a test may use KEYS and keys
/// that it has not declared.
const READ_ALL: &str = r"
local prefix, found = ARGV[1], {}
local read = {
  account = function(key) return redis.call('GET', key) end,
  hold = function(key) return redis.call('GET', key) end,
  account_holds = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
  external = function(key) return redis.call('HVALS', key) end,
}
for _, key in ipairs(redis.call('KEYS', prefix .. '*')) do
  local kind, id = key:sub(#prefix + 1):match('^([%l_]+):(.*)$')
  if read[kind] then
    found[#found + 1] = { kind, id, read[kind](key) }
  end
end
local time = redis.call('TIME')
return { time[1] * 1000 + math.floor(time[2] / 1000), found }
";

type Found = (String, String, redis::Value);

/// The totals of earlier reads, which can only grow, and the ends of holds.
#[derive(Default)]
pub struct Audit {
    grown: BTreeMap<String, i128>,
    ends: BTreeMap<String, String>,
}

fn minor(record: &Value, name: &str) -> i128 {
    record[name].as_str().unwrap().parse().unwrap()
}

fn account(record: redis::Value) -> Value {
    let record: Vec<u8> = redis::from_redis_value(record).unwrap();
    lockstep::accounts::account_to_json(&record).unwrap()
}

fn hold(record: redis::Value) -> Value {
    let record: Vec<u8> = redis::from_redis_value(record).unwrap();
    lockstep::accounts::hold_to_json(&record).unwrap()
}

impl Audit {
    /// Reads once, and panics where an invariant does not hold.
    pub fn check(&mut self, service: &Service) {
        let (now, found): (i64, Vec<Found>) = redis::cmd("EVAL")
            .arg(READ_ALL)
            .arg(0)
            .arg(format!("lockstep:{{{}}}:", service.space))
            .query(&mut service.raw())
            .unwrap();
        let mut sums: BTreeMap<String, i128> = BTreeMap::new();
        let (mut accounts, mut holds, mut sets) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (kind, id, content) in found {
            match kind.as_str() {
                "account" => drop(accounts.insert(id, account(content))),
                "hold" => drop(holds.insert(id, hold(content))),
                "account_holds" => {
                    let members: Vec<(String, f64)> = redis::from_redis_value(content).unwrap();
                    sets.insert(id, members);
                }
                _ => {
                    let records: Vec<redis::Value> = redis::from_redis_value(content).unwrap();
                    for record in records {
                        let record = account(record);
                        let sum = sums.entry(record["currency"].to_string()).or_default();
                        *sum += minor(&record, "credits") - minor(&record, "debits");
                    }
                }
            }
        }
        for (id, account) in &accounts {
            let [credits, debits, held, overdraft] =
                ["credits", "debits", "held", "overdraft_limit"].map(|name| minor(account, name));
            *sums.entry(account["currency"].to_string()).or_default() += credits - debits;
            self.assert_grows(format!("{id} credits"), credits);
            self.assert_grows(format!("{id} debits"), debits);
            assert!(debits + held <= credits + overdraft, "{id} is overdrawn: {account:#}");
            if let Ok(most) = account["max_balance"].as_str().unwrap().parse::<i128>() {
                assert!(credits - debits <= most, "{id} has too much: {account:#}");
            }
            // The held amount is the sum of the holds in the set, including expired ones that are not
            // reclaimed yet.
            let members = sets.get(id).map(Vec::as_slice).unwrap_or_default();
            let mut sum = 0;
            for (member, score) in members {
                let (left, hold_id) = member.split_once(':').unwrap();
                let hold: &Value = &holds[hold_id];
                assert_eq!(hold["status"], "open", "{hold_id} is held: {hold:#}");
                assert_eq!(left.parse::<i128>().unwrap(), left_of(hold), "{hold:#}");
                assert_eq!(Some(*score), hold["expires_at"].as_f64(), "{hold:#}");
                sum += left_of(hold);
            }
            assert_eq!(held, sum, "{id}: {account:#} {members:?}");
        }
        for (id, hold) in &holds {
            let left = left_of(hold);
            self.assert_grows(format!("{id} captured"), minor(hold, "captured"));
            self.assert_grows(format!("{id} released"), minor(hold, "released"));
            let status = hold["status"].as_str().unwrap();
            if status == "open" {
                assert!(left > 0, "{id} holds nothing: {hold:#}");
                let due = hold["expires_at"].as_i64().unwrap() <= now + service.ahead_ms();
                let members = sets.get(hold["from_account"].as_str().unwrap());
                let is_set = members.is_some_and(|set| set.iter().any(|(it, _)| it.ends_with(id)));
                assert!(due || is_set, "{id} is not held: {hold:#}");
                assert!(!self.ends.contains_key(id), "{id} has begun again: {hold:#}");
            } else {
                assert_eq!(left, 0, "{id} has ended with something left: {hold:#}");
                let first = self.ends.entry(id.clone()).or_insert_with(|| status.to_owned());
                assert_eq!(first, status, "{id} has ended twice");
            }
        }
        assert!(sums.values().all(|sum| *sum == 0), "{sums:?}");
    }

    fn assert_grows(&mut self, what: String, now: i128) {
        let before = self.grown.insert(what.clone(), now).unwrap_or(0);
        assert!(before <= now, "{what}: {before} before, {now} now");
    }

    /// Reads again and again while `work` runs, and once more after it.
    pub async fn during<T>(service: &Service, work: impl IntoFuture<Output = T>) -> T {
        let done = Arc::new(AtomicBool::new(false));
        let auditing = tokio::task::spawn_blocking({
            let (service, done) = (service.clone(), done.clone());
            move || {
                let mut audit = Audit::default();
                while !done.load(Ordering::Relaxed) {
                    audit.check(&service);
                }
                audit.check(&service);
            }
        });
        let result = work.await;
        done.store(true, Ordering::Relaxed);
        auditing.await.unwrap();
        result
    }
}

fn left_of(hold: &Value) -> i128 {
    minor(hold, "amount") - minor(hold, "captured") - minor(hold, "released")
}
