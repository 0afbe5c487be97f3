package cli

import (
	"encoding/json"

	"github.com/spf13/cobra"

	"cleave/platform/ops/repair"
	"cleave/platform/saga"
)

const maxSagas = 1000

type sagaRow struct {
	Module string `json:"module"`
	saga.Info
}

// sagas are the flags that select sagas.
type sagas struct {
	filter saga.Filter
	state  string
	began  span
}

func (s *sagas) add(c *cobra.Command) {
	c.Flags().StringVar(&s.filter.Name, "name", "", "only those of definition `NAME`")
	c.Flags().StringVar(&s.state, "state", "", "only those in `STATE`: running, compensating, completed, compensated or compensation_failed")
	s.began.add(c, "begun")
	limited(c, &s.filter.Limit, maxSagas)
}

func (s *sagas) selected() (saga.Filter, error) {
	f := s.filter
	f.State = saga.State(s.state)
	if err := checkLimit(f.Limit, maxSagas); err != nil {
		return f, err
	}
	var err error
	f.After, f.Before, err = s.began.times()
	return f, err
}

func (a *app) saga() *cobra.Command {
	group := &cobra.Command{Use: "saga", Short: "See sagas and let those go on that are stuck"}
	var wanted []string
	group.PersistentFlags().StringSliceVar(&wanted, "module", nil, "only the database of module `NAME` (repeatable)")
	var listed, retried sagas
	list := &cobra.Command{
		Use: "list", Short: "List sagas by name, and of each name the largest ids first",
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := listed.selected()
			if err != nil {
				return err
			}
			var rows []sagaRow
			err = a.operated(c.Context(), wanted, func(m repair.Module) error {
				found, err := saga.List(c.Context(), m.DB, f)
				for _, i := range found {
					rows = append(rows, sagaRow{m.DB.Module(), i})
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.print(rows)
		},
	}
	listed.add(list)
	show := &cobra.Command{
		Use: "show NAME ID --module NAME", Short: "Show one saga with its plan, data and history", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.one(c.Context(), wanted, func(m repair.Module) error {
				d, err := saga.Show(c.Context(), m.DB, args[0], args[1])
				if err != nil {
					return err
				}
				if a.output == "json" {
					return a.print(d)
				}
				history, err := json.Marshal(d.History)
				if err != nil {
					return err
				}
				return a.print(struct {
					sagaRow
					Plan    []string `json:"plan"`
					Done    int      `json:"done"`
					Data    string   `json:"data"`
					History string   `json:"history"`
				}{sagaRow{m.DB.Module(), d.Info}, d.Plan, d.Done, string(d.Data), string(history)})
			})
		},
	}
	var b repair.Bulk
	retry := &cobra.Command{
		Use: "retry [NAME ID] --module NAME", Short: "Let sagas go on where they failed or wait",
		Long: "Let sagas go on where they failed or wait, with attempts and time limits counted anew: the one named, or up to --limit that\n" +
			"match the filters. Without a filter it takes --all.",
		Args: pair,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := retried.selected()
			if err != nil {
				return err
			}
			return a.one(c.Context(), wanted, func(m repair.Module) (err error) {
				var o repair.Outcome
				if len(args) == 2 {
					o, err = m.RetrySaga(c.Context(), args[0], args[1])
				} else {
					o, err = m.RetrySagas(c.Context(), f, b)
				}
				if err != nil {
					return err
				}
				return a.print(o)
			})
		},
	}
	retried.add(retry)
	retry.Flags().BoolVar(&b.All, "all", false, "when no filter is given: all of them, up to --limit")
	retry.Flags().BoolVar(&b.DryRun, "dry-run", false, "only count")
	compensate := &cobra.Command{
		Use: "compensate NAME ID --module NAME", Short: "Turn a running saga round: undo what it has done", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.one(c.Context(), wanted, func(m repair.Module) error {
				o, err := m.CompensateSaga(c.Context(), args[0], args[1])
				if err != nil {
					return err
				}
				return a.print(o)
			})
		},
	}
	group.AddCommand(list, show, retry, compensate)
	return group
}
