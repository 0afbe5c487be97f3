package module

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUnchanged(t *testing.T) {
	t.Parallel()
	const text, data, flags = "00400000-015d0000 r-xp 00000000 08:01 131                        /opt/a b/app\n", "015d0000-02c6c000 r--p 011d0000 08:01 131 /opt/a b/app\n", "VmFlags: rd mr mw me\n"
	const clean = "Size: 64 kB\nRss: 8 kB\nAnonymous:             0 kB\nSwap:                  0 kB\n" + flags
	for name, smaps := range map[string]string{
		"Data":         "02c6c000-02d4b000 rw-p 0286c000 08:01 131 /opt/a b/app\n" + clean,
		"SelfModified": "00400000-015d0000 rwxp 00000000 08:01 131 /opt/a b/app\n" + clean,
		"Shared":       "00400000-015d0000 r--s 00000000 08:01 131 /opt/a b/app\n" + clean,
		"Library":      "00400000-015d0000 r-xp 00000000 08:01 131 /lib/app\n" + clean,
		"Kernel":       "7ffd1000-7ffd3000 r-xp 00000000 00:00 0   [vdso]\n" + clean,
		"Relocated":    data + "Anonymous: 8 kB\nSwap: 0 kB\n" + flags,
		"SwappedOut":   data + "Anonymous: 0 kB\nSwap: 4 kB\n" + flags,
		"Unfinished":   text + "Anonymous: 0 kB\n",
		"NoRange":      "r-xp /opt/a b/app\n" + clean,
		"Empty":        "",
	} {
		require.Empty(t, unchanged(strings.NewReader(smaps), "/opt/a b/app"), name)
	}
	require.Equal(t, []mapping{{0x400000, 0x15d0000}, {0x15d0000, 0x2c6c000}}, unchanged(strings.NewReader(text+clean+data+clean), "/opt/a b/app"))
}

func TestReleaseImage(t *testing.T) {
	before := residentImage(t)
	releaseImage()
	after := residentImage(t)
	require.Less(t, after, before/2, "kB of the program's code and read-only data that are mapped, of %d before", before)
}

// residentImage is how many kB of the program's code and read-only data are mapped.
func residentImage(t *testing.T) (kB int) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	smaps, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	parts := 0
	for part := range strings.SplitSeq(string(smaps), "VmFlags:") {
		if len(unchanged(strings.NewReader(part+"VmFlags:"), program)) == 0 {
			continue
		}
		parts++
		_, rss, _ := strings.Cut(part, "\nRss:")
		n, err := strconv.Atoi(strings.Fields(rss)[0])
		require.NoError(t, err)
		kB += n
	}
	require.GreaterOrEqual(t, parts, 2, "the code, and the read-only data, which an external linker divides")
	return kB
}
