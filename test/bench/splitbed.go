package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cleave/platform/traffic"
	"cleave/platform/trust/authority"
)

// processes are the application, in one process or several.
type processes struct {
	all   []*server
	front *server // that takes the clients' requests
}

// startSplit starts a process for each group of modules, on the cluster and over
// the broker. Clients go to the one that has orders.
func (o *options) startSplit(ctx context.Context, b *bed, c *cluster, nats string, groups ...[]string) (p *processes, err error) {
	p = &processes{}
	defer func() {
		if err != nil {
			p.kill()
		}
	}()
	signer, err := authority.Open(b.TempDir(), "bench.example", time.Now)
	if err != nil {
		return p, err
	}
	addresses := make([]string, len(groups))
	for i := range groups {
		if addresses[i], err = freeAddress(ctx); err != nil {
			return p, err
		}
	}
	for i, group := range groups {
		env := append(c.env(), "CLEAVE_EVENTS_PIPE="+nats)
		args := []string{"serve"}
		if len(groups) > 1 {
			files, err := signer.Issue(strings.Join(group, "-"), group)
			if err != nil {
				return p, err
			}
			env = append(env, "CLEAVE_TOPOLOGY_ADDR="+addresses[i], "CLEAVE_TOPOLOGY_TLS_CERT="+files.Cert,
				"CLEAVE_TOPOLOGY_TLS_KEY="+files.Key, "CLEAVE_TOPOLOGY_TLS_CA="+files.CA)
			for j, other := range groups {
				for _, module := range other {
					if j != i {
						env = append(env, "CLEAVE_TOPOLOGY_PEERS_"+strings.ToUpper(module)+"="+addresses[j])
					}
				}
			}
			args = append(args, "--modules="+strings.Join(group, ","))
		}
		s, err := launch(ctx, b.TempDir(), env, o.app, args...)
		if err != nil {
			return p, err
		}
		p.all = append(p.all, s)
		if len(groups) == 1 || strings.Contains(" "+strings.Join(group, " ")+" ", " order ") {
			p.front = s
		}
	}
	return p, p.connected(ctx, c.shop)
}

// connected waits until the front has reached all others: those that were started later need a moment.
func (p *processes) connected(ctx context.Context, sh *shop) error {
	for _, path := range []string{"/api/v1/me", "/api/v1/orders?limit=1", "/api/v1/notifications?limit=1"} {
		for attempt := 1; ; attempt++ {
			cl, err := dial(p.front.addr, sh.buyers[0].token)
			if err != nil {
				return err
			}
			err = cl.call(http.MethodGet, path, "", nil, nil)
			cl.close()
			if err == nil {
				break
			}
			if attempt == 200 || ctx.Err() != nil {
				return fmt.Errorf("the processes do not reach each other: %w", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (p *processes) stop() error {
	var errs []error
	for _, s := range p.all {
		errs = append(errs, s.stop())
	}
	return errors.Join(errs...)
}

func (p *processes) kill() {
	for _, s := range p.all {
		s.kill()
	}
}

// cpu is the processor time of all of them.
func (p *processes) cpu() (total time.Duration) {
	for _, s := range p.all {
		total += cpu(s.pid())
	}
	return total
}

// counts is what the front has counted.
func (p *processes) counts(sh *shop) (s traffic.Snapshot, err error) {
	c, err := dial(p.front.addr, sh.admin.token)
	if err != nil {
		return s, err
	}
	defer c.close()
	return s, c.call(http.MethodGet, "/api/v1/admin/process/traffic", "", nil, &s)
}

// store writes v as JSON to a new file and returns its path.
func store(b *bed, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	path := filepath.Join(b.TempDir(), "counts.json")
	if err = os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("store the counts: %w", err)
	}
	return path, nil
}
