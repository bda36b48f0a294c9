//! The parameters of a request: of its URL, and of a form.

use reqwest::Url;

/// Names and values, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `name=value&name=value`. What is not well-formed is read as far as it goes.
    pub(super) fn parse(query: &str) -> Self {
        let mut params = Self::default();
        params.add(query);
        params
    }

    /// Adds those of a form.
    pub(super) fn add(&mut self, query: &str) {
        let Ok(mut url) = Url::parse("http://localhost/") else { return };
        url.set_query(Some(query));
        self.0.extend(url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())));
    }

    /// The first value of a name; empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// Whether a name is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let params = Params::parse("db=my%20db&rp=a+b&q=SHOW%20%22x%22&db=other&empty&bad=%zz");
        let values = ["db", "rp", "q", "empty", "none", "bad"].map(|name| params.get(name));
        assert_eq!(values, ["my db", "a b", "SHOW \"x\"", "", "", "%zz"]);
        assert!(params.has("empty") && !params.has("none"));
    }
}
