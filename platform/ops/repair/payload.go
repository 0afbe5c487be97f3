package repair

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"cleave/platform/event"
)

// PayloadJSON is a dead letter's payload as JSON text, or "" when this binary does not know the type or the payload is not
// of it.
func PayloadJSON(l event.DeadLetter) string {
	t, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(l.Type))
	if err != nil {
		return ""
	}
	m := t.New().Interface()
	if err := proto.Unmarshal(l.Payload, m); err != nil {
		return ""
	}
	b, err := protojson.Marshal(m)
	if err != nil {
		return ""
	}
	return string(b)
}
