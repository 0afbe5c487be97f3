// Package metrics counts what a process does, for Prometheus to read.
//
// Names and labels follow OpenTelemetry's semantic conventions where there is
// one, in the form that they have in Prometheus (http.server.request.duration is
// http_server_request_duration_seconds), and begin with cleave_ otherwise. No
// label takes a value that a client chooses, so that the number of series is
// bounded by the program.
//
// Prometheus' own client stands below: OpenTelemetry's metric SDK with its
// Prometheus exporter, which brings that client along, was measured at 1.9 MB of
// the binary against 0.8 MB.
package metrics

import (
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cleave/platform/fault"
	"cleave/platform/saga"
)

// seconds are the buckets that the semantic conventions advise for durations of requests and calls.
var seconds = []float64{0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// Metrics are the measurements of one process. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.HistogramVec
	calls    *prometheus.HistogramVec
	attempts *prometheus.CounterVec
	sagas    *prometheus.HistogramVec
	answered known[requestKey]
	returned known[callKey] // of calls, without a fault
	// By name: see Meter.
	instruments sync.Map
}

type (
	requestKey struct {
		method, route, operation string
		status                   int
	}
	callKey struct{ caller, callee, method string }
)

// known are histograms that have been found by their labels. To look one up by these each time took 5 % of a call within the process.
type known[K comparable] struct {
	all atomic.Pointer[map[K]prometheus.Observer]
}

// of returns the histogram of key, which find finds the first time.
func (k *known[K]) of(key K, find func(K) prometheus.Observer) prometheus.Observer {
	for {
		old := k.all.Load()
		if old == nil {
			k.all.CompareAndSwap(nil, &map[K]prometheus.Observer{})
			continue
		}
		if h, ok := (*old)[key]; ok {
			return h
		}
		grown := maps.Clone(*old)
		grown[key] = find(key)
		k.all.CompareAndSwap(old, &grown)
	}
}

// New returns metrics of the Go runtime, the process and its version, and of
// what is reported to them.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_server_request_duration_seconds", Help: "Duration of HTTP requests.", Buckets: seconds,
		}, []string{"http_request_method", "http_route", "operation", "http_response_status_code"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "rpc_client_call_duration_seconds", Help: "Duration of calls between modules, by edge and method; error_type is the kind of fault.",
			Buckets: seconds,
		}, []string{"caller", "callee", "rpc_method", "error_type"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cleave_saga_attempts_total", Help: "Attempts of saga steps; kind is do, undo or end, error_type the kind of fault.",
		}, []string{"saga", "kind", "step", "error_type"}),
		sagas: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cleave_saga_duration_seconds", Help: "Time from a saga's start to its end, by outcome.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600},
		}, []string{"saga", "outcome"}),
	}
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cleave_build_info", Help: "Is 1; its label is the version that runs.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, m.requests, m.calls, m.attempts, m.sagas)
	return m
}

// Handler answers with all metrics as text. What cannot be collected is left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// Requested counts an answered HTTP request. Route and operation are "" for a
// path that nothing serves.
func (m *Metrics) Requested(method, route, operation string, status int, took time.Duration) {
	m.answered.of(requestKey{knownMethod(method), route, operation, status}, func(k requestKey) prometheus.Observer {
		return m.requests.WithLabelValues(k.method, k.route, k.operation, strconv.Itoa(k.status))
	}).Observe(took.Seconds())
}

// Called counts a call from one module to another; err is nil when it succeeded.
func (m *Metrics) Called(caller, callee, method string, took time.Duration, err error) {
	if err != nil {
		m.calls.WithLabelValues(caller, callee, method, errorType(err)).Observe(took.Seconds())
		return
	}
	m.returned.of(callKey{caller, callee, method}, func(k callKey) prometheus.Observer {
		return m.calls.WithLabelValues(k.caller, k.callee, k.method, "")
	}).Observe(took.Seconds())
}

// SagaAttempted implements saga.Observer.
func (m *Metrics) SagaAttempted(name, kind, step string, err error) {
	m.attempts.WithLabelValues(name, kind, step, errorType(err)).Inc()
}

// SagaEnded implements saga.Observer.
func (m *Metrics) SagaEnded(name string, outcome saga.State, took time.Duration) {
	m.sagas.WithLabelValues(name, string(outcome)).Observe(took.Seconds())
}

// errorType is the label error.type of the semantic conventions: the kind of fault, "" without one.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	return fault.KindOf(err).String()
}

// knownMethod is method, or what the semantic conventions want in place of one that a client made up.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "_OTHER"
}
