package skew_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"cleave/modules/user"
	userrest "cleave/modules/user/v1/rest"
	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/module"
	"cleave/platform/moduletest"
)

const (
	password = "correct horse battery staple"
	patience = 30 * time.Second
	tick     = 20 * time.Millisecond
)

// TestUpgrade starts today's program on the databases of the released one,
// which has left events behind, and lets released clients use it: over gRPC, in
// process and over the network, and over REST.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	moduletest.Each(t, today, func(t *testing.T, cfg *config.Config) {
		t.Parallel()
		cfg.HTTP.RequestTimeout = time.Minute // hashing passwords takes its time on a busy machine
		left := leaveEvents(t, cfg.Database())

		var register func(grpc.ServiceRegistrar)
		specs := slices.Clone(today)
		i := slices.IndexFunc(specs, func(s module.Spec) bool { return s.Name == user.Module.Name })
		specs[i].Wire = func(env *module.Env) (module.Parts, error) {
			parts, err := user.Module.Wire(env)
			register = parts.RPC
			return parts, err
		}
		host := moduletest.Start(t, cfg, specs...)

		t.Run("events", func(t *testing.T) { handled(t, host, left) })
		admin, buyer := people(t, cfg, host)
		for transport, edge := range transports(t, register) {
			t.Run("calls/"+transport, func(t *testing.T) { oldCalls(t, edge, buyer, strings.ReplaceAll(transport, " ", "-")) })
		}
		t.Run("rest", func(t *testing.T) {
			var operations []operation
			for _, name := range releasedModules(t) {
				operations = append(operations, releasedOperations(t, name)...)
			}
			sequence(operations)
			old := client{base: host.URL(), token: admin, ids: map[string]string{}}
			for _, o := range operations {
				ctx, cancel := context.WithCancel(t.Context()) // ends the stream
				require.Empty(t, old.skew(ctx, o), o.id)
				cancel()
			}
			require.Len(t, old.ids, 3, "the operations that only work on what is there have been tried on nothing")

			gone := operations[0]
			gone.Path += "/gone"
			require.NotEmpty(t, old.skew(t.Context(), gone))
		})
	})
}

// leaveEvents makes the released tables and puts each event that is handled
// today, as it was released, into its publisher's outbox. It returns the ids of
// the events by the module and handler type that they are for.
func leaveEvents(t *testing.T, c db.Config) map[string][]string {
	t.Helper()
	names := releasedModules(t)
	require.NoError(t, db.Setup(t.Context(), c, names))
	files := releasedFiles(t)
	left := map[string][]string{}
	for _, name := range names {
		pool := connect(t, c, name)
		migrateReleased(t, pool, c.Dialect(), name)
		for _, published := range specOf(t, name).Publishes {
			d, err := files.FindDescriptorByName(protoreflect.FullName(published.Name()))
			if err != nil {
				continue // not released yet
			}
			m := dynamicpb.NewMessage(d.(protoreflect.MessageDescriptor))
			fill(m)
			payload, err := proto.Marshal(m)
			require.NoError(t, err)
			_, err = pool.ExecContext(t.Context(), "INSERT INTO outbox (id, type, key, at, traceparent, payload) VALUES ($1, $2, $3, $4, $5, $6)",
				"left-"+published.Name(), published.Name(), someID, time.Now().UnixMicro(), "", payload)
			require.NoError(t, err)
			for _, s := range today {
				if slices.ContainsFunc(s.Subscribes, func(x event.Type) bool { return x.Name() == published.Name() }) {
					left[s.Name] = append(left[s.Name], "left-"+published.Name())
				}
			}
		}
		require.NoError(t, pool.Close())
	}
	require.NotEmpty(t, left)
	return left
}

// handled waits until every module has handled the events left for it.
func handled(t *testing.T, host *module.Host, left map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(left)) {
		for _, id := range left[name] {
			var row struct{ State, Cause string }
			require.Eventually(t, func() bool {
				row.State = ""
				err := host.DB(name).Conn(t.Context()).Raw("SELECT state, cause FROM inbox WHERE id = ? ORDER BY state LIMIT 1", id).Scan(&row).Error
				return err == nil && row.State != "" && row.State != "pending"
			}, patience, tick, "%s for %s", id, name)
			require.Equal(t, "done", row.State, "%s for %s: %s", id, name, row.Cause)
		}
	}
}

// people returns an administrator's token and a buyer with credit.
func people(t *testing.T, cfg *config.Config, host *module.Host) (token, buyer string) {
	t.Helper()
	rest, err := userrest.NewClientWithResponses(host.URL())
	require.NoError(t, err)
	secret, err := os.ReadFile(filepath.Join(cfg.Data.Dir, "first-admin-token"))
	require.NoError(t, err)
	root, err := rest.CreateFirstAdminWithResponse(t.Context(), nil, userrest.CreateFirstAdmin{
		Token: strings.TrimSpace(string(secret)), Email: "chief@example.org", Password: password, DisplayName: "Chief",
	})
	require.NoError(t, err)
	require.NotNil(t, root.JSON201, "%s", root.Body)
	session, err := rest.LogInWithResponse(t.Context(), nil, userrest.LogIn{Email: "chief@example.org", Password: password})
	require.NoError(t, err)
	require.NotNil(t, session.JSON201, "%s", session.Body)

	old := client{base: host.URL(), token: session.JSON201.AccessToken, ids: map[string]string{"user_id": root.JSON201.ID.String()}}
	operations := releasedOperations(t, "user")
	i := slices.IndexFunc(operations, func(o operation) bool { return o.id == "topUpCredit" })
	require.Empty(t, old.skew(t.Context(), operations[i]))
	return session.JSON201.AccessToken, root.JSON201.ID.String()
}

// oldCalls is a client that has the released descriptors alone.
func oldCalls(t *testing.T, edge grpc.ClientConnInterface, buyer, key string) {
	methods := map[string]protoreflect.MethodDescriptor{}
	for _, m := range releasedMethods(releasedFiles(t)) {
		methods[string(m.Name())] = m
	}
	called := map[string]bool{}
	call := func(method, request string) *dynamicpb.Message {
		t.Helper()
		m := methods[method]
		require.NotNil(t, m, method)
		in, out := dynamicpb.NewMessage(m.Input()), dynamicpb.NewMessage(m.Output())
		require.NoError(t, protojson.Unmarshal([]byte(request), in))
		require.NoError(t, edge.Invoke(t.Context(), fullMethod(m), in, out))
		called[method] = true
		return out
	}

	users := call("GetUsers", `{"ids": ["`+buyer+`"]}`)
	list := users.Get(users.Descriptor().Fields().ByName("users")).List()
	require.Equal(t, 1, list.Len())
	found := list.Get(0).Message()
	for _, field := range []protoreflect.Name{"id", "email", "display_name", "roles", "created_at"} {
		f := found.Descriptor().Fields().ByName(field)
		require.NotNil(t, f, field)
		require.True(t, found.Has(f), "an old client no longer gets %s", field)
	}
	reserve := func(key string) {
		call("ReserveCredit", `{"reservation_key": "`+key+`", "user_id": "`+buyer+`", "amount": {"minor_units": 1, "currency_code": "EUR"}}`)
	}
	reserve(key + "-1")
	call("CaptureCredit", `{"reservation_key": "`+key+`-1"}`)
	reserve(key + "-2")
	call("ReleaseCredit", `{"reservation_key": "`+key+`-2"}`)
	require.Len(t, called, len(methods), "a released method is not called here")
}
