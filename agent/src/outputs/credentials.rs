//! How an output says to a server who it is.

use reqwest::header::HeaderValue;

use crate::options::OptionError;
use crate::options::secret::Secret;

/// How the agent authenticates.
#[derive(Clone)]
pub(super) enum Credentials {
    /// Not at all, unless the URL has a user.
    None,
    /// A user with a password.
    Basic(Secret, Secret),
    /// A token of InfluxDB 2 or 3.
    Token(HeaderValue),
}

impl Credentials {
    /// A token under its scheme; none where it is empty.
    ///
    /// # Errors
    /// It has characters that no header has.
    pub(super) fn token(scheme: &str, token: &Secret) -> Result<Self, OptionError> {
        // A file or a variable that it comes from may end in a newline.
        let token = token.expose().trim();
        if token.is_empty() {
            return Ok(Self::None);
        }
        // The message must not contain it: it is a secret.
        let value = HeaderValue::from_str(&format!("{scheme} {token}"));
        let mut value = value
            .map_err(|_| OptionError::new("token", "has characters that no token has, such as a newline"))?;
        value.set_sensitive(true);
        Ok(Self::Token(value))
    }
}
