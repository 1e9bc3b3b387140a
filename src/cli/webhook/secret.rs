//! `comfygate webhook secret`: works on the data folder, whether a gateway runs there or not. Whoever may write the folder is
//! the operator, so no key is asked for.

use crate::api::secret_view;
use crate::cli::data::DataArgs;
use crate::cli::runtime;
use crate::cli::table::Table;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::job::Tenant;
use crate::secret::Secret;
use crate::signing::{Change, Destination, Office, PrivateKey};
use crate::store::{SecretKind, SigningSecret, SqliteStore, open_beside};
use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(crate) enum SecretCommand {
    /// Write out the secret that signs, for the receiver; of a pair its public half.
    Show(ShowArgs),
    /// List all secrets that sign, without what they are.
    List(DataArgs),
    /// Put a new secret in the place of the current one, which goes on signing for a while.
    Rotate(RotateArgs),
    /// Give a host a secret of its own, which signs alone what goes there.
    Set(SetArgs),
    /// Take a host's own secret away: the tenant's signs again.
    Remove(RemoveArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Whose.
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// The one of this host alone.
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<Destination>,
    /// The public key of the pair that signs.
    #[arg(long, conflicts_with = "host")]
    ed25519: bool,
    #[command(flatten)]
    folder: DataArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RotateArgs {
    /// Whose.
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// The one of this host alone.
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<Destination>,
    /// The pair that signs, instead of the secret.
    #[arg(long, conflicts_with = "host")]
    ed25519: bool,
    #[command(flatten)]
    given: GivenArgs,
    /// How long the one before goes on signing; 0s ends it at once.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    keep: Duration,
    #[command(flatten)]
    folder: DataArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    /// Whose webhooks.
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// The host, or one port of it.
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Destination,
    #[command(flatten)]
    given: GivenArgs,
    #[command(flatten)]
    folder: DataArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RemoveArgs {
    /// Whose webhooks.
    #[arg(long, default_value = "default")]
    tenant: Tenant,
    /// The host, or one port of it.
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Destination,
    #[command(flatten)]
    folder: DataArgs,
}

/// A secret from elsewhere, instead of one that is drawn.
#[derive(Args, Debug)]
struct GivenArgs {
    /// This secret instead of a new one. Others on this machine can see it while the command runs.
    #[arg(long, value_name = "WHSEC", env = "WEBHOOK_NEW_SECRET", hide_env_values = true, value_parser = super::unread)]
    secret: Option<Secret>,
    /// A file with the secret, instead of the secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl GivenArgs {
    fn read(self) -> anyhow::Result<Option<Secret>> {
        match self.secret_file {
            None => Ok(self.secret),
            Some(path) => {
                let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                Ok(Some(Secret::new(text.trim())))
            }
        }
    }
}

/// Runs one of the commands.
pub(super) fn run(command: SecretCommand) -> anyhow::Result<ExitCode> {
    let folder = match &command {
        SecretCommand::Show(args) => &args.folder,
        SecretCommand::List(args) => args,
        SecretCommand::Rotate(args) => &args.folder,
        SecretCommand::Set(args) => &args.folder,
        SecretCommand::Remove(args) => &args.folder,
    };
    let is_json = folder.json;
    let data = folder.folder()?;
    let clock = SystemClock::start();
    let store = open_beside(&data)?;
    let (for_office, its_clock) = (Arc::<SqliteStore>::clone(&store), Arc::<SystemClock>::clone(&clock));
    let office = Office::new(for_office, its_clock, |bytes| rand::fill(bytes));
    let mut out = std::io::stdout().lock();
    runtime()?.block_on(async {
        let done = match command {
            SecretCommand::Show(args) => show(&office, &args, clock.wall(), &mut out).await,
            SecretCommand::List(_) => list(&office, is_json, clock.wall(), &mut out).await,
            SecretCommand::Rotate(args) => {
                let kind = kind(args.ed25519);
                let RotateArgs { tenant, host, given, keep, .. } = args;
                let change = given.read().map(|secret| Change { tenant, host, kind, secret, keep });
                match change {
                    Ok(change) => {
                        let new = office.rotate(change).await;
                        new.map_err(Into::into).and_then(|new| tell(&new, is_json, clock.wall(), &mut out))
                    }
                    Err(error) => Err(error),
                }
            }
            SecretCommand::Set(args) => match args.given.read() {
                Ok(secret) => {
                    let new = office.set(&args.tenant, &args.host, secret.as_ref()).await;
                    new.map_err(Into::into).and_then(|new| tell(&new, is_json, clock.wall(), &mut out))
                }
                Err(error) => Err(error),
            },
            SecretCommand::Remove(args) => remove(&office, &args, &mut out).await,
        };
        store.close().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

async fn show(office: &Office, args: &ShowArgs, now: Timestamp, out: &mut impl Write) -> anyhow::Result<()> {
    let row = office.current(&args.tenant, args.host.as_ref(), kind(args.ed25519)).await?;
    if args.folder.json {
        return write_json(&row, now, out);
    }
    Ok(writeln!(out, "{}", shown(&row)?)?)
}

async fn list(office: &Office, is_json: bool, now: Timestamp, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = office.list().await?;
    if is_json {
        let views: Vec<Value> = rows.iter().map(|row| Value::Object(secret_view(row, now))).collect();
        return Ok(writeln!(out, "{:#}", json!({ "secrets": views }))?);
    }
    let mut table = Table::new(["ID", "TENANT", "HOST", "KIND", "AGE", "SIGNS UNTIL"]);
    for row in rows {
        let host = if row.host.is_empty() { "(all)".to_owned() } else { row.host.clone() };
        let age = Duration::from_secs(now.since(row.created_at).as_secs());
        let until = row.expires_at.map_or_else(|| "it is rotated".to_owned(), Timestamp::rfc3339);
        let age = humantime::format_duration(age).to_string();
        table.row([row.id, row.tenant.to_string(), host, row.kind.as_str().to_owned(), age, until]);
    }
    Ok(table.write(out)?)
}

/// Tells of a new secret, what it is too: whoever made it has to give it to the receiver.
fn tell(row: &SigningSecret, is_json: bool, now: Timestamp, out: &mut impl Write) -> anyhow::Result<()> {
    if is_json {
        return write_json(row, now, out);
    }
    let host = if row.host.is_empty() { "(all)" } else { row.host.as_str() };
    let name = if row.kind == SecretKind::Hmac { "secret" } else { "public" };
    for (name, value) in
        [("id", row.id.as_str()), ("tenant", row.tenant.name()), ("host", host), (name, shown(row)?.as_str())]
    {
        writeln!(out, "{name:<9}{value}")?;
    }
    Ok(())
}

async fn remove(office: &Office, args: &RemoveArgs, out: &mut impl Write) -> anyhow::Result<()> {
    office.remove(&args.tenant, &args.host).await?;
    if args.folder.json {
        return Ok(writeln!(out, "{:#}", json!({ "removed": args.host.as_str() }))?);
    }
    Ok(writeln!(out, "what goes to {} is signed with the secret of the tenant {} again", args.host, args.tenant)?)
}

fn write_json(row: &SigningSecret, now: Timestamp, out: &mut impl Write) -> anyhow::Result<()> {
    let mut view = secret_view(row, now);
    if row.kind == SecretKind::Hmac {
        view.insert("secret".into(), json!(row.secret.expose()));
    }
    Ok(writeln!(out, "{:#}", Value::Object(view))?)
}

/// Returns what a receiver gets: the secret, or the public half of a pair.
fn shown(row: &SigningSecret) -> anyhow::Result<String> {
    match row.kind {
        SecretKind::Hmac => Ok(row.secret.expose().to_owned()),
        SecretKind::Ed25519 => Ok(row.secret.expose().parse::<PrivateKey>()?.public().to_string()),
    }
}

fn kind(is_ed25519: bool) -> SecretKind {
    if is_ed25519 { SecretKind::Ed25519 } else { SecretKind::Hmac }
}
