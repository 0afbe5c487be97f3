package module

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTextRange(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{
		"Data":         "02c6c000-02d4b000 rw-p 0286c000 08:01 131 /opt/a b/app",
		"ReadOnly":     "015d0000-02c6c000 r--p 011d0000 08:01 131 /opt/a b/app",
		"SelfModified": "00400000-015d0000 rwxp 00000000 08:01 131 /opt/a b/app",
		"Library":      "00400000-015d0000 r-xp 00000000 08:01 131 /lib/app",
		"Kernel":       "7ffd1000-7ffd3000 r-xp 00000000 00:00 0   [vdso]",
		"NoRange":      "r-xp /opt/a b/app",
		"Empty":        "",
	} {
		_, _, ok := textRange(line, "/opt/a b/app")
		require.False(t, ok, name)
	}
	start, end, ok := textRange("00400000-015d0000 r-xp 00000000 08:01 131                        /opt/a b/app", "/opt/a b/app")
	require.True(t, ok)
	require.Equal(t, []uintptr{0x400000, 0x15d0000}, []uintptr{start, end})
}

func TestReleaseText(t *testing.T) {
	_, err := os.ReadFile("/proc/self/smaps") // what reads it is resident
	require.NoError(t, err)
	before := residentText(t)
	releaseText()
	after := residentText(t)
	require.Less(t, after, before/2, "kB of the program's code that are mapped, of %d before", before)
}

// residentText is how many kB of the program's code are mapped.
func residentText(t *testing.T) (kB int) {
	program, err := os.Executable()
	require.NoError(t, err)
	smaps, err := os.ReadFile("/proc/self/smaps")
	require.NoError(t, err)
	inside := false
	for line := range strings.Lines(string(smaps)) {
		fields := strings.Fields(line)
		switch {
		case strings.Contains(fields[0], "-"):
			_, _, inside = textRange(strings.TrimSpace(line), program)
		case inside && fields[0] == "Rss:":
			n, err := strconv.Atoi(fields[1])
			require.NoError(t, err)
			kB += n
		}
	}
	require.NotZero(t, kB)
	return kB
}
