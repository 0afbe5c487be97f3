// Package module turns a list of module Specs into a running process: it opens
// and migrates their databases, wires them in dependency order, serves them,
// and stops them in reverse.
//
// The Spec is the one source of truth for what a module may reach: a
// connection to a module that Uses does not name, an event outside Publishes
// and a handler outside Subscribes all fail at start-up.
package module

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"cleave/platform/audit"
	"cleave/platform/auth"
	"cleave/platform/config"
	"cleave/platform/db"
	"cleave/platform/event"
	"cleave/platform/rest"
	"cleave/platform/revocation"
	"cleave/platform/rpc"
	"cleave/platform/saga"
	"cleave/platform/worker"
)

// Spec is all that a process knows about a module.
type Spec struct {
	Name        string              // also its database schema and its section in the configuration
	Uses        []string            // the modules it calls
	Publishes   []event.Type        // its own events
	Subscribes  []event.Type        // events it handles, of others or its own
	Revokes     []revocation.Source // of the module that issues tokens: its events after which every module refuses some
	Migrations  fs.FS               // goose files below sqlite/ and postgres/
	Constraints db.Constraints
	OpenAPI     []byte   // nil: no REST
	Paths       []string // what Parts.HTTP serves, as rest.API.Standard wants it; nil: nothing
	Keys        string   // of the module that issues tokens: the one of Paths with its public keys (RFC 7517); "" for the others
	Policy      string   // who may do what, and which modules call it: see auth.ParsePolicy
	// Roles returns the roles of a user, for explanations; nil: the module knows of no users.
	Roles    func(ctx context.Context, d *db.DB, user string) ([]string, error)
	Config   func() any                   // a pointer to its settings with their defaults; nil: none
	Worker   worker.Func                  // what Env.Work does; nil: nothing
	Wire     func(*Env) (Parts, error)    // builds the module; must not start anything
	Commands func(*Tool) []*cobra.Command // commands below `app NAME`; nil: none
}

// Env is what a module is given to build itself from.
type Env struct {
	Name    string
	DB      *db.DB
	Audit   *audit.Log // of administrative and security relevant actions
	Events  *event.Publisher
	Sagas   *saga.Runner
	Cursors *rest.Cursors
	Log     *slog.Logger
	Now     func() time.Time
	NewID   func() string // UUIDv7
	Config  any           // the pointer that Spec.Config returned, filled
	Auth    AuthConfig
	DataDir string // for files that are not in the database
	BaseURL string // where clients reach the API
	// Startup adds a line to what the process prints when it is ready.
	Startup func(label, value string)

	// Work is the Spec's Worker, called where its work keeps no request of this process waiting, if Options.Workers allows that.
	Work worker.Func

	// Forget erases what the platform keeps of a user in DB, when the module erases the rest: events under the user's id and
	// answers to repeated requests. It must be called inside a transaction.
	Forget func(ctx context.Context, userID string) error

	edges map[string]*rpc.Edge
}

// AuthConfig is what an issuer of tokens needs to know.
type AuthConfig struct {
	Issuer                string
	Audience              []string
	AccessTTL, RefreshTTL time.Duration
	// KeyEncryptionKey encrypts signing keys in the database, and Old is the one before; "" is none.
	KeyEncryptionKey, KeyEncryptionKeyOld string
	Revoked                               *auth.Revocations // what the process no longer accepts
	KeyRotation                           time.Duration     // how long a key signs; 0: until the command
}

// Conn returns the connection to a module that this one's Spec uses.
func (e *Env) Conn(module string) (grpc.ClientConnInterface, error) {
	edge, ok := e.edges[module]
	if !ok {
		return nil, fmt.Errorf("module %s wants a connection to %s, which its Uses does not name", e.Name, module)
	}
	return edge, nil
}

// Parts is what a wired module offers to the process.
type Parts struct {
	RPC        func(grpc.ServiceRegistrar)
	REST       func(gin.IRouter)
	HTTP       http.Handler // of Spec.Paths: what another standard than the module's OpenAPI document describes
	Handlers   []event.Handler
	Background []func(ctx context.Context) error // each runs until ctx ends and then returns nil
	Keys       auth.KeySource                    // of the module that issues tokens
}

// Tool is what a module's own commands are given.
type Tool struct {
	Config func() (*config.Config, error)
	// DB opens the database of the module whose command runs, which the caller closes. The schema must be current.
	DB    func(ctx context.Context) (*db.DB, error)
	Now   func() time.Time
	Print func(v any) error // to standard output, in the chosen format
	// Modules are the names of all modules of the process.
	Modules []string
	In      io.Reader
	Err     io.Writer
}

// Order returns specs sorted so that each comes after all that it uses. It
// fails on two modules of one name, on a Uses that names no module of the list
// or the module itself, and on a cycle, which it spells out.
func Order(specs []Spec) ([]Spec, error) {
	byName := map[string]Spec{}
	for _, s := range specs {
		if _, ok := byName[s.Name]; ok {
			return nil, fmt.Errorf("two modules are named %s", s.Name)
		}
		byName[s.Name] = s
	}
	var sorted []Spec
	done := map[string]bool{}
	var visit func(name string, path []string) error
	visit = func(name string, path []string) error {
		if done[name] {
			return nil
		}
		if i := slices.Index(path, name); i >= 0 {
			return fmt.Errorf("modules call each other in a cycle: %v; replace one call by an event", append(path[i:], name))
		}
		for _, u := range byName[name].Uses {
			if _, ok := byName[u]; !ok {
				return fmt.Errorf("module %s uses %s, which is not in the list of modules", name, u)
			}
			if err := visit(u, append(path, name)); err != nil {
				return err
			}
		}
		done[name] = true
		sorted = append(sorted, byName[name])
		return nil
	}
	for _, s := range specs {
		if err := visit(s.Name, nil); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}
