//! What is read of an agent's answer, honest or not, and how long it is good for.

use super::*;

/// What an agent on a machine with two cards answers, as it writes it.
const ANSWER: &str = r#"{"agent": "comfygate", "agent_version": "1.0.0", "uptime_seconds": 512.3, "stale": false,
    "cpu_percent": 12.5, "ram_total_mb": 64216.1, "ram_used_mb": 18022.7, "process_rss_mb": 6120.4,
    "gpu_name": "NVIDIA A", "gpu_memory_total_mb": 24564.0, "gpu_memory_used_mb": 18211.6,
    "gpu_utilization_percent": 97.0, "gpu_temperature_c": 64.0,
    "gpus": [{"index": 0, "name": "NVIDIA A", "memory_total_mb": 24564.0, "memory_used_mb": 18211.6, "utilization_percent": 97.0, "temperature_c": 64.0},
             {"index": 3, "name": "NVIDIA B", "memory_total_mb": 8192.0}]}"#;

fn read(text: &str) -> AgentMetrics {
    AgentMetrics::read(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

#[test]
fn an_answer_is_read_with_everything_that_it_tells() {
    let told = read(ANSWER);
    let machine = (told.cpu_percent, told.ram_total_mb, told.ram_used_mb, told.process_rss_mb, told.uptime_seconds);
    assert_eq!(machine, (Some(12.5), Some(64216.1), Some(18022.7), Some(6120.4), Some(512.3)));
    assert_eq!((told.version.as_deref(), told.is_stale), (Some("1.0.0"), false));
    let second = Gpu { index: 3, name: Some("NVIDIA B".into()), memory_total_mb: Some(8192.0), ..Gpu::default() };
    let first = Gpu {
        index: 0,
        name: Some("NVIDIA A".into()),
        memory_total_mb: Some(24564.0),
        memory_used_mb: Some(18211.6),
        utilization_percent: Some(97.0),
        temperature_c: Some(64.0),
    };
    assert_eq!(told.gpus, [first, second]);
}

#[test]
fn metrics_are_in_base_units() {
    let told = read(
        r#"{"cpu_percent": 50, "ram_total_mb": 2, "ram_used_mb": 1, "gpus": [{"memory_total_mb": 4, "memory_used_mb": 3, "utilization_percent": 25}]}"#,
    );
    let machine = (told.cpu_ratio(), told.memory_total_bytes(), told.memory_used_bytes());
    assert_eq!(machine, (Some(0.5), Some(2_097_152.0), Some(1_048_576.0)));
    let gpu = &told.gpus[0];
    let card = (gpu.utilization_ratio(), gpu.memory_total_bytes(), gpu.memory_used_bytes());
    assert_eq!(card, (Some(0.25), Some(4_194_304.0), Some(3_145_728.0)));
}

#[test]
fn an_agent_without_a_list_of_gpus_may_tell_of_one() {
    let told = read(r#"{"gpu_name": "NVIDIA A", "gpu_temperature_c": 40}"#);
    assert_eq!(told.gpus.len(), 1);
    assert_eq!((told.gpus[0].index, told.gpus[0].temperature_c), (0, Some(40.0)));
    assert_eq!(read(r#"{"cpu_percent": 1}"#).gpus, []);
}

#[test]
fn what_makes_no_sense_is_left_out_and_the_rest_stays() {
    let senseless = [
        "-1",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e16",
        "1e999",
        "\"12\"",
        "null",
        "true",
        "[1]",
        "{}",
        "100000000000000000000",
    ];
    for value in senseless {
        let text = ANSWER
            .replace("12.5", value)
            .replace("64216.1", value)
            .replace("18022.7", value)
            .replace("24564.0", value)
            .replace("97.0", value)
            .replace("64.0", value);
        let told = read(&text);
        let machine = (told.cpu_percent, told.ram_total_mb, told.ram_used_mb);
        assert_eq!((machine, told.process_rss_mb), ((None, None, None), Some(6120.4)), "{value}");
        let gpu = &told.gpus[0];
        assert_eq!((gpu.memory_total_mb, gpu.utilization_percent, gpu.temperature_c), (None, None, None), "{value}");
        assert_eq!(gpu.memory_used_mb, Some(18211.6), "{value}");
    }
    let told = read(&ANSWER.replace("12.5", "100.1").replace("97.0", "4294967295").replace("64.0", "501"));
    assert_eq!((told.cpu_percent, told.gpus[0].utilization_percent, told.gpus[0].temperature_c), (None, None, None));
}

#[test]
fn a_thousand_gpus_are_sixteen_and_each_number_is_one_gpu() {
    let many = vec![r#"{"name": "x"}"#; 1000].join(",");
    let told = read(&format!(r#"{{"gpus": [{many}]}}"#));
    assert_eq!(told.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());

    let told = read(
        r#"{"gpus": [{"index": 1, "name": "first"}, {"index": 1, "name": "again"}, {"index": -2, "name": "no"},
            {"index": "0", "name": "no"}, {"index": 1e9, "name": "no"}, {"index": 1024, "name": "no"}, 7, null, {"index": 1023, "name": "last"}]}"#,
    );
    let names: Vec<_> = told.gpus.iter().filter_map(|gpu| gpu.name.as_deref()).collect();
    assert_eq!(names, ["first", "last"]);
}

#[test]
fn names_are_short_and_of_one_line() {
    let name = format!("A\\n\\u0000\\u001b[31m{}", "ä".repeat(500));
    let told = read(&format!(r#"{{"agent_version": "{name}", "gpus": [{{"name": "{name}"}}]}}"#));
    for name in [told.version.unwrap(), told.gpus[0].name.clone().unwrap()] {
        assert!(name.starts_with("A[31mä") && name.chars().count() == 100, "{name:?}");
    }
}

#[test]
fn what_is_no_agents_answer_is_refused() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let texts = [
        "",
        "<!doctype html>",
        "null",
        "[]",
        "7",
        "{}",
        r#"{"error": "not found"}"#,
        r#"{"stale": true}"#,
        r#"{"gpus": [{"#,
        r#"{"cpu_percent": "all of it"}"#,
        &deep,
    ];
    for text in texts {
        assert_eq!(AgentMetrics::read(text), Err(Unreadable), "{text:.40}");
    }
}

#[test]
fn an_agent_that_never_told_anything_is_shown_with_its_trouble_and_none_is_not() {
    let vitals = Vitals::default();
    assert!(vitals.failed("status 401".to_owned()));
    assert_eq!(vitals.view(at(0)), json!({"at": null, "stale": true, "trouble": "status 401", "gpus": []}));
    assert_eq!(vitals.fresh(at(0)), None);
    assert!(!vitals.gone());
    assert_eq!(vitals.view(at(0)), Value::Null);
}

#[test]
fn what_was_told_is_shown_with_its_time_until_the_agent_is_gone() {
    let vitals = Vitals::default();
    assert_eq!(vitals.view(at(0)), Value::Null);
    vitals.told(read(ANSWER), at(0), Duration::from_secs(15));
    let view = vitals.view(at(1));
    assert_eq!((&view["at"], &view["stale"]), (&json!("2027-01-15T08:00:00.000Z"), &json!(false)));
    let answer: Value = serde_json::from_str(ANSWER).unwrap();
    for field in
        ["agent_version", "uptime_seconds", "cpu_percent", "ram_total_mb", "ram_used_mb", "process_rss_mb", "gpus"]
    {
        assert_eq!(view[field], answer[field], "{field}");
    }
    assert!(vitals.gone() && !vitals.gone());
    assert_eq!((vitals.view(at(1)), vitals.fresh(at(1))), (Value::Null, None));
}

#[test]
fn an_answer_that_fails_to_come_leaves_the_last_one_until_it_is_old() {
    let vitals = Vitals::default();
    for (every, old) in [(15, 60), (1, 60), (60, 240)] {
        vitals.told(read(ANSWER), at(0), Duration::from_secs(every));
        assert!(vitals.failed("a timeout".into()) && !vitals.failed("a timeout".into()));
        assert!(vitals.fresh(at(old - 1)).is_some());
        assert_eq!(vitals.view(at(old - 1))["stale"], false);
        assert_eq!(vitals.view(at(old - 1))["trouble"], "a timeout");
        assert_eq!(vitals.fresh(at(old)), None);
        assert_eq!(vitals.view(at(old))["stale"], true);
        assert_eq!(vitals.view(at(old))["cpu_percent"], 12.5);
        vitals.told(read(ANSWER), at(old), Duration::from_secs(every));
        assert_eq!((vitals.fresh(at(old)).is_some(), vitals.view(at(old)).get("trouble")), (true, None));
    }
}

#[test]
fn an_agent_that_could_not_ask_everything_says_so() {
    let vitals = Vitals::default();
    vitals.told(read(r#"{"cpu_percent": 1, "stale": true}"#), at(0), Duration::from_secs(15));
    assert_eq!(vitals.view(at(0))["stale"], true);
}
