//! How a client says who it is: SASL's mechanisms PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. Pure.
//!
//! Sources: <https://www.rfc-editor.org/rfc/rfc4616>, <https://www.rfc-editor.org/rfc/rfc5802>,
//! <https://www.rfc-editor.org/rfc/rfc7677>.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

use crate::options::OptionError;
use crate::options::secret::Secret;

/// The most rounds that a server may ask for: some tenths of a second of CPU time.
const MAX_ITERATIONS: u32 = 1_000_000;

/// The mechanisms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    pub(super) fn new(name: &str) -> Result<Self, OptionError> {
        match name {
            // Sarama's default.
            "" | "PLAIN" => Ok(Self::Plain),
            "SCRAM-SHA-256" => Ok(Self::ScramSha256),
            "SCRAM-SHA-512" => Ok(Self::ScramSha512),
            other => {
                let what = format!("`{other}` is not here: there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512");
                Err(OptionError::new("sasl_mechanism", what))
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// What PLAIN sends.
pub(super) fn plain(user: &Secret, password: &Secret) -> Vec<u8> {
    [b"\0", user.expose().as_bytes(), b"\0", password.expose().as_bytes()].concat()
}

/// A conversation by SCRAM.
pub(super) struct Scram {
    is_512: bool,
    password: Secret,
    nonce: String,
    /// The first message without its head.
    first: String,
    /// What the server has to prove that it knows.
    server_signature: Vec<u8>,
}

impl Scram {
    /// `nonce` is a text of the client's that no other conversation had, without commas.
    pub(super) fn new(mechanism: Mechanism, user: &Secret, password: &Secret, nonce: String) -> Self {
        let user = user.expose().replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={user},r={nonce}");
        let is_512 = mechanism == Mechanism::ScramSha512;
        Self { is_512, password: password.clone(), nonce, first, server_signature: Vec::new() }
    }

    /// The first message.
    pub(super) fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.first).into_bytes()
    }

    /// The second message, which answers the server's first.
    ///
    /// # Errors
    /// What is wrong with that.
    pub(super) fn second(&mut self, server: &[u8]) -> Result<Vec<u8>, String> {
        let server = std::str::from_utf8(server).map_err(|_| "its challenge is no text")?;
        if let Some(error) = part(server, "e=") {
            return Err(format!("it refuses: {error}"));
        }
        let nonce = part(server, "r=").filter(|nonce| nonce.starts_with(&self.nonce) && *nonce != self.nonce);
        let nonce = nonce.ok_or("its challenge does not go on with this conversation")?;
        let salt = part(server, "s=")
            .and_then(|salt| BASE64.decode(salt).ok())
            .ok_or("its challenge has no salt")?;
        let rounds = part(server, "i=").and_then(|rounds| rounds.parse().ok());
        let rounds: NonZeroU32 = rounds.ok_or("its challenge has no number of rounds")?;
        if rounds.get() > MAX_ITERATIONS {
            return Err(format!("it asks for {rounds} rounds, and {MAX_ITERATIONS} are the most here"));
        }
        let salted = self.salted(&salt, rounds);
        let client_key = self.hmac(&salted, b"Client Key");
        let algorithm = if self.is_512 { &digest::SHA512 } else { &digest::SHA256 };
        let stored_key = digest::digest(algorithm, &client_key);
        let last = format!("c=biws,r={nonce}");
        let all = format!("{},{server},{last}", self.first);
        let signature = self.hmac(stored_key.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = self.hmac(&salted, b"Server Key");
        self.server_signature = self.hmac(&server_key, all.as_bytes());
        Ok(format!("{last},p={}", BASE64.encode(proof)).into_bytes())
    }

    /// Looks at the server's last message.
    ///
    /// # Errors
    /// It does not know the password, or says that this client does not.
    pub(super) fn finish(&self, server: &[u8]) -> Result<(), String> {
        let server = std::str::from_utf8(server).map_err(|_| "its last message is no text")?;
        if let Some(error) = part(server, "e=") {
            return Err(format!("it refuses: {error}"));
        }
        let signature = part(server, "v=").and_then(|signature| BASE64.decode(signature).ok());
        if signature.is_some_and(|signature| signature == self.server_signature) {
            Ok(())
        } else {
            Err("it does not know the password itself: it is another server".to_owned())
        }
    }

    fn salted(&self, salt: &[u8], rounds: NonZeroU32) -> Vec<u8> {
        let (algorithm, length) =
            if self.is_512 { (pbkdf2::PBKDF2_HMAC_SHA512, 64) } else { (pbkdf2::PBKDF2_HMAC_SHA256, 32) };
        let mut salted = vec![0; length];
        pbkdf2::derive(algorithm, rounds, salt, self.password.expose().as_bytes(), &mut salted);
        salted
    }

    fn hmac(&self, key: &[u8], text: &[u8]) -> Vec<u8> {
        let algorithm = if self.is_512 { hmac::HMAC_SHA512 } else { hmac::HMAC_SHA256 };
        hmac::sign(&hmac::Key::new(algorithm, key), text).as_ref().to_vec()
    }
}

/// The attribute of a message that begins like this.
fn part<'a>(message: &'a str, begin: &str) -> Option<&'a str> {
    message.split(',').find_map(|part| part.strip_prefix(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conversation of RFC 7677, section 3.
    #[test]
    fn scram_is_that_of_the_rfc() {
        let (user, password) = (Secret::from("user"), Secret::from("pencil"));
        let mut scram = Scram::new(Mechanism::ScramSha256, &user, &password, "rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let second = scram.second(challenge.as_bytes()).unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(second).unwrap(), expected);
        assert_eq!(scram.finish(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
        assert!(scram.finish(b"v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_err());
        assert_eq!(scram.finish(b"e=invalid-proof"), Err("it refuses: invalid-proof".into()));
    }

    #[rstest::rstest]
    #[case("e=no-such-user", "it refuses: no-such-user")]
    #[case("r=another,s=YQ==,i=4096", "its challenge does not go on")]
    #[case("r=n,s=YQ==,i=4096", "its challenge does not go on")]
    #[case("r=nx,s=!,i=4096", "its challenge has no salt")]
    #[case("r=nx,s=YQ==,i=0", "its challenge has no number")]
    #[case("r=nx,s=YQ==,i=2000000", "it asks for 2000000 rounds")]
    fn a_bad_challenge_is_said(#[case] challenge: &str, #[case] expected: &str) {
        let (user, password) = (Secret::from("a,b=c"), Secret::from("p"));
        let mut scram = Scram::new(Mechanism::ScramSha512, &user, &password, "n".into());
        assert_eq!(scram.first(), b"n,,n=a=2Cb=3Dc,r=n");
        let error = scram.second(challenge.as_bytes()).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn plain_has_user_and_password() {
        assert_eq!(plain(&"u".into(), &"p".into()), b"\0u\0p");
        assert_eq!(Mechanism::new("").unwrap().name(), "PLAIN");
        let error = Mechanism::new("GSSAPI").unwrap_err().to_string();
        assert!(error.starts_with("`sasl_mechanism`: `GSSAPI` is not here"), "{error}");
    }
}
