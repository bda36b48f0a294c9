//! Who may write: every form in which clients of InfluxDB say who they are.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use ring::hmac;
use serde_json::Value;

use super::params::Params;
use crate::options::secret::{Secret, same};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(in super::super::super) enum Auth {
    /// Everybody may write.
    #[default]
    None,
    /// A user and a password: basic, `u` and `p`, or `Token user:password`.
    User(Secret, Secret),
    /// A token: `Token t`, `Bearer t`, or as the password of any user, as InfluxDB 2 has it for clients of version 1.
    Token(Secret),
    /// A token that somebody signed.
    Jwt(Jwt),
}

/// Tokens that are signed with a secret, for a user.
#[derive(Clone, Debug)]
pub(in super::super::super) struct Jwt {
    pub(in super::super::super) secret: Secret,
    pub(in super::super::super) username: Secret,
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    User(String, String),
    Token(String),
}

impl Auth {
    /// Whether a request may be served.
    pub(super) fn admits(&self, headers: &HeaderMap, params: &Params, now: u64) -> bool {
        if matches!(self, Self::None) {
            return true;
        }
        said(headers, params).iter().any(|said| match (self, said) {
            (Self::User(user, password), Said::User(u, p)) => {
                same(u, user.expose()) & same(p, password.expose())
            }
            (Self::User(user, password), Said::Token(token)) => {
                same(token, &format!("{}:{}", user.expose(), password.expose()))
            }
            (Self::Token(token), Said::Token(said) | Said::User(_, said)) => same(said, token.expose()),
            (Self::Jwt(jwt), Said::Token(token)) => jwt.admits(token, now),
            (Self::Jwt(_), Said::User(..)) | (Self::None, _) => false,
        })
    }
}

/// All that a client said, in whatever form.
fn said(headers: &HeaderMap, params: &Params) -> Vec<Said> {
    let mut all = Vec::new();
    if params.has("u") || params.has("p") {
        all.push(Said::User(params.get("u").to_owned(), params.get("p").to_owned()));
    }
    // Telegraf reads signed tokens from the other one.
    let lines = headers.get_all(AUTHORIZATION).iter().chain(headers.get_all("authentication"));
    for (scheme, rest) in lines.filter_map(|line| line.to_str().ok()?.trim().split_once(' ')) {
        let rest = rest.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let text = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let pair = text.as_deref().and_then(|text| text.split_once(':'));
                all.extend(pair.map(|(user, password)| Said::User(user.to_owned(), password.to_owned())));
            }
            "token" | "bearer" => all.push(Said::Token(rest.to_owned())),
            _ => {}
        }
    }
    all
}

impl Jwt {
    fn admits(&self, token: &str, now: u64) -> bool {
        self.verified(token).is_some_and(|claims| {
            let is_over =
                claims.get("exp").is_some_and(|exp| exp.as_f64().is_none_or(|exp| exp <= now as f64));
            !is_over && claims.get("username").and_then(Value::as_str) == Some(self.username.expose())
        })
    }

    /// The claims of a token whose signature is right.
    fn verified(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let algorithm = match read(header)?.get("alg")?.as_str()? {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => return None,
        };
        let key = hmac::Key::new(algorithm, self.secret.expose().as_bytes());
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&key, signed.as_bytes(), &signature).ok()?;
        read(claims)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: u64 = 1_000;

    fn admits(auth: &Auth, header: &str, query: &str) -> bool {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header.split_once(": ") {
            let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        auth.admits(&headers, &Params::parse(query), NOW)
    }

    fn token(algorithm: &str, claims: &str) -> String {
        let part = |text: String| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", part(format!("{{\"alg\":\"{algorithm}\"}}")), part(claims.to_owned()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"shared");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    #[rstest]
    // me:secret, me:wrong, any:t
    #[case("authorization: Basic bWU6c2VjcmV0", "", true, false)]
    #[case("authorization: basic bWU6c2VjcmV0", "", true, false)]
    #[case("authorization: Basic bWU6d3Jvbmc=", "", false, false)]
    #[case("authorization: Basic YW55OnQ=", "", false, true)]
    #[case("authorization: Basic ???", "", false, false)]
    #[case("", "u=me&p=secret", true, false)]
    #[case("", "u=me", false, false)]
    #[case("", "u=any&p=t", false, true)]
    #[case("authorization: Token me:secret", "", true, false)]
    #[case("authorization: Token t", "", false, true)]
    #[case("authorization: Bearer t", "", false, true)]
    #[case("authorization: Token tt", "", false, false)]
    #[case("authorization: Token", "", false, false)]
    #[case("", "", false, false)]
    fn each_form_is_understood(
        #[case] header: &str,
        #[case] query: &str,
        #[case] user: bool,
        #[case] t: bool,
    ) {
        let by_user = Auth::User("me".into(), "secret".into());
        assert_eq!(admits(&by_user, header, query), user);
        assert_eq!(admits(&Auth::Token("t".into()), header, query), t);
        assert!(admits(&Auth::None, header, query));
    }

    #[test]
    fn signed_tokens_have_a_user_and_an_end() {
        let jwt = Auth::Jwt(Jwt { secret: "shared".into(), username: "me".into() });
        let admits = |token: &str| admits(&jwt, &format!("authorization: Bearer {token}"), "");
        assert!(admits(&token("HS256", r#"{"username":"me","exp":1001}"#)));
        assert!(admits(&token("HS256", r#"{"username":"me"}"#)));
        assert!(!admits(&token("HS256", r#"{"username":"me","exp":1000}"#)));
        assert!(!admits(&token("HS256", r#"{"username":"me","exp":"never"}"#)));
        assert!(!admits(&token("HS256", r#"{"username":"you"}"#)));
        assert!(!admits(&token("HS384", r#"{"username":"me"}"#)), "of another algorithm");
        assert!(!admits(&token("none", r#"{"username":"me"}"#)));
        assert!(!admits("a.b.c") && !admits("") && !admits("..."));
        let signed = token("HS256", r#"{"username":"me"}"#);
        let forged = signed.replace('.', ".x");
        assert!(!admits(&forged));
        let header = format!("authentication: Bearer {signed}");
        assert!(tests::admits(&jwt, &header, ""), "where Telegraf reads it");
    }
}
