//go:build !linux

package module

func releaseImage() {}
