//! An authority of a test's own, and a certificate of it for this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Certificate {
    /// What a client must believe.
    pub authority: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// For `127.0.0.1`, into the folder.
pub fn here(folder: &Path) -> Certificate {
    let path = |name: &str| folder.join(name);
    let made = Certificate { authority: path("authority.pem"), cert: path("cert.pem"), key: path("key.pem") };
    std::fs::write(path("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let openssl = |words: &str| {
        let output = Command::new("openssl").current_dir(folder).args(words.split(' ')).output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
    };
    let keys = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {keys} -days 2 -subj /CN=lockgate-test -keyout authority.key -out authority.pem"
    ));
    openssl(&format!("req -new {keys} -subj /CN=here -keyout key.pem -out request"));
    openssl(
        "x509 -req -days 2 -CAcreateserial -extfile extensions -in request -CA authority.pem -CAkey authority.key -out cert.pem",
    );
    made
}
