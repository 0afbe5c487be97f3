package cli

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"cleave/platform/auth"
	"cleave/platform/db"
	"cleave/platform/fault"
	"cleave/platform/module"
	"cleave/platform/ops"
	"cleave/platform/ops/repair"
	"cleave/platform/policy"
)

type ruleRow struct {
	Module     string    `json:"module"`
	ID         string    `json:"id"`
	Origin     string    `json:"origin"` // file or runtime
	Line       int       `json:"line"`   // of the file; 0 for a row
	Role       string    `json:"role"`
	Permission string    `json:"permission"`
	Scope      string    `json:"scope"`
	Effect     string    `json:"effect"`
	ChangedBy  string    `json:"changed_by"`
	ChangedAt  time.Time `json:"changed_at"`
}

func ruleOf(module string, r policy.Row) ruleRow {
	return ruleRow{module, r.ID, r.Origin, r.Line, r.Role, r.Permission, r.Scope, r.Effect, r.ChangedBy, db.FromMicros(r.ChangedAt)}
}

// verdict is what `app policy explain` prints.
type verdict struct {
	Roles      string `json:"roles"`
	Permission string `json:"permission"`
	Decision   string `json:"decision"` // own, any or deny
	Role       string `json:"role"`     // that decided
	By         string `json:"by"`       // the rule, and where it stands
	Limit      string `json:"limit"`    // what denies the scope any, where only own is granted
}

func (a *app) policy() *cobra.Command {
	group := &cobra.Command{
		Use: "policy", Short: "See and change what roles may do",
		Long: "See and change what roles may do. A module's policy file is the base; rows that are added here widen it, or with --deny take away\n" +
			"from it. Running servers follow within a second.",
	}
	var wanted []string
	list := &cobra.Command{
		Use: "list", Short: "List the rules: the lines of each policy file, then the rows",
		RunE: func(c *cobra.Command, _ []string) error {
			var rows []ruleRow
			err := a.operated(c.Context(), wanted, func(m repair.Module) error {
				s, err := a.rules(m)
				if err != nil {
					return err
				}
				found, err := s.List(c.Context())
				for _, r := range found {
					rows = append(rows, ruleOf(m.DB.Module(), r))
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.print(rows)
		},
	}
	list.Flags().StringSliceVar(&wanted, "module", nil, "only the rules of module `NAME` (repeatable)")
	var deny bool
	add := &cobra.Command{
		Use: "add ROLE PERMISSION own|any", Short: "Give a role a permission, or with --deny take it away",
		Args: cobra.ExactArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			return a.rule(c.Context(), args[1], func(s *policy.Store) (policy.Row, error) { return s.Add(c.Context(), args[0], args[1], args[2], deny) })
		},
	}
	add.Flags().BoolVar(&deny, "deny", false, "deny; own denies any as well, and a denial beats every grant, also for roles that inherit")
	var from string
	remove := &cobra.Command{
		Use: "remove --module NAME ID", Short: "Take back a row that was added",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.rule(c.Context(), from+":", func(s *policy.Store) (policy.Row, error) { return s.Remove(c.Context(), args[0]) })
		},
	}
	remove.Flags().StringVar(&from, "module", "", "the module `NAME`")
	cobra.CheckErr(remove.MarkFlagRequired("module"))
	check := &cobra.Command{
		Use: "check ROLE|USER PERMISSION", Short: "Print whether a role or a user has a permission: own, any or deny (exit code 1)",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := a.decide(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if err := a.print(v.Decision); err != nil || v.Decision != auth.Deny.String() {
				return err
			}
			return fault.New(fault.Forbidden, "permission_denied", "%s has not the permission %s", args[0], args[1])
		},
	}
	explain := &cobra.Command{
		Use: "explain ROLE|USER PERMISSION", Short: "Show which rule decides about a role or a user",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := a.decide(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			return a.print(v)
		},
	}
	group.AddCommand(list, add, remove, check, explain)
	return group
}

// rule changes the policy of the permission's module.
func (a *app) rule(ctx context.Context, permission string, change func(*policy.Store) (policy.Row, error)) error {
	name, _, _ := strings.Cut(permission, ":")
	if name == ops.Name {
		return fault.New(fault.Invalid, "permission_of_platform", "who may operate is in the program's own policy, which does not change while it runs")
	}
	return a.operated(ctx, []string{name}, func(m repair.Module) error {
		s, err := a.rules(m)
		if err != nil {
			return err
		}
		row, err := change(s)
		if err != nil {
			return err
		}
		return a.print(ruleOf(name, row))
	})
}

func (a *app) rules(m repair.Module) (*policy.Store, error) {
	p, err := a.decider()
	if err != nil {
		return nil, err
	}
	return policy.New(policy.Deps{DB: m.DB, Audit: m.Audit, Actor: m.Actor, Policy: p, Now: time.Now, NewID: module.NewID}), nil
}

// decider is the policy as the files of this binary have it.
func (a *app) decider() (*auth.Policy, error) {
	files := map[string]string{ops.Name: ops.Policy}
	for _, s := range a.modules {
		files[s.Name] = s.Policy
	}
	return auth.NewPolicy(files)
}

// decide asks what the servers decide, with the rows that are in force.
func (a *app) decide(ctx context.Context, who, permission string) (verdict, error) {
	p, err := a.decider()
	if err != nil {
		return verdict{}, err
	}
	if !p.Known(permission) {
		return verdict{}, fault.New(fault.Invalid, "permission_unknown", "there is no permission %q: `app policy list` shows them", permission)
	}
	if name, _, _ := strings.Cut(permission, ":"); name != ops.Name {
		err = a.operated(ctx, []string{name}, func(m repair.Module) error {
			return policy.New(policy.Deps{DB: m.DB, Policy: p, Now: time.Now, NewID: module.NewID}).Sync(ctx)
		})
	}
	if err != nil {
		return verdict{}, err
	}
	roles, err := a.roles(ctx, who)
	if err != nil {
		return verdict{}, err
	}
	e := p.Explain(roles, permission)
	v := verdict{Roles: strings.Join(roles, " "), Permission: permission, Decision: e.Decision.String(), Role: e.Role, By: "no rule grants it"}
	if e.By != nil {
		v.By = e.By.String()
	}
	if e.Limit != nil && e.Decision == auth.Own {
		v.Limit = e.Limit.String()
	}
	return v, nil
}

// roles are those of a user's id, or who itself.
func (a *app) roles(ctx context.Context, who string) (roles []string, err error) {
	if _, err := uuid.Parse(who); err != nil {
		return []string{who}, nil
	}
	for _, s := range a.modules {
		if s.Roles == nil {
			continue
		}
		err = a.operated(ctx, []string{s.Name}, func(m repair.Module) error {
			roles, err = s.Roles(ctx, m.DB, who)
			return err
		})
	}
	return roles, err
}
