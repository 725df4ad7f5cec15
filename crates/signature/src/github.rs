//! GitHub's way: the HMAC of the body, in hex.

use std::fmt::Write;

use hmac::Mac;

use crate::SigningSecret;

/// The header that it stands in. The one without `-256` is SHA-1 and proves nothing any more.
pub const GITHUB_HEADER: &str = "x-hub-signature-256";

impl SigningSecret {
    /// The value of [`GITHUB_HEADER`] for the very bytes of a body: `sha256=` and 64 lower-case hex digits.
    #[must_use]
    pub fn sign_github(&self, body: &[u8]) -> String {
        let sum = self.github().chain_update(body).finalize().into_bytes();
        let mut text = String::with_capacity("sha256=".len() + 2 * sum.len());
        text.push_str("sha256=");
        for byte in sum {
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn githubs_own_example_comes_out() {
        let secret = SigningSecret::new("It's a Secret to Everybody").unwrap();
        assert_eq!(
            secret.sign_github(b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
