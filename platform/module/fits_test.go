package module_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"cleave/platform/auth"
	"cleave/platform/config"
	"cleave/platform/event/eventtest"
	"cleave/platform/fault"
	frontv1 "cleave/platform/front/v1"
	"cleave/platform/module"
	"cleave/platform/moduletest"
	"cleave/platform/nettest"
	"cleave/platform/trust/authority"
)

// otherRelease is what the contracts were or will be: those of this binary with SimpleRequest changed.
func otherRelease(t *testing.T, change func(*descriptorpb.DescriptorProto)) *protoregistry.Files {
	t.Helper()
	files := new(protoregistry.Files)
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if _, err := files.FindFileByPath(f.Path()); err == nil {
			return
		}
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		d := protodesc.ToFileDescriptorProto(f)
		for _, m := range d.GetMessageType() {
			if m.GetName() == "SimpleRequest" {
				change(m)
			}
		}
		other, err := protodesc.NewFile(d, files)
		require.NoError(t, err)
		require.NoError(t, files.RegisterFile(other))
	}
	add(testpb.File_grpc_testing_test_proto)
	add(frontv1.File_platform_front_v1_front_proto)
	return files
}

func field(m *descriptorpb.DescriptorProto, name string) *descriptorpb.FieldDescriptorProto {
	for _, f := range m.GetField() {
		if f.GetName() == name {
			return f
		}
	}
	return nil
}

// two starts beta, which calls alpha, and then alpha in another process with other contracts.
func two(t *testing.T, contracts *protoregistry.Files, change ...func(called, calls *config.Config)) (host *module.Host, client *testpb.TestServiceClient, addr string) {
	t.Helper()
	ca, err := authority.Open(t.TempDir(), "example.org", time.Now)
	require.NoError(t, err)
	alpha := serving(withKeys(t, spec("alpha", hello)), callPolicy)
	alpha.Keys = "/.well-known/jwks.json"
	beta, client := calling(spec("beta", hello, "alpha"))
	specs := []module.Spec{alpha, beta, spec("gamma", hello)}
	addr = nettest.FreeAddress(t)
	called, calls := process(t, ca, addr, specs, "alpha"), process(t, ca, addr, specs, "beta", "gamma")
	for _, fn := range change {
		fn(called, calls)
	}
	host = moduletest.Start(t, calls, specs...)
	run(t, called, contracts, specs)
	return host, client, addr
}

// run starts a process of the release 2.0.
func run(t *testing.T, cfg *config.Config, contracts *protoregistry.Files, specs []module.Spec) {
	t.Helper()
	h, err := module.NewHost(cfg, module.Options{Version: "2.0", Exact: true, Contracts: contracts}, specs...)
	require.NoError(t, err)
	require.NoError(t, h.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, h.Stop(context.WithoutCancel(t.Context()))) })
}

// Of the processes that a starting one finds, one must fit.
func TestProcesses_IncompatibleAtStart(t *testing.T) {
	t.Parallel()
	const why = `the release "2.0" of the module alpha there does not fit the release "test" here: of the method grpc.testing.TestService/UnaryCall, ` +
		"the field response_size = 2 of grpc.testing.SimpleRequest is int32 here and string there; run releases with compatible contracts in both processes"
	ca, err := authority.Open(t.TempDir(), "example.org", time.Now)
	require.NoError(t, err)
	alpha := serving(withKeys(t, spec("alpha", hello)), callPolicy)
	alpha.Keys = "/.well-known/jwks.json"
	beta, client := calling(spec("beta", hello, "alpha"))
	specs := []module.Spec{alpha, beta, spec("gamma", hello)}
	good, bad := nettest.FreeAddress(t), nettest.FreeAddress(t)
	run(t, process(t, ca, bad, specs, "alpha"), otherRelease(t, func(m *descriptorpb.DescriptorProto) {
		field(m, "response_size").Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
	}), specs)
	require.EventuallyWithT(t, func(collect *assert.CollectT) { // on a loaded machine the answer may come too late
		refused, err := module.NewHost(process(t, ca, bad, specs, "beta", "gamma"), module.Options{Version: "test"}, specs...)
		require.NoError(t, err)
		if err = refused.Start(t.Context()); err == nil {
			require.NoError(t, refused.Stop(context.WithoutCancel(t.Context())))
		}
		require.EqualError(collect, err, "topology.peers.alpha is "+bad+": "+why)
	}, time.Minute, time.Millisecond)

	run(t, process(t, ca, good, specs, "alpha"), nil, specs)
	host := moduletest.Start(t, process(t, ca, bad+","+good, specs, "beta", "gamma"), specs...)
	echoes(t, *client)
	require.EventuallyWithT(t, func(collect *assert.CollectT) {
		_, body := get(t, host.URL()+"/readyz?verbose")
		require.Contains(collect, body, "[+] module alpha ok\n")
		require.Contains(collect, body, "[+] module alpha at "+good+" ok\n")
		require.Contains(collect, body, "[-] module alpha at "+bad+" failed: refused: "+why+"\n")
	}, 10*time.Second, 10*time.Millisecond)
}

// Replicas of a module are on one database: of two with one each, which answer differently and share the events out, one gets no calls.
func TestProcesses_Databases(t *testing.T) {
	t.Parallel()
	ca, err := authority.Open(t.TempDir(), "example.org", time.Now)
	require.NoError(t, err)
	alpha := serving(withKeys(t, spec("alpha", hello)), callPolicy)
	alpha.Keys = "/.well-known/jwks.json"
	beta, client := calling(spec("beta", hello, "alpha"))
	specs := []module.Spec{alpha, beta, spec("gamma", hello)}
	one, other := nettest.FreeAddress(t), nettest.FreeAddress(t)
	run(t, process(t, ca, one, specs, "alpha"), nil, specs)
	host := moduletest.Start(t, process(t, ca, one+","+other, specs, "beta", "gamma"), specs...)
	echoes(t, *client)
	run(t, process(t, ca, other, specs, "alpha"), nil, specs)
	require.EventuallyWithT(t, func(collect *assert.CollectT) {
		_, body := get(t, host.URL()+"/readyz?verbose")
		good, bad := one, other
		if strings.Contains(body, "[+] module alpha at "+other+" ok\n") { // the connection to the first one was lost for a moment
			good, bad = other, one
		}
		require.Contains(collect, body, "[+] module alpha at "+good+" ok\n")
		require.Contains(collect, body, "[-] module alpha at "+bad+" failed: refused: the module alpha there uses another database than the process at "+good+", which runs it too")
	}, 10*time.Second, 10*time.Millisecond)
	echoes(t, *client)
}

func TestProcesses_Incompatible(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*descriptorpb.DescriptorProto)
		says   string
	}{
		"FieldType": {
			func(m *descriptorpb.DescriptorProto) {
				field(m, "response_size").Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
			},
			"the field response_size = 2 of grpc.testing.SimpleRequest is int32 here and string there",
		},
		"Cardinality": {
			func(m *descriptorpb.DescriptorProto) {
				field(m, "fill_username").Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
			},
			"the field fill_username = 4 of grpc.testing.SimpleRequest is bool here and repeated bool there",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, client, addr := two(t, otherRelease(t, c.change))
			ctx := auth.With(t.Context(), auth.Principal{Subject: "u1"})
			require.EventuallyWithT(t, func(t *assert.CollectT) {
				_, err := (*client).UnaryCall(ctx, &testpb.SimpleRequest{})
				require.Equal(t, fault.Unavailable, fault.KindOf(err))
				require.Equal(t, "peer_incompatible", fault.CodeOf(err))
			}, 10*time.Second, 10*time.Millisecond)
			require.EventuallyWithT(t, func(collect *assert.CollectT) { // it tries again and again, and is connecting meanwhile
				code, body := get(t, host.URL()+"/readyz?verbose")
				require.Equal(collect, http.StatusOK, code, "what needs nothing of the peer is still answered")
				require.Contains(collect, body, `module alpha failed: the connection is failing: the release "2.0" of the module alpha there does not fit the release "test" here: `+
					"of the method grpc.testing.TestService/UnaryCall, "+c.says)
			}, 10*time.Second, 10*time.Millisecond)
			code, body := get(t, host.URL()+"/api/v1/alpha")
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.Contains(t, body, "peer_incompatible")
			_, version := host.Process()
			err := host.SetEdge(t.Context(), "beta", "alpha", addr, version)
			require.Equal(t, "peer_incompatible", fault.CodeOf(err))
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestProcesses_Compatible(t *testing.T) {
	t.Parallel()
	_, client, _ := two(t, otherRelease(t, func(m *descriptorpb.DescriptorProto) {
		field(m, "fill_oauth_scope").Name = proto.String("renamed")
		m.Field = append(m.Field, &descriptorpb.FieldDescriptorProto{
			Name: proto.String("added"), Number: proto.Int32(99), Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		})
	}))
	echoes(t, *client)
}

// What no module here uses of a peer may differ.
func TestProcesses_CompatibleForGateway(t *testing.T) {
	t.Parallel()
	host, _, _ := two(t, otherRelease(t, func(m *descriptorpb.DescriptorProto) {
		field(m, "response_size").Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
	}), func(_, calls *config.Config) { calls.Topology.Modules = []string{"gamma"} })
	require.EventuallyWithT(t, func(collect *assert.CollectT) {
		code, body := get(t, host.URL()+"/api/v1/alpha")
		require.Equal(collect, http.StatusOK, code, body)
	}, 10*time.Second, 10*time.Millisecond)
}

func TestProcesses_Pipe(t *testing.T) {
	t.Parallel()
	const another = "module alpha failed: the connection is failing: the module alpha there is on another event pipe than this process: events.pipe must name the same broker in both"
	one, other := eventtest.NATS(t).URL, eventtest.NATS(t).URL
	for name, c := range map[string]struct {
		called, calls, says string
	}{
		"Same":    {one, one, "module alpha ok"},
		"Broker":  {one, other, another},
		"Prefix":  {one, one + "?prefix=elsewhere", another},
		"Unknown": {"inproc", other, "module alpha ok"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, client, _ := two(t, nil, func(called, calls *config.Config) { called.Events.Pipe, calls.Events.Pipe = c.called, c.calls })
			require.EventuallyWithT(t, func(collect *assert.CollectT) {
				_, body := get(t, host.URL()+"/readyz?verbose")
				require.Contains(collect, body, c.says)
			}, 10*time.Second, 10*time.Millisecond)
			if c.says != another {
				echoes(t, *client)
			}
		})
	}
}
