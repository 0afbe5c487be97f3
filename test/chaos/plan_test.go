package chaos_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// stream is the random numbers of one actor: the same for the same seed and
// name, whatever the other actors do.
func stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// moment is when to strike next. Counting answers makes it hit the same kind of
// moment on a slow machine.
type moment struct {
	starting bool          // while the process starts, pause after it was executed
	answers  int64         // after so many answers to clients since it is ready, if not 0
	pause    time.Duration // and then so much later
}

func (m moment) String() string {
	switch {
	case m.starting:
		return fmt.Sprintf("%v after the start", m.pause)
	case m.answers > 0:
		return fmt.Sprintf("%v after %d answers", m.pause, m.answers)
	default:
		return fmt.Sprintf("%v after it was ready", m.pause)
	}
}

// moments is the schedule of n strikes.
func moments(r *rand.Rand, n int) []moment {
	all := make([]moment, n)
	for i := range all {
		switch k := r.IntN(100); {
		case k < 12:
			all[i] = moment{starting: true, pause: time.Duration(r.Int64N(int64(250 * time.Millisecond)))}
		case k < 40:
			all[i] = moment{pause: time.Duration(r.Int64N(int64(600 * time.Millisecond)))}
		default:
			all[i] = moment{answers: 1 + r.Int64N(60), pause: time.Duration(r.Int64N(int64(4 * time.Millisecond)))}
		}
	}
	return all
}
