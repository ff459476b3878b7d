//! Certificates and private keys in PEM files, which settings name. `store` reads those of connections to Redis, and
//! `server` those of the service itself.

use std::{fmt::Display, path::Path};

use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject},
};

/// Reads the certificates of a file, of which there is at least one.
///
/// # Errors
///
/// The sentence about a file that cannot be used, with the name of its setting.
pub fn read_certificates(
    setting: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(certificates) if !Vec::is_empty(&certificates) => Ok(certificates),
        Ok(_) => Err(not_pem(setting, path, "certificate", Error::NoItemsFound)),
        Err(error) => Err(not_pem(setting, path, "certificate", error)),
    }
}

/// Reads the first private key of a file. One that a passphrase protects is none.
///
/// # Errors
///
/// The sentence about a file that cannot be used, with the name of its setting.
pub fn read_private_key(setting: &str, path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| not_pem(setting, path, "private key", error))
}

/// The sentence about a file that cannot be read.
pub fn unreadable(setting: &str, path: &Path, error: impl Display) -> String {
    format!("cannot read {} of {setting}: {error}", path.display())
}

fn not_pem(setting: &str, path: &Path, what: &str, error: Error) -> String {
    match error {
        Error::Io(error) => unreadable(setting, path, error),
        Error::NoItemsFound => format!("{} of {setting} has no {what} in PEM", path.display()),
        // The error may quote a line of the file.
        _ => format!("{} of {setting} is not PEM", path.display()),
    }
}
