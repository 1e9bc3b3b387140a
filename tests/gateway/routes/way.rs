//! What may stand between a gateway and its backend: a door that lets in only what shows the right headers, an HTTP proxy that
//! wants credentials, a terminator of TLS, and a token endpoint. Each notes what it hears.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

type Heads = Arc<Mutex<Vec<String>>>;

/// A door before a server.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    heads: Heads,
}

impl Door {
    /// `lets_in` judges heads in lower case; each request has a connection of its own.
    pub(crate) async fn before(server: SocketAddr, lets_in: impl Fn(&str) -> bool + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self { address: listener.local_addr().unwrap(), heads: Heads::default() };
        let (heads, lets_in) = (Arc::clone(&door.heads), std::rc::Rc::new(lets_in));
        actix_web::rt::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (heads, lets_in) = (Arc::clone(&heads), std::rc::Rc::clone(&lets_in));
                actix_web::rt::spawn(async move {
                    let Some(head) = read_head(&mut client).await else { return };
                    let is_good = lets_in(&head.to_lowercase());
                    heads.lock().unwrap().push(head.clone());
                    if is_good {
                        let upstream = TcpStream::connect(server).await.unwrap();
                        join(client, upstream, closing(&head).as_bytes()).await;
                    } else {
                        refuse(&mut client, "401 Unauthorized").await;
                    }
                });
            }
        });
        door
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// The same in lower case.
    pub(crate) fn lower_heads(&self) -> Vec<String> {
        self.heads().iter().map(|head| head.to_lowercase()).collect()
    }
}

/// An HTTP proxy for one user.
pub(crate) struct HttpProxy {
    pub(crate) address: SocketAddr,
    heads: Heads,
}

impl HttpProxy {
    pub(crate) async fn start(user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), heads: Heads::default() };
        let heads = Arc::clone(&proxy.heads);
        let expected = format!("basic {}", STANDARD.encode(format!("{user}:{password}"))).to_lowercase();
        actix_web::rt::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                actix_web::rt::spawn(through(client, expected.clone(), Arc::clone(&heads)));
            }
        });
        proxy
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn through(mut client: TcpStream, expected: String, heads: Heads) {
    let Some(head) = read_head(&mut client).await else { return };
    heads.lock().unwrap().push(head.clone());
    if !head.to_lowercase().contains(&format!("proxy-authorization: {expected}\r\n")) {
        return refuse(&mut client, "407 Proxy Authentication Required").await;
    }
    let target = head.split(' ').nth(1).unwrap().to_owned();
    if head.starts_with("CONNECT ") {
        let Ok(upstream) = TcpStream::connect(&target).await else {
            return refuse(&mut client, "502 Bad Gateway").await;
        };
        client.write_all(b"HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n").await.unwrap();
        return join(client, upstream, b"").await;
    }
    let url: url::Url = target.parse().unwrap();
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let Ok(upstream) = TcpStream::connect(host).await else { return refuse(&mut client, "502 Bad Gateway").await };
    let path = &url[url::Position::BeforePath..];
    let kept = head.lines().filter(|line| !line.to_lowercase().starts_with("proxy-authorization:"));
    let passed = kept.collect::<Vec<_>>().join("\r\n").replacen(&target, path, 1) + "\r\n";
    join(client, upstream, closing(&passed).as_bytes()).await;
}

/// Certificates of a test: an authority, and what it has signed, as PEM files.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "An authority of a test");
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Signs a certificate for a name, and returns the files with it and its key.
    pub(crate) fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let file = |kind: &str| self.folder.path().join(format!("{name}.{kind}.pem"));
        std::fs::write(file("cert"), signed.pem()).unwrap();
        std::fs::write(file("key"), key.serialize_pem()).unwrap();
        (file("cert"), file("key"))
    }
}

/// Ends TLS before a server: returns its address. With `clients`, whoever connects needs a certificate of that authority.
pub(crate) async fn terminator(server: SocketAddr, files: &(PathBuf, PathBuf), clients: Option<&Path>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_file(&files.0).unwrap()];
    let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&files.1).unwrap()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    actix_web::rt::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            actix_web::rt::spawn(async move {
                let Ok(client) = acceptor.accept(client).await else { return };
                let Ok(upstream) = TcpStream::connect(server).await else { return };
                join(client, upstream, b"").await;
            });
        }
    });
    address
}

/// A token endpoint at a port of its own, which is there only while it is wished for.
pub(crate) struct TokenEndpoint {
    pub(crate) address: SocketAddr,
    heads: Heads,
    is_up: Arc<Mutex<bool>>,
}

impl TokenEndpoint {
    /// Gives the tokens `NAME-0`, `NAME-1` and so on.
    pub(crate) async fn giving(name: String, is_up: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endpoint = Self { address, heads: Heads::default(), is_up: Arc::new(Mutex::new(is_up)) };
        let (heads, is_up) = (Arc::clone(&endpoint.heads), Arc::clone(&endpoint.is_up));
        actix_web::rt::spawn(async move {
            let mut number = 0;
            while let Ok((mut client, _)) = listener.accept().await {
                let Some(head) = read_head(&mut client).await else { continue };
                heads.lock().unwrap().push(head);
                if *is_up.lock().unwrap() {
                    let body = format!(r#"{{"access_token": "{name}-{number}", "expires_in": 3600}}"#);
                    let said =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                    number += 1;
                    client.write_all(said.as_bytes()).await.unwrap();
                    client.shutdown().await.ok();
                } else {
                    refuse(&mut client, "503 Service Unavailable").await;
                }
            }
        });
        endpoint
    }

    pub(crate) fn come_up(&self) {
        *self.is_up.lock().unwrap() = true;
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Reads to the end of the head, and no further.
async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Lets the server end the connection after its answer, so that each head comes by here; a socket goes on.
fn closing(head: &str) -> String {
    if head.to_lowercase().contains("\r\nupgrade: websocket") {
        return head.to_owned();
    }
    head.replacen("\r\n", "\r\nConnection: close\r\n", 1)
}

async fn refuse(client: &mut TcpStream, status: &str) {
    let said = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    client.write_all(said.as_bytes()).await.ok();
    client.shutdown().await.ok();
}

async fn join(mut client: impl AsyncRead + AsyncWrite + Unpin, mut upstream: TcpStream, first: &[u8]) {
    if upstream.write_all(first).await.is_ok() {
        tokio::io::copy_bidirectional(&mut client, &mut upstream).await.ok();
    }
}
