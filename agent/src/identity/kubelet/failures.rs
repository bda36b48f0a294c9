//! Which endpoints of a kubelet fail, and which failures were logged already.

use std::mem::Discriminant;

use super::error::{Endpoint, Error};

/// The failures since everything worked.
#[derive(Debug, Default)]
pub(super) struct Failures {
    failing: Vec<Endpoint>,
    /// The causes that were logged since the first failure; one of each kind, whatever its text.
    logged: Vec<(Discriminant<Error>, Option<&'static str>)>,
}

impl Failures {
    /// Whether any endpoint fails.
    pub(super) fn is_any(&self) -> bool {
        !self.failing.is_empty()
    }

    /// Notes a failure; whether it is a new one.
    pub(super) fn failed(&mut self, endpoint: Endpoint, error: &Error) -> bool {
        if !self.failing.contains(&endpoint) {
            self.failing.push(endpoint);
        }
        let right = if let Error::Forbidden { right, .. } = error { Some(*right) } else { None };
        let kind = (std::mem::discriminant(error), right);
        let is_new = !self.logged.contains(&kind);
        if is_new {
            self.logged.push(kind);
        }
        is_new
    }

    /// Notes a success; whether everything works again.
    pub(super) fn succeeded(&mut self, endpoint: Endpoint) -> bool {
        self.failing.retain(|failing| *failing != endpoint);
        let has_recovered = self.failing.is_empty() && !self.logged.is_empty();
        if has_recovered {
            self.logged.clear();
        }
        has_recovered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_new_once() {
        let down = |reason: &str| Error::NoAnswer { url: "u".into(), reason: reason.into() };
        let forbidden = |right| Error::Forbidden { url: "u".into(), right };
        let mut failures = Failures::default();
        assert!(!failures.succeeded(Endpoint::Pods), "nothing has failed");
        assert!(failures.failed(Endpoint::Pods, &down("refused")));
        assert!(!failures.failed(Endpoint::Summary, &down("refused")), "of the other endpoint");
        assert!(!failures.failed(Endpoint::Pods, &down("no answer in time")), "again");
        assert!(!failures.succeeded(Endpoint::Summary), "the pods still fail");
        assert!(failures.failed(Endpoint::Summary, &forbidden("nodes/stats")));
        assert!(failures.failed(Endpoint::Pods, &forbidden("nodes/pods")), "another right");
        assert!(!failures.succeeded(Endpoint::Summary));
        assert!(failures.succeeded(Endpoint::Pods));
        assert!(!failures.succeeded(Endpoint::Pods));
        assert!(failures.failed(Endpoint::Pods, &down("refused")), "a new outage");
    }
}
