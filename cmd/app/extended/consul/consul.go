// Package consul finds the replicas of a module in Consul, behind grpc's resolver API.
package consul

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc/resolver"
)

// Scheme is that of targets: consul://AGENT:PORT/SERVICE, and ?tag=TAG or &dc=DATACENTRE when only some instances are wanted. Without an
// agent, as in consul:///SERVICE, it is the one of CONSUL_HTTP_ADDR.
const Scheme = "consul"

const (
	wait       = time.Minute // how long Consul holds a query that has nothing new
	retryFirst = 100 * time.Millisecond
	retryMax   = 2 * time.Second
)

// Builder watches the instances of a service that pass their health checks. Token, TLS and namespace come from Consul's own
// environment variables (CONSUL_HTTP_TOKEN, CONSUL_HTTP_SSL, CONSUL_CACERT, …).
type Builder struct{}

// Scheme implements resolver.Builder.
func (Builder) Scheme() string { return Scheme }

// Build implements resolver.Builder. It fails for a target that names no service.
func (Builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	service := strings.Trim(target.URL.Path, "/")
	if service == "" || strings.Contains(service, "/") {
		return nil, fmt.Errorf("the target %s names no service; want consul://AGENT:PORT/SERVICE", target.URL.Redacted())
	}
	cfg := api.DefaultConfig()
	if target.URL.Host != "" {
		cfg.Address = target.URL.Host
	}
	client, err := api.NewClient(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client of Consul at %s: %w", cfg.Address, err)
	}
	query := target.URL.Query()
	ctx, stop := context.WithCancel(context.Background())
	w := &watcher{health: client.Health(), service: service, tag: query.Get("tag"), datacentre: query.Get("dc"), cc: cc, stop: stop}
	w.done.Go(func() { w.run(ctx) })
	return w, nil
}

// watcher follows one service.
type watcher struct {
	health                   *api.Health
	service, tag, datacentre string
	cc                       resolver.ClientConn
	stop                     context.CancelFunc
	done                     sync.WaitGroup
}

// ResolveNow does nothing: Consul tells of each change at once.
func (w *watcher) ResolveNow(resolver.ResolveNowOptions) {}

func (w *watcher) Close() {
	w.stop()
	w.done.Wait()
}

// run asks again and again with the index of the last answer, which Consul holds until there is something newer
// (developer.hashicorp.com/consul/api-docs/features/blocking).
func (w *watcher) run(ctx context.Context) {
	var index uint64
	pause := retryFirst
	for ctx.Err() == nil {
		options := (&api.QueryOptions{WaitIndex: index, WaitTime: wait, Datacenter: w.datacentre}).WithContext(ctx)
		entries, meta, err := w.health.Service(w.service, w.tag, true, options)
		if err == nil && len(entries) == 0 {
			err = fmt.Errorf("consul knows no instance of %s that passes its checks", w.service)
		} else if err == nil {
			err = w.cc.UpdateState(state(entries))
		}
		if meta != nil {
			if meta.LastIndex < index { // Consul has lost its past
				meta.LastIndex = 0
			}
			index = meta.LastIndex
		}
		if err == nil {
			pause = retryFirst
			continue
		}
		if ctx.Err() != nil || errors.Is(err, context.Canceled) {
			return
		}
		w.cc.ReportError(err)
		if meta != nil && index > 0 {
			continue // the next question waits for a change
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, retryMax)
		}
	}
}

func state(entries []*api.ServiceEntry) resolver.State {
	var s resolver.State
	for _, e := range entries {
		host := e.Service.Address
		if host == "" {
			host = e.Node.Address
		}
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: net.JoinHostPort(host, strconv.Itoa(e.Service.Port))}}})
	}
	return s
}
