//! STUB
use crate::config::*;
use crate::inputs::Input;
use std::collections::BTreeMap;
/// stub
pub async fn run(
    _: Vec<(Box<dyn Input>, InputCommon)>,
    _: Vec<OutputSection>,
    _: Agent,
    _: BTreeMap<String, String>,
    _: bool,
    _: impl Future<Output = ()>,
) -> anyhow::Result<bool> {
    anyhow::bail!("stub")
}
