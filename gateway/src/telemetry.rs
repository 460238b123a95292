//! What operators see: log lines on stderr, Prometheus metrics, spans over OTLP when configured.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// The table `[telemetry]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A filter as `tracing` reads it: `info`, `witgate=debug,warn`.
    pub log: String,
    /// How lines look.
    pub log_format: LogFormat,
    /// Where spans go: the base URL of an OTLP/HTTP collector, such as `http://127.0.0.1:4318`. Absent: nowhere.
    pub otlp_endpoint: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { log: "info".into(), log_format: LogFormat::Text, otlp_endpoint: None }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Seconds at which durations are counted: design section 13 asks for 150 µs warm, and 25 s is the cold deadline.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];

/// Keeps telemetry alive; dropping it flushes the spans.
pub struct Telemetry {
    metrics: PrometheusHandle,
    #[cfg(feature = "otlp")]
    spans: Option<opentelemetry_sdk::trace::SdkTracerProvider>,
}

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter does not parse.
    #[error("`telemetry.log` is no filter: `{text}`")]
    Filter {
        /// The filter as given.
        text: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// OTLP cannot be set up.
    #[error("cannot export spans to `{endpoint}`")]
    Otlp {
        /// The collector's URL.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Metrics cannot be set up.
    #[error("cannot set up metrics")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

impl Telemetry {
    /// Starts log lines, metrics and spans for the whole process; once.
    ///
    /// # Errors
    /// Faults of the settings.
    pub fn start(settings: &Settings) -> Result<Self, StartError> {
        let filter = EnvFilter::try_new(&settings.log)
            .map_err(|source| StartError::Filter { text: settings.log.clone(), source })?;
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match settings.log_format {
            LogFormat::Text => lines.with_ansi(false).with_filter(filter).boxed(),
            LogFormat::Json => lines.json().with_filter(filter).boxed(),
        };
        let layers = tracing_subscriber::registry().with(lines);
        #[cfg(feature = "otlp")]
        let spans = match &settings.otlp_endpoint {
            Some(endpoint) => Some(exporter(endpoint)?),
            None => None,
        };
        #[cfg(feature = "otlp")]
        let layers = layers.with(spans.as_ref().map(|provider| {
            use opentelemetry::trace::TracerProvider as _;
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer("witgate"))
                .with_filter(EnvFilter::new("witgate=info"))
        }));
        // A second start in one process (tests) keeps the first subscriber.
        let _ = layers.try_init();
        Ok(Self {
            metrics: metrics()?,
            #[cfg(feature = "otlp")]
            spans,
        })
    }

    /// The metrics as Prometheus text.
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }

    /// A handle that renders the metrics.
    pub fn metrics_handle(&self) -> PrometheusHandle {
        self.metrics.clone()
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = self.spans.take()
            && let Err(error) = spans.shutdown()
        {
            tracing::warn!(error = %error, "the last spans were not exported");
        }
    }
}

/// The process's one recorder.
fn metrics() -> Result<PrometheusHandle, StartError> {
    static INSTALLED: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
    if let Some(handle) = INSTALLED.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
        .install_recorder();
    let handle = match handle {
        Ok(handle) => handle,
        Err(error) => return INSTALLED.get().cloned().ok_or(StartError::Metrics(error)),
    };
    metrics::describe_counter!("witgate_admissions_total", "Admission requests by verdict: admit, refuse, none.");
    metrics::describe_histogram!("witgate_admission_seconds", "Time from request to answer, by verdict.");
    metrics::describe_counter!("witgate_outages_total", "Requests without an answer, by the peer that failed.");
    metrics::describe_counter!("witgate_refusal_reasons_total", "Reasons of refusals, by code.");
    metrics::describe_counter!("witgate_component_bytes_total", "Component bytes handed over.");
    metrics::describe_counter!("witgate_store_reads_total", "Cached blobs read, from memory or from disk.");
    metrics::describe_counter!(
        "witgate_store_altered_total",
        "Cached blobs whose bytes were altered on disk, set aside."
    );
    metrics::describe_counter!(
        "witgate_store_write_errors_total",
        "Blobs that were served from memory and could not be written to disk."
    );
    metrics::describe_counter!("witgate_store_scrubbed_bytes_total", "Cached bytes hashed again in the background.");
    metrics::describe_gauge!("witgate_store_bytes", "Cached bytes, in memory and on disk.");
    metrics::describe_counter!(
        "witgate_evidence_refresh_errors_total",
        "Looks at a trust root or the revocation list that brought nothing usable, by name."
    );
    metrics::describe_gauge!("witgate_trust_root_age_seconds", "Time since a trust root was confirmed, by name.");
    metrics::describe_gauge!("witgate_revocation_list_age_seconds", "Time since the revocation list was issued.");
    Ok(INSTALLED.get_or_init(|| handle).clone())
}

/// Sends spans from the service's runtime: the exporter's own thread has none, and a reqwest client needs one.
#[cfg(feature = "otlp")]
#[derive(Debug)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
}

#[cfg(feature = "otlp")]
#[async_trait::async_trait]
impl opentelemetry_http::HttpClient for OnRuntime {
    async fn send_bytes(
        &self,
        request: http::Request<bytes::Bytes>,
    ) -> Result<http::Response<bytes::Bytes>, opentelemetry_http::HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let mut response = client.execute(request.try_into()?).await?;
            let mut answer = http::Response::new(bytes::Bytes::new());
            *answer.status_mut() = response.status();
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await? {
                if body.len() + chunk.len() > OTLP_ANSWER_MAX_BYTES {
                    return Err(format!("the collector's answer is larger than {OTLP_ANSWER_MAX_BYTES} bytes").into());
                }
                body.extend_from_slice(&chunk);
            }
            *answer.body_mut() = body.into();
            Ok(answer)
        });
        sending.await?
    }
}

/// The largest answer of a collector that is read, in bytes: it says which spans it did not take.
#[cfg(feature = "otlp")]
const OTLP_ANSWER_MAX_BYTES: usize = 64 << 10;
/// How long one batch of spans may take.
#[cfg(feature = "otlp")]
const OTLP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(feature = "otlp")]
fn exporter(endpoint: &str) -> Result<opentelemetry_sdk::trace::SdkTracerProvider, StartError> {
    use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| StartError::Otlp { endpoint: endpoint.to_owned(), source };
    let client = OnRuntime {
        client: reqwest::Client::builder().timeout(OTLP_TIMEOUT).build().map_err(|error| failed(error.into()))?,
        runtime: tokio::runtime::Handle::try_current().map_err(|error| failed(error.into()))?,
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(OTLP_TIMEOUT)
        .build()
        .map_err(|source| failed(source.into()))?;
    let resource = opentelemetry_sdk::Resource::builder().with_service_name("witgate").build();
    Ok(opentelemetry_sdk::trace::SdkTracerProvider::builder()
        .with_resource(resource)
        .with_batch_exporter(exporter)
        .build())
}
