//go:build !linux

package module

func releaseText() {}
