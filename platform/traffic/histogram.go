package traffic

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Durations fall into 8 buckets per power of two, from 1 µs to 67 s, so that a
// quantile is at most 6 % off.
const (
	perOctave = 8
	octaves   = 26
	buckets   = perOctave * (octaves - 2)
)

// Histogram counts durations. The zero value is empty.
type Histogram struct {
	counts atomic.Pointer[[buckets]atomic.Int64] // nil: nothing observed, which most are
	micros atomic.Int64
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	counts := h.counts.Load()
	if counts == nil {
		h.counts.CompareAndSwap(nil, &[buckets]atomic.Int64{})
		counts = h.counts.Load()
	}
	micros := max(d.Microseconds(), 0)
	counts[bucketOf(uint64(micros))].Add(1)
	h.micros.Add(micros)
}

// bucketOf is exact below 8 µs; above, the three bits after the leading one choose within the power of two.
func bucketOf(micros uint64) int {
	if micros < perOctave {
		return int(micros) //nolint:gosec // below 8
	}
	shift := bits.Len64(micros) - 4
	return min((shift+1)*perOctave+int(micros>>shift)-perOctave, buckets-1) //nolint:gosec // below 16
}

// bounds are the microseconds that fall into a bucket: from low to below high.
func bounds(bucket int) (low, high float64) {
	if bucket < perOctave {
		return float64(bucket), float64(bucket + 1)
	}
	shift := bucket/perOctave - 1
	low = float64(uint64(bucket%perOctave+perOctave) << shift) //nolint:gosec // small
	return low, low + float64(uint64(1)<<shift)
}

// Distribution is what a histogram held at one moment.
type Distribution struct {
	Micros  int64    `json:"sum_us"` // summed
	Buckets []Bucket `json:"buckets"`
}

// Bucket is how many durations were at least From and less than the next bucket's.
type Bucket struct {
	From  int64 `json:"from_us"` // microseconds
	Count int64 `json:"count"`
}

// Distribution returns the counts; those of the same moment may be a few apart.
func (h *Histogram) Distribution() Distribution {
	d := Distribution{Micros: h.micros.Load(), Buckets: []Bucket{}}
	counts := h.counts.Load()
	if counts == nil {
		return d
	}
	for i := range counts {
		if n := counts[i].Load(); n > 0 {
			low, _ := bounds(i)
			d.Buckets = append(d.Buckets, Bucket{From: int64(low), Count: n})
		}
	}
	return d
}

// Quantile is the duration that a share q of all did not exceed, interpolated
// within its bucket; 0 when there are none.
func (d Distribution) Quantile(q float64) time.Duration {
	var total int64
	for _, b := range d.Buckets {
		total += b.Count
	}
	rank := q * float64(total)
	for _, b := range d.Buckets {
		if rank > float64(b.Count) {
			rank -= float64(b.Count)
			continue
		}
		low, high := bounds(bucketOf(uint64(max(b.From, 0))))
		return time.Duration((low + (high-low)*rank/float64(b.Count)) * float64(time.Microsecond))
	}
	return 0
}

// minus is what was counted since earlier.
func (d Distribution) minus(earlier Distribution) Distribution {
	before := map[int64]int64{}
	for _, b := range earlier.Buckets {
		before[b.From] = b.Count
	}
	out := Distribution{Micros: d.Micros - earlier.Micros, Buckets: []Bucket{}}
	for _, b := range d.Buckets {
		if b.Count -= before[b.From]; b.Count > 0 {
			out.Buckets = append(out.Buckets, b)
		}
	}
	return out
}
