//! What can be said of a backend, and what is answered to what cannot.

use super::super::open_way;
use super::*;
use crate::clock::SystemClock;

fn read(value: Value) -> Result<Definition, Vec<Mistake>> {
    let Value::Object(object) = value else { unreachable!("an object") };
    Definition::from_object(object)
}

fn afar(value: Value) -> Result<Definition, Vec<Mistake>> {
    let Value::Object(object) = value else { unreachable!("an object") };
    Definition::from_afar(object)
}

#[test]
fn a_definition_says_what_it_needs_to_and_is_written_as_it_can_be_read() {
    let least = read(json!({ "url": "10.0.0.7:8188/" })).unwrap();
    assert_eq!(least, Definition::at("http://10.0.0.7:8188".parse().unwrap()));
    let most = json!({
        "name": "gpu-1", "url": "https://gpu.example/comfy", "tags": ["24gb", "flux"], "slots": 64, "ahead": 0,
        "auth": { "basic": { "user": "u", "password": "hunter2" } }, "proxy": "http://u:hunter3@proxy:3128",
        "tls": { "server_name": "gpu" },
    });
    let definition = read(most.clone()).unwrap();
    assert_eq!((definition.name.as_str(), definition.slots, definition.ahead), ("gpu-1", 64, Some(0)));
    assert_eq!(definition.exposed(), most);
    assert!(!format!("{definition:?}").contains("hunter"), "{definition:?}");
    for definition in [least, definition] {
        assert_eq!(read(definition.exposed()).unwrap(), definition);
    }
    assert_eq!(read(json!({ "url": "http://a", "tags": null, "slots": null })).unwrap().slots, 1);
}

#[test]
fn each_mistake_is_told_with_its_field_and_how_to_mend_it() {
    let cases = [
        (json!({}), "url", "url is missing; write where"),
        (json!({ "url": null }), "url", "url is missing"),
        (json!({ "url": 7 }), "url", "it must be a text"),
        (json!({ "url": "ftp://a" }), "url", "use http:// or https://"),
        (json!({ "url": "http://user:hunter2@a" }), "url", "must not hold a user name or password"),
        (json!({ "url": "http://a/#part" }), "url", "must end there"),
        (json!({ "url": "http://a/?token=x" }), "url", "must end there"),
        (json!({ "url": "http://169.254.169.254" }), "url", "never called"),
        (json!({ "url": "http://[::ffff:169.254.169.254]" }), "url", "never called"),
        (json!({ "url": "http://0xa9.0xfe.0xa9.0xfe" }), "url", "never called"),
        (json!({ "url": "http://metadata.google.internal./" }), "url", "never called"),
        (json!({ "url": "http://100.100.100.200" }), "url", "never called"),
        (json!({ "url": "http://a", "name": "" }), "name", "visible ASCII"),
        (json!({ "url": "http://a", "name": "a b" }), "name", "visible ASCII"),
        (json!({ "url": "http://a", "name": ".." }), "name", "visible ASCII"),
        (json!({ "url": "http://a", "name": 7 }), "name", "write quotes"),
        (json!({ "url": "http://a", "name": "x".repeat(201) }), "name", "1 to 200"),
        (json!({ "url": "http://a", "tags": "flux" }), "tags", "must be a list"),
        (json!({ "url": "http://a", "tags": ["Flux"] }), "tags", "a-z"),
        (json!({ "url": "http://a", "tags": [""] }), "tags", "a-z"),
        (json!({ "url": "http://a", "tags": [24] }), "tags", "write quotes"),
        (json!({ "url": "http://a", "tags": vec!["x"; 65] }), "tags", "65 tags"),
        (json!({ "url": "http://a", "slots": 0 }), "slots", "from 1 to 64"),
        (json!({ "url": "http://a", "slots": 65 }), "slots", "from 1 to 64"),
        (json!({ "url": "http://a", "slots": "2" }), "slots", "from 1 to 64"),
        (json!({ "url": "http://a", "ahead": -1 }), "ahead", "from 0 to 1000"),
        (json!({ "url": "http://a", "ahead": 1.5 }), "ahead", "from 0 to 1000"),
        (json!({ "url": "http://a", "auth": "hunter2" }), "auth", "`none`"),
        (json!({ "url": "http://a", "auth": { "bearer": 7 } }), "auth", "quotes"),
        (json!({ "url": "http://a", "tls": { "ca": "x" } }), "tls", "unknown field"),
        (json!({ "url": "gpu:8188", "tls": { "ca_file": "/ca.pem" } }), "tls", "`http://gpu:8188` is not encrypted"),
        (
            json!({ "url": "http://a", "tls": { "insecure_skip_verify": true } }),
            "tls",
            "write the address with https://",
        ),
        (json!({ "url": "http://a", "slot": 1 }), "slot", "did you mean `slots`?"),
    ];
    for (value, field, says) in cases {
        let mistakes = read(value.clone()).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{value}: {mistakes:?}");
        assert_eq!(mistakes[0].field, field, "{value}");
        assert!(mistakes[0].text.contains(says), "{value}: {}", mistakes[0].text);
        assert!(!mistakes[0].text.contains("hunter2"), "{}", mistakes[0].text);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mistakes = read(json!({ "url": "ftp://a", "slots": 0, "tags": 1, "colour": "red" })).unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
    assert_eq!(fields, ["url", "tags", "slots", "colour"]);
}

#[test]
fn addresses_of_a_house_are_addresses_of_backends() {
    for url in ["http://127.0.0.1:8188", "http://10.1.2.3", "http://192.168.1.5:8188", "http://[fd12::1]", "http://gpu"]
    {
        assert!(read(json!({ "url": url })).is_ok(), "{url}");
    }
}

#[test]
fn an_authority_that_a_token_endpoint_needs_may_be_named_for_a_backend_without_tls() {
    let oauth =
        json!({ "oauth": { "token_url": "https://id.example/t", "client_id": "c", "client_secret": "hunter2" } });
    let named = |tls: Value| read(json!({ "url": "http://a", "auth": oauth, "tls": tls }));
    assert!(named(json!({ "ca_file": "/ca.pem" })).is_ok());
    let mistakes = named(json!({ "ca_file": "/ca.pem", "server_name": "gpu" })).unwrap_err();
    assert!(mistakes[0].text.contains("leave `ca_file` alone there"), "{mistakes:?}");
}

#[test]
fn no_way_leads_over_what_gives_out_credentials() {
    let oauth = |url: &str| json!({ "oauth": { "token_url": url, "client_id": "c", "client_secret": "hunter2" } });
    for (field, part, value) in [
        ("proxy", "proxy", json!("http://169.254.169.254:80")),
        ("proxy", "proxy", json!("http://u:hunter2@[::ffff:a9fe:a9fe]:3128")),
        ("auth", "auth.oauth.token_url", oauth("https://metadata.google.internal/token")),
        ("auth", "auth.oauth.token_url", oauth("https://169.254.169.254/token?key=hunter2")),
    ] {
        let mistakes = afar(json!({ "url": "http://a", field: value })).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].field.as_str()), (1, field), "{mistakes:?}");
        let text = &mistakes[0].text;
        assert!(text.starts_with(&format!("{part}: ")) && text.contains("never called"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(afar(json!({ "url": "http://a", "proxy": "http://10.0.0.1:3128" })).is_ok());
}

#[test]
fn where_an_address_stands_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy");
    std::fs::write(&file, "http://169.254.169.254:80\n").unwrap();
    let proxy = format!("file:{}", file.display());
    let definition = read(json!({ "url": "http://a", "proxy": proxy })).unwrap();
    let wrong = open_way(&definition.route, SystemClock::start()).unwrap_err();
    assert!(wrong[0].to_string().contains("never called"), "{wrong:?}");
}

#[test]
fn a_way_that_cannot_be_gone_is_told_with_each_of_its_fields() {
    let mistakes = afar(json!({
        "url": "https://a", "auth": { "headers": { "Host": "hunter2" } }, "proxy": "socks5://u:hunter2@proxy",
        "tls": { "server_name": "a b" },
    }))
    .unwrap_err();
    let fields: Vec<&str> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
    assert_eq!(fields, ["auth", "proxy", "tls"], "{mistakes:?}");
    for (mistake, says) in mistakes.iter().zip(["`Host` is not for a definition", "it is socks5://", "neither a name"])
    {
        assert!(mistake.text.contains(says) && !mistake.text.contains("hunter2"), "{}", mistake.text);
    }
}

#[test]
fn what_comes_from_elsewhere_reads_no_file_and_no_variable_of_this_machine() {
    for (field, value) in [
        ("auth", json!({ "bearer": "env:COMFYGATE_ADMIN_KEY" })),
        ("auth", json!({ "headers": { "X-Key": "file:/etc/shadow" } })),
        ("proxy", json!("file:/etc/proxy")),
        ("tls", json!({ "ca_file": "/etc/ca.pem" })),
    ] {
        let definition = json!({ "url": "https://a", field: value });
        assert!(read(definition.clone()).is_ok());
        let mistakes = afar(definition).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[0].field.as_str()), (1, field), "{mistakes:?}");
    }
    assert!(afar(json!({ "url": "http://a", "auth": { "bearer": "hunter2" } })).is_ok());
}
