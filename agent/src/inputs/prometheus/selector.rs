//! Label selectors of Kubernetes: `env=prod,tier in (web, db),!canary`. Pure.

use std::collections::BTreeMap;

/// What a pod's labels must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    /// `None` asks for the key alone.
    values: Option<Vec<String>>,
    is_negated: bool,
}

impl Selector {
    /// Parses a selector; an empty one takes everything.
    ///
    /// # Errors
    /// The part that is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (part, after) = split(rest);
            requirements.push(Requirement::parse(part.trim()).ok_or_else(|| {
                format!(
                    "`{}` is not a part of a label selector, such as env=prod or tier in (web, db)",
                    part.trim()
                )
            })?);
            rest = after.trim();
        }
        Ok(Self(requirements))
    }

    pub(super) fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

/// Cuts at the first comma that is not in parentheses.
fn split(text: &str) -> (&str, &str) {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

impl Requirement {
    fn parse(text: &str) -> Option<Self> {
        let new = |key: &str, values: Option<Vec<String>>, is_negated| {
            let is_key = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            let key = key.trim();
            let is_valid = !key.is_empty() && key.chars().all(is_key);
            is_valid.then(|| Self { key: key.to_owned(), values, is_negated })
        };
        if let Some(key) = text.strip_prefix('!') {
            return new(key, None, true);
        }
        if let Some((key, value)) = text.split_once("!=") {
            return new(key, Some(vec![value.trim().to_owned()]), true);
        }
        if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return new(key, Some(vec![value.trim().to_owned()]), false);
        }
        let Some((head, list)) = text.split_once('(') else { return new(text, None, false) };
        let values = list.strip_suffix(')')?.split(',').map(|value| value.trim().to_owned()).collect();
        match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [key, "in"] => new(key, Some(values), false),
            [key, "notin"] => new(key, Some(values), true),
            _ => None,
        }
    }

    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        let is_met = match &self.values {
            None => label.is_some(),
            Some(values) => label.is_some_and(|label| values.contains(label)),
        };
        is_met != self.is_negated
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", true)]
    #[case("env=prod", true)]
    #[case("env == prod , tier=web", true)]
    #[case("env=dev", false)]
    #[case("env!=dev", true)]
    #[case("other!=x", true)]
    #[case("env in (dev, prod),tier", true)]
    #[case("env notin (dev,prod)", false)]
    #[case("!env", false)]
    #[case("!other", true)]
    #[case("app.kubernetes.io/name", false)]
    fn selects(#[case] text: &str, #[case] expected: bool) {
        let labels = BTreeMap::from([("env", "prod"), ("tier", "web")].map(|(k, v)| (k.into(), v.into())));
        assert_eq!(Selector::parse(text).unwrap().takes(&labels), expected);
    }

    #[rstest]
    #[case("=x")]
    #[case("a b")]
    #[case("a in (b")]
    #[case("a within (b)")]
    #[case("a,,b")]
    fn what_is_none_is_quoted(#[case] text: &str) {
        assert!(Selector::parse(text).unwrap_err().contains("is not a part of a label selector"));
    }
}
