package topology_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cleave/platform/db"
	"cleave/platform/db/dbtest"
	"cleave/platform/event/broker"
	"cleave/platform/event/eventtest"
)

// databases make a new one each time.
var databases = map[string]func(testing.TB) db.Config{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres}

// perform runs the script by one front door of a new site.
func perform(t testing.TB, program string, p partition, c db.Config, pipe string, front int, more ...string) *record {
	t.Helper()
	s := newSite(t, program, p, c, pipe, more...)
	s.keepEvents(t)
	run := &script{t: t, site: s, door: &door{url: s.processes[front].url, client: httpClient}, rec: newRecord()}
	run.run()
	return run.rec
}

// variant is a partition and the process of it that takes the requests, which
// may be the gateway after the last.
type variant struct {
	p     partition
	front int
}

func (v variant) String() string {
	front := "the gateway"
	if v.front < len(v.p) {
		front = group(v.p[v.front])
	}
	return fmt.Sprintf("%s by %s", v.p, front)
}

// variants are those to run on a database: all, or what is most unlike one process.
func variants(database string) (all []variant) {
	last := len(partitions) - 1
	if options.full {
		all = append(all, variant{partitions[0], 0})
		for _, p := range partitions[1:] {
			for front := range len(p) + 1 {
				all = append(all, variant{p, front})
			}
		}
		return all
	}
	if database == "postgres" {
		return []variant{{partitions[last], 3}}
	}
	return []variant{{partitions[0], 0}, {partitions[1], 1}, {partitions[2], 1}, {partitions[3], 0}, {partitions[last], 3}}
}

// TestTopology runs the script on each partition, on each database, by each
// front door that the length of the run allows, and compares with the program
// in one process whose events stay within it.
func TestTopology(t *testing.T) {
	t.Parallel()
	for database, fresh := range databases {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			want := perform(t, binary, partitions[0], fresh(t), broker.InProcess, 0)
			keep(t, want)
			for _, v := range variants(database) {
				t.Run(v.String(), func(t *testing.T) {
					t.Parallel()
					compare(t, perform(t, binary, v.p, fresh(t), eventtest.NATS(t).URL, v.front), want)
				})
			}
		})
	}
}

func compare(t *testing.T, got, want *record) {
	t.Helper()
	if all := got.differences(want); len(all) > 0 {
		keep(t, got)
		t.Errorf("%d of %d parts differ:\n%s", len(all), len(want.parts), strings.Join(all[:min(len(all), 12)], "\n"))
	}
}

// keep writes a record where -keep says.
func keep(t testing.TB, r *record) {
	t.Helper()
	if options.keep == "" {
		return
	}
	require.NoError(t, os.MkdirAll(options.keep, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(options.keep, strings.ReplaceAll(t.Name(), "/", ".")+".txt"), []byte(r.String()), 0o600))
}
