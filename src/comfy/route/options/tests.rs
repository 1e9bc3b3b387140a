//! Definitions as people write them, and what is shown of them.

use super::*;
use serde_json::json;

fn read(value: Value) -> Result<RouteOptions, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn every_kind_is_read_shown_without_secrets_and_written_whole() {
    let oauth = json!({"oauth": {"token_url": "https://id.example/token?key=hunter2", "client_id": "c", "client_secret": "hunter2",
        "scope": "a b", "audience": "gpu", "auth_in_body": true}});
    for auth in [
        json!({"basic": {"user": "u", "password": "hunter2"}}),
        json!({"bearer": "hunter2"}),
        json!({"headers": {"X-One": "hunter2", "X-Two": "env:TWO"}}),
        oauth,
    ] {
        let tls = json!({"ca_file": "/ca.pem", "cert_file": "/c.pem", "key_file": "/k.pem", "server_name": "gpu",
            "insecure_skip_verify": true});
        let whole = json!({"auth": auth, "proxy": "http://hunter2:hunter2@proxy:3128/", "tls": tls});
        let options = read(whole.clone()).unwrap();
        assert_eq!(options.exposed(), whole);
        let shown = format!("{} {options:?}", serde_json::to_value(&options).unwrap());
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
        assert!(shown.contains("http://***:***@proxy:3128/"), "{shown}");
        assert_eq!(read(options.exposed()).unwrap(), options);
        // What is shown is not what is meant, so it cannot be taken back by mistake.
        let refused = read(serde_json::to_value(&options).unwrap()).unwrap_err();
        assert!(refused.contains("not shown"), "{refused}");
    }
    assert_eq!(serde_json::to_value(RouteOptions::default()).unwrap(), json!({}));
}

#[test]
fn an_address_is_shown_without_what_may_be_a_secret() {
    for (address, shown) in [
        ("http://proxy:3128", "http://proxy:3128/"),
        ("http://hunter2@proxy:3128", "http://***@proxy:3128/"),
        ("http://:hunter2@proxy:3128", "http://:***@proxy:3128/"),
        ("http://proxy/?hunter2", "http://proxy/?***"),
        ("user:hunter2@proxy:3128", "***"),
        ("hunter2", "***"),
    ] {
        let options = read(json!({ "proxy": address })).unwrap();
        assert_eq!(serde_json::to_value(&options).unwrap(), json!({ "proxy": shown }));
        assert_eq!(options.exposed(), json!({ "proxy": address }));
    }
    for (address, shown) in [
        ("https://id.example/token", "https://id.example/token"),
        ("https://id.example/token?a=hunter2&b", "https://id.example/token?***"),
        ("https://id.example/token#hunter2", "https://id.example/token#***"),
        ("https://u:hunter2@id.example/token", "https://***:***@id.example/token"),
        ("hunter2", "***"),
    ] {
        let oauth = json!({"oauth": {"token_url": address, "client_id": "c", "client_secret": "hunter2"}});
        let options = read(json!({ "auth": oauth })).unwrap();
        let view = serde_json::to_value(&options).unwrap();
        assert_eq!(view["auth"]["oauth"]["token_url"], shown);
        assert_eq!(options.exposed()["auth"]["oauth"]["token_url"], address);
        assert!(!format!("{options:?}").contains("hunter2"), "{options:?}");
    }
}

#[test]
fn a_definition_of_its_own_is_yaml_or_json() {
    let yaml = "auth:\n  headers:\n    X-Key: env:KEY\n    X-Other: '12'\ntls: {ca_file: ca.pem}\n";
    let options = RouteOptions::parse(yaml).unwrap();
    assert_eq!(options, RouteOptions::parse(&options.exposed().to_string()).unwrap());
    assert_eq!(options.read_here(), ["auth.headers", "tls.ca_file"]);
    for nothing in ["", "# nothing\n", "{}", "auth: none", "auth:"] {
        assert_eq!(RouteOptions::parse(nothing), Ok(RouteOptions::default()), "{nothing}");
    }
}

#[test]
fn what_is_wrong_is_said_without_the_secret() {
    let oauth = |name: &str, value: Value| {
        let mut oauth = json!({"token_url": "https://id.example/t", "client_id": "c", "client_secret": "s"});
        oauth[name] = value;
        json!({ "auth": { "oauth": oauth } })
    };
    for (value, expected) in [
        (json!({"auth": "hunter2"}), "not `none`"),
        (json!({"auth": {"basic": "u:hunter2"}}), "names with their values are needed"),
        (json!({"auth": {"oauth": "hunter2"}}), "names with their values are needed"),
        (json!({"auth": {"headers": "X-Key: hunter2"}}), "names with their values are needed"),
        (json!({"auth": {"bearer": 47_110_815}}), "write quotes around it"),
        (json!({"auth": {"bearer": 47_110_815.5}}), "write quotes around it"),
        (json!({"auth": {"bearer": ""}}), "it is empty"),
        (json!({"auth": {"bearer": "env:"}}), "names no variable"),
        (json!({"auth": {"bearer": "file:"}}), "names no file"),
        (json!({"auth": {"bearer": "hunter2", "headers": {}}}), "more than one"),
        (json!({"auth": {"beerer": "hunter2"}}), "unknown field `beerer`"),
        (json!({"auth": {"basic": {"user": "u"}}}), "missing field `password`"),
        (json!({"auth": {"basic": {"user": "u", "password": "hunter2", "x": "hunter2"}}}), "unknown field `x`"),
        (json!({"tls": {"insecure": true}}), "unknown field `insecure`"),
        (json!({"proxi": "http://u:hunter2@p"}), "unknown field `proxi`"),
        (json!({"auth": 47_110_815}), "a number that is not `none`"),
        (json!({"auth": -47_110_815.5}), "a number that is not `none`"),
        (json!({"auth": {"basic": 47_110_815}}), "names with their values are needed"),
        (json!({"auth": {"headers": 47_110_815}}), "names with their values are needed"),
        (json!({"auth": {"oauth": -47_110_815}}), "names with their values are needed"),
        (json!({"tls": "hunter2"}), "names with their values are needed"),
        (json!({"tls": 47_110_815}), "names with their values are needed"),
        (json!({"tls": {"ca_file": 47_110_815}}), "write quotes around"),
        (json!({"tls": {"server_name": 47_110_815.5}}), "write quotes around"),
        (json!({"tls": {"server_name": true}}), "write quotes around"),
        (json!({"tls": {"insecure_skip_verify": "hunter2"}}), "must be true or false"),
        (json!({"tls": {"insecure_skip_verify": 47_110_815}}), "a number where"),
        (json!({"auth": {"basic": {"user": 47_110_815, "password": "hunter2"}}}), "write quotes around"),
        (oauth("token_url", json!(47_110_815)), "write quotes around"),
        (oauth("client_id", json!(47_110_815)), "write quotes around"),
        (oauth("scope", json!(47_110_815)), "write quotes around"),
        (oauth("audience", json!(["hunter2"])), "a text"),
        (oauth("auth_in_body", json!("hunter2")), "must be true or false"),
        (json!({"proxy": 47_110_815}), "write quotes around"),
        (json!({"proxy": ["hunter2"]}), "a text"),
    ] {
        for error in
            [read(value.clone()).unwrap_err(), RouteOptions::parse(&value.to_string()).unwrap_err().to_string()]
        {
            assert!(error.contains(expected) && !error.contains("hunter2") && !error.contains("47110815"), "{error}");
        }
    }
    for text in ["hunter2", "47110815", "[hunter2]", "- auth: hunter2", "auth: {bearer: hunter2"] {
        let error = RouteOptions::parse(text).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && !error.contains("47110815"), "{error}");
    }
    let long = "x".repeat(LONGEST_TEXT + 1);
    assert!(RouteOptions::parse(&long).unwrap_err().to_string().contains("longer than"));
}

#[test]
fn a_secret_comes_from_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "of the file\r\n").unwrap();
    let environment = |name: &str| (name == "HAS").then(|| "of the environment".to_owned());
    let secret = |text: &str| SecretText::of(text).unwrap().resolve("auth.bearer", &environment);
    assert_eq!(secret("plain").unwrap().expose(), "plain");
    assert_eq!(secret("env:HAS").unwrap().expose(), "of the environment");
    assert_eq!(secret(&format!("file:{}", path.display())).unwrap().expose(), "of the file");
    let missing = secret("env:HAS_NOT").unwrap_err().to_string();
    assert!(missing.starts_with("auth.bearer: ") && missing.contains("`HAS_NOT`"), "{missing}");
    assert!(secret("file:/nowhere/at/all").unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&path, "\n").unwrap();
    assert!(secret(&format!("file:{}", path.display())).unwrap_err().to_string().contains("is empty"));
    std::fs::write(&path, "x".repeat(70_000)).unwrap();
    assert!(secret(&format!("file:{}", path.display())).unwrap_err().to_string().contains("longer than 65536"));
}
