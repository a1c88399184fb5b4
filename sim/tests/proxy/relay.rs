//! One connection through the proxy: its two ways, and how it ends.

use std::io;

use real_tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use real_tokio::net::TcpStream;
use real_tokio::net::tcp::{ReadHalf, WriteHalf};
use real_tokio::select;
use real_tokio::sync::watch;
use real_tokio::task::yield_now;

use crate::answering::{Answering, Ended};
use crate::plan::{Account, Fault, Plan, Requests};

const READ_BYTES: usize = 4 << 10;

/// Relays until one of the ends has closed, or the plan wants it so.
pub(crate) async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    plan: Plan,
    account: Account,
    heals: watch::Receiver<bool>,
) {
    client.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let answers = Answering::new(to_client, plan, account.clone(), heals.clone());
    // An end that broke off closes the connection, as one that closed does.
    let ended = select! {
        _ = requests(from_client, to_server, plan.requests, &account, &heals) => Ended::Closed,
        ended = answers.run(from_server) => ended.unwrap_or(Ended::Closed),
    };
    match ended {
        Ended::Closed => {}
        Ended::Reset => client.set_zero_linger().unwrap(),
    }
}

/// Hands requests over until the client has closed.
async fn requests(
    mut client: ReadHalf<'_>,
    mut server: WriteHalf<'_>,
    plan: Requests,
    account: &Account,
    heals: &watch::Receiver<bool>,
) -> io::Result<()> {
    let mut sent = Vec::new();
    let mut buffer = [0; READ_BYTES];
    loop {
        let read = client.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let plan = match *heals.borrow() {
            true => Requests::AsTheyCome,
            false => plan,
        };
        let piece = match plan {
            Requests::AsTheyCome => READ_BYTES,
            Requests::Dribble(size) => size,
            Requests::CutAfter(_) | Requests::CloseAfter(_) => 1,
        };
        for bytes in buffer[..read].chunks(piece) {
            sent.extend_from_slice(bytes);
            server.write_all(bytes).await?;
            yield_now().await;
            if let Some(fault) = due(plan, &sent) {
                server.shutdown().await?;
                account.happened(fault);
                // The client is not held up: what it says is lost.
                while client.read(&mut buffer).await? > 0 {}
                return Ok(());
            }
        }
        if let Requests::Dribble(_) = plan {
            account.happened(Fault::RequestDribble);
        }
    }
}

/// What happens after so much was sent.
fn due(plan: Requests, sent: &[u8]) -> Option<Fault> {
    let whole = || sent.windows(4).filter(|end| end == b"\r\n\r\n").count();
    match plan {
        Requests::CutAfter(bytes) if sent.len() >= bytes => Some(Fault::RequestCut),
        Requests::CloseAfter(requests) if whole() >= requests => Some(Fault::RequestHalfClose),
        Requests::AsTheyCome
        | Requests::Dribble(_)
        | Requests::CutAfter(_)
        | Requests::CloseAfter(_) => None,
    }
}
