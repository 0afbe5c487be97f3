package forecast_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"cleave/platform/forecast"
)

const farArgument = "far-end-of-a-calibration"

// TestMain also is the far end, when a test starts this program as that.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == farArgument {
		var far forecast.Far
		err := json.Unmarshal([]byte(os.Args[2]), &far)
		if err == nil {
			err = far.Serve(context.Background(), os.Stdin, os.Stdout)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func calibration(args ...string) forecast.Calibration {
	return forecast.Calibration{
		Sizes: forecast.Sizes{Request: 50, Reply: 100, Answer: 500}, Every: time.Millisecond, Calls: 50,
		Far: func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, os.Args[0], args...) },
	}
}

func TestCalibration(t *testing.T) {
	t.Parallel()
	h, err := calibration(farArgument).Run(t.Context())
	require.NoError(t, err)
	for name, c := range map[string]forecast.Cost{"call": h.Call, "front": h.Front} {
		require.Positive(t, c.P50, name)
		require.GreaterOrEqual(t, c.P99, c.P50, name)
		require.Positive(t, c.CPU, name)
	}
	t.Logf("%+v", h)
}

func TestCalibration_FarEndFails(t *testing.T) {
	t.Parallel()
	_, err := calibration(farArgument, "{").Run(t.Context())
	require.ErrorContains(t, err, "the far end did not start")
	require.ErrorContains(t, err, "unexpected end of JSON input")
	c := calibration()
	c.Far = func(ctx context.Context) *exec.Cmd { return exec.CommandContext(ctx, "/does/not/exist") }
	_, err = c.Run(t.Context())
	require.ErrorContains(t, err, "start the far end")
}

func TestCalibration_Cancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := calibration(farArgument).Run(ctx)
	require.Error(t, err)
}
