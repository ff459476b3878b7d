//! Scripts that are run by EVALSHA without the service. Keys and arguments are named by the header of a
//! script, so scripts of two versions can be given the same calls.

use redis::{Cmd, aio::MultiplexedConnection};

use super::{Random, two_accounts, unique};

/// An assembled script, and the names in the header of its operation.
pub struct RawScript {
    operation: &'static str,
    source: String,
    sha1: String,
    keys: Names,
    args: Names,
}

/// Names as a header lists them. Those with a star are given for each line, after the others.
#[derive(Default)]
struct Names {
    fixed: Vec<String>,
    repeated: Vec<String>,
}

impl Names {
    fn iter(&self) -> impl Iterator<Item = &str> {
        self.fixed.iter().chain(&self.repeated).map(String::as_str)
    }
}

/// What a call names: two accounts, a product and a customer, and a key of a limit. Every script takes what it
/// needs.
pub struct RawCall {
    /// The beginning of account ids, before their numbers.
    pub accounts: &'static str,
    /// The payer of a transfer, or the account to open.
    pub from: u64,
    /// The payee of a transfer.
    pub to: u64,
    /// The product, and the key of a limit.
    pub product: u64,
    /// The customer of a reservation.
    pub customer: u64,
    /// The second since 1970 at which the transaction is filed.
    pub second: u64,
    /// The generated id.
    pub id: u128,
}

impl RawCall {
    /// A call with everything chosen by chance, among so many accounts and as many products.
    pub fn random(random: &mut Random, accounts: u64) -> RawCall {
        let (from, to) = two_accounts(random, accounts);
        let id = u128::from(unique()) << 64 | u128::from(random.below(1 << 31));
        let customer = random.below(accounts / 2);
        RawCall { accounts: "a", from, to, product: from, customer, second: 1_795_705_451, id }
    }

    /// The value of a name in the header of an operation.
    fn value(&self, operation: &str, name: &str) -> Vec<u8> {
        let RawCall { accounts, from, to, product, customer, second, id } = self;
        let key = |kind: &str, id: String| format!("lockstep:{{main}}:{kind}:{id}");
        let is_money = operation.starts_with("accounts/");
        let text = match name {
            "from_key" | "account_key" => key("account", format!("{accounts}{from}")),
            "to_key" => key("account", format!("{accounts}{to}")),
            "from_log" | "account_log" => key("postings", format!("{accounts}{from}")),
            "to_log" => key("postings", format!("{accounts}{to}")),
            "holds_key" if is_money => key("account_holds", format!("{accounts}{from}")),
            "holds_key" => key("product_holds", format!("p{product}")),
            "external_key" => key("external", "accounts".to_owned()),
            "index_key" if is_money => key("index", "accounts".to_owned()),
            "index_key" => key("index", "products".to_owned()),
            "transactions_key" => key("transactions", second.to_string()),
            "transaction_key" => key("transaction", format!("tx_{id:032x}")),
            "product_key" => key("product", format!("p{product}")),
            "log_key" if operation.starts_with("ratelimit/") => {
                key("limit_log", format!("k{product}"))
            }
            "log_key" => key("movements", format!("p{product}")),
            "reservation_key" => key("reservation", format!("res_{id:032x}")),
            "customer_key" => key("reservations", format!("c{customer}")),
            "allowance_key" => key("allowance", format!("c{customer}/p{product}")),
            "state_key" => key("bucket", format!("k{product}")),
            "from_account" | "account_id" => format!("{accounts}{from}"),
            "to_account" => format!("{accounts}{to}"),
            "product_id" => format!("p{product}"),
            "customer_id" => format!("c{customer}"),
            "reservation_id" => format!("res_{id:032x}"),
            "transaction_id" => format!("tx_{id:032x}"),
            "transaction_field" | "id_bytes" => return id.to_be_bytes().to_vec(),
            "amount" => "250".to_owned(),
            "decimals" | "scale" => "2".to_owned(),
            "currency" => "USD".to_owned(),
            "initial_balance" => "1000000000".to_owned(),
            "initial_stock" => "100000000".to_owned(),
            "overdraft_limit" | "low_stock" | "max_per_customer" => "0".to_owned(),
            "max_balance" => String::new(),
            "description" => "\"lunch\"".to_owned(),
            "name" => "\"cup\"".to_owned(),
            "metadata" => "{}".to_owned(),
            "price" => "790".to_owned(),
            "quantity" | "cost" => "1".to_owned(),
            "ttl_ms" => "300000".to_owned(),
            "key" => format!("k{product}"),
            "algorithm" => "token_bucket".to_owned(),
            "limit" => "1000000".to_owned(),
            "per_token" | "a" => "60000".to_owned(),
            "per_ms" | "b" => "1000".to_owned(),
            "window_ms" => "60000000".to_owned(),
            "code" => "1".to_owned(),
            "policy" => String::new(),
            "lease_id" => format!("lim_{id:032x}"),
            other => panic!("the benchmark has no value for {other} of {operation}"),
        };
        text.into_bytes()
    }
}

impl RawScript {
    /// The script of this version.
    pub fn present(operation: &'static str) -> RawScript {
        let script = lockstep::store::Library::embedded().script(operation);
        let names = |params: &lockstep::store::Params| Names {
            fixed: params.fixed.clone(),
            // Limits are checked by rules of their own, so no call has a line with a policy.
            repeated: params
                .repeated
                .iter()
                .filter(|name| *name != "policy_key")
                .cloned()
                .collect(),
        };
        RawScript {
            operation,
            source: script.source.clone(),
            sha1: script.sha1.clone(),
            keys: names(&script.header.keys),
            args: names(&script.header.args),
        }
    }

    /// A script of before. Its keys and arguments are those of the last header in it.
    pub fn before(operation: &'static str, source: String) -> RawScript {
        let (_, header) = source.rsplit_once("\nKEYS\n").unwrap();
        let (keys, rest) = header.split_once("\nARGV\n").unwrap();
        let (args, _) = rest.split_once("\nREPLY\n").unwrap();
        let (keys, args) = (names(keys), names(args));
        let sha1 = sha1_smol::Sha1::from(&source).digest().to_string();
        RawScript { operation, source, sha1, keys, args }
    }

    /// Has the server know the script.
    pub async fn load(&self, connection: &mut MultiplexedConnection) {
        let mut load = redis::cmd("SCRIPT");
        let sha1: String =
            load.arg("LOAD").arg(&self.source).query_async(connection).await.unwrap();
        assert_eq!(sha1, self.sha1);
    }

    /// The command that runs these calls as the steps of one script.
    pub fn command(&self, calls: &[RawCall]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        let values = |names: &Names, call: &RawCall| -> Vec<Vec<u8>> {
            names.iter().map(|name| call.value(self.operation, name)).collect()
        };
        let keys: Vec<_> = calls.iter().flat_map(|call| values(&self.keys, call)).collect();
        command.arg(&self.sha1).arg(keys.len()).arg(&keys);
        // Clock, times to live of idempotency records and transactions, history.
        command.arg(0).arg(86_400_000).arg(7_776_000_000_u64).arg(10_000);
        for call in calls {
            let args = values(&self.args, call);
            command.arg(self.operation).arg(keys.len() / calls.len()).arg(args.len()).arg("");
            command.arg(args);
        }
        command
    }
}

/// The names in the lines of a header.
fn names(lines: &str) -> Names {
    let mut names = Names::default();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("*") => names.repeated.push(words.next().unwrap().to_owned()),
            Some(name) => names.fixed.push(name.to_owned()),
            None => {}
        }
    }
    names
}

/// Sends commands in one pipeline, and panics where one has failed or refused.
pub async fn send(connection: &mut MultiplexedConnection, commands: impl Iterator<Item = Cmd>) {
    let mut pipe = redis::pipe();
    for command in commands {
        pipe.add_command(command);
    }
    // Each step replies with the mark of a replay and an array whose first text is `ok`.
    let replies: Vec<Vec<redis::Value>> = pipe.query_async(connection).await.unwrap();
    for step in replies.iter().flat_map(|reply| reply.iter().skip(1).step_by(2)) {
        let redis::Value::Array(fields) = step else { panic!("{step:?}") };
        assert_eq!(fields[0], redis::Value::BulkString(b"ok".to_vec()), "{fields:?}");
    }
}
