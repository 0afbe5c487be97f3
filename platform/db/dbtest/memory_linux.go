package dbtest

import "syscall"

// memoryFolder is a file system in memory with room for a cluster, or "".
// Creating a database there takes a tenth of the time that it takes on disk.
func memoryFolder() string {
	const folder, room = "/dev/shm", 2 << 30
	var fs syscall.Statfs_t
	if err := syscall.Statfs(folder, &fs); err != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return ""
	}
	return folder
}
