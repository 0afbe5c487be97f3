// Command splitdemo runs every module in a process of its own behind a gateway, on this machine and without Docker, drives
// `app demo` against the gateway, and stops everything. It leaves nothing behind.
//
//	go run ./test/splitdemo --rate 40 --duration 10s
//
// The flags are those of app demo.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"cleave/platform/trust/authority"
	"cleave/test/harness"
)

const patience = time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "splitdemo:", err)
		os.Exit(1)
	}
}

// run is main without the process.
func run(ctx context.Context, args []string) (err error) {
	dir, err := os.MkdirTemp("", "cleave-splitdemo-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	broker, err := server.NewServer(&server.Options{ServerName: "splitdemo", Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, "nats"), NoSigs: true})
	if err != nil {
		return fmt.Errorf("make the NATS server: %w", err)
	}
	broker.Start()
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	if !broker.ReadyForConnections(patience) {
		return errors.New("the NATS server does not get ready")
	}
	binary, err := harness.Build(dir)
	if err != nil {
		return err
	}
	gateway, token, stop, err := start(ctx, binary, dir, broker.ClientURL())
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "three processes and a gateway at", gateway)
	demo := harness.Command(binary, []string{"CLEAVE_DATA_DIR=" + filepath.Join(dir, "demo")}, append([]string{"demo", "--url", gateway, "--first-admin-token", token}, args...)...)
	demo.Stdout, demo.Stderr = os.Stdout, os.Stderr
	if err := demo.Run(); err != nil {
		return fmt.Errorf("app demo: %w", err)
	}
	return nil
}

// start starts the processes and waits until each is ready. stop ends what was started, and must be called in any case.
func start(ctx context.Context, binary, dir, broker string) (gateway, token string, stop func() error, err error) {
	var running []*harness.Process
	stop = func() (err error) {
		for _, p := range running {
			_ = p.Signal(syscall.SIGTERM)
		}
		for _, p := range running {
			if <-p.Exited(); p.Code() != 0 {
				err = errors.Join(err, fmt.Errorf("a process ended with %d:\n%s", p.Code(), p.Log()))
			}
		}
		return err
	}
	ca, err := authority.Open(filepath.Join(dir, "certs"), "cleave.local", time.Now)
	if err != nil {
		return "", "", stop, err
	}
	names := []string{"user", "order", "notification", ""}
	addresses := map[string]string{}
	for _, name := range names {
		if addresses[name], err = freeAddress(ctx); err != nil {
			return "", "", stop, err
		}
	}
	for _, name := range names {
		process, modules := "gateway", []string(nil)
		env := []string{"CLEAVE_HTTP_ADDR=127.0.0.1:0", "CLEAVE_EVENTS_PIPE=" + broker, "CLEAVE_LOG_LEVEL=warn"}
		if name != "" {
			process, modules = name, []string{name}
			env = append(env, "CLEAVE_TOPOLOGY_ADDR="+addresses[name])
		}
		files, err := ca.Issue(process, modules)
		if err != nil {
			return "", "", stop, err
		}
		env = append(env, "CLEAVE_DATA_DIR="+filepath.Join(dir, process), "CLEAVE_TOPOLOGY_TLS_CERT="+files.Cert, "CLEAVE_TOPOLOGY_TLS_KEY="+files.Key, "CLEAVE_TOPOLOGY_TLS_CA="+files.CA)
		args := []string{"serve", "--modules=" + name}
		for other, address := range addresses {
			if other != "" && other != name {
				args = append(args, "--set", "topology.peers."+other+"="+address)
			}
		}
		p, err := harness.Start(harness.Command(binary, env, args...))
		if err != nil {
			return "", "", stop, err
		}
		running = append(running, p)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, p := range running {
		url, first, err := p.Ready(ctx)
		if err != nil {
			return "", "", stop, err
		}
		gateway, token = url, strings.TrimSpace(token+first)
	}
	return gateway, token, stop, nil
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
