//! A problem code and the macro that writes tables of them. [`super::codes`] has the codes that
//! every call can give; each domain has a `codes.rs` of its own.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A problem code and everything that is always true of it. Scripts, problems and
/// `GET /problems` use the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Code {
    /// The code that programs compare, in `snake_case`.
    #[schema(value_type = String, example = "insufficient_funds")]
    pub code: &'static str,
    /// The HTTP status of the answer.
    #[schema(example = 409)]
    pub status: u16,
    /// A short name for people, the same in every answer.
    #[schema(value_type = String, example = "Not enough money")]
    pub title: &'static str,
    /// The sentence for one case. `{member}` stands for a member of the problem, and
    /// `{member/0/name}` for a value inside it, by JSON Pointer.
    #[serde(skip)]
    pub detail_template: &'static str,
    /// When the code is given, and what the caller can do about it.
    #[schema(value_type = String)]
    pub explanation: &'static str,
    /// True if the same call may succeed when it is sent again a little later.
    pub retryable: bool,
}

impl Code {
    /// The template with the members of one problem filled in. A member that is missing leaves its
    /// place empty.
    pub fn render(&self, members: &Map<String, Value>) -> String {
        let mut sentence = String::with_capacity(self.detail_template.len() + 32);
        let mut rest = self.detail_template;
        while let Some((before, after)) = rest.split_once('{') {
            sentence.push_str(before);
            let Some((name, after)) = after.split_once('}') else { break };
            let (member, pointer) = name.split_at(name.find('/').unwrap_or(name.len()));
            match members.get(member).and_then(|value| value.pointer(pointer)) {
                Some(Value::String(text)) => sentence.push_str(text),
                Some(value) => sentence.push_str(&value.to_string()),
                None => {}
            }
            rest = after;
        }
        sentence + rest
    }

    /// The names of the members that the template needs, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &'static str> {
        self.detail_template.split('{').skip(1).filter_map(|part| part.split(['}', '/']).next())
    }
}

/// Writes a constant for each row and `CODES`, the list of all rows. A row is: the constant's name,
/// the code, the HTTP status, `retryable` or `final`, the title, the template of `detail`, and the
/// explanation.
macro_rules! code_table {
    (@retryable retryable) => { true };
    (@retryable final) => { false };
    ($(
        $name:ident $code:literal $status:literal $retryable:tt
        $title:literal $detail_template:literal $explanation:literal
    )*) => {
        $(
            #[doc = $explanation]
            pub const $name: $crate::types::Code = $crate::types::Code {
                code: $code,
                status: $status,
                title: $title,
                detail_template: $detail_template,
                explanation: $explanation,
                retryable: $crate::types::code_table!(@retryable $retryable),
            };
        )*

        /// All codes of this table.
        pub const CODES: &[$crate::types::Code] = &[$($name),*];
    };
}

pub(crate) use code_table;

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
