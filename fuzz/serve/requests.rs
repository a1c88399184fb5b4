//! Requests from text, and bodies that come in pieces.

use axum::body::Body;
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// A request as somebody would type it: method and target, headers, an empty line, the body. `None`
/// where that is none.
pub(super) fn parse(text: &[u8]) -> Option<Request<Body>> {
    let (head, body) = split(text, b"\n\n").unwrap_or((text, &[]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, uri) = split(lines.next()?, b" ")?;
    let mut request = Request::new(in_pieces(body, body.len() % 7 + 1, false));
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(uri).ok()?;
    for line in lines {
        let (name, value) = split(line, b":")?;
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_bytes(value.trim_ascii_start()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}

fn split<'a>(text: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(by.len()).position(|window| window == by)?;
    Some((text.get(..at)?, text.get(at + by.len()..)?))
}

/// A body that comes so many bytes at a time, and breaks off at its end or not.
pub(super) fn in_pieces(bytes: &[u8], piece: usize, breaks_off: bool) -> Body {
    let pieces = bytes.chunks(piece.max(1));
    let mut pieces: Vec<_> = pieces.map(|piece| Ok(piece.to_vec())).collect();
    if breaks_off {
        pieces.push(Err("the client has gone"));
    }
    Body::from_stream(stream::iter(pieces))
}
