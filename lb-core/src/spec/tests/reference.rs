//! The schema, the example and the reference say the same.

use serde_json::Value;

use crate::spec::{example, json_schema};

const REFERENCE: &str = include_str!("../../../../docs/REFERENCE.md");

/// Every property name below `schema`, wherever it is defined.
fn properties(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| properties(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| properties(value, found)),
        _ => {}
    }
}

#[test]
fn the_reference_mentions_every_key_and_word() {
    let schema = json_schema();
    let mut words = Vec::new();
    properties(&schema, &mut words);
    assert!(words.len() > 50, "{words:?}");
    consts(&schema, &mut words);
    for word in words {
        assert!(REFERENCE.contains(&format!("`{word}`")), "docs/REFERENCE.md does not mention `{word}`");
    }
}

/// Every word that a value may be.
fn consts(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            found.extend(map.get("const").and_then(Value::as_str).map(str::to_owned));
            if let Some(Value::Array(words)) = map.get("enum") {
                found.extend(words.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            map.values().for_each(|value| consts(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| consts(value, found)),
        _ => {}
    }
}

#[test]
fn the_reference_shows_the_example() {
    assert!(REFERENCE.contains(example()));
}

#[test]
fn the_schema_says_what_editors_need() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], serde_json::json!(["loadbalancer"]));
    let listener = &schema["$defs"]["Listener"];
    assert_eq!(listener["additionalProperties"], false);
    assert_eq!(listener["required"], serde_json::json!(["protocol", "protocol_port"]));
    let port = &listener["properties"]["protocol_port"];
    assert_eq!((&port["minimum"], &port["maximum"]), (&Value::from(1), &Value::from(65535)));
    assert!(port["description"].as_str().is_some());
    for def in [
        "LoadBalancer",
        "Listener",
        "Pool",
        "Hashing",
        "Member",
        "HealthMonitor",
        "SessionPersistence",
        "Observe",
        "AgentCheck",
        "Log",
        "InsertHeaders",
        "L7Policy",
        "L7Rule",
        "Retry",
        "ProxyProtocol",
    ] {
        let properties = schema["$defs"][def]["properties"].as_object().unwrap();
        for (key, property) in properties {
            assert!(property["description"].is_string(), "{def}.{key} has no description");
            assert!(!key.contains('\0'), "{def} shows its node");
        }
    }
}
