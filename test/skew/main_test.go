// Package skew_test runs what was released against what is in the tree, as a
// roll-out does: clients and servers, publishers and handlers, statements and
// tables, each in both directions. The release is that of the folder release.
//
// Every check is a function that returns what does not fit, so that a test can
// plant a change and see it reported.
package skew_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"cleave/modules/notification"
	"cleave/modules/order"
	"cleave/modules/user"
	"cleave/platform/db/dbtest"
	"cleave/platform/module"
)

const release = "../../release"

// today are the modules of the tree.
var today = []module.Spec{user.Module, order.Module, notification.Module}

func TestMain(m *testing.M) { dbtest.Main(m) }

// releasedFiles are the descriptors of the released contracts.
func releasedFiles(t testing.TB) *protoregistry.Files {
	t.Helper()
	files, err := protodesc.NewFiles(releasedSet(t))
	require.NoError(t, err)
	return files
}

func releasedSet(t testing.TB) *descriptorpb.FileDescriptorSet {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(release, "contracts.binpb"))
	require.NoError(t, err)
	var set descriptorpb.FileDescriptorSet
	require.NoError(t, proto.Unmarshal(b, &set))
	return &set
}

// ours calls fn with each released file that is not of a library.
func ours(files *protoregistry.Files, fn func(protoreflect.FileDescriptor)) {
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(string(f.Package()), "cleave.") {
			fn(f)
		}
		return true
	})
}

func releasedMessages(files *protoregistry.Files) []protoreflect.MessageDescriptor {
	var all []protoreflect.MessageDescriptor
	ours(files, func(f protoreflect.FileDescriptor) {
		for i := range f.Messages().Len() {
			all = append(all, f.Messages().Get(i))
		}
	})
	return all
}

func releasedMethods(files *protoregistry.Files) []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	ours(files, func(f protoreflect.FileDescriptor) {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, s.Methods().Get(j))
			}
		}
	})
	return all
}

// releasedModules are the names of the modules that were released.
func releasedModules(t testing.TB) []string {
	t.Helper()
	dirs, err := os.ReadDir(filepath.Join(release, "migrations"))
	require.NoError(t, err)
	var names []string
	for _, d := range dirs {
		if d.Name() != "platform" {
			names = append(names, d.Name())
		}
	}
	require.NotEmpty(t, names)
	return names
}

func specOf(t testing.TB, name string) module.Spec {
	t.Helper()
	i := slices.IndexFunc(today, func(s module.Spec) bool { return s.Name == name })
	require.GreaterOrEqual(t, i, 0, "module %s was released and is gone", name)
	return today[i]
}
