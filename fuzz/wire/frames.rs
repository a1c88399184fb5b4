//! An event in the framing of a transport, in one of the ways in which it can be.

use arbitrary::{Result, Unstructured};

use super::{Way, small};
use crate::line::frame;

/// The bytes that carry this event.
pub(super) fn framed(way: Way, json: &[u8], record: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    Ok(match way {
        Way::Lines => {
            let end: &[u8] = [&b"\n"[..], b"\n", b"\r\n", b"\n\n", b""][small(record, 5)?];
            [json, end].concat()
        }
        Way::ServerSent => server_sent(json, record)?,
        Way::WebSocket => messages(json, record)?,
        Way::List | Way::Poll => Vec::new(),
    })
}

fn server_sent(json: &[u8], record: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let end: &[u8] = [&b"\n"[..], b"\r\n", b"\r"][small(record, 3)?];
    let mut bytes = Vec::new();
    let before: &[u8] = match small(record, 16)? {
        8 => b": a comment",
        9 => b"retry: 700",
        10 => b"event: message",
        11 => b"event: other",
        12 => b"id: 5",
        13 => b"data",
        14 => b"\xef\xbb\xbf",
        15 => b"retry: 99999999999999999999999",
        _ => b"",
    };
    if !before.is_empty() {
        bytes.extend([before, end].concat());
    }
    bytes.extend(b"data: ");
    bytes.extend(json);
    bytes.extend(end);
    bytes.extend(end);
    Ok(bytes)
}

/// A text, whole or in fragments, with other frames between them.
fn messages(json: &[u8], record: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    const TEXT: u8 = 1;
    const FIN: u8 = 0x80;
    let (first, second) = json.split_at(json.len() / 2);
    Ok(match small(record, 16)? {
        8 => [frame(TEXT, first), frame(FIN, second)].concat(),
        9 => [
            frame(TEXT, first),
            frame(FIN | 9, b"ping"),
            frame(0, second),
            frame(FIN, b""),
        ]
        .concat(),
        10 => [frame(FIN | 10, b""), frame(FIN | TEXT, json)].concat(),
        11 => frame(FIN | 2, json),
        12 => {
            let code = [1000_u16, 1001, 1002, 1008, 1011, 1013, 4000, 5][small(record, 8)?];
            frame(FIN | 8, &[&code.to_be_bytes()[..], b"because"].concat())
        }
        13 => frame(FIN | 8, b""),
        14 => frame(record.arbitrary()?, json),
        15 => [frame(FIN | TEXT, json), vec![FIN | TEXT, 0x80 | 1]].concat(),
        _ => frame(FIN | TEXT, json),
    })
}
