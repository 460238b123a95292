//! The block `github` of an identity: what it stands for in Fulcio's certificates.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::text::{expect, is_plain, is_plain_uri};
use crate::policy::LoadError;

/// A workflow of GitHub Actions, by the names its token has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GitHub {
    repository: String,
    workflow: Option<String>,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    #[serde(rename = "signerWorkflow")]
    signer_workflow: Option<String>,
    trigger: Option<String>,
    runner: Option<Runner>,
    environment: Option<String>,
    owner_id: Option<String>,
    repository_id: Option<String>,
}

/// Whose machine ran the workflow.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Runner {
    GithubHosted,
    SelfHosted,
}

/// What a block stands for.
pub(super) struct Meaning {
    /// The subject in the one form that rules read.
    pub san: Value,
    /// The claims that must be there and equal.
    pub claims: Map<String, Value>,
}

impl GitHub {
    /// What the block at `at` of the file `name` stands for.
    ///
    /// The subject is the workflow that signed: one of the repository's own, or exactly `signerWorkflow`. Where the
    /// reusable workflow of another repository signs, the claims say whose sources it worked for.
    pub fn meaning(&self, name: &str, at: &str) -> Result<Meaning, LoadError> {
        self.check(name, at)?;
        let repository = format!("{SITE}{}", self.repository);
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Option<String>| {
            claims.extend(value.map(|value| (name.to_owned(), Value::String(value))));
        };
        claim("source_repository_uri", Some(repository.clone()));
        claim("source_repository_ref", self.git_ref.clone());
        claim("build_trigger", self.trigger.clone());
        claim("runner_environment", self.runner.map(|runner| runner.as_str().to_owned()));
        claim("deployment_environment", self.environment.clone());
        claim("source_repository_owner_identifier", self.owner_id.clone());
        claim("source_repository_identifier", self.repository_id.clone());
        let called = self.workflow.as_ref().zip(self.git_ref.as_ref());
        let called = called.map(|(workflow, git_ref)| format!("{repository}/{workflow}@{git_ref}"));
        let san = match (&self.signer_workflow, &self.workflow, &self.git_ref) {
            (Some(signer), ..) => {
                claim("build_config_uri", called);
                json!({"kind": "uri", "value": format!("{SITE}{signer}")})
            }
            (None, Some(_), Some(_)) => json!({"kind": "uri", "value": called}),
            (None, Some(workflow), None) => {
                json!({"kind": "uri", "regExp": format!("{}.+", quoted(&format!("{repository}/{workflow}@refs/")))})
            }
            (None, None, Some(git_ref)) => {
                let folder = quoted(&format!("{repository}/{WORKFLOWS}"));
                json!({"kind": "uri", "regExp": format!("{folder}[^/@]+{}", quoted(&format!("@{git_ref}")))})
            }
            (None, None, None) => json!({"kind": "uri", "value": format!("{repository}/{WORKFLOWS}*")}),
        };
        Ok(Meaning { san, claims })
    }

    fn check(&self, name: &str, at: &str) -> Result<(), LoadError> {
        let field = |field: &str, text: &Option<String>, is_good: fn(&str) -> bool, wanted: &str| {
            text.iter().try_for_each(|text| expect(is_good(text), name, &format!("{at}.{field}"), text, wanted))
        };
        field("repository", &Some(self.repository.clone()), is_repository, "`OWNER/REPOSITORY`")?;
        field("workflow", &self.workflow, is_workflow, "`.github/workflows/FILE.yml`")?;
        field(
            "ref",
            &self.git_ref,
            is_ref,
            "`refs/heads/BRANCH`, `refs/tags/TAG` or `refs/pull/NUMBER/merge`, in full",
        )?;
        let signer =
            "`OWNER/REPOSITORY/.github/workflows/FILE.yml@REF`, where `REF` begins with `refs/` or is a commit";
        field("signerWorkflow", &self.signer_workflow, is_signer_workflow, signer)?;
        field("trigger", &self.trigger, is_trigger, "the name of an event, such as `push`")?;
        field("environment", &self.environment, is_environment, "the name of an environment")?;
        field("owner_id", &self.owner_id, is_number, "GitHub's number of the owner, as a text")?;
        field("repository_id", &self.repository_id, is_number, "GitHub's number of the repository, as a text")?;
        if let (Some(workflow), Some(_), None) = (&self.workflow, &self.signer_workflow, &self.git_ref) {
            let wanted = "`ref` beside it: where `signerWorkflow` signs, the calling workflow is known by its ref only";
            return expect(false, name, &format!("{at}.workflow"), workflow, wanted);
        }
        Ok(())
    }
}

impl Runner {
    fn as_str(self) -> &'static str {
        match self {
            Self::GithubHosted => "github-hosted",
            Self::SelfHosted => "self-hosted",
        }
    }
}

fn is_repository(text: &str) -> bool {
    let is_part = |part: &str| part != "." && part != ".." && !part.is_empty() && part.bytes().all(is_name_byte);
    text.split_once('/').is_some_and(|(owner, repository)| is_part(owner) && is_part(repository))
}

fn is_workflow(text: &str) -> bool {
    let file = text.strip_prefix(WORKFLOWS).unwrap_or_default();
    let stem = file.strip_suffix(".yml").or_else(|| file.strip_suffix(".yaml")).unwrap_or_default();
    !stem.is_empty() && stem.bytes().all(is_name_byte)
}

fn is_ref(text: &str) -> bool {
    let folders = ["refs/heads/", "refs/tags/", "refs/pull/"];
    let name = folders.iter().find_map(|folder| text.strip_prefix(folder)).unwrap_or_default();
    !name.is_empty() && is_plain(text) && !text.contains("..") && is_plain_uri(&format!("{SITE}x/y@{text}"))
}

fn is_signer_workflow(text: &str) -> bool {
    let is_commit =
        |text: &str| text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_path = |path: &str| {
        let at = path.find(&format!("/{WORKFLOWS}")).and_then(|at| path.split_at_checked(at));
        at.is_some_and(|(repository, file)| is_repository(repository) && is_workflow(file.trim_start_matches('/')))
    };
    text.split_once('@').is_some_and(|(path, at)| is_path(path) && (is_ref(at) || is_commit(at)))
}

fn is_trigger(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

fn is_environment(text: &str) -> bool {
    // GitHub takes up to 255 characters, blanks among them.
    !text.trim().is_empty() && text.trim() == text && text.len() <= 255 && !text.chars().any(char::is_control)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

fn quoted(text: &str) -> String {
    regex::escape(text)
}

/// The issuer of GitHub's own site; an enterprise server has another, and is written in the long form.
pub(super) const ISSUER: &str = "https://token.actions.githubusercontent.com";
const SITE: &str = "https://github.com/";
/// The only folder that GitHub runs workflows from; it takes no folder below.
const WORKFLOWS: &str = ".github/workflows/";
