//! The group `os`: the Linux distribution, by its files in `/etc`, and the kernel.
//!
//! Names and versions are those that Telegraf gives, which come from several files with an order of their own.

use crate::host::Host;
use crate::inputs::read_text;

/// All fields, also those that are empty.
pub(super) fn read(host: &Host) -> Vec<(&'static str, String)> {
    let uname = rustix::system::uname();
    let (platform, version) = platform(host);
    vec![
        ("os", "linux".to_owned()),
        ("arch", uname.machine().to_string_lossy().into_owned()),
        ("platform_family", family(&platform).to_owned()),
        ("platform", platform),
        ("platform_version", version),
        ("kernel_version", uname.release().to_string_lossy().into_owned()),
    ]
}

/// The distribution's name and version.
fn platform(host: &Host) -> (String, String) {
    let file = |name| read_text(&host.etc(name)).ok();
    for name in ["oracle-release", "enterprise-release"] {
        if let Some(text) = file(name) {
            return ("oracle".to_owned(), release(&text));
        }
    }
    if let Some(debian) = file("debian_version") {
        let lsb = file("lsb-release").unwrap_or_default();
        let derived = value(&lsb, "DISTRIB_ID").filter(|id| ["Ubuntu", "LinuxMint"].contains(id));
        return match derived {
            Some(id) => (id.to_lowercase(), value(&lsb, "DISTRIB_RELEASE").unwrap_or_default().to_owned()),
            None => ("debian".to_owned(), first_line(&debian)),
        };
    }
    for name in ["redhat-release", "system-release"] {
        if let Some(text) = file(name) {
            return (red_hat(&text), release(&text));
        }
    }
    if let Some(text) = file("gentoo-release") {
        return ("gentoo".to_owned(), release(&text));
    }
    if file("arch-release").is_some() {
        let lsb = file("lsb-release").unwrap_or_default();
        return ("arch".to_owned(), value(&lsb, "DISTRIB_RELEASE").unwrap_or_default().to_owned());
    }
    if let Some(text) = file("alpine-release") {
        return ("alpine".to_owned(), first_line(&text));
    }
    let os = file("os-release").unwrap_or_default();
    let value = |key| value(&os, key).unwrap_or_default().to_owned();
    (value("ID"), value("VERSION"))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The value of a key in a file of `KEY=value` or `KEY="value"`, os-release(5).
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| value.trim_matches('"')).next()
}

/// As in `CentOS Linux release 7.9.2009 (Core)`.
fn release(text: &str) -> String {
    let text = text.to_lowercase();
    if text.contains("rawhide") {
        return "rawhide".to_owned();
    }
    let version = text.split("release ").skip(1).find(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_part = |c: &char| c.is_ascii_digit() || *c == '.';
    version.map(|version| version.chars().take_while(is_part).collect()).unwrap_or_default()
}

fn red_hat(text: &str) -> String {
    let text = text.to_lowercase();
    if text.contains("red hat") {
        return "redhat".to_owned();
    }
    text.split_ascii_whitespace().next().unwrap_or_default().to_owned()
}

fn family(platform: &str) -> &'static str {
    match platform {
        "debian" | "ubuntu" | "linuxmint" | "raspbian" => "debian",
        "fedora" => "fedora",
        "oracle" | "centos" | "redhat" | "scientific" | "amazon" | "xenserver" | "cloudlinux" | "rocky"
        | "almalinux" | "alinux" => "rhel",
        "suse" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" | "sles" | "sled" => "suse",
        "gentoo" => "gentoo",
        "arch" => "arch",
        "alpine" => "alpine",
        "coreos" => "coreos",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::write;
    use super::*;

    #[test]
    fn distributions_are_told_apart() {
        for (files, platform, family, version) in [
            (
                &[("debian_version", "12.11\n"), ("os-release", "ID=debian\nVERSION=\"12 (bookworm)\"\n")][..],
                "debian",
                "debian",
                "12.11",
            ),
            (
                &[
                    ("debian_version", "trixie/sid\n"),
                    ("lsb-release", "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\n"),
                ],
                "ubuntu",
                "debian",
                "24.04",
            ),
            (&[("redhat-release", "CentOS Linux release 7.9.2009 (Core)\n")], "centos", "rhel", "7.9.2009"),
            (&[("redhat-release", "Red Hat Enterprise Linux release 9.4 (Plow)\n")], "redhat", "rhel", "9.4"),
            (&[("redhat-release", "Fedora release 42 (Rawhide)\n")], "fedora", "fedora", "rawhide"),
            (
                &[("oracle-release", "Oracle Linux Server release 8.10\n"), ("redhat-release", "Red Hat\n")],
                "oracle",
                "rhel",
                "8.10",
            ),
            (&[("system-release", "Amazon Linux release 2023 (Amazon Linux)\n")], "amazon", "rhel", "2023"),
            (&[("gentoo-release", "Gentoo Base System release 2.14\n")], "gentoo", "gentoo", "2.14"),
            (
                &[("arch-release", ""), ("lsb-release", "DISTRIB_RELEASE=\"rolling\"\n")],
                "arch",
                "arch",
                "rolling",
            ),
            (&[("alpine-release", "3.20.1\n")], "alpine", "alpine", "3.20.1"),
            (&[("os-release", "ID=\"opensuse-leap\"\nVERSION=\"15.6\"\n")], "opensuse-leap", "suse", "15.6"),
            (&[("os-release", "NAME=x\nnonsense\nID=mine\nVERSION=1.0\n")], "mine", "", "1.0"),
            (&[], "", "", ""),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (file, text) in files {
                write(root.path(), &format!("etc/{file}"), text);
            }
            let fields = read(&Host::at(root.path()));
            let field = |name: &str| fields.iter().find(|(key, _)| *key == name).unwrap().1.as_str();
            assert_eq!(
                (field("platform"), field("platform_family"), field("platform_version")),
                (platform, family, version),
                "{files:?}"
            );
            assert_eq!(field("os"), "linux");
            assert_eq!(field("arch"), std::env::consts::ARCH);
            assert_eq!(field("kernel_version"), rustix::system::uname().release().to_str().unwrap());
        }
    }
}
