//! JSON whose numbers were masked as if they were text.

use serde::de::IgnoredAny;

/// Whether it is one JSON value.
pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// Makes JSON of what was JSON before a number in it was replaced: what stands in the place of
/// a value and is none becomes a string, and nothing becomes null. `{"pan": ****1111}` turns
/// into `{"pan": "****1111"}`. Nothing but quotes, escapes and `null` is added, so nothing shows
/// that did not before. `None` if that does not make JSON of it.
pub(super) fn repair(masked: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(masked.len() + 16);
    let mut rest = masked;
    // The last byte that was no space; a value is due behind a colon and a comma.
    let mut last = b' ';
    while let Some((&first, tail)) = rest.split_first() {
        let taken = match first {
            b' ' | b'\t' | b'\r' | b'\n' => {
                out.push(first);
                rest = tail;
                continue;
            }
            b',' | b']' | b'}' if matches!(last, b':' | b',') => {
                out.extend_from_slice(b"null");
                1
            }
            b',' if last == b'[' => {
                out.extend_from_slice(b"null");
                1
            }
            b'{' | b'[' | b'}' | b']' | b',' | b':' => 1,
            b'"' => string_end(rest)?,
            _ => {
                let end = rest.iter().position(|b| matches!(b, b',' | b']' | b'}' | b'"'));
                let word = rest.get(..end.unwrap_or(rest.len()))?.trim_ascii_end();
                if !is_json(word) {
                    let word_text = std::str::from_utf8(word).ok()?;
                    serde_json::to_writer(&mut out, word_text).ok()?;
                    rest = rest.get(word.len()..)?;
                    last = b'"';
                    continue;
                }
                word.len()
            }
        };
        let (token, behind) = rest.split_at_checked(taken)?;
        out.extend_from_slice(token);
        last = first;
        rest = behind;
    }
    is_json(&out).then_some(out)
}

/// The length of the string at the beginning of `text`, with its quotes.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    let close = text.iter().skip(1).position(|b| {
        let closes = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        closes
    })?;
    Some(close + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{is_json, repair};

    #[test]
    fn what_is_no_value_becomes_one() {
        for (masked, want) in [
            (r#"{"pan": ****1111, "n": 1}"#, r#"{"pan": "****1111", "n": 1}"#),
            (r#"{"pan":<CREDIT_CARD>}"#, r#"{"pan":"<CREDIT_CARD>"}"#),
            (r#"{"pan":card removed ,"x":[]}"#, r#"{"pan":"card removed" ,"x":[]}"#),
            (r#"[0111,true,-<CARD>.50,"a\"]b"]"#, r#"["0111",true,"-<CARD>.50","a\"]b"]"#),
            (r#"{"pan":,"n":[,1,]}"#, r#"{"pan":null,"n":[null,1,null]}"#),
            (r#"{"pan": }"#, r#"{"pan": null}"#),
            ("****1111", r#""****1111""#),
            (r"[a\b]", r#"["a\\b"]"#),
        ] {
            let made = repair(masked.as_bytes()).map(|made| String::from_utf8(made).unwrap());
            assert_eq!(made.as_deref(), Some(want), "{masked}");
        }
        for hopeless in ["", r#"{****}"#, r#"{"a":"b"#, r#"{"a" 1"#, "[\u{1}\"", "]"] {
            assert_eq!(repair(hopeless.as_bytes()), None, "{hopeless}");
        }
    }

    proptest! {
        #[test]
        fn it_makes_json_or_nothing(masked in r#"[\[\]{},:"\\ a1*.-]{0,40}"#) {
            if let Some(made) = repair(masked.as_bytes()) {
                prop_assert!(is_json(&made));
            }
            if is_json(masked.as_bytes()) {
                prop_assert_eq!(repair(masked.as_bytes()), Some(masked.into_bytes()));
            }
        }
    }
}
