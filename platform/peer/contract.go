package peer

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	peerv1 "cleave/platform/peer/v1"
)

// Contract reads from files what methods, PACKAGE.SERVICE/METHOD, and events, full names of messages, look like on the wire. It leaves out
// those that files do not know.
func Contract(files *protoregistry.Files, methods, events []string) *peerv1.Contract {
	c := contract{Contract: &peerv1.Contract{}, seen: map[protoreflect.FullName]bool{}}
	for _, name := range methods {
		d, err := files.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(name, "/", ".")))
		if m, ok := d.(protoreflect.MethodDescriptor); ok && err == nil {
			c.Methods = append(c.Methods, &peerv1.Method{Name: name, Request: c.add(m.Input()), Response: c.add(m.Output())})
		}
	}
	for _, name := range events {
		d, err := files.FindDescriptorByName(protoreflect.FullName(name))
		if m, ok := d.(protoreflect.MessageDescriptor); ok && err == nil {
			c.Events = append(c.Events, c.add(m))
		}
	}
	return c.Contract
}

type contract struct {
	*peerv1.Contract

	seen map[protoreflect.FullName]bool
}

// add describes d and the messages in it, and returns its name.
func (c *contract) add(d protoreflect.MessageDescriptor) string {
	if c.seen[d.FullName()] {
		return string(d.FullName())
	}
	c.seen[d.FullName()] = true
	m := &peerv1.Message{Name: string(d.FullName())}
	c.Messages = append(c.Messages, m)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		field := &peerv1.Field{Number: int32(f.Number()), Name: string(f.Name()), Type: f.Kind().String(), Many: f.Cardinality() == protoreflect.Repeated}
		if f.Message() != nil {
			field.Message = c.add(f.Message())
		}
		m.Fields = append(m.Fields, field)
	}
	return m.GetName()
}

// Fits returns why a process with the contract mine cannot use what a peer with the contract theirs offers, nil if it can: the peer lacks
// a method, or a field that both know has another type there. What only one of them knows does not matter, nor do names, as with
// buf's breaking rules of the category WIRE.
func Fits(mine, theirs *peerv1.Contract) error {
	f := fit{mine: messages(mine), theirs: messages(theirs), compared: map[[2]string]bool{}}
	methods := map[string]*peerv1.Method{}
	for _, m := range theirs.GetMethods() {
		methods[m.GetName()] = m
	}
	for _, m := range mine.GetMethods() {
		other := methods[m.GetName()]
		if other == nil {
			return fmt.Errorf("it lacks the method %s", m.GetName())
		}
		for _, pair := range [][2]string{{m.GetRequest(), other.GetRequest()}, {m.GetResponse(), other.GetResponse()}} {
			if err := f.compare(pair); err != nil {
				return fmt.Errorf("of the method %s, %w", m.GetName(), err)
			}
		}
	}
	for _, e := range mine.GetEvents() {
		if err := f.compare([2]string{e, e}); err != nil {
			return fmt.Errorf("of the event %s, %w", e, err)
		}
	}
	return nil
}

func messages(c *peerv1.Contract) map[string]*peerv1.Message {
	all := map[string]*peerv1.Message{}
	for _, m := range c.GetMessages() {
		all[m.GetName()] = m
	}
	return all
}

type fit struct {
	mine, theirs map[string]*peerv1.Message
	compared     map[[2]string]bool
}

// compare compares my message of one name with their message of another.
func (f *fit) compare(names [2]string) error {
	if f.compared[names] {
		return nil
	}
	f.compared[names] = true
	theirs := map[int32]*peerv1.Field{}
	for _, field := range f.theirs[names[1]].GetFields() {
		theirs[field.GetNumber()] = field
	}
	for _, a := range f.mine[names[0]].GetFields() {
		b := theirs[a.GetNumber()]
		if b == nil {
			continue
		}
		if a.GetType() != b.GetType() || a.GetMany() != b.GetMany() {
			return fmt.Errorf("the field %s = %d of %s is %s here and %s there", a.GetName(), a.GetNumber(), names[0], kind(a), kind(b))
		}
		if a.GetMessage() != "" {
			if err := f.compare([2]string{a.GetMessage(), b.GetMessage()}); err != nil {
				return err
			}
		}
	}
	return nil
}

func kind(f *peerv1.Field) string {
	if f.GetMany() {
		return "repeated " + f.GetType()
	}
	return f.GetType()
}
