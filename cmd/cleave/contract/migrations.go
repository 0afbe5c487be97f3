package contract

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// CheckMigrations holds the migrations of the tree at root against the
// released ones, and returns the exceptions that files ask for as well.
func CheckMigrations(root string) (findings []Finding, exceptions []Exception, err error) {
	sets, err := migrationSets(root)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range sets {
		f, e, err := s.check(root)
		if err != nil {
			return nil, nil, fmt.Errorf("check the migrations in %s: %w", s.dir(), err)
		}
		findings, exceptions = append(findings, f...), append(exceptions, e...)
	}
	return findings, exceptions, nil
}

func (s migrationSet) check(root string) (findings []Finding, exceptions []Exception, err error) {
	before, err := readMigrations(filepath.Join(root, s.releasedDir()))
	if err != nil {
		return nil, nil, err
	}
	now, err := readMigrations(filepath.Join(root, s.dir()))
	if err != nil {
		return nil, nil, err
	}
	last := -1
	schema := newSchema()
	for _, name := range sortedNames(before) {
		last = max(last, number(name))
		schema.release(up(string(before[name])))
		findings = append(findings, s.unchanged(name, before[name], now)...)
	}
	for _, name := range sortedNames(now) {
		if _, ok := before[name]; ok {
			continue
		}
		file := s.dir() + "/" + name
		text := string(now[name])
		if n := number(name); n <= last {
			findings = append(findings, Finding{
				File: file, Rule: "migration/out-of-order", What: fmt.Sprintf("number %d is not above %d, the last released one, and would never run", n, last),
				Fix: fmt.Sprintf("number it %05d or higher", last+1),
			})
		}
		breaks := schema.breaks(up(text))
		reason, line := exception(text)
		switch {
		case line > 0 && reason == "":
			findings = append(findings, Finding{
				File: file, Line: line, Rule: "migration/no-reason", What: "an exception without a reason", Fix: "say after " + exceptionMark + " why no released binary is harmed",
			})
		case line > 0 && len(breaks) == 0:
			findings = append(findings, Finding{
				File: file, Line: line, Rule: "migration/needless-exception", What: "the migration breaks nothing", Fix: "take the line away",
			})
		case line > 0:
			exceptions = append(exceptions, Exception{File: file, Reason: reason})
			continue
		}
		for _, b := range breaks {
			findings = append(findings, Finding{
				File: file, Line: lineAt(text, b.offset), Rule: "migration/" + b.rule, What: b.what,
				Fix: b.fix + "; when no released binary is harmed, say why in a line `" + exceptionMark + " REASON`",
			})
		}
	}
	return findings, exceptions, nil
}

func (s migrationSet) unchanged(name string, before []byte, now map[string][]byte) []Finding {
	f := Finding{File: s.dir() + "/" + name, Fix: "put it back as in " + s.releasedDir() + ", and change the schema by a new migration"}
	text, ok := now[name]
	switch {
	case !ok:
		f.Rule, f.What = "migration/removed", "a released migration is gone"
	case !bytes.Equal(before, text):
		a, b := bytes.Split(before, []byte("\n")), bytes.Split(text, []byte("\n"))
		f.Rule, f.What = "migration/changed", "databases that have run this released migration will not run it again"
		f.Line = 1
		for f.Line <= min(len(a), len(b)) && bytes.Equal(a[f.Line-1], b[f.Line-1]) {
			f.Line++
		}
	default:
		return nil
	}
	return []Finding{f}
}

func readMigrations(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	files := map[string][]byte{}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".sql" {
			continue
		}
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func sortedNames(files map[string][]byte) []string {
	var names []string
	for n := range files {
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := number(a) - number(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return names
}

// number is what goose sorts files by.
func number(name string) int {
	digits, _, _ := strings.Cut(name, "_")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// annotation is a line that goose reads.
var annotation = regexp.MustCompile(`(?m)^--[ \t]*\+goose[ \t]+(\w+).*$`)

// up returns the text of a migration with all outside its Up section blank, so
// that offsets and lines stay.
func up(text string) string {
	out := []byte(text)
	var keep bool
	start := 0
	blank := func(end int) {
		for i := start; i < end && !keep; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
	}
	for _, m := range annotation.FindAllStringSubmatchIndex(text, -1) {
		switch strings.ToLower(text[m[2]:m[3]]) {
		case "up":
			blank(m[0])
			start, keep = m[0], true
		case "down":
			blank(m[0])
			start, keep = m[0], false
		}
	}
	blank(len(out))
	return string(out)
}

const exceptionMark = "-- cleave:contract"

var exceptionLine = regexp.MustCompile(`(?m)^[ \t]*` + exceptionMark + `(?:[ \t]+(.*))?$`)

// exception returns the reason that a migration gives, and its line; 0: none.
func exception(text string) (string, int) {
	m := exceptionLine.FindStringSubmatchIndex(text)
	if m == nil {
		return "", 0
	}
	reason := ""
	if m[2] >= 0 {
		reason = strings.TrimSpace(text[m[2]:m[3]])
	}
	return reason, lineAt(text, m[0])
}

func lineAt(text string, offset int) int { return 1 + strings.Count(text[:offset], "\n") }
