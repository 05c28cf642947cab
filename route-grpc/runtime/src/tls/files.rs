//! Certificates and keys as they lie in files, in PEM.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Longest file that is read, bytes: a bundle of all roots that a system trusts has a quarter of it.
const LONGEST: u64 = 1 << 20;

/// A pipe is opened although nobody writes into it (O_NONBLOCK of Linux).
const DOES_NOT_WAIT: i32 = 0o4000;

/// A file of TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What is in it is of no use.
    #[error("{}: {problem}", path.display())]
    Unfit {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// They are of two pairs.
    #[error("the key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
}

/// A certificate with those that lead to its root, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// Certificates in PEM, its own first.
    pub certificate: Vec<u8>,
    /// The key in PEM.
    pub key: Vec<u8>,
}

impl Pair {
    /// Reads both. They may be replaced between the two: that is a mismatch, and is over when they are read again.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or they do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, FileError> {
        let pair = Self {
            certificate: read(certificate)?,
            key: read(key)?,
        };
        pair.certified(certificate, key)?;
        Ok(pair)
    }

    /// What a server or a client shows. The paths are said if something is wrong.
    ///
    /// # Errors
    ///
    /// As in [`read`](Self::read).
    pub fn certified(&self, certificate: &Path, key: &Path) -> Result<CertifiedKey, FileError> {
        let chain = certificates(&self.certificate, certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| unfit(key, format!("no private key in PEM: {error}")))?;
        let signing = provider().key_provider.load_private_key(secret);
        let signing = signing.map_err(|error| unfit(key, error.to_string()))?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Ok(()) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => Err(FileError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            }),
            Err(error) => Err(unfit(certificate, error.to_string())),
        }
    }
}

impl fmt::Debug for Pair {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// Reads a bundle of certificates whose holders are trusted: at least one, in PEM.
///
/// # Errors
///
/// It cannot be read, or what is in it can be nobody's root.
pub fn roots(path: &Path) -> Result<RootCertStore, FileError> {
    roots_in(&read(path)?, path)
}

/// The same of what was read from there.
///
/// # Errors
///
/// As above.
pub fn roots_in(pem: &[u8], path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path)? {
        let added = roots.add(certificate);
        added.map_err(|error| unfit(path, error.to_string()))?;
    }
    Ok(roots)
}

/// Reads a file of certificates, keys or a policy. Longer ones than 1 MiB are none.
///
/// # Errors
///
/// It cannot be read, is too long, or no file: what has no end, or waits for somebody, is not waited for.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut found = Vec::new();
    let file = open(path)?.take(LONGEST + 1);
    let length = BufReader::new(file).read_to_end(&mut found);
    let length = length.map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    match length as u64 <= LONGEST {
        true => Ok(found),
        false => Err(unfit(path, format!("longer than {LONGEST} bytes"))),
    }
}

/// Opens a file, and nothing else that may lie there: a pipe, a device.
///
/// # Errors
///
/// It cannot be opened, or is no file.
pub fn open(path: &Path) -> Result<File, FileError> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(DOES_NOT_WAIT)
        .open(path);
    let opened = opened.and_then(|file| Ok((file.metadata()?.is_file(), file)));
    match opened {
        Ok((true, file)) => Ok(file),
        Ok((false, _)) => Err(unfit(path, "it is no file".to_owned())),
        Err(source) => Err(FileError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// What all of TLS here is made of.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = read.map_err(|error| unfit(path, format!("not PEM: {error}")))?;
    match found.is_empty() {
        true => Err(unfit(path, "there is no certificate in it".to_owned())),
        false => Ok(found),
    }
}

fn unfit(path: &Path, problem: String) -> FileError {
    FileError::Unfit {
        path: path.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate and its key in PEM.
    fn pair() -> Pair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["node.test".to_owned()]).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        Pair {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }

    fn certified(pair: &Pair) -> Result<CertifiedKey, String> {
        let told = pair.certified(Path::new("tls.crt"), Path::new("tls.key"));
        told.map_err(|error| error.to_string())
    }

    #[test]
    fn a_certificate_goes_with_its_own_key_only() {
        let (one, other) = (pair(), pair());
        assert!(certified(&one).is_ok());

        let mixed = Pair {
            key: other.key,
            ..one
        };
        let told = certified(&mixed).expect_err("they are of two pairs");
        assert_eq!(
            told,
            "the key in tls.key is not that of the certificate in tls.crt"
        );
    }

    #[test]
    fn a_file_without_what_it_should_have_is_named() {
        let (empty, right) = (Vec::new(), pair());
        let without = |certificate: &[u8], key: &[u8]| Pair {
            certificate: certificate.to_vec(),
            key: key.to_vec(),
        };

        let told = certified(&without(&empty, &right.key)).expect_err("no certificate");
        assert!(told.starts_with("tls.crt: "), "{told}");
        let told = certified(&without(&right.certificate, &empty)).expect_err("no key");
        assert!(told.starts_with("tls.key: "), "{told}");
    }

    #[test]
    fn what_has_no_end_or_waits_for_somebody_is_no_file() {
        for path in ["/dev/zero", "/"] {
            let told = read(Path::new(path)).expect_err("it is none").to_string();
            assert!(told.contains(path), "{told}");
        }
        let pipe = std::env::temp_dir().join(format!("tt-pipe-{}", std::process::id()));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|it| it.success()), "a pipe");
        let told = read(&pipe).expect_err("it is none").to_string();
        let _ = std::fs::remove_file(&pipe);
        assert!(told.ends_with("it is no file"), "{told}");
    }

    #[test]
    fn a_bundle_has_all_its_roots() {
        let bundle = [pair().certificate, pair().certificate].concat();

        let roots = roots_in(&bundle, Path::new("ca.crt")).expect("roots");

        assert_eq!(roots.len(), 2);
    }
}
