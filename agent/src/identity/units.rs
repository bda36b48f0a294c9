//! Names of systemd units without what only one instance has: `session-12.scope` is `session-*.scope`. Pure.
//!
//! Only names that some program makes up for the occasion are changed. An administrator's names stay, numbers and all:
//! `postgresql@15-main.service`, `user@1000.service`, `redis-6379.service`.

use std::borrow::Cow;

use super::path::{UUID_GROUPS, is_unit};

/// What stands for a counter or a hash.
const ANY: &str = "*";

/// The path of a unit's cgroup, with the pattern of each unit in it.
pub(super) fn path_pattern(path: &str) -> Cow<'_, str> {
    let names = path.split('/').map(|name| if is_unit(name) { pattern(name) } else { name.into() });
    let names: Vec<Cow<'_, str>> = names.collect();
    if names.iter().all(|name| matches!(name, Cow::Borrowed(_))) {
        path.into()
    } else {
        names.join("/").into()
    }
}

/// The name of a unit, with `*` for what counts or is random in it.
pub(super) fn pattern(name: &str) -> Cow<'_, str> {
    let Some((stem, kind)) = name.rsplit_once('.') else { return name.into() };
    let stem = match kind {
        // Scopes are made by programs alone, and systemd-run's units too.
        "scope" => words(stem),
        "service" if ["run-", "app-"].iter().any(|prefix| stem.starts_with(prefix)) => words(stem),
        "service" => Cow::from(stem),
        _ => return name.into(),
    };
    let stem = match stem.split_once('@') {
        Some((template, _)) if template.starts_with("dbus-:") => {
            format!("{}@{ANY}", bus_name(template)).into()
        }
        Some((template, instance)) if is_transient(instance) => format!("{template}@{ANY}").into(),
        _ => stem,
    };
    if *stem == name[..name.len() - kind.len() - 1] { name.into() } else { format!("{stem}.{kind}").into() }
}

/// `dbus-:1.2-org.example@0` is what the bus started for one of its connections.
fn bus_name(template: &str) -> Cow<'_, str> {
    match template.strip_prefix("dbus-:").and_then(|rest| rest.split_once('-')) {
        Some((_, service)) => format!("dbus-:{ANY}-{service}").into(),
        None => template.into(),
    }
}

/// An instance that lasts as long as a connection or a process: a counter and then addresses or other numbers
/// (systemd.socket(5), `Accept=`); or a hash.
fn is_transient(instance: &str) -> bool {
    let mut parts = instance.split('-');
    let is_counter = parts.next().is_some_and(is_number);
    let rest: Vec<&str> = parts.collect();
    let is_of_connection = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit()) || part.contains(':');
    is_hash(instance, 32) || (is_counter && !rest.is_empty() && rest.iter().all(is_of_connection))
}

/// Replaces the words of a name that are counters or hashes. Words are between `-`, `.` and `@`.
fn words(stem: &str) -> Cow<'_, str> {
    let (first, has_letter) = match stem.split('-').next() {
        // logind's `session-c1`, systemd-run's `run-u42`, `run-p1-i2` and `run-r5a0d…`.
        Some(first @ ("session" | "run")) => (first, true),
        _ => ("", false),
    };
    let mut result = String::with_capacity(stem.len());
    let mut rest = stem;
    while !rest.is_empty() {
        if let Some(len) = uuid(rest) {
            result.push_str(ANY);
            rest = &rest[len..];
        } else {
            let end = rest.find(['-', '.', '@', '\\']).unwrap_or(rest.len());
            let word = &rest[..end];
            let bare = if has_letter && word != first {
                word.trim_start_matches(|c: char| c.is_ascii_lowercase())
            } else {
                word
            };
            let is_lettered_hash =
                has_letter && word.len() > 1 && word.is_char_boundary(1) && is_hash(&word[1..], 8);
            result.push_str(if is_number(bare) || is_hash(word, 8) || is_lettered_hash { ANY } else { word });
            rest = &rest[end..];
        }
        let separator =
            ["\\x2d", "-", ".", "@", "\\"].into_iter().find(|separator| rest.starts_with(separator));
        if let Some(separator) = separator {
            result.push_str(separator);
            rest = &rest[separator.len()..];
        }
    }
    if result == stem { stem.into() } else { result.into() }
}

/// The length of the UUID at the start of a text, with `-` or systemd's escape of it between the groups.
fn uuid(text: &str) -> Option<usize> {
    let mut rest = text;
    for (n, digits) in UUID_GROUPS.iter().copied().enumerate() {
        if n > 0 {
            rest = rest.strip_prefix('-').or_else(|| rest.strip_prefix("\\x2d"))?;
        }
        rest.get(..digits).filter(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        rest = &rest[digits..];
    }
    let ends = rest.is_empty() || rest.starts_with(['-', '.', '@', '\\']);
    ends.then_some(text.len() - rest.len())
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// At least so many hexadecimal digits, and not a word like `deadbeef`.
fn is_hash(word: &str, digits: usize) -> bool {
    word.len() >= digits
        && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("session-12.scope", "session-*.scope")]
    #[case("session-c1.scope", "session-*.scope")]
    #[case("run-u42.service", "run-*.service")]
    #[case("run-r0a1b2c3d4e5f60718293a4b5c6d7e8f9.service", "run-*.service")]
    #[case("run-p1234-i5678.scope", "run-*-*.scope")]
    #[case("app-gnome-org.gnome.Terminal-4242.scope", "app-gnome-org.gnome.Terminal-*.scope")]
    #[case("app-org.kde.konsole@5a0d5ceddf6c44c1928d367a815d890f.service", "app-org.kde.konsole@*.service")]
    #[case("snap.firefox.firefox-8f1ce4a0-1c2b-4d3e-9f60-0a1b2c3d4e5f.scope", "snap.firefox.firefox-*.scope")]
    #[case("8f1ce4a0-1c2b-4d3e-9f60-0a1b2c3d4e5f.web.scope", "*.web.scope")]
    #[case(r"machine-qemu\x2d1\x2df39.scope", r"machine-qemu\x2d*\x2df39.scope")]
    #[case("sshd@12-10.0.0.1:22-10.0.0.2:5555.service", "sshd@*.service")]
    #[case("systemd-coredump@5-1234-0.service", "systemd-coredump@*.service")]
    #[case("dbus-:1.2-org.freedesktop.problems@0.service", "dbus-:*-org.freedesktop.problems@*.service")]
    fn what_counts_or_is_random_is_left_out(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(pattern(name), expected);
        assert_eq!(pattern(expected), expected, "once is enough");
    }

    #[rstest]
    #[case("init.scope")]
    #[case("machine-web1.scope")]
    #[case("user@1000.service")]
    #[case("getty@tty1.service")]
    #[case("postgresql@15-main.service")]
    #[case("redis-6379.service")]
    #[case("openvpn@1.service")]
    #[case("php8.2-fpm.service")]
    #[case(r"systemd-cryptsetup@luks\x2d8f1ce4a0-1c2b-4d3e-9f60-0a1b2c3d4e5f.service")]
    #[case("dev-sda1.swap")]
    #[case("")]
    #[case("@.service")]
    #[case("-.mount")]
    fn what_an_administrator_named_stays(#[case] name: &str) {
        assert_eq!(pattern(name), name);
    }

    #[test]
    fn a_path_has_the_pattern_of_each_unit() {
        assert_eq!(
            path_pattern("/user.slice/user-0.slice/session-3.scope"),
            "/user.slice/user-0.slice/session-*.scope"
        );
        assert!(matches!(path_pattern("/system.slice/ssh.service"), Cow::Borrowed(_)));
    }
}
