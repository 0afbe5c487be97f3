package rest

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"cleave/platform/fault"
)

// shape finds what kin-openapi accepts, or refuses at the cost of one error value for every item of
// a hostile body: numbers that no int64 field can take, overlong arrays and unknown fields.
type shape struct {
	at     []step // the way from the root to the value being looked at
	fields []fault.Field
}

// step leads to a member or to an item.
type step struct {
	name  string
	index int // one more than an item's position; 0 for a member
}

// pointer writes steps as a JSON pointer (RFC 6901).
func pointer(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteByte('/')
		if s.index > 0 {
			b.WriteString(strconv.Itoa(s.index - 1))
			continue
		}
		_, _ = pointerEscapes.WriteString(&b, s.name)
	}
	return b.String()
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func (s *shape) add(code, message string) {
	s.fields = append(s.fields, fault.Field{Path: pointer(s.at), Code: code, Message: message})
}

func (s *shape) full() bool { return len(s.fields) >= maxFieldErrors }

func (s *shape) walk(schema *openapi3.Schema, value any) {
	switch v := value.(type) {
	case json.Number:
		if schema.Type.Is(openapi3.TypeInteger) {
			s.add(codeType, integerFault(v))
		}
	case []any:
		if schema.MaxItems != nil && uint64(len(v)) > *schema.MaxItems {
			s.add("too_many", bound("must have at most", *schema.MaxItems, "item"))
			return
		}
		if schema.Items != nil {
			for i := 0; i < len(v) && !s.full(); i++ {
				s.step(schema.Items.Value, v[i], step{index: i + 1})
			}
		}
	case map[string]any:
		s.walkObject(schema, v)
	}
	for _, part := range schema.AllOf {
		s.walk(part.Value, value)
	}
}

// step walks one level down; a nil schema means that there is no such member.
func (s *shape) step(schema *openapi3.Schema, value any, to step) {
	s.at = append(s.at, to)
	if schema == nil {
		s.add("unknown_field", "is not a known field")
	} else {
		s.walk(schema, value)
	}
	s.at = s.at[:len(s.at)-1]
}

func (s *shape) walkObject(schema *openapi3.Schema, v map[string]any) {
	closed := schema.AdditionalProperties.Has != nil && !*schema.AdditionalProperties.Has
	for name, member := range v {
		if s.full() {
			return
		}
		if property := schema.Properties[name]; property != nil {
			s.step(property.Value, member, step{name: name})
		} else if closed {
			s.step(nil, member, step{name: name})
		} else if more := schema.AdditionalProperties.Schema; more != nil {
			s.step(more.Value, member, step{name: name})
		}
	}
}

func integerFault(n json.Number) string {
	if strings.ContainsAny(string(n), ".eE") {
		return "must be an integer, written without fraction or exponent"
	}
	return "must be an integer of at most 64 bits"
}
