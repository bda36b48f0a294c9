//! Headers of messages: texts in which the point's name and tags are set in, as Telegraf's templates have them. Pure.

use std::collections::BTreeMap;

use crate::options::OptionError;
use crate::options::secret::Secret;
use crate::parsers::line_protocol::Line;

/// What each message has, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers(Vec<(String, Vec<Piece>)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The measurement.
    Name,
    /// The value of a tag; nothing where there is none.
    Tag(String),
}

impl Headers {
    /// # Errors
    /// A template has more than names and tags.
    pub(super) fn new(templates: &BTreeMap<String, Secret>) -> Result<Self, OptionError> {
        let header = |(name, template): (&String, &Secret)| Ok((name.clone(), pieces(template.expose())?));
        templates.iter().map(header).collect::<Result<_, _>>().map(Self)
    }

    /// A header with the measurement.
    pub(super) fn add_name(&mut self, header: &str) {
        self.0.retain(|(name, _)| name != header);
        self.0.push((header.to_owned(), vec![Piece::Name]));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers of a line's message.
    pub(super) fn of(&self, line: &Line<'_>) -> Vec<(String, String)> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Name => line.measurement().into_owned(),
            Piece::Tag(key) => tag(line, key).unwrap_or_default(),
        };
        self.0.iter().map(|(name, pieces)| (name.clone(), pieces.iter().map(text).collect())).collect()
    }
}

/// The value of a tag of a line.
pub(super) fn tag(line: &Line<'_>, key: &str) -> Option<String> {
    line.tags().find(|(other, _)| other == key).map(|(_, value)| value.into_owned())
}

fn pieces(template: &str) -> Result<Vec<Piece>, OptionError> {
    let wrong = |what: &str| {
        let what =
            format!("`{what}` is not understood: there are {{{{ .Name }}}} and {{{{ .Tag \"key\" }}}}");
        OptionError::new("headers", what)
    };
    let (mut pieces, mut rest) = (Vec::new(), template);
    while let Some((text, after)) = rest.split_once("{{") {
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let (action, after) = after.split_once("}}").ok_or_else(|| wrong(rest))?;
        let key = action.trim().strip_prefix(".Tag").map(str::trim);
        let key = key.and_then(|key| key.strip_prefix('"')?.strip_suffix('"'));
        pieces.push(match (action.trim(), key) {
            (".Name", _) => Piece::Name,
            (_, Some(key)) if !key.contains(['"', '\\']) => Piece::Tag(key.to_owned()),
            _ => return Err(wrong(action.trim())),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parsers::line_protocol::{Precision, parse};

    #[test]
    fn names_and_tags_are_set_in() {
        let line = parse("a\\ b,host=x\\,y f=1i 1", Precision::Nanoseconds).next().unwrap().unwrap();
        let templates = [("all", "<{{ .Name }}|{{.Tag \"host\"}}|{{ .Tag \"no\" }}>"), ("text", "plain")];
        let templates = templates.map(|(name, text)| (name.to_owned(), Secret::from(text))).into();
        let mut headers = Headers::new(&templates).unwrap();
        headers.add_name("text");
        let expected = [("all", "<a b|x,y|>"), ("text", "a b")];
        assert_eq!(headers.of(&line), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
    }

    #[rstest::rstest]
    #[case("{{ .Field \"f\" }}")]
    #[case("{{ .Name | upper }}")]
    #[case("{{ .Name")]
    fn what_is_not_here_is_refused(#[case] template: &str) {
        let templates = [("h".to_owned(), Secret::from(template))].into();
        let error = Headers::new(&templates).unwrap_err().to_string();
        assert!(error.starts_with("`headers`: `"), "{error}");
    }
}
