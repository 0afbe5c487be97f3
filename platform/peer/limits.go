package peer

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Limits bound what a peer in trouble costs those that call it.
type Limits struct {
	// Attempts is how often a call is tried in all before its deadline, when its method is idempotent by contract. 1: no retries.
	Attempts int
	// Concurrency is how many calls of one module to another may be under way; further ones are refused.
	Concurrency int
	// BreakAfter is how many calls in a row must end in a lost connection or a passed deadline before the next ones are refused.
	BreakAfter int
	// BreakFor is how long they are refused before one is let through to try.
	BreakFor time.Duration
}

// DefaultLimits are those of a Peer that is given none.
func DefaultLimits() Limits {
	return Limits{Attempts: 4, Concurrency: 512, BreakAfter: 20, BreakFor: 2 * time.Second}
}

// Between attempts, in the notation of a service config.
const (
	retryFirst = "0.02s"
	retryMax   = "0.5s"
)

// Of the budget that all methods of a peer share: retries stop while half of the tokens are gone. A failed attempt takes one, a success
// gives a tenth back, so with many failures at most one call in ten is repeated.
const (
	retryTokens = 100
	retryRefund = 0.1
)

// serviceConfig is grpc's service config (github.com/grpc/grpc/blob/master/doc/service_config.md) for calls to module: balancing,
// health checks, and retries of the methods that are repeatable.
func serviceConfig(module string, limits Limits, repeatable []map[string]string) (string, error) {
	config := map[string]any{
		"loadBalancingConfig": []any{map[string]any{balancing: map[string]any{}}},
		"healthCheckConfig":   map[string]any{"serviceName": module},
	}
	if len(repeatable) > 0 && limits.Attempts > 1 {
		config["methodConfig"] = []any{map[string]any{
			"name": repeatable,
			"retryPolicy": map[string]any{
				"maxAttempts": limits.Attempts, "initialBackoff": retryFirst, "maxBackoff": retryMax, "backoffMultiplier": 2,
				"retryableStatusCodes": []string{"UNAVAILABLE"},
			},
		}}
		config["retryThrottling"] = map[string]any{"maxTokens": retryTokens, "tokenRatio": retryRefund}
	}
	b, err := json.Marshal(config)
	if err != nil {
		return "", fmt.Errorf("write the service config of module %s: %w", module, err)
	}
	return string(b), nil
}

// idempotent lists the methods of the packages cleave.<module>.v1, v2, … whose contract in files says, with the option idempotency_level, that repeating
// them changes nothing.
func idempotent(module string, files *protoregistry.Files) (names []map[string]string) {
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "cleave."+module+".v") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				o, _ := m.Options().(*descriptorpb.MethodOptions)
				if o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN {
					names = append(names, map[string]string{"service": string(s.FullName()), "method": string(m.Name())})
				}
			}
		}
		return true
	})
	return names
}
