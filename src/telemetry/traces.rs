//! Traces by OTLP over HTTP, for a collector. `cli::serve` starts them where there is an endpoint, `logs` puts their
//! layer beside that of log lines, and `api` gives a request the trace of its caller. Without an endpoint no span
//! is ever made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::{HeaderMap, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator,
    trace::{
        Link, SamplingDecision, SamplingResult, SpanKind, TraceContextExt, TraceId, TraceState,
        TracerProvider,
    },
};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider, ShouldSample},
};
use tokio::{runtime::Handle, task::spawn_blocking, time::timeout};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// The longest wait for the answer of the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for the last spans at the end of the program.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// The path at which a collector takes traces.
const TRACES_PATH: &str = "/v1/traces";

/// The spans of this process on their way to a collector. Up to 2,048 wait for the next export, which comes every
/// five seconds; more are dropped.
pub struct Traces(SdkTracerProvider);

/// Parses the address of a collector, such as `http://127.0.0.1:4318`, and returns that of its traces.
///
/// # Errors
///
/// The sentence that says why it is none.
pub fn otlp_endpoint(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("it is no address: {error}"))?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() || uri.query().is_some() {
        return Err("an endpoint is http://HOST:PORT, without TLS".to_owned());
    }
    let base = text.trim_end_matches('/');
    let base = base.strip_suffix(TRACES_PATH).unwrap_or(base);
    Ok(format!("{base}{TRACES_PATH}"))
}

impl Traces {
    /// Starts exporting spans to an endpoint that [`otlp_endpoint`] has returned. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// The reason why the exporter cannot be made, such as a variable of its own environment that is wrong.
    pub fn export_to(endpoint: &str) -> Result<Traces, String> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new())
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| error.to_string())?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource =
            Resource::builder().with_service_name("lockstep").with_attribute(version).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(OnlyRequests)))
            .with_resource(resource)
            .build();
        Ok(Traces(provider))
    }

    /// The layer that makes spans of OpenTelemetry of those of `tracing`, whatever the filter of the log says.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("lockstep"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| {
                metadata.is_span() && metadata.target().starts_with("lockstep")
            }))
    }

    /// Exports the spans that wait, and returns after a second at most.
    pub async fn finish(self) {
        // The exporter has a thread of its own, which waits for tasks of this runtime.
        let _ = spawn_blocking(move || self.0.shutdown_with_timeout(FINISH_TIMEOUT)).await;
    }
}

/// Samples what begins with a request, and not what the service does by itself, such as storing its statistics.
#[derive(Debug, Clone)]
struct OnlyRequests;

impl ShouldSample for OnlyRequests {
    fn should_sample(
        &self,
        _parent_context: Option<&Context>,
        _trace_id: TraceId,
        _name: &str,
        span_kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let decision = match span_kind {
            SpanKind::Server => SamplingDecision::RecordAndSample,
            _ => SamplingDecision::Drop,
        };
        SamplingResult { decision, attributes: Vec::new(), trace_state: TraceState::default() }
    }
}

/// Makes a span part of the trace that the caller has sent in `traceparent`, if there is one. Does nothing for a span
/// that nobody asked for.
pub fn join_trace(span: &Span, headers: &HeaderMap) {
    if !span.is_disabled() {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // Without a collector there is no layer to set it in.
        let _ = span.set_parent(context);
    }
}

/// The id of the trace that a span belongs to; `None` where nobody asked for traces.
pub fn trace_id_of(span: &Span) -> Option<Arc<str>> {
    if span.is_disabled() {
        return None;
    }
    let trace_id = span.context().span().span_context().trace_id();
    (trace_id != TraceId::INVALID).then(|| trace_id.to_string().into())
}

/// Sends exports over HTTP by the runtime of the service, because the exporter's own thread has none.
#[derive(Debug)]
struct Collector {
    client: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
    /// True while exports fail, so that the log says so once.
    is_failing: Arc<AtomicBool>,
}

impl Collector {
    fn new() -> Collector {
        Collector {
            client: Client::builder(TokioExecutor::new()).build_http(),
            runtime: Handle::current(),
            is_failing: Arc::default(),
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = async move {
            let response = client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            if !head.status.is_success() {
                return Err(HttpError::from(format!("the collector answers {}", head.status)));
            }
            Ok(Response::from_parts(head, body))
        };
        // The timer, too, belongs to the runtime.
        let sent = self.runtime.spawn(async { timeout(EXPORT_TIMEOUT, sending).await }).await;
        let result = match sent {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(HttpError::from("no answer in time")),
            Err(error) => Err(error.into()),
        };
        let fails = result.is_err();
        let failed_before = self.is_failing.swap(fails, Ordering::Relaxed);
        match &result {
            Err(cause) if !failed_before => {
                tracing::warn!(%cause, "traces cannot be exported, and are lost until they can");
            }
            Ok(_) if failed_before => tracing::info!("traces are exported again"),
            _ => {}
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_address_of_a_collector() {
        for (given, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://collector/otlp", "http://collector/otlp/v1/traces"),
            ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces"),
        ] {
            assert_eq!(otlp_endpoint(given).as_deref(), Ok(expected));
        }
        for bad in [
            "",
            "collector:4318",
            "https://collector:4318",
            "/v1/traces",
            "http://",
            "http://c/?x=1",
        ] {
            assert!(otlp_endpoint(bad).is_err(), "{bad}");
        }
    }
}
