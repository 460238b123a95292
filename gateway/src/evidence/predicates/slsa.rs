//! SLSA provenance: who built what from where (slsa.dev `provenance/v0.2`, `provenance/v1`).

use std::collections::BTreeMap;

use super::super::limits::DEPENDENCIES_MAX;
use super::super::rejection::Rejection;
use super::shape::Fields;
use crate::case::attested::{Provenance, ProvenanceVersion, Resource, Source, Workflow};

/// Reads a predicate of `https://slsa.dev/provenance/v0.2`.
pub(super) fn v02(predicate: &serde_json::Value) -> Result<Provenance, Rejection> {
    let provenance = Fields::of(predicate, "the provenance")?;
    let builder = provenance.object("builder", "the builder")?;
    let metadata = provenance.optional_object("metadata", "the metadata")?;
    let time = |field| metadata.map_or(Ok(None), |metadata| metadata.optional_time(field));
    let invocation_id = match metadata {
        // The specification and the library that most builders use spell it in two ways.
        Some(metadata) => match metadata.optional_text("buildInvocationId")? {
            Some(id) => Some(id),
            None => metadata.optional_text("buildInvocationID")?,
        },
        None => None,
    };
    Ok(Provenance {
        version: ProvenanceVersion::V02,
        builder_id: builder.text("id")?.to_owned(),
        build_type: provenance.text("buildType")?.to_owned(),
        source: config_source(provenance)?,
        workflow: None,
        dependencies: resources(provenance, "materials")?,
        invocation_id: invocation_id.map(str::to_owned),
        started_at: time("buildStartedOn")?,
        finished_at: time("buildFinishedOn")?,
    })
}

/// Reads a predicate of `https://slsa.dev/provenance/v1`.
pub(super) fn v1(predicate: &serde_json::Value) -> Result<Provenance, Rejection> {
    let provenance = Fields::of(predicate, "the provenance")?;
    let build = provenance.object("buildDefinition", "the build definition")?;
    let run = provenance.object("runDetails", "the run details")?;
    let builder = run.object("builder", "the builder")?;
    let metadata = run.optional_object("metadata", "the metadata")?;
    let time = |field| metadata.map_or(Ok(None), |metadata| metadata.optional_time(field));
    let parameters = build.object("externalParameters", "the external parameters")?;
    let dependencies = resources(build, "resolvedDependencies")?;
    let workflow = workflow(parameters)?;
    Ok(Provenance {
        version: ProvenanceVersion::V1,
        builder_id: builder.text("id")?.to_owned(),
        build_type: build.text("buildType")?.to_owned(),
        source: external_source(parameters, workflow.as_ref(), &dependencies)?,
        workflow,
        dependencies,
        invocation_id: metadata.map_or(Ok(None), |metadata| metadata.optional_text("invocationId"))?.map(str::to_owned),
        started_at: time("startedOn")?,
        finished_at: time("finishedOn")?,
    })
}

fn resources(fields: Fields<'_>, field: &str) -> Result<Vec<Resource>, Rejection> {
    let resource = |resource: Fields<'_>| {
        Ok(Resource { uri: resource.optional_text("uri")?.map(str::to_owned), digests: resource.digests("digest")? })
    };
    fields.objects(field, "a dependency", DEPENDENCIES_MAX)?.into_iter().map(resource).collect()
}

/// The source of v0.2: `invocation.configSource`, with what GitHub's environment says about its ref.
fn config_source(provenance: Fields<'_>) -> Result<Option<Source>, Rejection> {
    let Some(invocation) = provenance.optional_object("invocation", "the invocation")? else { return Ok(None) };
    let Some(config) = invocation.optional_object("configSource", "the config source")? else { return Ok(None) };
    let Some(uri) = config.optional_text("uri")? else { return Ok(None) };
    let digests = config.digests("digest")?;
    let (uri, named) = repository_and_ref(uri);
    let environment = invocation.optional_object("environment", "the environment")?;
    let github = match environment {
        Some(environment) => environment.optional_text("github_ref")?,
        None => None,
    };
    // Two refs that disagree are none: a rule that asks for one is not satisfied.
    let reference = match (named, github) {
        (Some(named), Some(github)) if named != github => None,
        (named, github) => named.or(github),
    };
    let mut source = source(uri, reference, digests);
    if source.tag.is_some()
        && let Some(environment) = environment
        && let Some(event) = environment.optional_object("github_event_payload", "the event")?
    {
        let base = event.optional_text("base_ref")?;
        source.branch = base.and_then(|base| base.strip_prefix("refs/heads/")).map(str::to_owned);
    }
    Ok(Some(source))
}

/// The workflow of GitHub's build types of v1.
fn workflow(parameters: Fields<'_>) -> Result<Option<Workflow>, Rejection> {
    let is_object = parameters.is_object("workflow");
    let Some(workflow) = is_object.then(|| parameters.object("workflow", "the workflow")).transpose()? else {
        return Ok(None);
    };
    let text = |field| workflow.text(field).map(str::to_owned);
    Ok(Some(Workflow { repository: text("repository")?, reference: text("ref")?, path: text("path")? }))
}

/// The source of v1, in the three places where builders say it; two that disagree are none.
fn external_source(
    parameters: Fields<'_>,
    workflow: Option<&Workflow>,
    dependencies: &[Resource],
) -> Result<Option<Source>, Rejection> {
    let mut found = Vec::new();
    if let Some(workflow) = workflow {
        let (uri, named) = repository_and_ref(&workflow.repository);
        let reference = named.is_none().then_some(workflow.reference.as_str());
        found.push(source(uri, reference, BTreeMap::new()));
    }
    for field in ["source", "configSource"] {
        if parameters.is_object(field) {
            let place = parameters.object(field, "the source")?;
            if let Some(uri) = place.optional_text("uri")? {
                let digests = place.digests("digest")?;
                let (uri, reference) = repository_and_ref(uri);
                found.push(source(uri, reference, digests));
            }
        } else if parameters.is_text(field) {
            let (uri, reference) = repository_and_ref(parameters.text(field)?);
            found.push(source(uri, reference, BTreeMap::new()));
        }
    }
    let mut found = found.into_iter();
    let Some(mut first) = found.next() else { return Ok(None) };
    if found.any(|other| (&other.uri, &other.branch, &other.tag) != (&first.uri, &first.branch, &first.tag)) {
        return Ok(None);
    }
    if first.digests.is_empty() {
        let of_source = |resource: &&Resource| {
            resource.uri.as_deref().is_some_and(|uri| {
                let (uri, reference) = repository_and_ref(uri);
                uri == first.uri && reference.is_none_or(|reference| refs(&first).contains(&reference.to_owned()))
            })
        };
        let mut candidates = dependencies.iter().filter(of_source);
        if let (Some(one), None) = (candidates.next(), candidates.next()) {
            first.digests = one.digests.clone();
        }
    }
    Ok(Some(first))
}

fn refs(source: &Source) -> Vec<String> {
    let branch = source.branch.iter().map(|branch| format!("refs/heads/{branch}"));
    branch.chain(source.tag.iter().map(|tag| format!("refs/tags/{tag}"))).collect()
}

/// `git+https://github.com/acme/cart@refs/heads/main` is `https://github.com/acme/cart` at `refs/heads/main`.
fn repository_and_ref(uri: &str) -> (&str, Option<&str>) {
    let uri = uri.strip_prefix("git+").unwrap_or(uri);
    match uri.rsplit_once("@refs/") {
        Some((repository, reference)) => {
            let start = uri.len() - reference.len() - "refs/".len();
            (repository, uri.get(start..))
        }
        None => (uri, None),
    }
}

fn source(uri: &str, reference: Option<&str>, digests: BTreeMap<String, String>) -> Source {
    let named = |kind: &str| {
        let name = reference?.strip_prefix(kind)?;
        (!name.is_empty()).then(|| name.to_owned())
    };
    Source { uri: uri.to_owned(), digests, branch: named("refs/heads/"), tag: named("refs/tags/") }
}
