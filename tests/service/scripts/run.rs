use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::support::{Server, Service, race};

#[tokio::test]
async fn answers_the_result_as_json() {
    let service = Service::new();
    for (source, result) in [
        ("return nil", Value::Null),
        ("return false", Value::Null),
        ("return true", json!(1)),
        ("return 3.99", json!(3)),
        ("return -9007199254740991", json!(-9_007_199_254_740_991_i64)),
        ("return 2^60", json!(1_i64 << 60)),
        ("return 'text \u{1F512}'", json!("text \u{1F512}")),
        ("return '\\255\\254'", json!({ "base64": "//4=" })),
        ("return { 1, { 'a', {} }, nil, 2 }", json!([1, ["a", []]])),
        ("return redis.status_reply('FINE')", json!({ "ok": "FINE" })),
        ("return { redis.error_reply('BAD thing') }", json!([{ "err": "BAD thing" }])),
        ("return { a = 1 }", json!([])),
        ("return cjson.encode({ 1, 2 })", json!("[1,2]")),
        ("return redis.sha1hex('')", json!("da39a3ee5e6b4b0d3255bfef95601890afd80709")),
        ("", Value::Null),
    ] {
        let source = format!("#!lua\n{source}");
        assert_eq!(service.eval(&source, &[], &[]).await.assert(200)["result"], result, "{source}");
    }
}

#[tokio::test]
async fn gets_the_data_keys_and_arguments() {
    let service = Service::new();
    let body = json!({ "values": { "visits": "41" } });
    service.post("/batch/set", body).await.assert(200);
    let source =
        "return { redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[1], ARGV[2], #KEYS, #ARGV, ... }";
    let put = json!({ "keys": ["k"], "args": ["a", "b"] });
    service.put_script_of("s", source, put).await.assert(201);
    let body = json!({ "keys": ["visits"], "args": [1, "x"] });
    let ran = service.post("/scripts/s/run", body).await.assert(200);
    let key = format!("lockstep-data:{{{}}}:visits", service.space);
    assert_eq!(ran["result"], json!([42, key, "x", 1, 2, "1", "x"]));
    assert_eq!((&ran["name"], &ran["version"]), (&json!("s"), &json!(1)));
    assert!(ran["duration_us"].as_u64().unwrap() > 0);
    let read = service.post("/batch/get", json!({ "keys": ["visits"] })).await.assert(200);
    assert_eq!(read["values"]["visits"], "42");
}

#[tokio::test]
async fn refuses_invalid_values() {
    let service = Service::new();
    service
        .put_script_of("s", "return 1", json!({ "keys": ["k"], "args": ["a"] }))
        .await
        .assert(201);
    let before = service.snapshot();
    for (body, pointer) in [
        (json!({ "keys": [], "args": ["x"] }), "/keys"),
        (json!({ "keys": ["a", "b"], "args": ["x"] }), "/keys"),
        (json!({ "keys": ["a"] }), "/args"),
        (json!({ "keys": ["a"], "args": [1.5] }), "/args/0"),
        (json!({ "keys": ["a"], "args": [null] }), "/args/0"),
        (json!({ "keys": vec!["a"; 1001], "args": ["x"] }), "/keys"),
        (json!({ "keys": ["a"], "args": ["x"], "timeout_ms": 0 }), "/timeout_ms"),
        (json!({ "keys": ["a"], "args": ["x"], "timeout_ms": 30_001 }), "/timeout_ms"),
        (json!({ "keys": ["a"], "args": ["x"], "version": 0 }), "/version"),
    ] {
        let refused = service.post("/scripts/s/run", body.clone()).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}");
    }
    let body = json!({ "keys": ["{x}"], "args": ["x"] });
    service.post("/scripts/s/run", body).await.expect_problem(422, "invalid_id");
    service.assert_unchanged(&before);
}

/// An error has its kind, its line, and that line.
#[tokio::test]
async fn an_error_says_where_and_why() {
    let service = Service::new();
    service.post("/batch/set", json!({ "values": { "text": "x" } })).await.assert(200);
    let cases = [
        ("local x\n\nx()", "call_nil", json!(3), "x()"),
        ("local x\nreturn x.y", "index_nil", json!(2), "return x.y"),
        ("local x = {}\n  return 1 + x", "arithmetic", json!(2), "return 1 + x"),
        ("return 1 < {}", "compare", json!(1), "return 1 < {}"),
        ("return 'a' .. {}", "concat", json!(1), "return 'a' .. {}"),
        ("-- c\nerror('mine')", "user", json!(2), "error('mine')"),
        ("error({ err = 'MINE x' })", "user", json!(1), "error({ err = 'MINE x' })"),
        ("error('mine', 0)", "user", json!(1), "error('mine', 0)"),
        ("assert(false, 'mine')", "user", json!(1), "assert(false, 'mine')"),
        ("assert(nil)", "user", json!(1), "assert(nil)"),
        ("local f = function()\n  error('mine')\nend\nf()", "user", json!(2), "error('mine')"),
        (
            "redis.call('LPUSH', KEYS[1], 1)",
            "wrong_type",
            json!(1),
            "redis.call('LPUSH', KEYS[1], 1)",
        ),
        (
            "return redis.call('LPUSH', KEYS[1], 1)",
            "wrong_type",
            json!(1),
            "return redis.call('LPUSH', KEYS[1], 1)",
        ),
        (
            "--[[ c\n]] return redis.call('INCR', KEYS[1])",
            "command",
            json!(2),
            "]] return redis.call('INCR', KEYS[1])",
        ),
        (
            "redis.call('CONFIG', 'GET', '*')",
            "command",
            json!(1),
            "redis.call('CONFIG', 'GET', '*')",
        ),
        ("redis.call('NONE', KEYS[1])", "command", json!(1), "redis.call('NONE', KEYS[1])"),
        ("return unknown", "other", json!(1), "return unknown"),
        ("('x'):gsub('x', string.rep)", "other", json!(1), "('x'):gsub('x', string.rep)"),
        ("unknown = 1", "other", json!(1), "unknown = 1"),
        (
            "local function f() return f() + 1 end\nreturn f()",
            "other",
            json!(1),
            "local function f() return f() + 1 end",
        ),
    ];
    let before = |service: &Service| {
        let data = format!("lockstep-data:{{{}}}:", service.space);
        let keys = service.snapshot().into_iter();
        keys.filter(|(key, _)| key.starts_with(&data)).collect::<Vec<_>>()
    };
    let data = before(&service);
    for (source, kind, line, source_line) in cases {
        let refused =
            service.eval(source, &["text"], &[]).await.expect_problem(422, "script_error");
        assert_eq!(refused["kind"], kind, "{source}: {refused:#}");
        assert_eq!(
            (&refused["line"], &refused["source_line"]),
            (&line, &json!(source_line)),
            "{source}"
        );
        assert_eq!(
            (&refused["effects"], &refused["outcome"]),
            (&json!("none"), &json!("not_applied"))
        );
        assert!(!refused["message"].as_str().unwrap().contains("user_script"), "{source}");
    }
    assert_eq!(before(&service), data);
    for (source, message) in [
        ("return redis.error_reply('MINE no')", "MINE no"),
        ("error('mine')", "mine"),
        ("assert(false, 'mine')", "mine"),
        ("assert(false)", "assertion failed!"),
        ("assert(assert(1, 'unused') == 2, 'mine')", "mine"),
    ] {
        let refused = service.eval(source, &[], &[]).await.expect_problem(422, "script_error");
        assert_eq!(
            (&refused["kind"], &refused["message"]),
            (&json!("user"), &json!(message)),
            "{source}"
        );
    }
}

#[tokio::test]
async fn an_error_after_a_write_says_that_there_are_effects() {
    let service = Service::new();
    let source = "redis.call('SET', KEYS[1], 'x')\nerror('half')";
    let refused = service.eval(source, &["k"], &[]).await.expect_problem(422, "script_error");
    assert_eq!((&refused["effects"], &refused["outcome"]), (&json!("unknown"), &json!("unknown")));
    // A write that Redis refuses is none.
    let source =
        "pcall(redis.call, 'LPUSH', KEYS[1], 1) redis.pcall('LPUSH', KEYS[1], 1) error('x')";
    let refused = service.eval(source, &["k"], &[]).await.expect_problem(422, "script_error");
    assert_eq!(refused["effects"], "none");
    // One that was caught and then succeeds has effects as any other.
    for write in ["redis.pcall('SET', KEYS[1], 'y')", "pcall(redis.call, 'SET', KEYS[1], 'y')"] {
        let source = format!("{write}\nerror('half')");
        let refused = service.eval(&source, &["k"], &[]).await;
        let refused = refused.expect_problem(422, "script_error");
        assert_eq!(refused["effects"], "unknown", "{write}");
    }
}

/// A run under a key has one effect, whether it succeeded or had failed half way.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_under_a_key_has_one_effect() {
    let service = Service::new();
    let source = "return redis.call('INCR', KEYS[1])";
    service.put_script_of("s", source, json!({ "keys": ["k"] })).await.assert(201);
    let answers = race(32, |_| service.run_script("s", &["n"], &[]).key("once")).await;
    assert_eq!((answers.count(200), answers.replayed()), (32, 31));
    assert!(answers.iter().all(|answer| answer.body["result"] == 1));
    let other = service.run_script("s", &["m"], &[]).key("once").await;
    other.expect_problem(422, "idempotency_key_reused");

    let half = "redis.call('INCR', KEYS[1]) error('half')";
    service.put_script_of("half", half, json!({ "keys": ["k"] })).await.assert(201);
    for replayed in [false, true] {
        let answer = service.run_script("half", &["n"], &[]).key("half").await;
        assert_eq!(answer.replayed(), replayed);
        answer.expect_problem(422, "script_error");
    }
    assert_eq!(service.run_script("s", &["n"], &[]).await.assert(200)["result"], 3);
}

/// An error without effects is not kept: the same call may succeed later.
#[tokio::test]
async fn a_run_that_failed_without_effects_can_be_repeated() {
    let service = Service::new();
    let source = "return assert(redis.call('GET', KEYS[1]), 'no value yet')";
    service.put_script_of("s", source, json!({ "keys": ["k"] })).await.assert(201);
    let refused = service.run_script("s", &["k"], &[]).key("once").await;
    let refused = refused.expect_problem(422, "script_error");
    assert_eq!(
        (&refused["message"], &refused["effects"]),
        (&json!("no value yet"), &json!("none"))
    );
    service.post("/batch/set", json!({ "values": { "k": "v" } })).await.assert(200);
    let ran = service.run_script("s", &["k"], &[]).key("once").await;
    assert!(!ran.replayed());
    assert_eq!(ran.assert(200)["result"], "v");
}

/// A version that is rolled back meanwhile does not make another call of the repeat.
#[tokio::test]
async fn a_repeat_answers_the_version_that_ran() {
    let service = Service::new();
    service.put_script("s", "return 1").await.assert(201);
    service.run_script("s", &[], &[]).key("once").await.assert(200);
    service.put_script("s", "return 2").await.assert(200);
    let again = service.run_script("s", &[], &[]).key("once").await;
    assert!(again.replayed());
    let again = again.assert(200);
    assert_eq!((&again["result"], &again["version"]), (&json!(1), &json!(1)));
    let body = json!({ "version": 1 });
    assert_eq!(service.post("/scripts/s/run", body).await.assert(200)["result"], 1);
}

#[tokio::test]
async fn a_guard_is_checked_by_the_script_that_runs() {
    let service = Service::new();
    let lease = service.acquire("l", "me", 60_000).await.assert(201);
    let source = "redis.call('SET', KEYS[1], 'x')";
    service.put_script_of("s", source, json!({ "keys": ["k"] })).await.assert(201);
    let guard = |token: i64| format!("lock=l;token={token}");
    let token = lease["fencing_token"].as_i64().unwrap();
    let call = service.run_script("s", &["k"], &[]);
    call.clone().header("lockstep-guard", &guard(token)).await.assert(200);
    let before = service.snapshot();
    let refused = call.header("lockstep-guard", &guard(token - 1)).await;
    refused.expect_problem(412, "stale_fencing_token");
    service.assert_unchanged(&before);
}

/// A key is that of a data key of the space, however a script comes by it: declared, written down or computed, and
/// at every place of every command.
#[tokio::test]
async fn a_key_outside_of_the_space_is_refused_however_it_is_made() {
    let service = Service::new();
    let other = service.in_new_space();
    service.open("alice", "5").await;
    let own = format!("lockstep:{{{}}}:account:alice", service.space);
    let prefix = format!("lockstep-data:{{{}}}:", service.space);
    let foreign = [
        "plain".to_owned(),
        own.clone(),
        format!("lockstep-data:{{{}}}:x", other.space),
        prefix[..prefix.len() - 1].to_owned(),
        prefix.to_uppercase(),
        format!(" {prefix}x"),
    ];
    let before = service.snapshot();
    for key in &foreign {
        for command in [
            "'GET', @",
            "'SET', @, 1",
            "'get', @",
            "'DEL', @, @",
            "'MGET', @, @, @",
            "'MSET', @, 1, @, 1",
            "'RENAME', @, @",
            "'SMOVE', @, @, 1",
            "'BITOP', 'AND', @, @",
            "'ZUNIONSTORE', @, 1, @",
            "'ZUNIONSTORE', @, 2, @, @",
            "'ZUNION', 2, @, @",
            "'SINTERCARD', '2', @, @",
            "'LMPOP', 2, @, @, 'LEFT'",
            "'OBJECT', 'ENCODING', @",
            "'XINFO', 'STREAM', @",
            "'XGROUP', 'CREATE', @, 'g', '$', 'MKSTREAM'",
            "'LCS', @, @",
            "'ZRANGESTORE', @, @, 0, 1",
            "'GEOSEARCHSTORE', @, @, 'FROMMEMBER', 'a', 'BYRADIUS', 1, 'm'",
        ] {
            // The foreign key at each place of a key in turn, and the script's own at the others.
            let parts: Vec<_> = command.split('@').collect();
            for place in 1..parts.len() {
                let command =
                    parts[..place].join("KEYS[1]") + "K" + &parts[place..].join("KEYS[1]");
                let source = format!("local K = ARGV[1]\nreturn redis.call({command})");
                let put = json!({ "keys": ["k"], "args": ["a"] });
                assert!(service.put_script_of("s", &source, put).await.status.is_success());
                let refused = service.run_script("s", &["k"], &[key]).await;
                let refused = refused.expect_problem(422, "key_not_allowed");
                assert_eq!(
                    (&refused["key"], &refused["line"]),
                    (&json!(key), &json!(2)),
                    "{command}"
                );
                assert_eq!(refused["effects"], "none");
            }
        }
    }
    service.delete("/scripts/s").await.assert(200);
    service.assert_unchanged(&before);
    // A key that begins with one of the space is one of the space.
    let source = "return redis.call('SET', KEYS[1] .. ':' .. ARGV[1], 1)";
    service.eval(source, &["k"], &["computed"]).await.assert(200);
}

/// True if the server says that a command writes. Its words are as in a script: the name, the subcommand, and so on.
fn writes(connection: &mut redis::Connection, command: &str) -> bool {
    let mut words = command.split(", ").map(|word| word.trim_matches('\''));
    let name = words.next().unwrap();
    let whole_name = match name {
        "OBJECT" | "XGROUP" | "XINFO" => format!("{name}|{}", words.next().unwrap()),
        name => name.to_owned(),
    };
    let told: Vec<Vec<redis::Value>> =
        redis::cmd("COMMAND").arg("INFO").arg(&whole_name).query(connection).unwrap();
    let flags: Vec<String> = redis::from_redis_value(told[0][2].clone()).unwrap();
    flags.iter().any(|flag| flag == "write")
}

/// Only the arguments of a command that are keys are checked; all others may be any text. A script that fails after
/// the command has effects if the command writes.
#[tokio::test]
async fn what_is_no_key_may_be_any_text() {
    let service = Service::new();
    let connection = &mut service.raw();
    for commands in [
        "'SET', A, 'x'; 'GET', A; 'GETRANGE', A, '0', '-1'; 'SETEX', A, '9', 'x'; 'EXPIRE', A, '9'; 'TYPE', A",
        "'MSET', A, 'x', B, 'y'; 'MGET', A, B; 'MSETNX', A, 'x', B, 'y'; 'LCS', A, B, 'LEN'; 'DEL', A, B",
        "'SETBIT', A, '1', '1'; 'BITOP', 'NOT', B, A; 'BITOP', 'XOR', B, A, B; 'EXISTS', A, B; 'TOUCH', A",
        "'HSET', A, 'f', 'x'; 'HMGET', A, 'f', 'g'; 'HINCRBY', B, 'f', '2'; 'OBJECT', 'ENCODING', A",
        "'RPUSH', A, 'x', 'y'; 'RPOPLPUSH', A, B; 'LMOVE', A, B, 'LEFT', 'RIGHT'; 'LINSERT', B, 'BEFORE', 'x', 'z'",
        "'RPUSH', A, 'x', 'y'; 'LMPOP', '2', A, B, 'LEFT', 'COUNT', '1'; 'RENAME', A, B; 'RENAMENX', B, A",
        "'SADD', A, 'x', 'y'; 'SMOVE', A, B, 'x'; 'SUNIONSTORE', A, A, B; 'SINTERCARD', '2', A, B, 'LIMIT', '1'; 'SDIFF', A, B",
        "'ZADD', A, '1', 'x'; 'ZUNIONSTORE', B, '2', A, B, 'WEIGHTS', '1', '2'; 'ZUNION', '2', A, B, 'WITHSCORES'",
        "'ZADD', A, '1', 'x'; 'ZRANGESTORE', B, A, '0', '1'; 'ZMPOP', '1', B, 'MIN'; 'ZDIFF', '1', A; 'ZINTERCARD', '1', A",
        "'GEOADD', A, '1', '1', 'x'; 'GEOSEARCHSTORE', B, A, 'FROMMEMBER', 'x', 'BYRADIUS', '1', 'm'",
        "'PFADD', A, 'x'; 'PFMERGE', B, A; 'PFCOUNT', A, B; 'PING'; 'ECHO', 'x'; 'TIME'",
        "'XADD', A, '*', 'f', 'x'; 'XGROUP', 'CREATE', A, 'group', '0'; 'XGROUP', 'SETID', A, 'group', '0'; 'XINFO', 'STREAM', A",
    ] {
        let delete = "return redis.call('DEL', KEYS[1], KEYS[2])";
        service.eval(delete, &["a", "b"], &[]).await.assert(200);
        for command in commands.split("; ") {
            let source = format!(
                "local A, B = KEYS[1], KEYS[2]\nredis.call({command})\nerror('has run', 0)"
            );
            // A command that was refused, or failed, would end the script with another error.
            let ended = service.eval(&source, &["a", "b"], &[]).await;
            let ended = ended.expect_problem(422, "script_error");
            let effects = if writes(connection, command) { "unknown" } else { "none" };
            assert_eq!([&ended["message"], &ended["effects"]], ["has run", effects], "{command}");
        }
    }
}

/// The name of a command is no pattern.
#[tokio::test]
async fn a_command_has_its_whole_name() {
    let service = Service::new();
    for name in
        ["G.T", "S.T", "MG.T", "D.L", "MS.T", "RENAM.", "ZUNIO.", "LMPO.", "ZUNIONSTOR.", "TIM."]
    {
        let source = format!("return redis.call('{name}', 1, KEYS[1], KEYS[1])");
        let refused = service.eval(&source, &["k"], &[]).await;
        let refused = refused.expect_problem(422, "script_error");
        let message = format!("ERR a script may not run the command {name}");
        assert_eq!(refused["message"], message);
    }
}

/// There is no way around the functions that a script is given.
#[tokio::test]
async fn a_script_has_no_other_way_to_the_server() {
    let service = Service::new();
    for name in [
        "load",
        "loadstring",
        "loadfile",
        "dofile",
        "require",
        "module",
        "setfenv",
        "getfenv",
        "debug",
        "collectgarbage",
        "newproxy",
        "os",
        "print",
        "_G",
        "user_chunk",
        "raw_redis",
        "__redis__err__handler",
        "__server__err__handler",
        "run_user_chunk",
        "has_written",
        "open_record",
    ] {
        let source = format!("return select(2, pcall(function() return {name} == nil end))");
        let answer = service.eval(&source, &[], &[]).await;
        let result = &answer.body["result"];
        let is_absent = result == 1 || result.to_string().contains("nonexistent");
        assert!(is_absent, "{name}: {:#}", answer.body);
    }
    for (source, result) in [
        (
            "return type(redis.set_repl) .. type(redis.setresp) .. type(redis.acl_check_cmd)",
            "nilnilnil",
        ),
        ("return tostring(getmetatable(''))", "nil"),
        ("return tostring(pcall(function() string.rep = nil end))", "false"),
        ("return tostring(pcall(rawset, string, 'rep', nil))", "false"),
        (
            "return tostring(select(2, xpcall(function() error('a', 0) end, function(e) return e .. 'b' end)))",
            "ab",
        ),
        ("return tostring(select(3, xpcall(function() return 1, 2 end, tostring)))", "2"),
        (
            "local co = coroutine.wrap(function(x) coroutine.yield(x) error('c', 0) end) return co('b')",
            "b",
        ),
        (
            "return select(2, coroutine.resume(coroutine.create(function(x) error(x, 0) end), 'a'))",
            "a",
        ),
        ("return type(cjson.encode_keep_buffer)", "nil"),
        ("redis.call = nil return type(redis.call)", "nil"),
    ] {
        assert_eq!(service.eval(source, &[], &[]).await.assert(200)["result"], result, "{source}");
    }
    // Each run has functions of its own.
    service.eval("return redis.call('TIME')[1]", &[], &[]).await.assert(200);
    service.open("alice", "5").await;
}

#[tokio::test]
async fn a_result_or_a_run_has_a_bound() {
    let service = Service::new();
    let too_large =
        "ERR the result is too large: it has at most 100000 values, 4194304 bytes and 10 levels";
    for (source, message) in [
        ("local t = {} t[1] = t return t", too_large),
        ("local t = {} for i = 1, 100000 do t[i] = i end return t", too_large),
        ("return ('x'):rep(4194305)", too_large),
        ("local t = {} for i = 1, 10 do t = { t } end return t", too_large),
        ("while true do redis.call('TIME') end", "ERR a script may run 100000 commands"),
    ] {
        let refused = service.eval(source, &[], &[]).await.expect_problem(422, "script_error");
        assert_eq!(
            [&refused["kind"], &refused["effects"], &refused["message"]],
            ["other", "none", message]
        );
    }
    // A table is a value and a level, beside what it has.
    for source in [
        "local t = {} for i = 1, 99999 do t[i] = i end return t",
        "return ('x'):rep(4194304)",
        "local t = {} for i = 1, 9 do t = { t } end return t",
    ] {
        assert_eq!(service.eval(source, &[], &[]).await.status.as_u16(), 200, "{source}");
    }
    let source = "while true do redis.call('INCR', KEYS[1]) end";
    let refused = service.eval(source, &["n"], &[]).await.expect_problem(422, "script_error");
    assert_eq!(refused["effects"], "unknown");
    let ran = service.eval("return redis.call('GET', KEYS[1])", &["n"], &[]).await.assert(200);
    assert_eq!(ran["result"], "100000");
}

#[tokio::test]
async fn a_script_that_reads_only_cannot_write() {
    let service = Service::new();
    for (source, more) in [
        ("return redis.call('SET', KEYS[1], 1)", json!({ "keys": ["k"], "read_only": true })),
        ("#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], 1)", json!({ "keys": ["k"] })),
    ] {
        let put = service.put_script_of("s", source, more).await.body;
        assert_eq!(put["read_only"], true);
        let refused = service.run_script("s", &["k"], &[]).key("once").await;
        let refused = refused.expect_problem(422, "script_error");
        assert_eq!((&refused["kind"], &refused["effects"]), (&json!("command"), &json!("none")));
    }
}

/// No caller sees that the server forgets scripts, however often it does.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_that_scripts_are_forgotten() {
    let server = Server::of_this_run();
    let service = Service::on_own_redis(&server);
    let source = "return redis.call('INCR', KEYS[1])";
    service.put_script_of("s", source, json!({ "keys": ["k"] })).await.assert(201);
    let reads = json!({ "keys": ["k"], "read_only": true });
    service.put_script_of("r", "return redis.call('GET', KEYS[1])", reads).await.assert(201);
    let done = Arc::new(AtomicBool::new(false));
    let flushing = {
        let (done, mut connection) = (Arc::clone(&done), server.connection());
        std::thread::spawn(move || {
            let mut flushes = 0;
            while !done.load(Ordering::Relaxed) {
                redis::cmd("SCRIPT").arg("FLUSH").exec(&mut connection).unwrap();
                flushes += 1;
            }
            flushes
        })
    };
    let answers = race(400, |task| match task % 2 {
        0 => service.run_script("s", &["n"], &[]),
        _ => service.run_script("r", &["n"], &[]),
    })
    .await;
    done.store(true, Ordering::Relaxed);
    assert!(flushing.join().unwrap() > 10);
    assert_eq!(answers.count(200), 400);
    assert_eq!(service.run_script("r", &["n"], &[]).await.assert(200)["result"], "200");
}
