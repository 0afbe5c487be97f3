package module

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"cleave/platform/front"
	"cleave/platform/ops"
	"cleave/platform/rest"
	"cleave/platform/rpc"
)

const (
	maxComparing  = 8               // requests that are asked a second time at once; further ones are not compared
	compareWithin = 5 * time.Second // for each of them
)

// comparison asks what clients read of a module in a second place.
type comparison struct {
	reads *http.ServeMux // finds the requests that are such
	first func() http.Handler
	other http.RoundTripper
	slots *semaphore.Weighted
	wg    sync.WaitGroup

	mu     sync.Mutex
	ended  bool
	result ops.Comparison
}

// Compare asks what only reads of a module in a second place for some time, Here or at an address, and compares the answers. What
// differs is asked in both places once more, for a change may have come in between.
func (h *Host) Compare(ctx context.Context, name, with string, d time.Duration) (ops.Comparison, error) {
	end, err := h.moves()
	if err != nil {
		return ops.Comparison{}, err
	}
	defer end()
	spec, err := h.spec(name)
	if err != nil {
		return ops.Comparison{}, err
	}
	if with != Here {
		if err := h.reach(ctx, name, with); err != nil {
			return ops.Comparison{}, err
		}
	}
	c, err := h.newComparison(spec, with)
	if err != nil {
		return ops.Comparison{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	h.comparing.Store(c)
	var wg sync.WaitGroup
	var calls []rpc.Comparison
	var errs []error
	var mu sync.Mutex
	for _, r := range h.modules() {
		for _, e := range r.edges {
			if e.to != name {
				continue
			}
			wg.Go(func() {
				identity, conn, _, err := h.target(e.from, name, with)
				var found rpc.Comparison
				if err == nil {
					found, err = e.Edge.Compare(ctx, identity, conn)
				}
				mu.Lock()
				defer mu.Unlock()
				calls, errs = append(calls, found), append(errs, err)
			})
		}
	}
	<-ctx.Done()
	h.comparing.Store(nil)
	wg.Wait()
	return c.end(calls), errors.Join(errs...)
}

func (h *Host) newComparison(s Spec, with string) (*comparison, error) {
	c := &comparison{
		reads: http.NewServeMux(), slots: semaphore.NewWeighted(maxComparing),
		first: func() http.Handler { return h.door.Load().handler },
	}
	paths, err := rest.Reads(s.OpenAPI)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		c.reads.Handle("GET "+p, http.NotFoundHandler())
	}
	if with != Here {
		p, err := h.links.peer(s.Name, with)
		if err != nil {
			return nil, err
		}
		c.other = front.NewTransport(p)
		return c, nil
	}
	d, err := h.newDoor(func(name string) string {
		if name == s.Name {
			return Here
		}
		return h.requestsOf(name)
	})
	if err != nil {
		return nil, err
	}
	c.other = handlerTransport{d.handler}
	return c, nil
}

// end returns the result, with that of the calls, once nothing is being compared any more.
func (c *comparison) end(calls []rpc.Comparison) ops.Comparison {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.wg.Wait()
	for _, found := range calls {
		c.result.Compared += found.Compared
		c.result.Different += found.Different
		if found.Example != "" {
			c.result.Example = &found.Example
		}
	}
	return c.result
}

// serve answers a request, and compares the answer beside the client if it is a read of the module.
func (c *comparison) serve(handler http.Handler, w http.ResponseWriter, r *http.Request) {
	if _, pattern := c.reads.Handler(r); r.Method != http.MethodGet || pattern == "" || !c.slots.TryAcquire(1) {
		handler.ServeHTTP(w, r)
		return
	}
	// The request is another one's when it has been answered.
	again := r.Clone(context.WithoutCancel(r.Context()))
	t := &tee{ResponseWriter: w, answer: answer{status: http.StatusOK}}
	handler.ServeHTTP(t, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		c.slots.Release(1)
		return
	}
	c.wg.Go(func() {
		defer c.slots.Release(1)
		same, ok := c.same(again, t.answer)
		if !ok {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.result.Compared++
		if !same {
			c.result.Different++
			example := again.Method + " " + again.URL.EscapedPath()
			c.result.Example = &example
		}
	})
}

// same reports whether the other place answers alike; ok is false when the first one has not answered.
func (c *comparison) same(r *http.Request, seen answer) (same, ok bool) {
	if seen.status >= http.StatusInternalServerError {
		return false, false
	}
	if seen.equal(ask(c.other, r)) {
		return true, true
	}
	seen = ask(handlerTransport{c.first()}, r)
	if seen.status >= http.StatusInternalServerError {
		return false, false
	}
	return seen.equal(ask(c.other, r)), true
}

// answer is what is compared: a problem has the id of its request, and so only its status is.
type answer struct {
	status int
	body   bytes.Buffer
}

func (a *answer) equal(b answer) bool {
	return a.status == b.status && (a.status >= http.StatusBadRequest || bytes.Equal(a.body.Bytes(), b.body.Bytes()))
}

func ask(of http.RoundTripper, r *http.Request) (a answer) {
	ctx, cancel := context.WithTimeout(r.Context(), compareWithin)
	defer cancel()
	r = r.Clone(ctx)
	r.Body = http.NoBody
	resp, err := of.RoundTrip(r)
	if err != nil {
		return answer{status: http.StatusServiceUnavailable}
	}
	defer resp.Body.Close()
	a.status = resp.StatusCode
	if _, err := io.Copy(&a.body, resp.Body); err != nil {
		a.status = http.StatusServiceUnavailable
	}
	return a
}

// tee keeps an answer that it passes on.
type tee struct {
	http.ResponseWriter
	answer
}

func (t *tee) WriteHeader(code int) {
	t.status = code
	t.ResponseWriter.WriteHeader(code)
}

func (t *tee) Write(p []byte) (int, error) {
	t.body.Write(p)
	return t.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// handlerTransport asks a handler of this process.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t := &tee{ResponseWriter: discard{}, answer: answer{status: http.StatusOK}}
	h.ServeHTTP(t, r)
	return &http.Response{StatusCode: t.status, Body: io.NopCloser(&t.body)}, nil
}

// discard is an answer to nobody.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
