package rest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/ulule/limiter/v3"

	"cleave/platform/auth"
	"cleave/platform/fault"
)

// The classes of requests that are limited. An operation names its class with x-rate-limit; every
// other one that may change something is a write.
const (
	LimitLogin    = "login"    // attempts to prove an identity
	LimitRegister = "register" // new accounts
	LimitRecovery = "recovery" // mails that anyone can cause
	LimitWrite    = "write"
)

var limitClasses = []string{LimitLogin, LimitRegister, LimitRecovery, LimitWrite}

// Limit is how many requests of a class pass per minute (OWASP API4:2023); 0 is no limit.
type Limit struct {
	Address  int // from one IPv4 address or IPv6 /64 network
	Identity int // by one user, or for the account that the body names (x-rate-limit-by)
}

const limitPeriod = time.Minute

// rates are the limits of one class, ready to count.
type rates struct {
	class             string
	address, identity *limiter.Limiter
}

// limits counts the requests of one module.
type limits struct {
	store   *limitStore
	classes map[string]*rates
}

func newLimits(configured map[string]Limit, store *limitStore) *limits {
	l := &limits{store: store, classes: map[string]*rates{}}
	for class, limit := range configured {
		if limit != (Limit{}) {
			l.classes[class] = &rates{class: class, address: l.limiter(limit.Address), identity: l.limiter(limit.Identity)}
		}
	}
	return l
}

func (l *limits) limiter(n int) *limiter.Limiter {
	if n == 0 {
		return nil
	}
	return limiter.New(l.store, limiter.Rate{Period: limitPeriod, Limit: int64(n)})
}

// rates returns what limits the operation, or nil.
func (l *limits) rates(op *operation) *rates {
	if l == nil || op.limit == "" {
		return nil
	}
	return l.classes[op.limit]
}

// admitAddress counts the request against its sender's address, before anything is done for it.
func (r *rates) admitAddress(c *gin.Context) error {
	if r == nil || r.address == nil {
		return nil
	}
	return r.admit(c, r.address, "address", network(c.ClientIP()))
}

// admitIdentity counts the request against the user who sent it, or against the account that its
// body names.
func (r *rates) admitIdentity(c *gin.Context, op *operation) error {
	if r == nil || r.identity == nil {
		return nil
	}
	var who string
	if p, ok := auth.From(c.Request.Context()); ok {
		who = p.Subject
	} else if body, ok := c.Request.Body.(*validatedBody); ok && op.limitBy != "" {
		if fields, ok := body.value.(map[string]any); ok {
			who, _ = fields[op.limitBy].(string)
		}
	}
	if who == "" {
		return nil
	}
	return r.admit(c, r.identity, "identity", strings.ToLower(strings.TrimSpace(who)))
}

// admit counts one request. Keys are hashed: they are personal data, and long ones would fill the
// memory.
func (r *rates) admit(c *gin.Context, l *limiter.Limiter, what, who string) error {
	sum := sha256.Sum256([]byte(r.class + "\x00" + what + "\x00" + who))
	state, err := l.Get(c.Request.Context(), base64.RawStdEncoding.EncodeToString(sum[:18]))
	if err != nil {
		return fmt.Errorf("count the request: %w", err)
	}
	left := max(state.Reset-time.Now().Unix(), 1)
	tell(c.Writer.Header(), r.class, what, state, left)
	if !state.Reached {
		return nil
	}
	c.Writer.Header()["Retry-After"] = []string{strconv.FormatInt(left, 10)}
	return fault.New(fault.Exhausted, "rate_limited", "too many requests of this kind; try again in %d s", left)
}

// tell adds the RateLimit headers (draft-ietf-httpapi-ratelimit-headers-10); a request that counts
// twice has two policies.
func tell(h http.Header, class, what string, state limiter.Context, left int64) {
	name := `"` + class + "-" + what + `"`
	h["Ratelimit-Policy"] = append(h["Ratelimit-Policy"], name+";q="+strconv.FormatInt(state.Limit, 10)+";w="+strconv.Itoa(int(limitPeriod/time.Second)))
	h["Ratelimit"] = append(h["Ratelimit"], name+";r="+strconv.FormatInt(state.Remaining, 10)+";t="+strconv.FormatInt(left, 10))
}

// network is the part of an address that its owner cannot change at will: of an IPv6 address the
// first 64 bits (RFC 6177).
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}

// compileLimit reads x-rate-limit and x-rate-limit-by.
func (op *operation) compileLimit() (errs []error) {
	extensions := op.route.Operation.Extensions
	op.limit, _ = extensions["x-rate-limit"].(string)
	op.limitBy, _ = extensions["x-rate-limit-by"].(string)
	switch {
	case op.limit == "" && op.method != http.MethodGet && op.method != http.MethodHead:
		op.limit = LimitWrite
	case op.limit != "" && !slices.Contains(limitClasses, op.limit):
		errs = append(errs, fmt.Errorf("x-rate-limit %q is none of %s", op.limit, strings.Join(limitClasses, ", ")))
	}
	if op.limitBy != "" && (op.body == nil || op.body.Properties[op.limitBy] == nil || !op.body.Properties[op.limitBy].Value.Type.Is("string")) {
		errs = append(errs, fmt.Errorf("x-rate-limit-by %q is not a text in the request body", op.limitBy))
	}
	return errs
}

// ShareLimits lets the replicas of a process count together, through the modules' databases, until
// ctx ends. Between two exchanges each replica knows only its own requests of the last second.
func (a *API) ShareLimits(ctx context.Context) error {
	const every = time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	failing := map[*limitStore]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, s := range a.shared {
			err := s.exchange(ctx)
			if ctx.Err() == nil && (err != nil) != failing[s] {
				failing[s] = err != nil
				if err != nil {
					a.o.Log.WarnContext(ctx, "each replica counts requests for itself", "module", s.db.Module(), "error", err)
				}
			}
		}
	}
}
