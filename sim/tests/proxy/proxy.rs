//! The proxy's door: who is let in, and with which plan.

use std::net::{Ipv4Addr, SocketAddr};

use real_tokio::net::{TcpListener, TcpSocket, TcpStream};
use real_tokio::select;
use real_tokio::sync::watch;
use real_tokio::task::{JoinHandle, JoinSet};

use crate::plan::{Account, Door, Fault, Plan};
use crate::relay::relay;

/// Bytes that wait in the system between the server and the proxy: few, so that a proxy that does
/// not read is soon noticed.
pub(crate) const SOCKET_BUFFER: u32 = 4 << 10;

/// A proxy before a server. Dropping it ends it.
pub(crate) struct Proxy {
    address: SocketAddr,
    healed: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Plans are drawn from `seed`, what happens goes to `account`.
    pub(crate) fn start(seed: u64, server: SocketAddr, account: Account) -> Self {
        let (healed, heals) = watch::channel(false);
        // It never listens, so that the port is ours while nobody does.
        let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let address = reserved.local_addr().unwrap();
        let doorman = Doorman {
            address,
            server,
            seed,
            account,
            heals,
        };
        let task = real_tokio::spawn(async move {
            doorman.run().await;
            drop(reserved);
        });
        Self {
            address,
            healed,
            task,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing happens to any connection.
    pub(crate) fn heal(&self) {
        self.healed.send_replace(true);
    }

    /// Whether the proxy itself has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Doorman {
    address: SocketAddr,
    server: SocketAddr,
    seed: u64,
    account: Account,
    heals: watch::Receiver<bool>,
}

impl Doorman {
    async fn run(self) {
        let mut listener = self.listen();
        let mut connections = JoinSet::new();
        for number in 0.. {
            let plan = Plan::new(self.seed, number);
            match plan.door {
                Door::Open => {}
                Door::Refuse => {
                    drop(listener);
                    select! {
                        () = self.account.again(Fault::Refused) => {}
                        () = healed(self.heals.clone()) => {}
                    }
                    listener = self.listen();
                }
                Door::DoNotAccept => select! {
                    () = self.account.unheard() => self.account.happened(Fault::NotAccepted),
                    () = healed(self.heals.clone()) => {}
                },
            }
            let (client, _) = listener.accept().await.unwrap();
            let server = self.connect().await;
            let (account, heals) = (self.account.clone(), self.heals.clone());
            connections.spawn(relay(client, server, plan, account, heals));
            while let Some(ended) = connections.try_join_next() {
                ended.unwrap();
            }
        }
    }

    fn listen(&self) -> TcpListener {
        bind(self.address).listen(128).unwrap()
    }

    async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SOCKET_BUFFER).unwrap();
        let stream = socket.connect(self.server).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

/// A socket at an address that it may share with another one that does not listen.
fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

/// Waits until the proxy behaves.
pub(crate) async fn healed(mut heals: watch::Receiver<bool>) {
    // A closed channel says that the proxy is gone, and this with it.
    let _ = heals.wait_for(|healed| *healed).await;
}
