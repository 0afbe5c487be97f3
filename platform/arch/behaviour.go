package arch

import (
	"go/ast"
	"go/types"
	"strings"
)

const clockRule = "direct-clock"

func behaviourRules() []*Rule {
	return []*Rule{
		{
			Name:   "goroutine",
			Reason: "a goroutine that outlives the module's stop works on closed databases, and nobody hears how it ends",
			Fix:    "run it from Parts.Background, or wait for it: sync.WaitGroup, errgroup, or a receive from ctx.Done() in its loop",
			pkg:    goroutines,
		},
		{
			Name:   "global-state",
			Reason: "a variable of the package is shared by all that runs in the process; split in two, each process has its own",
			Fix:    "keep the state in a struct that wire makes, or in the database",
			pkg:    globalState,
		},
		{
			Name:   clockRule,
			Reason: "what takes the time or an id from elsewhere cannot be tested at a given moment, and differs between machines",
			Fix:    "use Env.Now and Env.NewID",
			pkg:    directClock, module: (*pass).sqlInMigrations,
		},
		{
			Name:   "chatty-loop",
			Reason: "a call that costs microseconds in one process costs a round trip after the split; in a loop, one for each element",
			Fix:    "use or add a batch form, and call it once for all elements",
			module: chattyLoop,
		},
	}
}

// directClock reports functions of time, rand and uuid where Env has its own,
// used in any way, and their like in SQL.
func directClock(p *pass) {
	if p.pkg.Module == "" || p.pkg.Info == nil || p.pkg.Layer == "v1" {
		return
	}
	p.eachUse(func(id *ast.Ident) {
		f, ok := p.pkg.Info.Uses[id].(*types.Func)
		if !ok || f.Pkg() == nil || f.Signature().Recv() != nil {
			return
		}
		name := f.Name()
		forbidden := false
		switch f.Pkg().Path() {
		case "time":
			forbidden = name == "Now" || name == "Since" || name == "Until"
		case "math/rand", "math/rand/v2":
			forbidden = !strings.HasPrefix(name, "New") // a generator with a seed
		case "github.com/google/uuid":
			forbidden = isUUIDSource(name)
		case "github.com/gofrs/uuid", "github.com/gofrs/uuid/v5", "github.com/oklog/ulid", "github.com/oklog/ulid/v2", "github.com/rs/xid",
			"github.com/segmentio/ksuid":
			forbidden = strings.HasPrefix(name, "New") || strings.HasPrefix(name, "Make") || strings.HasPrefix(name, "Must")
		}
		if forbidden {
			p.at(id.Pos(), nil, "module %s uses %s.%s", p.pkg.Module, f.Pkg().Name(), name)
		}
	})
	p.sqlInCode()
}

// isUUIDSource reports whether a function of google/uuid makes a new id. Those
// that derive an id from a name (NewMD5, NewSHA1, NewHash) do not.
func isUUIDSource(name string) bool {
	switch name {
	case "New", "NewString", "NewRandom", "NewRandomFromReader", "NewUUID", "NewV6", "NewV7", "NewV7FromReader", "NewDCEGroup", "NewDCEPerson", "NewDCESecurity":
		return true
	}
	return false
}
