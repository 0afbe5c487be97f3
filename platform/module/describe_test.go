package module_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"cleave/platform/event"
	"cleave/platform/module"
)

type shopSettings struct {
	Limit int `mapstructure:"limit" validate:"min=1,max=9"`
}

func describeShop(t *testing.T) []module.Description {
	t.Helper()
	opened, closed := event.Define[*emptypb.Empty](), event.Define[*wrapperspb.StringValue]()
	shop := spec("shop", hello, "bank")
	shop.Publishes = []event.Type{opened, closed}
	shop.Migrations = fstest.MapFS{"postgres/00001_shop.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE shelves (id text);\nCREATE TABLE IF NOT EXISTS \"items\" (id text);\n-- +goose Down\nCREATE TABLE gone (id text);\n")}}
	shop.Policy = "# comment\np, clerk, shop:open, own\np, admin, shop:open, any\ng, admin, clerk\n"
	shop.Config = func() any { return &shopSettings{Limit: 3} }
	bank := spec("bank", hello)
	bank.Subscribes = []event.Type{opened}
	all, err := module.Describe([]module.Spec{shop, bank})
	require.NoError(t, err)
	return all
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	all := describeShop(t)
	shop, bank := all[0], all[1]
	require.Equal(t, []string{"bank"}, shop.Uses)
	require.Equal(t, []string{"shop"}, bank.UsedBy)
	require.Equal(t, []string{"shelves", "items"}, shop.Tables)
	require.Equal(t, []module.EventFlow{
		{Type: "google.protobuf.Empty", Handlers: []string{"bank"}}, {Type: "google.protobuf.StringValue"},
	}, shop.Publishes)
	require.Equal(t, []string{"google.protobuf.Empty"}, bank.Subscribes)
	require.Equal(t, []module.Permission{
		{Name: "shop:open", Role: "admin", Scope: "any"}, {Name: "shop:open", Role: "clerk", Scope: "own"},
	}, shop.Permissions)
	require.Len(t, shop.Config, 1)
	require.Equal(t, "modules.shop.limit", shop.Config[0].Key)
	require.Equal(t, "3", shop.Config[0].Value)
	require.Equal(t, "getshop", shop.Operations[0].ID)
	require.Equal(t, "public", shop.Operations[0].Permission)
}

func TestDescribe_Pictures(t *testing.T) {
	t.Parallel()
	all := describeShop(t)
	require.Equal(t, "flowchart LR\n    shop[(shop)]\n    bank[(bank)]\n    shop -- calls --> bank\n    shop -. \"Empty\" .-> bank\n", module.Map(all))
	uml := module.PlantUML(all)
	require.Contains(t, uml, `Rel(shop, bank, "calls", "gRPC")`)
	require.Contains(t, uml, `Rel(shop, bank, "Empty", $tags="event")`)
	canvas := all[0].Canvas()
	require.Contains(t, canvas, "- Calls: `bank`")
	require.Contains(t, canvas, "`google.protobuf.StringValue` → no module")
	require.Contains(t, canvas, "| `modules.shop.limit` | `CLEAVE_MODULES_SHOP_LIMIT` | `3` |")
}
