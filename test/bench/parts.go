package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"cleave/modules/order"
	"cleave/modules/user"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/module"
	"cleave/platform/rpc"
)

// measureParts measures single parts.
func (o *options) measureParts(ctx context.Context, _ *bed, r *report) error {
	r.section("Parts, on one core")
	call, err := measureCall()
	if err != nil {
		return err
	}
	r.figure("call between modules in one process", "%s", call)
	check, err := measureCheck(ctx)
	if err != nil {
		return err
	}
	r.figure("token verified and permission decided, known token", "%s", check)
	decision, err := measureDecision()
	if err != nil {
		return err
	}
	r.figure("permission decided, of 1,000 policies", "%s", decision)
	return nil
}

func measureDecision() (string, error) {
	const lines = 1000
	var text strings.Builder
	permissions := make([]string, lines)
	for i := range permissions {
		permissions[i] = fmt.Sprintf("many:thing%d:read", i)
		fmt.Fprintf(&text, "p, customer, %s, own\n", permissions[i])
	}
	policy, err := auth.NewPolicy(map[string]string{"many": text.String()})
	if err != nil {
		return "", err
	}
	next, who := 0, auth.Principal{Roles: []string{"customer"}}
	return cost(func() error {
		next = (next + 1) % lines
		if policy.Decide(who, permissions[next]) != auth.Own {
			return errors.New("a customer may not read " + permissions[next])
		}
		return nil
	})
}

// users answers without doing anything.
type users struct {
	userv1.UnimplementedUserServiceServer
}

func (users) CaptureCredit(context.Context, *userv1.CaptureCreditRequest) (*userv1.CaptureCreditResponse, error) {
	return &userv1.CaptureCreditResponse{}, nil
}

func measureCall() (string, error) {
	policy, err := auth.NewPolicy(map[string]string{"user": user.Module.Policy})
	if err != nil {
		return "", err
	}
	channel := rpc.NewInProcess(policy, slog.New(slog.DiscardHandler))
	userv1.RegisterUserServiceServer(channel, users{})
	client := userv1.NewUserServiceClient(rpc.NewEdge("order", "user", rpc.Local{}, channel))
	return cost(func() error {
		_, err := client.CaptureCredit(context.Background(), &userv1.CaptureCreditRequest{ReservationKey: "0190b8f6-9c1e-7000-8000-000000000001"})
		return err
	})
}

type keys map[string]*ecdsa.PublicKey

func (k keys) PublicKeys(context.Context) (map[string]*ecdsa.PublicKey, error) { return k, nil }

func measureCheck(ctx context.Context) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	policy, err := auth.NewPolicy(map[string]string{"order": order.Module.Policy})
	if err != nil {
		return "", err
	}
	const issuer = "http://127.0.0.1:8080"
	signer := auth.NewSigner(func() auth.SigningKey { return auth.SigningKey{ID: "k", Private: key} }, issuer, []string{"order"}, time.Hour, time.Now)
	token, _, err := signer.Sign(auth.Principal{Subject: module.NewID(), Session: module.NewID(), Roles: []string{"customer"}})
	if err != nil {
		return "", err
	}
	verifier := auth.NewVerifier(keys{"k": &key.PublicKey}, issuer, "order", &auth.Revocations{}, time.Now)
	return cost(func() error {
		p, err := verifier.Verify(ctx, token)
		if err == nil && policy.Decide(p, "order:place") != auth.Own {
			err = errors.New("a customer may not place orders")
		}
		return err
	})
}

// cost is the time and the allocations of one call of fn.
func cost(fn func() error) (string, error) {
	var failure error
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := fn(); err != nil {
				failure = err
				return
			}
		}
	})
	return fmt.Sprintf("%s µs, %d allocations", short(float64(result.NsPerOp())/1000), result.AllocsPerOp()), failure
}
