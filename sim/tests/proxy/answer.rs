//! Where in an HTTP answer a byte belongs, so that a cut can be placed.

/// The part of an answer that a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the head, its last byte left out.
    Head,
    /// The last byte of a head.
    HeadEnd,
    /// In a body of known length, its last byte left out.
    Body,
    /// The last byte of a body of known length.
    BodyEnd,
    /// In the line before a chunk's data, its last byte left out.
    ChunkSize,
    /// The last byte of that line.
    ChunkSizeEnd,
    /// A byte of a chunk's data.
    Data,
    /// What comes after a chunk's data, or after the last chunk.
    ChunkEnd,
    /// A byte of a connection that was upgraded.
    Frame,
}

/// Follows answers byte by byte, one after the other.
pub(crate) struct Answers {
    part: Part,
}

enum Part {
    /// The head so far.
    Head(Vec<u8>),
    /// So many bytes are missing.
    Body(usize),
    /// The size so far.
    ChunkSize(Vec<u8>),
    Data(usize),
    DataEnd,
    /// What follows the last chunk; so many bytes are missing. There are no trailers.
    Trailer(usize),
    /// The connection was upgraded: no other answer follows.
    Frames,
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self {
            part: Part::Head(Vec::new()),
        }
    }

    /// Whether one answer is over and the next one has not begun.
    pub(crate) fn is_between(&self) -> bool {
        matches!(&self.part, Part::Head(head) if head.is_empty())
    }

    /// Where the next byte belongs.
    pub(crate) fn place(&mut self, byte: u8) -> Place {
        let (place, next) = match &mut self.part {
            Part::Head(head) => {
                head.push(byte);
                match head.ends_with(b"\r\n\r\n") {
                    true => (Place::HeadEnd, Some(body(head))),
                    false => (Place::Head, None),
                }
            }
            Part::Body(missing) => {
                *missing -= 1;
                match missing {
                    0 => (Place::BodyEnd, Some(Part::Head(Vec::new()))),
                    _ => (Place::Body, None),
                }
            }
            Part::ChunkSize(size) => {
                if byte == b'\n' {
                    (Place::ChunkSizeEnd, Some(chunk(size)))
                } else {
                    size.push(byte);
                    (Place::ChunkSize, None)
                }
            }
            Part::Data(missing) => {
                *missing -= 1;
                (Place::Data, (*missing == 0).then_some(Part::DataEnd))
            }
            Part::DataEnd => {
                let over = (byte == b'\n').then(|| Part::ChunkSize(Vec::new()));
                (Place::ChunkEnd, over)
            }
            Part::Trailer(missing) => {
                *missing -= 1;
                let over = (*missing == 0).then(|| Part::Head(Vec::new()));
                (Place::ChunkEnd, over)
            }
            Part::Frames => (Place::Frame, None),
        };
        if let Some(next) = next {
            self.part = next;
        }
        place
    }
}

/// What follows a head.
fn body(head: &[u8]) -> Part {
    let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
    if head.starts_with("http/1.1 101") {
        return Part::Frames;
    }
    if head.contains("transfer-encoding: chunked") {
        return Part::ChunkSize(Vec::new());
    }
    let length = head.lines().find_map(|line| {
        let length = line.strip_prefix("content-length:")?;
        Some(length.trim().parse().unwrap())
    });
    match length {
        Some(0) | None => Part::Head(Vec::new()),
        Some(length) => Part::Body(length),
    }
}

/// What follows the line with a chunk's size.
fn chunk(size: &[u8]) -> Part {
    let digits = std::str::from_utf8(size).unwrap().trim();
    match usize::from_str_radix(digits, 16).unwrap() {
        0 => Part::Trailer(2),
        size => Part::Data(size),
    }
}
