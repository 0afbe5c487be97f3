package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"

	"cleave/platform/fault"
)

// maxExact is the greatest integer that a float64, in which kin-openapi compares, holds exactly along
// with all smaller ones.
const maxExact = 1<<53 - 1

type formatFunc func(string) error

func (f formatFunc) Validate(s string) error { return f(s) }

// formats are the string formats that are checked besides kin-openapi's own date, date-time and byte.
var formats = openapi3.WithStringFormatValidators(map[string]openapi3.StringFormatValidator{
	"uuid": formatFunc(checkUUID),
})

func checkUUID(s string) error {
	if len(s) != uuidLen {
		return fmt.Errorf("not %d characters", uuidLen)
	}
	return uuid.Validate(s)
}

const uuidLen = 36

// isUUID reports whether all strings that checkUUID accepts, and no others, are as a schema describes.
func isUUID(s *openapi3.Schema) bool {
	exact := &openapi3.Schema{Type: &openapi3.Types{openapi3.TypeString}, Format: "uuid", MinLength: uuidLen, MaxLength: s.MaxLength}
	described := *s
	described.Title, described.Description, described.Example, described.Extensions = "", "", nil, nil
	return s.MaxLength != nil && *s.MaxLength == uuidLen && reflect.DeepEqual(exact, &described)
}

var (
	bodyOptions = []openapi3.SchemaValidationOption{
		openapi3.VisitAsRequest(), openapi3.MultiErrors(), openapi3.DefaultsSet(func() {}), formats,
	}
	paramOptions = &openapi3filter.Options{
		SkipSettingDefaults: true, MultiError: true, SchemaValidationOptions: []openapi3.SchemaValidationOption{formats},
	}
)

// checkBody validates a parsed body and fills in its defaults. A fault of kind Invalid means that it
// is not of the described form, one of kind Unprocessable that a value in it is out of bounds.
func checkBody(schema *openapi3.Schema, value any) error {
	var s shape
	s.walk(schema, value)
	if len(s.fields) == 0 {
		err := schema.VisitJSON(value, bodyOptions...)
		if err == nil {
			return nil
		}
		schemaFields(err, &s.fields)
		if len(s.fields) == 0 {
			return fault.New(fault.Invalid, "", "the body is not as described").Wrap(err)
		}
	}
	kind := fault.Unprocessable
	if slices.ContainsFunc(s.fields, func(f fault.Field) bool { return formCodes[f.Code] }) {
		kind = fault.Invalid
	}
	return invalid(kind, s.fields)
}

// formCodes are the codes of fields that are not of the described form.
var formCodes = map[string]bool{codeType: true, codeRequired: true, "unknown_field": true, "read_only": true, "no_match": true}

func invalid(kind fault.Kind, fields []fault.Field) error {
	slices.SortStableFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	if len(fields) == 1 {
		return fault.New(kind, "", "%s %s", fields[0].Path, fields[0].Message).With(fields...)
	}
	return fault.New(kind, "", "the request has %d faults, which errors lists", len(fields)).With(fields...)
}

// schemaFields collects the fields in an error of kin-openapi. Its messages hold the value and the
// schema; ours say what is allowed and nothing about what was sent.
func schemaFields(err error, fields *[]fault.Field) {
	switch e := err.(type) { //nolint:errorlint // each level of the tree is looked at in turn
	case openapi3.MultiError:
		for _, inner := range e {
			schemaFields(inner, fields)
		}
	case *openapi3.SchemaError:
		if e.SchemaField == "allOf" {
			var inner openapi3.MultiError
			if before := len(*fields); errors.As(e.Origin, &inner) {
				schemaFields(inner, fields)
				if len(*fields) > before {
					return
				}
			}
		}
		code, message := explain(e)
		var at []step
		for _, key := range e.JSONPointer() {
			at = append(at, step{name: key})
		}
		*fields = append(*fields, fault.Field{Path: pointer(at), Code: code, Message: message})
	case *openapi3filter.RequestError:
		schemaFields(e.Err, fields)
	}
}

// explain returns the code of the violated rule and what the rule allows.
func explain(e *openapi3.SchemaError) (code, message string) {
	s := e.Schema
	switch e.SchemaField {
	case "type", "nullable":
		return codeType, "must be " + typeName(s)
	case "required":
		return codeRequired, "is missing"
	case "readOnly":
		return "read_only", "must not be sent"
	case "minLength":
		return "too_short", bound("must have at least", s.MinLength, "character")
	case "maxLength":
		return "too_long", bound("must have at most", *s.MaxLength, "character")
	case "minItems":
		return "too_few", bound("must have at least", s.MinItems, "item")
	case "maxItems":
		return "too_many", bound("must have at most", *s.MaxItems, "item")
	case "minProperties":
		return "too_few", bound("must have at least", s.MinProps, "field")
	case "maxProperties":
		return "too_many", bound("must have at most", *s.MaxProps, "field")
	case "minimum":
		return "too_small", "must be at least " + number(*s.Min)
	case "maximum":
		return "too_large", "must be at most " + number(*s.Max)
	case "exclusiveMinimum":
		return "too_small", "must be more than " + number(*s.Min)
	case "exclusiveMaximum":
		return "too_large", "must be less than " + number(*s.Max)
	case "multipleOf":
		return "multiple", "must be a multiple of " + number(*s.MultipleOf)
	case "uniqueItems":
		return "duplicate", "must not hold the same item twice"
	case "enum":
		allowed, _ := json.Marshal(s.Enum)
		return "not_allowed", "must be one of " + string(allowed)
	case "pattern":
		return "pattern", "must match " + s.Pattern
	case "format":
		return "format", "must be of the format " + s.Format
	default:
		return "no_match", "is not as described"
	}
}

func bound(what string, n uint64, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%s %d %s", what, n, unit)
}

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func typeName(s *openapi3.Schema) string {
	var name string
	if types := s.Type.Slice(); len(types) > 0 {
		name = types[0]
	}
	switch name {
	case openapi3.TypeInteger:
		return "an integer"
	case openapi3.TypeObject, openapi3.TypeArray:
		return "an " + name
	case "":
		return "a value"
	default:
		return "a " + name
	}
}

// checkLimits names what a request's schema leaves open: unknown fields, and lengths, counts and
// integers without bounds. A bound that a float64 cannot hold is not one.
func checkLimits(ref *openapi3.SchemaRef, where string, seen []*openapi3.Schema) (errs []error) {
	s := ref.Value
	if slices.Contains(seen, s) {
		return nil
	}
	seen = append(seen, s)
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{where}, args...)...))
	}
	switch {
	case s.Type.Is(openapi3.TypeObject):
		if s.AdditionalProperties.Has == nil && s.AdditionalProperties.Schema == nil && len(s.AllOf) == 0 {
			complain("an object needs additionalProperties: false")
		}
	case s.Type.Is(openapi3.TypeArray):
		if s.MaxItems == nil {
			complain("an array needs maxItems")
		}
	case s.Type.Is(openapi3.TypeString):
		if s.MaxLength == nil && len(s.Enum) == 0 {
			complain("a string needs maxLength or enum")
		}
	case s.Type.Is(openapi3.TypeInteger):
		if s.Min == nil || s.Max == nil || math.Abs(*s.Min) > maxExact || math.Abs(*s.Max) > maxExact {
			complain("an integer needs minimum and maximum within ±%d", int64(maxExact))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		errs = append(errs, checkLimits(s.Properties[name], where+"/"+name, seen)...)
	}
	if s.Items != nil {
		errs = append(errs, checkLimits(s.Items, where+"/items", seen)...)
	}
	if more := s.AdditionalProperties.Schema; more != nil {
		errs = append(errs, checkLimits(more, where+"/*", seen)...)
	}
	for _, part := range slices.Concat(s.AllOf, s.AnyOf, s.OneOf) {
		errs = append(errs, checkLimits(part, where, seen)...)
	}
	return errs
}
