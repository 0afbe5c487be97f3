// Package etcd finds the replicas of a module in etcd, behind grpc's resolver API.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.uber.org/zap"
	"google.golang.org/grpc/resolver"
)

// Scheme is that of targets: etcd://HOST:PORT,HOST:PORT/PREFIX. Each key below the prefix is an endpoint as package
// go.etcd.io/etcd/client/v3/naming/endpoints writes it: {"Op":0,"Addr":"10.0.0.7:7443"}.
const Scheme = "etcd"

const (
	connectTimeout = 3 * time.Second
	retryFirst     = 100 * time.Millisecond
	retryMax       = 2 * time.Second
)

// Builder watches the keys below a prefix. etcd's own one (naming/resolver) waits for etcd without a limit when it is made, and stops
// for good when its watch ends.
type Builder struct {
	// Config is how to reach etcd, but for its addresses, which the target has.
	Config clientv3.Config
}

// Scheme implements resolver.Builder.
func (Builder) Scheme() string { return Scheme }

// Build implements resolver.Builder. It fails for a target without a server or a prefix.
func (b Builder) Build(target resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	prefix := strings.Trim(target.URL.Path, "/")
	if prefix == "" || target.URL.Host == "" {
		return nil, fmt.Errorf("the target %s names no server or no key; want etcd://HOST:PORT/PREFIX", target.URL.Redacted())
	}
	cfg := b.Config
	cfg.Endpoints = strings.Split(target.URL.Host, ",")
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = connectTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client of etcd at %s: %w", target.URL.Host, err)
	}
	manager, err := endpoints.NewManager(client, prefix)
	if err != nil {
		_ = client.Close()
		return nil, fmt.Errorf("watch %s in etcd: %w", prefix, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &watcher{client: client, manager: manager, prefix: prefix, cc: cc, stop: stop}
	w.done.Go(func() { w.run(ctx) })
	return w, nil
}

// watcher follows one prefix.
type watcher struct {
	client  *clientv3.Client
	manager endpoints.Manager
	prefix  string
	cc      resolver.ClientConn
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// ResolveNow does nothing: etcd tells of each change at once.
func (w *watcher) ResolveNow(resolver.ResolveNowOptions) {}

func (w *watcher) Close() {
	w.stop()
	w.done.Wait()
	_ = w.client.Close()
}

func (w *watcher) run(ctx context.Context) {
	pause := retryFirst
	for ctx.Err() == nil {
		err := w.watch(ctx, func() { pause = retryFirst })
		if ctx.Err() != nil {
			return
		}
		w.cc.ReportError(fmt.Errorf("watch %s in etcd: %w", w.prefix, err))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, retryMax)
		}
	}
}

// watch tells grpc of the endpoints until the watch ends.
func (w *watcher) watch(ctx context.Context, answered func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limited, done := context.WithTimeout(ctx, connectTimeout)
	known, err := w.manager.List(limited)
	done()
	if err != nil {
		return err
	}
	answered()
	if len(known) == 0 {
		w.cc.ReportError(fmt.Errorf("etcd has no key below %s", w.prefix))
	}
	updates, err := w.manager.NewWatchChannel(ctx)
	if err != nil {
		return err
	}
	addresses := map[string]string{} // by key
	for batch := range updates {
		for _, u := range batch {
			switch u.Op {
			case endpoints.Add:
				addresses[u.Key] = u.Endpoint.Addr
			case endpoints.Delete:
				delete(addresses, u.Key)
			}
		}
		if len(addresses) == 0 {
			w.cc.ReportError(fmt.Errorf("etcd has no key below %s", w.prefix))
		} else if err := w.cc.UpdateState(state(addresses)); err != nil {
			return err
		}
	}
	return errors.New("the watch ended")
}

func state(addresses map[string]string) resolver.State {
	var s resolver.State
	seen := make([]string, 0, len(addresses))
	for _, a := range addresses {
		seen = append(seen, a)
	}
	slices.Sort(seen)
	for _, a := range slices.Compact(seen) {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	return s
}
