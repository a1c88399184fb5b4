//! The way of the answers, from the server to the client.

use std::future::pending;
use std::{io, mem};

use real_tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use real_tokio::net::tcp::{ReadHalf, WriteHalf};
use real_tokio::select;
use real_tokio::sync::watch;
use real_tokio::task::yield_now;

use crate::answer::{Answers, Place};
use crate::plan::{Account, Cut, Ending, Fault, Manner, Plan, Where};
use crate::proxy::healed;

const READ_BYTES: usize = 4 << 10;
/// So many pieces make a dribble that is worth counting.
const DRIBBLE_PIECES: usize = 20;

/// A connection is cut after so many bytes, whether there was the place for it or not.
const MOST_BYTES: usize = 50_000;

/// How the connection is to end.
pub(crate) enum Ended {
    Closed,
    Reset,
}

pub(crate) struct Answering<'a> {
    client: WriteHalf<'a>,
    manner: Manner,
    /// What is still to happen.
    cut: Option<Cut>,
    /// So many bytes were in the cut's place.
    counted: usize,
    /// So many bytes there were in all.
    passed: usize,
    answers: Answers,
    /// A chunk is handed over when it is whole: what its size has promised cannot be taken back.
    whole_chunks: bool,
    /// The chunk so far, and its data.
    chunk: Vec<u8>,
    data: Vec<u8>,
    /// What waits until there is enough of it, and how many reads brought it.
    held: Vec<u8>,
    held_reads: usize,
    pieces: usize,
    account: Account,
    heals: watch::Receiver<bool>,
}

impl<'a> Answering<'a> {
    pub(crate) fn new(
        client: WriteHalf<'a>,
        plan: Plan,
        account: Account,
        heals: watch::Receiver<bool>,
    ) -> Self {
        Self {
            client,
            manner: plan.manner,
            cut: Some(plan.cut),
            counted: 0,
            passed: 0,
            answers: Answers::new(),
            whole_chunks: plan.cut.ending == Ending::Clean,
            chunk: Vec::new(),
            data: Vec::new(),
            held: Vec::new(),
            held_reads: 0,
            pieces: 0,
            account,
            heals,
        }
    }

    /// Hands answers over until the server has closed, or the plan wants it so.
    pub(crate) async fn run(mut self, mut server: ReadHalf<'_>) -> io::Result<Ended> {
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = server.read(&mut buffer).await?;
            if read == 0 {
                self.write_held().await?;
                return Ok(Ended::Closed);
            }
            if *self.heals.borrow() {
                self.cut = None;
                self.manner = Manner::AsTheyCome;
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let (bytes, cut) = self.up_to_the_cut(&mut rest);
                self.hand_over(&bytes).await?;
                if let Some(cut) = cut
                    && let Some(ended) = self.perform(cut).await?
                {
                    return Ok(ended);
                }
            }
        }
    }

    /// Takes what may be handed over from `rest`, and the cut if it comes after that.
    fn up_to_the_cut(&mut self, rest: &mut &[u8]) -> (Vec<u8>, Option<Cut>) {
        let mut out = Vec::new();
        while let Some((byte, after)) = rest.split_first() {
            *rest = after;
            let place = self.answers.place(*byte);
            self.take(*byte, place, &mut out);
            self.passed += 1;
            let is_here = |cut: &mut Cut| {
                self.counted += usize::from(is_in(cut.place, *byte, place));
                if self.passed == MOST_BYTES {
                    *cut = Cut {
                        place: Where::Anywhere,
                        after: 0,
                        ending: Ending::Eof,
                    };
                }
                self.counted >= cut.after
            };
            if let Some(cut) = self.cut.take_if(is_here) {
                if cut.ending == Ending::Clean {
                    self.end_chunks(&mut out);
                }
                return (out, Some(cut));
            }
        }
        (out, None)
    }

    fn take(&mut self, byte: u8, place: Place, out: &mut Vec<u8>) {
        let in_chunk = matches!(place, Place::ChunkSize | Place::ChunkSizeEnd | Place::Data);
        if !self.whole_chunks {
            return out.push(byte);
        }
        self.chunk.push(byte);
        if place == Place::Data {
            self.data.push(byte);
        }
        if !in_chunk {
            out.append(&mut self.chunk);
            self.data.clear();
        }
    }

    /// A chunk with what there is of its data, and the last one.
    fn end_chunks(&mut self, out: &mut Vec<u8>) {
        let data = mem::take(&mut self.data);
        self.chunk.clear();
        out.extend(format!("{:x}\r\n", data.len()).bytes());
        out.extend(data);
        out.extend(b"\r\n0\r\n\r\n");
    }

    async fn hand_over(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.manner {
            Manner::AsTheyCome => {
                self.write_held().await?;
                self.client.write_all(bytes).await
            }
            Manner::Dribble(size) => {
                for piece in bytes.chunks(size) {
                    self.client.write_all(piece).await?;
                    yield_now().await;
                    self.pieces += 1;
                    if self.pieces == DRIBBLE_PIECES {
                        self.account.happened(Fault::Dribble);
                    }
                }
                Ok(())
            }
            Manner::Coalesce(size) => {
                self.held.extend_from_slice(bytes);
                self.held_reads += 1;
                if self.held.len() >= size || self.answers.is_between() {
                    self.write_held().await?;
                }
                Ok(())
            }
        }
    }

    async fn write_held(&mut self) -> io::Result<()> {
        if mem::take(&mut self.held_reads) > 1 {
            self.account.happened(Fault::Coalesce);
        }
        self.client.write_all(&mem::take(&mut self.held)).await
    }

    /// Does what the plan wants at its cut. `None`: it goes on as if nothing had been.
    async fn perform(&mut self, cut: Cut) -> io::Result<Option<Ended>> {
        self.write_held().await?;
        let happened = |fault| self.account.happened(fault);
        let broken = match cut.place {
            Where::Anywhere => None,
            Where::MidHead => Some(Fault::MidHead),
            Where::MidBody => Some(Fault::MidBody),
            Where::MidChunkSize => Some(Fault::MidChunkSize),
            Where::MidLine => Some(Fault::MidLine),
            Where::MidFrames => Some(Fault::MidFrames),
        };
        match cut.ending {
            Ending::Eof | Ending::HalfClose | Ending::Reset => {
                broken.into_iter().for_each(happened)
            }
            Ending::Stall | Ending::StallAndGo | Ending::Clean => {}
        }
        match cut.ending {
            Ending::Eof => {
                happened(Fault::Eof);
                Ok(Some(Ended::Closed))
            }
            Ending::Clean => {
                happened(Fault::CleanEndInMidLine);
                Ok(Some(Ended::Closed))
            }
            Ending::Reset => {
                happened(Fault::Reset);
                Ok(Some(Ended::Reset))
            }
            Ending::HalfClose => {
                self.client.shutdown().await?;
                happened(Fault::HalfClose);
                // The other way stays open for as long as the client wants it.
                pending().await
            }
            Ending::Stall => {
                happened(Fault::Stall);
                healed(self.heals.clone()).await;
                Ok(None)
            }
            Ending::StallAndGo => {
                select! {
                    () = self.account.again(Fault::BackPressure) => happened(Fault::StallAndGo),
                    () = healed(self.heals.clone()) => {}
                }
                // Every connection comes to an end.
                self.cut = Some(Cut {
                    place: Where::Anywhere,
                    after: self.counted + cut.after,
                    ending: Ending::Eof,
                });
                Ok(None)
            }
        }
    }
}

/// Whether a cut after this byte is one in such a place.
fn is_in(wanted: Where, byte: u8, place: Place) -> bool {
    match wanted {
        Where::Anywhere => true,
        Where::MidHead => place == Place::Head,
        Where::MidBody => place == Place::Body,
        Where::MidChunkSize => place == Place::ChunkSize,
        Where::MidLine => place == Place::Data && byte != b'\n',
        Where::MidFrames => place == Place::Frame,
    }
}
