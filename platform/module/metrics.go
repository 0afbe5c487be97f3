package module

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const metricsPath = "/metrics"

// publicMetrics is what the API serves at /metrics: nothing when there is a listener for that.
func (h *Host) publicMetrics() http.Handler {
	if h.cfg.Metrics.Addr != "" {
		return nil
	}
	return h.metrics.Handler()
}

// listenForScrapes serves the metrics on metrics.addr, if that is set: from the start, so that a process that is slow to
// start can be seen, and to the end of draining.
func (h *Host) listenForScrapes(ctx context.Context) error {
	if h.cfg.Metrics.Addr == "" {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", h.cfg.Metrics.Addr)
	if err != nil {
		return fmt.Errorf("listen on metrics.addr %s: %w", h.cfg.Metrics.Addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+metricsPath, h.metrics.Handler())
	h.scrapes = &http.Server{Handler: mux, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	h.addLine("metrics", "http://"+listener.Addr().String()+metricsPath)
	server := h.scrapes
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			h.fail(fmt.Errorf("serve metrics: %w", err))
		}
	}()
	return nil
}
