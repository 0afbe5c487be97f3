package chaos_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
)

// recovery reports how long after a process was ready everything was done that
// had begun before the kill. A kill whose work the next one interrupted again
// has no figure.
func (s *shop) recovery(t *testing.T) {
	t.Helper()
	if s.over() && len(s.findings.list()) > 0 {
		return
	}
	var work [][2]int64 // begun and done, in unix microseconds
	for module, query := range map[string]string{
		"order":        "SELECT created_at, updated_at FROM sagas UNION ALL SELECT at, done_at FROM inbox",
		"notification": "SELECT at, done_at FROM inbox",
	} {
		all, err := s.read(module, query)
		if err != nil {
			t.Logf("no figures of the recovery: %v", err)
			return
		}
		for _, row := range all {
			begun, _ := strconv.ParseInt(row[0], 10, 64) // columns of integers
			done, _ := strconv.ParseInt(row[1], 10, 64)
			work = append(work, [2]int64{begun, done})
		}
	}
	var took []time.Duration
	idle, cut := 0, 0
	for i, killed := range s.kills {
		next := time.Now()
		if i+1 < len(s.kills) {
			next = s.kills[i+1]
		}
		ready, found := s.readyBetween(killed, next)
		if !found {
			cut++
			continue
		}
		last := int64(0)
		for _, w := range work {
			if w[0] < killed.UnixMicro() && w[1] > killed.UnixMicro() {
				last = max(last, w[1])
			}
		}
		switch {
		case last == 0:
			idle++
		case last > next.UnixMicro():
			cut++
		default:
			took = append(took, max(0, time.UnixMicro(last).Sub(ready)))
		}
	}
	slices.Sort(took)
	text := fmt.Sprintf("%d strikes, %d answers, %d reads through the API and %d of the tables; at rest %v after the last request", s.struck.Load(), s.answers.Load(),
		s.reads.Load(), s.audits.Load(), s.rested.Round(time.Millisecond))
	if s.last != "" {
		text += "\nthe last to end: " + s.last
	}
	if n := len(took); n > 0 {
		at := func(q int) time.Duration { return took[(n-1)*q/100].Round(time.Millisecond) }
		text += fmt.Sprintf("\nwork of before a kill done after readiness: median %v, 90%% %v, longest %v (%d kills; %d left nothing, %d were followed by another first)",
			at(50), at(90), at(100), n, idle, cut)
	}
	t.Log(text)
}

// readyBetween is when the first process was ready between two kills.
func (s *shop) readyBetween(from, to time.Time) (at time.Time, found bool) {
	for _, at := range s.starts {
		if at.After(from) && at.Before(to) {
			return at, true
		}
	}
	return at, false
}
