//! TLS over a connector's stream. Certificates are always checked; there is no switch.

use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
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

/// What the client shows of itself to a server that asks. Has no `Debug`: it holds a secret.
pub(super) struct Identity {
    pub(super) chain: Vec<u8>,
    pub(super) key: Vec<u8>,
}

type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Identity {
    /// The parser's own words can quote what it could not read, so they are not passed on.
    fn read(&self) -> Result<Certified, BuildError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.chain)
            .collect::<Result<_, _>>()
            .map_err(|_| BuildError::InvalidIdentity("the chain is not PEM"))?;
        if chain.is_empty() {
            return Err(BuildError::InvalidIdentity(
                "there is no certificate in the chain",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| BuildError::InvalidIdentity("there is no key that can be read"))?;
        Ok((chain, key))
    }
}

/// The client's side of TLS for one server.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    pub(super) fn new(
        target: &Target,
        roots: &Roots,
        identity: Option<Identity>,
    ) -> Result<Self, BuildError> {
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| BuildError::InvalidUrl(error.to_string()))?;
        // The provider is named, so that another crate's choice for the process changes nothing.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BuildError::Tls(error.to_string()))?
            .with_root_certificates(roots.load()?);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read()?;
                let words = "the key is not the certificate's, or one of them is of no known kind";
                let unfit = |_| BuildError::InvalidIdentity(words);
                config.with_client_auth_cert(chain, key).map_err(unfit)?
            }
        };
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
