package main

import (
	"fmt"
	"os"
	"testing"
)

// bed is the testing.TB that dbtest's helpers ask for, in a program: a failure
// is a panic with a failed, which main turns into an error, and clean-ups run
// when the program calls close. The embedded TB is nil: the helpers call none
// of its other methods.
type bed struct {
	testing.TB
	cleanups []func()
	message  string
}

type failed string

func (f failed) Error() string { return string(f) }

func (b *bed) Helper() {}

func (b *bed) Name() string { return "bench" }

func (b *bed) Cleanup(fn func()) { b.cleanups = append(b.cleanups, fn) }

func (b *bed) Fatal(args ...any) { panic(failed(fmt.Sprint(args...))) }

func (b *bed) Errorf(format string, args ...any) { b.message = fmt.Sprintf(format, args...) }

func (b *bed) FailNow() { panic(failed(b.message)) }

// TempDir is a new folder, removed by close.
func (b *bed) TempDir() string {
	dir, err := os.MkdirTemp("", "cleave-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (b *bed) close() {
	for i := len(b.cleanups) - 1; i >= 0; i-- {
		b.cleanups[i]()
	}
	b.cleanups = nil
}
