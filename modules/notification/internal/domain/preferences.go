package domain

import (
	"fmt"

	"cleave/platform/fault"
)

// Route is a kind of news over a channel.
type Route struct {
	Kind    Kind
	Channel Channel
}

// Preference is whether a user wants a route.
type Preference struct {
	Route
	Enabled bool
}

// Preferences are what a user wants to be told. The zero value wants everything.
type Preferences struct {
	Version int64 // grows with each change, from 0 before the first
	Muted   map[Route]bool
}

// NewPreferences returns the preferences that the list asks for; what it does
// not name is wanted. It fails with Unprocessable, code preference_repeated,
// when the list names a route twice, and with Invalid when it names none that
// exists.
func NewPreferences(list []Preference) (Preferences, error) {
	seen := make(map[Route]bool, len(list))
	p := Preferences{Muted: map[Route]bool{}}
	for i, wish := range list {
		path := fmt.Sprintf("/preferences/%d", i)
		if !wish.Kind.Valid() || !wish.Channel.Valid() {
			return Preferences{}, fault.New(fault.Invalid, "preference_unknown", "no such kind or channel").
				With(fault.Field{Path: path, Code: "preference_unknown", Message: "no such kind or channel"})
		}
		if seen[wish.Route] {
			return Preferences{}, fault.New(fault.Unprocessable, "preference_repeated", "a kind and channel is given twice").
				With(fault.Field{Path: path, Code: "preference_repeated", Message: "was given before"})
		}
		seen[wish.Route] = true
		if !wish.Enabled {
			p.Muted[wish.Route] = true
		}
	}
	return p, nil
}

// List returns one preference for each kind and channel, always in the same order.
func (p Preferences) List() []Preference {
	var list []Preference
	for _, k := range Kinds() {
		for _, c := range Channels() {
			r := Route{k, c}
			list = append(list, Preference{r, !p.Muted[r]})
		}
	}
	return list
}
