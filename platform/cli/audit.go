package cli

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cleave/platform/audit"
	"cleave/platform/fault"
	"cleave/platform/ops/repair"
)

const maxEntries = 10000

type auditRow struct {
	Module    string    `json:"module"`
	Seq       int64     `json:"seq"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"` // ISSUER:SUBJECT
	Action    string    `json:"action"`
	Object    string    `json:"object"`
	Address   string    `json:"address"`
	RequestID string    `json:"request_id"`
	Detail    detail    `json:"detail"`
}

// detail reads as JSON in a table too.
type detail map[string]string

func (d detail) String() string {
	if len(d) == 0 {
		return ""
	}
	b, _ := json.Marshal(map[string]string(d)) // a map of strings
	return string(b)
}

type verification struct {
	Module  string `json:"module"`
	Intact  bool   `json:"intact"`
	Entries int64  `json:"entries"`
	Head    string `json:"head"`
	Broken  string `json:"broken"`
}

func (a *app) audit() *cobra.Command {
	group := &cobra.Command{Use: "audit", Short: "Read and verify the log of who did what"}
	var wanted []string
	group.PersistentFlags().StringSliceVar(&wanted, "module", nil, "only the database of module `NAME` (repeatable)")
	var f audit.Filter
	var done span
	list := &cobra.Command{
		Use: "list", Short: "List audit entries, of each module the newest first",
		RunE: func(c *cobra.Command, _ []string) error {
			err := checkLimit(f.Limit, maxEntries)
			if err == nil {
				f.Since, f.Until, err = done.times()
			}
			if err != nil {
				return err
			}
			var rows []auditRow
			err = a.operated(c.Context(), wanted, func(m repair.Module) error {
				entries, err := m.Audit.List(c.Context(), f)
				for _, e := range entries {
					rows = append(rows, auditRow{m.DB.Module(), e.Seq, e.At, e.Actor.String(), e.Action, e.Object, e.Address, e.RequestID, e.Detail})
				}
				return err
			})
			if err != nil {
				return err
			}
			return a.print(rows)
		},
	}
	list.Flags().StringVar(&f.Action, "action", "", "only those of `ACTION`, such as user:disable")
	list.Flags().StringVar(&f.Object, "object", "", "only those about `OBJECT`, such as user/ID")
	list.Flags().StringVar(&f.Subject, "actor", "", "only those of the subject `ID`")
	done.add(list, "done")
	limited(list, &f.Limit, maxEntries)
	group.AddCommand(list, a.verifyAudit(&wanted))
	return group
}

func (a *app) verifyAudit(wanted *[]string) *cobra.Command {
	var head string
	c := &cobra.Command{
		Use: "verify", Short: "Follow the chain of hashes of each audit log",
		Long: "Follow the chain of hashes of each audit log and print its last entry as SEQ:HASH, the head. Exit code 3 says that a log is\n" +
			"not as it was written. Keep the head elsewhere and give it to a later run with --head: only so is it seen when somebody who\n" +
			"controls the database has cut or rewritten the log.",
		RunE: func(c *cobra.Command, _ []string) error {
			var anchor *audit.Head
			if head != "" {
				h, err := audit.ParseHead(head)
				if err != nil {
					return err
				}
				if len(*wanted) != 1 {
					return fault.New(fault.Invalid, "module_missing", "--head belongs to one module: name it with --module NAME")
				}
				anchor = &h
			}
			var rows []verification
			var broken []string
			err := a.operated(c.Context(), *wanted, func(m repair.Module) error {
				r, err := m.Audit.Verify(c.Context(), anchor)
				if err != nil {
					return err
				}
				rows = append(rows, verification{m.DB.Module(), r.Broken == "", r.Entries, r.Head.String(), r.Broken})
				if r.Broken != "" {
					broken = append(broken, m.DB.Module()+": "+r.Broken)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if err := a.print(rows); err != nil {
				return err
			}
			if len(broken) > 0 {
				return &exitError{Missed, fault.New(fault.Conflict, "audit_broken", "the audit log does not hold: %s", strings.Join(broken, "; "))}
			}
			return nil
		},
	}
	c.Flags().StringVar(&head, "head", "", "the log must still hold the entry `SEQ:HASH`")
	return c
}
