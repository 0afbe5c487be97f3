package chaos_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// findings are the broken promises of one scenario.
type findings struct {
	mu   sync.Mutex
	all  []string
	seen map[string]bool
}

// add records a broken promise, once.
func (f *findings) add(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = map[string]bool{}
	}
	if !f.seen[text] {
		f.seen[text] = true
		f.all = append(f.all, text)
	}
}

func (f *findings) list() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

// report fails the test with what was found and how to see it again.
func (s *shop) report(t *testing.T) {
	t.Helper()
	found := s.findings.list()
	if len(found) == 0 && !t.Failed() {
		return
	}
	const most = 20
	text := strings.Join(found[:min(len(found), most)], "\n")
	if len(found) > most {
		text += fmt.Sprintf("\nand %d more", len(found)-most)
	}
	t.Errorf("%d broken promises after %d strikes:\n%s\n\nagain: %s", len(found), s.struck.Load(), text, replay(t))
	s.keep(t)
}

// replay is the command that runs the scenario with the same schedule.
func replay(t *testing.T) string {
	text := fmt.Sprintf("go test -count=1 ./test/chaos -run '^%s$' -seed %d", strings.ReplaceAll(t.Name(), "/", "$/^"), options.seed)
	if options.full {
		text += " -full"
	}
	if options.kills > 0 {
		text += fmt.Sprintf(" -kills %d", options.kills)
	}
	return text
}

// keep leaves data, tables and logs behind, if somebody asked for them.
func (s *shop) keep(t *testing.T) {
	if options.keep == "" {
		return
	}
	dir := filepath.Join(options.keep, strings.ReplaceAll(t.Name(), "/", "-"))
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, "data"), os.DirFS(s.dir))
	}
	if err != nil {
		t.Logf("not everything is kept: %v", err)
	}
	for i, p := range s.processes() {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("log-%03d", i)), []byte(p.Log()), 0o600); err != nil {
			t.Logf("not everything is kept: %v", err)
		}
	}
	for _, m := range []string{"user", "order", "notification"} {
		if err := s.dump(m, dir); err != nil {
			t.Logf("not everything is kept: %v", err)
		}
	}
	t.Logf("kept in %s", dir)
}
