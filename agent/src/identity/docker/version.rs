//! Versions of docker's API, and which one to speak with a daemon.

/// The version of the API that is requested where the daemon has it: the oldest one that docker 29 still speaks.
const PREFERRED: ApiVersion = ApiVersion(1, 44);
/// The oldest supported version: that of docker 1.12.
const OLDEST: ApiVersion = ApiVersion(1, 24);

/// A version of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32, pub u32);

/// The newest version of a daemon is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("docker's API has version {0}; at least {OLDEST} is needed: update docker")]
pub struct TooOld(pub ApiVersion);

impl ApiVersion {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// The version to request from a daemon that speaks those from `oldest` to `newest`.
    pub(super) fn negotiated(oldest: Option<Self>, newest: Self) -> Result<Self, TooOld> {
        let version = PREFERRED.min(newest).max(oldest.unwrap_or(OLDEST).min(newest));
        if version < OLDEST { Err(TooOld(newest)) } else { Ok(version) }
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::docker_20_10("1.12", "1.41", Ok((1, 41)))]
    #[case::docker_25("1.24", "1.44", Ok((1, 44)))]
    #[case::docker_28("1.24", "1.51", Ok((1, 44)))]
    #[case::docker_29("1.44", "1.52", Ok((1, 44)))]
    #[case::one_that_dropped_it("1.50", "1.60", Ok((1, 50)))]
    #[case::podman("1.24", "1.41", Ok((1, 41)))]
    #[case::without_an_oldest("", "1.30", Ok((1, 30)))]
    #[case::docker_1_11(
        "",
        "1.23",
        Err("docker's API has version 1.23; at least 1.24 is needed: update docker")
    )]
    fn versions(#[case] oldest: &str, #[case] newest: &str, #[case] expected: Result<(u32, u32), &str>) {
        let version = ApiVersion::negotiated(ApiVersion::parse(oldest), ApiVersion::parse(newest).unwrap());
        let version = version.map(|version| (version.0, version.1)).map_err(|error| error.to_string());
        assert_eq!(version, expected.map_err(str::to_owned));
    }
}
