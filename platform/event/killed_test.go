package event_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/db"
)

// childSettings says to a process of this test binary that it is a child, of what databases, and how many events it is to publish.
const childSettings = "CLEAVE_EVENT_CHILD"

// killed runs one test of this binary in a process of its own and kills it after a while.
func killed(t *testing.T, test string, c db.Config, events int, after time.Duration) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+test+"$")
	child.Env = append(os.Environ(), childSettings+"="+strings.Join([]string{c.Dir, c.DSN, c.RoleSecret, strconv.Itoa(events)}, "|"))
	_, err := child.StdinPipe() // its end, also when this process dies, ends the child
	require.NoError(t, err)
	require.NoError(t, child.Start())
	time.Sleep(after) // when it is killed does not matter
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
}

// asChild runs fn in a process that killed has started, and in no other.
func asChild(t *testing.T, fn func(c db.Config, open func(module string) *db.DB, events int)) {
	t.Helper()
	args := strings.Split(os.Getenv(childSettings), "|")
	if len(args) != 4 {
		return
	}
	c := db.Config{Dir: args[0], DSN: args[1], RoleSecret: args[2]}
	n, err := strconv.Atoi(args[3])
	require.NoError(t, err)
	fn(c, func(module string) *db.DB {
		d, err := db.Open(t.Context(), c, module, nil)
		require.NoError(t, err)
		return d
	}, n)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// resume publishes what is missing of n events, over three keys.
func (w *world) resume(t *testing.T, n int, pause time.Duration) {
	t.Helper()
	for i := count(t, w.from, "SELECT count(*) FROM effects"); i < n; i++ {
		require.NoError(t, w.from.Tx(t.Context(), func(ctx context.Context) error {
			err := w.from.Queue(ctx).Exec("INSERT INTO effects (subscriber, event, key, said) VALUES ('', '', ?, '')", fmt.Sprint(i%3)).Error
			if err != nil {
				return err
			}
			return w.publisher.Publish(ctx, fmt.Sprint(i%3), wrapperspb.String(fmt.Sprint(i/3)))
		}))
		time.Sleep(pause)
	}
}
