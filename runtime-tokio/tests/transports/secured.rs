//! The same over TLS.

use std::io;
use std::sync::Arc;

use axum::Router;
use reflet_tokio::http::{Connect, Target};
use reflet_tokio::serve::Publish;
use tokio::io::{DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::rig::{Way, put, served, things};

/// Serves each connection, once TLS is spoken over it.
struct Secured {
    router: Router,
    acceptor: TlsAcceptor,
}

impl Connect for Secured {
    type Stream = DuplexStream;

    async fn connect(&self, target: &Target) -> io::Result<DuplexStream> {
        assert!(target.https);
        let (ours, theirs) = duplex(16 << 10);
        let (router, accepting) = (self.router.clone(), self.acceptor.accept(theirs));
        tokio::spawn(async move {
            if let Ok(stream) = accepting.await {
                served(router, stream).await;
            }
        });
        Ok(ours)
    }
}

pub(crate) async fn tls_protects_it(way: Way) {
    let names = vec!["server.example".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into());
    let things = things();
    put(&things, "a", 1);
    let server = Secured {
        router: Publish::new().collection(&things).router(),
        acceptor: TlsAcceptor::from(Arc::new(config.unwrap())),
    };
    let root = certified.cert.pem();
    let followed = way.follow("https://server.example", server, Some(root.as_bytes()));
    followed.has_all(&things).await;
    put(&things, "a", 2);
    followed.has_all(&things).await;
}
