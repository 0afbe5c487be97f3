package topology_test

import (
	"fmt"
	"regexp"
	"sort"
	"strings"
)

// record is everything that can be seen of a run, in parts of one text each.
type record struct {
	parts  []part
	labels map[string]string
	counts map[string]int
}

type part struct{ title, text string }

func newRecord() *record { return &record{labels: map[string]string{}, counts: map[string]int{}} }

// variable is what differs from run to run, by kind; the first that matches at
// a place decides. What is of the kind "second" is too coarse for an identity.
var variable = regexp.MustCompile(strings.Join([]string{
	`(?P<token>eyJ[\w-]+\.[\w-]+\.[\w-]+)`,
	`(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})`,
	`(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)`,
	`(?P<micros>\b1[6-9]\d{14}\b)`,
	`(?P<second>\b1[6-9]\d{8}\b)`,
	`(?P<date>(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d? \w{3} \d{4}(?: \d\d:\d\d:\d\d (?:GMT|\+0000))?)`,
	`(?P<minute>\b\d\d:\d\d UTC on \d+ \w+ \d{4})`,
	`(?P<number>\bO-[0-9A-Z]{7}-[0-9A-Z]{7}\b)`,
	`(?P<code>\b[0-9A-Z]{4}(?:-[0-9A-Z]{4}){5}\b)`,
	`(?P<hex>\b[0-9a-f]{16,}\b)`,
	`(?P<lifetime>"expires_in": ?\d+)`, // in seconds, rounded down
	`(?P<key>cleave_pk_[A-Za-z0-9_-]+)`,
	`(?P<secret>[A-Za-z0-9_-]{20,})`,
}, "|"))

// coarse kinds may have the same value by chance.
var coarse = map[string]bool{"second": true, "minute": true, "lifetime": true, "date": true}

// words look like secrets and are none: names of header fields, codes and the like.
var words = regexp.MustCompile(`^[A-Za-z][a-z]+([A-Z][a-z]+)*$|^[a-z_-]+$|^[A-Z]+([_-][A-Z]+)+$|^[A-Z][a-z]+(-[A-Z][a-z]+)*$`)

// label replaces what differs from run to run. With learn unset, what has not
// appeared before becomes a mark without a number.
func (r *record) label(text string, learn bool) string {
	names := variable.SubexpNames()
	return variable.ReplaceAllStringFunc(text, func(found string) string {
		match := variable.FindStringSubmatch(found)
		kind := ""
		for i := 1; i < len(match); i++ {
			if match[i] != "" {
				kind = names[i]
			}
		}
		switch {
		case kind == "secret" && words.MatchString(found):
			return found
		case coarse[kind]:
			return "<" + kind + ">"
		}
		if l, ok := r.labels[found]; ok {
			return l
		}
		if !learn {
			return "<" + kind + ">"
		}
		r.counts[kind]++
		r.labels[found] = fmt.Sprintf("<%s %d>", kind, r.counts[kind])
		return r.labels[found]
	})
}

func (r *record) add(title, text string) {
	r.parts = append(r.parts, part{r.label(title, true), r.label(text, true)})
}

// addRows adds rows whose order says nothing. They are sorted by what is known
// of them, and then by their own ids, which grow with time.
func (r *record) addRows(title string, rows []string) {
	sort.Slice(rows, func(i, j int) bool {
		a, b := r.label(rows[i], false), r.label(rows[j], false)
		return a < b || a == b && rows[i] < rows[j]
	})
	r.add(title, strings.Join(rows, "\n"))
}

// differences are the parts in which r is not as want is.
func (r *record) differences(want *record) (all []string) {
	for i := range max(len(r.parts), len(want.parts)) {
		switch {
		case i >= len(r.parts):
			return append(all, "ends before: "+want.parts[i].title)
		case i >= len(want.parts):
			return append(all, "goes on with: "+r.parts[i].title)
		case r.parts[i].title != want.parts[i].title:
			return append(all, fmt.Sprintf("another step\n  want %s\n  got  %s", want.parts[i].title, r.parts[i].title))
		case r.parts[i].text != want.parts[i].text:
			all = append(all, r.parts[i].title+"\n"+lineDifference(want.parts[i].text, r.parts[i].text))
		}
	}
	return all
}

// lineDifference shows the lines that one text has and the other has not.
func lineDifference(want, got string) string {
	count := map[string]int{}
	for _, l := range strings.Split(got, "\n") {
		count[l]++
	}
	var b strings.Builder
	for _, l := range strings.Split(want, "\n") {
		if count[l]--; count[l] < 0 {
			fmt.Fprintf(&b, "  - %.400s\n", l)
		}
	}
	for _, l := range strings.Split(got, "\n") {
		if count[l] > 0 {
			count[l]--
			fmt.Fprintf(&b, "  + %.400s\n", l)
		}
	}
	if b.Len() == 0 {
		return "  the same lines in another order\n"
	}
	return b.String()
}

func (r *record) String() string {
	var b strings.Builder
	for _, p := range r.parts {
		fmt.Fprintf(&b, "## %s\n%s\n\n", p.title, p.text)
	}
	return b.String()
}
