//go:build !linux

package dbtest

// memoryFolder is a file system in memory with room for a cluster, or "".
func memoryFolder() string { return "" }
