package telemetry_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/telemetry"
)

// written counts the writes that reach a file.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
	n    int
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return w.text.Write(b)
}

func (w *written) lines() (lines, writes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.text.String(), "\n"), w.n
}

func TestLines(t *testing.T) {
	t.Parallel()
	setup := func() (*written, *telemetry.Lines, *slog.Logger) {
		w := &written{}
		l := telemetry.NewLines(w)
		return w, l, telemetry.NewLogger(l, "info", "json")
	}
	t.Run("AtOnceAfterSilence", func(t *testing.T) {
		t.Parallel()
		w, _, log := setup()
		log.Info("first")
		n, _ := w.lines()
		require.Equal(t, 1, n)
	})
	t.Run("ManyAtOnce", func(t *testing.T) {
		t.Parallel()
		w, _, log := setup()
		const n = 1000
		for range n {
			log.Info("one of many")
		}
		require.Eventually(t, func() bool { lines, _ := w.lines(); return lines == n }, 10*time.Second, time.Millisecond)
		_, writes := w.lines()
		require.Less(t, writes, n/2)
	})
	t.Run("WarningsAtOnce", func(t *testing.T) {
		t.Parallel()
		w, _, log := setup()
		for i := range 100 {
			log.Info("before")
			log.With("n", i).WithGroup("g").Warn("look")
			lines, _ := w.lines()
			require.Equal(t, 2*i+2, lines)
		}
	})
	t.Run("Flush", func(t *testing.T) {
		t.Parallel()
		w, l, log := setup()
		for i := range 100 {
			log.Info("held")
			require.NoError(t, l.Flush())
			lines, _ := w.lines()
			require.Equal(t, i+1, lines)
		}
	})
}
