package main

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"log/slog"
	"testing"

	"cleave/modules/user"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/auth"
	"cleave/platform/rpc"
)

// measureParts measures single parts.
func (o *options) measureParts(_ context.Context, _ *bed, r *report) error {
	r.section("Parts, on one core")
	call, err := measureCall()
	if err != nil {
		return err
	}
	r.figure("call between modules in one process", "%s", call)
	return nil
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
