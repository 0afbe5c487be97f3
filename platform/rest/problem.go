package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"cleave/platform/fault"
	"cleave/platform/telemetry"
)

const (
	problemType = "application/problem+json"

	// The limits of the Problem schema in the modules' documents.
	maxDetail      = 4096
	maxField       = 1024
	maxFieldErrors = 100
)

// Problem is an error answer (RFC 9457). Type is "/problems/" and the code: a stable name to compare,
// not an address to fetch.
type Problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	Instance  string       `json:"instance,omitempty"`
	Code      string       `json:"code"`
	RequestID string       `json:"request_id,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
}

// FieldError is what is wrong with one part of a request.
type FieldError struct {
	Field   string `json:"field"` // a JSON pointer into the body, or the name of a parameter or header
	Code    string `json:"code"`
	Message string `json:"message"`
}

type kindAnswer struct {
	status int
	title  string
}

// answers gives each kind its status. Timeout and Canceled are a 503 as well: 504 belongs to
// gateways (RFC 9110 section 15.6.5), and for a client that gave up no status exists.
var answers = [...]kindAnswer{
	fault.Internal:             {http.StatusInternalServerError, "Internal server error"},
	fault.Invalid:              {http.StatusBadRequest, "Invalid request"},
	fault.Unauthenticated:      {http.StatusUnauthorized, "Not authenticated"},
	fault.Forbidden:            {http.StatusForbidden, "Forbidden"},
	fault.NotFound:             {http.StatusNotFound, "Not found"},
	fault.Conflict:             {http.StatusConflict, "Conflict"},
	fault.Stale:                {http.StatusPreconditionFailed, "Precondition failed"},
	fault.TooLarge:             {http.StatusRequestEntityTooLarge, "Content too large"},
	fault.Unsupported:          {http.StatusUnsupportedMediaType, "Unsupported media type"},
	fault.Unprocessable:        {http.StatusUnprocessableEntity, "Unprocessable content"},
	fault.PreconditionRequired: {http.StatusPreconditionRequired, "Precondition required"},
	fault.Exhausted:            {http.StatusTooManyRequests, "Too many requests"},
	fault.Unavailable:          {http.StatusServiceUnavailable, "Service unavailable"},
	fault.Timeout:              {http.StatusServiceUnavailable, "Timed out"},
	fault.Canceled:             {http.StatusServiceUnavailable, "Canceled"},
}

// HandlerError records why a handler failed; the platform answers with the problem. Use it as
// HandlerErrorFunc and ResponseErrorHandlerFunc of a strict server.
func HandlerError(c *gin.Context, err error) {
	if err == nil {
		err = errors.New("a handler failed without an error")
	}
	_ = c.Error(err)
	c.Abort()
}

// RequestError records that a request could not be bound to its Go type, as a fault of kind Invalid
// unless err holds one already. Use it as RequestErrorHandlerFunc of a strict server and as its
// ErrorHandler.
func RequestError(c *gin.Context, err error) {
	var f *fault.Error
	if !errors.As(err, &f) {
		err = fault.New(fault.Invalid, "", "the request is not as the API's description says").Wrap(err)
	}
	HandlerError(c, err)
}

// finish answers with the recorded error, if there is one and nothing was sent yet.
func finish(c *gin.Context) {
	last := c.Errors.Last()
	if last == nil || c.Writer.Written() {
		return
	}
	f := fault.From(last.Err)
	if f.Kind == fault.Internal {
		// What broke because the request's time was up is reported as that.
		if err := c.Request.Context().Err(); err != nil {
			f = fault.From(err).Wrap(last.Err)
			last.Err = f
		}
	}
	writeProblem(c, answers[f.Kind].status, f)
}

func writeProblem(c *gin.Context, status int, f *fault.Error) {
	kind := f.Kind
	if int(kind) >= len(answers) {
		kind = fault.Internal
	}
	p := Problem{
		Title:     answers[kind].title,
		Status:    status,
		Detail:    clean(f.Message, maxDetail),
		Instance:  truncate(c.Request.URL.EscapedPath(), maxDetail),
		Code:      f.Code,
		RequestID: telemetry.RequestID(c.Request.Context()),
	}
	if status == http.StatusMethodNotAllowed {
		p.Title = "Method not allowed"
	}
	if kind == fault.Internal {
		p.Detail, p.Code = "The server failed; its log has the details under the request id.", fault.Internal.String()
	} else {
		for _, field := range f.Fields[:min(len(f.Fields), maxFieldErrors)] {
			p.Errors = append(p.Errors, FieldError{clean(field.Path, maxField), field.Code, clean(field.Message, maxField)})
		}
	}
	p.Type = "/problems/" + p.Code
	h := c.Writer.Header()
	switch status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(f.Code))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if h.Get("Retry-After") == "" {
			h.Set("Retry-After", "1")
		}
	}
	body, err := json.Marshal(p)
	if err != nil { // cannot happen: strings, an int and structs of strings
		c.Status(status)
		return
	}
	h.Set("Content-Type", problemType)
	c.Status(status)
	_, _ = c.Writer.Write(body) // a client that has gone cannot be told
}

// challenge is the WWW-Authenticate header (RFC 6750 section 3): no error code when the request
// brought no token.
func challenge(code string) string {
	switch code {
	case "token_expired":
		return `Bearer error="invalid_token", error_description="the access token has expired"`
	case "token_invalid":
		return `Bearer error="invalid_token"`
	default:
		return "Bearer"
	}
}

// clean makes s fit for a header-safe, printable field of at most limit bytes.
func clean(s string, limit int) string {
	return truncate(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s), limit)
}

func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

func noRoute(c *gin.Context) {
	writeProblem(c, http.StatusNotFound, fault.New(fault.NotFound, "no_such_resource", "there is nothing at this path"))
}

// noMethod leaves the Allow header to gin, which has set it.
func noMethod(c *gin.Context) {
	writeProblem(c, http.StatusMethodNotAllowed, fault.New(fault.Invalid, "method_not_allowed", "%s is not possible here; see the Allow header", c.Request.Method))
}
