package rest

import (
	"strconv"
	"strings"

	"cleave/platform/fault"
)

// ETag is the strong entity tag of a version (RFC 9110 section 8.8.3), such as "7" in its quotes.
func ETag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// ParseIfMatch returns the version in an If-Match header. An empty header is a fault of kind
// PreconditionRequired (code if_match_missing); anything but one tag that ETag can give is Invalid
// (code if_match_malformed), including "*", lists and weak tags.
func ParseIfMatch(h string) (int64, error) {
	if h == "" {
		return 0, errIfMatchMissing
	}
	digits, ok := strings.CutPrefix(h, `"`)
	if ok {
		digits, ok = strings.CutSuffix(digits, `"`)
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || v < 0 || ETag(v) != h {
		return 0, errIfMatchMalformed
	}
	return v, nil
}

var (
	errIfMatchMissing = fault.New(fault.PreconditionRequired, "if_match_missing", "send the ETag that the change is based on in If-Match").
				With(fault.Field{Path: "If-Match", Code: "required", Message: "is missing"})
	errIfMatchMalformed = fault.New(fault.Invalid, "if_match_malformed", `If-Match must hold one ETag of this API, such as "3"`).
				With(fault.Field{Path: "If-Match", Code: "pattern", Message: `must be one ETag, such as "3"`})
)
