package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/resolver"

	"cleave/cmd/app/extended/consul"
	"cleave/cmd/app/extended/etcd"
	"cleave/platform/cli"
	"cleave/platform/event"
	"cleave/platform/event/broker"
	"cleave/platform/event/kafka"
	"cleave/platform/module"
)

// faults is where cmd/app's main, which is main.go here, lets a special build change how modules run. This one has what weighs much
// and few need: it sends events over Kafka and finds peers in Consul and etcd as well.
func faults(stdio cli.IO) cli.IO {
	stdio.Kafka = openKafka
	stdio.Host = func(o *module.Options) {
		o.Resolvers = append(o.Resolvers, consul.Builder{}, etcdBuilder())
	}
	return stdio
}

func openKafka(o broker.Kafka) (event.Pipe, error) {
	p, err := kafka.Open(kafka.Options(o))
	if err != nil {
		return nil, err // p would be a pipe to whoever compares it with nil
	}
	return p, nil
}

// etcdBuilder reads how to reach etcd from the variables of its own command, etcdctl.
func etcdBuilder() resolver.Builder {
	user, password, _ := strings.Cut(os.Getenv("ETCDCTL_USER"), ":")
	cfg := clientv3.Config{Username: user, Password: password}
	if ca := os.Getenv("ETCDCTL_CACERT"); ca != "" {
		t, err := tlsOf(ca, os.Getenv("ETCDCTL_CERT"), os.Getenv("ETCDCTL_KEY"))
		if err != nil {
			fmt.Fprintln(os.Stderr, "app: "+err.Error())
			os.Exit(cli.Usage)
		}
		cfg.TLS = t
	}
	return etcd.Builder{Config: cfg}
}

// tlsOf trusts the authorities in the file ca, and shows a certificate if there is one.
func tlsOf(ca, cert, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("ETCDCTL_CACERT: %w", err)
	}
	t := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ETCDCTL_CACERT: %s holds no certificate", ca)
	}
	if cert == "" {
		return t, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("ETCDCTL_CERT and ETCDCTL_KEY: %w", err)
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}
