//! JSON whose depth is cut: what lies too deep is skipped unread, so that nobody's nesting hides what stands beside it.

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use std::fmt;

/// How many lists and objects may stand around a value; the parser itself gives up at 128.
const DEEPEST: u32 = 100;

/// A JSON value in which everything deeper than a hundred levels is `null`.
#[derive(Default)]
pub struct Pruned(pub Value);

impl<'de> Deserialize<'de> for Pruned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Level(0).deserialize(deserializer).map(Self)
    }
}

/// Reads a value with so many lists and objects around it.
#[derive(Clone, Copy)]
struct Level(u32);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0 >= DEEPEST {
            return IgnoredAny::deserialize(deserializer).map(|IgnoredAny| Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self(self.0 + 1))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key()? {
            object.insert(key, entries.next_value_seed(Self(self.0 + 1))?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        serde_json::from_str::<Pruned>(text).unwrap().0
    }

    #[test]
    fn what_is_not_deep_stays_as_it_is() {
        for value in [
            json!(null),
            json!([1, -1, 1.5, u64::MAX, true, "é", {"a": {"b": [null, []]}, "c": {}}]),
            json!({"": [[[[[[[["deep"]]]]]]]]}),
        ] {
            assert_eq!(read(&value.to_string()), value);
        }
    }

    #[test]
    fn what_lies_too_deep_is_null_and_hides_nothing_beside_it() {
        let mut deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        deep = format!(r#"{{"deep": {deep}, "beside": 3}}"#);
        let value = read(&deep);
        assert_eq!(value["beside"], 3);
        let (mut value, mut levels) = (&value["deep"], 1);
        while let Some(inner) = value.get(0) {
            value = inner;
            levels += 1;
        }
        assert_eq!((levels, value), (DEEPEST, &Value::Null));
    }
}
