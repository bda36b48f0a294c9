//! Which row a point belongs to, by the tags that tell rows apart; their values are its name for people.

use std::fmt::Write as _;

use crate::point::Name;
use crate::schema::views::View;

/// The tag whose value is a path.
const PATH: &str = "cgroup";
/// The tag whose value is an id.
const ID: &str = "container_id";

/// Puts the name of the row of what has these tags into `name`. `false` when it is of no row.
pub(super) fn put(view: &View, tags: &[(Name, Name)], name: &mut String) -> bool {
    name.clear();
    let value = |key: &str| tags.iter().find(|(tag, _)| tag == key).map(|(_, value)| value.as_str());
    if !view.has.is_empty() && !view.has.iter().any(|tag| value(tag).is_some()) {
        return false;
    }
    for identity in view.identities {
        let mut is_there = identity.is_empty();
        for tag in *identity {
            let Some(value) = value(tag) else { continue };
            match *tag {
                PATH => push_with_short_ids(name, value),
                // Behind a name.
                ID => {
                    let _ = write!(name, "{}{}", if is_there { " " } else { "" }, short_id(value));
                }
                _ => {
                    let _ = write!(name, "{}{value}", if is_there { "/" } else { "" });
                }
            }
            is_there = true;
        }
        if is_there {
            return true;
        }
    }
    false
}

/// What `docker ps` shows of an id.
fn short_id(id: &str) -> &str {
    id.char_indices().nth(12).map_or(id, |(end, _)| &id[..end])
}

/// A path in which the ids of containers are as `docker ps` shows them.
fn push_with_short_ids(name: &mut String, path: &str) {
    const ID_DIGITS: usize = 64;
    for part in path.split_inclusive(|c: char| !c.is_ascii_hexdigit()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        if word.len() == ID_DIGITS {
            *name += short_id(word);
            *name += &part[word.len()..];
        } else {
            *name += part;
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::schema::views::view;

    fn name(key: &str, tags: &[(&str, &str)]) -> Option<String> {
        let tags: Vec<(Name, Name)> =
            tags.iter().map(|(key, value)| (Name::new(key), Name::new(value))).collect();
        let mut name = "what was there".to_owned();
        put(view(key).unwrap(), &tags, &mut name).then_some(name)
    }

    #[rstest]
    #[case(&[("cgroup", "/a")], [Some("/a"), None, Some("/a"), None, None])]
    #[case(&[("cgroup", "/s/x.service"), ("unit", "x.service")], [Some("/s/x.service"), None, Some("/s/x.service"), None, Some("x.service")])]
    #[case(&[("container_name", "web")], [Some("web"), Some("web"), None, None, None])]
    #[case(&[("container_name", "web"), ("container_id", "0123456789abcdef")],
        [Some("web 0123456789ab"), Some("web 0123456789ab"), None, None, None])]
    #[case(&[("container_name", "c"), ("pod_name", "p"), ("namespace", "n"), ("workload", "deployment/d")],
        [Some("n/p/c"), Some("n/p/c"), Some("n/p"), Some("n/deployment/d"), None])]
    #[case(&[("cgroup", "/docker/x"), ("runtime", "docker")], [Some("/docker/x"), Some("/docker/x"), Some("/docker/x"), None, None])]
    #[case(&[("device", "sda")], [None; 5])]
    fn a_row_is_named_by_what_tells_it_apart(
        #[case] tags: &[(&str, &str)],
        #[case] names: [Option<&str>; 5],
    ) {
        let keys = ["all", "containers", "pods", "workloads", "units"];
        assert_eq!(keys.map(|key| name(key, tags)), names.map(|name| name.map(str::to_owned)));
        assert_eq!(name("machine", tags), Some(String::new()), "there is one");
    }

    #[test]
    fn ids_in_paths_are_as_docker_shows_them() {
        let id = "0123456789abcdef".repeat(4);
        let path = format!("/system.slice/docker-{id}.scope/init");
        let shown = |path: &str| name("all", &[("cgroup", path)]).unwrap();
        assert_eq!(shown(&path), "/system.slice/docker-0123456789ab.scope/init");
        assert_eq!(shown(&format!("/docker/{id}")), "/docker/0123456789ab");
        assert_eq!(shown("/user.slice/äbc"), "/user.slice/äbc");
    }
}
