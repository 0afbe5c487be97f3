//go:build !unix

package traffic

import "time"

// cpuTime is 0: the system does not tell.
func cpuTime() time.Duration { return 0 }
