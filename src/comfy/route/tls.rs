//! How a backend's certificate is judged, and which one it is shown: one configuration, for HTTP calls and sockets alike.

use super::options::file;
use super::{RouteError, TlsOptions};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The longest PEM file, in bytes.
const LONGEST_PEM: u64 = 4 << 20;

/// Returns what holds where nothing was said: the public authorities are trusted, and nothing is shown.
pub(super) fn usual() -> Result<Arc<ClientConfig>, RouteError> {
    static USUAL: LazyLock<Result<Arc<ClientConfig>, RouteError>> = LazyLock::new(|| config(&TlsOptions::default()));
    USUAL.clone()
}

/// Returns what holds for a token endpoint: the same authorities, but whatever is said of the backend's certificate, its
/// name or ours is not for it.
pub(super) fn for_tokens(options: &TlsOptions) -> Result<Arc<ClientConfig>, RouteError> {
    config(&TlsOptions { ca_file: options.ca_file.clone(), ..TlsOptions::default() })
}

/// Reads the files of a definition and makes what it says.
pub(super) fn config(options: &TlsOptions) -> Result<Arc<ClientConfig>, RouteError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unfit = |error: Error| RouteError::new("tls", error.to_string());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let verifier = verifier(options, &provider)?;
    let builder = builder.map_err(unfit)?.dangerous().with_custom_certificate_verifier(verifier);
    let config = match (&options.cert_file, &options.key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let chain = certificates("tls.cert_file", certificate)?;
            let text = file("tls.key_file", key, LONGEST_PEM)?;
            let unread = |_| RouteError::new("tls.key_file", format!("`{}` holds no key in PEM", key.display()));
            let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(unread)?;
            let unfit = |error: Error| {
                RouteError::new("tls.key_file", format!("it does not go with the certificate of `cert_file`: {error}"))
            };
            builder.with_client_auth_cert(chain, key).map_err(unfit)?
        }
        (Some(_), None) => {
            return Err(RouteError::new("tls.key_file", "it is missing; a certificate goes with its key"));
        }
        (None, Some(_)) => {
            return Err(RouteError::new("tls.cert_file", "it is missing; a key goes with its certificate"));
        }
    };
    Ok(Arc::new(config))
}

/// Adds to the reason of a failed connection what may mend it.
pub(in crate::comfy) fn mended(reason: String) -> String {
    // A new authority with the old one's name makes a bad signature.
    let hint = if reason.contains("UnknownIssuer") || reason.contains("BadSignature") {
        "; if it is the right one, name its authority in `tls.ca_file`"
    } else if reason.contains("not valid for name") || reason.contains("NotValidForName") {
        "; if it is the right one, write its name into `tls.server_name`"
    } else if reason.contains("CertificateRequired") {
        "; name one in `tls.cert_file`, and its key in `tls.key_file`"
    } else {
        return reason;
    };
    reason + hint
}

fn verifier(options: &TlsOptions, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, RouteError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = &options.ca_file {
        for certificate in certificates("tls.ca_file", path)? {
            let unfit = |error: Error| {
                RouteError::new("tls.ca_file", format!("`{}` holds what is no authority: {error}", path.display()))
            };
            roots.add(certificate).map_err(unfit)?;
        }
    }
    let unfit = |error: rustls::client::VerifierBuilderError| RouteError::new("tls", error.to_string());
    let public = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let public = public.build().map_err(unfit)?;
    let name = options.server_name.clone().map(ServerName::try_from).transpose().map_err(|_| {
        RouteError::new("tls.server_name", "it is neither a name nor an address; write it like gpu.example")
    })?;
    Ok(match (options.insecure_skip_verify, name) {
        (true, Some(_)) => {
            let reason = "nothing is judged with `insecure_skip_verify`; take one of the two away";
            return Err(RouteError::new("tls.server_name", reason));
        }
        (true, None) => Arc::new(Judge { public, whom: Whom::Anybody }),
        (false, Some(name)) => Arc::new(Judge { public, whom: Whom::Named(name) }),
        (false, None) => public,
    })
}

fn certificates(part: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, RouteError> {
    let text = file(part, path, LONGEST_PEM)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let none = || RouteError::new(part, format!("`{}` holds no certificate in PEM", path.display()));
    found.ok().filter(|found| !found.is_empty()).ok_or_else(none)
}

/// Judges certificates in another way than by the name of the address.
#[derive(Debug)]
struct Judge {
    public: Arc<WebPkiServerVerifier>,
    whom: Whom,
}

#[derive(Debug)]
enum Whom {
    Anybody,
    Named(ServerName<'static>),
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.whom {
            Whom::Anybody => Ok(ServerCertVerified::assertion()),
            Whom::Named(name) => self.public.verify_server_cert(end_entity, intermediates, name, ocsp_response, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.public.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.public.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.public.supported_verify_schemes()
    }
}
