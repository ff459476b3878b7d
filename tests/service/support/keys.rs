//! The keys of a space as Redis has them: snapshots, the sum of all balances, and values that a test
//! puts there itself.

use lockstep::accounts::account_to_json;
use redis::Commands;
use serde_json::Value;

use super::Service;

impl Service {
    /// The Redis key of one thing of this space.
    pub fn key(&self, kind: &str, id: &str) -> String {
        format!("lockstep:{{{}}}:{kind}:{id}", self.space)
    }

    /// The Redis key of the hash that has a transaction.
    pub fn transactions_key(&self, transaction_id: &str) -> String {
        let ms = u64::from_str_radix(&transaction_id[3..15], 16).unwrap();
        self.key("transactions", &(ms / 1000).to_string())
    }

    /// Changes the record of an account behind the service's back.
    pub fn edit_account(&self, id: &str, edit: impl FnOnce(&mut Value)) {
        let key = self.key("account", id);
        let record: Vec<u8> = self.raw().get(&key).unwrap();
        let mut record = account_to_json(&record).unwrap();
        edit(&mut record);
        let () = self.raw().set(&key, pack_account(&record)).unwrap();
    }

    /// Sets a figure in the record of a product behind the service's back. The record begins with two bytes, and
    /// then has its figures as doubles, in the order of `migrations-lua/lib/product.lua`.
    pub fn set_product_figure(&self, id: &str, figure: &str, value: i64) {
        let figures = [
            "on_hand",
            "reserved",
            "sold",
            "next_due",
            "movements",
            "version",
            "low_stock",
            "max_per_customer",
            "initial",
            "received",
            "returned",
            "damaged",
            "lost",
            "counted",
            "other",
        ];
        let at = 2 + 8 * figures.iter().position(|name| *name == figure).unwrap();
        let key = self.key("product", id);
        let mut record: Vec<u8> = self.raw().get(&key).unwrap();
        record[at..at + 8].copy_from_slice(&(value as f64).to_le_bytes());
        let () = self.raw().set(&key, record).unwrap();
    }

    /// Every key of this space with its content, byte for byte, sorted by key.
    pub fn snapshot(&self) -> Vec<(String, Vec<u8>)> {
        let mut connection = self.raw();
        let mut keys = keys(&mut connection, &self.space);
        keys.sort();
        keys.into_iter()
            .map(|key| {
                let content = redis::cmd("DUMP").arg(&key).query(&mut connection).unwrap();
                (key, content)
            })
            .collect()
    }

    /// Panics where anything has changed since a snapshot, and says what.
    #[track_caller]
    pub fn assert_unchanged(&self, before: &[(String, Vec<u8>)]) {
        let after = self.snapshot();
        let changed = |one: &[(String, Vec<u8>)], other: &[(String, Vec<u8>)]| -> Vec<String> {
            let gone = one.iter().filter(|entry| !other.contains(entry));
            gone.map(|(key, content)| format!("{key} {}", String::from_utf8_lossy(content)))
                .collect()
        };
        let (gone, new) = (changed(before, &after), changed(&after, before));
        assert!(gone.is_empty() && new.is_empty(), "before: {gone:#?}\nafter: {new:#?}");
    }

    /// The balances of all accounts of a currency and of its external account, in minor units. They add
    /// up to zero, always.
    pub fn sum(&self, currency: &str) -> i128 {
        let connection = &mut self.raw();
        let prefix = self.key("account", "");
        let accounts = keys(connection, &self.space);
        let accounts: Vec<_> =
            accounts.into_iter().filter(|key| key.starts_with(&prefix)).collect();
        // One transaction, so that no transfer comes between the two reads.
        let (records, external): (Vec<Option<Vec<u8>>>, Option<Vec<u8>>) = redis::pipe()
            .atomic()
            .cmd("MGET")
            .arg(&accounts)
            .cmd("HGET")
            .arg(self.key("external", "accounts"))
            .arg(currency)
            .query(connection)
            .unwrap();
        let minor = |record: &Value, name: &str| -> i128 {
            record[name].as_str().unwrap().parse().unwrap()
        };
        records
            .into_iter()
            .chain([external])
            .flatten()
            .map(|record| account_to_json(&record).unwrap())
            .filter(|record| record["currency"] == currency)
            .map(|record| minor(&record, "credits") - minor(&record, "debits"))
            .sum()
    }
}

/// Packs an account as `migrations-lua/lib/account.lua` does, from what `account_to_json` makes of it.
pub fn pack_account(record: &Value) -> Vec<u8> {
    let statuses = ["open", "closed", "frozen_debits", "frozen_credits", "frozen_both"];
    let status = statuses.iter().position(|status| record["status"] == *status).unwrap() + 1;
    let amounts = ["credits", "debits", "held", "overdraft_limit", "max_balance"]
        .map(|name| record[name].as_str().unwrap());
    let is_wide = amounts.iter().any(|amount| amount.len() > 15);
    let mut bytes = vec![1 + u8::from(is_wide), u8::try_from(status).unwrap()];
    bytes.push(u8::try_from(record["scale"].as_u64().unwrap()).unwrap());
    for name in ["next_due", "postings", "version", "created_at"] {
        bytes.extend(record[name].as_f64().unwrap().to_le_bytes());
    }
    for amount in amounts {
        if is_wide {
            bytes.extend(amount.as_bytes());
            bytes.push(0);
        } else {
            bytes.extend(amount.parse().unwrap_or(-1.0_f64).to_le_bytes());
        }
    }
    bytes.extend(record["currency"].as_str().unwrap().as_bytes());
    bytes.push(0);
    bytes.extend(record["metadata"].to_string().as_bytes());
    bytes
}

/// Sets a key to a value of a Redis type, to see what a script makes of it.
pub fn seed(connection: &mut redis::Connection, key: &str, kind: &str, text: &str) {
    let _: () = connection.del(key).unwrap();
    let _: () = match kind {
        "string" => connection.set(key, text).unwrap(),
        "list" => connection.rpush(key, text).unwrap(),
        "hash" => connection.hset(key, "USD", text).unwrap(),
        "set" => connection.sadd(key, text).unwrap(),
        "zset" => connection.zadd(key, text, 1).unwrap(),
        other => panic!("no type {other}"),
    };
}

fn keys(connection: &mut redis::Connection, space: &str) -> Vec<String> {
    all_keys(connection, &format!("lockstep:{{{space}}}:*"))
}

/// The keys that match a pattern, in no order.
pub fn all_keys(connection: &mut redis::Connection, pattern: &str) -> Vec<String> {
    let mut cursor = 0_u64;
    let mut found = Vec::new();
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(5000)
            .query(connection)
            .unwrap();
        found.extend(keys);
        cursor = next;
        if cursor == 0 {
            return found;
        }
    }
}
