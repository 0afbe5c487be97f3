//go:build !unix

package traffic

import "time"

// CPU is 0: the system does not tell.
func CPU() time.Duration { return 0 }
