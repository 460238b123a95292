//! `witgate verify`: who vouches for a component, check by check; no policy, no record.

mod flags;
mod missed;
mod misuse;
mod predicate_type;
mod trusted;
mod upstream;
mod wanted;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

pub(crate) use self::flags::Args;
use self::flags::TrustFlags;
use self::missed::Subject;
pub(crate) use self::misuse::Misuse;
use self::upstream::Environment;
use self::wanted::Wanted;
use super::files::small;
use super::one_command::OneCommand;
use super::{Global, Output, answer, inspect};
use crate::case::{
    ArtifactFacts, Candidate, CandidateContent, CandidateSource, Candidates, ComponentFacts, Digest, Finding,
    Reference, Timestamp,
};
use crate::config::Config;
use crate::evidence::{self, Collector, Examination, Exhibit, Settings};
use crate::gate;
use crate::outage::{Outage, Peer};

pub(crate) async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let mut config = global.configuration()?;
    let (timeout, output) = (Duration::try_from(args.timeout)?, global.output);
    let Args { component, signer, what, trust, registry, .. } = args;
    // Before anything is read: nobody is asked for a password in vain.
    let wanted = Wanted::of(&signer, what)?;
    let settings = trusted::settings(&config.evidence, &trust, trusted::key(&signer)?)?;
    trusted::warn(&trust);
    let work = async {
        if let Some(file) = inspect::as_file(&component) {
            if let Some(flag) = registry.first() {
                let what = format!("`{flag}` is for a registry, and `{component}` is a file");
                return Err(Misuse::new(what, format!("leave out `{flag}`")).into());
            }
            return of_file(file, &trust, &wanted, &settings, &config).await;
        }
        let reference: Reference = component.parse()?;
        if trust.bundle.is_some() {
            let what = "`--bundle` is for a file: what is attached to a reference is found in its registry";
            return Err(Misuse::new(what, "leave it out, or name a file").into());
        }
        registry.put_over(&mut config.registry, reference.registry(), Environment::of_process()?)?;
        of_reference(&reference, &wanted, &settings, &config).await
    };
    let Ok(looked) = tokio::time::timeout(timeout, Box::pin(work)).await else {
        return Err(late(&component, timeout).into());
    };
    let looked = looked?;
    let verified = missed::count(&looked.examination) > 0 && missed::barred(looked.examination.evidence()).is_empty();
    match output {
        Output::Json => println!("{:#}", looked.to_json(verified, &wanted)),
        Output::Text => print!("{}", looked.to_text()),
    }
    if verified {
        if output == Output::Text {
            println!("verified {}: {wanted}", answer::printable(&looked.name));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let subject = Subject { name: &looked.name, digest: looked.digest.short(), pinned: looked.pinned.clone() };
    eprint!("{}", missed::words(&subject, &wanted, &looked.examination));
    Ok(ExitCode::from(1))
}

/// What was found about one thing.
struct Looked {
    /// `reference` or `file`.
    kind: &'static str,
    name: String,
    digest: Digest,
    pinned: Option<String>,
    examination: Examination,
    /// What was done before anything was checked, and how long it took.
    took: Vec<(&'static str, Duration)>,
}

async fn of_reference(
    reference: &Reference,
    wanted: &Wanted,
    settings: &Settings,
    config: &Config,
) -> anyhow::Result<Looked> {
    let now = Timestamp::now();
    let collector = Collector::open(settings, &config.data_dir, now).await.map_err(trusted::told)?;
    let once = OneCommand::open(&config.registry)?;
    let begin = Instant::now();
    let artifact = once.registry().resolve(reference, now).await?;
    let resolved = begin.elapsed();
    let examination = gate::examine(once.registry(), &collector, &artifact, &[], now).await?;
    let took = vec![("resolved", resolved), ("collected and checked", begin.elapsed().saturating_sub(resolved))];
    let digest = *artifact.digest();
    let pinned = format!("{}/{}@{digest}", reference.registry(), reference.repository());
    let name = reference.to_string();
    Ok(Looked { kind: "reference", name, digest, pinned: Some(pinned), examination, took }.with(wanted))
}

/// The same way as a reference goes: the file is the artifact, its bundle the candidate.
async fn of_file(
    file: &Path,
    trust: &TrustFlags,
    wanted: &Wanted,
    settings: &Settings,
    config: &Config,
) -> anyhow::Result<Looked> {
    let now = Timestamp::now();
    let Some(path) = &trust.bundle else {
        return Err(Misuse::new("a file is verified with its bundle", "add `--bundle FILE`").into());
    };
    let bytes = inspect::read(file)?;
    let bundle = Bytes::from(small(path)?);
    let collector = Collector::open(settings, &config.data_dir, now).await.map_err(trusted::told)?;
    let begin = Instant::now();
    let exhibit = Exhibit::of(bytes.clone()).with_component(Some(bytes.clone()));
    let digest = exhibit.digest();
    let standing = collector.standing();
    let revoked = standing.revoked(&[], &as_artifact(digest, &bytes));
    let source = CandidateSource {
        via: "file".into(),
        name: path.display().to_string(),
        index: None,
        media_type: None,
        digest: None,
    };
    let list = vec![Candidate { source, content: Ok(CandidateContent::Bundle(bundle)) }];
    let candidates = Candidates { looked_in: vec!["file".into()], list };
    let examination = collector.investigate(standing, exhibit, candidates, now).await?.with_revoked(revoked);
    let (name, took) = (file.display().to_string(), vec![("checked", begin.elapsed())]);
    Ok(Looked { kind: "file", name, digest, pinned: None, examination, took }.with(wanted))
}

/// A file as the artifact that it would be: its digest may be revoked as one, and as a component.
fn as_artifact(digest: Digest, bytes: &Bytes) -> ArtifactFacts {
    let (size_bytes, media_type) = (bytes.len() as u64, String::new());
    ArtifactFacts {
        digest,
        indexes: Vec::new(),
        media_type: media_type.clone(),
        size_bytes,
        annotations: BTreeMap::new(),
        config: None,
        component: Some(ComponentFacts { digest, size_bytes, media_type }),
        components: Vec::new(),
        carried: Vec::new(),
        native: None,
        defects: Vec::new(),
    }
}

impl Looked {
    /// The same with one more check of each candidate: whether it is what was asked for.
    fn with(mut self, wanted: &Wanted) -> Self {
        for (finding, examined) in self.examination.candidates_mut() {
            let evidence::Examined { checks, aside } = examined;
            checks.want(|| match finding {
                Finding::Verified(finding) => wanted.check(finding, aside),
                Finding::Rejected(_) => unreachable!("broken invariant: what is rejected failed a check before"),
            });
        }
        self
    }

    fn to_text(&self) -> String {
        let mut text = format!("{} {}\n", answer::printable(&self.name), self.digest);
        let took = self.took.iter().map(|(what, took)| format!("{what} in {:.2} ms", took.as_secs_f64() * 1000.0));
        text.push_str(&format!("  {}\n", took.collect::<Vec<_>>().join(", ")));
        for line in evidence::examined_tree(&self.examination).lines() {
            text.push_str(&format!("  {}\n", answer::printable(line.trim_end())));
        }
        text
    }

    fn to_json(&self, verified: bool, wanted: &Wanted) -> Value {
        let candidates = self.examination.candidates().map(|(finding, examined)| {
            let source = finding.source();
            json!({
                "via": source.via, "name": source.name, "index": source.index,
                "wanted": examined.checks.are_passed(), "checks": examined.checks,
            })
        });
        json!({
            self.kind: self.name,
            "artifact": self.digest,
            "verified": verified,
            "wanted": wanted.to_string(),
            "evidence": self.examination.evidence(),
            "candidates": candidates.collect::<Vec<_>>(),
        })
    }
}

fn late(component: &str, timeout: Duration) -> Outage {
    let peer = match component.parse::<Reference>() {
        Ok(reference) if inspect::as_file(component).is_none() => Peer::Registry(reference.registry().to_owned()),
        _ => Peer::TrustRoot,
    };
    let doing = format!("verifying `{component}` within {timeout:?}");
    Outage::new(peer, doing).with_hint("give it longer with `--timeout`")
}
