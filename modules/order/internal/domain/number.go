package domain

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// crockford is Crockford's base 32: no I, L, O or U, which people misread.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Number derives from an order's id, a UUIDv7 in its text form, the number that
// people know the order by, such as O-6MEMV5Q-K3W8X2T. It sorts by time until
// the year 2109, and is as unique as its 70 bits of the id: the low 42 of the
// milliseconds, the 12 that tell apart the ids of one millisecond and one
// process, and 16 random ones that tell apart processes.
func Number(id string) string {
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 {
		return ""
	}
	hi, lo := binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
	millis, sequence, random := hi>>16&(1<<42-1), hi&(1<<12-1), lo>>46&(1<<16-1)
	return "O-" + base32(millis>>7) + "-" + base32(millis&(1<<7-1)<<28|sequence<<16|random)
}

// base32 writes the low 35 bits of v in 7 digits.
func base32(v uint64) string {
	var digits [7]byte
	for i := range digits {
		digits[i] = crockford[v>>(30-5*i)&31]
	}
	return string(digits[:])
}
