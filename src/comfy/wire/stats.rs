//! What `GET /system_stats` tells, of which only what is known is kept, and only so much of it.

use crate::lenient;
use serde::de::Error as _;
use serde_json::Value;
use serde_json::error::Error;

/// How many devices are kept.
const DEVICES: usize = 64;
/// How many characters of a name or version are kept.
const WORD: usize = 200;

/// What `GET /system_stats` tells of a server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SystemStats {
    /// The version of ComfyUI.
    pub version: Option<String>,
    /// The version of Python.
    pub python: Option<String>,
    /// The version of `PyTorch`.
    pub pytorch: Option<String>,
    /// `posix`, `nt` and so on.
    pub os: Option<String>,
    /// The bytes of its main memory.
    pub ram_total: Option<u64>,
    /// The bytes of it that are free.
    pub ram_free: Option<u64>,
    /// Its GPUs, or its CPU.
    pub devices: Vec<Device>,
}

/// One device of a server.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// `cuda`, `cpu` and so on.
    pub kind: String,
    /// The bytes of its memory.
    pub vram_total: Option<u64>,
    /// The bytes of it that are free.
    pub vram_free: Option<u64>,
}

/// Reads `GET /system_stats`. What is not there, or is not how ComfyUI says it, is none; an answer without `system` is an error.
pub fn system_stats(body: &str) -> Result<SystemStats, Error> {
    let body = lenient::parse(body)?;
    let Some(system) = body.get("system").filter(|system| system.is_object()) else {
        return Err(Error::custom("there is no `system` in it"));
    };
    let devices = body.get("devices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(SystemStats {
        version: word(system, "comfyui_version"),
        python: word(system, "python_version"),
        pytorch: word(system, "pytorch_version"),
        os: word(system, "os"),
        ram_total: bytes(system, "ram_total"),
        ram_free: bytes(system, "ram_free"),
        devices: devices.iter().take(DEVICES).map(device).collect(),
    })
}

fn device(device: &Value) -> Device {
    Device {
        name: word(device, "name").unwrap_or_default(),
        kind: word(device, "type").unwrap_or_default(),
        vram_total: bytes(device, "vram_total"),
        vram_free: bytes(device, "vram_free"),
    }
}

fn word(of: &Value, name: &str) -> Option<String> {
    Some(of.get(name)?.as_str()?.chars().filter(|it| !it.is_control()).take(WORD).collect())
}

/// Some servers write a count of bytes as a float.
fn bytes(of: &Value, name: &str) -> Option<u64> {
    let number = of.get(name)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float ends at the bounds")]
    let whole = |float: f64| (float >= 0.0).then_some(float as u64);
    number.as_u64().or_else(|| number.as_f64().and_then(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_a_server_says_of_itself_is_bounded() {
        let device = json!({"name": "x".repeat(100_000), "type": 5, "vram_total": -1, "vram_free": 3.0e9});
        let body = json!({"system": {"os": "a\nb", "ram_total": "much"}, "devices": vec![device; 1000]});
        let stats = system_stats(&body.to_string()).unwrap();
        assert_eq!((stats.os.as_deref(), stats.ram_total), (Some("ab"), None));
        assert_eq!(stats.devices.len(), DEVICES);
        let first = &stats.devices[0];
        assert_eq!((first.name.len(), first.kind.as_str()), (WORD, ""));
        assert_eq!((first.vram_total, first.vram_free), (None, Some(3_000_000_000)));
    }

    #[test]
    fn what_is_no_answer_of_a_comfyui_is_an_error() {
        for body in ["", "[]", "{}", r#"{"system": []}"#, r#"{"system": null}"#, "<html>"] {
            assert!(system_stats(body).is_err(), "{body}");
        }
        assert_eq!(system_stats(r#"{"system": {}, "devices": {}}"#).unwrap(), SystemStats::default());
    }
}
