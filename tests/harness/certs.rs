//! A certificate authority for one test, and what it signs.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A CA with a folder of its own. Everything is ECDSA P-256, made anew for every test.
pub struct Certs {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    ca: PathBuf,
    made: AtomicU64,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate (the CA's is not in it).
    pub chain: PathBuf,
    /// The private key, PKCS#8.
    pub key: PathBuf,
    /// The certificate's bytes, to compare with what a server showed.
    pub der: Vec<u8>,
}

impl Certs {
    /// Makes a CA.
    pub fn new() -> Self {
        let dir = crate::temp_dir();
        let key = KeyPair::generate().expect("a key for the CA");
        let mut params = named("Doorward Test CA", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("the CA's certificate");
        let ca = dir.path().join("ca.pem");
        write(&ca, &certificate.pem());
        Self { issuer: Issuer::new(params, key), ca, dir, made: AtomicU64::new(1) }
    }

    /// The CA's certificate, to be trusted.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// The folder with all files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A server's certificate for DNS names and IP addresses; `*.example.test` too, but clients refuse `*.localhost`.
    pub fn server(&self, names: &[&str]) -> Pair {
        let mut params = named(names.first().expect("a name"), names);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign(params)
    }

    /// The same, but it was good in 2020 only.
    pub fn expired(&self, names: &[&str]) -> Pair {
        let mut params = named(names.first().expect("a name"), names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 12, 31);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign(params)
    }

    /// The same, but it is good for so many days from now only.
    pub fn expires_in(&self, days: u64, names: &[&str]) -> Pair {
        let mut params = named(names.first().expect("a name"), names);
        params.not_after = (std::time::SystemTime::now() + std::time::Duration::from_secs(days * 86_400)).into();
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign(params)
    }

    /// A client's certificate.
    pub fn client(&self, name: &str) -> Pair {
        let mut params = named(name, &[]);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Pair {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(number));
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a signed certificate");
        let (chain, secret) =
            (self.dir.path().join(format!("{number}.pem")), self.dir.path().join(format!("{number}.key")));
        write(&chain, &certificate.pem());
        write(&secret, &key.serialize_pem());
        Pair { chain, key: secret, der: certificate.der().to_vec() }
    }
}

impl Default for Certs {
    fn default() -> Self {
        Self::new()
    }
}

fn named(common: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap_or_else(|e| panic!("names {names:?}: {e}"));
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
