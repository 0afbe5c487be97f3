package rest

import (
	"bytes"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/gin-gonic/gin"

	"cleave/platform/fault"
)

const (
	maxQueryLen  = 8 << 10  // bytes of a query string
	firstRead    = 16 << 10 // bytes set aside before a body has shown that it is longer
	codeRequired = "required"
	codeType     = "type"
)

// validate checks parameters and body against the document and returns the body as it was sent. The
// handler then finds the defaults in the query, and behind the body the value that was validated.
func (m *mounted) validate(c *gin.Context, op *operation) ([]byte, error) {
	if err := checkParams(c, op); err != nil {
		return nil, err
	}
	// A context does not interrupt a read: a client that sends its body slowly must not hold the connection for ever.
	conn := http.NewResponseController(c.Writer)
	sends := c.Request.ContentLength != 0
	if sends {
		_ = conn.SetReadDeadline(time.Now().Add(m.api.o.RequestTimeout)) // fails without a connection, as in a unit test
	}
	body, err := m.readBody(c.Request, op)
	if sends && err == nil {
		_ = conn.SetReadDeadline(time.Time{})
	}
	if err != nil || len(body) == 0 {
		return nil, err
	}
	value, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	if err := checkBody(op.body, value); err != nil {
		return nil, err
	}
	c.Request.Body = &validatedBody{Reader: bytes.NewReader(body), value: value}
	c.Request.ContentLength = int64(len(body))
	return body, nil
}

// validatedBody offers its value to the generated code, which binds it instead of reading the body a
// second time: what was validated is what the handler gets, down to the case of the names.
type validatedBody struct {
	*bytes.Reader
	value any
}

func (*validatedBody) Close() error { return nil }

// ValidatedValue returns the parsed body with the defaults filled in.
func (b *validatedBody) ValidatedValue() any { return b.value }

// readBody reads a body that the operation has, in a media type that it takes, and none else.
func (m *mounted) readBody(r *http.Request, op *operation) ([]byte, error) {
	limit := m.api.o.MaxBody
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		return nil, bodyMissing(op)
	case op.body == nil && r.ContentLength > 0:
		return nil, errBodyUnwanted
	case r.ContentLength > limit && op.body != nil:
		return nil, tooLarge(limit)
	case op.body != nil:
		if err := checkMediaType(r.Header); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	b.Grow(int(min(max(r.ContentLength, 0), firstRead)) + bytes.MinRead)
	if _, err := b.ReadFrom(r.Body); err != nil {
		var over *http.MaxBytesError
		if errors.As(err, &over) {
			return nil, tooLarge(limit)
		}
		if ctxErr := r.Context().Err(); ctxErr != nil {
			return nil, fault.From(ctxErr)
		}
		return nil, fault.New(fault.Invalid, "body_incomplete", "the body ended before it was whole").Wrap(err)
	}
	switch {
	case b.Len() == 0:
		return nil, bodyMissing(op)
	case op.body == nil:
		return nil, errBodyUnwanted
	}
	return b.Bytes(), nil
}

var errBodyUnwanted = fault.New(fault.Invalid, "body_not_allowed", "this request must not have a body")

func bodyMissing(op *operation) error {
	if !op.bodyRequired {
		return nil
	}
	return fault.New(fault.Invalid, "body_missing", "this request must have a body")
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "body_too_large", "the body must not be longer than %d bytes", limit)
}

// checkMediaType accepts JSON in UTF-8, as it is (RFC 8259 sections 8.1 and 11).
func checkMediaType(h http.Header) error {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return fault.New(fault.Unsupported, "content_encoding_unsupported", "the body must be sent without Content-Encoding")
	}
	value := h.Get("Content-Type")
	if value == jsonType {
		return nil
	}
	mediaType, params, err := mime.ParseMediaType(value)
	charset, given := params["charset"]
	if err != nil || mediaType != jsonType || given && !strings.EqualFold(charset, "utf-8") {
		return fault.New(fault.Unsupported, "media_type_unsupported", "the body must be application/json in UTF-8")
	}
	return nil
}

// checkParams validates path, query and header parameters, and adds the query's defaults.
func checkParams(c *gin.Context, op *operation) error {
	query, err := readQuery(c.Request.URL.RawQuery)
	if err != nil {
		return err
	}
	fields := checkQuery(op, query)
	for _, p := range c.Params {
		if !plainText(p.Value) {
			fields = append(fields, badText(p.Key))
		}
	}
	if len(fields) > 0 {
		return invalid(fault.Invalid, fields)
	}
	var input *openapi3filter.RequestValidationInput // what most operations ask of a path needs none
	for _, p := range op.params {
		if p.uuid && checkUUID(c.Param(p.Name)) == nil {
			continue
		}
		if p.In == openapi3.ParameterInHeader && len(c.Request.Header.Values(p.Name)) > 1 {
			fields = append(fields, repeated(p.Name))
			continue
		}
		if input == nil {
			input = paramInput(c, op, query)
		}
		err := openapi3filter.ValidateParameter(c.Request.Context(), input, p.Parameter)
		if err == nil {
			continue
		}
		if isIfMatch(p) {
			if errors.Is(err, openapi3filter.ErrInvalidRequired) {
				return errIfMatchMissing
			}
			return errIfMatchMalformed
		}
		fields = append(fields, paramFields(p, err)...)
	}
	if len(fields) > 0 {
		return invalid(fault.Invalid, fields)
	}
	addDefaults(c.Request.URL, op, query)
	return nil
}

func paramInput(c *gin.Context, op *operation, query url.Values) *openapi3filter.RequestValidationInput {
	input := &openapi3filter.RequestValidationInput{Request: c.Request, QueryParams: query, Route: op.route, Options: paramOptions}
	if len(c.Params) > 0 {
		input.PathParams = make(map[string]string, len(c.Params))
		for _, p := range c.Params {
			input.PathParams[p.Key] = p.Value
		}
	}
	return input
}

var noQuery = url.Values{} // never written to

func readQuery(raw string) (url.Values, error) {
	if raw == "" {
		return noQuery, nil
	}
	if len(raw) > maxQueryLen {
		return nil, fault.New(fault.Invalid, "query_malformed", "the query must not be longer than %d bytes", maxQueryLen)
	}
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fault.New(fault.Invalid, "query_malformed", "the query is not well-formed").Wrap(err)
	}
	return query, nil
}

// checkQuery refuses what kin-openapi would let pass: parameters that are not described, repeated
// or not plain text, and the spellings of a boolean beyond true and false.
func checkQuery(op *operation, query url.Values) (fields []fault.Field) {
	for name, values := range query {
		q, ok := op.query[name]
		if !ok {
			fields = append(fields, fault.Field{Path: name, Code: "unknown_parameter", Message: "is not a parameter of this operation"})
			continue
		}
		if len(values) > 1 && !q.repeatable {
			fields = append(fields, repeated(name))
			continue
		}
		for _, v := range values {
			if !plainText(v) {
				fields = append(fields, badText(name))
			}
			if q.boolean && v != "true" && v != "false" {
				fields = append(fields, fault.Field{Path: name, Code: codeType, Message: "must be true or false"})
			}
		}
	}
	return fields
}

func repeated(name string) fault.Field {
	return fault.Field{Path: name, Code: "repeated", Message: "must be given once"}
}

func badText(name string) fault.Field {
	return fault.Field{Path: name, Code: "encoding", Message: "must be valid UTF-8 without NUL"}
}

// plainText reports whether s is text that every database stores.
func plainText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func addDefaults(u *url.URL, op *operation, query url.Values) {
	for _, d := range op.defaults {
		if query.Has(d[0]) {
			continue
		}
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += url.QueryEscape(d[0]) + "=" + url.QueryEscape(d[1])
	}
}

// paramFields translates an error of ValidateParameter.
func paramFields(p parameter, err error) []fault.Field {
	var parse *openapi3filter.ParseError
	switch {
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return []fault.Field{{Path: p.Name, Code: codeRequired, Message: "is missing"}}
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return []fault.Field{{Path: p.Name, Code: "empty", Message: "must not be empty"}}
	case errors.As(err, &parse):
		return []fault.Field{{Path: p.Name, Code: codeType, Message: "must be " + typeName(p.Schema.Value)}}
	}
	var fields []fault.Field
	schemaFields(err, &fields)
	for i := range fields {
		fields[i].Path = p.Name
	}
	if len(fields) == 0 {
		fields = append(fields, fault.Field{Path: p.Name, Code: "invalid", Message: "is not as described"})
	}
	return fields
}
