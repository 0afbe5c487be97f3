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
	"slices"
	"strings"
	"time"

	"cleave/platform/traffic"
	"cleave/platform/trust/authority"
)

// processes are the application, in one process or several.
type processes struct {
	all     []*server
	front   *server // that takes the clients' requests
	counted bool    // it is the application, which can be asked for its orders and counts
}

// program is what processes run, and the module whose process clients talk to.
type program struct {
	path  string
	args  []string
	env   []string
	front string
}

// startSplit starts a process of the program for each group of modules.
func startSplit(ctx context.Context, b *bed, prog program, groups ...[]string) (p *processes, err error) {
	p = &processes{counted: prog.args[0] == "serve"}
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
		env := slices.Clone(prog.env)
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
			env = append(env, "CLEAVE_TOPOLOGY_MODULES="+strings.Join(group, ","))
		}
		s, err := launch(ctx, b.TempDir(), env, prog.path, prog.args...)
		if err != nil {
			return p, err
		}
		p.all = append(p.all, s)
		if slices.Contains(group, prog.front) {
			p.front = s
		}
	}
	return p, nil
}

// connected waits until the front has reached all others: those that were started later need a moment.
func (p *processes) connected(ctx context.Context, token string, paths ...string) error {
	for _, path := range paths {
		for attempt := 1; ; attempt++ {
			cl, err := dial(p.front.addr, token)
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
