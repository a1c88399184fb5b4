//! TLS over a connector's stream. Certificates are always checked; there is no switch.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::builder::BuildError;
use super::connect::{BoxStream, Target};

/// Which certificate authorities are trusted.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub(super) platform: bool,
    pub(super) pem: Vec<Vec<u8>>,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            platform: true,
            pem: Vec::new(),
        }
    }
}

impl Roots {
    fn load(&self) -> Result<RootCertStore, BuildError> {
        let mut store = RootCertStore::empty();
        let mut trouble = None;
        if self.platform {
            let found = rustls_native_certs::load_native_certs();
            // Platform stores hold a few oddities everywhere: what cannot be read is not trusted.
            store.add_parsable_certificates(found.certs);
            trouble = found.errors.first().map(ToString::to_string);
        }
        for pem in &self.pem {
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|error| BuildError::InvalidRoot(error.to_string()))?;
            if certificates.is_empty() {
                return Err(BuildError::InvalidRoot("no certificate in the PEM".into()));
            }
            for certificate in certificates {
                store
                    .add(certificate)
                    .map_err(|error| BuildError::InvalidRoot(error.to_string()))?;
            }
        }
        if store.is_empty() {
            return Err(BuildError::NoRoots(trouble));
        }
        Ok(store)
    }
}

/// The client's side of TLS for one server.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(target: &Target, roots: &Roots) -> Result<Self, BuildError> {
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| BuildError::InvalidUrl(error.to_string()))?;
        // The provider is named, so that another crate's choice for the process changes nothing.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BuildError::Tls(error.to_string()))?
            .with_root_certificates(roots.load()?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }

    pub(super) async fn handshake(&self, stream: BoxStream) -> io::Result<BoxStream> {
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        Ok(Box::new(stream))
    }
}
