//! `cargo xtask codegen`: the documents that are made from the code.

use crate::command::{command, run};

/// Writes them again, or fails when one is stale. The tests named `docs_` know how.
pub(crate) fn codegen(check: bool) -> anyhow::Result<()> {
    let mut test = command("cargo");
    test.args(["test", "--quiet", "-p", "seismograf", "--lib", "docs_"]);
    if !check {
        test.env("UPDATE_DOCS", "1");
    }
    run(&mut test)
}
