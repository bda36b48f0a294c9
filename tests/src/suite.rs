//! Trials that can be skipped, and the rule that a suite of which nothing ran has failed.
//!
//! A trial's name is `SUITE::what_it_shows`. [`trial`] makes one of a suite's main part, [`extra`] one that a machine
//! may lack the means for. When every trial of a main part that was started was skipped, [`run`] fails: nothing was
//! tested then, and saying that all went well would be a lie.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Trial};

/// Why a test cannot run on this machine.
#[derive(Debug)]
pub struct Skip {
    reason: String,
}

impl Skip {
    /// With a reason, in words.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

/// A test that ran, or the reason why it could not; one that fails panics.
pub type Outcome = Result<(), Skip>;

/// How many trials of a suite's main part ran and were skipped, by suite.
static MAIN_PARTS: Mutex<BTreeMap<String, Part>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy, Default)]
struct Part {
    started: usize,
    skipped: usize,
}

/// Of one that takes longer it is said how long, since all of them together have half an hour.
const LONG: Duration = Duration::from_secs(10);

/// A test of the main part of the suite that its name begins with.
pub fn trial(name: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    let suite = name.split("::").next().unwrap_or(name).to_owned();
    build(name, move || {
        count(&suite, |part| part.started += 1);
        let outcome = test();
        if outcome.is_err() {
            count(&suite, |part| part.skipped += 1);
        }
        outcome
    })
}

/// A test that a suite can do without.
pub fn extra(name: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    build(name, test)
}

fn build(name: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    let shown = name.to_owned();
    Trial::ignorable_test(name, move || {
        let start = Instant::now();
        let outcome = test();
        if start.elapsed() > LONG {
            println!("{shown}: took {:.0} s", start.elapsed().as_secs_f64());
        }
        Ok(match outcome {
            Ok(()) => Completion::Completed,
            Err(skip) => {
                println!("{shown}: skipped: {}", skip.reason);
                Completion::ignored_with(skip.reason)
            }
        })
    })
}

fn count(suite: &str, change: impl FnOnce(&mut Part)) {
    // A test that panics is counted as started before it does, so the numbers hold after a poisoning.
    let mut parts = MAIN_PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    change(parts.entry(suite.to_owned()).or_default());
}

/// Runs the trials as the arguments of the process ask; the exit code is that of the whole run.
#[must_use]
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    let parts = MAIN_PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    let empty: Vec<&str> = parts
        .iter()
        .filter(|(_, part)| part.started > 0 && part.skipped == part.started)
        .map(|(suite, _)| suite.as_str())
        .collect();
    if empty.is_empty() {
        return conclusion.exit_code();
    }
    println!("failed: every test of the main part was skipped in: {}", empty.join(", "));
    ExitCode::FAILURE
}
