// Package ops is the platform's own REST API, by which operators see and repair
// what is stuck in a module: events, sagas, and the audit log of who did what.
package ops

import (
	_ "embed"

	"github.com/gin-gonic/gin"

	"cleave/platform/ops/internal/api"
	"cleave/platform/traffic"
)

// Name is the prefix of the permissions and the audience of the API. No module may have it.
const Name = "ops"

// Policy grants the permissions of the operations.
//
//go:embed policy.csv
var Policy string

// Module is one of the modules that the API is about.
type Module = api.Module

// Routes returns what registers the operations about the given modules, by name, about what edges tells of the process, and
// about what runs where in host.
func Routes(modules map[string]Module, edges func() traffic.Snapshot, host Host, export gin.HandlerFunc) func(gin.IRouter) {
	return api.Routes(modules, edges, host, export)
}

// Host moves modules and edges of this process; Process and what is below are what it tells of them.
type (
	Host         = api.Host
	Process      = api.Process
	PlacedModule = api.PlacedModule
	PlacedEdge   = api.PlacedEdge
	Comparison   = api.Comparison
)
