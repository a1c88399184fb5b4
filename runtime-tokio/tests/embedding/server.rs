//! A real server, which can be taken away and brought back.

use std::net::SocketAddr;
use std::time::Duration;

use reflet_tokio::serve::{Collection, CollectionOptions, Precondition, Publish, to_raw_value};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// Collections that are published, on a runtime of their own.
pub(crate) struct Server {
    collections: Vec<Collection>,
    pub(crate) address: SocketAddr,
    /// All connections and whatever serves them.
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn start(names: &[&str]) -> Self {
        let collection =
            |name: &&str| Collection::new(*name, CollectionOptions::default()).unwrap();
        let mut server = Self {
            collections: names.iter().map(collection).collect(),
            address: ([127, 0, 0, 1], 0).into(),
            runtime: None,
        };
        server.up();
        server
    }

    pub(crate) fn up(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind(self.address)).unwrap();
        self.address = listener.local_addr().unwrap();
        let published = self.collections.iter();
        let published = published.fold(Publish::new(), |all, one| all.collection(one));
        runtime.spawn(axum::serve(listener, published.router()).into_future());
        self.runtime = Some(runtime);
    }

    /// Every connection breaks.
    pub(crate) fn down(&mut self) {
        let runtime = self.runtime.take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(60));
    }

    pub(crate) fn put(&self, at: usize, key: &str, value: &str) {
        let value = to_raw_value(value).unwrap();
        self.collections[at]
            .put(key, value, Precondition::None)
            .unwrap();
    }

    pub(crate) fn delete(&self, at: usize, key: &str) {
        self.collections[at]
            .delete(key, Precondition::None)
            .unwrap();
    }
}
