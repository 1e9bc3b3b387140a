//! How definitions are read from JSON and YAML. A text in the wrong place may be a secret, so no error repeats one.

use super::{AuthOptions, BasicOptions, OAuthOptions, SecretText};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, DeserializeOwned, Deserializer, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AText)
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

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<SecretText, E> {
        Err(E::custom("a secret is a text; write quotes around it"))
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<SecretText, E> {
        self.visit_i64(0)
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<SecretText, E> {
        self.visit_i64(0)
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<SecretText, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<SecretText, E> {
        self.visit_i64(0)
    }
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

/// Reads what has fields. A text in its place may be a secret, so it is not repeated in the error.
fn fields<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Fields(PhantomData)).map(Some)
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with their values")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<T, E> {
        Err(E::custom("a text where names with their values are needed"))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}
