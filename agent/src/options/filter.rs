//! Filters for points and their tags and fields: `namepass`, `tagdrop`, `fieldinclude` and the rest.
//!
//! Pure. Globs work as Telegraf's: a list counts as globs when any entry has a glob character, otherwise as exact strings. With
//! separators, `*` and `?` stop at those characters; `**` does not. A class is negated by `!` alone, as in `[!a-c]`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use regex_automata::meta::Regex;

use super::OptionError;
use crate::point::Point;

/// A list of globs or of exact strings.
#[derive(Clone, Debug)]
pub enum Patterns {
    /// Strings that must be equal.
    Exact(Vec<String>),
    /// Globs of which one must match.
    Globs(GlobSet),
    /// Globs with separators of their own, of which one must match.
    Separated(Regex),
}

impl Patterns {
    /// Compiles a list; an empty one is `None`.
    ///
    /// # Errors
    /// An invalid glob.
    pub fn new(list: &[String]) -> Result<Option<Self>, globset::Error> {
        if list.is_empty() {
            return Ok(None);
        }
        if !list.iter().any(|entry| entry.contains(['*', '?', '['])) {
            return Ok(Some(Self::Exact(list.to_vec())));
        }
        let mut set = GlobSetBuilder::new();
        for entry in list {
            // In Telegraf a star crosses every character, a slash too.
            let entry = with_literal_carets(entry);
            set.add(GlobBuilder::new(&entry).literal_separator(false).backslash_escape(true).build()?);
        }
        Ok(Some(Self::Globs(set.build()?)))
    }

    /// As [`Self::new`], with characters that `*` and `?` do not cross; no separators mean the same as there.
    ///
    /// # Errors
    /// An invalid glob.
    pub fn with_separators(list: &[String], separators: &str) -> Result<Option<Self>, String> {
        let simple = Self::new(list).map_err(|error| format!("bad glob: {error}"))?;
        if separators.is_empty() || !matches!(simple, Some(Self::Globs(_))) {
            return Ok(simple);
        }
        let globs: Vec<String> =
            list.iter().map(|glob| regex_of(&with_literal_carets(glob), separators)).collect();
        // globset has parsed each glob already.
        let regex = Regex::new(&format!("^(?s:{})$", globs.join("|")));
        regex.map(|regex| Some(Self::Separated(regex))).map_err(|error| format!("bad glob: {error}"))
    }

    /// Whether a string matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(list) => list.iter().any(|entry| entry == text),
            Self::Globs(set) => set.is_match(text),
            Self::Separated(regex) => regex.is_match(text),
        }
    }
}

/// A list of globs as a plugin option: compiled when the file is read, so that an invalid one is reported with its line.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct GlobList {
    list: Vec<String>,
    patterns: Option<Patterns>,
}

impl GlobList {
    /// The entries that match nothing, each held alone against what there is.
    pub fn without_match(&self, matches: impl Fn(&Patterns) -> bool) -> Vec<&str> {
        let pattern = |entry: &String| Patterns::new(std::slice::from_ref(entry)).ok().flatten();
        let idle = self.list.iter().filter(|entry| pattern(entry).is_some_and(|pattern| !matches(&pattern)));
        idle.map(String::as_str).collect()
    }

    /// The globs, or `None` when the list is empty.
    #[must_use]
    pub fn patterns(&self) -> Option<&Patterns> {
        self.patterns.as_ref()
    }
}

impl TryFrom<Vec<String>> for GlobList {
    type Error = globset::Error;

    fn try_from(list: Vec<String>) -> Result<Self, globset::Error> {
        Ok(Self { patterns: Patterns::new(&list)?, list })
    }
}

impl PartialEq for GlobList {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for GlobList {}

/// A glob in which no class begins with `^`, which to globset negates it. To Telegraf the class is the list of its characters, or
/// the range from `^` on.
fn with_literal_carets(glob: &str) -> Cow<'_, str> {
    if !glob.contains("[^") {
        return Cow::Borrowed(glob);
    }
    let mut text = String::new();
    let mut rest = glob.chars();
    while let Some(c) = rest.next() {
        text.push(c);
        match c {
            '\\' => text.extend(rest.next()),
            '[' => {
                let after = rest.as_str();
                let Some((class, after)) = after.split_once(']') else { break };
                rest = after.chars();
                if let Some(last) = class.strip_prefix("^-") {
                    // The character after it is `_`.
                    text.push_str(&format!("_-{last}^]"));
                } else if class.starts_with('^') {
                    text.pop();
                    let either: Vec<String> = class.chars().map(|c| format!("\\{c}")).collect();
                    text.push_str(&format!("{{{}}}", either.join(",")));
                } else {
                    text.push_str(&format!("{class}]"));
                }
            }
            _ => {}
        }
    }
    Cow::Owned(text + rest.as_str())
}

/// A valid glob as a regular expression.
fn regex_of(glob: &str, separators: &str) -> String {
    let literal = |text: &str| -> String {
        // ASCII punctuation may always be escaped.
        let escaped = |c: char| if c.is_ascii_punctuation() { format!("\\{c}") } else { c.to_string() };
        text.chars().map(escaped).collect()
    };
    let any = format!("[^{}]", literal(separators));
    let mut regex = String::new();
    let (mut rest, mut depth) = (glob.chars().peekable(), 0_u32);
    while let Some(c) = rest.next() {
        match c {
            '*' if rest.next_if_eq(&'*').is_some() => regex.push_str(".*"),
            '*' => regex.push_str(&format!("{any}*")),
            '?' => regex.push_str(&any),
            '[' => {
                let class: String = rest.by_ref().take_while(|c| *c != ']').collect();
                let (not, class) = match class.strip_prefix('!') {
                    Some(class) => ("^", class),
                    None => ("", class.as_str()),
                };
                let class = literal(class).replace("\\-", "-");
                regex.push_str(&format!("[{not}{class}]"));
            }
            '{' => {
                depth += 1;
                regex.push_str("(?:");
            }
            '}' if depth > 0 => {
                depth -= 1;
                regex.push(')');
            }
            ',' if depth > 0 => regex.push('|'),
            '\\' => {
                regex.push_str(&rest.next().map(|c| literal(c.encode_utf8(&mut [0; 4]))).unwrap_or_default());
            }
            c => regex.push_str(&literal(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex
}

/// A pair of lists such as `label_include` and `label_exclude`. The default includes everything.
#[derive(Clone, Debug, Default)]
pub struct IncludeExclude {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
}

impl IncludeExclude {
    /// Compiles the lists of two options; an empty `include` includes everything.
    ///
    /// # Errors
    /// The option with an invalid glob.
    pub fn new(
        include: (&'static str, &[String]),
        exclude: (&'static str, &[String]),
    ) -> Result<Self, OptionError> {
        let patterns = |(option, list): (&'static str, &[String])| {
            Patterns::new(list).map_err(|error| OptionError::new(option, error.to_string()))
        };
        Ok(Self { include: patterns(include)?, exclude: patterns(exclude)? })
    }

    /// Whether a string is included and not excluded.
    #[must_use]
    pub fn takes(&self, text: &str) -> bool {
        self.include.as_ref().is_none_or(|patterns| patterns.matches(text))
            && !self.exclude.as_ref().is_some_and(|patterns| patterns.matches(text))
    }
}

/// The filters of one plugin. The default passes everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    name_pass: Option<Patterns>,
    name_drop: Option<Patterns>,
    tag_pass: Vec<(String, Patterns)>,
    tag_drop: Vec<(String, Patterns)>,
    field_include: Option<Patterns>,
    field_exclude: Option<Patterns>,
    tag_include: Option<Patterns>,
    tag_exclude: Option<Patterns>,
}

/// The filters as a file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterLists {
    /// `namepass`
    pub name_pass: Vec<String>,
    /// `namepass_separator`
    pub name_pass_separators: String,
    /// `namedrop`
    pub name_drop: Vec<String>,
    /// `namedrop_separator`
    pub name_drop_separators: String,
    /// `tagpass`
    pub tag_pass: BTreeMap<String, Vec<String>>,
    /// `tagdrop`
    pub tag_drop: BTreeMap<String, Vec<String>>,
    /// `fieldinclude`, `fieldpass`, `pass`
    pub field_include: Vec<String>,
    /// `fieldexclude`, `fielddrop`, `drop`
    pub field_exclude: Vec<String>,
    /// `taginclude`
    pub tag_include: Vec<String>,
    /// `tagexclude`
    pub tag_exclude: Vec<String>,
}

impl Filter {
    /// Compiles the lists.
    ///
    /// # Errors
    /// An invalid glob.
    pub fn new(lists: &FilterLists) -> Result<Self, String> {
        let patterns = |list: &[String]| Patterns::with_separators(list, "");
        let by_tag = |map: &BTreeMap<String, Vec<String>>| {
            let compiled = map.iter().map(|(key, list)| Ok((key.clone(), patterns(list)?)));
            let compiled = compiled.collect::<Result<Vec<_>, String>>()?;
            Ok::<_, String>(compiled.into_iter().filter_map(|(key, list)| Some((key, list?))).collect())
        };
        Ok(Self {
            name_pass: Patterns::with_separators(&lists.name_pass, &lists.name_pass_separators)?,
            name_drop: Patterns::with_separators(&lists.name_drop, &lists.name_drop_separators)?,
            tag_pass: by_tag(&lists.tag_pass)?,
            tag_drop: by_tag(&lists.tag_drop)?,
            field_include: patterns(&lists.field_include)?,
            field_exclude: patterns(&lists.field_exclude)?,
            tag_include: patterns(&lists.tag_include)?,
            tag_exclude: patterns(&lists.tag_exclude)?,
        })
    }

    /// Whether the point passes, by its name and tags.
    #[must_use]
    pub fn selects(&self, point: &Point) -> bool {
        let has =
            |(key, patterns): &(String, Patterns)| point.tag_value(key).is_some_and(|v| patterns.matches(v));
        self.name_pass.as_ref().is_none_or(|patterns| patterns.matches(&point.measurement))
            && !self.name_drop.as_ref().is_some_and(|patterns| patterns.matches(&point.measurement))
            && (self.tag_pass.is_empty() || self.tag_pass.iter().any(has))
            && !self.tag_drop.iter().any(has)
    }

    /// Removes the fields and tags that do not pass.
    pub fn prune(&self, point: &mut Point) {
        let keeps = |include: &Option<Patterns>, exclude: &Option<Patterns>, key: &str| {
            include.as_ref().is_none_or(|patterns| patterns.matches(key))
                && !exclude.as_ref().is_some_and(|patterns| patterns.matches(key))
        };
        if self.field_include.is_some() || self.field_exclude.is_some() {
            point.fields.retain(|(key, _)| keeps(&self.field_include, &self.field_exclude, key));
        }
        if self.tag_include.is_some() || self.tag_exclude.is_some() {
            point.tags.retain(|(key, _)| keeps(&self.tag_include, &self.tag_exclude, key));
        }
    }

    /// Whether points that pass do so unchanged.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        self.field_include.is_none()
            && self.field_exclude.is_none()
            && self.tag_include.is_none()
            && self.tag_exclude.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Timestamp;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    fn point() -> Point {
        Point::new("cpu", Timestamp(0))
            .tag("cpu", "cpu0")
            .tag("host", "h")
            .field("usage_user", 1.0)
            .field("usage_idle", 2.0)
    }

    #[test]
    fn names_and_tags_select() {
        let pass = |lists: FilterLists| Filter::new(&lists).unwrap().selects(&point());
        assert!(pass(FilterLists::default()));
        assert!(pass(FilterLists { name_pass: list(&["c*"]), ..FilterLists::default() }));
        assert!(!pass(FilterLists { name_pass: list(&["c"]), ..FilterLists::default() }));
        assert!(!pass(FilterLists { name_drop: list(&["cpu"]), ..FilterLists::default() }));
        let tags =
            BTreeMap::from([("cpu".to_owned(), list(&["cpu[0-3]"])), ("other".to_owned(), list(&["x"]))]);
        assert!(pass(FilterLists { tag_pass: tags.clone(), ..FilterLists::default() }));
        assert!(!pass(FilterLists { tag_drop: tags, ..FilterLists::default() }));
        let missing = BTreeMap::from([("other".to_owned(), list(&["*"]))]);
        assert!(!pass(FilterLists { tag_pass: missing, ..FilterLists::default() }));
    }

    #[test]
    fn fields_and_tags_are_pruned() {
        let lists = FilterLists {
            field_exclude: list(&["*_idle"]),
            tag_include: list(&["cpu"]),
            ..FilterLists::default()
        };
        let mut pruned = point();
        Filter::new(&lists).unwrap().prune(&mut pruned);
        assert_eq!(pruned, Point::new("cpu", Timestamp(0)).tag("cpu", "cpu0").field("usage_user", 1.0));
    }

    #[rstest::rstest]
    #[case("cpu.*", ".", "cpu.user", true)]
    #[case("cpu.*", ".", "cpu.user.max", false)]
    #[case("cpu.**", ".", "cpu.user.max", true)]
    #[case("cpu?user", ".", "cpu.user", false)]
    #[case("cpu?user", "._", "cpu-user", true)]
    #[case("c[a-q]u.{user,sys*}", ".", "cpu.system", true)]
    #[case("c[!a-q]u.*", ".", "cpu.system", false)]
    #[case("cpu\\*.*", ".", "cpu*.x", true)]
    #[case("a+(b).*", ".", "a+(b).é", true)]
    #[case("*", "", "a.b/c", true)]
    fn separators_stop_a_star(
        #[case] glob: &str,
        #[case] separators: &str,
        #[case] name: &str,
        #[case] is: bool,
    ) {
        let patterns = Patterns::with_separators(&list(&[glob]), separators).unwrap().unwrap();
        assert_eq!(patterns.matches(name), is);
    }

    #[rstest::rstest]
    #[case("[^cm]*", ["cpu", "mem", "^"], ["net", "disk"])]
    #[case("[^!a]", ["^", "!", "a"], ["b"])]
    #[case("[^]", ["^"], ["a", ""])]
    #[case("[^-b]x", ["^x", "_x", "`x", "ax", "bx"], ["cx", "-x"])]
    #[case("{a,[^b]}[!^]", ["ax", "bx", "^x"], ["a^", "cx"])]
    #[case("\\[^a][a^]", ["[^a]a", "[^a]^"], ["[^a]b", "b"])]
    fn only_an_exclamation_mark_negates_a_class(
        #[case] glob: &str,
        #[case] matching: impl IntoIterator<Item = &'static str>,
        #[case] others: impl IntoIterator<Item = &'static str>,
    ) {
        let [plain, separated] = ["", "."]
            .map(|separators| Patterns::with_separators(&list(&[glob]), separators).unwrap().unwrap());
        let matches = |text| {
            assert_eq!(plain.matches(text), separated.matches(text), "{text}");
            plain.matches(text)
        };
        assert!(matching.into_iter().all(matches));
        assert!(!others.into_iter().any(matches));
    }

    #[test]
    fn a_bad_glob_is_an_error() {
        assert!(Patterns::with_separators(&list(&["a[*"]), ".").is_err());
        assert!(Patterns::with_separators(&list(&["a[^*"]), ".").is_err());
        assert!(Filter::new(&FilterLists { name_pass: list(&["a[*"]), ..FilterLists::default() }).is_err());
    }
}
