//! Certificates for a test: an authority, a server and a client that it signs, made by `openssl`.

use std::{path::PathBuf, process::Command};

use crate::support::unique;

/// A folder with `ca.pem`, and for each name `NAME.pem` and `NAME.key`. Removed when this value is dropped.
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes an authority, a certificate `server` for the name `localhost` alone, and one `client`.
    pub fn new() -> Certificates {
        let folder = std::env::temp_dir().join(unique("lockstep-certificates-"));
        std::fs::create_dir_all(&folder).unwrap();
        let certificates = Certificates { folder };
        certificates.write(
            "leaf.conf",
            "[req]\ndistinguished_name=name\nx509_extensions=leaf\n[name]\n[leaf]\n\
             basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n",
        );
        certificates.write(
            "ca.conf",
            "[req]\ndistinguished_name=name\nx509_extensions=ca\n[name]\n[ca]\n\
             basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n\
             subjectKeyIdentifier=hash\n",
        );
        certificates.openssl("ca", &["-config", "ca.conf"]);
        for leaf in ["server", "client"] {
            let signed = ["-config", "leaf.conf", "-CA", "ca.pem", "-CAkey", "ca.key"];
            certificates.openssl(leaf, &signed);
        }
        certificates
    }

    fn openssl(&self, name: &str, arguments: &[&str]) {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-nodes", "-days", "2", "-subj", &format!("/CN=lockstep {name}")])
            .args(["-keyout", &key, "-out", &certificate])
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .expect("is openssl installed?");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The path of a file.
    pub fn path(&self, file: &str) -> String {
        self.folder.join(file).display().to_string()
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, file: &str, text: &str) -> String {
        std::fs::write(self.folder.join(file), text).unwrap();
        self.path(file)
    }

    /// The arguments of a server that speaks TLS on a port.
    pub fn of_server(&self, port: u16, clients: &str) -> Vec<String> {
        let (cert, key, ca) =
            (self.path("server.pem"), self.path("server.key"), self.path("ca.pem"));
        let port = port.to_string();
        [
            ("--tls-port", port.as_str()),
            ("--tls-cert-file", &cert),
            ("--tls-key-file", &key),
            ("--tls-ca-cert-file", &ca),
            ("--tls-auth-clients", clients),
        ]
        .iter()
        .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
        .collect()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
