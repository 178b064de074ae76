//! Ids of several clients on one connection to a server, where each must be another.

use crate::message::{Id, Message};
use crate::value::{Object, Value};

impl Message {
    /// Makes the message one about the request of this id: of a request, its own id, and the
    /// token by which its progress is told, if it has one; of a response, the id; of
    /// `notifications/cancelled` and `notifications/progress`, the request or token that they
    /// name. Nothing else of it changes.
    pub fn renumber(&mut self, id: &Id) {
        match self {
            Self::Request(request) => {
                request.id = id.clone();
                let meta = request.params.as_mut().and_then(|it| it.get_mut("_meta"));
                if let Some(Value::Object(meta)) = meta {
                    replace(meta, "progressToken", id);
                }
            }
            Self::Response(response) => response.id = Some(id.clone()),
            Self::Notification(notification) => {
                let key = match notification.method_name() {
                    "notifications/cancelled" => "requestId",
                    "notifications/progress" => "progressToken",
                    _ => return,
                };
                if let Some(params) = &mut notification.params {
                    replace(params, key, id);
                }
            }
        }
    }
}

/// Replaces a member that is there.
fn replace(object: &mut Object, key: &str, id: &Id) {
    if let Some(place) = object.get_mut(key) {
        *place = id.to_value();
    }
}

#[cfg(test)]
mod tests {
    use crate::{Id, Limits, parse_one};

    #[test]
    fn only_ids_and_tokens_change() {
        for (before, after) in [
            (
                r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","arguments":{"requestId":"a","progressToken":"a"},"_meta":{"progressToken":"a","b":1.0}}}"#,
                r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"x","arguments":{"requestId":"a","progressToken":"a"},"_meta":{"progressToken":9,"b":1.0}}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
                r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"id":1}}"#,
                r#"{"jsonrpc":"2.0","id":9,"result":{"id":1}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":9,"progress":1}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"requestId":1}}"#,
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"requestId":1}}"#,
            ),
        ] {
            let mut message = parse_one(before.as_bytes(), Limits::default()).unwrap();
            message.renumber(&Id::Number(9));
            assert_eq!(String::from_utf8(message.to_bytes()).unwrap(), after);
        }
    }
}
