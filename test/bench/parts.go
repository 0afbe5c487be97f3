package main

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"testing"
)

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
