//! The Redis user `lockstep` with the rights that `docs/operations.md` names, or without some of them.

use super::Server;

/// The rules of the user in `docs/operations.md`.
pub fn documented_rules() -> Vec<String> {
    let text = std::fs::read_to_string("docs/operations.md").unwrap();
    let (_, rule) = text.split_once("    user lockstep on >PASSWORD ").unwrap();
    let (rule, _) = rule.split_once("\n\n").unwrap();
    rule.split_whitespace().map(str::to_owned).collect()
}

/// Makes the user anew with these rules. Returns the URL by which it comes in.
pub fn url_of_user(server: &Server, rules: &[&str]) -> String {
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("lockstep").arg("reset").arg("on").arg(">secret");
    command.arg(rules).exec(&mut server.connection()).unwrap();
    server.url.replace("redis://", "redis://lockstep:secret@")
}

/// Makes the user anew without some of the documented rules, and with others instead.
pub fn url_without(server: &Server, lacking: &[&str], instead: &[&str]) -> String {
    let rules = documented_rules();
    let left = rules.iter().map(String::as_str).filter(|rule| !lacking.contains(rule));
    url_of_user(server, &left.chain(instead.iter().copied()).collect::<Vec<_>>())
}
