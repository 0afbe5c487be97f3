package repeat_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cleave/platform/repeat"
)

func TestEvery(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log bytes.Buffer
	outcomes := []error{nil, errors.New("first"), errors.New("second"), nil, nil, errors.New("third"), nil, context.Canceled}
	calls := 0
	err := repeat.Every(ctx, time.Millisecond, repeat.Report{
		Log: slog.New(slog.NewTextHandler(&log, nil)).With("module", "order"), Level: slog.LevelWarn, Failing: "it stays", Again: "it goes",
	}, func(context.Context) error {
		calls++
		if calls == len(outcomes) {
			cancel()
		}
		return outcomes[calls-1]
	})
	require.NoError(t, err)
	require.Equal(t, len(outcomes), calls)
	require.Equal(t, `level=WARN msg="it stays" module=order error=first
level=INFO msg="it goes" module=order
level=WARN msg="it stays" module=order error=third
level=INFO msg="it goes" module=order
`, regexp.MustCompile(`time=\S+ `).ReplaceAllString(log.String(), ""))
}
