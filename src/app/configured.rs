//! Which backends the settings define: the addresses, and what stands in the file of backends.

use crate::comfy::{ComfyUrl, RouteOptions};
use crate::local;
use crate::pool::{Definition, read_file, read_own_file, wrong_way};
use crate::settings::{BackendSettings, Place, Problem, Settings, SettingsError};
use anyhow::bail;
use std::path::Path;
use url::Url;

type ReadFile = fn(&Path) -> Result<Vec<Definition>, SettingsError>;
type Judge = fn(&BackendSettings, &[Url]) -> Vec<Problem>;

/// The backends of the settings.
#[derive(Debug, Default)]
pub(super) struct Configured {
    /// Those of which nothing but the address is said.
    pub(super) addresses: Vec<Url>,
    /// Those of the file.
    pub(super) defined: Vec<Definition>,
    /// There is the one that is started here, and no other.
    is_local: bool,
}

impl Configured {
    /// Reads who they are and how they are reached. Tells all that is wrong with that.
    pub(super) fn read(settings: &Settings) -> anyhow::Result<Self> {
        Self::by(settings, read_own_file, wrong_route)
    }

    /// Reads who they are alone, for a process that calls none of them.
    fn named(settings: &Settings) -> anyhow::Result<Self> {
        Self::by(settings, read_file, |_, _| Vec::new())
    }

    /// The default address counts only where nobody says anything.
    fn by(settings: &Settings, read: ReadFile, judge: Judge) -> anyhow::Result<Self> {
        let backends = &settings.backends;
        if settings.local.enabled && settings.local.home.is_some() {
            return Ok(Self { is_local: true, ..Self::default() });
        }
        let are_meant = backends.file.is_none() || backends.are_named.0;
        let addresses = if are_meant { backends.addresses.clone() } else { Vec::new() };
        let mut problems = judge(backends, &addresses);
        let defined = match backends.file.as_deref().map(read) {
            None => Vec::new(),
            Some(Ok(defined)) => defined,
            Some(Err(error)) => {
                problems.extend(error.problems);
                Vec::new()
            }
        };
        if !problems.is_empty() {
            return Err(SettingsError { problems }.into());
        }
        for address in &addresses {
            let url: ComfyUrl = address.as_str().parse()?;
            let name = url.to_string();
            if let Some(double) = defined.iter().find(|other| other.url == url || other.name == name) {
                let other = &double.name;
                let file = backends.file.as_deref().unwrap_or(Path::new("")).display();
                bail!("COMFYUI_ADDRESS has {url}, and {file} has it as `{other}`; take it away in one of the two");
            }
        }
        Ok(Self { addresses, defined, is_local: false })
    }

    /// Returns their names.
    pub(super) fn names(&self) -> anyhow::Result<Vec<String>> {
        if self.is_local {
            return Ok(vec![local::NAME.to_owned()]);
        }
        let mut names = Vec::new();
        for address in &self.addresses {
            names.push(address.as_str().parse::<ComfyUrl>()?.to_string());
        }
        names.extend(self.defined.iter().map(|definition| definition.name.clone()));
        Ok(names)
    }
}

/// Returns the names of the backends that the settings define.
pub fn configured_backends(settings: &Settings) -> anyhow::Result<Vec<String>> {
    Configured::named(settings)?.names()
}

/// Says what is wrong with the backends that the settings define, as a start would.
pub fn check_backends(settings: &Settings) -> anyhow::Result<()> {
    Configured::read(settings).map(drop)
}

/// Returns what is wrong with the way to the addresses.
fn wrong_route(backends: &BackendSettings, addresses: &[Url]) -> Vec<Problem> {
    let place = backends.route_file.clone().map_or(Place::Together, |path| Place::File(path, None));
    let options = match RouteOptions::of(backends) {
        Ok(options) => options,
        Err(error) => return vec![Problem { place: Place::Together, text: error.to_string() }],
    };
    let mut urls = addresses.iter().filter_map(|address| address.as_str().parse().ok());
    let idle = urls.find_map(|url: ComfyUrl| options.idle_tls(&url)).map(|why| format!("tls: {why}"));
    let wrong = wrong_way(&options).into_iter().map(|mistake| mistake.text);
    wrong.chain(idle).map(|text| Problem { place: place.clone(), text }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{FileChoice, Sources};
    use std::collections::BTreeMap;

    fn names(file: Option<&Path>, address: Option<&str>) -> anyhow::Result<Vec<String>> {
        let file = file.map(|file| ("COMFYGATE_BACKENDS_FILE".to_owned(), file.display().to_string()));
        let address = address.map(|address| ("COMFYUI_ADDRESS".to_owned(), address.to_owned()));
        let cli: BTreeMap<_, _> = file.into_iter().chain(address).collect();
        let sources = Sources { cli, env: [], dotenv: FileChoice::None, file: FileChoice::None };
        Configured::read(&Settings::load(sources)?)?.names()
    }

    #[test]
    fn tls_for_an_address_without_it_is_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let route = folder.path().join("route.yaml");
        std::fs::write(&route, "tls: {insecure_skip_verify: true}\n").unwrap();
        let started = |address: &str| {
            let said = [("COMFYUI_ROUTE_FILE", route.display().to_string()), ("COMFYUI_ADDRESS", address.to_owned())];
            let cli = said.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let sources = Sources { cli, env: [], dotenv: FileChoice::None, file: FileChoice::None };
            Configured::read(&Settings::load(sources).unwrap())
        };
        assert!(started("https://gpu-1.example,https://gpu-2.example").is_ok());
        let error = started("https://gpu-1.example,http://10.0.0.7:8188").unwrap_err().to_string();
        assert!(error.contains("route.yaml: tls: `http://10.0.0.7:8188` is not encrypted"), "{error}");
    }

    #[test]
    fn the_file_takes_the_place_of_the_default_and_stands_beside_what_was_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("backends.yaml");
        std::fs::write(&file, "- {name: gpu-1, url: 'http://10.0.0.7:8188'}\n- url: http://10.0.0.8:8188\n").unwrap();
        let here = "http://127.0.0.1:8188";
        assert_eq!(names(None, None).unwrap(), [here]);
        assert_eq!(names(Some(&file), None).unwrap(), ["gpu-1", "http://10.0.0.8:8188"]);
        assert_eq!(names(Some(&file), Some(here)).unwrap(), [here, "gpu-1", "http://10.0.0.8:8188"]);
        let double = names(Some(&file), Some("http://10.0.0.7:8188")).unwrap_err().to_string();
        assert!(double.contains("as `gpu-1`; take it away in one of the two"), "{double}");
        let missing = names(Some(&folder.path().join("none.yaml")), None).unwrap_err().to_string();
        assert!(missing.contains("none.yaml: cannot be read"), "{missing}");
    }
}
