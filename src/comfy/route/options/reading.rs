//! How definitions are read from JSON and YAML. What stands in the wrong place may be a secret, so no error repeats it.

use super::{AddressText, AuthOptions, BasicOptions, OAuthOptions, SecretText, TlsOptions};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

/// Refuses every number, which serde's own error would repeat.
macro_rules! no_number {
    ($why:literal) => {
        fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
            Err(E::custom($why))
        }

        fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
            Err(E::custom($why))
        }

        fn visit_i128<E: de::Error>(self, _: i128) -> Result<Self::Value, E> {
            Err(E::custom($why))
        }

        fn visit_u128<E: de::Error>(self, _: u128) -> Result<Self::Value, E> {
            Err(E::custom($why))
        }

        fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
            Err(E::custom($why))
        }
    };
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AText)
    }
}

impl<'de> Deserialize<'de> for AddressText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for AuthOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnAuth)
    }
}

/// Reads a secret; what is no text is refused without being repeated.
struct AText;

impl Visitor<'_> for AText {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text: the secret, env:NAME or file:PATH")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretText, E> {
        SecretText::of(text).map_err(E::custom)
    }

    no_number!("a secret is a text; write quotes around it");
}

struct AnAuth;

impl<'de> Visitor<'de> for AnAuth {
    type Value = AuthOptions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`none`, or one of `basic`, `bearer`, `headers` and `oauth`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<AuthOptions, E> {
        let no_kind = "a text that is not `none`; write like {bearer: env:GPU_TOKEN}, with one of `basic`, `bearer`, \
                       `headers` and `oauth`";
        if text == "none" { Ok(AuthOptions::None) } else { Err(E::custom(no_kind)) }
    }

    no_number!("a number that is not `none`; write like {bearer: env:GPU_TOKEN}");

    fn visit_unit<E: de::Error>(self) -> Result<AuthOptions, E> {
        Ok(AuthOptions::None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AuthOptions, A::Error> {
        let kinds = Kinds::deserialize(MapAccessDeserializer::new(map))?;
        let all = [
            kinds.basic.map(AuthOptions::Basic),
            kinds.bearer.map(AuthOptions::Bearer),
            kinds.headers.map(AuthOptions::Headers),
            kinds.oauth.map(AuthOptions::OAuth),
        ];
        let mut all = all.into_iter().flatten();
        match (all.next(), all.next()) {
            (None, _) => Ok(AuthOptions::None),
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => {
                let text =
                    "more than one of `basic`, `bearer`, `headers` and `oauth`; several headers go into `headers`";
                Err(de::Error::custom(text))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kinds {
    #[serde(default, deserialize_with = "fields")]
    basic: Option<BasicOptions>,
    #[serde(default)]
    bearer: Option<SecretText>,
    #[serde(default, deserialize_with = "fields")]
    headers: Option<BTreeMap<String, SecretText>>,
    #[serde(default, deserialize_with = "fields")]
    oauth: Option<OAuthOptions>,
}

/// Reads `tls`.
pub(super) fn tls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TlsOptions, D::Error> {
    fields(deserializer).map(Option::unwrap_or_default)
}

/// Reads a text.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let none = || de::Error::custom("a text is needed, and there is none");
    text_if_any(deserializer)?.ok_or_else(none)
}

/// Reads a text that may be left out.
pub(super) fn text_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match deserializer.deserialize_any(APlain)? {
        Plain::Nothing => Ok(None),
        Plain::Text(text) => Ok(Some(text)),
        Plain::Flag(_) => Err(de::Error::custom("true or false where a text is needed; write quotes around it")),
    }
}

/// Reads the name of a file that may be left out.
pub(super) fn path_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text_if_any(deserializer)?.map(PathBuf::from))
}

/// Reads what is true or false.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match deserializer.deserialize_any(APlain)? {
        Plain::Flag(flag) => Ok(flag),
        Plain::Nothing | Plain::Text(_) => Err(de::Error::custom("it must be true or false, without quotes")),
    }
}

/// A value without fields.
enum Plain {
    Nothing,
    Flag(bool),
    Text(String),
}

struct APlain;

impl Visitor<'_> for APlain {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or true or false")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain::Text(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Plain, E> {
        Ok(Plain::Flag(flag))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Plain, E> {
        Ok(Plain::Nothing)
    }

    no_number!("a number where a text, or true or false, is needed; write quotes around a text");
}

/// Reads what has fields. A text in its place may be a secret, so it is not repeated in the error.
fn fields<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Fields(PhantomData))
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Fields<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with their values")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Option<T>, E> {
        Err(E::custom("a text where names with their values are needed"))
    }

    no_number!("a number where names with their values are needed");

    fn visit_unit<E: de::Error>(self) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}
