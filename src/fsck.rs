//! Checks the data folder of a gateway that does not run: the database, the outputs, and whether they belong together.
//! Repairs only what is nobody's.

use crate::media::{BlobError, Survey};
use crate::store::{Audit, Flaw, OpenError, audit};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// How many problems of one kind are told one by one to a reader.
const TOLD: usize = 20;

/// How to check.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// Compare the sizes of outputs only, not their contents.
    pub quick: bool,
    /// Remove what is nobody's: left-over outputs and drafts.
    pub repair: bool,
}

/// Why a folder cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Its database cannot be opened: it is in use, of a newer comfygate, or not there.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// Its outputs cannot be read.
    #[error(transparent)]
    Outputs(#[from] BlobError),
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The folder.
    pub folder: PathBuf,
    /// What was counted in the database; none where it could not be read at all.
    pub database: Option<Counted>,
    /// How many outputs lie in the folder, and how many bytes they have.
    pub blobs: (u64, u64),
    /// What is wrong and was not repaired.
    pub flaws: Vec<Flaw>,
    /// What was wrong.
    pub repaired: Vec<Flaw>,
}

/// What a database has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The schema version.
    pub schema: usize,
    /// The jobs.
    pub jobs: u64,
    /// The jobs that have not ended.
    pub live: u64,
    /// The webhooks that have not arrived and are still tried.
    pub pending: u64,
}

/// Checks the data folder `folder`. An error means that it cannot be checked, not that something is wrong.
pub fn check(folder: &Path, options: Options) -> Result<Report, CheckError> {
    let mut report =
        Report { folder: folder.to_owned(), database: None, blobs: (0, 0), flaws: Vec::new(), repaired: Vec::new() };
    match audit(folder) {
        Ok(mut audit) => {
            let Audit { schema, jobs, live, pending, .. } = audit;
            report.database = Some(Counted { schema, jobs, live, pending });
            report.flaws.append(&mut audit.flaws);
            report.compare(&audit, options)?;
        }
        Err(OpenError::Damaged { path, reason }) => report.flaws.push(Flaw {
            code: "database_damaged",
            subject: path.display().to_string(),
            what: reason,
            remedy: "restore the folder from a backup",
        }),
        Err(error) => return Err(error.into()),
    }
    Ok(report)
}

impl Report {
    /// Says whether nothing is wrong any more.
    pub fn is_clean(&self) -> bool {
        self.flaws.is_empty()
    }

    /// Compares the outputs that lie in the folder with those that jobs name.
    fn compare(&mut self, audit: &Audit, options: Options) -> Result<(), CheckError> {
        let survey = Survey::of(&self.folder)?;
        self.blobs = (survey.blobs.len() as u64, survey.blobs.values().sum());
        for (id, named) in &audit.blobs {
            let (code, what) = match survey.blobs.get(id) {
                None => ("blob_missing", "it is not there".to_owned()),
                Some(bytes) if *bytes != named.bytes => {
                    ("blob_size", format!("it has {bytes} bytes instead of {}", named.bytes))
                }
                Some(_) if options.quick => continue,
                Some(_) => match survey.is_sound(id) {
                    Ok(true) => continue,
                    Ok(false) => ("blob_content", "its content is not that of its name".to_owned()),
                    Err(error) => ("blob_unreadable", error.to_string()),
                },
            };
            self.flaws.push(Flaw {
                code,
                subject: format!("{} {id}", if named.is_input { "input" } else { "output" }),
                what: format!("{what}; {} needs it", named.by),
                remedy: if named.is_input {
                    "restore this file of blobs/ from a backup; without it the image cannot be worked on"
                } else {
                    "restore this file of blobs/ from a backup; without it the job's result cannot be sent"
                },
            });
        }
        // Where not all rows could be read, what looks like nobody's may be somebody's.
        if audit.is_complete {
            for (id, bytes) in survey.blobs.iter().filter(|(id, _)| !audit.blobs.contains_key(id)) {
                let flaw = Flaw {
                    code: "orphan",
                    subject: format!("output {id}"),
                    what: format!("nobody names it; it has {bytes} bytes"),
                    remedy: "nothing; the next start of the gateway removes it, and so does --repair",
                };
                self.repaired_or_not(flaw, options, || survey.remove(id))?;
            }
        }
        for path in &survey.drafts {
            let flaw = Flaw {
                code: "draft",
                subject: path.display().to_string(),
                what: "it was being written when the gateway ended".to_owned(),
                remedy: "nothing; the next start of the gateway removes it, and so does --repair",
            };
            self.repaired_or_not(flaw, options, || survey.remove_draft(path))?;
        }
        Ok(())
    }

    fn repaired_or_not(
        &mut self,
        flaw: Flaw,
        options: Options,
        repair: impl FnOnce() -> Result<(), BlobError>,
    ) -> Result<(), CheckError> {
        if options.repair {
            repair()?;
            self.repaired.push(flaw);
        } else {
            self.flaws.push(flaw);
        }
        Ok(())
    }

    /// Writes the report for a reader.
    pub fn text(&self) -> String {
        let mut text = format!("data folder  {}\n", self.folder.display());
        if let Some(Counted { schema, jobs, live, pending }) = self.database {
            let (blobs, bytes) = self.blobs;
            let _ = write!(
                text,
                "schema       version {schema}\njobs         {jobs}, {live} of them not ended\n\
                 webhooks     {pending} not arrived yet\noutputs      {blobs}, {bytes} bytes\n"
            );
        }
        if !self.repaired.is_empty() {
            let _ = writeln!(text, "removed      {} left-over files", self.repaired.len());
        }
        let count = self.flaws.len();
        let _ = match count {
            0 => writeln!(text, "\nno problems"),
            1 => writeln!(text, "\n1 problem"),
            _ => writeln!(text, "\n{count} problems"),
        };
        let mut told = std::collections::BTreeMap::new();
        for flaw in &self.flaws {
            let told = told.entry(flaw.code).or_insert(0);
            *told += 1;
            if *told <= TOLD {
                let Flaw { code, subject, what, remedy } = flaw;
                let _ = writeln!(text, "{code}: {subject}: {what}\n    do: {remedy}");
            }
        }
        for (code, count) in told {
            if count > TOLD {
                let _ = writeln!(text, "{code}: and {} more; --json has them all", count - TOLD);
            }
        }
        text
    }

    /// Writes the report for a program.
    pub fn json(&self) -> Value {
        let database = self.database.map(|Counted { schema, jobs, live, pending }| {
            json!({ "schema": schema, "jobs": jobs, "not_ended": live, "webhooks_pending": pending })
        });
        json!({
            "folder": self.folder.display().to_string(),
            "clean": self.is_clean(),
            "database": database,
            "outputs": { "count": self.blobs.0, "bytes": self.blobs.1 },
            "problems": self.flaws.iter().map(flaw).collect::<Vec<_>>(),
            "repaired": self.repaired.iter().map(flaw).collect::<Vec<_>>(),
        })
    }
}

fn flaw(Flaw { code, subject, what, remedy }: &Flaw) -> Value {
    json!({ "code": code, "subject": subject, "problem": what, "do": remedy })
}
