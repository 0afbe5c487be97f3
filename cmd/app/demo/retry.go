package demo

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

const (
	attempts   = 8
	retryMin   = 100 * time.Millisecond
	retryMax   = 5 * time.Second
	maxProblem = 64 << 10 // bytes of an error answer
)

// retrying sends a request again when its outcome is unknown or it was put off,
// with the same Idempotency-Key, so that nothing happens twice. It implements
// the generated clients' HttpRequestDoer.
type retrying struct{ client *http.Client }

// Do returns the last answer or error after some attempts.
func (r retrying) Do(req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := r.client.Do(req)
		wait, again := putOff(resp, err)
		if !again || attempt == attempts || req.Context().Err() != nil {
			return resp, err
		}
		if resp != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxProblem))
			_ = resp.Body.Close()
		}
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req.Body = body
		}
		backoff := min(retryMin<<(attempt-1), retryMax)
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-time.After(max(wait, backoff/2+rand.N(backoff/2))):
		}
	}
}

// putOff reports whether a later attempt may succeed, and the least time to
// wait before it.
func putOff(resp *http.Response, err error) (wait time.Duration, again bool) {
	if err != nil {
		return 0, true
	}
	switch resp.StatusCode {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return min(time.Duration(seconds)*time.Second, retryMax), true
	case http.StatusConflict:
		return 0, codeOf(resp) == "idempotency_key_in_flight"
	default:
		return 0, false
	}
}

// codeOf reads an error answer's code, and leaves its body to be read again.
func codeOf(resp *http.Response) string {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem)) // what is cut off is no problem, and so has no code
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return problemOf(body).Code
}
