// Package order is the module that keeps the catalogue and takes orders from
// their placing to their delivery.
package order

import (
	_ "embed"
	"time"

	"cleave/modules/order/internal/api"
	"cleave/modules/order/internal/app"
	"cleave/modules/order/internal/store"
	"cleave/modules/order/migrations"
	orderv1 "cleave/modules/order/v1"
	userv1 "cleave/modules/user/v1"
	"cleave/platform/event"
	"cleave/platform/module"
)

//go:embed policy.csv
var policy string

// Module is all that a process needs to know about orders.
var Module = module.Spec{
	Name:        "order",
	Uses:        []string{"user"},
	Publishes:   []event.Type{orderv1.Placed, orderv1.Confirmed, orderv1.Rejected, orderv1.Cancelled, orderv1.Shipped, orderv1.Delivered},
	Subscribes:  []event.Type{userv1.Disabled, userv1.Deleted},
	Migrations:  migrations.FS,
	Constraints: store.Constraints,
	OpenAPI:     orderv1.OpenAPI,
	Policy:      policy,
	Config:      func() any { return &settings{PlaceTimeout: 30 * time.Second} },
	Wire:        wire,
}

// settings are the module's section of the configuration.
type settings struct {
	// PlaceTimeout is how long an order may stay pending before it is rejected.
	PlaceTimeout time.Duration `mapstructure:"place_timeout" validate:"min=1s,max=1h"`
}

func wire(env *module.Env) (module.Parts, error) {
	users, err := env.Conn("user")
	if err != nil {
		return module.Parts{}, err
	}
	a := app.New(app.Deps{
		DB: env.DB, Store: store.New(env.DB), Events: env.Events, Audit: env.Audit, Sagas: env.Sagas, Credit: api.NewCredit(users),
		Now: env.Now, NewID: env.NewID, Forget: env.Forget, PlaceTimeout: env.Config.(*settings).PlaceTimeout,
	})
	return module.Parts{REST: api.Routes(a, env.Cursors), Handlers: api.Handlers(a)}, nil
}
