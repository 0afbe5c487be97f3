package skew_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const someID = "0197a5c2-7b1e-7c3a-9d2f-3b8e5a6c1d20"

// fill sets every field of m to a value that no default equals and no smaller
// type holds.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
			entry := m.Mutable(f).Map()
			key := scalar(f.MapKey()).MapKey()
			if f.MapValue().Message() != nil {
				v := entry.NewValue()
				fill(v.Message())
				entry.Set(key, v)
			} else {
				entry.Set(key, scalar(f.MapValue()))
			}
		case f.IsList():
			list := m.Mutable(f).List()
			if f.Message() != nil {
				fill(list.AppendMutable().Message())
			} else {
				list.Append(scalar(f))
			}
		case f.Message() != nil && f.Message().FullName() == "google.protobuf.Timestamp":
			ts := m.Mutable(f).Message()
			ts.Set(ts.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(1_700_000_000))
		case f.Message() != nil:
			fill(m.Mutable(f).Message())
		default:
			m.Set(f, scalar(f))
		}
	}
}

func scalar(f protoreflect.FieldDescriptor) protoreflect.Value {
	n := int64(f.Number())
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		if name := string(f.Name()); name == "id" || strings.HasSuffix(name, "_id") {
			return protoreflect.ValueOfString(someID)
		}
		return protoreflect.ValueOfString("text of " + string(f.Name()))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0xff, byte(n)})
	case protoreflect.EnumKind:
		values := f.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(values.Len() - 1).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(1<<30 + int32(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1<<31 + uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(1<<39 + n)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1<<63 + uint64(n))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n) + 0.5)
	default:
		return protoreflect.ValueOfFloat64(float64(n) + 0.1)
	}
}

// differences returns what got, read from what want was written as, says
// otherwise or no longer. Fields that only got has are of no concern.
func differences(path string, want, got protoreflect.Message) (all []string) {
	want.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := path + "." + string(f.Name())
		g := got.Descriptor().Fields().ByNumber(f.Number())
		switch {
		case g == nil:
			all = append(all, fmt.Sprintf("%s (%d) is not known to the reader", at, f.Number()))
		case g.Name() != f.Name():
			all = append(all, fmt.Sprintf("%s is read as %s", at, g.Name()))
		case g.Cardinality() != f.Cardinality() || g.IsMap() != f.IsMap() || (g.Message() == nil) != (f.Message() == nil):
			all = append(all, fmt.Sprintf("%s is written as %s %s and read as %s %s", at, f.Cardinality(), f.Kind(), g.Cardinality(), g.Kind()))
		case !got.Has(g):
			all = append(all, fmt.Sprintf("%s is lost: written as %s, read as %s", at, f.Kind(), g.Kind()))
		case f.IsList():
			for i := range v.List().Len() {
				if i >= got.Get(g).List().Len() {
					all = append(all, fmt.Sprintf("%s[%d] is lost", at, i))
					break
				}
				all = append(all, value(fmt.Sprintf("%s[%d]", at, i), f, v.List().Get(i), got.Get(g).List().Get(i))...)
			}
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, x protoreflect.Value) bool {
				all = append(all, value(fmt.Sprintf("%s[%v]", at, k), f.MapValue(), x, got.Get(g).Map().Get(k))...)
				return true
			})
		default:
			all = append(all, value(at, f, v, got.Get(g))...)
		}
		return true
	})
	return all
}

func value(at string, f protoreflect.FieldDescriptor, want, got protoreflect.Value) []string {
	if !got.IsValid() {
		return []string{at + " is lost"}
	}
	if f.Message() != nil {
		return differences(at, want.Message(), got.Message())
	}
	if !want.Equal(got) {
		return []string{fmt.Sprintf("%s is written as %v and read as %v", at, want, got)}
	}
	return nil
}

// messageSkew sends a message of type from, all its fields set, to a party that
// knows it as to, which sends it back. When both know the same it must arrive,
// and whatever the other does not know must return.
func messageSkew(from, to protoreflect.MessageDescriptor) ([]string, error) {
	sent := dynamicpb.NewMessage(from)
	fill(sent)
	b, err := proto.Marshal(sent)
	if err != nil {
		return nil, err
	}
	read := dynamicpb.NewMessage(to)
	if err := proto.Unmarshal(b, read); err != nil {
		return []string{fmt.Sprintf("%s cannot be read: %v", from.FullName(), err)}, nil
	}
	if b, err = proto.Marshal(read); err != nil {
		return nil, err
	}
	back := dynamicpb.NewMessage(from)
	if err := proto.Unmarshal(b, back); err != nil {
		return []string{fmt.Sprintf("%s cannot be read when it comes back: %v", from.FullName(), err)}, nil
	}
	name := string(from.FullName())
	found := differences(name, sent, read)
	if !proto.Equal(sent, back) {
		found = append(found, name+" is not the same when it comes back")
	}
	return found, nil
}

// contractSkew compares all released messages, those of calls and those of
// events, with what now has, in both directions.
func contractSkew(t testing.TB, released, now *protoregistry.Files) (found []string) {
	t.Helper()
	for _, old := range releasedMessages(released) {
		d, err := now.FindDescriptorByName(old.FullName())
		if err != nil {
			found = append(found, fmt.Sprintf("%s is gone", old.FullName()))
			continue
		}
		forth, err := messageSkew(old, d.(protoreflect.MessageDescriptor))
		require.NoError(t, err)
		// The way back may lose nothing either: a new publisher's event passes
		// through an old process. What that one does not know it need not read.
		back, err := messageSkew(d.(protoreflect.MessageDescriptor), old)
		require.NoError(t, err)
		for _, b := range back {
			if !strings.HasSuffix(b, "is not known to the reader") {
				found = append(found, b)
			}
		}
		found = append(found, forth...)
	}
	for _, m := range releasedMethods(released) {
		d, err := now.FindDescriptorByName(m.FullName())
		if err != nil {
			found = append(found, fmt.Sprintf("%s is gone", m.FullName()))
			continue
		}
		n := d.(protoreflect.MethodDescriptor)
		if n.Input().FullName() != m.Input().FullName() || n.Output().FullName() != m.Output().FullName() {
			found = append(found, fmt.Sprintf("%s took %s for %s", m.FullName(), m.Output().FullName(), m.Input().FullName()))
		}
	}
	return found
}

func TestMessages(t *testing.T) {
	t.Parallel()
	released := releasedFiles(t)
	require.NotEmpty(t, releasedMessages(released))
	require.NotEmpty(t, releasedMethods(released))
	require.Empty(t, contractSkew(t, released, protoregistry.GlobalFiles))
}

// TestMessages_Planted takes the release for the tree, with a change.
func TestMessages_Planted(t *testing.T) {
	t.Parallel()
	field := func(set *descriptorpb.FileDescriptorSet, message, name string) (*descriptorpb.DescriptorProto, *descriptorpb.FieldDescriptorProto) {
		for _, f := range set.GetFile() {
			for _, m := range f.GetMessageType() {
				for _, d := range m.GetField() {
					if f.GetPackage()+"."+m.GetName() == message && d.GetName() == name {
						return m, d
					}
				}
			}
		}
		t.Fatalf("no field %s in %s", name, message)
		return nil, nil
	}
	const profile, user, placed = "cleave.user.v1.UserProfileChanged", "cleave.user.v1.User", "cleave.order.v1.OrderPlaced"
	for name, c := range map[string]struct {
		plant func(*descriptorpb.FileDescriptorSet)
		want  string
	}{
		"Nothing": {func(*descriptorpb.FileDescriptorSet) {}, ""},
		"NewField": {func(s *descriptorpb.FileDescriptorSet) {
			m, d := field(s, user, "email")
			more := proto.CloneOf(d)
			more.Name, more.JsonName, more.Number = new("phone"), new("phone"), new(int32(90))
			m.Field = append(m.Field, more)
		}, ""},
		"Type": {func(s *descriptorpb.FileDescriptorSet) {
			_, d := field(s, profile, "version")
			d.Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
		}, profile + ".version is lost: written as int64, read as string"},
		"Narrower": {func(s *descriptorpb.FileDescriptorSet) {
			_, d := field(s, profile, "version")
			d.Type = descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum()
		}, profile + ".version is written as"},
		"ZigZag": {func(s *descriptorpb.FileDescriptorSet) {
			_, d := field(s, profile, "version")
			d.Type = descriptorpb.FieldDescriptorProto_TYPE_SINT64.Enum()
		}, profile + ".version is written as"},
		"Renumbered": {func(s *descriptorpb.FileDescriptorSet) {
			_, d := field(s, placed, "number")
			d.Number = new(int32(90))
		}, placed + ".number (2) is not known to the reader"},
		"Renamed": {func(s *descriptorpb.FileDescriptorSet) {
			_, d := field(s, placed, "number")
			d.Name, d.JsonName = new("label"), new("label")
		}, placed + ".number is read as label"},
		"Single": {func(s *descriptorpb.FileDescriptorSet) {
			_, d := field(s, user, "roles")
			d.Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
		}, user + ".roles is written as repeated string"},
		"MessageGone": {func(s *descriptorpb.FileDescriptorSet) {
			for _, f := range s.GetFile() {
				for _, m := range f.GetMessageType() {
					if m.GetName() == "UserEnabled" {
						m.Name = new("UserLetIn")
					}
				}
			}
		}, "cleave.user.v1.UserEnabled is gone"},
		"MethodGone": {func(s *descriptorpb.FileDescriptorSet) {
			for _, f := range s.GetFile() {
				for _, service := range f.GetService() {
					service.Method = service.GetMethod()[1:]
				}
			}
		}, "cleave.user.v1.UserService.GetUsers is gone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := releasedSet(t)
			c.plant(set)
			now, err := protodesc.NewFiles(set)
			require.NoError(t, err)
			found := contractSkew(t, releasedFiles(t), now)
			if c.want == "" {
				require.Empty(t, found)
				return
			}
			require.Contains(t, strings.Join(found, "\n"), c.want)
		})
	}
}
