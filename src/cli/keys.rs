//! `comfygate keys`: makes API keys, lists them and takes them back, in the data folder itself. A gateway that runs there
//! goes on; it sees the change within seconds. Whoever may write the folder is the operator, so no key is asked for.

use super::data::DataArgs;
use super::runtime;
use super::table::{Table, tame};
use crate::access::{Keys, NewKey};
use crate::api::{check_name, key_view, usual_scopes};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::job::{KeyId, KeyLimits, Scopes, Tenant};
use crate::store::{ApiKey, open_beside};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(super) enum KeysCommand {
    /// Make a key, and write it out this once.
    Create(CreateArgs),
    /// List all keys, without what they are.
    List(DataArgs),
    /// Take a key back; a running gateway refuses it within five seconds.
    Revoke(RevokeArgs),
}

#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// Whose the key is, for people.
    #[arg(long, value_parser = name)]
    name: String,
    /// Whose jobs it makes and sees.
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// What it allows: submit, read, metrics, admin, with commas between.
    #[arg(long, default_value_t = usual_scopes())]
    scopes: Scopes,
    /// For how long, such as 90days; else for ever.
    #[arg(long, value_name = "DURATION", value_parser = life)]
    expires: Option<Duration>,
    /// How many requests, such as 60/m or 2/s.
    #[arg(long, value_name = "N/m", value_parser = rate)]
    rate: Option<u32>,
    /// How many requests at once, after a pause.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// How many jobs of the tenant may wait at the same time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_queued: Option<u32>,
    /// How many jobs a day.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    per_day: Option<u32>,
    #[command(flatten)]
    folder: DataArgs,
}

#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    /// The key, by its id.
    id: KeyId,
    #[command(flatten)]
    folder: DataArgs,
}

/// Runs one of the commands.
pub(super) fn run(command: KeysCommand) -> anyhow::Result<ExitCode> {
    let folder = match &command {
        KeysCommand::Create(args) => &args.folder,
        KeysCommand::List(args) => args,
        KeysCommand::Revoke(args) => &args.folder,
    };
    let data = folder.folder()?;
    let clock = SystemClock::start();
    let store = open_beside(&data)?;
    let keys = Keys::new(
        Arc::<crate::store::SqliteStore>::clone(&store),
        Arc::<SystemClock>::clone(&clock),
        |bytes| rand::fill(bytes),
        None,
    );
    let mut out = std::io::stdout().lock();
    runtime()?.block_on(async {
        let done = match command {
            KeysCommand::Create(args) => create(&keys, args, &mut out).await,
            KeysCommand::List(args) => list(&keys, &args, clock.now(), &mut out).await,
            KeysCommand::Revoke(args) => revoke(&keys, &args, &mut out).await,
        };
        store.close().await;
        done
    })
}

async fn create(keys: &Keys, args: CreateArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let limits =
        KeyLimits { per_minute: args.rate, burst: args.burst, max_queued: args.max_queued, per_day: args.per_day };
    let CreateArgs { name, tenant, scopes, expires: life, folder, .. } = args;
    let (secret, key) = keys.create(NewKey { name, tenant, scopes, limits, life }).await?;
    let mut view = key_view(&key);
    view.insert("key".into(), json!(secret.expose()));
    if folder.json {
        writeln!(out, "{:#}", Value::Object(view))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, value) in [
        ("id", key.id.to_string()),
        ("name", tame(&key.name)),
        ("tenant", key.tenant.to_string()),
        ("scopes", key.scopes.to_string()),
        ("expires", time(key.expires_at)),
        ("key", secret.expose().to_owned()),
    ] {
        writeln!(out, "{name:<9}{value}")?;
    }
    writeln!(out, "\nKeep the key now: it is stored nowhere and not shown again.")?;
    Ok(ExitCode::SUCCESS)
}

async fn list(keys: &Keys, args: &DataArgs, now: Timestamp, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let keys = keys.list().await?;
    if args.json {
        let views: Vec<Value> = keys.iter().map(|key| Value::Object(key_view(key))).collect();
        writeln!(out, "{:#}", json!({ "keys": views }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(["ID", "NAME", "TENANT", "SCOPES", "STATE", "CREATED", "EXPIRES", "LAST USED"]);
    for key in &keys {
        table.row([
            key.id.to_string(),
            tame(&key.name),
            key.tenant.to_string(),
            key.scopes.to_string(),
            state(key, now).to_owned(),
            time(Some(key.created_at)),
            time(key.expires_at),
            time(key.last_used_at),
        ]);
    }
    table.write(out)?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(keys: &Keys, args: &RevokeArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let Some(key) = keys.revoke(&args.id).await? else {
        anyhow::bail!("there is no key `{}` in this data folder; see comfygate keys list", args.id);
    };
    if args.folder.json {
        writeln!(out, "{:#}", Value::Object(key_view(&key)))?;
    } else {
        writeln!(
            out,
            "{} of {} is taken back; a running gateway refuses it within five seconds",
            key.id,
            tame(&key.name)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn state(key: &ApiKey, now: Timestamp) -> &'static str {
    match (key.revoked_at, key.is_good(now)) {
        (Some(_), _) => "revoked",
        (None, true) => "good",
        (None, false) => "expired",
    }
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".into(), Timestamp::rfc3339)
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|_| "not a duration such as 90days")?;
    if life.is_zero() { Err("a key that is over at once".into()) } else { Ok(life) }
}

/// Reads a rate as requests a minute.
fn rate(text: &str) -> Result<u32, String> {
    let minutely = text.strip_suffix("/m").map(|number| (number, 1));
    let rate = minutely.or_else(|| text.strip_suffix("/s").map(|number| (number, 60)));
    let per_minute = rate.and_then(|(number, times)| number.parse::<u32>().ok()?.checked_mul(times));
    per_minute.filter(|rate| *rate > 0).ok_or_else(|| "not a rate such as 60/m or 2/s".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_so_many_a_minute_or_a_second() {
        assert_eq!((rate("60/m"), rate("2/s")), (Ok(60), Ok(120)));
        for text in ["", "60", "0/m", "-1/m", "60/h", "1.5/s", "99999999999/m", "4294967295/s", "/m"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
