//! The few pieces of JSON that this server writes and normalises itself, without recursion.

/// Appends `text` as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            0..=0x1f => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Appends `"name":"text",`.
pub(super) fn field(out: &mut Vec<u8>, name: &str, text: &str) {
    string(out, name);
    out.push(b':');
    string(out, text);
    out.push(b',');
}

/// Appends `"name":"number",`: counters are strings, because many parsers round at 2^53.
pub(super) fn counter(out: &mut Vec<u8>, name: &str, number: u64) {
    string(out, name);
    out.extend(b":\"");
    out.extend(number.to_string().bytes());
    out.extend(b"\",");
}

/// Parses a decimal as the protocol writes it: digits only, no sign, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = text == "0" || !text.starts_with('0');
    if plain && canonical {
        text.parse().ok()
    } else {
        None
    }
}

/// `text`, which is valid JSON, without the whitespace between its tokens: what is left has no
/// line break, so it fits on a line of its own. `None` if it is nested deeper than `max_depth`.
pub(super) fn compact(text: &str, max_depth: usize) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            match c {
                ' ' | '\t' | '\r' | '\n' => continue,
                '"' => in_string = true,
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > max_depth {
                return None;
            }
        }
        out.push(c);
    }
    Some(out)
}

/// Reads and writes a `u64` as a decimal string, for serde.
pub(super) mod decimal_text {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(
        number: &u64,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        super::decimal(&text).ok_or_else(|| D::Error::custom("expected a decimal string"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacting_keeps_strings_and_drops_line_breaks() {
        let text = "{ \"a b\" : [1 ,\n\t2],\r\n\"q\\\" \\\\\": \"x y\" }";
        assert_eq!(
            compact(text, 2).as_deref(),
            Some(r#"{"a b":[1,2],"q\" \\":"x y"}"#)
        );
        assert_eq!(compact("[[1]]", 1), None);
        assert_eq!(compact("\"[[[\"", 0).as_deref(), Some("\"[[[\""));
    }

    #[test]
    fn decimals_have_one_spelling() {
        assert_eq!(decimal("0"), Some(0));
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        for wrong in [
            "",
            "+1",
            "-1",
            "01",
            " 1",
            "1.0",
            "18446744073709551616",
            "١",
        ] {
            assert_eq!(decimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn strings_are_escaped_as_serde_json_reads_them() {
        let text = "q\" b\\ nl\n nul\0 é 漢";
        let mut out = Vec::new();
        string(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
