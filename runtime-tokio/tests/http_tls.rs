//! Who is trusted over TLS, on either side: certificates that are good, and those that are not.
#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use reflet_tokio::http::{BuildError, Connect, HttpSource, HttpSourceBuilder, Target};
use reflet_tokio::reflet_core::{Failure, FailureClass, Notice as Said};
use reflet_tokio::{Informer, Notice};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;

const PAGE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n{\"revision\":\"12\",\"items\":[]}  ";

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Certificate {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        Self::named("the authority")
    }

    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for the host `server`, but for what is changed in it.
    fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = CertificateParams::new(["server".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.0).unwrap();
        Certificate {
            der: made.der().clone(),
            pem: made.pem(),
            key,
        }
    }
}

fn self_signed() -> Certificate {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["server".to_owned()]).unwrap();
    let made = params.self_signed(&key).unwrap();
    Certificate {
        der: made.der().clone(),
        pem: made.pem(),
        key,
    }
}

/// A server with a certificate, which asks its clients for theirs where it trusts somebody to
/// issue them. A clone is the same one.
#[derive(Clone)]
struct Server {
    acceptor: TlsAcceptor,
    /// How many requests it has read.
    requests: Arc<Mutex<usize>>,
}

impl Server {
    fn new(certificate: &Certificate, clients: Option<&Authority>) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(certificate.key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.0.der().clone()).unwrap();
                let roots = Arc::new(roots);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                config.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![certificate.der.clone()];
        let config = config.with_single_cert(chain, PrivateKeyDer::from(key));
        Self {
            acceptor: TlsAcceptor::from(Arc::new(config.unwrap())),
            requests: Arc::default(),
        }
    }

    async fn serve(self, stream: DuplexStream) -> io::Result<()> {
        let mut stream = self.acceptor.accept(stream).await?;
        let mut head = Vec::new();
        loop {
            head.push(stream.read_u8().await?);
            if head.ends_with(b"\r\n\r\n") {
                *self.requests.lock().unwrap() += 1;
                stream.write_all(PAGE).await?;
                stream.flush().await?;
                head.clear();
            }
        }
    }

    fn requests(&self) -> usize {
        *self.requests.lock().unwrap()
    }

    fn source(&self, host: &str) -> HttpSourceBuilder<Value> {
        let url = format!("https://{host}:8443");
        HttpSource::builder(&url, "things").connector(self.clone())
    }

    /// A source that trusts this authority and nobody else.
    fn trusting(&self, authority: &Authority) -> HttpSourceBuilder<Value> {
        let source = self.source("server").root_pem(authority.pem().as_bytes());
        source.without_platform_roots()
    }
}

impl Connect for Server {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Target) -> io::Result<DuplexStream> {
        let (ours, theirs) = duplex(64 << 10);
        tokio::spawn(self.clone().serve(theirs));
        Ok(ours)
    }
}

/// What comes first: a complete state, or a failure.
async fn outcome(source: HttpSourceBuilder<Value>) -> Result<(), Failure> {
    let informer = Informer::builder(source.build().unwrap()).start();
    let mut notices = informer.notices();
    loop {
        match notices.next().await.unwrap() {
            Notice::Engine(Said::Synced { .. }) => return Ok(()),
            Notice::Engine(Said::Failed { failure, .. }) => return Err(failure),
            _ => {}
        }
    }
}

async fn refused(server: &Server, source: HttpSourceBuilder<Value>, words: &str) {
    let failure = outcome(source).await.unwrap_err();
    assert_eq!(failure.class, FailureClass::Retryable, "{failure}");
    assert!(failure.message.contains(words), "{words}: {failure}");
    assert_eq!(server.requests(), 0, "{words}");
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_for_this_host_is_good() {
    let authority = Authority::new();
    let server = Server::new(&authority.issue(|_| {}), None);
    outcome(server.trusting(&authority)).await.unwrap();
    assert!(server.requests() > 0);
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_with_a_bad_certificate() {
    let authority = Authority::new();
    let expired = authority.issue(|params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let early = authority.issue(|params| params.not_before = date_time_ymd(4000, 1, 1));
    let other_name = authority.issue(|params| {
        *params = CertificateParams::new(["another".to_owned()]).unwrap();
    });
    let other_use = authority.issue(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let stranger = Authority::named("a stranger").issue(|_| {});
    for (certificate, words) in [
        (expired, "certificate expired"),
        (early, "certificate not valid yet"),
        (other_name, "not valid for name"),
        (other_use, "certificate"),
        (stranger, "UnknownIssuer"),
        (self_signed(), "UnknownIssuer"),
    ] {
        let server = Server::new(&certificate, None);
        refused(&server, server.trusting(&authority), words).await;
    }
}

#[tokio::test]
async fn what_a_certificate_is_for_is_compared_with_the_host_of_the_url() {
    let authority = Authority::new();
    let server = Server::new(&authority.issue(|_| {}), None);
    for host in ["another", "server.another", "10.0.0.1", "[::1]"] {
        let source = server.source(host).root_pem(authority.pem().as_bytes());
        refused(
            &server,
            source.without_platform_roots(),
            "not valid for name",
        )
        .await;
    }
    let addressed = authority.issue(|params| {
        *params = CertificateParams::new(["10.0.0.1".to_owned()]).unwrap();
    });
    let server = Server::new(&addressed, None);
    let source = server.source("10.0.0.1");
    let source = source.root_pem(authority.pem().as_bytes());
    outcome(source.without_platform_roots()).await.unwrap();
}

#[tokio::test]
async fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Server::new(&authority.issue(|_| {}), Some(&clients));
    refused(&server, server.trusting(&authority), "CertificateRequired").await;

    let stranger = Authority::named("a stranger").issue(|_| {});
    let expired = clients.issue(|params| params.not_after = date_time_ymd(2001, 1, 1));
    let key = |certificate: &Certificate| certificate.key.serialize_pem();
    for (certificate, words) in [(&stranger, "UnknownCA"), (&expired, "CertificateExpired")] {
        let source = server.trusting(&authority);
        let pem = certificate.pem.as_bytes();
        let source = source.client_certificate_pem(pem, key(certificate).as_bytes());
        refused(&server, source, words).await;
    }

    let known = clients.issue(|_| {});
    let source = server.trusting(&authority);
    let source = source.client_certificate_pem(known.pem.as_bytes(), key(&known).as_bytes());
    outcome(source).await.unwrap();
    assert!(server.requests() > 0);
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_an_error_without_the_key() {
    let authority = Authority::new();
    let (one, other) = (authority.issue(|_| {}), authority.issue(|_| {}));
    let (pem, key) = (one.pem.as_str(), one.key.serialize_pem());
    let cut = key.replace("-----END PRIVATE KEY-----", "");
    let other_key = other.key.serialize_pem();
    for (chain, key) in [
        ("", key.as_str()),
        (key.as_str(), pem),
        (key.as_str(), key.as_str()),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
        ),
        (
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            &key,
        ),
        (pem, ""),
        (pem, pem),
        (pem, &cut),
        (pem, &other_key),
    ] {
        let source = HttpSource::<Value>::builder("https://server", "things")
            .root_pem(authority.pem().as_bytes())
            .without_platform_roots()
            .client_certificate_pem(chain.as_bytes(), key.as_bytes());
        let shown = format!("{source:?}");
        let error = source.build().unwrap_err();
        assert!(matches!(error, BuildError::InvalidIdentity(_)), "{error}");
        let shown = format!("{shown} {error} {error:?}");
        for secret in key.lines().filter(|line| line.len() > 20) {
            assert!(pem.contains(secret) || !shown.contains(secret), "{shown}");
        }
    }
}

/// Tells the child from a run of the ignored tests.
const ROLE: &str = "REFLET_TEST_PLATFORM_ROOTS";

/// Where the platform's authorities are is said by the environment, which only a new process can
/// have of its own.
#[tokio::test]
async fn the_platforms_authorities_are_trusted_unless_they_are_not_wanted() {
    let (authority, other) = (Authority::new(), Authority::named("another"));
    let certificate = authority.issue(|_| {});
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let file = |name: &str, content: String| {
        let path = folder.join(format!("roots-{}-{name}.pem", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    };
    let server = file("server", certificate.pem + &certificate.key.serialize_pem());
    for (role, platform) in [
        ("trusted", &authority),
        ("unknown", &other),
        ("unwanted", &authority),
    ] {
        let roots = file(role, platform.pem());
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env("SERVER", &server)
            .env("SSL_CERT_FILE", &roots)
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{role}: {said}");
        assert!(said.contains(&format!("as {role}")), "{said}");
        std::fs::remove_file(roots).unwrap();
    }
    std::fs::remove_file(server).unwrap();
}

#[tokio::test]
#[ignore = "the process with an environment of its own"]
async fn child() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let pem = std::fs::read_to_string(std::env::var_os("SERVER").unwrap()).unwrap();
    let certificate = Certificate {
        der: CertificateDer::from_pem_slice(pem.as_bytes()).unwrap(),
        key: KeyPair::from_pem(&pem[pem.find("-----BEGIN PRIVATE").unwrap()..]).unwrap(),
        pem,
    };
    let server = Server::new(&certificate, None);
    let source = server.source("server");
    match &*role {
        "trusted" => outcome(source).await.unwrap(),
        "unknown" => refused(&server, source, "UnknownIssuer").await,
        _ => {
            let stranger = Authority::named("a stranger").pem();
            let source = source.root_pem(stranger.as_bytes());
            refused(&server, source.without_platform_roots(), "UnknownIssuer").await;
        }
    }
    println!("as {role}");
}
