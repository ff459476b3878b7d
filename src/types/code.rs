use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A problem code: one word, and what it always means. The word is the same in Lua and in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Code {
    /// The word that programs go by.
    #[schema(value_type = String, example = "insufficient_funds")]
    pub code: &'static str,
    /// The HTTP status it comes with.
    #[schema(example = 409)]
    pub status: u16,
    /// What it is, in a few words.
    #[schema(value_type = String, example = "Not enough money")]
    pub title: &'static str,
    /// The sentence for one case; `{member}` stands for a member of that case,
    /// `{member/0/name}` for what is within it.
    #[serde(skip)]
    pub detail_template: &'static str,
    /// When it is given, and what to do about it.
    #[schema(value_type = String)]
    pub explanation: &'static str,
    /// Whether the same call may well work in a moment.
    pub retryable: bool,
}

impl Code {
    /// The sentence with the members of one case in it.
    pub fn render(&self, members: &Map<String, Value>) -> String {
        let mut sentence = String::with_capacity(self.detail_template.len() + 32);
        let mut rest = self.detail_template;
        while let Some((before, after)) = rest.split_once('{') {
            sentence.push_str(before);
            let Some((name, after)) = after.split_once('}') else { break };
            let (member, within) = name.split_at(name.find('/').unwrap_or(name.len()));
            match members.get(member).and_then(|value| value.pointer(within)) {
                Some(Value::String(text)) => sentence.push_str(text),
                Some(value) => sentence.push_str(&value.to_string()),
                None => {}
            }
            rest = after;
        }
        sentence + rest
    }

    /// The members that the sentence has places for.
    pub fn placeholders(&self) -> impl Iterator<Item = &'static str> {
        self.detail_template.split('{').skip(1).filter_map(|part| part.split(['}', '/']).next())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn puts_the_members_into_the_sentence() {
        let code = Code {
            code: "c",
            status: 409,
            title: "t",
            detail_template: "Of {a} there are {list/1/n}, not {gone}.",
            explanation: "e",
            retryable: false,
        };
        let members = json!({ "a": "x", "list": [{ "n": 1 }, { "n": 2 }] });
        let sentence = code.render(members.as_object().unwrap());
        assert_eq!(sentence, "Of x there are 2, not .");
        assert_eq!(code.placeholders().collect::<Vec<_>>(), ["a", "list", "gone"]);
    }
}
