package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/event"
	"cleave/platform/ops/repair"
)

type topicRow struct {
	Module     string `json:"module"`
	Type       string `json:"type"`
	Subscriber string `json:"subscriber,omitempty"`
	Orphaned   bool   `json:"orphaned"`
	Waiting    int    `json:"waiting"`
	Dead       int    `json:"dead"`
	Kept       int    `json:"kept"`
}

type lagRow struct {
	Module     string    `json:"module"`
	Subscriber string    `json:"subscriber"` // or outbox
	Pending    int       `json:"pending"`
	Retrying   int       `json:"retrying"`
	Dead       int       `json:"dead"`
	Oldest     time.Time `json:"oldest_at,omitzero"`
	Orphaned   bool      `json:"orphaned"`
}

type letterRow struct {
	Module     string    `json:"module"`
	Subscriber string    `json:"subscriber"`
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	Key        string    `json:"key"`
	DeadAt     time.Time `json:"dead_at,omitzero"`
	Attempts   int       `json:"attempts"`
	Cause      string    `json:"cause"`
}

type letterDetail struct {
	letterRow
	Source      string    `json:"source"`
	Published   time.Time `json:"published_at"`
	Causation   string    `json:"causation,omitempty"`
	Traceparent string    `json:"traceparent,omitempty"`
	Stack       string    `json:"stack,omitempty"`
	Payload     []byte    `json:"payload"`
	PayloadJSON string    `json:"payload_json,omitempty"`
}

func (a *app) event() *cobra.Command {
	group := &cobra.Command{Use: "event", Short: "See which events wait or failed, and repair them"}
	var wanted []string
	group.PersistentFlags().StringSliceVar(&wanted, "module", nil, "only the database of module `NAME` (repeatable)")
	group.AddCommand(&cobra.Command{
		Use: "topics", Short: "List the event types that each module has published or subscribes to",
		RunE: func(c *cobra.Command, _ []string) error {
			var rows []topicRow
			err := a.operated(c.Context(), wanted, func(m repair.Module) error {
				topics, err := event.Topics(c.Context(), m.DB)
				for _, t := range topics {
					row := topicRow{Module: m.DB.Module(), Type: t.Type, Waiting: t.Waiting, Dead: t.Dead, Kept: t.Kept}
					if len(t.Subscribers) == 0 {
						rows = append(rows, row)
					}
					for _, s := range t.Subscribers {
						row.Subscriber, row.Orphaned = s.Name, s.Orphaned
						rows = append(rows, row)
					}
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.print(rows)
		},
	}, &cobra.Command{
		Use: "lag", Short: "List what waits in each outbox and for each subscriber",
		RunE: func(c *cobra.Command, _ []string) error {
			var rows []lagRow
			err := a.operated(c.Context(), wanted, func(m repair.Module) error {
				waiting, oldest, err := event.OutboxLag(c.Context(), m.DB)
				if err != nil {
					return err
				}
				rows = append(rows, lagRow{Module: m.DB.Module(), Subscriber: event.Outbox, Pending: waiting, Oldest: oldest})
				lags, err := event.Lag(c.Context(), m.DB)
				for _, l := range lags {
					rows = append(rows, lagRow{m.DB.Module(), l.Subscriber, l.Pending, l.Retrying, l.Dead, l.Oldest, l.Orphaned})
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.print(rows)
		},
	}, a.dead(&wanted))
	return group
}

func wireLetter(module string, l event.DeadLetter) letterRow {
	return letterRow{module, l.Subscriber, l.ID, l.Type, l.Key, l.DeadAt, l.Attempts, l.Cause}
}

// letters are the flags that select dead letters.
type letters struct {
	filter event.DeadFilter
	dead   span
}

func (l *letters) add(c *cobra.Command) {
	c.Flags().StringVar(&l.filter.Subscriber, "subscriber", "", "only those of subscriber `NAME`, or of "+event.Outbox)
	c.Flags().StringVar(&l.filter.Type, "type", "", "only events of `TYPE`")
	c.Flags().StringVar(&l.filter.Key, "key", "", "only events of `KEY`")
	l.dead.add(c, "dead")
	limited(c, &l.filter.Limit, event.MaxDeadLimit)
}

func (l *letters) selected() (event.DeadFilter, error) {
	f := l.filter
	if err := checkLimit(f.Limit, event.MaxDeadLimit); err != nil {
		return f, err
	}
	var err error
	f.After, f.Before, err = l.dead.times()
	return f, err
}

func (a *app) dead(wanted *[]string) *cobra.Command {
	group := &cobra.Command{Use: "dead", Short: "List, show, retry and discard dead letters: events that are not tried again by themselves"}
	var l letters
	list := &cobra.Command{
		Use: "list", Short: "List dead letters, the longest dead first",
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := l.selected()
			if err != nil {
				return err
			}
			var rows []letterRow
			err = a.operated(c.Context(), *wanted, func(m repair.Module) error {
				if len(*wanted) == 1 {
					if err := m.Subscriber(c.Context(), f.Subscriber); err != nil {
						return err
					}
				}
				found, err := event.ListDead(c.Context(), m.DB, f)
				for _, d := range found {
					rows = append(rows, wireLetter(m.DB.Module(), d))
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.print(rows)
		},
	}
	l.add(list)
	show := &cobra.Command{
		Use: "show SUBSCRIBER ID --module NAME", Short: "Show one dead letter with its cause, stack and payload", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.one(c.Context(), *wanted, func(m repair.Module) error {
				if err := m.Subscriber(c.Context(), args[0]); err != nil {
					return err
				}
				d, err := event.ShowDead(c.Context(), m.DB, args[0], args[1])
				if err != nil {
					return err
				}
				return a.print(letterDetail{
					wireLetter(m.DB.Module(), d), d.Source, d.Time, d.Causation, d.Traceparent, d.Stack, d.Payload, repair.PayloadJSON(d),
				})
			})
		},
	}
	group.AddCommand(list, show,
		a.settle(wanted, "retry", "Have dead letters tried again from their first attempt", false, repair.Module.RetryDead, repair.Module.RetryLetter),
		a.settle(wanted, "discard", "Give dead letters up, which cannot be taken back", true, repair.Module.DiscardDead, repair.Module.DiscardLetter))
	return group
}

type (
	settleAll = func(repair.Module, context.Context, event.DeadFilter, repair.Bulk) (repair.Outcome, error)
	settleOne = func(repair.Module, context.Context, string, string) (repair.Outcome, error)
)

// settle is retry or discard: of one dead letter by name, or of all that match.
func (a *app) settle(wanted *[]string, verb, short string, final bool, bulk settleAll, single settleOne) *cobra.Command {
	var l letters
	var b repair.Bulk
	var yes bool
	c := &cobra.Command{
		Use: verb + " [SUBSCRIBER ID] --module NAME", Short: short,
		Long: short + ": the one named, or up to --limit that match the filters, the longest dead first. Without a filter it takes --all.",
		Args: pair,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			f, err := l.selected()
			if err != nil {
				return err
			}
			return a.one(ctx, *wanted, func(m repair.Module) error {
				if len(args) == 2 {
					o, err := single(m, ctx, args[0], args[1])
					if err != nil {
						return err
					}
					return a.print(o)
				}
				if final && !b.DryRun {
					o, err := bulk(m, ctx, f, repair.Bulk{DryRun: true, All: b.All})
					if err != nil {
						return err
					}
					if err := a.confirmed(yes || o.Count == 0, fmt.Sprintf("%s %d dead letters of %s?", verb, o.Count, m.DB.Module())); err != nil {
						return err
					}
				}
				o, err := bulk(m, ctx, f, b)
				if err != nil {
					return err
				}
				return a.print(o)
			})
		},
	}
	l.add(c)
	c.Flags().BoolVar(&b.All, "all", false, "when no filter is given: all of them, up to --limit")
	c.Flags().BoolVar(&b.DryRun, "dry-run", false, "only count")
	if final {
		c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	}
	return c
}
