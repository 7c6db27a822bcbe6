//! The settings of a plan: its tables, merged as `piggyback train` merges a config file and flags.

use serde_json::{Map, Value};
use toml::Table;

use crate::error::{Error, Result};
use piggyback::files::MethodName;
use piggyback::methods::{Layer, MethodSettings, PretrainConfig, Settings as _};

/// The settings of a method: `layers` merged, later ones override earlier ones, as results record
/// them.
pub(super) fn resolve(
    method: MethodName,
    layers: &[Layer<'_>],
    seed: u64,
) -> Result<Map<String, Value>, String> {
    let seed = i64::try_from(seed).map_err(|_| format!("the seed {seed} is too large"))?;
    let seed = Table::from_iter([("seed".to_owned(), seed.into())]);
    let layers: Vec<Layer<'_>> = (layers.iter().copied())
        .chain([Layer::new("", &seed)])
        .collect();
    let table = MethodSettings::from_layers(Some(method), &layers)
        .and_then(|settings| settings.to_table())
        .map_err(|error| error.to_string())?;
    match serde_json::to_value(&table) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err("the settings are not a table".into()),
    }
}

/// The settings that `piggyback pretrain` would have.
pub(super) fn resolve_pretraining(settings: &Table) -> Result<PretrainConfig, String> {
    let layers = [Layer::new("settings", settings)];
    PretrainConfig::from_layers("pretraining", &layers).map_err(|error| error.to_string())
}

/// Checks a table of settings for all methods.
pub(super) fn check_shared(layer: &Layer<'_>) -> Result<(), String> {
    let place = layer.place;
    let mut shared = MethodSettings::shared_names();
    shared.retain(|name| name != "seed");
    if let Some(key) = layer.table.keys().find(|key| !shared.contains(key)) {
        return Err(format!(
            "{place}: unknown key '{key}'; all methods have {}; put other settings in a \
             [[method]]",
            shared.join(", ")
        ));
    }
    // These are the same for all methods.
    let alone = MethodSettings::from_layers(Some(MethodName::Piggyback), &[*layer]);
    alone.map(drop).map_err(|error| error.to_string())
}

/// Fails if a method's settings hold a key that the plan sets elsewhere.
pub(super) fn check_own(method: MethodName, layer: &Layer<'_>) -> Result<(), String> {
    let reason = if layer.table.contains_key("seed") {
        "seed: give the seeds of a method outside its settings: seeds = [0]"
    } else if method == MethodName::Packnet && layer.table.contains_key("last") {
        "last: the order of the data sets determines the last task; remove the key"
    } else {
        return Ok(());
    };
    Err(format!("{}: {reason}", layer.place))
}

/// The settings that a unit records, as the method takes them.
pub(super) fn recorded(
    method: MethodName,
    settings: &Map<String, Value>,
    is_last: bool,
) -> Result<MethodSettings> {
    let mut table =
        Table::try_from(settings).map_err(|error| Error::setting("settings", error.to_string()))?;
    if is_last {
        table.insert("last".into(), true.into());
    }
    Ok(MethodSettings::from_table(Some(method), &table)?)
}
